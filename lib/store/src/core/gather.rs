//! Taking a snapshot while the store goes on.
//!
//! A snapshot is the rows as of one place of the log: shared pointers to them. A million of those
//! take longer to gather than any request should have to wait, so each step of the core gathers
//! some, table by table in the order of the rows' identities. What changes meanwhile, and has not
//! been passed, is noted as it was: when its turn comes, that goes into the snapshot instead. So do
//! rows that are not committed yet, from the beginning.
//!
//! A snapshot that another member wants while one is being gathered is the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::{Row, RowChange, Uuid};
use table::Database;

use super::Core;
use crate::event::Effects;
use crate::peer::{Content, Snapshot};
use crate::raft::Message;
use crate::raft::convert::members_to_raft;

/// So many rows are gathered in one step: a fraction of a millisecond.
pub(super) const ROWS_PER_STEP: usize = 4096;

/// A snapshot that is being gathered.
#[derive(Debug)]
pub(super) struct Gather {
    /// Everything, but for the rows that are missing yet.
    content: Content,
    /// The table where it stands, and the newest row of it that is there.
    table: usize,
    after: Option<Uuid>,
    /// Rows that will come and are not any more what they were.
    before: BTreeMap<(usize, Uuid), Option<Arc<Row>>>,
    /// For whom: Raft's messages.
    messages: Vec<Message>,
}

impl Gather {
    /// Rows are about to change, or just have.
    pub(super) fn note(&mut self, delta: &[RowChange]) {
        for change in delta {
            let passed = (change.table, Some(change.uuid)) <= (self.table, self.after);
            if !passed {
                let key = (change.table, change.uuid);
                let before = self.before.entry(key);
                before.or_insert_with(|| change.old.clone());
            }
        }
    }

    /// Gathers so many more rows; true when all are there.
    fn advance(&mut self, head: &Database, rows: usize) -> bool {
        let tables = head.schema().tables.len();
        let mut left = rows;
        while left > 0 && self.table < tables {
            let table = self.table;
            let (mut seen, mut newest) = (0, self.after);
            for (uuid, row) in head.rows_after(table, self.after).take(left) {
                seen += 1;
                newest = Some(uuid);
                let row = match self.before.remove(&(table, uuid)) {
                    None => Some(row.clone()),
                    Some(before) => before,
                };
                let rows = &mut self.content.rows;
                rows.extend(row.map(|row| (table, uuid, row)));
            }
            let ended = seen < left;
            let place = match (ended, newest) {
                (false, Some(newest)) => (table, newest),
                _ => (table, Uuid::max()),
            };
            // They were between those, and are gone from the head.
            let gone = self.before.extract_if(..=place, |_, _| true);
            for ((table, uuid), row) in gone {
                let rows = &mut self.content.rows;
                rows.extend(row.map(|row| (table, uuid, row)));
            }
            left -= seen;
            (self.table, self.after) = match ended {
                true => (table + 1, None),
                false => (table, newest),
            };
        }
        self.table == tables
    }
}

impl Core {
    fn begin_gathering(&self) -> Gather {
        let tables = 0..self.schema.tables.len();
        let count = tables.map(|table| self.head.row_count(table)).sum();
        let content = Content {
            position: self.node.settled_position(),
            membership: self.node.membership(),
            data_index: self.history.index(),
            rows: Vec::with_capacity(count),
            names: self.retries.iter().collect(),
        };
        let mut gather = Gather {
            content,
            table: 0,
            after: None,
            before: BTreeMap::new(),
            messages: Vec::new(),
        };
        for pending in &self.pending {
            gather.note(&pending.delta);
        }
        gather
    }

    /// The committed database, of which an unfinished transaction is no part, in one go.
    pub fn content(&self) -> Content {
        let mut gather = self.begin_gathering();
        gather.advance(&self.head, usize::MAX);
        gather.content
    }

    /// Raft wants a snapshot to be sent.
    pub(super) fn take_snapshot(&mut self, message: Message) {
        let mut gather = match self.gather.take() {
            Some(gather) => gather,
            None => self.begin_gathering(),
        };
        gather.messages.retain(|other| other.to != message.to);
        gather.messages.push(message);
        self.gather = Some(gather);
    }

    /// Gathers a few rows of the snapshot that is wanted, if one is, and sends it when it has all.
    pub(super) fn gather(&mut self, effects: &mut Effects) {
        let Some(gather) = &mut self.gather else {
            return;
        };
        if !gather.advance(&self.head, self.rows_per_step) {
            return;
        }
        let Some(gather) = self.gather.take() else {
            return;
        };
        let content = Arc::new(gather.content);
        let (_, term) = self.node.leader();
        // Others were asked for by whom it was in an earlier term.
        let wanted = |message: &Message| message.term == term;
        for mut message in gather.messages.into_iter().filter(wanted) {
            let metadata = message.mut_snapshot().mut_metadata();
            metadata.index = content.position.index;
            metadata.term = content.position.term;
            metadata.set_conf_state(members_to_raft(&content.membership));
            let content = content.clone();
            effects.snapshots.push(Snapshot { message, content });
        }
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Datum;
    use ovsdb::schema::DatabaseSchema;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn database() -> Database {
        let table = json!({"columns": {"a": {"type": "integer"}}, "isRoot": true});
        let json = json!({"name": "T", "tables": {"A": table, "B": table, "C": table}});
        Database::new(Arc::new(DatabaseSchema::from_json(&json).unwrap()))
    }

    /// A change of a row, or its removal.
    fn delta(head: &Database, (table, uuid, value): (usize, u128, Option<i64>)) -> Vec<RowChange> {
        let row = value.map(|value| Arc::new(Row::new([Datum::from(value)])));
        let uuid = Uuid::from_u128(uuid);
        let old = head.row(table, uuid);
        let change = (old != row.as_ref()).then_some((table, uuid, row));
        head.delta(change)
    }

    type Rows = BTreeMap<(usize, Uuid), Arc<Row>>;

    fn all(head: &Database) -> Rows {
        let rows = |table| {
            head.rows(table)
                .map(move |(uuid, row)| ((table, uuid), row.clone()))
        };
        (0..3).flat_map(rows).collect()
    }

    fn any_changes() -> impl Strategy<Value = Vec<(usize, u128, Option<i64>)>> {
        let change = (0..3_usize, 0..12_u128, proptest::option::of(0..3_i64));
        proptest::collection::vec(change, 0..40)
    }

    proptest! {
        /// Whatever happens while it is gathered, a snapshot has what was there at its beginning.
        #[test]
        fn a_snapshot_stands_still(
            first in any_changes(),
            later in any_changes(),
            undone in 0..3_usize,
            rows in 1..5_usize,
        ) {
            let mut head = database();
            for change in first {
                let delta = delta(&head, change);
                head.apply(&delta).unwrap();
            }
            let expected = all(&head);
            let mut gather = Gather {
                content: Content::default(),
                table: 0,
                after: None,
                before: BTreeMap::new(),
                messages: Vec::new(),
            };
            for (step, change) in later.into_iter().enumerate() {
                let delta = delta(&head, change);
                gather.note(&delta);
                head.apply(&delta).unwrap();
                if step % 3 < undone {
                    head.undo(&delta).unwrap();
                }
                if step % 2 == 0 {
                    gather.advance(&head, rows);
                }
            }
            while !gather.advance(&head, rows) {}
            let gathered = gather.content.rows;
            let count = gathered.len();
            let gathered = gathered.into_iter();
            let gathered: Rows = gathered.map(|(table, uuid, row)| ((table, uuid), row)).collect();
            prop_assert_eq!(count, gathered.len(), "each row once");
            prop_assert_eq!(gathered, expected);
        }
    }
}
