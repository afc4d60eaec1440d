//! `weft-nb` as a process: real clients, real crashes, bad input.
//!
//! Needs the clients of Debian's `ovn-common` and `openvswitch-common`.

mod bad_input;
mod clients;
mod crash;
mod rig;
mod start;
mod tls;
