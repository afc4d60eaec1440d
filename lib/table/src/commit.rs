//! What is checked, and what follows by itself, when a transaction ends (RFC 7047, section 3.2).
//!
//! In this order, which is Open vSwitch's too and which decides which error a transaction with several faults gets:
//!
//! 1. every strong reference that was added is to a row that exists, and no row that was deleted is referred to;
//! 2. rows of tables that are not roots and to which nobody refers any more go, and those that only they held;
//! 3. no table has more rows than it may;
//! 4. weak references to rows that do not exist go, if the column may be so short (which may let more rows go: 2);
//! 5. no two rows are equal in the columns of an index.
//!
//! All of it costs what the transaction changed and what refers to that. References of a row to itself do not keep it
//! alive; rings of several rows do.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::error::{Error, ErrorKind};
use ovsdb::{Datum, RowChange, Uuid};

use crate::database::StrongCounts;
use crate::facts::{RefColumn, RowId, changed_references};
use crate::index::Index;
use crate::transaction::Transaction;

impl Transaction<'_> {
    /// Ends the transaction: what it changed, or why it cannot be; then it has changed nothing.
    pub(crate) fn commit(mut self) -> Result<Vec<RowChange>, Error> {
        match self.conclude() {
            Ok((delta, counts)) => {
                self.database.settle(&delta, counts);
                Ok(delta)
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn conclude(&mut self) -> Result<(Vec<RowChange>, StrongCounts), Error> {
        let changes = self.changes();
        let puts = self.puts();
        let mut counts = self.check_strong_references(&changes)?;
        let mut unreferenced = self.unreferenced(&changes, &counts);
        let added = self.added_weak_references(&changes);
        let mut gone: Vec<RowId> = changes
            .iter()
            .filter(|change| change.new.is_none())
            .map(|change| (change.table, change.uuid))
            .collect();
        gone.extend(self.collect_garbage(&mut unreferenced, &mut counts));
        self.check_row_limits(&changes)?;
        // Dropping a weak reference may drop the strong one that shares its pair in a map, so the two alternate.
        loop {
            let mut dangling: BTreeSet<RowId> = BTreeSet::new();
            for &target in &gone {
                dangling.extend(self.database.weak.sources(target));
            }
            let nowhere = added
                .iter()
                .filter(|(target, _)| self.row(*target).is_none());
            dangling.extend(nowhere.map(|&(_, source)| source));
            for source in dangling {
                self.drop_weak_references(source, &mut counts, &mut unreferenced)?;
            }
            gone = self.collect_garbage(&mut unreferenced, &mut counts);
            if gone.is_empty() {
                break;
            }
        }
        // Mostly nothing follows by itself.
        let delta = match self.puts() == puts {
            true => changes,
            false => self.changes(),
        };
        self.check_indexes(&delta)?;
        Ok((delta, counts))
    }

    /// Step 1: counts the strong references that come and go.
    fn check_strong_references(&self, changes: &[RowChange]) -> Result<StrongCounts, Error> {
        let facts = self.database.facts.clone();
        let mut counts = StrongCounts::default();
        let mut missing: Option<(RowId, usize, RowId)> = None;
        for change in changes {
            let id = (change.table, change.uuid);
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            let strong = &facts[change.table].strong;
            changed_references(strong, old, new, &mut |column, target, added| {
                counts.add(id, target, added);
                if added && missing.is_none() && self.row(target).is_none() {
                    missing = Some((id, column.column, target));
                }
            });
        }
        for change in changes.iter().filter(|change| change.new.is_none()) {
            let id = (change.table, change.uuid);
            let before = self.strong_before(id);
            let remaining = before + counts.0.get(&id).copied().unwrap_or_default();
            if remaining > 0 && missing.is_none_or(|(_, _, target)| target != id) {
                return Err(integrity(format!(
                    "cannot delete {} row {} because of {remaining} remaining reference(s)",
                    self.name(id.0),
                    id.1
                )));
            }
        }
        if let Some((source, column, target)) = missing {
            return Err(integrity(format!(
                "Table {} column {} row {} references nonexistent row {} in table {}.",
                self.name(source.0),
                self.column_name(source.0, column),
                source.1,
                target.1,
                self.name(target.0)
            )));
        }
        Ok(counts)
    }

    /// The rows with which step 2 begins: new ones, and those that lost references, if nobody refers to them.
    fn unreferenced(&self, changes: &[RowChange], counts: &StrongCounts) -> Vec<RowId> {
        let inserted = changes
            .iter()
            .filter(|change| change.old.is_none())
            .map(|change| (change.table, change.uuid));
        let lost = counts.0.iter().filter(|(_, lost)| **lost < 0);
        inserted
            .chain(lost.map(|(&id, _)| id))
            .filter(|&id| self.is_garbage(id, counts))
            .collect()
    }

    fn is_garbage(&self, id: RowId, counts: &StrongCounts) -> bool {
        !self.database.schema().tables[id.0].is_root
            && self.row(id).is_some()
            && self.strong_before(id) + counts.0.get(&id).copied().unwrap_or_default() == 0
    }

    /// Step 2: deletes what is unreferenced, and what becomes so thereby. Returns the deleted rows.
    fn collect_garbage(
        &mut self,
        unreferenced: &mut Vec<RowId>,
        counts: &mut StrongCounts,
    ) -> Vec<RowId> {
        let facts = self.database.facts.clone();
        let mut gone = Vec::new();
        while let Some(id) = unreferenced.pop() {
            if !self.is_garbage(id, counts) {
                continue;
            }
            let Some(row) = self.row(id).cloned() else {
                continue;
            };
            self.put(id, None);
            gone.push(id);
            let strong = &facts[id.0].strong;
            changed_references(strong, Some(&row), None, &mut |_, target, added| {
                counts.add(id, target, added);
                unreferenced.push(target);
            });
        }
        gone
    }

    /// Step 3.
    fn check_row_limits(&self, changes: &[RowChange]) -> Result<(), Error> {
        let grown: BTreeSet<usize> = changes
            .iter()
            .filter(|change| change.old.is_none())
            .map(|change| change.table)
            .collect();
        for table in grown {
            let rows = self.database.row_count(table);
            if let Some(limit) = self.database.schema().tables[table].max_rows
                && rows > limit
            {
                return Err(Error::constraint(format!(
                    "transaction causes \"{}\" table to contain {rows} rows, greater than the schema-defined limit \
                     of {limit} row(s)",
                    self.name(table)
                )));
            }
        }
        Ok(())
    }

    /// The weak references that this transaction added: (to, from).
    fn added_weak_references(&self, changes: &[RowChange]) -> Vec<(RowId, RowId)> {
        let mut added_references = Vec::new();
        for change in changes {
            let id = (change.table, change.uuid);
            let weak = &self.database.facts[change.table].weak;
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            changed_references(weak, old, new, &mut |_, target, added| {
                if added {
                    added_references.push((target, id));
                }
            });
        }
        added_references
    }

    /// Step 4, for one row.
    fn drop_weak_references(
        &mut self,
        source: RowId,
        counts: &mut StrongCounts,
        unreferenced: &mut Vec<RowId>,
    ) -> Result<(), Error> {
        let facts = self.database.facts.clone();
        let Some(old) = self.row(source).cloned() else {
            return Ok(());
        };
        let mut new = None;
        for column in &facts[source.0].weak {
            let datum = old.get(column.column);
            let mut exists = |target: RowId| self.row(target).is_some();
            if column.targets(datum).all(&mut exists) {
                continue;
            }
            let (kept, dropped) = column.retain(datum, &mut exists);
            self.check_still_enough(source, column, datum, &kept, dropped)?;
            new.get_or_insert_with(|| (*old).clone())
                .set(column.column, kept);
        }
        let Some(new) = new else {
            return Ok(());
        };
        let strong = &facts[source.0].strong;
        changed_references(strong, Some(&old), Some(&new), &mut |_, target, added| {
            counts.add(source, target, added);
            unreferenced.push(target);
        });
        self.put(source, Some(Arc::new(new)));
        Ok(())
    }

    fn check_still_enough(
        &self,
        source: RowId,
        column: &RefColumn,
        datum: &Datum,
        kept: &Datum,
        dropped: usize,
    ) -> Result<(), Error> {
        let schema = &self.database.schema().tables[source.0].columns[column.column];
        if kept.len() >= schema.ty.min {
            return Ok(());
        }
        let which = format!(
            "column \"{}\" in \"{}\" row {} ({})",
            schema.name,
            self.name(source.0),
            source.1,
            self.fate(source)
        );
        let unset = column.targets(datum).all(|(_, uuid)| uuid.is_nil());
        Err(Error::constraint(if unset {
            format!(
                "Weak reference {which} is all zeros, probably because it was not given a value, and may not be empty."
            )
        } else {
            format!(
                "Deletion of {dropped} weak reference(s) to deleted (or never-existing) rows from {which} caused this \
                 column to become empty, but constraints on this column disallow an empty column."
            )
        }))
    }

    /// Step 5.
    fn check_indexes(&self, delta: &[RowChange]) -> Result<(), Error> {
        for change in delta {
            let Some(row) = &change.new else {
                continue;
            };
            for index in &self.database.tables[change.table].unique {
                let twin = index.like(row).find(|&uuid| {
                    let other = self.row((change.table, uuid));
                    uuid != change.uuid && other.is_some_and(|other| !index.differ(row, other))
                });
                if let Some(twin) = twin {
                    return Err(self.duplicate(change, index, twin));
                }
            }
        }
        Ok(())
    }

    fn duplicate(&self, change: &RowChange, index: &Index, twin: Uuid) -> Error {
        let columns = index.columns();
        let row = change.new.as_ref().expect("only rows that exist are twins");
        let values: Vec<String> = columns.iter().map(|&c| row.get(c).to_string()).collect();
        let names: Vec<String> = columns
            .iter()
            .map(|&c| format!("\"{}\"", self.column_name(change.table, c)))
            .collect();
        let names = match names.as_slice() {
            [name] => format!("column {name}"),
            [first @ .., last] => format!("columns {} and {last}", first.join(", ")),
            [] => "no column".to_owned(),
        };
        Error::constraint(format!(
            "Transaction causes multiple rows in \"{}\" table to have identical values ({}) for index on {names}.  \
             First row, with UUID {}, {}.  Second row, with UUID {twin}, {}.",
            self.name(change.table),
            values.join(" and "),
            change.uuid,
            self.fate((change.table, change.uuid)),
            self.fate((change.table, twin)),
        ))
    }

    /// What the transaction did to a row that exists, in words.
    fn fate(&self, id: RowId) -> &'static str {
        if self.inserted(id) {
            "was inserted by this transaction"
        } else if self.touched(id) {
            "existed in the database before this transaction, which modified some of the row's columns"
        } else {
            "existed in the database before this transaction and was not modified by the transaction"
        }
    }

    fn name(&self, table: usize) -> &str {
        &self.database.schema().tables[table].name
    }

    fn column_name(&self, table: usize, column: usize) -> &str {
        &self.database.schema().tables[table].columns[column].name
    }
}

fn integrity(details: String) -> Error {
    Error::new(ErrorKind::ReferentialIntegrityViolation, details)
}
