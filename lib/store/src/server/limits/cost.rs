//! What a request may cost the others, told before it is executed.
//!
//! All sessions ask one core, which answers in the order of asking: so each may have only a few
//! requests there at a time, by their cost.

use ovsdb::Operation;

use crate::event::Request;

/// So many requests that read a lot are at the core.
pub const MAX_READS: usize = 4;
/// So many of those that neither read much nor wait.
pub const MAX_REST: usize = 64;

/// What a request may cost the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cost {
    /// It may have a large answer.
    Read,
    /// It is about as large as its message.
    Rest,
    /// It may be at the core for long without costing anything.
    Wait,
}

impl Cost {
    /// What a request may cost; this may take long for a large one.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Monitor { .. } | Request::ChangeConditions { .. } => Self::Read,
            Request::Transact { transaction, .. } => {
                let mut cost = Self::Rest;
                for operation in &transaction.operations {
                    match operation {
                        // With a time of zero it is checked once.
                        Operation::Wait { timeout_ms, .. } if *timeout_ms != Some(0) => {
                            return Self::Wait;
                        }
                        Operation::Select { .. } => cost = Self::Read,
                        _ => {}
                    }
                }
                cost
            }
            _ => Self::Rest,
        }
    }
}
