//! Rows by what objects are called, by what they belong to, and by who owns them.

use northbound::find::parse_uuid;
use northbound::{Rows, Snapshot};
use ovsdb::{Atom, Datum, Row, Uuid};

use nb_db::tables::WeftProblem;
use ovsdb::Table;

use crate::catalog::{Kind, Place, catalog, schema};
use crate::error::{Code, Refused};
use crate::kinds::{EXTERNAL_IDS, NAME_KEY, OWNER_KEY};

/// So many objects of one name are told.
const MAX_TOLD: usize = 8;

/// Gives a copy of the northbound the indexes by which everything here finds rows.
pub fn index(snapshot: &mut Snapshot) {
    for kind in catalog().kinds() {
        match kind.name {
            Some(name) => snapshot.index_contents(kind.table, name),
            None => snapshot.index_pairs(kind.table, kind.external_ids, NAME_KEY),
        }
        snapshot.index_pairs(kind.table, kind.external_ids, OWNER_KEY);
        for field in &kind.fields {
            match &field.place {
                Place::Parents(table, column) => snapshot.index_elements(*table, *column),
                Place::Parts(part) => snapshot.index_elements(kind.table, part.column),
                // Tables of other kinds are called by their column `name`, too.
                Place::References(column, target) => {
                    snapshot.index_elements(kind.table, *column);
                    if let Some(name) = schema().tables[*target].column_index("name") {
                        snapshot.index_contents(*target, name);
                    }
                }
                Place::Column(_) => {}
            }
        }
    }
    snapshot.index_contents(WeftProblem::INDEX, WeftProblem::COLUMN.row.index);
}

/// The object that somebody calls so.
pub fn find(rows: &dyn Rows, kind: &Kind, text: &str) -> Result<Uuid, Refused> {
    find_if_any(rows, kind, text)?.ok_or_else(|| not_found(kind.label(), text))
}

fn not_found(what: &str, text: &str) -> Refused {
    let message = format!(
        "there is no {what} {text:?}; list what there is, or make it before what refers to it"
    );
    Refused::new(Code::NotFound, message)
}

/// The object that somebody calls so, if there is one.
pub fn find_if_any(rows: &dyn Rows, kind: &Kind, text: &str) -> Result<Option<Uuid>, Refused> {
    let key = kind.name.map_or(Key::Pair(kind.external_ids), Key::Column);
    one_called(rows, kind.table, kind.label(), Some(key), text)
}

/// The row of any table that somebody refers to so: of a kind of ours, or of another table by its column `name`.
pub fn find_row(rows: &dyn Rows, table: usize, text: &str) -> Result<Uuid, Refused> {
    if let Some(kind) = catalog().of_table(table) {
        return find(rows, kind, text);
    }
    let schema = &schema().tables[table];
    let key = schema.column_index("name").map(Key::Column);
    let found = one_called(rows, table, &schema.name, key, text)?;
    found.ok_or_else(|| not_found(&format!("row of {}", schema.name), text))
}

/// Where names are.
#[derive(Clone, Copy)]
enum Key {
    Column(usize),
    Pair(usize),
}

fn one_called(
    rows: &dyn Rows,
    table: usize,
    what: &str,
    key: Option<Key>,
    text: &str,
) -> Result<Option<Uuid>, Refused> {
    if let Some(uuid) = parse_uuid(text)
        && rows.row(table, uuid).is_some()
    {
        return Ok(Some(uuid));
    }
    let found = match key {
        Some(Key::Column(column)) => holding(rows, table, column, text),
        Some(Key::Pair(column)) => with_pair(rows, table, column, NAME_KEY, text),
        None => Vec::new(),
    };
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => {
            let told: Vec<String> = several
                .iter()
                .take(MAX_TOLD)
                .map(ToString::to_string)
                .collect();
            let count = several.len();
            let told = told.join(", ");
            let message = format!("{count} {what} objects are called {text:?}; use a UUID: {told}");
            Err(Refused::new(Code::Conflict, message))
        }
    }
}

fn holding(rows: &dyn Rows, table: usize, column: usize, text: &str) -> Vec<Uuid> {
    let datum = Datum::from(text);
    rows.holding(table, column, &datum).unwrap_or_else(|| {
        let all = rows.rows(table);
        let found = all.filter(|(_, row)| *row.get(column) == datum);
        found.map(|(uuid, _)| uuid).collect()
    })
}

/// The rows that have this pair in a column.
pub fn with_pair(
    rows: &dyn Rows,
    table: usize,
    column: usize,
    key: &str,
    value: &str,
) -> Vec<Uuid> {
    rows.with_pair(table, column, key, value)
        .unwrap_or_else(|| {
            let all = rows.rows(table);
            let found = all.filter(|(_, row)| row.get(column).get_str(key) == Some(value));
            found.map(|(uuid, _)| uuid).collect()
        })
}

/// The rows that have this one in a column.
pub fn containing(rows: &dyn Rows, table: usize, column: usize, uuid: Uuid) -> Vec<Uuid> {
    let atom = Atom::Uuid(uuid);
    rows.containing(table, column, &atom).unwrap_or_else(|| {
        let all = rows.rows(table);
        let found = all.filter(|(_, row)| row.get(column).contains(&atom));
        found.map(|(uuid, _)| uuid).collect()
    })
}

/// The objects of a kind that somebody owns.
pub fn owned(rows: &dyn Rows, kind: &Kind, owner: &str) -> Vec<Uuid> {
    let mut owned = with_pair(rows, kind.table, kind.external_ids, OWNER_KEY, owner);
    owned.sort_unstable();
    owned
}

/// Who owns a row of the kind; empty: nobody.
pub fn owner_of<'r>(kind: &Kind, row: &'r Row) -> &'r str {
    row.get(kind.external_ids)
        .get_str(OWNER_KEY)
        .unwrap_or_default()
}

/// What an object is called; nothing if it has no name.
pub fn name_of<'r>(kind: &Kind, row: &'r Row) -> Option<&'r str> {
    let name = match kind.name {
        Some(column) => row.get(column).scalar()?.as_str()?,
        None => row.get(kind.external_ids).get_str(NAME_KEY)?,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// What a row of any table is called: its name if that is enough to find it, else its UUID.
pub fn label_of(rows: &dyn Rows, table: usize, uuid: Uuid) -> String {
    let Some(row) = rows.row(table, uuid) else {
        return uuid.to_string();
    };
    let (name, others) = match catalog().of_table(table) {
        Some(kind) => {
            let name = name_of(kind, row);
            let others = name.map_or(0, |name| match kind.name {
                Some(column) => holding(rows, table, column, name).len(),
                None => with_pair(rows, table, kind.external_ids, NAME_KEY, name).len(),
            });
            (name, others)
        }
        None => {
            let column = schema().tables[table].column_index("name");
            let name = column.and_then(|column| row.get(column).scalar()?.as_str());
            let others = column.zip(name);
            let others =
                others.map_or(0, |(column, name)| holding(rows, table, column, name).len());
            (name, others)
        }
    };
    match name {
        Some(name) if others == 1 => name.to_owned(),
        _ => uuid.to_string(),
    }
}

/// Whether the column is the one with the management system's pairs.
pub fn is_external_ids(name: &str) -> bool {
    name == EXTERNAL_IDS
}
