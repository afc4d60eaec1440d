//! The doors for programs: the typed northbound API, package `weft.northbound.v1`, over gRPC and REST.
//!
//! `weft-api` is a client of the northbound database, Weft's or OVN's. It keeps a copy of what there is of objects, reads
//! from it, and writes transactions that say what they relied upon. What an object is and what can be done with it is in
//! the crate `objects`, as it is for the command line.
//!
//! ```text
//!   gRPC ─▶ doors/grpc ─┐                          ┌─▶ replica ══▶ northbound
//!   REST ─▶ doors/rest ─┴─▶ doors/network ─▶ live ─┘      │
//!                              ▲     copy, history ◀──────┘
//! ```
//!
//! | room | what is there |
//! | --- | --- |
//! | [`live`] | the copy of the network, and which objects changed when |
//! | [`doors`] | the shells: listeners, gRPC, REST |
//! | [`openapi`] | the description of the REST interface |
//! | [`daemon`] | the process |
#![forbid(unsafe_code)]

pub mod daemon;
pub mod doors;
pub mod error;
pub mod live;
pub mod openapi;
