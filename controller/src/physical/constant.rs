//! Flows that are always there: the ways between tables.

use openflow::{Action, Match};

use super::{Flows, clear_scratch};
use crate::layout::{self, flag};
use crate::network::Fact;

/// The flows.
pub fn flows(facts: &mut Vec<Fact>) {
    let mut out = Flows::of_nothing(facts);
    let flags = |bits: u128| Match::new().with_masked(layout::FLAGS, bits, bits);
    // What must not leave the chassis does not look for tunnels; everything else does, and goes on when there is none.
    let to_local = || vec![Action::resubmit(layout::LOCAL_OUTPUT)];
    out.add(
        layout::REMOTE_OUTPUT,
        150,
        flags(flag::LOCAL_ONLY),
        to_local(),
    );
    out.add(layout::REMOTE_OUTPUT, 0, Match::new(), to_local());
    let mut to_egress = Vec::new();
    clear_scratch(&mut to_egress);
    to_egress.push(Action::resubmit(layout::EGRESS));
    out.add(layout::CHECK_LOOPBACK, 0, Match::new(), to_egress);
    out.add(
        layout::SAVE_IN_PORT,
        0,
        Match::new(),
        vec![Action::resubmit(layout::LOGICAL_TO_PHYSICAL)],
    );
}
