//! Objects against the engine of a server: what is declared is there, and what cannot be is refused as a whole.

mod apply;
mod lab;
mod one;
mod pages;
