//! What a server tells a monitor: RFC 7047, section 4.1.6, `<table-updates>`, and Open vSwitch's `<table-updates2>`.
//!
//! The first form shows a changed row as it was and as it is ([`RowUpdate::Replace`]). The second, of `update2` and
//! `update3`, shows new rows without the columns that have their defaults, and changed rows as differences
//! ([`Delta`]). Both are one type here, since everything around them is the same.
//!
//! Reading goes through a [`ReadPlan`], which places what the server calls its columns into rows of another schema:
//! a client of a newer or older server keeps its own order of columns, and ignores those that it does not know.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::condition::{ColumnRef, Named};
use crate::datum::Datum;
use crate::decode::DatumSeed;
use crate::error::Error;
use crate::row::Row;
use crate::schema::{ColumnType, DatabaseSchema, TableSchema};

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
            _ => Datum::set(merge(old.atoms(), new.atoms(), Ord::cmp, |_, _| None)),
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
            (Self::Toggle(toggle), _) => {
                Datum::set(merge(old.atoms(), toggle.atoms(), Ord::cmp, |_, _| None))
            }
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
        let overlay = |base: &Row, columns: &SparseRow| {
            let mut row = base.clone();
            for (column, datum) in columns {
                if let ColumnRef::Column(index) = column {
                    row.set(*index, datum.clone());
                }
            }
            row
        };
        let base = old.unwrap_or(defaults);
        match self {
            Self::Initial(columns) | Self::Insert(columns) => Some(overlay(defaults, columns)),
            Self::Delete | Self::Replace { new: None, .. } => None,
            Self::Replace {
                new: Some(columns), ..
            } => Some(overlay(base, columns)),
            Self::Modify(deltas) => {
                let mut row = base.clone();
                for (column, delta) in deltas {
                    if let ColumnRef::Column(index) = column {
                        let datum = delta.apply(row.get(*index));
                        row.set(*index, datum);
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
        UpdatesSeed(plan)
            .deserialize(&mut deserializer)
            .map_err(|error| Error::syntax(format!("table updates: {error}")))
    }
}

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
        self.tables
            .get(&*table.name)
            .is_some_and(|(_, columns)| columns.contains_key(column))
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

struct UpdatesSeed<'a>(&'a ReadPlan);

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

struct UuidSeed;

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
        while let Some(kind) = map.next_key::<String>()? {
            match kind.as_str() {
                "initial" => {
                    let columns = map.next_value_seed(ColumnsSeed(self.0))?;
                    update = Some(RowUpdate::Initial(sparse(columns)));
                }
                "insert" => {
                    let columns = map.next_value_seed(ColumnsSeed(self.0))?;
                    update = Some(RowUpdate::Insert(sparse(columns)));
                }
                "delete" => {
                    map.next_value::<IgnoredAny>()?;
                    update = Some(RowUpdate::Delete);
                }
                "modify" => {
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
                "old" => old = Some(sparse(map.next_value_seed(ColumnsSeed(self.0))?)),
                "new" => new = Some(sparse(map.next_value_seed(ColumnsSeed(self.0))?)),
                _ => {
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
        let mut columns = Vec::new();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::atom::Atom;

    fn schema(json: &Value) -> DatabaseSchema {
        DatabaseSchema::from_json(&json!({"name": "T", "tables": {"A": {"columns": json}}}))
            .unwrap()
    }

    fn any_map() -> impl Strategy<Value = Datum> {
        proptest::collection::btree_map(0i64..6, 0i64..3, 0..6).prop_map(|pairs| {
            Datum::map(
                pairs
                    .into_iter()
                    .map(|(k, v)| (Atom::from(k), Atom::from(v))),
            )
        })
    }

    fn any_set() -> impl Strategy<Value = Datum> {
        proptest::collection::btree_set(0i64..8, 0..8)
            .prop_map(|atoms| Datum::set(atoms.into_iter().map(Atom::from)))
    }

    proptest! {
        #[test]
        fn a_difference_applied_gives_the_new_value((old, new) in
            prop_oneof![(any_map(), any_map()), (any_set(), any_set())]) {
            let ty = json!({"key": "integer", "min": 0, "max": "unlimited"});
            let ty = ColumnType::from_json(&ty).unwrap();
            prop_assert_eq!(Delta::between(&ty, &old, &new).apply(&old), new.clone());
            let single = ColumnType { max: 1, ..ty };
            prop_assert_eq!(Delta::between(&single, &old, &new).apply(&old), new);
        }
    }

    #[test]
    fn updates_survive_their_json_form() {
        let schema = schema(&json!({
            "name": {"type": "string"},
            "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
            "opt": {"type": {"key": "integer", "min": 0}},
        }));
        let json = json!({"A": {
            "00000000-0000-0000-0000-000000000001": {"initial": {"name": "a"}},
            "00000000-0000-0000-0000-000000000002": {"insert": {"tags": ["set", [1, 2]]}},
            "00000000-0000-0000-0000-000000000003": {"delete": null},
            "00000000-0000-0000-0000-000000000004": {"modify": {"tags": 3, "opt": 4}},
            "00000000-0000-0000-0000-000000000005": {"old": {"opt": 3}},
            "00000000-0000-0000-0000-000000000006": {"new": {"opt": 3}},
            "00000000-0000-0000-0000-000000000007": {"new": {"opt": 3}, "old": {"opt": ["set", []]}},
        }});
        let raw: Box<RawValue> = serde_json::from_value(json.clone()).unwrap();
        let updates = TableUpdates::from_json(&ReadPlan::between(&schema, &schema), &raw).unwrap();
        assert_eq!(updates.len(), 7);
        assert_eq!(serde_json::to_value(updates.with(&schema)).unwrap(), json);
    }

    #[test]
    fn columns_of_another_schema_find_their_places() {
        let ours = schema(&json!({
            "b": {"type": "string"},
            "kind": {"type": {"key": "string", "min": 0}},
            "new": {"type": "integer"},
            "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
        }));
        let theirs = schema(&json!({
            "a": {"type": "string"}, "b": {"type": "string"}, "kind": {"type": "integer"},
            "set": {"type": {"key": "integer", "min": 0, "max": 1}},
        }));
        let plan = ReadPlan::between(&ours, &theirs);
        let table = &ours.tables[0];
        let has: Vec<bool> = ["b", "kind", "new", "set"]
            .map(|name| plan.has_column(table, name))
            .into();
        assert_eq!(has, [true, false, false, true]);
        let uuid = Uuid::from_u128(1);
        let read = |text: String| {
            let raw: Box<RawValue> = RawValue::from_string(text).unwrap();
            TableUpdates::from_json(&plan, &raw)
        };
        let insert = read(format!(
            "{{\"A\":{{\"{uuid}\":{{\"insert\":{{\"a\":\"x\",\"b\":\"y\",\"kind\":3,\"set\":1}}}}}},\"Z\":{{}}}}"
        ))
        .unwrap();
        let (_, update) = &insert.tables[0].1[0];
        let defaults = Row::default_for(table);
        let row = update.apply(&defaults, None).unwrap();
        assert_eq!(row.get(0), &Datum::from("y"));
        assert_eq!(
            (row.get(1), row.get(2)),
            (&Datum::empty_set(), &Datum::from(0))
        );
        // The server's column holds one element at most, so its difference is the new value; ours would be a toggle.
        let modify = read(format!(
            "{{\"A\":{{\"{uuid}\":{{\"modify\":{{\"set\":2}}}}}}}}"
        ))
        .unwrap();
        let row = modify.tables[0].1[0]
            .1
            .apply(&defaults, Some(&row))
            .unwrap();
        assert_eq!(row.get(3), &Datum::from(2));
        for wrong in [
            "[]",
            "{\"A\":[]}",
            "{\"A\":{\"x\":{}}}",
            "{\"A\":{\"00000000-0000-0000-0000-000000000001\":{}}}",
        ] {
            assert!(read(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
