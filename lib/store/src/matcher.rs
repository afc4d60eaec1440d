//! A condition, made ready to be asked of many rows.
//!
//! A condition of a monitor is a list of clauses of which one must hold, and a chassis has thousands: `datapath == X` for
//! each of its datapaths. Asked one by one, they cost their number for each row. Here, those that compare for equality are
//! kept in sets, so that a row costs a look into each; the others are few ([`MAX_SCANNED_CLAUSES`]).

use ovsdb::{Atom, Clause, ColumnRef, Datum, Error, ErrorKind, Function, Row, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

/// So many clauses the conditions of one monitor may have.
pub const MAX_CLAUSES: usize = 65_536;
/// So many of them, for each table, that neither name a row nor ask for an element of a column.
pub const MAX_SCANNED_CLAUSES: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Matcher {
    always: bool,
    rows: FxHashSet<Uuid>,
    /// What a column may be equal to.
    equal: FxHashMap<usize, FxHashSet<Atom>>,
    /// What a column may have among its elements.
    includes: FxHashMap<usize, FxHashSet<Atom>>,
    rest: Vec<Clause>,
}

impl Matcher {
    /// Of these clauses, one must hold.
    pub fn new(clauses: &[Clause]) -> Self {
        let mut matcher = Self::default();
        for clause in clauses {
            match clause {
                Clause::Always(holds) => matcher.always |= holds,
                Clause::Compare {
                    column: ColumnRef::Column(column),
                    function: Function::Equal,
                    arg: Datum::One(atom),
                } => {
                    let values = matcher.equal.entry(*column).or_default();
                    values.insert(atom.clone());
                }
                Clause::Compare {
                    column: ColumnRef::Column(column),
                    function: Function::Includes,
                    arg: Datum::One(atom),
                } => {
                    let values = matcher.includes.entry(*column).or_default();
                    values.insert(atom.clone());
                }
                clause => match clause.as_row() {
                    Some(uuid) => drop(matcher.rows.insert(uuid)),
                    None => matcher.rest.push(clause.clone()),
                },
            }
        }
        matcher
    }

    /// Whether one of the clauses holds.
    pub fn holds(&self, uuid: Uuid, row: &Row) -> bool {
        let equal = |(column, values): (&usize, &FxHashSet<Atom>)| match row.get(*column) {
            Datum::One(atom) => values.contains(atom),
            _ => false,
        };
        let includes = |(column, values): (&usize, &FxHashSet<Atom>)| {
            let mut atoms = row.get(*column).atoms().iter();
            atoms.any(|atom| values.contains(atom))
        };
        self.always
            || self.rows.contains(&uuid)
            || self.equal.iter().any(equal)
            || self.includes.iter().any(includes)
            || self.rest.iter().any(|clause| clause.holds(uuid, row))
    }

    /// With how many things a row is compared, at least one.
    pub fn width(&self) -> usize {
        1 + self.equal.len() + self.includes.len() + self.rest.len()
    }

    /// Refuses what would cost too much.
    ///
    /// # Errors
    /// When there are too many clauses of those that are asked one by one.
    pub fn check(&self) -> Result<(), Error> {
        if self.rest.len() <= MAX_SCANNED_CLAUSES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ResourcesExhausted,
            format!(
                "A condition has more than {MAX_SCANNED_CLAUSES} clauses that neither name a row (_uuid ==) nor ask for \
                 an element of a column (==, includes)."
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Condition;
    use ovsdb::schema::DatabaseSchema;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn schema() -> DatabaseSchema {
        let columns = json!({"n": {"type": "integer"},
            "o": {"type": {"key": "integer", "min": 0, "max": 1}},
            "s": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
            "m": {"type": {"key": "integer", "value": "integer", "min": 0, "max": "unlimited"}}});
        let json = json!({"name": "T", "tables": {"A": {"columns": columns}}});
        DatabaseSchema::from_json(&json).unwrap()
    }

    fn any_clause() -> impl Strategy<Value = Value> {
        let function = prop_oneof![Just("=="), Just("includes"), Just("!="), Just("excludes")];
        let set = |numbers: Vec<i64>| json!(["set", numbers]);
        let map = |numbers: Vec<i64>| {
            let pairs: Vec<_> = numbers.iter().map(|n| json!([n, n])).collect();
            json!(["map", pairs])
        };
        let numbers = || proptest::collection::btree_set(0..3_i64, 0..3);
        prop_oneof![
            (function.clone(), 0..3_i64).prop_map(|(f, n)| json!(["n", f, n])),
            (function.clone(), 0..3_i64).prop_map(|(f, n)| json!(["o", f, n])),
            (function.clone(), numbers()).prop_map(move |(f, n)| json!([
                "s",
                f,
                set(n.into_iter().collect())
            ])),
            (function, numbers()).prop_map(move |(f, n)| json!([
                "m",
                f,
                map(n.into_iter().collect())
            ])),
            (0..3_u128).prop_map(|n| json!(["_uuid", "==", ["uuid", Uuid::from_u128(n)]])),
            any::<bool>().prop_map(|holds| json!(holds)),
        ]
    }

    proptest! {
        /// A matcher says of every row what its condition says.
        #[test]
        fn a_matcher_is_its_condition(
            clauses in proptest::collection::vec(any_clause(), 1..6),
            (uuid, n, o) in (0..3_u128, 0..3_i64, proptest::option::of(0..3_i64)),
            s in proptest::collection::btree_set(0..3_i64, 0..3),
            m in proptest::collection::btree_map(0..3_i64, 0..3_i64, 0..3),
        ) {
            let schema = schema();
            let condition = Condition::from_json(&schema.tables[0], &json!(clauses)).unwrap();
            let values = json!({
                "n": n,
                "o": ["set", o.into_iter().collect::<Vec<_>>()],
                "s": ["set", s.into_iter().collect::<Vec<_>>()],
                "m": ["map", m.into_iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>()]});
            let columns = schema.tables[0].columns.iter().map(|column| {
                Datum::from_json(&column.ty, &values[&*column.name], &mut |_| None).unwrap()
            });
            let row = Row::new(columns.collect::<Vec<_>>());
            let uuid = Uuid::from_u128(uuid);
            let matcher = Matcher::new(condition.clauses());
            prop_assert_eq!(matcher.holds(uuid, &row), condition.holds(uuid, &row));
        }
    }

    #[test]
    fn clauses_that_are_asked_one_by_one_are_few() {
        let schema = schema();
        let condition = |function: &str| {
            let clauses: Vec<_> = (0..=MAX_SCANNED_CLAUSES)
                .map(|number| json!(["n", function, number]))
                .collect();
            Condition::from_json(&schema.tables[0], &json!(clauses)).unwrap()
        };
        Matcher::new(condition("==").clauses()).check().unwrap();
        let error = Matcher::new(condition("!=").clauses()).check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::ResourcesExhausted);
    }
}
