//! Conditions on rows: RFC 7047, section 5.1, `<condition>`, with Open vSwitch's two extensions.
//!
//! A [`Clause`] compares one column with a value, or is a bare boolean (extension). The operations of a transaction
//! have lists of clauses which must all hold. A monitor has a [`Condition`], a list of which one must hold. The
//! second extension lets `<`, `<=`, `>=` and `>` compare optional numbers too: they are false where nothing is set.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeSeq, SerializeTuple, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::atom::{Atom, AtomicType};
use crate::datum::Datum;
use crate::error::{Error, ErrorKind};
use crate::row::Row;
use crate::schema::{BaseType, ColumnType, TableSchema};

/// A column of a table, or one of the two that every table has besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnRef {
    /// `_uuid`: the row's identity.
    Uuid,
    /// `_version`: a UUID that differs when the row differs.
    Version,
    /// The column with this index in the table's schema.
    Column(usize),
}

impl ColumnRef {
    /// The column of `table` called `name`.
    pub fn from_name(table: &TableSchema, name: &str) -> Result<Self, Error> {
        match name {
            "_uuid" => Ok(Self::Uuid),
            "_version" => Ok(Self::Version),
            _ => table.column_index(name).map(Self::Column).ok_or_else(|| {
                Error::new(
                    ErrorKind::UnknownColumn,
                    format!("No column {name} in table {}.", table.name),
                )
            }),
        }
    }

    /// The column's name in `table`.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn name(self, table: &TableSchema) -> &str {
        match self {
            Self::Uuid => "_uuid",
            Self::Version => "_version",
            Self::Column(index) => &table.columns[index].name,
        }
    }

    /// The column's name in `table`, shared where it can be.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn shared_name(self, table: &TableSchema) -> Arc<str> {
        match self {
            Self::Column(index) => table.columns[index].name.clone(),
            Self::Uuid | Self::Version => self.name(table).into(),
        }
    }

    /// The column's type in `table`.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn column_type(self, table: &TableSchema) -> ColumnType {
        match self {
            Self::Column(index) => table.columns[index].ty.clone(),
            Self::Uuid | Self::Version => ColumnType {
                key: BaseType::plain(AtomicType::Uuid),
                value: None,
                min: 1,
                max: 1,
            },
        }
    }

    /// What the column holds in this row.
    ///
    /// # Panics
    /// If the row has no such column.
    pub fn of(self, uuid: Uuid, row: &Row) -> Datum {
        match self {
            Self::Uuid => Datum::One(Atom::Uuid(uuid)),
            Self::Version => Datum::One(Atom::Uuid(row.version(uuid))),
            Self::Column(index) => row.get(index).clone(),
        }
    }
}

/// How a clause compares (RFC 7047, section 5.1, `<function>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `includes`: the column has every element, or pair, of the argument.
    Includes,
    /// `excludes`: the column has no element, or pair, of the argument.
    Excludes,
}

const FUNCTIONS: [(Function, &str); 8] = [
    (Function::Less, "<"),
    (Function::LessOrEqual, "<="),
    (Function::Equal, "=="),
    (Function::NotEqual, "!="),
    (Function::GreaterOrEqual, ">="),
    (Function::Greater, ">"),
    (Function::Includes, "includes"),
    (Function::Excludes, "excludes"),
];

impl Function {
    /// The function's name in the protocol.
    pub fn name(self) -> &'static str {
        FUNCTIONS
            .iter()
            .find(|(function, _)| *function == self)
            .map_or("==", |(_, name)| name)
    }

    /// The function that the protocol calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        FUNCTIONS
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(function, _)| *function)
    }

    /// Whether it compares by order.
    pub fn is_ordering(self) -> bool {
        matches!(
            self,
            Self::Less | Self::LessOrEqual | Self::GreaterOrEqual | Self::Greater
        )
    }

    /// Whether `column function arg` holds.
    pub fn holds(self, column: &Datum, arg: &Datum) -> bool {
        let ordered = |accept: fn(Ordering) -> bool| match (column.scalar(), arg.scalar()) {
            (Some(column), Some(arg)) => accept(column.cmp(arg)),
            _ => false,
        };
        match self {
            Self::Less => ordered(Ordering::is_lt),
            Self::LessOrEqual => ordered(Ordering::is_le),
            Self::GreaterOrEqual => ordered(Ordering::is_ge),
            Self::Greater => ordered(Ordering::is_gt),
            Self::Equal => column == arg,
            Self::NotEqual => column != arg,
            Self::Includes => {
                arg.atoms().iter().all(|atom| column.contains(atom))
                    && arg.pairs().iter().all(|(k, v)| column.get(k) == Some(v))
            }
            Self::Excludes => {
                !arg.atoms().iter().any(|atom| column.contains(atom))
                    && !arg.pairs().iter().any(|(k, v)| column.get(k) == Some(v))
            }
        }
    }
}

/// One `<condition>` of the RFC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// Holds for every row, or for none (extension).
    Always(bool),
    /// Holds where `column function arg` does.
    Compare {
        /// The column.
        column: ColumnRef,
        /// How it is compared.
        function: Function,
        /// With what.
        arg: Datum,
    },
}

impl Clause {
    /// The clause that only the row `uuid` fulfils.
    pub fn is_row(uuid: Uuid) -> Self {
        Self::Compare {
            column: ColumnRef::Uuid,
            function: Function::Equal,
            arg: Datum::One(Atom::Uuid(uuid)),
        }
    }

    /// The clause that asks for `column == arg`, the column being an index into the table's schema.
    pub fn equals(column: usize, arg: impl Into<Datum>) -> Self {
        Self::compare(column, Function::Equal, arg)
    }

    /// The clause that asks for `column function arg`, the column being an index into the table's schema.
    pub fn compare(column: usize, function: Function, arg: impl Into<Datum>) -> Self {
        Self::Compare {
            column: ColumnRef::Column(column),
            function,
            arg: arg.into(),
        }
    }

    /// The row that this clause names, if it is `_uuid == U`.
    pub fn as_row(&self) -> Option<Uuid> {
        match self {
            Self::Compare {
                column: ColumnRef::Uuid,
                function: Function::Equal | Function::Includes,
                arg,
            } => arg.scalar().and_then(Atom::as_uuid),
            _ => None,
        }
    }

    /// Whether it holds for this row.
    pub fn holds(&self, uuid: Uuid, row: &Row) -> bool {
        match self {
            Self::Always(holds) => *holds,
            Self::Compare {
                column: ColumnRef::Column(index),
                function,
                arg,
            } => function.holds(row.get(*index), arg),
            Self::Compare {
                column,
                function,
                arg,
            } => function.holds(&column.of(uuid, row), arg),
        }
    }

    /// Reads the JSON form: `[column, function, value]` or a boolean. `named` as in [`Datum::from_json`].
    pub fn from_json(
        table: &TableSchema,
        json: &Value,
        named: &mut dyn FnMut(&str) -> Option<Uuid>,
    ) -> Result<Self, Error> {
        if let Some(holds) = json.as_bool() {
            return Ok(Self::Always(holds));
        }
        let Some([Value::String(column), Value::String(function), arg]) =
            json.as_array().map(Vec::as_slice)
        else {
            return Err(Error::syntax(
                "A condition should be [column, function, value] or a boolean.",
            )
            .at(json));
        };
        let column = ColumnRef::from_name(table, column).map_err(|error| error.at(json))?;
        let function = Function::from_name(function).ok_or_else(|| {
            Error::new(
                ErrorKind::Other("unknown function".to_owned()),
                format!("No function named {function}."),
            )
            .at(json)
        })?;
        let mut ty = column.column_type(table);
        if function.is_ordering() {
            let number = matches!(ty.key.atomic, AtomicType::Integer | AtomicType::Real);
            if !number || ty.value.is_some() || ty.max != 1 {
                return Err(Error::syntax(format!(
                    "Type mismatch: \"{}\" operator may not be applied to column {} of type {}.",
                    function.name(),
                    column.name(table),
                    ty.to_json()
                ))
                .at(json));
            }
            ty.min = 1;
        }
        let arg = match function {
            Function::Includes | Function::Excludes => Datum::from_json_unbounded(&ty, arg, named),
            _ => Datum::from_json(&ty, arg, named),
        };
        Ok(Self::Compare {
            column,
            function,
            arg: arg.map_err(|error| Error::from(error).at(json))?,
        })
    }

    /// The clause with the names that its JSON form needs.
    pub fn with<'a>(&'a self, table: &'a TableSchema) -> impl Serialize + 'a {
        Named { table, inner: self }
    }
}

/// Reads a `where`: a list of clauses.
pub(crate) fn clauses_from_json(
    table: &TableSchema,
    json: &Value,
    named: &mut dyn FnMut(&str) -> Option<Uuid>,
) -> Result<Vec<Clause>, Error> {
    json.as_array()
        .ok_or_else(|| Error::syntax("\"where\" should be an array of conditions.").at(json))?
        .iter()
        .map(|clause| Clause::from_json(table, clause, named))
        .collect()
}

/// Which rows of a table a monitor is about: those for which one of the clauses holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    clauses: Vec<Clause>,
}

impl Default for Condition {
    fn default() -> Self {
        Self::everything()
    }
}

impl Condition {
    /// Every row.
    pub fn everything() -> Self {
        Self {
            clauses: vec![Clause::Always(true)],
        }
    }

    /// No row.
    pub fn nothing() -> Self {
        Self {
            clauses: vec![Clause::Always(false)],
        }
    }

    /// The rows for which one of `clauses` holds; of no clauses, none.
    ///
    /// In the protocol an empty list means every row. Here it means what it says, so that a condition built clause by
    /// clause does not jump from one row to all when the last clause goes.
    pub fn any(clauses: impl IntoIterator<Item = Clause>) -> Self {
        let clauses: Vec<Clause> = clauses.into_iter().collect();
        if clauses.is_empty() {
            return Self::nothing();
        }
        Self { clauses }
    }

    /// The clauses; never an empty list.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Whether it holds for every row whatever it contains.
    pub fn is_everything(&self) -> bool {
        self.clauses.contains(&Clause::Always(true))
    }

    /// Whether it holds for this row.
    pub fn holds(&self, uuid: Uuid, row: &Row) -> bool {
        self.clauses.iter().any(|clause| clause.holds(uuid, row))
    }

    /// Reads the `where` of a monitor request.
    pub fn from_json(table: &TableSchema, json: &Value) -> Result<Self, Error> {
        let clauses = clauses_from_json(table, json, &mut |_| None)?;
        if clauses.is_empty() {
            return Ok(Self::everything());
        }
        Ok(Self { clauses })
    }

    /// The condition with the names that its JSON form needs.
    pub fn with<'a>(&'a self, table: &'a TableSchema) -> impl Serialize + 'a {
        Named {
            table,
            inner: self.clauses.as_slice(),
        }
    }
}

/// A thing of columns beside the table that knows their names.
pub(crate) struct Named<'a, T: ?Sized> {
    pub(crate) table: &'a TableSchema,
    pub(crate) inner: &'a T,
}

impl Serialize for Named<'_, Clause> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.inner {
            Clause::Always(holds) => serializer.serialize_bool(*holds),
            Clause::Compare {
                column,
                function,
                arg,
            } => {
                let mut tuple = serializer.serialize_tuple(3)?;
                tuple.serialize_element(column.name(self.table))?;
                tuple.serialize_element(function.name())?;
                tuple.serialize_element(arg)?;
                tuple.end()
            }
        }
    }
}

impl Serialize for Named<'_, [Clause]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.inner.len()))?;
        for inner in self.inner {
            sequence.serialize_element(&Named {
                table: self.table,
                inner,
            })?;
        }
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> TableSchema {
        TableSchema::from_json(
            "T",
            &json!({"columns": {
                "level": {"type": "integer"},
                "maybe": {"type": {"key": "integer", "min": 0}},
                "names": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
                "pairs": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            }}),
        )
        .unwrap()
    }

    #[track_caller]
    fn check(clause: &Value, row: &Value, expected: Result<bool, &str>) {
        let table = table();
        let uuid = Uuid::from_u128(1);
        let mut columns = Row::default_for(&table);
        for (name, value) in row.as_object().unwrap() {
            let index = table.column_index(name).unwrap();
            let datum = Datum::from_json(&table.columns[index].ty, value, &mut |_| None).unwrap();
            columns.set(index, datum);
        }
        match (Clause::from_json(&table, clause, &mut |_| None), expected) {
            (Ok(parsed), Ok(expected)) => {
                assert_eq!(parsed.holds(uuid, &columns), expected, "{clause} on {row}");
                assert_eq!(&serde_json::to_value(parsed.with(&table)).unwrap(), clause);
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (result, expected) => panic!("{result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn clauses_hold_as_the_rfc_says() {
        let full = json!({"level": 5, "maybe": 3, "names": ["set", ["a", "b"]],
                          "pairs": ["map", [["k", "v"], ["l", "w"]]]});
        let bare = json!({});
        for (clause, on_full, on_bare) in [
            (json!(["level", "<", 6]), true, true),
            (json!(["level", ">=", 5]), true, false),
            (json!(["level", "!=", 5]), false, true),
            (json!(["maybe", "<", 4]), true, false),
            (json!(["maybe", ">", 0]), true, false),
            (json!(["maybe", "==", ["set", []]]), false, true),
            (
                json!(["names", "includes", ["set", ["a", "b"]]]),
                true,
                false,
            ),
            (
                json!(["names", "includes", ["set", ["a", "c"]]]),
                false,
                false,
            ),
            (json!(["names", "includes", ["set", []]]), true, true),
            (
                json!(["names", "excludes", ["set", ["a", "c"]]]),
                false,
                true,
            ),
            (json!(["names", "==", ["set", ["a", "b"]]]), true, false),
            (
                json!(["pairs", "includes", ["map", [["k", "v"]]]]),
                true,
                false,
            ),
            (
                json!(["pairs", "includes", ["map", [["k", "w"]]]]),
                false,
                false,
            ),
            (
                json!(["pairs", "excludes", ["map", [["k", "w"]]]]),
                true,
                true,
            ),
            (
                json!(["_uuid", "==", ["uuid", Uuid::from_u128(1).to_string()]]),
                true,
                true,
            ),
            (
                json!(["_uuid", "!=", ["uuid", Uuid::from_u128(1).to_string()]]),
                false,
                false,
            ),
            (json!(true), true, true),
            (json!(false), false, false),
        ] {
            check(&clause, &full, Ok(on_full));
            check(&clause, &bare, Ok(on_bare));
        }
    }

    #[test]
    fn wrong_clauses_are_refused() {
        let bare = json!({});
        check(
            &json!(["nope", "==", 1]),
            &bare,
            Err("unknown column: No column nope in table T. (in [\"nope\",\"==\",1])"),
        );
        check(
            &json!(["names", "<", "a"]),
            &bare,
            Err(
                "syntax error: Type mismatch: \"<\" operator may not be applied to column names of type \
                 {\"key\":\"string\",\"max\":\"unlimited\",\"min\":0}. (in [\"names\",\"<\",\"a\"])",
            ),
        );
        check(
            &json!(["level", "=", 1]),
            &bare,
            Err("unknown function: No function named =. (in [\"level\",\"=\",1])"),
        );
        check(
            &json!([1]),
            &bare,
            Err(
                "syntax error: A condition should be [column, function, value] or a boolean. (in [1])",
            ),
        );
    }

    #[test]
    fn a_condition_of_nothing_matches_nothing_but_an_empty_where_matches_all() {
        let table = table();
        let row = Row::default_for(&table);
        let uuid = Uuid::from_u128(1);
        assert!(!Condition::any([]).holds(uuid, &row));
        assert!(
            Condition::from_json(&table, &json!([]))
                .unwrap()
                .holds(uuid, &row)
        );
        let either = json!([["level", "==", 1], ["level", "==", 0]]);
        assert!(
            Condition::from_json(&table, &either)
                .unwrap()
                .holds(uuid, &row)
        );
    }
}
