//! Mutations: RFC 7047, section 5.1, `<mutation>`, and what they make of a datum.

use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::atom::{Atom, AtomicType, Real};
use crate::condition::Named;
use crate::datum::Datum;
use crate::error::{Error, ErrorKind};
use crate::schema::{ColumnType, Constraint, TableSchema};

/// How a mutation changes a column (RFC 7047, section 5.1, `<mutator>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutator {
    /// `+=`
    Add,
    /// `-=`
    Subtract,
    /// `*=`
    Multiply,
    /// `/=`, of integers towards zero
    Divide,
    /// `%=`, of integers only
    Remainder,
    /// `insert`: elements that are not there yet, or pairs whose keys are not there yet
    Insert,
    /// `delete`: elements, pairs that are there with the same value, or keys
    Delete,
}

const MUTATORS: [(Mutator, &str); 7] = [
    (Mutator::Add, "+="),
    (Mutator::Subtract, "-="),
    (Mutator::Multiply, "*="),
    (Mutator::Divide, "/="),
    (Mutator::Remainder, "%="),
    (Mutator::Insert, "insert"),
    (Mutator::Delete, "delete"),
];

impl Mutator {
    /// The mutator's name in the protocol.
    pub fn name(self) -> &'static str {
        MUTATORS
            .iter()
            .find(|(mutator, _)| *mutator == self)
            .map_or("insert", |(_, name)| name)
    }

    /// The mutator that the protocol calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        MUTATORS
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(mutator, _)| *mutator)
    }
}

/// A change of one column that depends on what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mutation {
    /// The index of the column in the table's schema.
    pub column: usize,
    /// What is done.
    pub mutator: Mutator,
    /// With what. A `delete` from a map may have pairs or bare keys here.
    pub arg: Datum,
}

impl Mutation {
    /// A mutation of the column with this index.
    pub fn new(column: usize, mutator: Mutator, arg: impl Into<Datum>) -> Self {
        Self {
            column,
            mutator,
            arg: arg.into(),
        }
    }

    /// What `datum`, of type `ty`, becomes.
    ///
    /// # Errors
    /// "domain error" for a division by zero, "range error" for a result that does not fit, "constraint violation"
    /// for one that the type's limits forbid, including the number of elements. Limits of the number of elements hold
    /// for each mutation, not only for the last.
    pub fn apply(&self, ty: &ColumnType, datum: &Datum) -> Result<Datum, Error> {
        let result = match self.mutator {
            Mutator::Insert => match datum {
                Datum::Map(pairs) => Datum::map(pairs.iter().chain(self.arg.pairs()).cloned()),
                _ => datum.union(self.arg.atoms()),
            },
            Mutator::Delete => match datum {
                Datum::Map(pairs) => Datum::map(
                    pairs
                        .iter()
                        .filter(|(key, value)| match &self.arg {
                            Datum::Map(_) => self.arg.get(key) != Some(value),
                            keys => !keys.contains(key),
                        })
                        .cloned(),
                ),
                _ => datum.minus(self.arg.atoms()),
            },
            _ => self.calculate(ty, datum)?,
        };
        result.check_count(ty)?;
        Ok(result)
    }

    fn calculate(&self, ty: &ColumnType, datum: &Datum) -> Result<Datum, Error> {
        let operand = self
            .arg
            .scalar()
            .ok_or_else(|| Error::syntax("An arithmetic mutation needs one number."))?;
        let mut results = Vec::with_capacity(datum.len());
        for atom in datum.atoms() {
            let result = match (atom, operand) {
                (Atom::Integer(a), Atom::Integer(b)) => Atom::Integer(self.integer(*a, *b)?),
                (Atom::Real(a), Atom::Real(b)) => Atom::Real(Real(self.real(a.0, b.0)?)),
                _ => {
                    return Err(Error::syntax(format!(
                        "\"{}\" cannot combine {atom} and {operand}.",
                        self.mutator.name()
                    )));
                }
            };
            ty.key.check(&result)?;
            results.push(result);
        }
        let result = Datum::set(results);
        if result.len() != datum.len() {
            return Err(Error::constraint(
                "The result of the mutation is a set with duplicate elements.",
            ));
        }
        Ok(result)
    }

    fn integer(&self, a: i64, b: i64) -> Result<i64, Error> {
        if b == 0 && matches!(self.mutator, Mutator::Divide | Mutator::Remainder) {
            return Err(Error::new(ErrorKind::DomainError, "Division by zero."));
        }
        let result = match self.mutator {
            Mutator::Add => a.checked_add(b),
            Mutator::Subtract => a.checked_sub(b),
            Mutator::Multiply => a.checked_mul(b),
            Mutator::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        result.ok_or_else(|| {
            Error::new(
                ErrorKind::RangeError,
                "Result of \"".to_owned()
                    + self.mutator.name()
                    + "\" operation is out of range of 64-bit integers.",
            )
        })
    }

    fn real(&self, a: f64, b: f64) -> Result<f64, Error> {
        if b == 0.0 && self.mutator == Mutator::Divide {
            return Err(Error::new(ErrorKind::DomainError, "Division by zero."));
        }
        let result = match self.mutator {
            Mutator::Add => a + b,
            Mutator::Subtract => a - b,
            Mutator::Multiply => a * b,
            _ => a / b,
        };
        if result.is_finite() {
            Ok(result)
        } else {
            Err(Error::new(
                ErrorKind::RangeError,
                format!(
                    "Result of \"{}\" operation is out of range of real numbers.",
                    self.mutator.name()
                ),
            ))
        }
    }

    /// Reads the JSON form: `[column, mutator, value]`. `named` as in [`Datum::from_json`].
    pub fn from_json(
        table: &TableSchema,
        json: &Value,
        named: &mut dyn FnMut(&str) -> Option<Uuid>,
    ) -> Result<Self, Error> {
        let Some([Value::String(name), Value::String(mutator), arg]) =
            json.as_array().map(Vec::as_slice)
        else {
            return Err(Error::syntax("A mutation should be [column, mutator, value].").at(json));
        };
        if matches!(name.as_str(), "_uuid" | "_version") {
            return Err(Error::constraint(format!(
                "Cannot mutate immutable column {name} in table {}.",
                table.name
            ))
            .at(json));
        }
        let column = table.column_index(name).ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownColumn,
                format!("No column {name} in table {}.", table.name),
            )
            .at(json)
        })?;
        let mutator = Mutator::from_name(mutator).ok_or_else(|| {
            Error::new(
                ErrorKind::Other("unknown mutator".to_owned()),
                format!("No mutator named {mutator}."),
            )
            .at(json)
        })?;
        let ty = &table.columns[column].ty;
        let arg = operand(ty, mutator, arg, named).ok_or_else(|| {
            Error::syntax(format!(
                "Type mismatch: \"{}\" operator may not be applied to column {name} of type {}.",
                mutator.name(),
                ty.to_json()
            ))
            .at(json)
        })?;
        Ok(Self {
            column,
            mutator,
            arg: arg.map_err(|error| error.at(json))?,
        })
    }
}

/// The operand of a mutator on a column of this type; `None` if the two do not go together.
fn operand(
    ty: &ColumnType,
    mutator: Mutator,
    json: &Value,
    named: &mut dyn FnMut(&str) -> Option<Uuid>,
) -> Option<Result<Datum, Error>> {
    let atomic = ty.key.atomic;
    let mut operand_type = ty.clone();
    match mutator {
        Mutator::Insert | Mutator::Delete => {
            if ty.is_scalar() {
                return None;
            }
            operand_type.min = 0;
        }
        Mutator::Remainder if atomic != AtomicType::Integer => return None,
        _ => {
            if ty.is_map() || !matches!(atomic, AtomicType::Integer | AtomicType::Real) {
                return None;
            }
            operand_type.max = 1;
            operand_type.min = 1;
        }
    }
    if mutator != Mutator::Insert {
        // An operand that is not an element of the column's type is still a number to add, or something to be rid of.
        operand_type.key.enumeration = None;
        operand_type.key.constraint = Constraint::None;
        if let Some(value) = &mut operand_type.value {
            value.enumeration = None;
            value.constraint = Constraint::None;
        }
    }
    let result = match mutator {
        Mutator::Insert => Datum::from_json(&operand_type, json, named),
        Mutator::Delete => {
            let pairs = Datum::from_json_unbounded(&operand_type, json, named);
            if pairs.is_err() && operand_type.is_map() {
                operand_type.value = None;
                Datum::from_json_unbounded(&operand_type, json, named).or(pairs)
            } else {
                pairs
            }
        }
        _ => Datum::from_json(&operand_type, json, named),
    };
    Some(result.map_err(Error::from))
}

impl Serialize for Named<'_, Mutation> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&*self.table.columns[self.inner.column].name)?;
        tuple.serialize_element(self.inner.mutator.name())?;
        tuple.serialize_element(&self.inner.arg)?;
        tuple.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(ty: &Value, old: &Value, mutation: &Value, expected: Result<Value, &str>) {
        let table = TableSchema::from_json("T", &json!({"columns": {"c": {"type": ty}}})).unwrap();
        let ty = &table.columns[0].ty;
        let old = Datum::from_json(ty, old, &mut |_| None).unwrap();
        let json = json!(["c", mutation[0], mutation[1]]);
        let result = Mutation::from_json(&table, &json, &mut |_| None).and_then(|mutation| {
            let named = Named {
                table: &table,
                inner: &mutation,
            };
            assert_eq!(serde_json::to_value(named).unwrap(), json);
            mutation.apply(ty, &old)
        });
        match (result, expected) {
            (Ok(new), Ok(expected)) => assert_eq!(serde_json::to_value(&new).unwrap(), expected),
            (Err(error), Err(expected)) => assert_eq!(error.kind.name(), expected, "{error}"),
            (result, expected) => panic!("{json}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn mutations_follow_the_rfc() {
        let level = json!({"key": {"type": "integer", "minInteger": 0, "maxInteger": 100}});
        check(&level, &json!(7), &json!(["+=", 5]), Ok(json!(12)));
        check(
            &level,
            &json!(7),
            &json!(["-=", 8]),
            Err("constraint violation"),
        );
        check(
            &level,
            &json!(7),
            &json!(["*=", -1]),
            Err("constraint violation"),
        );
        check(&level, &json!(7), &json!(["/=", 2]), Ok(json!(3)));
        check(&level, &json!(7), &json!(["%=", 4]), Ok(json!(3)));
        check(&level, &json!(7), &json!(["/=", 0]), Err("domain error"));
        check(&level, &json!(7), &json!(["%=", 0]), Err("domain error"));
        check(
            &level,
            &json!(7),
            &json!(["insert", 4]),
            Err("syntax error"),
        );
        check(&level, &json!(7), &json!(["+=", "a"]), Err("syntax error"));
        check(&level, &json!(7), &json!(["?", 1]), Err("unknown mutator"));
        let any = json!("integer");
        check(
            &any,
            &json!(i64::MAX),
            &json!(["+=", 1]),
            Err("range error"),
        );
        check(
            &any,
            &json!(i64::MIN),
            &json!(["-=", 1]),
            Err("range error"),
        );
        check(
            &any,
            &json!(i64::MIN),
            &json!(["/=", -1]),
            Err("range error"),
        );
        check(
            &any,
            &json!(i64::MIN),
            &json!(["%=", -1]),
            Err("range error"),
        );
        check(
            &any,
            &json!(i64::MAX),
            &json!(["*=", 2]),
            Err("range error"),
        );
        let real = json!("real");
        check(&real, &json!(1.5), &json!(["*=", 2]), Ok(json!(3)));
        check(&real, &json!(1.5), &json!(["/=", 0]), Err("domain error"));
        check(&real, &json!(1e308), &json!(["*=", 10]), Err("range error"));
        check(&real, &json!(1.5), &json!(["%=", 1]), Err("syntax error"));
        let set = json!({"key": "integer", "min": 0, "max": 3});
        check(
            &set,
            &json!(["set", [1, 2]]),
            &json!(["+=", 10]),
            Ok(json!(["set", [11, 12]])),
        );
        check(
            &set,
            &json!(["set", [1, 2]]),
            &json!(["*=", 0]),
            Err("constraint violation"),
        );
        check(
            &set,
            &json!(["set", [1, 2]]),
            &json!(["insert", 2]),
            Ok(json!(["set", [1, 2]])),
        );
        check(
            &set,
            &json!(["set", [1, 2]]),
            &json!(["insert", ["set", [3, 4]]]),
            Err("constraint violation"),
        );
        check(
            &set,
            &json!(["set", [1, 2]]),
            &json!(["delete", ["set", [2, 9]]]),
            Ok(json!(1)),
        );
        let map = json!({"key": "string", "value": "integer", "min": 0, "max": "unlimited"});
        let old = json!(["map", [["a", 1], ["b", 2]]]);
        check(
            &map,
            &old,
            &json!(["insert", ["map", [["a", 5], ["c", 3]]]]),
            Ok(json!(["map", [["a", 1], ["b", 2], ["c", 3]]])),
        );
        check(
            &map,
            &old,
            &json!(["delete", ["map", [["a", 5], ["b", 2]]]]),
            Ok(json!(["map", [["a", 1]]])),
        );
        check(
            &map,
            &old,
            &json!(["delete", ["set", ["a", "z"]]]),
            Ok(json!(["map", [["b", 2]]])),
        );
        check(&map, &old, &json!(["+=", 1]), Err("syntax error"));
    }
}
