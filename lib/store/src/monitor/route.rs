//! Which shapes want a changed row: found without asking all of them.
//!
//! Most conditions of a large system say `datapath == X`. Such clauses are kept in an index from
//! what the column holds to the shapes that asked for it, so that a commit costs what it touches
//! and not the number of subscribers. Other clauses are evaluated one by one.

use ovsdb::{Atom, Clause, ColumnRef, Condition, Datum, Function, Row, RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

/// An interned shape.
pub type ShapeId = u32;

/// The shapes that are interested in one table.
#[derive(Debug, Default)]
pub struct Route {
    /// Those with a condition that must be evaluated.
    scanned: FxHashSet<ShapeId>,
    /// Those that name the row.
    by_row: FxHashMap<Uuid, FxHashSet<ShapeId>>,
    /// Those that name what a column holds.
    by_column: FxHashMap<usize, FxHashMap<Atom, FxHashSet<ShapeId>>>,
}

/// How a clause can be looked up.
enum Key<'a> {
    Nothing,
    Row(Uuid),
    Column(usize, &'a Atom),
    Scan,
}

fn key(clause: &Clause) -> Key<'_> {
    match clause {
        Clause::Always(false) => Key::Nothing,
        Clause::Compare {
            column: ColumnRef::Column(column),
            function: Function::Equal | Function::Includes,
            arg: Datum::One(atom),
        } => Key::Column(*column, atom),
        clause => clause.as_row().map_or(Key::Scan, Key::Row),
    }
}

impl Route {
    /// A shape has this condition now.
    pub fn add(&mut self, shape: ShapeId, condition: &Condition) {
        for clause in condition.clauses() {
            match key(clause) {
                Key::Nothing => {}
                Key::Row(uuid) => {
                    self.by_row.entry(uuid).or_default().insert(shape);
                }
                Key::Column(column, atom) => {
                    let values = self.by_column.entry(column).or_default();
                    values.entry(atom.clone()).or_default().insert(shape);
                }
                Key::Scan => {
                    self.scanned.insert(shape);
                }
            }
        }
    }

    /// A shape is gone that had this condition.
    pub fn remove(&mut self, shape: ShapeId, condition: &Condition) {
        for clause in condition.clauses() {
            match key(clause) {
                Key::Nothing => {}
                Key::Row(uuid) => remove_from(&mut self.by_row, &uuid, shape),
                Key::Column(column, atom) => {
                    if let Some(values) = self.by_column.get_mut(&column) {
                        remove_from(values, atom, shape);
                        if values.is_empty() {
                            self.by_column.remove(&column);
                        }
                    }
                }
                Key::Scan => {
                    self.scanned.remove(&shape);
                }
            }
        }
    }

    /// The shapes that may see a change, each once, in the order of their numbers. Some of them
    /// may not after all.
    pub fn candidates(&self, change: &RowChange, found: &mut Vec<ShapeId>) {
        found.clear();
        found.extend(&self.scanned);
        if let Some(shapes) = self.by_row.get(&change.uuid) {
            found.extend(shapes);
        }
        for (column, values) in &self.by_column {
            for row in [&change.old, &change.new].into_iter().flatten() {
                collect(values, *column, row, found);
            }
        }
        found.sort_unstable();
        found.dedup();
    }
}

fn collect(
    values: &FxHashMap<Atom, FxHashSet<ShapeId>>,
    column: usize,
    row: &Row,
    found: &mut Vec<ShapeId>,
) {
    let datum = row.get(column);
    let keys = datum.pairs().iter().map(|(key, _)| key);
    for atom in datum.atoms().iter().chain(keys) {
        if let Some(shapes) = values.get(atom) {
            found.extend(shapes);
        }
    }
}

fn remove_from<K: Eq + std::hash::Hash>(
    map: &mut FxHashMap<K, FxHashSet<ShapeId>>,
    key: &K,
    shape: ShapeId,
) {
    if let Some(shapes) = map.get_mut(key) {
        shapes.remove(&shape);
        if shapes.is_empty() {
            map.remove(key);
        }
    }
}
