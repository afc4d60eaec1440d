//! Logical flows to flows of the switch.

use sb_db::tables::LogicalFlow;

use crate::network::{Fact, Network, Reads};

/// The flows.
pub fn flows(_network: &Network, _reads: &Reads, _flow: &LogicalFlow, _facts: &mut Vec<Fact>) {}
