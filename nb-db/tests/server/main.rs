//! `weft-nb` as a process: real clients, real crashes, bad input.
//!
//! Needs the clients of Debian's `ovn-common` and `openvswitch-common`.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

mod bad_input;
mod clients;
mod cluster;
mod crash;
mod like_ovsdb_server;
mod members;
mod rig;
mod roles;
mod start;
mod subscribers;
mod tls;
