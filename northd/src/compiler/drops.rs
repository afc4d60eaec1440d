//! What the flows that drop do beside: nothing, or they tell collectors of each packet.
//!
//! Units say `drop;` and know nothing of it. Those flows are remembered here, and written as what [`SAMPLE`] says while it says something;
//! when that changes, just they are written anew. Every stage has a flow that matches all packets, so none is dropped otherwise.

use std::sync::Arc;

use incr::UnitId;
use ovsdb::{Atom, Datum, Row};
use relations::{Cell, Relation};
use rustc_hash::FxHashMap;
use sb_db::tables::LogicalFlow;
use smallvec::SmallVec;

use super::fact::RowId;
use super::flow;
use super::identity;
use super::metering::Target;
use super::source::Side;

/// The actions in the place of `drop;`. There is a value while drops are sampled.
pub static SAMPLE: Relation<(), Arc<str>> = Relation::new("what is done with what is dropped");

/// What units say of packets that go no further.
const DROP: &str = "drop;";

/// The flows that drop.
#[derive(Default)]
pub struct Drops {
    flows: FxHashMap<RowId, Said>,
    actions: Option<Arc<str>>,
}

/// A flow as units say it.
struct Said {
    cell: Option<Cell>,
    row: Arc<Row>,
    by: SmallVec<[UnitId; 2]>,
}

/// Whether a flow drops and does nothing else.
pub fn is_drop(row: &Row) -> bool {
    let actions = row.get(LogicalFlow::COLUMN.actions.index);
    matches!(actions, Datum::One(Atom::String(text)) if **text == *DROP)
}

impl Drops {
    /// `unit` says a flow that drops.
    pub fn say(
        &mut self,
        unit: UnitId,
        id: RowId,
        (cell, row): (Option<Cell>, Arc<Row>),
        target: &mut Target<'_>,
    ) {
        let said = self.flows.entry(id).or_insert_with(|| Said {
            cell,
            row,
            by: SmallVec::new(),
        });
        if !said.by.contains(&unit) {
            said.by.push(unit);
        }
        write(unit, id, said, self.actions.as_ref(), target);
    }

    /// `unit` does not say the flow any more; `false` if it is none that drops.
    pub fn unsay(&mut self, unit: UnitId, id: RowId, target: &mut Target<'_>) -> bool {
        let Some(said) = self.flows.get_mut(&id) else {
            return false;
        };
        said.by.retain(|known| *known != unit);
        if said.by.is_empty() {
            self.flows.remove(&id);
        }
        let id = written_id(id, self.actions.as_ref());
        target.south.unsay_flow(unit, id, target.sets);
        true
    }

    /// From now on they do this.
    pub fn set(&mut self, actions: Option<Arc<str>>, target: &mut Target<'_>) {
        let before = std::mem::replace(&mut self.actions, actions);
        if before == self.actions {
            return;
        }
        for (id, said) in &self.flows {
            for unit in &said.by {
                write(*unit, *id, said, self.actions.as_ref(), target);
                let id = written_id(*id, before.as_ref());
                target.south.unsay_flow(*unit, id, target.sets);
            }
        }
    }
}

fn write(
    unit: UnitId,
    id: RowId,
    said: &Said,
    actions: Option<&Arc<str>>,
    target: &mut Target<'_>,
) {
    let row = match actions {
        None => Arc::clone(&said.row),
        Some(actions) => {
            let mut row = Row::clone(&said.row);
            let column = LogicalFlow::COLUMN.actions.index;
            row.set(column, Datum::from(&**actions));
            Arc::new(row)
        }
    };
    let (id, world) = (written_id(id, actions), target.world);
    let group = || world.row(Side::South, flow::GROUP_TABLE, []);
    target
        .south
        .say_flow(unit, id, said.cell, row, group, target.sets);
}

/// The UUID of a flow as it is written.
fn written_id(id: RowId, actions: Option<&Arc<str>>) -> RowId {
    match actions {
        None => id,
        Some(actions) => RowId {
            uuid: identity::derive(&[b"sampled flow", id.uuid.as_bytes(), actions.as_bytes()]),
            ..id
        },
    }
}
