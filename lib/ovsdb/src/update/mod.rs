//! What a server tells a monitor: RFC 7047, section 4.1.6, `<table-updates>`, and Open vSwitch's `<table-updates2>`.
//!
//! The first form shows a changed row as it was and as it is ([`RowUpdate::Replace`]). The second, of `update2` and
//! `update3`, shows new rows without the columns that have their defaults, and changed rows as differences
//! ([`Delta`]). Both are one type here, since everything around them is the same.
//!
//! Reading goes through a [`ReadPlan`], which places what the server calls its columns into rows of another schema:
//! a client of a newer or older server keeps its own order of columns, and ignores those that it does not know.

mod notice;
mod read;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::condition::{ColumnRef, Named};
use crate::datum::Datum;
use crate::error::Error;
use crate::row::Row;
use crate::schema::{ColumnType, DatabaseSchema, TableSchema};
use crate::set::difference;

pub(crate) use notice::updates as told;
pub use read::ReadPlan;

/// Some columns of a row.
pub type SparseRow = Vec<(ColumnRef, Datum)>;

/// How a column changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// It holds this now. So for columns that hold at most one element.
    Replace(Datum),
    /// What is in here and not in the column comes in, what is in both goes, and a key with another value gets this
    /// one. So for all other columns.
    Toggle(Datum),
}

impl Delta {
    /// The delta that makes `new` of `old` in a column of this type.
    pub fn between(ty: &ColumnType, old: &Datum, new: &Datum) -> Self {
        if ty.max == 1 {
            return Self::Replace(new.clone());
        }
        Self::Toggle(match (old, new) {
            (Datum::Map(old), Datum::Map(new)) => Datum::map(merge(
                old,
                new,
                |a, b| a.0.cmp(&b.0),
                |a, b| (a.1 != b.1).then(|| b.clone()),
            )),
            _ => {
                let mut toggled = Vec::new();
                difference(old.atoms(), new.atoms(), |atom, _| {
                    toggled.push(atom.clone());
                });
                Datum::set(toggled)
            }
        })
    }

    /// What the column holds after this.
    pub fn apply(&self, old: &Datum) -> Datum {
        match (self, old) {
            (Self::Replace(new), _) => new.clone(),
            (Self::Toggle(Datum::Map(toggle)), Datum::Map(old)) => Datum::map(merge(
                old,
                toggle,
                |a, b| a.0.cmp(&b.0),
                |a, b| (a.1 != b.1).then(|| b.clone()),
            )),
            (Self::Toggle(toggle), _) => old.toggle(toggle.atoms()),
        }
    }

    /// The value that stands for it in the protocol.
    pub fn datum(&self) -> &Datum {
        match self {
            Self::Replace(datum) | Self::Toggle(datum) => datum,
        }
    }
}

/// The elements of one of two sorted slices, and of those in both, what `both` makes of them.
fn merge<T: Clone>(
    left: &[T],
    right: &[T],
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
    both: impl Fn(&T, &T) -> Option<T>,
) -> Vec<T> {
    use std::cmp::Ordering;
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut merged = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => compare(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return merged,
        };
        match order {
            Ordering::Less => merged.extend(left.next().cloned()),
            Ordering::Greater => merged.extend(right.next().cloned()),
            Ordering::Equal => {
                if let (Some(a), Some(b)) = (left.next(), right.next()) {
                    merged.extend(both(a, b));
                }
            }
        }
    }
}

/// What happened to one row, as far as a monitor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowUpdate {
    /// The row was there when the monitor began. Columns that are missing have their defaults.
    Initial(SparseRow),
    /// The row came to be, or into the monitor's condition. Columns that are missing have their defaults.
    Insert(SparseRow),
    /// The row went, or out of the monitor's condition.
    Delete,
    /// Columns of the row changed.
    Modify(Vec<(ColumnRef, Delta)>),
    /// The first protocol's form of all of these: the row as it was, if it was, and as it is, if it is. Of a changed
    /// row, `old` has the changed columns only.
    Replace {
        /// As it was.
        old: Option<SparseRow>,
        /// As it is.
        new: Option<SparseRow>,
    },
}

impl RowUpdate {
    /// What becomes of a row, given what it was and a row of defaults. `None` for `old` and a [`RowUpdate::Modify`] is a
    /// row that was never told of: the difference then applies to defaults.
    pub fn apply(&self, defaults: &Row, old: Option<&Row>) -> Option<Row> {
        self.clone().into_row(defaults, old)
    }

    /// The same with an update that is not needed any more.
    pub fn into_row(self, defaults: &Row, old: Option<&Row>) -> Option<Row> {
        let base = old.unwrap_or(defaults);
        match self {
            Self::Initial(columns) | Self::Insert(columns) => Some(overlaid(defaults, columns)),
            Self::Delete | Self::Replace { new: None, .. } => None,
            Self::Replace {
                new: Some(columns), ..
            } => Some(overlaid(base, columns)),
            Self::Modify(deltas) => {
                let mut row = base.clone();
                for (column, delta) in deltas {
                    if let ColumnRef::Column(index) = column {
                        let datum = delta.apply(row.get(index));
                        row.set(index, datum);
                    }
                }
                Some(row)
            }
        }
    }

    /// The update with the names that its JSON form needs.
    pub fn with<'a>(&'a self, table: &'a TableSchema) -> impl Serialize + 'a {
        Named { table, inner: self }
    }
}

/// A row with these columns instead of its own. Where they are in order, as they nearly always are, nothing is made that is to be thrown
/// away.
fn overlaid(base: &Row, columns: SparseRow) -> Row {
    let base = base.columns();
    let mut row: Vec<Datum> = Vec::with_capacity(base.len());
    for (column, datum) in columns {
        let ColumnRef::Column(index) = column else {
            continue;
        };
        if let Some(known) = row.get_mut(index) {
            *known = datum;
            continue;
        }
        row.extend_from_slice(&base[row.len()..index]);
        row.push(datum);
    }
    row.extend_from_slice(&base[row.len()..]);
    Row::new(row)
}

/// Updates of rows, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableUpdates {
    /// Indexes into the schema's tables, each once, with the rows.
    pub tables: Vec<(usize, Vec<(Uuid, RowUpdate)>)>,
}

impl TableUpdates {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|(_, rows)| rows.is_empty())
    }

    /// How many rows are updated.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Adds an update of a row.
    pub fn push(&mut self, table: usize, uuid: Uuid, update: RowUpdate) {
        // Changes come grouped by table mostly, so the last table is nearly always the right one.
        let at = match self.tables.last() {
            Some((last, _)) if *last == table => self.tables.len() - 1,
            _ => match self.tables.iter().position(|(other, _)| *other == table) {
                Some(at) => at,
                None => {
                    self.tables.push((table, Vec::new()));
                    self.tables.len() - 1
                }
            },
        };
        self.tables[at].1.push((uuid, update));
    }

    /// The updates with the names that their JSON form needs.
    pub fn with<'a>(&'a self, schema: &'a DatabaseSchema) -> impl Serialize + 'a {
        UpdatesJson {
            schema,
            updates: self,
        }
    }

    /// Reads either form.
    pub fn from_json(plan: &ReadPlan, json: &RawValue) -> Result<Self, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json.get());
        serde::de::DeserializeSeed::deserialize(read::UpdatesSeed(plan), &mut deserializer)
            .map_err(|error| Error::syntax(format!("table updates: {error}")))
    }
}

struct UpdatesJson<'a> {
    schema: &'a DatabaseSchema,
    updates: &'a TableUpdates,
}

impl Serialize for UpdatesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (table, rows) in &self.updates.tables {
            let table = &self.schema.tables[*table];
            map.serialize_entry(&*table.name, &RowsJson(table, rows))?;
        }
        map.end()
    }
}

struct RowsJson<'a>(&'a TableSchema, &'a [(Uuid, RowUpdate)]);

impl Serialize for RowsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.1.len()))?;
        for (uuid, update) in self.1 {
            map.serialize_entry(
                &*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
                &update.with(self.0),
            )?;
        }
        map.end()
    }
}

impl Serialize for Named<'_, RowUpdate> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |columns| Named {
            table: self.table,
            inner: columns,
        };
        let mut map = serializer.serialize_map(Some(1))?;
        match self.inner {
            RowUpdate::Initial(columns) => map.serialize_entry("initial", &row(columns))?,
            RowUpdate::Insert(columns) => map.serialize_entry("insert", &row(columns))?,
            RowUpdate::Delete => map.serialize_entry("delete", &())?,
            RowUpdate::Modify(deltas) => {
                let named = Named {
                    table: self.table,
                    inner: deltas.as_slice(),
                };
                map.serialize_entry("modify", &named)?;
            }
            RowUpdate::Replace { old, new } => {
                if let Some(columns) = old {
                    map.serialize_entry("old", &row(columns))?;
                }
                if let Some(columns) = new {
                    map.serialize_entry("new", &row(columns))?;
                }
            }
        }
        map.end()
    }
}

impl Serialize for Named<'_, SparseRow> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.inner.iter();
        serializer.collect_map(columns.map(|(column, datum)| (column.name(self.table), datum)))
    }
}

impl Serialize for Named<'_, [(ColumnRef, Delta)]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.inner.iter();
        serializer
            .collect_map(columns.map(|(column, delta)| (column.name(self.table), delta.datum())))
    }
}

#[cfg(test)]
mod tests;
