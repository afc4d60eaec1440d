//! The unit of a group of datapaths.

use incr::{Life, Reads};

use super::Compiler;
use super::cell::{Cell, Fact};
use crate::output::{GroupId, Scope};
use crate::pipeline::{Flows, Owner, switch as pipeline};

impl Compiler {
    pub(super) fn shared(
        &self,
        group: GroupId,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        reads.note(Cell::Group(group));
        if !self.output.has_members(group) {
            return Life::Gone;
        }
        let mut flows = Flows::new(
            self.output.templates(),
            Owner::Group(group.uuid()),
            None,
            facts,
        );
        match group {
            GroupId::Datapaths(Scope::Switches) => pipeline::shared(&mut flows),
            GroupId::Multicast(..) => {}
        }
        Life::Alive
    }
}
