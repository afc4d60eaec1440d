//! Tables, columns and rows by what people call them.
//!
//! Names of tables and columns may be abbreviated, `-` and `_` are the same, and so are capitals and small letters. A
//! row is called by its UUID, by the start of one (four hexadecimal digits or more), by a name, or, where the table
//! has only one, by `.`.

use northbound::find::parse_uuid;
use northbound::{Draft, Rows};
use ovsdb::{AtomicType, Datum, Uuid};

use crate::error::{Outcome, fail};

/// How many digits the start of a UUID must have.
const SHORTEST_PREFIX: usize = 4;

/// Columns by which rows of a table are called, besides `name`: table, column, and the key if the column is a map.
const NAMES: [(&str, &str, Option<&str>); 12] = [
    (
        "Logical_Switch",
        "external_ids",
        Some("neutron:network_name"),
    ),
    (
        "Logical_Switch_Port",
        "external_ids",
        Some("neutron:port_name"),
    ),
    (
        "Logical_Router",
        "external_ids",
        Some("neutron:router_name"),
    ),
    ("HA_Chassis", "chassis_name", None),
    ("Connection", "target", None),
    ("Datapath_Binding", "external_ids", Some("name")),
    ("Datapath_Binding", "external_ids", Some("name2")),
    ("Datapath_Binding", "external_ids", Some("logical-switch")),
    ("Datapath_Binding", "external_ids", Some("logical-router")),
    ("Port_Binding", "logical_port", None),
    ("MAC_Binding", "logical_port", None),
    ("Chassis_Template_Var", "chassis", None),
];

/// Whether a name fits what was asked for, and how well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The text is the start of the name.
    Start,
    /// They are equal but for case and dashes.
    Folded,
    /// They are equal.
    Exact,
}

fn fit(name: &str, text: &str) -> Option<Fit> {
    let folded = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    if name == text {
        return Some(Fit::Exact);
    }
    let (name, text) = (folded(name), folded(text));
    if name == text {
        Some(Fit::Folded)
    } else {
        (!text.is_empty() && name.starts_with(&text)).then_some(Fit::Start)
    }
}

/// The best of `names` for `text`: its index, or all that fit equally well.
fn best<'n>(
    names: impl Iterator<Item = (usize, &'n str)>,
    text: &str,
) -> Result<usize, Vec<&'n str>> {
    let mut found: Vec<(Fit, usize, &str)> = names
        .filter_map(|(index, name)| Some((fit(name, text)?, index, name)))
        .collect();
    let best = found.iter().map(|(fit, ..)| *fit).max();
    found.retain(|(fit, ..)| Some(*fit) == best);
    match found.as_slice() {
        [(_, index, _)] => Ok(*index),
        _ => Err(found.into_iter().map(|(_, _, name)| name).collect()),
    }
}

/// The index of the table that `text` means.
pub fn table(rows: &dyn Rows, text: &str) -> Outcome<usize> {
    let names = rows.schema().tables.iter().map(|table| &*table.name);
    let names = names
        .enumerate()
        .filter(|(index, _)| rows.has_table(*index));
    match best(names, text) {
        Ok(index) => Ok(index),
        Err(names) if names.is_empty() => fail(format!("unknown table \"{text}\"")),
        Err(names) => fail(format!(
            "\"{text}\" matches multiple table names: {}",
            names.join(", ")
        )),
    }
}

/// The index of the column that `text` means, of the table with this index.
pub fn column(rows: &dyn Rows, table: usize, text: &str) -> Outcome<usize> {
    let schema = &rows.schema().tables[table];
    let names = schema.columns.iter().map(|column| &*column.name);
    let names = names.enumerate();
    let names = names.filter(|(index, _)| rows.has_column(table, *index));
    match best(names, text) {
        Ok(index) => Ok(index),
        Err(names) if names.is_empty() => fail(format!(
            "{} does not contain a column whose name matches \"{text}\"",
            schema.name
        )),
        Err(_) => fail(format!(
            "{} contains more than one column whose name matches \"{text}\"",
            schema.name
        )),
    }
}

/// The row of `table` that `text` means, if there is one. It is an error if `text` could mean several.
pub fn row_if_any(draft: &Draft<'_>, table: usize, text: &str) -> Outcome<Option<Uuid>> {
    if let Some(uuid) = parse_uuid(text)
        && draft.row(table, uuid).is_some()
    {
        return Ok(Some(uuid));
    }
    if text == "." {
        let mut rows = draft.rows(table).map(|(uuid, _)| uuid);
        if let (Some(only), None) = (rows.next(), rows.next()) {
            return Ok(Some(only));
        }
    }
    if let Some(uuid) = by_name(draft, table, text)? {
        return Ok(Some(uuid));
    }
    by_prefix(draft, table, text)
}

/// The row of `table` that `text` means.
pub fn row(draft: &Draft<'_>, table: usize, text: &str) -> Outcome<Uuid> {
    match row_if_any(draft, table, text)? {
        Some(uuid) => Ok(uuid),
        None => fail(format!(
            "no row \"{text}\" in table {}",
            draft.table_schema(table).name
        )),
    }
}

fn by_name(draft: &Draft<'_>, table: usize, text: &str) -> Outcome<Option<Uuid>> {
    let schema = draft.table_schema(table);
    let special = NAMES.iter().filter(|(of, ..)| *of == &*schema.name);
    let names =
        std::iter::once(("name", None)).chain(special.map(|(_, column, key)| (*column, *key)));
    for (column, key) in names {
        let Some(index) = schema.column_index(column) else {
            continue;
        };
        if schema.columns[index].ty.key.atomic != AtomicType::String {
            continue;
        }
        let found: Vec<Uuid> = match key {
            Some(key) => {
                let rows = draft.rows(table);
                let named = rows.filter(|(_, row)| row.get(index).get_str(key) == Some(text));
                named.map(|(uuid, _)| uuid).collect()
            }
            None => draft.rows_with(table, index, &Datum::from(text)),
        };
        match found.as_slice() {
            [] => {}
            [only] => return Ok(Some(*only)),
            _ => {
                return fail(format!("multiple rows in {} match \"{text}\"", schema.name));
            }
        }
    }
    Ok(None)
}

fn by_prefix(draft: &Draft<'_>, table: usize, text: &str) -> Outcome<Option<Uuid>> {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    if text.len() < SHORTEST_PREFIX || !text.bytes().all(is_digit) {
        return Ok(None);
    }
    let text = text.to_ascii_lowercase();
    let starts = |uuid: &Uuid| uuid.hyphenated().to_string().starts_with(&text);
    let mut found = draft.rows(table).map(|(uuid, _)| uuid).filter(starts);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => fail(format!(
            "{} contains 2 or more rows whose UUIDs begin with {text}: at least {first} and {second}",
            draft.table_schema(table).name
        )),
        (one, _) => Ok(one),
    }
}
