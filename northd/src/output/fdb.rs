//! Learned addresses (`FDB`): controllers write them, northd deletes those at ports that are gone.
//!
//! A stale one would send packets to whoever gets the port's key next.

use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::Fdb as FdbTable;
use uuid::Uuid;

/// A datapath's key and a port's.
pub(super) type Place = (i64, i64);

/// The learned addresses, by place.
#[derive(Debug, Default)]
pub(super) struct Fdb {
    rows: FxHashMap<Place, FxHashSet<Uuid>>,
}

impl Fdb {
    /// Takes up a change, if it is one of this table.
    pub(super) fn observe(&mut self, change: &RowChange) {
        if change.table != FdbTable::INDEX {
            return;
        }
        if let Some(old) = &change.old
            && let Some(rows) = self.rows.get_mut(&place(old))
        {
            rows.remove(&change.uuid);
            if rows.is_empty() {
                self.rows.remove(&place(old));
            }
        }
        if let Some(new) = &change.new {
            self.rows.entry(place(new)).or_default().insert(change.uuid);
        }
    }

    /// Deletes what was learned at a place.
    pub(super) fn at(&self, place: Place) -> Vec<Operation> {
        self.rows
            .get(&place)
            .map_or_else(Vec::new, |rows| rows.iter().copied().map(delete).collect())
    }

    /// Deletes what was learned elsewhere.
    pub(super) fn outside(&self, places: &FxHashSet<Place>) -> Vec<Operation> {
        let elsewhere = self
            .rows
            .iter()
            .filter(|(place, _)| !places.contains(*place));
        elsewhere
            .flat_map(|(_, rows)| rows.iter().copied().map(delete))
            .collect()
    }
}

fn place(row: &Row) -> Place {
    let column = FdbTable::COLUMN;
    (column.dp_key.get(row), column.port_key.get(row))
}

fn delete(row: Uuid) -> Operation {
    Operation::delete_row(FdbTable::INDEX, row)
}
