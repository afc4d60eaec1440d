//! What the command line does, seen from outside, in one program.

mod against_ovn;
mod background;
mod book;
mod cluster;
mod commands;
mod explain;
mod objects;
mod operations;
mod plan;
mod trace;
mod transfer;
