//! `list`, `find`, `get`.

use northbound::Rows;
use ovsdb::schema::{BaseType, ColumnType};
use ovsdb::{Atom, AtomicType, ColumnRef, Datum, Uuid};

use super::condition::RowCondition;
use super::place::Place;
use crate::command::Context;
use crate::error::{Outcome, fail};
use crate::lookup;
use crate::output::TableOutput;
use crate::text::{atom_text, datum_text, parse_atom};

pub(super) fn list(context: &mut Context<'_, '_>) -> Outcome {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let schema = context.draft.table_schema(table);
    let columns = columns_to_print(context.draft.before(), table, context.option("--columns"))?;
    let mut uuids = Vec::new();
    for record in context.args_from(1) {
        match lookup::row_if_any(context.draft, table, record)? {
            Some(uuid) => uuids.push(uuid),
            None if context.has("--if-exists") => {}
            None => return fail(format!("no row \"{record}\" in table {}", schema.name)),
        }
    }
    if context.args_from(1).is_empty() {
        uuids.extend(context.draft.rows(table).map(|(uuid, _)| uuid));
    }
    print_rows(context, table, &columns, &uuids);
    Ok(())
}

pub(super) fn find(context: &mut Context<'_, '_>) -> Outcome {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let columns = columns_to_print(context.draft.before(), table, context.option("--columns"))?;
    let mut conditions = Vec::new();
    for argument in &context.invocation.arguments[1..] {
        conditions.push(RowCondition::parse(
            context.draft.before(),
            context.symbols,
            table,
            argument,
        )?);
    }
    let meets = |row| conditions.iter().all(|condition| condition.holds(row));
    let rows = context.draft.rows(table).filter(|(_, row)| meets(row));
    let uuids: Vec<Uuid> = rows.map(|(uuid, _)| uuid).collect();
    print_rows(context, table, &columns, &uuids);
    Ok(())
}

pub(super) fn get(context: &mut Context<'_, '_>) -> Outcome {
    let if_exists = context.has("--if-exists");
    let id = context.option("--id").map(str::to_owned);
    if if_exists && id.is_some() {
        return fail("--if-exists and --id may not be specified together");
    }
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let schema = context.draft.table_schema(table);
    let record = context.arg(1).to_owned();
    let mut places = Vec::new();
    for argument in context.args_from(2) {
        let place = if argument.eq_ignore_ascii_case("_uuid") {
            None
        } else {
            let place = Place::parse(context.draft.before(), table, argument)?;
            place.end()?;
            Some(place)
        };
        places.push(place);
    }
    let Some(uuid) = lookup::row_if_any(context.draft, table, &record)? else {
        if if_exists {
            return Ok(());
        }
        return fail(format!("no row \"{record}\" in table {}", schema.name));
    };
    if let Some(name) = id {
        if !name.starts_with('@') {
            return fail(format!("row id \"{name}\" does not begin with \"@\""));
        }
        context.symbols.name_row(&name, table, uuid)?;
    }
    for place in places {
        let line = match place {
            None => uuid.to_string(),
            Some(place) => value_at(context, table, uuid, &record, &place, if_exists)?,
        };
        context.print(line);
    }
    Ok(())
}

fn value_at(
    context: &mut Context<'_, '_>,
    table: usize,
    uuid: Uuid,
    record: &str,
    place: &Place<'_>,
    if_exists: bool,
) -> Outcome<String> {
    let ty = &place.column.ty;
    let datum = context
        .draft
        .row(table, uuid)
        .map(|row| row.get(place.index).clone());
    let datum = datum.unwrap_or_else(|| Datum::default_for(ty));
    let Some(key) = &place.key else {
        return Ok(datum_text(ty, &datum));
    };
    if !ty.is_map() {
        return fail(format!(
            "cannot specify key to get for non-map column {}",
            place.column.name
        ));
    }
    let atom = parse_atom(&ty.key, key, &mut |name| context.symbols.uuid(name))?;
    match datum.get(&atom) {
        Some(value) => Ok(atom_text(value)),
        None if if_exists => Ok(String::new()),
        None => fail(format!(
            "no key \"{key}\" in {} record \"{record}\" column {}",
            context.draft.table_schema(table).name,
            place.column.name
        )),
    }
}

/// The columns that `list` and `find` print.
fn columns_to_print(rows: &dyn Rows, table: usize, given: Option<&str>) -> Outcome<Vec<ColumnRef>> {
    let Some(given) = given else {
        let count = rows.schema().tables[table].columns.len();
        let columns = (0..count)
            .filter(|index| rows.has_column(table, *index))
            .map(ColumnRef::Column);
        return Ok(std::iter::once(ColumnRef::Uuid).chain(columns).collect());
    };
    let names = given.split([',', ' ']).filter(|name| !name.is_empty());
    let columns = names
        .map(|name| match name {
            name if name.eq_ignore_ascii_case("_uuid") => Ok(ColumnRef::Uuid),
            name => lookup::column(rows, table, name).map(ColumnRef::Column),
        })
        .collect::<Outcome<Vec<_>>>()?;
    if columns.is_empty() {
        return fail("must specify at least one column name");
    }
    Ok(columns)
}

fn print_rows(context: &mut Context<'_, '_>, table: usize, columns: &[ColumnRef], uuids: &[Uuid]) {
    let schema = context.draft.table_schema(table);
    let headings = columns.iter().map(|column| match column {
        ColumnRef::Column(index) => {
            let column = &schema.columns[*index];
            (column.name.to_string(), column.ty.clone())
        }
        ColumnRef::Uuid | ColumnRef::Version => ("_uuid".to_owned(), uuid_type()),
    });
    let headings = headings.collect();
    let draft = &*context.draft;
    let rows = uuids
        .iter()
        .filter_map(|&uuid| Some((uuid, draft.row(table, uuid)?)));
    let rows = rows.map(|(uuid, row)| {
        let data = columns.iter().map(|column| match column {
            ColumnRef::Column(index) => row.get(*index).clone(),
            ColumnRef::Uuid | ColumnRef::Version => Datum::One(Atom::Uuid(uuid)),
        });
        data.collect()
    });
    context.output.table = Some(TableOutput {
        columns: headings,
        rows: rows.collect(),
    });
}

fn uuid_type() -> ColumnType {
    ColumnType {
        key: BaseType::plain(AtomicType::Uuid),
        value: None,
        min: 1,
        max: 1,
    }
}
