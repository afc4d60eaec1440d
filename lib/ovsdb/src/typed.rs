//! Rows as Rust structs: what [`table!`](crate::table) is built on.
//!
//! A table's struct, its schema and its documentation come from one declaration, so they cannot disagree. Reading is
//! total: the data model has already checked every row against the schema, and a datum of another form, which only a
//! programming error can bring here, reads as the type's default.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

use crate::atom::{Atom, AtomicType, Real};
use crate::datum::Datum;
use crate::row::Row;
use crate::schema::{
    BaseType, ColumnSchema, ColumnType, Constraint, DatabaseSchema, RefKind, TableSchema,
};

/// A table's struct, as [`table!`](crate::table) declares it.
pub trait TableDefinition: Sized + Clone + Default + Send + Sync + 'static {
    /// The table's name in the schema.
    const NAME: &'static str;
    /// The table's documentation, in Markdown.
    const DOC: &'static str;
    /// Name and documentation of every column, in the order of the declaration.
    const COLUMN_DOCS: &'static [(&'static str, &'static str)];

    /// The table's schema.
    fn table_schema() -> TableSchema;

    /// The row as a struct. The row must have the columns of [`TableDefinition::table_schema`].
    fn from_row(uuid: Uuid, row: &Row) -> Self;

    /// The struct as a row; its `uuid` is not part of that.
    fn to_row(&self) -> Row;
}

/// A table that has its place in a database, as [`database!`](crate::database) gives it.
pub trait Table: TableDefinition {
    /// The table's index in the schema of its database.
    const INDEX: usize;
}

/// The documentation of a table, for the reference pages.
#[derive(Clone, Copy, Debug)]
pub struct TableDoc {
    /// The table's name.
    pub name: &'static str,
    /// What it is, in Markdown.
    pub doc: &'static str,
    /// Name and documentation of every column, in the order of the declaration.
    pub columns: &'static [(&'static str, &'static str)],
}

impl TableDoc {
    /// The documentation of table `T`.
    pub fn of<T: TableDefinition>() -> Self {
        Self {
            name: T::NAME,
            doc: T::DOC,
            columns: T::COLUMN_DOCS,
        }
    }
}

/// A column of a table, with the Rust type of what it holds.
pub struct Column<T> {
    /// The column's index in its table's schema.
    pub index: usize,
    /// The column's name.
    pub name: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Column<T> {}

impl<T> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.index)
    }
}

impl<T> Column<T> {
    /// The column that is called `name` and has this index. For [`table!`](crate::table).
    #[doc(hidden)]
    pub const fn new(index: usize, name: &'static str) -> Self {
        Self {
            index,
            name,
            holds: PhantomData,
        }
    }
}

impl<T: ColumnValue> Column<T> {
    /// What the column holds in `row`.
    pub fn get(self, row: &Row) -> T {
        T::from_datum(row.get(self.index))
    }

    /// Puts `value` into the column of `row`.
    pub fn set(self, row: &mut Row, value: &T) {
        row.set(self.index, value.to_datum());
    }

    /// The column's index and `value` as it is stored: one column of an update.
    pub fn to(self, value: &T) -> (usize, Datum) {
        (self.index, value.to_datum())
    }
}

/// A Rust type that a column's contents can be read as.
pub trait ColumnValue: Sized {
    /// The contents as this type.
    fn from_datum(datum: &Datum) -> Self;
    /// The contents as they are stored.
    fn to_datum(&self) -> Datum;
}

/// A Rust type that an atom can be read as.
pub trait AtomValue: Sized + Clone {
    /// The atom as this type; `None` if it is of another one.
    fn from_atom(atom: &Atom) -> Option<Self>;
    /// The atom for this value.
    fn to_atom(&self) -> Atom;
}

macro_rules! atom_values {
    ($($type:ty, $default:expr, |$atom:ident| $from:expr, |$value:ident| $to:expr;)*) => {$(
        impl AtomValue for $type {
            fn from_atom($atom: &Atom) -> Option<Self> {
                $from
            }
            fn to_atom(&self) -> Atom {
                let $value = self;
                $to
            }
        }
        impl ColumnValue for $type {
            fn from_datum(datum: &Datum) -> Self {
                datum.scalar().and_then(Self::from_atom).unwrap_or_else(|| $default)
            }
            fn to_datum(&self) -> Datum {
                Datum::One(self.to_atom())
            }
        }
    )*};
}
atom_values! {
    i64, 0, |atom| atom.as_integer(), |value| Atom::Integer(*value);
    Real, Real(0.0), |atom| atom.as_real().map(Real), |value| Atom::Real(*value);
    bool, false, |atom| atom.as_bool(), |value| Atom::Boolean(*value);
    Arc<str>, Arc::from(""), |atom| atom.as_arc_str().cloned(), |value| Atom::String(Arc::clone(value));
    Uuid, Uuid::nil(), |atom| atom.as_uuid(), |value| Atom::Uuid(*value);
}

impl<A: AtomValue> ColumnValue for Option<A> {
    fn from_datum(datum: &Datum) -> Self {
        datum.atoms().first().and_then(A::from_atom)
    }

    fn to_datum(&self) -> Datum {
        match self {
            Some(value) => Datum::One(value.to_atom()),
            None => Datum::empty_set(),
        }
    }
}

/// A set, in the order of its atoms.
impl<A: AtomValue> ColumnValue for Vec<A> {
    fn from_datum(datum: &Datum) -> Self {
        datum.atoms().iter().filter_map(A::from_atom).collect()
    }

    fn to_datum(&self) -> Datum {
        Datum::set(self.iter().map(A::to_atom))
    }
}

impl<K: AtomValue + Ord, V: AtomValue> ColumnValue for BTreeMap<K, V> {
    fn from_datum(datum: &Datum) -> Self {
        let pairs = datum.pairs().iter();
        pairs
            .filter_map(|(key, value)| Some((K::from_atom(key)?, V::from_atom(value)?)))
            .collect()
    }

    fn to_datum(&self) -> Datum {
        Datum::map(
            self.iter()
                .map(|(key, value)| (key.to_atom(), value.to_atom())),
        )
    }
}

/// Builders of schema values, for the expansion of [`table!`](crate::table).
#[doc(hidden)]
pub mod build {
    use super::{
        Arc, Atom, AtomicType, BaseType, ColumnSchema, ColumnType, Constraint, DatabaseSchema,
        RefKind, TableSchema,
    };

    /// The name of the column that the declaration calls `identifier`: without the `r#` of a raw identifier.
    pub const fn column_name(identifier: &'static str) -> &'static str {
        match identifier.as_bytes() {
            [b'r', b'#', name @ ..] => match std::str::from_utf8(name) {
                Ok(name) => name,
                Err(_) => identifier,
            },
            _ => identifier,
        }
    }

    /// The text of doc comments, of which every line has a blank in front and a newline behind, without the newline
    /// at the end and the blank of the first line.
    pub const fn doc(text: &'static str) -> &'static str {
        let mut bytes = text.as_bytes();
        if let [b' ', rest @ ..] = bytes {
            bytes = rest;
        }
        if let [rest @ .., b'\n'] = bytes {
            bytes = rest;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => text,
        }
    }

    /// How many of `names` come before `name` in byte order: its index once they are sorted.
    pub const fn rank(names: &[&str], name: &str) -> usize {
        let mut before = 0;
        let mut index = 0;
        while index < names.len() {
            if precedes(names[index].as_bytes(), name.as_bytes()) {
                before += 1;
            }
            index += 1;
        }
        before
    }

    const fn precedes(a: &[u8], b: &[u8]) -> bool {
        let mut index = 0;
        while index < a.len() && index < b.len() {
            if a[index] != b[index] {
                return a[index] < b[index];
            }
            index += 1;
        }
        a.len() < b.len()
    }

    pub fn table_schema(
        name: &str,
        is_root: bool,
        max_rows: Option<usize>,
        mut columns: Vec<ColumnSchema>,
        indexes: &[&[&str]],
    ) -> TableSchema {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let index_of = |column: &&str| {
            columns
                .binary_search_by(|candidate| (*candidate.name).cmp(column))
                .unwrap_or_else(|_| panic!("an index of {name} names {column}, which is no column"))
        };
        let indexes = indexes
            .iter()
            .map(|index| index.iter().map(index_of).collect())
            .collect();
        TableSchema {
            name: name.into(),
            columns,
            max_rows,
            is_root,
            indexes,
        }
    }

    pub fn database_schema(
        name: &str,
        version: &str,
        mut tables: Vec<TableSchema>,
    ) -> Arc<DatabaseSchema> {
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(DatabaseSchema {
            name: name.into(),
            version: version.into(),
            cksum: None,
            tables,
        })
    }

    pub fn column(name: &str, ty: ColumnType, flags: &[&str]) -> ColumnSchema {
        ColumnSchema {
            name: name.into(),
            ty,
            ephemeral: flags.contains(&"ephemeral"),
            mutable: !flags.contains(&"immutable"),
        }
    }

    pub fn column_type(
        key: BaseType,
        value: Option<BaseType>,
        min: usize,
        max: usize,
    ) -> ColumnType {
        ColumnType {
            key,
            value,
            min,
            max,
        }
    }

    pub fn limited(atomic: AtomicType, constraint: Constraint) -> BaseType {
        BaseType {
            constraint,
            ..BaseType::plain(atomic)
        }
    }

    pub fn one_of(values: &[&str]) -> BaseType {
        let mut values: Vec<Atom> = values.iter().map(|&value| Atom::from(value)).collect();
        values.sort_unstable();
        BaseType {
            enumeration: Some(values.into()),
            ..BaseType::plain(AtomicType::String)
        }
    }

    pub fn reference(table: &str, kind: RefKind) -> BaseType {
        let table = Arc::from(table);
        limited(AtomicType::Uuid, Constraint::Reference { table, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::table! {
        /// A table with a column of every form.
        pub struct Sampler = "Sampler" {
            root: true,
            max_rows: 3,
            indexes: [(r#type, name)],
            columns {
                /// The name.
                name: string(..=8),
                /// The type.
                r#type: one_of("b", "a"),
                /// A number.
                level: optional(integer(0..=7)),
                /// Rows elsewhere.
                friends: set(weak(Sampler)),
                /// At least one.
                ports: nonempty_set(integer(1000..)),
                /// Pairs.
                marks: map(one_of("dscp", "mark") => integer),
                /// Not kept.
                is_connected: boolean ephemeral,
                /// Never changed.
                origin: uuid immutable,
            }
        }
    }

    #[test]
    fn a_row_survives_its_struct() {
        let sampler = Sampler {
            uuid: Uuid::from_u128(1),
            name: "x".into(),
            r#type: "a".into(),
            level: Some(3),
            friends: vec![Uuid::from_u128(2), Uuid::from_u128(3)],
            ports: vec![1000],
            marks: BTreeMap::from([("dscp".into(), 7)]),
            is_connected: true,
            origin: Uuid::from_u128(4),
        };
        let row = sampler.to_row();
        assert_eq!(Sampler::from_row(sampler.uuid, &row), sampler);
        assert_eq!(Sampler::COLUMN.level.get(&row), Some(3));
        let schema = Sampler::table_schema();
        for (column, datum) in schema.columns.iter().zip(row.columns()) {
            datum.check(&column.ty).unwrap();
            datum.check_count(&column.ty).unwrap();
        }
    }

    #[test]
    fn the_schema_says_what_the_declaration_says() {
        let schema = Sampler::table_schema();
        let expected = serde_json::json!({
            "isRoot": true, "maxRows": 3, "indexes": [["type", "name"]],
            "columns": {
                "name": {"type": {"key": {"type": "string", "maxLength": 8}}},
                "type": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}}},
                "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 7}, "min": 0}},
                "friends": {"type": {"key": {"type": "uuid", "refTable": "Sampler", "refType": "weak"},
                                     "min": 0, "max": "unlimited"}},
                "ports": {"type": {"key": {"type": "integer", "minInteger": 1000}, "max": "unlimited"}},
                "marks": {"type": {"key": {"type": "string", "enum": ["set", ["dscp", "mark"]]},
                                   "value": "integer", "min": 0, "max": "unlimited"}},
                "is_connected": {"type": "boolean", "ephemeral": true},
                "origin": {"type": "uuid", "mutable": false},
            }
        });
        assert_eq!(schema.to_json(), expected);
        assert_eq!(Sampler::COLUMN_DOCS[1], ("type", "The type."));
        assert_eq!(Sampler::DOC, "A table with a column of every form.");
    }

    #[test]
    fn a_wrong_datum_reads_as_the_default() {
        assert_eq!(i64::from_datum(&Datum::from("x")), 0);
        assert_eq!(Vec::<i64>::from_datum(&Datum::from("x")), Vec::<i64>::new());
        assert_eq!(Option::<bool>::from_datum(&Datum::empty_map()), None);
    }
}
