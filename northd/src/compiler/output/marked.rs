//! Rows that are marked, by table: to be looked at when the next transaction is made.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::compiler::fact::{RowId, TableId};

/// A set of rows. Tables are in order; within a table, there is none. Everything costs the same, however many there are.
#[derive(Default)]
pub(super) struct Marked {
    /// No table is without rows.
    tables: BTreeMap<TableId, Pile>,
    len: usize,
}

/// Rows of one table, and where each stands.
#[derive(Default)]
struct Pile {
    rows: Vec<Uuid>,
    places: FxHashMap<Uuid, u32>,
}

impl Marked {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Marks a row.
    pub(super) fn insert(&mut self, id: RowId) {
        let Pile { rows, places } = self.tables.entry(id.table).or_default();
        let place = u32::try_from(rows.len()).expect("fewer than 2^32 rows fit in memory");
        if let Entry::Vacant(vacant) = places.entry(id.uuid) {
            vacant.insert(place);
            rows.push(id.uuid);
            self.len += 1;
        }
    }

    /// Takes the mark from a row, if it has one.
    pub(super) fn remove(&mut self, id: RowId) {
        let Some(pile) = self.tables.get_mut(&id.table) else {
            return;
        };
        let Some(place) = pile.places.remove(&id.uuid) else {
            return;
        };
        pile.rows.swap_remove(place as usize);
        if let Some(moved) = pile.rows.get(place as usize) {
            pile.places.insert(*moved, place);
        }
        if pile.rows.is_empty() {
            self.tables.remove(&id.table);
        }
        self.len -= 1;
    }

    /// A row of the first table.
    pub(super) fn first(&self) -> Option<RowId> {
        let (table, pile) = self.tables.first_key_value()?;
        last_of(*table, pile)
    }

    /// A row of the last table.
    pub(super) fn last(&self) -> Option<RowId> {
        let (table, pile) = self.tables.last_key_value()?;
        last_of(*table, pile)
    }

    /// All rows of a table.
    pub(super) fn of_table(&self, table: TableId) -> impl Iterator<Item = RowId> + '_ {
        let rows = self.tables.get(&table).into_iter();
        let rows = rows.flat_map(|pile| &pile.rows);
        rows.map(move |uuid| RowId { table, uuid: *uuid })
    }
}

fn last_of(table: TableId, pile: &Pile) -> Option<RowId> {
    let uuid = *pile.rows.last()?;
    Some(RowId { table, uuid })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::random::Rng;

    #[test]
    fn it_has_what_a_set_has() {
        let (mut marked, mut expected) = (Marked::default(), BTreeSet::new());
        let mut rng = Rng::new(7);
        for step in 0..5000 {
            let table = TableId::try_from(rng.below(3)).unwrap();
            let uuid = Uuid::from_u128(rng.below(40) as u128);
            let id = RowId { table, uuid };
            if rng.once_in(if step % 1000 < 500 { 3 } else { 2 }) {
                marked.remove(id);
                expected.remove(&id);
            } else {
                marked.insert(id);
                expected.insert(id);
            }
            assert_eq!(marked.len(), expected.len());
            let table = |id: Option<RowId>| id.map(|id| id.table);
            assert_eq!(table(marked.first()), table(expected.first().copied()));
            assert_eq!(table(marked.last()), table(expected.last().copied()));
            assert!(marked.first().is_none_or(|id| expected.contains(&id)));
            let of: BTreeSet<RowId> = (0..3).flat_map(|table| marked.of_table(table)).collect();
            assert_eq!(of, expected);
        }
    }
}
