//! Rows as objects.

use std::collections::HashMap;

use nb_db::tables::{LogicalRouterPort, LogicalSwitchPort, NbGlobal, WeftProblem};
use northbound::Rows;
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum, Row, Table, Uuid};
use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::catalog::{Field, Kind, PartPlace, Place, catalog};
use crate::find::{containing, is_external_ids, label_of, name_of, owner_of};
use crate::kinds::RESERVED;
use crate::values::from_datum;

/// An object, as a message `Object`; nothing if there is no such row.
pub fn object(rows: &dyn Rows, kind: &Kind, uuid: Uuid) -> Option<DynamicMessage> {
    let row = rows.row(kind.table, uuid)?;
    let mut object = DynamicMessage::new(catalog().object.clone());
    let mut set = |field: &str, text: String| {
        if !text.is_empty() {
            object.set_field_by_name(field, Value::String(text));
        }
    };
    let name = name_of(kind, row).map_or_else(|| uuid.to_string(), str::to_owned);
    set("name", name);
    set("uuid", uuid.to_string());
    set("version", version(rows, kind, uuid)?.to_string());
    set("owner", owner_of(kind, row).to_owned());
    object.set_field_by_name("state", Value::Message(state(rows, kind, uuid, row)));
    object.set_field(&kind.field, Value::Message(spec(rows, kind, uuid, row)));
    Some(object)
}

/// What an object should be, as the message of its kind.
fn spec(rows: &dyn Rows, kind: &Kind, uuid: Uuid, row: &Row) -> DynamicMessage {
    let message = kind.field.kind();
    let message = message.as_message().expect("each kind is a message");
    let mut spec = DynamicMessage::new(message.clone());
    for field in &kind.fields {
        if let Some(value) = field_value(rows, field, uuid, row) {
            spec.set_field(&field.descriptor, value);
        }
    }
    spec
}

fn field_value(rows: &dyn Rows, field: &Field, uuid: Uuid, row: &Row) -> Option<Value> {
    let labels = |mut labels: Vec<String>| {
        labels.sort_unstable();
        let mut labels = labels.into_iter().map(Value::String);
        match field.descriptor.is_list() {
            true => {
                let labels: Vec<Value> = labels.collect();
                (!labels.is_empty()).then_some(Value::List(labels))
            }
            false => labels.next(),
        }
    };
    match &field.place {
        Place::Column(column) if is_external_ids(field.name) => {
            from_datum(&without_reserved(row.get(*column)), &field.descriptor)
        }
        Place::Column(column) => from_datum(row.get(*column), &field.descriptor),
        Place::References(column, table) => {
            let uuids = row.get(*column).atoms().iter().filter_map(Atom::as_uuid);
            labels(uuids.map(|uuid| label_of(rows, *table, uuid)).collect())
        }
        Place::Parents(table, column) => {
            let parents = containing(rows, *table, *column, uuid).into_iter();
            labels(
                parents
                    .map(|parent| label_of(rows, *table, parent))
                    .collect(),
            )
        }
        Place::Parts(part) => {
            let parts = parts_of(part, row).into_iter();
            let parts =
                parts.filter_map(|uuid| Some(part_message(part, rows.row(part.table, uuid)?)));
            let parts: Vec<Value> = parts.map(Value::Message).collect();
            (!parts.is_empty()).then_some(Value::List(parts))
        }
    }
}

/// The rows that are part of one.
pub fn parts_of(part: &PartPlace, row: &Row) -> Vec<Uuid> {
    let atoms = row.get(part.column).atoms();
    atoms.iter().filter_map(Atom::as_uuid).collect()
}

fn part_message(part: &PartPlace, row: &Row) -> DynamicMessage {
    let mut message = DynamicMessage::new(part.message.clone());
    for (field, column) in &part.fields {
        if let Some(value) = from_datum(row.get(*column), field) {
            message.set_field(field, value);
        }
    }
    message
}

/// The pairs of the management system, without ours.
pub fn without_reserved(external_ids: &Datum) -> Datum {
    let pairs = external_ids.pairs().iter();
    let others =
        pairs.filter(|(key, _)| !key.as_str().is_some_and(|key| key.starts_with(RESERVED)));
    Datum::map(others.cloned())
}

/// Names what an object should be: equal contents have equal versions.
pub fn version(rows: &dyn Rows, kind: &Kind, uuid: Uuid) -> Option<Uuid> {
    let row = rows.row(kind.table, uuid)?;
    let mut contents = Vec::new();
    let mut add = |datum: &Datum| {
        serde_json::to_writer(&mut contents, datum).expect("a datum is JSON");
        contents.push(b'\n');
    };
    for field in &kind.fields {
        match &field.place {
            Place::Column(column) => add(row.get(*column)),
            Place::References(column, _) => add(row.get(*column)),
            Place::Parents(table, column) => {
                let parents = containing(rows, *table, *column, uuid);
                add(&Datum::set(parents.into_iter().map(Atom::Uuid)));
            }
            Place::Parts(part) => {
                for uuid in parts_of(part, row) {
                    let part_row = rows.row(part.table, uuid);
                    for (_, column) in &part.fields {
                        part_row.iter().for_each(|row| add(row.get(*column)));
                    }
                }
            }
        }
    }
    Some(Uuid::new_v5(&uuid, &contents))
}

fn state(rows: &dyn Rows, kind: &Kind, uuid: Uuid, row: &Row) -> DynamicMessage {
    let mut state = DynamicMessage::new(catalog().message("State"));
    if kind.table == LogicalSwitchPort::INDEX {
        let port = LogicalSwitchPort::from_row(uuid, row);
        if let Some(up) = port.up {
            state.set_field_by_name("up", Value::Bool(up));
        }
        if let Some(addresses) = port.dynamic_addresses {
            state.set_field_by_name("dynamic_addresses", Value::String(addresses.to_string()));
        }
    }
    if kind.table == LogicalRouterPort::INDEX {
        let port = LogicalRouterPort::from_row(uuid, row);
        let pair = |(key, value): (&std::sync::Arc<str>, &std::sync::Arc<str>)| {
            (
                MapKey::String(key.to_string()),
                Value::String(value.to_string()),
            )
        };
        let status: HashMap<_, _> = port.status.iter().map(pair).collect();
        if !status.is_empty() {
            state.set_field_by_name("status", Value::Map(status));
        }
        let prefixes = port.ipv6_prefix.iter();
        let prefixes: Vec<Value> = prefixes
            .map(|prefix| Value::String(prefix.to_string()))
            .collect();
        if !prefixes.is_empty() {
            state.set_field_by_name("ipv6_prefix", Value::List(prefixes));
        }
    }
    let problems = problems(rows, kind, uuid, row);
    if !problems.is_empty() {
        state.set_field_by_name("problems", Value::List(problems));
    }
    if let Some(progress) = progress(rows) {
        state.set_field_by_name("progress", Value::Message(progress));
    }
    state
}

/// What northd says is wrong with an object or with a part of it.
fn problems(rows: &dyn Rows, kind: &Kind, uuid: Uuid, row: &Row) -> Vec<Value> {
    let parts = kind.fields.iter().flat_map(|field| match &field.place {
        Place::Parts(part) => parts_of(part, row),
        _ => Vec::new(),
    });
    let places = std::iter::once(uuid).chain(parts);
    let found = places.flat_map(|place| problem_rows(rows, place));
    let messages = found.map(|problem| {
        let mut message = DynamicMessage::new(catalog().message("Problem"));
        let field = kind.fields.iter().find(|field| {
            let column = field.place.column();
            column.is_some_and(|column| kind.schema.columns[column].name == problem.column)
        });
        let field = field.map_or_else(|| problem.column.to_string(), |field| field.name.to_owned());
        for (name, text) in [
            ("rank", problem.rank.to_string()),
            ("field", field),
            ("text", problem.text.to_string()),
            ("why", problem.why.to_string()),
            ("remedy", problem.remedy.to_string()),
        ] {
            message.set_field_by_name(name, Value::String(text));
        }
        if let Some(offset) = problem.offset {
            message.set_field_by_name("offset", Value::I64(offset));
        }
        Value::Message(message)
    });
    messages.collect()
}

fn problem_rows(rows: &dyn Rows, uuid: Uuid) -> Vec<WeftProblem> {
    if !rows.has_table(WeftProblem::INDEX) {
        return Vec::new();
    }
    let column = WeftProblem::COLUMN.row.index;
    let datum = Datum::One(Atom::Uuid(uuid));
    let found = rows.holding(WeftProblem::INDEX, column, &datum);
    let found = found.unwrap_or_else(|| {
        let all = rows.rows(WeftProblem::INDEX);
        let about = all.filter(|(_, row)| *row.get(column) == datum);
        about.map(|(uuid, _)| uuid).collect()
    });
    let row = |uuid| {
        Some(WeftProblem::from_row(
            uuid,
            rows.row(WeftProblem::INDEX, uuid)?,
        ))
    };
    found.into_iter().filter_map(row).collect()
}

/// How far the deployment has come: northbound, southbound, chassis.
pub fn reached(rows: &dyn Rows) -> Option<[i64; 3]> {
    let (uuid, row) = rows.rows(NbGlobal::INDEX).next()?;
    let global = NbGlobal::from_row(uuid, row);
    Some([global.nb_cfg, global.sb_cfg, global.hv_cfg])
}

fn progress(rows: &dyn Rows) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(catalog().message("Progress"));
    let names = ["northbound", "southbound", "chassis"];
    for (name, number) in names.into_iter().zip(reached(rows)?) {
        message.set_field_by_name(name, Value::I64(number));
    }
    Some(message)
}
