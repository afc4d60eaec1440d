//! The draft itself: rows, and what becomes of them.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{Atom, Datum, Mutation, Row, Uuid};

use crate::rows::Rows;

/// A transaction in the making.
#[derive(Debug)]
pub struct Draft<'s> {
    before: &'s dyn Rows,
    pub(super) rows: BTreeMap<(usize, Uuid), RowDraft>,
    pub(super) inserted: Vec<(usize, Uuid)>,
    pub(super) unique: BTreeSet<(usize, usize, Datum)>,
    pub(super) singles: BTreeSet<usize>,
    pub(super) counter: Option<(usize, Uuid, usize)>,
    /// For columns that were searched and have no index: the rows before the draft by what they hold there.
    indexes: RefCell<BTreeMap<(usize, usize), ByValue>>,
    /// The same, by the elements that they hold there.
    element_indexes: RefCell<BTreeMap<(usize, usize), ByElement>>,
    /// The rows into which commands have put this value, whether they still hold it or not.
    written: BTreeMap<(usize, usize), ByValue>,
}

/// Rows by the value of a column.
type ByValue = HashMap<Datum, Vec<Uuid>>;

/// Rows by the elements of a column. It is made at the second search: for one alone it does not pay.
#[derive(Debug, Default)]
struct ByElement {
    is_searched: bool,
    index: Option<HashMap<Atom, Vec<Uuid>>>,
}

/// A row that the draft touches.
#[derive(Debug)]
pub(super) struct RowDraft {
    /// What it is now; `None` when it was deleted.
    pub row: Option<Row>,
    /// Whether it was there before.
    pub existed: bool,
    /// The columns that are overwritten.
    pub written: BTreeSet<usize>,
    /// The columns that are changed element by element.
    pub mutations: Vec<Mutation>,
    /// The columns that must still hold what was there before.
    pub verified: BTreeSet<usize>,
}

impl<'s> Draft<'s> {
    /// A draft without changes.
    pub fn new(before: &'s dyn Rows) -> Self {
        Self {
            before,
            rows: BTreeMap::new(),
            inserted: Vec::new(),
            unique: BTreeSet::new(),
            singles: BTreeSet::new(),
            counter: None,
            indexes: RefCell::new(BTreeMap::new()),
            element_indexes: RefCell::new(BTreeMap::new()),
            written: BTreeMap::new(),
        }
    }

    /// The state under the changes.
    pub fn before(&self) -> &'s dyn Rows {
        self.before
    }

    /// The schema by which tables and columns are numbered.
    pub fn schema(&self) -> &'s DatabaseSchema {
        self.before.schema()
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
            None => self.before.row(table, uuid).map(|row| &**row),
        }
    }

    /// The rows of a table: those from before in the order of their UUIDs, then the new ones in the order in which they
    /// were made.
    pub fn rows(&self, table: usize) -> impl Iterator<Item = (Uuid, &Row)> {
        let old = self.before.rows(table).map(|(uuid, _)| uuid);
        old.chain(self.new_rows(table))
            .filter_map(move |uuid| Some((uuid, self.row(table, uuid)?)))
    }

    fn new_rows(&self, table: usize) -> impl Iterator<Item = Uuid> {
        let new = self.inserted.iter();
        new.filter(move |(of, _)| *of == table)
            .map(|(_, uuid)| *uuid)
    }

    /// The rows that hold exactly `wanted` in this column, in the order of [`Draft::rows`].
    pub fn rows_with(&self, table: usize, column: usize, wanted: &Datum) -> Vec<Uuid> {
        let mut found = self.rows_before_with(table, column, wanted);
        let written = self.written.get(&(table, column));
        let since = written.and_then(|index| index.get(wanted));
        let mut add = |uuid: Uuid| {
            if !found.contains(&uuid) {
                found.push(uuid);
            }
        };
        since.into_iter().flatten().copied().for_each(&mut add);
        // New rows hold defaults without anybody having written them.
        if *wanted == Datum::default_for(&self.table_schema(table).columns[column].ty) {
            self.new_rows(table).for_each(&mut add);
        }
        let row = |uuid: &Uuid| self.row(table, *uuid);
        found.retain(|uuid| row(uuid).is_some_and(|row| row.get(column) == wanted));
        found
    }

    /// The rows that held exactly `wanted` in this column before the draft, in the order of their UUIDs.
    pub(super) fn rows_before_with(
        &self,
        table: usize,
        column: usize,
        wanted: &Datum,
    ) -> Vec<Uuid> {
        let indexed = self.before.holding(table, column, wanted);
        let mut found = indexed.unwrap_or_else(|| self.search(table, column, wanted));
        found.sort_unstable();
        found
    }

    /// The rows from before that hold `wanted` in this column, by an index of our own.
    fn search(&self, table: usize, column: usize, wanted: &Datum) -> Vec<Uuid> {
        let mut indexes = self.indexes.borrow_mut();
        let index = indexes.entry((table, column)).or_insert_with(|| {
            let mut index = ByValue::new();
            for (uuid, row) in self.before.rows(table) {
                let rows = index.entry(row.get(column).clone()).or_default();
                rows.push(uuid);
            }
            index
        });
        index.get(wanted).cloned().unwrap_or_default()
    }

    /// The rows that have `atom` among the elements of this column, which is a set.
    pub fn rows_containing(&self, table: usize, column: usize, atom: &Atom) -> Vec<Uuid> {
        let before = self.before.containing(table, column, atom);
        let mut found = before.unwrap_or_else(|| self.search_element(table, column, atom));
        let touched = self.rows.range((table, Uuid::nil())..=(table, Uuid::max()));
        found.extend(touched.map(|((_, uuid), _)| *uuid));
        found.sort_unstable();
        found.dedup();
        let row = |uuid: &Uuid| self.row(table, *uuid);
        found.retain(|uuid| row(uuid).is_some_and(|row| row.get(column).contains(atom)));
        found
    }

    fn search_element(&self, table: usize, column: usize, atom: &Atom) -> Vec<Uuid> {
        let mut indexes = self.element_indexes.borrow_mut();
        let index = indexes.entry((table, column)).or_default();
        if !std::mem::replace(&mut index.is_searched, true) {
            let rows = self.before.rows(table);
            let rows = rows.filter(|(_, row)| row.get(column).contains(atom));
            return rows.map(|(uuid, _)| uuid).collect();
        }
        let index = index.index.get_or_insert_with(|| {
            let mut index: HashMap<Atom, Vec<Uuid>> = HashMap::new();
            for (uuid, row) in self.before.rows(table) {
                for atom in row.get(column).atoms() {
                    index.entry(atom.clone()).or_default().push(uuid);
                }
            }
            index
        });
        index.get(atom).cloned().unwrap_or_default()
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
        if let Some(draft) = touch(&mut self.rows, self.before, table, uuid)
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
        let Some(draft) = touch(&mut self.rows, self.before, table, uuid) else {
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

    /// Makes the transaction depend on the column still holding what was there before.
    pub fn verify(&mut self, table: usize, uuid: Uuid, column: usize) {
        if let Some(draft) = self.touch(table, uuid)
            && draft.existed
        {
            draft.verified.insert(column);
        }
    }

    /// Makes the transaction depend on the rows from before with this value in this column being all of them.
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
        touch(&mut self.rows, self.before, table, uuid)
    }
}

/// The draft of a row, begun if there is none yet; `None` if there is no such row.
fn touch<'r>(
    rows: &'r mut BTreeMap<(usize, Uuid), RowDraft>,
    before: &dyn Rows,
    table: usize,
    uuid: Uuid,
) -> Option<&'r mut RowDraft> {
    if let Entry::Vacant(entry) = rows.entry((table, uuid)) {
        let row = before.row(table, uuid)?;
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
