//! Everything that the engine keeps besides rows, recomputed the slow way and compared.

use std::collections::BTreeSet;

use ovsdb::Row;
use rustc_hash::FxHashMap;

use crate::database::Database;
use crate::facts::{RowId, changed_references};

impl Database {
    /// Checks all that must hold between transactions: the schema's constraints, and that counts of references, the
    /// reverse of weak references and the indexes say what the rows say. Looks at everything: for tests, and for an
    /// operator who wants to know.
    ///
    /// # Errors
    /// Says what is wrong first.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_values()?;
        self.check_references()?;
        self.check_indexes()
    }

    fn check_values(&self) -> Result<(), String> {
        for (table, schema) in self.schema().tables.iter().enumerate() {
            if schema
                .max_rows
                .is_some_and(|max| self.row_count(table) > max)
            {
                return Err(format!("table {} has too many rows", schema.name));
            }
            for (uuid, row) in self.rows(table) {
                for (column, datum) in schema.columns.iter().zip(row.columns()) {
                    datum.check(&column.ty).map_err(|error| {
                        format!("{} row {uuid} column {}: {error}", schema.name, column.name)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn check_references(&self) -> Result<(), String> {
        let mut strong: FxHashMap<RowId, u32> = FxHashMap::default();
        let mut weak: BTreeSet<(RowId, RowId)> = BTreeSet::new();
        let all = |columns, row: &Row, each: &mut dyn FnMut(RowId)| {
            changed_references(columns, None, Some(row), &mut |_, target, _| each(target));
        };
        for (table, facts) in self.facts.iter().enumerate() {
            for (uuid, row) in self.rows(table) {
                all(&facts.strong, row, &mut |target| {
                    if target != (table, uuid) {
                        *strong.entry(target).or_default() += 1;
                    }
                });
                all(&facts.weak, row, &mut |target| {
                    weak.insert((target, (table, uuid)));
                });
            }
        }
        let dangling = strong.keys().chain(weak.iter().map(|(target, _)| target));
        for &(table, uuid) in dangling {
            if self.row(table, uuid).is_none() {
                return Err(format!("a reference to {table}/{uuid} dangles"));
            }
        }
        for (table, schema) in self.schema().tables.iter().enumerate() {
            for (&uuid, entry) in &self.tables[table].entries {
                let counted = strong.get(&(table, uuid)).copied().unwrap_or_default();
                if counted != entry.strong {
                    return Err(format!(
                        "{} row {uuid} has {counted} strong references, {} were counted",
                        schema.name, entry.strong
                    ));
                }
                if counted == 0 && !schema.is_root {
                    return Err(format!("{} row {uuid} is garbage", schema.name));
                }
            }
        }
        if !self.weak.iter().eq(weak) {
            return Err("the reverse of the weak references is wrong".to_owned());
        }
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), String> {
        for (table, schema) in self.schema().tables.iter().enumerate() {
            let indexes = &self.tables[table];
            for index in indexes.unique.iter().chain(&indexes.lookups) {
                let has_all = self.rows(table).all(|(uuid, row)| index.has(uuid, row));
                if !has_all || index.len() != self.row_count(table) {
                    return Err(format!("an index of table {} is wrong", schema.name));
                }
            }
            for index in &indexes.unique {
                let values = self.rows(table).map(|(_, row)| {
                    let columns = index.columns().iter();
                    columns.map(|&c| row.get(c)).collect::<Vec<_>>()
                });
                if values.collect::<BTreeSet<_>>().len() != self.row_count(table) {
                    return Err(format!("table {} has equal rows", schema.name));
                }
            }
        }
        Ok(())
    }
}
