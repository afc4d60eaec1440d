//! Indexes that only make queries faster.
//!
//! To make one of a table with a million rows takes most of a second. So whoever can do without for a while
//! [wants](Database::want_lookup) it, and it grows row by row, in the order of the rows' identities, whenever there is
//! time ([`Database::grow_lookups`]). Until it has all of them, nobody asks it. What changes meanwhile is put into it if
//! it has got that far, and else when it gets there.

use std::sync::Arc;

use ovsdb::{Datum, Row, Uuid};

use crate::database::{Database, Table};
use crate::index::{Growing, Index};

/// An index of a table with no more rows is made at once.
const MADE_AT_ONCE: usize = 1024;

impl Database {
    /// Sees to it that rows of the table can be found by the contents of these columns without looking at all of them,
    /// now: of a large table, that takes long. The database also wants such an index by itself, for a column by which
    /// it is queried repeatedly.
    ///
    /// # Panics
    /// If the schema has no such table or column.
    pub fn add_lookup(&mut self, table: usize, columns: &[usize]) {
        self.want_lookup(table, columns);
        let table = &mut self.tables[table];
        if table.index_over(columns).is_none() {
            table.grow(usize::MAX);
        }
    }

    /// The same, if the table is small. Else the index is made piece by piece, in [`Database::grow_lookups`].
    ///
    /// # Panics
    /// If the schema has no such table or column.
    pub fn want_lookup(&mut self, table: usize, columns: &[usize]) {
        let count = self.schema().tables[table].columns.len();
        assert!(columns.iter().all(|&c| c < count), "the columns exist");
        let table = &mut self.tables[table];
        let mut growing = table.growing.iter();
        if table.index_over(columns).is_some()
            || growing.any(|growing| growing.index.columns() == columns)
        {
            return;
        }
        table.growing.push(Growing {
            index: Index::new(columns),
            up_to: None,
        });
        if table.entries.len() <= MADE_AT_ONCE {
            table.grow(usize::MAX);
        }
    }

    /// Whether rows of the table can be found by the contents of these columns without looking at all of them.
    pub fn has_lookup(&self, table: usize, columns: &[usize]) -> bool {
        let table = self.tables.get(table);
        table.is_some_and(|table| table.index_over(columns).is_some())
    }

    /// Whether an index is wanted that does not have all rows yet.
    pub fn has_growing_lookups(&self) -> bool {
        self.tables.iter().any(|table| !table.growing.is_empty())
    }

    /// Puts so many more rows into indexes that are wanted. Returns how many it has put.
    pub fn grow_lookups(&mut self, rows: usize) -> usize {
        let mut left = rows;
        for table in &mut self.tables {
            left -= table.grow(left);
        }
        rows - left
    }

    /// The rows of the table whose `column` has exactly these contents, in the order of their identities: through an
    /// index if there is one, see [`Database::add_lookup`].
    pub fn rows_with(
        &self,
        table: usize,
        column: usize,
        contents: &Datum,
    ) -> Vec<(Uuid, &Arc<Row>)> {
        let Some(table) = self.tables.get(table) else {
            return Vec::new();
        };
        let row = |uuid| Some((uuid, &table.entries.get(&uuid)?.row));
        let matches = |(_, row): &(Uuid, &Arc<Row>)| row.get(column) == contents;
        match table.index_over(&[column]) {
            Some(index) => index
                .candidates([contents])
                .filter_map(row)
                .filter(matches)
                .collect(),
            None => table
                .entries
                .iter()
                .map(|(&uuid, entry)| (uuid, &entry.row))
                .filter(matches)
                .collect(),
        }
    }

    /// Of the rows after the one called `after`, or of all, so many that may have these contents in `column`, among
    /// them all that do, in the order of their identities: for finding them piece by piece, through an index. Nothing if
    /// there is none.
    pub fn candidates_after(
        &self,
        (table, column): (usize, usize),
        contents: &Datum,
        after: Option<Uuid>,
        rows: usize,
    ) -> Option<Vec<(Uuid, &Arc<Row>)>> {
        let table = self.tables.get(table)?;
        let candidates = table.index_over(&[column])?;
        let candidates = candidates.candidates_after([contents], after).take(rows);
        let row = |uuid| Some((uuid, &table.entries.get(&uuid)?.row));
        Some(candidates.filter_map(row).collect())
    }
}

impl Table {
    /// Puts so many more rows into indexes that are wanted, one after the other. Returns how many it has put.
    fn grow(&mut self, rows: usize) -> usize {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut put = 0;
        while put < rows
            && let Some(growing) = self.growing.first_mut()
        {
            let start = growing.up_to.map_or(Unbounded, Excluded);
            let mut more = self.entries.range((start, Unbounded));
            for (&uuid, entry) in more.by_ref().take(rows - put) {
                growing.index.insert(uuid, &entry.row);
                growing.up_to = Some(uuid);
                put += 1;
            }
            if more.next().is_none() {
                self.lookups.push(self.growing.remove(0).index);
            }
        }
        put
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::schema::DatabaseSchema;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn database() -> Database {
        let columns = json!({"a": {"type": "integer"}, "b": {"type": "integer"}});
        let json = json!({"name": "T", "tables": {"A": {"columns": columns, "isRoot": true}}});
        Database::new(Arc::new(DatabaseSchema::from_json(&json).unwrap()))
    }

    fn put(database: &mut Database, uuid: u128, value: Option<i64>) {
        let row = value.map(|value| Arc::new(Row::new([value, -value].map(Datum::from))));
        let delta = database.delta([(0, Uuid::from_u128(uuid), row)]);
        database.apply(&delta).unwrap();
    }

    proptest! {
        /// Whatever changes while it grows, an index has what one has that is made at the end.
        #[test]
        fn an_index_that_grows_is_as_one_that_is_made_at_once(
            changes in proptest::collection::vec((0..20_u128, proptest::option::of(0..3_i64)), 0..60),
            wanted_at in 0..30_usize,
            rows in 1..4_usize,
        ) {
            let mut database = database();
            for (number, (uuid, value)) in changes.into_iter().enumerate() {
                if number == wanted_at {
                    for columns in [&[0][..], &[1, 0]] {
                        let index = Index::new(columns);
                        database.tables[0].growing.push(Growing { index, up_to: None });
                    }
                }
                put(&mut database, uuid, value);
                if number % 3 == 0 {
                    prop_assert!(database.grow_lookups(rows) <= rows);
                }
            }
            while database.has_growing_lookups() {
                database.grow_lookups(rows);
            }
            prop_assert_eq!(database.check_invariants(), Ok(()));
            for value in 0..3 {
                let value = Datum::from(value);
                let all = database.rows(0).filter(|(_, row)| *row.get(0) == value);
                let all: Vec<Uuid> = all.map(|(uuid, _)| uuid).collect();
                let found = database.rows_with(0, 0, &value);
                prop_assert_eq!(found.into_iter().map(|(uuid, _)| uuid).collect::<Vec<_>>(), all.clone());
                let (mut pieces, mut after) = (Vec::new(), None);
                while let Some(found) = database.candidates_after((0, 0), &value, after, rows)
                    && let Some((last, _)) = found.last()
                {
                    after = Some(*last);
                    pieces.extend(found.iter().map(|(uuid, _)| *uuid));
                }
                if database.has_lookup(0, &[0]) {
                    prop_assert_eq!(pieces, all);
                }
            }
        }
    }

    #[test]
    fn of_a_large_table_an_index_is_made_piece_by_piece() {
        let mut database = database();
        for uuid in 0..MADE_AT_ONCE as u128 + 1 {
            put(&mut database, uuid, Some(1));
        }
        database.want_lookup(0, &[0]);
        database.want_lookup(0, &[0]);
        assert!(!database.has_lookup(0, &[0]) && database.has_growing_lookups());
        assert_eq!(database.grow_lookups(MADE_AT_ONCE), MADE_AT_ONCE);
        assert!(!database.has_lookup(0, &[0]));
        assert_eq!(database.grow_lookups(MADE_AT_ONCE), 1);
        assert!(database.has_lookup(0, &[0]) && !database.has_growing_lookups());
    }
}
