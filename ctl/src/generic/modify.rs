//! `set`, `add`, `remove`, `clear`.

use northbound::{Draft, Rows};
use ovsdb::schema::{ColumnSchema, ColumnType, TableSchema};
use ovsdb::{Atom, Datum, Mutation, Mutator, Uuid};

use super::place::Place;
use crate::command::Context;
use crate::error::{Outcome, fail};
use crate::lookup;
use crate::symbols::Symbols;
use crate::text::{parse_atom, parse_datum};

pub(super) fn set(context: &mut Context<'_, '_>) -> Outcome {
    let (table, _) = table(context)?;
    let places = parse_places(context.draft.before(), table, context.args_from(2))?;
    let Some(uuid) = record(context, table)? else {
        return Ok(());
    };
    for place in places {
        set_column(context.draft, context.symbols, table, uuid, &place)?;
    }
    Ok(())
}

/// The columns that `COLUMN[:KEY]=VALUE` arguments name.
pub(crate) fn parse_places<'s>(
    rows: &'s dyn Rows,
    table: usize,
    arguments: &[String],
) -> Outcome<Vec<Place<'s>>> {
    arguments
        .iter()
        .map(|argument| Place::parse(rows, table, argument))
        .collect()
}

/// Does what a `COLUMN[:KEY]=VALUE` argument says.
pub(crate) fn set_column(
    draft: &mut Draft<'_>,
    symbols: &mut Symbols,
    table: usize,
    uuid: Uuid,
    place: &Place<'_>,
) -> Outcome {
    let (_, value) = place.operator(&["="])?;
    let column = place.column;
    let ty = &column.ty;
    check_mutable(draft, table, uuid, column)?;
    let Some(key) = &place.key else {
        let datum = parse_datum(ty, value, &mut |name| symbols.uuid(name))?;
        draft.write(table, uuid, place.index, datum);
        return Ok(());
    };
    let Some(value_type) = &ty.value else {
        return fail(format!(
            "cannot specify key to set for non-map column {}",
            column.name
        ));
    };
    let key = parse_atom(&ty.key, key, &mut |name| symbols.uuid(name))?;
    let value = parse_atom(value_type, value, &mut |name| symbols.uuid(name))?;
    put_pair(draft, table, uuid, place.index, key, value);
    Ok(())
}

/// Puts a pair into a map, in place of one with the same key.
fn put_pair(
    draft: &mut Draft<'_>,
    table: usize,
    uuid: Uuid,
    column: usize,
    key: Atom,
    value: Atom,
) {
    let current = draft
        .row(table, uuid)
        .and_then(|row| row.get(column).get(&key));
    if current == Some(&value) {
        return;
    }
    if current.is_some() {
        let arg = Datum::One(key.clone());
        draft.mutate(table, uuid, Mutation::new(column, Mutator::Delete, arg));
    }
    let arg = Datum::map([(key, value)]);
    draft.mutate(
        table,
        uuid,
        Mutation {
            column,
            mutator: Mutator::Insert,
            arg,
        },
    );
}

pub(super) fn add(context: &mut Context<'_, '_>) -> Outcome {
    let (table, schema) = table(context)?;
    let index = lookup::column(context.draft.before(), table, context.arg(2))?;
    let Some(uuid) = record(context, table)? else {
        return Ok(());
    };
    let column = &schema.columns[index];
    check_mutable(context.draft, table, uuid, column)?;
    let some = some_of(&column.ty);
    for argument in &context.invocation.arguments[3..] {
        let arg = parse_datum(&some, argument, &mut |name| context.symbols.uuid(name))?;
        if let Datum::Map(pairs) = &arg {
            for (key, value) in pairs.iter().cloned() {
                put_pair(context.draft, table, uuid, index, key, value);
            }
        } else {
            let mutation = Mutation {
                column: index,
                mutator: Mutator::Insert,
                arg,
            };
            context.draft.mutate(table, uuid, mutation);
        }
    }
    Ok(())
}

pub(super) fn remove(context: &mut Context<'_, '_>) -> Outcome {
    let (table, schema) = table(context)?;
    let index = lookup::column(context.draft.before(), table, context.arg(2))?;
    let Some(uuid) = record(context, table)? else {
        return Ok(());
    };
    let column = &schema.columns[index];
    check_mutable(context.draft, table, uuid, column)?;
    for argument in &context.invocation.arguments[3..] {
        let arg = parse_what_goes(context.symbols, &column.ty, argument)?;
        remove_elements(context.draft, table, uuid, index, arg)?;
    }
    Ok(())
}

/// Elements, pairs, or keys of a map.
fn parse_what_goes(symbols: &mut Symbols, ty: &ColumnType, argument: &str) -> Outcome<Datum> {
    let some = some_of(ty);
    let mut symbol = |name: &str| symbols.uuid(name);
    let parsed = parse_datum(&some, argument, &mut symbol);
    if parsed.is_err() && ty.is_map() {
        let keys = ColumnType {
            value: None,
            ..some
        };
        return parse_datum(&keys, argument, &mut symbol);
    }
    parsed
}

fn remove_elements(
    draft: &mut Draft<'_>,
    table: usize,
    uuid: Uuid,
    index: usize,
    arg: Datum,
) -> Outcome {
    let schema = draft.table_schema(table);
    let column = &schema.columns[index];
    let Some(row) = draft.row(table, uuid) else {
        return Ok(());
    };
    let goes = |key: &Atom, value: Option<&Atom>| match &arg {
        Datum::Map(_) => arg.get(key) == value,
        keys => keys.contains(key),
    };
    let datum = row.get(index);
    let atoms = datum.atoms().iter().filter(|atom| !goes(atom, None));
    let pairs = datum
        .pairs()
        .iter()
        .filter(|(key, value)| !goes(key, Some(value)));
    let left = if column.ty.is_map() {
        Datum::map(pairs.cloned())
    } else {
        Datum::set(atoms.cloned())
    };
    if left.len() < column.ty.min {
        return fail(format!(
            "\"remove\" operation would put {} {} in column {} of table {} but the minimum number is {}",
            left.len(),
            if column.ty.is_map() {
                "pairs"
            } else {
                "values"
            },
            column.name,
            schema.name,
            column.ty.min
        ));
    }
    if left == *datum {
        return Ok(());
    }
    if column.ty.max > 1 {
        let mutation = Mutation {
            column: index,
            mutator: Mutator::Delete,
            arg,
        };
        draft.mutate(table, uuid, mutation);
    } else {
        draft.verify(table, uuid, index);
        draft.write(table, uuid, index, left);
    }
    Ok(())
}

pub(super) fn clear(context: &mut Context<'_, '_>) -> Outcome {
    let (table, schema) = table(context)?;
    let columns = context
        .args_from(2)
        .iter()
        .map(|argument| lookup::column(context.draft.before(), table, argument))
        .collect::<Outcome<Vec<_>>>()?;
    let Some(uuid) = record(context, table)? else {
        return Ok(());
    };
    for index in columns {
        let column = &schema.columns[index];
        check_mutable(context.draft, table, uuid, column)?;
        if column.ty.min > 0 {
            return fail(format!(
                "\"clear\" operation cannot be applied to column {} of table {}, which is not allowed to be empty",
                column.name, schema.name
            ));
        }
        let empty = Datum::default_for(&column.ty);
        context.draft.write(table, uuid, index, empty);
    }
    Ok(())
}

fn table<'s>(context: &Context<'_, 's>) -> Outcome<(usize, &'s TableSchema)> {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    Ok((table, context.draft.table_schema(table)))
}

/// The row that the second argument names; none if it does not exist and need not.
fn record(context: &Context<'_, '_>, table: usize) -> Outcome<Option<Uuid>> {
    let name = context.arg(1);
    if context.has("--if-exists") {
        lookup::row_if_any(context.draft, table, name)
    } else {
        lookup::row(context.draft, table, name).map(Some)
    }
}

fn check_mutable(draft: &Draft<'_>, table: usize, uuid: Uuid, column: &ColumnSchema) -> Outcome {
    if column.mutable || draft.before().row(table, uuid).is_none() {
        return Ok(());
    }
    fail(format!(
        "cannot modify read-only column {} in table {}",
        column.name,
        draft.table_schema(table).name
    ))
}

/// The type of one or more elements of a column.
fn some_of(ty: &ColumnType) -> ColumnType {
    ColumnType {
        min: 1,
        max: usize::MAX,
        ..ty.clone()
    }
}
