//! The operations that make an actual row the desired one.

use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::{Atom, Datum, Row};
use relations::Cell;
use uuid::Uuid;

use super::Table;
use crate::compiler::sets::Sets;

/// Sets with more elements than this are changed element by element.
const WHOLE_SET_LIMIT: usize = 8;

/// The operations that make `actual` (or no row at all) `desired` in the table's columns, and give it the members of sets;
/// none if it is so.
pub(super) fn operations(
    table: &Table,
    uuid: Uuid,
    desired: &Arc<Row>,
    sets: (&[(usize, Cell)], &Sets),
    actual: Option<&Arc<Row>>,
) -> Vec<Operation> {
    let (set_columns, sets) = sets;
    let Some(actual) = actual else {
        return vec![insertion(table, uuid, desired, set_columns, sets)];
    };
    let mut operations = Vec::new();
    if !Arc::ptr_eq(desired, actual) {
        let is_set = |column: usize| set_columns.iter().any(|(set, _)| *set == column);
        let changed = changed_columns(table, desired, actual, is_set);
        // An earlier version, or another program, has made the row without them.
        let missing = table.initial.iter();
        let missing = missing.filter(|(column, _)| actual.get(*column).is_empty());
        let (large, small): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .chain(missing.cloned())
            .partition(|(_, datum)| datum.atoms().len() > WHOLE_SET_LIMIT);
        if !small.is_empty() {
            operations.push(Operation::update_row(table.table, uuid, small));
        }
        for (column, _) in table.keys {
            let (wanted, is) = (desired.get(*column), actual.get(*column));
            let mutations = key_mutations(*column, table.sure, wanted, is);
            if !mutations.is_empty() {
                operations.push(Operation::mutate_row(table.table, uuid, mutations));
            }
        }
        for (column, datum) in large {
            let missing = |from: &Datum, other: &Datum| -> Vec<Atom> {
                let atoms = from.atoms().iter();
                atoms
                    .filter(|atom| !other.contains(atom))
                    .cloned()
                    .collect()
            };
            let actual = actual.get(column);
            let mutations = mutations(column, missing(&datum, actual), missing(actual, &datum));
            operations.push(Operation::mutate_row(table.table, uuid, mutations));
        }
    }
    let mut changes = Vec::new();
    for (column, cell) in set_columns {
        if !table.columns.contains(column) {
            continue;
        }
        match sets.get(*cell) {
            Some(set) => {
                let (come, gone) = set.difference(actual.get(*column));
                changes.extend(mutations(*column, come, gone));
            }
            // Nobody is a member, and the set has no row to be compared with yet.
            None => {
                let gone = actual.get(*column).atoms().to_vec();
                changes.extend(mutations(*column, Vec::new(), gone));
            }
        }
    }
    if !changes.is_empty() {
        operations.push(Operation::mutate_row(table.table, uuid, changes));
    }
    operations
}

/// Whether two rows are equal in the table's columns, but for those that have members of sets. Where only keys are ours, those that
/// are said count, whoever else writes there.
pub(super) fn is_equal(
    table: &Table,
    one: &Arc<Row>,
    other: &Arc<Row>,
    set_columns: &[(usize, Cell)],
) -> bool {
    let is_set = |column: usize| set_columns.iter().any(|(set, _)| *set == column);
    let mut by_key = table.keys.iter();
    Arc::ptr_eq(one, other)
        || changed_columns(table, one, other, is_set).is_empty()
            && by_key.all(|(column, _)| one.get(*column) == other.get(*column))
}

fn insertion(
    table: &Table,
    uuid: Uuid,
    desired: &Row,
    set_columns: &[(usize, Cell)],
    sets: &Sets,
) -> Operation {
    let members = |column: usize| {
        let known = set_columns.iter().find(|(set, _)| *set == column);
        known.map(|(_, cell)| sets.datum(*cell))
    };
    let mut row = Vec::with_capacity(table.columns.len() + table.initial.len());
    for column in &table.columns {
        let members = members(*column);
        let datum = members.as_ref().unwrap_or(desired.get(*column));
        // A set or map without elements is what a column has anyway. Scalars are written even when they are at their
        // defaults: whether they are depends on the column.
        if !datum.is_empty() {
            row.push((*column, datum.clone()));
        }
    }
    row.extend(table.initial.iter().cloned());
    Operation::Insert {
        table: table.table,
        uuid,
        row,
    }
}

fn changed_columns(
    table: &Table,
    desired: &Row,
    actual: &Row,
    is_set: impl Fn(usize) -> bool,
) -> Vec<(usize, Datum)> {
    let mut changed = Vec::new();
    for column in table.columns.iter().filter(|column| !is_set(**column)) {
        let (wanted, is) = (desired.get(*column), actual.get(*column));
        let is_by_key = table.keys.iter().any(|(by_key, _)| by_key == column);
        if wanted == is || is_by_key {
            continue;
        }
        let foreign = table.foreign.iter().filter(|foreign| {
            let lives = |column| !desired.get(column).is_empty();
            foreign.column == *column && foreign.lives_by.is_none_or(lives)
        });
        let keys: Vec<&str> = foreign.flat_map(|foreign| foreign.keys).copied().collect();
        let wanted = with_foreign_keys(&keys, wanted, is);
        if wanted != *is {
            changed.push((*column, wanted));
        }
    }
    changed
}

/// What gives `actual` the pairs of `desired` whose keys it lacks, and of the `sure` ones those that have another value.
fn key_mutations(column: usize, sure: &[&str], desired: &Datum, actual: &Datum) -> Vec<Mutation> {
    let (mut stale, mut wanted) = (Vec::new(), Vec::new());
    for (key, value) in desired.pairs() {
        match actual.get(key) {
            None => {}
            Some(is) if is != value && sure.contains(&key.as_str().unwrap_or_default()) => {
                stale.push(key.clone());
            }
            Some(_) => continue,
        }
        wanted.push((key.clone(), value.clone()));
    }
    let mut mutations = Vec::new();
    if !stale.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Delete, Datum::set(stale)));
    }
    if !wanted.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Insert, Datum::map(wanted)));
    }
    mutations
}

/// `desired`, with those pairs of `actual` that are others' business.
fn with_foreign_keys(keys: &[&str], desired: &Datum, actual: &Datum) -> Datum {
    let mut foreign = actual
        .pairs()
        .iter()
        .filter(|(key, _)| {
            key.as_str().is_some_and(|key| keys.contains(&key)) && desired.get(key).is_none()
        })
        .peekable();
    if foreign.peek().is_none() {
        return desired.clone();
    }
    Datum::map(desired.pairs().iter().chain(foreign).cloned())
}

/// Takes one member out of a set.
pub(super) fn removal(table: usize, uuid: Uuid, column: usize, member: Atom) -> Operation {
    let mutation = Mutation::new(column, Mutator::Delete, Datum::One(member));
    Operation::mutate_row(table, uuid, vec![mutation])
}

fn mutations(column: usize, come: Vec<Atom>, gone: Vec<Atom>) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    // Who comes before who goes: a set that must not be empty is counted after each mutation.
    if !come.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Insert, Datum::set(come)));
    }
    if !gone.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Delete, Datum::set(gone)));
    }
    mutations
}
