//! What the command line does, seen from outside, in one program.

mod against_ovn;
mod book;
mod cluster;
mod commands;
mod objects;
mod operations;
mod trace;
mod transfer;
