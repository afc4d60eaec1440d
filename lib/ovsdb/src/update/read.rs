//! Reading updates into rows of a schema that need not be the server's.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use uuid::Uuid;

use super::{Delta, RowUpdate, SparseRow, TableUpdates};
use crate::condition::ColumnRef;
use crate::datum::Datum;
use crate::decode::DatumSeed;
use crate::schema::{ColumnType, DatabaseSchema, TableSchema};

/// Which columns of a server's become which columns of the reader's.
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    tables: FxHashMap<String, (usize, TablePlan)>,
}

/// The part of a [`ReadPlan`] that is about one table: the reader's index for the column, and the server's type of it.
type TablePlan = FxHashMap<String, (usize, ColumnType)>;

impl ReadPlan {
    /// The plan for a server whose schema is `theirs`, and a reader whose schema is `ours`: columns go where they have
    /// the same name and hold the same kind of thing.
    pub fn between(ours: &DatabaseSchema, theirs: &DatabaseSchema) -> Self {
        let mut plan = Self::default();
        for (index, table) in ours.tables.iter().enumerate() {
            let Some(server_table) = theirs.table(&table.name) else {
                continue;
            };
            let mut columns = TablePlan::default();
            for (index, column) in table.columns.iter().enumerate() {
                if let Some(server_column) = server_table.column(&column.name)
                    && server_column.ty.holds_same_kind(&column.ty)
                {
                    let ty = server_column.ty.clone();
                    columns.insert(column.name.to_string(), (index, ty));
                }
            }
            plan.tables.insert(table.name.to_string(), (index, columns));
        }
        plan
    }

    /// Whether the server has this table of the reader's.
    pub fn has_table(&self, table: &TableSchema) -> bool {
        self.tables.contains_key(&*table.name)
    }

    /// Whether the server has this column of the reader's `table`.
    pub fn has_column(&self, table: &TableSchema, column: &str) -> bool {
        self.column_type(table, column).is_some()
    }

    /// The server's type of this column of the reader's `table`, if the server has it.
    pub fn column_type(&self, table: &TableSchema, column: &str) -> Option<&ColumnType> {
        let (_, columns) = self.tables.get(&*table.name)?;
        columns.get(column).map(|(_, ty)| ty)
    }
}

/// Most rows are told with no more columns than these.
const COLUMNS: usize = 8;

pub(super) struct UpdatesSeed<'a>(pub(super) &'a ReadPlan);

impl<'de> DeserializeSeed<'de> for UpdatesSeed<'_> {
    type Value = TableUpdates;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<TableUpdates, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for UpdatesSeed<'_> {
    type Value = TableUpdates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TableUpdates, A::Error> {
        let mut updates = TableUpdates::default();
        while let Some(name) = map.next_key::<String>()? {
            match self.0.tables.get(&name) {
                Some((index, columns)) => {
                    let rows = map.next_value_seed(RowsSeed(columns))?;
                    updates.tables.push((*index, rows));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(updates)
    }
}

struct RowsSeed<'a>(&'a TablePlan);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Vec<(Uuid, RowUpdate)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Vec<(Uuid, RowUpdate)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(uuid) = map.next_key_seed(UuidSeed)? {
            rows.push((uuid, map.next_value_seed(RowUpdateSeed(self.0))?));
        }
        Ok(rows)
    }
}

pub(super) struct UuidSeed;

impl<'de> DeserializeSeed<'de> for UuidSeed {
    type Value = Uuid;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Uuid, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for UuidSeed {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row's UUID")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
        Uuid::try_parse(text).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

struct RowUpdateSeed<'a>(&'a TablePlan);

impl<'de> DeserializeSeed<'de> for RowUpdateSeed<'_> {
    type Value = RowUpdate;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RowUpdate, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowUpdateSeed<'_> {
    type Value = RowUpdate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an update of a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowUpdate, A::Error> {
        let mut update = None;
        let (mut old, mut new) = (None, None);
        let sparse = |columns: Vec<(usize, &ColumnType, Datum)>| -> SparseRow {
            let column = |(index, _, datum)| (ColumnRef::Column(index), datum);
            columns.into_iter().map(column).collect()
        };
        while let Some(kind) = map.next_key_seed(KindSeed)? {
            match kind {
                Some(Kind::Initial) => {
                    let columns = map.next_value_seed(ColumnsSeed(self.0))?;
                    update = Some(RowUpdate::Initial(sparse(columns)));
                }
                Some(Kind::Insert) => {
                    let columns = map.next_value_seed(ColumnsSeed(self.0))?;
                    update = Some(RowUpdate::Insert(sparse(columns)));
                }
                Some(Kind::Delete) => {
                    map.next_value::<IgnoredAny>()?;
                    update = Some(RowUpdate::Delete);
                }
                Some(Kind::Modify) => {
                    let columns = map.next_value_seed(ColumnsSeed(self.0))?;
                    let delta = |(index, ty, datum): (usize, &ColumnType, Datum)| {
                        let delta = if ty.max == 1 {
                            Delta::Replace(datum)
                        } else {
                            Delta::Toggle(datum)
                        };
                        (ColumnRef::Column(index), delta)
                    };
                    update = Some(RowUpdate::Modify(columns.into_iter().map(delta).collect()));
                }
                Some(Kind::Old) => old = Some(sparse(map.next_value_seed(ColumnsSeed(self.0))?)),
                Some(Kind::New) => new = Some(sparse(map.next_value_seed(ColumnsSeed(self.0))?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match update {
            Some(update) => Ok(update),
            None if old.is_some() || new.is_some() => Ok(RowUpdate::Replace { old, new }),
            None => Err(A::Error::custom(
                "an update of a row says neither \"old\", \"new\", \"initial\", \"insert\", \"delete\" nor \"modify\"",
            )),
        }
    }
}

/// What an update says of a row.
enum Kind {
    Initial,
    Insert,
    Delete,
    Modify,
    Old,
    New,
}

/// Reads such a word without keeping it; nothing, if it is another one.
struct KindSeed;

impl<'de> DeserializeSeed<'de> for KindSeed {
    type Value = Option<Kind>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KindSeed {
    type Value = Option<Kind>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what happened to a row")
    }

    fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
        Ok(match word {
            "initial" => Some(Kind::Initial),
            "insert" => Some(Kind::Insert),
            "delete" => Some(Kind::Delete),
            "modify" => Some(Kind::Modify),
            "old" => Some(Kind::Old),
            "new" => Some(Kind::New),
            _ => None,
        })
    }
}

struct ColumnsSeed<'a>(&'a TablePlan);

impl<'de, 'a> DeserializeSeed<'de> for ColumnsSeed<'a> {
    type Value = Vec<(usize, &'a ColumnType, Datum)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, 'a> Visitor<'de> for ColumnsSeed<'a> {
    type Value = Vec<(usize, &'a ColumnType, Datum)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = Vec::with_capacity(self.0.len().min(COLUMNS));
        while let Some(name) = map.next_key_seed(ColumnSeed(self.0))? {
            match name {
                Some((index, ty)) => {
                    let datum = map.next_value_seed(DatumSeed(ty))?;
                    columns.push((*index, ty, datum));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(columns)
    }
}

/// Looks a column up by its name without keeping the name.
struct ColumnSeed<'a>(&'a TablePlan);

impl<'de, 'a> DeserializeSeed<'de> for ColumnSeed<'a> {
    type Value = Option<&'a (usize, ColumnType)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for ColumnSeed<'a> {
    type Value = Option<&'a (usize, ColumnType)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name))
    }
}

impl ColumnType {
    /// Whether data of the two types have the same form: both maps or both sets, of the same atomic types. Their limits
    /// may differ.
    pub fn holds_same_kind(&self, other: &Self) -> bool {
        let value = |ty: &Self| ty.value.as_ref().map(|value| value.atomic);
        self.key.atomic == other.key.atomic && value(self) == value(other)
    }
}
