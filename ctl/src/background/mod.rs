//! Lines run by a tool that stays: its daemon, and a tool as the client of one.
//!
//! A daemon has read the database already, so a line costs what it does, not what the database holds. OVN's tools and
//! Weft's speak the same protocol: any of them may be the client of any other.

pub mod client;
pub mod daemon;
