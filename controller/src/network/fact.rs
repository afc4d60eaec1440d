//! What units say.

use std::sync::Arc;

use ovsdb::Uuid;

use super::binding::Binding;
use super::members::Use;
use crate::flow::{Digest, Flow};

/// What a unit says.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A logical port is attached.
    Binding(Uuid, Binding),
    /// Packets are compared with a set or group, of this name.
    Use(Use, Arc<str>),
    /// The switch should have a flow.
    Flow(Flow),
    /// Something is wrong with a row.
    Problem(Uuid, String),
}

/// What identifies a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The port.
    Binding(Uuid),
    /// What of packets is compared with what, and in which stage.
    Use(Use),
    /// The flow's content.
    Flow(Digest),
    /// The row.
    Problem(Uuid),
}
