//! Conditions on rows: `COLUMN[:KEY]OPVALUE`, in `find` and `wait-until`.

use std::cmp::Ordering;

use northbound::Rows;
use ovsdb::schema::ColumnType;
use ovsdb::{Atom, Datum, Row};

use super::place::Place;
use crate::error::{Outcome, fail};
use crate::symbols::Symbols;
use crate::text::{parse_atom, parse_datum};

const OPERATORS: [&str; 14] = [
    "=", "!=", "<", ">", "<=", ">=", "{=}", "{!=}", "{<}", "{>}", "{<=}", "{>=}", "{in}",
    "{not-in}",
];

/// A condition that has been read.
#[derive(Debug)]
pub struct RowCondition {
    column: usize,
    key: Option<Atom>,
    operator: &'static str,
    value: Datum,
}

impl RowCondition {
    /// Reads a condition on rows of the table with this index.
    pub fn parse(
        rows: &dyn Rows,
        symbols: &mut Symbols,
        table: usize,
        argument: &str,
    ) -> Outcome<Self> {
        let place = Place::parse(rows, table, argument)?;
        let symbol = &mut |name: &str| symbols.uuid(name);
        let (operator, value) = place.operator(&OPERATORS)?;
        let ty = &place.column.ty;
        let (key, ty) = match &place.key {
            None => (None, ty.clone()),
            Some(key) => {
                let Some(value_type) = &ty.value else {
                    return fail(format!(
                        "cannot specify key to check for non-map column {}",
                        place.column.name
                    ));
                };
                let key = parse_atom(&ty.key, key, symbol)?;
                let value_type = ColumnType {
                    key: value_type.clone(),
                    value: None,
                    min: ty.min,
                    max: ty.max,
                };
                (Some(key), value_type)
            }
        };
        Ok(Self {
            column: place.index,
            key,
            operator,
            value: parse_datum(&ty, value, symbol)?,
        })
    }

    /// Whether the row meets it.
    ///
    /// Without a value for the key, a comparison fails, and a set operator takes the empty set.
    pub fn holds(&self, row: &Row) -> bool {
        let datum = row.get(self.column);
        let Some(key) = &self.key else {
            return compare(datum, self.operator, &self.value);
        };
        match datum.get(key) {
            Some(value) => compare(&Datum::One(value.clone()), self.operator, &self.value),
            None if self.operator.starts_with('{') => {
                compare(&Datum::empty_set(), self.operator, &self.value)
            }
            None => false,
        }
    }
}

fn compare(left: &Datum, operator: &str, right: &Datum) -> bool {
    match operator {
        "=" | "{=}" => left == right,
        "!=" | "{!=}" => left != right,
        "<" => order(left, right).is_lt(),
        ">" => order(left, right).is_gt(),
        "<=" => order(left, right).is_le(),
        ">=" => order(left, right).is_ge(),
        "{<}" => left.len() < right.len() && is_subset(left, right),
        "{>}" => left.len() > right.len() && is_subset(right, left),
        "{<=}" | "{in}" => is_subset(left, right),
        "{>=}" => is_subset(right, left),
        "{not-in}" => is_disjoint(left, right),
        _ => false,
    }
}

/// Fewer elements come first; then elements, in their order, decide; then values of a map.
fn order(left: &Datum, right: &Datum) -> Ordering {
    let keys = |datum: &Datum| -> Vec<Atom> {
        let pairs = datum.pairs().iter().map(|(key, _)| key);
        datum.atoms().iter().chain(pairs).cloned().collect()
    };
    left.len()
        .cmp(&right.len())
        .then_with(|| keys(left).cmp(&keys(right)))
        .then_with(|| left.pairs().cmp(right.pairs()))
}

fn is_subset(part: &Datum, whole: &Datum) -> bool {
    part.atoms().iter().all(|atom| whole.contains(atom))
        && part
            .pairs()
            .iter()
            .all(|(key, value)| whole.get(key) == Some(value))
}

fn is_disjoint(left: &Datum, right: &Datum) -> bool {
    !left.atoms().iter().any(|atom| right.contains(atom))
        && !left
            .pairs()
            .iter()
            .any(|(key, value)| right.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(elements: &[i64]) -> Datum {
        Datum::set(elements.iter().map(|element| Atom::from(*element)))
    }

    #[test]
    fn operators_on_sets() {
        // Left, right, and the operators that hold.
        for (left, right, expected) in [
            (&[][..], &[][..], "= <= >= {=} {<=} {>=} {in} {not-in}"),
            (&[1], &[1], "= <= >= {=} {<=} {>=} {in}"),
            (&[1], &[2], "!= < <= {!=} {not-in}"),
            (&[1], &[1, 2], "!= < <= {!=} {<} {<=} {in}"),
            (&[9], &[1, 2], "!= < <= {!=} {not-in}"),
            (&[1, 2], &[2], "!= > >= {!=} {>} {>=}"),
        ] {
            let holding: Vec<&str> = OPERATORS
                .into_iter()
                .filter(|operator| compare(&set(left), operator, &set(right)))
                .collect();
            let mut expected: Vec<&str> = expected.split(' ').collect();
            expected.sort_by_key(|operator| OPERATORS.iter().position(|other| other == operator));
            assert_eq!(holding, expected, "{left:?} {right:?}");
        }
    }
}
