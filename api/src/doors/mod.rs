//! The shells: what listens, and what is answered there.

pub mod calls;
pub mod grpc;
pub mod listen;
pub mod network;
pub mod rest;
pub mod room;
pub mod trouble;
pub mod who;
