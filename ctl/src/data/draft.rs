//! A transaction in the making: a snapshot with changes on top.
//!
//! Commands see what the commands before them have changed. What a command has read and relied upon it says with
//! [`Draft::verify`] and [`Draft::expect_no_other`]; the transaction then fails, and the line is run again, if somebody
//! else has changed that meanwhile. Elements of sets and maps are added and removed one by one where possible, so that
//! writers of different elements do not get in each other's way.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Column, Datum, Mutation, Mutator, Row, Uuid};

use super::Snapshot;
use crate::error::{Outcome, fail};

/// A transaction in the making.
#[derive(Debug)]
pub struct Draft<'s> {
    snapshot: &'s Snapshot,
    pub(super) rows: BTreeMap<(usize, Uuid), RowDraft>,
    pub(super) inserted: Vec<(usize, Uuid)>,
    pub(super) symbols: BTreeMap<String, Symbol>,
    pub(super) unique: BTreeSet<(usize, usize, Datum)>,
    pub(super) singles: BTreeSet<usize>,
    pub(super) counter: Option<(usize, Uuid, usize)>,
    /// For columns that were searched: the snapshot's rows by what they hold there.
    indexes: RefCell<BTreeMap<(usize, usize), ByValue>>,
    /// The rows into which commands have put this value, whether they still hold it or not.
    written: BTreeMap<(usize, usize), ByValue>,
}

/// Rows by the value of a column.
type ByValue = HashMap<Datum, Vec<Uuid>>;

/// A row that the draft touches.
#[derive(Debug)]
pub(super) struct RowDraft {
    /// What it is now; `None` when it was deleted.
    pub row: Option<Row>,
    /// Whether the snapshot has it.
    pub existed: bool,
    /// The columns that are overwritten.
    pub written: BTreeSet<usize>,
    /// The columns that are changed element by element.
    pub mutations: Vec<Mutation>,
    /// The columns that must still hold what the snapshot says.
    pub verified: BTreeSet<usize>,
}

/// A row that the command line calls `@name`.
#[derive(Debug)]
pub(super) struct Symbol {
    pub uuid: Uuid,
    /// The table that `create` put it in, or that `get` found it in.
    pub table: Option<usize>,
    /// Whether it was made by `create`.
    pub created: bool,
}

impl<'s> Draft<'s> {
    /// A draft without changes.
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            rows: BTreeMap::new(),
            inserted: Vec::new(),
            symbols: BTreeMap::new(),
            unique: BTreeSet::new(),
            singles: BTreeSet::new(),
            counter: None,
            indexes: RefCell::new(BTreeMap::new()),
            written: BTreeMap::new(),
        }
    }

    /// The state under the changes.
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// The schema by which tables and columns are numbered.
    pub fn schema(&self) -> &'s DatabaseSchema {
        self.snapshot.schema()
    }

    /// The schema of the table with this index.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn table_schema(&self, table: usize) -> &'s TableSchema {
        &self.schema().tables[table]
    }

    /// The row, if it is there.
    pub fn row(&self, table: usize, uuid: Uuid) -> Option<&Row> {
        match self.rows.get(&(table, uuid)) {
            Some(draft) => draft.row.as_ref(),
            None => self.snapshot.table(table).get(&uuid).map(|row| &**row),
        }
    }

    /// The rows of a table: those of the snapshot in the order of their UUIDs, then the new ones in the order in which
    /// they were made.
    pub fn rows(&self, table: usize) -> impl Iterator<Item = (Uuid, &Row)> {
        let old = self.snapshot.table(table).keys();
        let new = self.inserted.iter();
        old.copied()
            .chain(
                new.filter(move |(of, _)| *of == table)
                    .map(|(_, uuid)| *uuid),
            )
            .filter_map(move |uuid| Some((uuid, self.row(table, uuid)?)))
    }

    /// The rows that hold exactly `wanted` in this column, in the order of [`Draft::rows`].
    pub fn rows_with(&self, table: usize, column: usize, wanted: &Datum) -> Vec<Uuid> {
        let holds = |uuid: &Uuid| {
            self.row(table, *uuid)
                .is_some_and(|row| row.get(column) == wanted)
        };
        // New rows hold defaults without anybody having written them.
        if *wanted == Datum::default_for(&self.table_schema(table).columns[column].ty) {
            let all = self.rows(table).map(|(uuid, _)| uuid);
            return all.filter(holds).collect();
        }
        let mut indexes = self.indexes.borrow_mut();
        let index = indexes.entry((table, column)).or_insert_with(|| {
            let mut index = ByValue::new();
            for (uuid, row) in self.snapshot.table(table) {
                index
                    .entry(row.get(column).clone())
                    .or_default()
                    .push(*uuid);
            }
            index
        });
        let before = index.get(wanted).into_iter().flatten();
        let written = self.written.get(&(table, column));
        let since = written
            .and_then(|index| index.get(wanted))
            .into_iter()
            .flatten();
        let mut found: Vec<Uuid> = before.copied().filter(holds).collect();
        for uuid in since.filter(|uuid| holds(uuid)) {
            if !found.contains(uuid) {
                found.push(*uuid);
            }
        }
        found
    }

    /// Whether the transaction would do anything.
    pub fn is_unchanged(&self) -> bool {
        self.inserted.iter().all(|key| self.rows[key].row.is_none())
            && self
                .rows
                .values()
                .all(|draft| !draft.existed || draft.is_unchanged())
            && self.counter.is_none()
    }

    /// Makes a row of defaults.
    pub fn insert_row(&mut self, table: usize, uuid: Uuid) {
        let row = Row::default_for(self.table_schema(table));
        let draft = RowDraft {
            row: Some(row),
            existed: false,
            written: BTreeSet::new(),
            mutations: Vec::new(),
            verified: BTreeSet::new(),
        };
        self.rows.insert((table, uuid), draft);
        self.inserted.push((table, uuid));
    }

    /// Deletes a row.
    pub fn delete_row(&mut self, table: usize, uuid: Uuid) {
        if let Some(draft) = self.touch(table, uuid) {
            draft.row = None;
        }
    }

    /// Overwrites a column. Nothing happens if the row is gone.
    pub fn write(&mut self, table: usize, uuid: Uuid, column: usize, datum: Datum) {
        if let Some(draft) = touch(&mut self.rows, self.snapshot, table, uuid)
            && let Some(row) = &mut draft.row
            && (!draft.existed || row.get(column) != &datum)
        {
            row.set(column, datum.clone());
            draft.mutations.retain(|mutation| mutation.column != column);
            draft.written.insert(column);
            let index = self.written.entry((table, column)).or_default();
            index.entry(datum).or_default().push(uuid);
        }
    }

    /// Adds elements to a set or pairs to a map, or takes them away.
    pub fn mutate(&mut self, table: usize, uuid: Uuid, mutation: Mutation) {
        let ty = &self.table_schema(table).columns[mutation.column].ty;
        let Some(draft) = touch(&mut self.rows, self.snapshot, table, uuid) else {
            return;
        };
        let Some(row) = &mut draft.row else {
            return;
        };
        let column = mutation.column;
        // What the server will refuse it shall refuse in its own words.
        match mutation.apply(ty, row.get(column)) {
            Ok(datum) if datum == *row.get(column) => return,
            Ok(datum) => {
                if ty.max == 1 {
                    let index = self.written.entry((table, column)).or_default();
                    index.entry(datum.clone()).or_default().push(uuid);
                }
                row.set(column, datum);
            }
            Err(_) if !draft.existed || draft.written.contains(&column) => {
                let all = row.get(column).atoms().iter().chain(mutation.arg.atoms());
                row.set(column, Datum::set(all.cloned()));
            }
            Err(_) => {}
        }
        if draft.existed && !draft.written.contains(&column) {
            draft.push_mutation(mutation);
        }
    }

    /// Makes the transaction depend on the column still holding what the snapshot says.
    pub fn verify(&mut self, table: usize, uuid: Uuid, column: usize) {
        if let Some(draft) = self.touch(table, uuid)
            && draft.existed
        {
            draft.verified.insert(column);
        }
    }

    /// Makes the transaction depend on the snapshot's rows with this value in this column being all of them.
    pub fn expect_no_other(&mut self, table: usize, column: usize, datum: Datum) {
        self.unique.insert((table, column, datum));
    }

    /// Makes the transaction depend on the table being empty.
    pub fn expect_empty(&mut self, table: usize) {
        self.singles.insert(table);
    }

    /// Makes the transaction increment this integer; what it was does not matter.
    pub fn increment(&mut self, table: usize, uuid: Uuid, column: usize) {
        self.counter = Some((table, uuid, column));
    }

    fn touch(&mut self, table: usize, uuid: Uuid) -> Option<&mut RowDraft> {
        touch(&mut self.rows, self.snapshot, table, uuid)
    }
}

/// The draft of a row, begun if there is none yet; `None` if there is no such row.
fn touch<'r>(
    rows: &'r mut BTreeMap<(usize, Uuid), RowDraft>,
    snapshot: &Snapshot,
    table: usize,
    uuid: Uuid,
) -> Option<&'r mut RowDraft> {
    if let Entry::Vacant(entry) = rows.entry((table, uuid)) {
        let row = snapshot.table(table).get(&uuid)?;
        entry.insert(RowDraft {
            row: Some(Row::clone(row)),
            existed: true,
            written: BTreeSet::new(),
            mutations: Vec::new(),
            verified: BTreeSet::new(),
        });
    }
    rows.get_mut(&(table, uuid))
}

impl RowDraft {
    /// Adds a mutation; to the last one, if that does the same to the same set.
    fn push_mutation(&mut self, mutation: Mutation) {
        match self.mutations.last_mut() {
            Some(last)
                if last.column == mutation.column
                    && last.mutator == mutation.mutator
                    && !matches!(mutation.arg, Datum::Map(_))
                    && !matches!(last.arg, Datum::Map(_)) =>
            {
                let atoms = last.arg.atoms().iter().chain(mutation.arg.atoms());
                last.arg = Datum::set(atoms.cloned());
            }
            _ => self.mutations.push(mutation),
        }
    }

    /// Whether nothing is done to it.
    pub fn is_unchanged(&self) -> bool {
        self.row.is_some() && self.written.is_empty() && self.mutations.is_empty()
    }
}

/// Rows called `@name`.
impl Draft<'_> {
    /// The UUID of the row called `name`, which may come to be only later in the line.
    pub fn symbol(&mut self, name: &str) -> Uuid {
        let symbol = self
            .symbols
            .entry(name.to_owned())
            .or_insert_with(|| Symbol {
                uuid: Uuid::new_v4(),
                table: None,
                created: false,
            });
        symbol.uuid
    }

    /// Gives a new row the name, and says which UUID it must therefore have.
    pub fn create_symbol(&mut self, name: &str, table: usize) -> Outcome<Uuid> {
        let uuid = self.symbol(name);
        match self.symbols.get_mut(name) {
            Some(symbol) if symbol.table.is_none() => {
                symbol.table = Some(table);
                symbol.created = true;
                Ok(uuid)
            }
            _ => fail(format!(
                "row id \"{name}\" may only be specified on one --id option"
            )),
        }
    }

    /// Gives an existing row the name.
    pub fn name_row(&mut self, name: &str, table: usize, uuid: Uuid) -> Outcome {
        if self.symbols.contains_key(name) {
            return fail(format!(
                "row id \"{name}\" may only be specified on one --id option"
            ));
        }
        let symbol = Symbol {
            uuid,
            table: Some(table),
            created: false,
        };
        self.symbols.insert(name.to_owned(), symbol);
        Ok(())
    }

    /// Names that were used, but never given to a row: the first of them, if any.
    pub fn undefined_symbol(&self) -> Option<&str> {
        let mut symbols = self.symbols.iter();
        symbols
            .find(|(_, symbol)| symbol.table.is_none())
            .map(|(name, _)| name.as_str())
    }
}

/// Typed access, for tables of our own schemas.
impl Draft<'_> {
    /// The index of table `T`, which the server must have.
    pub fn table_of<T: TableDefinition>(&self) -> Outcome<usize> {
        match self.schema().table_index(T::NAME) {
            Some(table) if self.snapshot.has_table(T::NAME) => Ok(table),
            _ => fail(format!("the database has no table {}", T::NAME)),
        }
    }

    /// The indexes of table `T` and the column, which the server must have.
    pub fn column_of<T: TableDefinition, V>(&self, column: Column<V>) -> Outcome<(usize, usize)> {
        let table = self.table_of::<T>()?;
        if self.snapshot.has_column(T::NAME, column.name) {
            Ok((table, column.index))
        } else {
            fail(format!(
                "the database has no column {} in table {}",
                column.name,
                T::NAME
            ))
        }
    }

    /// What a column of a row holds; the default if the row or the column is not there.
    pub fn get<T: TableDefinition, V: ColumnValue>(&self, uuid: Uuid, column: Column<V>) -> V {
        let datum = self
            .column_of::<T, V>(column)
            .ok()
            .and_then(|(table, column)| Some(self.row(table, uuid)?.get(column)));
        match datum {
            Some(datum) => V::from_datum(datum),
            None => V::from_datum(&Datum::empty_set()),
        }
    }

    /// A row as a struct; columns that the server does not have hold their defaults.
    pub fn typed<T: TableDefinition>(&self, uuid: Uuid) -> Option<T> {
        let table = self.table_of::<T>().ok()?;
        Some(T::from_row(uuid, self.row(table, uuid)?))
    }

    /// All rows of a table as structs.
    pub fn all<T: TableDefinition>(&self) -> Vec<T> {
        let Ok(table) = self.table_of::<T>() else {
            return Vec::new();
        };
        self.rows(table)
            .map(|(uuid, row)| T::from_row(uuid, row))
            .collect()
    }

    /// The UUIDs of the rows that have `value` in `column`.
    pub fn find<T: TableDefinition, V: ColumnValue>(
        &self,
        column: Column<V>,
        value: &V,
    ) -> Vec<Uuid> {
        let Ok((table, column)) = self.column_of::<T, V>(column) else {
            return Vec::new();
        };
        self.rows_with(table, column, &value.to_datum())
    }

    /// Makes a row of defaults, and says its UUID.
    pub fn insert<T: TableDefinition>(&mut self) -> Outcome<Uuid> {
        let table = self.table_of::<T>()?;
        let uuid = Uuid::new_v4();
        self.insert_row(table, uuid);
        Ok(uuid)
    }

    /// Deletes a row.
    pub fn delete<T: TableDefinition>(&mut self, uuid: Uuid) -> Outcome {
        let table = self.table_of::<T>()?;
        self.delete_row(table, uuid);
        Ok(())
    }

    /// Overwrites a column.
    pub fn set<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        value: &V,
    ) -> Outcome {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.write(table, uuid, column, value.to_datum());
        Ok(())
    }

    /// Adds elements or pairs to a column.
    pub fn add_to<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        elements: &V,
    ) -> Outcome {
        let (table, column) = self.column_of::<T, V>(column)?;
        let mutation = Mutation::new(column, Mutator::Insert, elements.to_datum());
        self.mutate(table, uuid, mutation);
        Ok(())
    }

    /// Takes elements or pairs out of a column.
    pub fn remove_from<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        elements: &V,
    ) -> Outcome {
        let (table, column) = self.column_of::<T, V>(column)?;
        let mutation = Mutation::new(column, Mutator::Delete, elements.to_datum());
        self.mutate(table, uuid, mutation);
        Ok(())
    }

    /// Makes the transaction depend on the rows with this value in this column being those of the snapshot.
    pub fn rely_on_value<T: TableDefinition, V: ColumnValue>(
        &mut self,
        column: Column<V>,
        value: &V,
    ) -> Outcome {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.expect_no_other(table, column, value.to_datum());
        Ok(())
    }

    /// Makes the transaction depend on a column still holding what the snapshot says.
    pub fn rely_on<T: TableDefinition, V>(&mut self, uuid: Uuid, column: Column<V>) -> Outcome {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.verify(table, uuid, column);
        Ok(())
    }
}
