//! The language held against its oracles, in one program.

mod corpus;
mod flows;
mod small_model;
mod soup;
mod switch;
