//! The operation that makes an actual row the desired one.

use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::{Atom, Datum, Row};

use super::rows::RowId;

/// Sets with more elements than this are changed element by element.
const WHOLE_SET_LIMIT: usize = 8;

/// The operation that makes `actual` (or no row at all) `desired` in these columns; nothing if it is.
pub(super) fn operation(
    id: RowId,
    columns: &[usize],
    desired: &Arc<Row>,
    actual: Option<&Arc<Row>>,
) -> Option<Operation> {
    let table = id.table.index();
    let Some(actual) = actual else {
        let row = columns
            .iter()
            .map(|column| (*column, desired.get(*column)))
            .filter(|(_, datum)| !is_default(datum))
            .map(|(column, datum)| (column, datum.clone()))
            .collect();
        return Some(Operation::Insert {
            table,
            uuid: id.uuid,
            row,
        });
    };
    if Arc::ptr_eq(desired, actual) {
        return None;
    }
    let mut changed = Vec::new();
    for column in columns {
        let datum = desired.get(*column);
        if datum == actual.get(*column) {
            continue;
        }
        let datum = with_foreign_keys(id.table.foreign_keys(*column), datum, actual.get(*column));
        if datum != *actual.get(*column) {
            changed.push((*column, datum));
        }
    }
    match changed.as_slice() {
        [] => None,
        [(column, datum)] if datum.atoms().len() > WHOLE_SET_LIMIT => Some(Operation::mutate_row(
            table,
            id.uuid,
            set_mutations(*column, datum, actual.get(*column)),
        )),
        _ => Some(Operation::update_row(table, id.uuid, changed)),
    }
}

/// A set or map without elements is what a column has anyway. Scalars are written even when they are at their defaults:
/// whether they are depends on the column.
fn is_default(datum: &Datum) -> bool {
    datum.is_empty()
}

/// `desired`, with those pairs of `actual` that are others' business.
fn with_foreign_keys(keys: &[&str], desired: &Datum, actual: &Datum) -> Datum {
    let mut foreign = actual
        .pairs()
        .iter()
        .filter(|(key, _)| {
            key.as_str().is_some_and(|key| keys.contains(&key)) && !desired.contains(key)
        })
        .peekable();
    if foreign.peek().is_none() {
        return desired.clone();
    }
    Datum::map(desired.pairs().iter().chain(foreign).cloned())
}

fn set_mutations(column: usize, desired: &Datum, actual: &Datum) -> Vec<Mutation> {
    let missing = |from: &Datum, other: &Datum| -> Vec<Atom> {
        from.atoms()
            .iter()
            .filter(|atom| !other.contains(atom))
            .cloned()
            .collect()
    };
    let gone = missing(actual, desired);
    let new = missing(desired, actual);
    let mut mutations = Vec::new();
    if !gone.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Delete, Datum::set(gone)));
    }
    if !new.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Insert, Datum::set(new)));
    }
    mutations
}
