//! What one column of one row holds: a scalar, a set or a map (RFC 7047, section 5.1, `<value>`).
//!
//! A set of exactly one element and a scalar are the same thing, and most columns are scalars, so a datum of one atom
//! carries it inline. Sets and maps are sorted, without duplicates, and shared: cloning a datum is cheap, and equal
//! contents are equal data. Only the constructors here build sets and maps, so these invariants hold everywhere. A set of
//! many is cut into chunks ([`AtomSet`]), so that a member more or less costs that member.

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::atom::{Atom, AtomicType};
use crate::set::{AtomSet, Atoms, Combination};
use crate::types::{BaseType, ColumnType, Constraint};

/// The contents of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// Exactly one atom: a scalar, or a set of one.
    One(Atom),
    /// No atom, or two and more: sorted, without duplicates.
    Set(AtomSet),
    /// Pairs, sorted by key, each key once.
    Map(Arc<[(Atom, Atom)]>),
}

/// Why a value is not one of the column's type. The text names the value and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatumError {
    /// The JSON does not have the form that the column's type asks for (RFC 7047 "syntax error").
    #[error("{0}")]
    Syntax(String),
    /// The form is right; an enumeration, a range, a length or the number of elements is not
    /// (RFC 7047 "constraint violation").
    #[error("{0}")]
    Constraint(String),
}

impl Datum {
    /// The empty set. All empty sets share one allocation.
    pub fn empty_set() -> Self {
        Self::Set(AtomSet::default())
    }

    /// The empty map. All empty maps share one allocation.
    pub fn empty_map() -> Self {
        Self::Map(Arc::default())
    }

    /// A set of these atoms, sorted, each once.
    pub fn set(atoms: impl IntoIterator<Item = Atom>) -> Self {
        let mut atoms: Vec<Atom> = atoms.into_iter().collect();
        if !atoms.is_sorted_by(|a, b| a < b) {
            // The stable sort is fast where it matters: for a large set and a few elements that were added to it.
            atoms.sort();
            atoms.dedup();
        }
        match <[Atom; 1]>::try_from(atoms) {
            Ok([atom]) => Self::One(atom),
            Err(atoms) if atoms.is_empty() => Self::empty_set(),
            Err(atoms) => Self::Set(AtomSet::from_sorted(atoms)),
        }
    }

    /// The elements of this set and of another one.
    #[must_use]
    pub fn union(&self, other: Atoms<'_>) -> Self {
        self.combine(Combination::Union, other)
    }

    /// The elements of this set that are not in another one.
    #[must_use]
    pub fn minus(&self, other: Atoms<'_>) -> Self {
        self.combine(Combination::Difference, other)
    }

    /// The elements that are in one of the two sets only.
    #[must_use]
    pub fn toggle(&self, other: Atoms<'_>) -> Self {
        self.combine(Combination::Toggle, other)
    }

    /// Costs what `other` has, whatever this one has.
    fn combine(&self, way: Combination, other: Atoms<'_>) -> Self {
        let combined = match self {
            Self::Set(set) => set.combine(way, other.iter()),
            Self::One(atom) => AtomSet::from_sorted(vec![atom.clone()]).combine(way, other.iter()),
            Self::Map(_) => return self.clone(),
        };
        match combined.first() {
            Some(atom) if combined.len() == 1 => Self::One(atom.clone()),
            _ => Self::Set(combined),
        }
    }

    /// A map of these pairs, sorted by key; of several pairs with one key, the first stays.
    pub fn map(pairs: impl IntoIterator<Item = (Atom, Atom)>) -> Self {
        let mut pairs: Vec<(Atom, Atom)> = pairs.into_iter().collect();
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs.dedup_by(|later, first| later.0 == first.0);
        }
        if pairs.is_empty() {
            return Self::empty_map();
        }
        Self::Map(pairs.into())
    }

    /// A map of these few pairs; of several with one key, the first stays.
    pub fn map_of<const N: usize>(mut pairs: [(Atom, Atom); N]) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        if N > 0 && pairs.is_sorted_by(|a, b| a.0 < b.0) {
            return Self::Map(Arc::from(pairs));
        }
        Self::map(pairs)
    }

    /// What a column of this type holds when nothing was given: the default atom where one is required, else nothing
    /// (RFC 7047, section 5.2.1).
    pub fn default_for(ty: &ColumnType) -> Self {
        if let Some(value) = &ty.value {
            let default = || (ty.key.atomic.default_atom(), value.atomic.default_atom());
            Self::map((0..ty.min).map(|_| default()))
        } else if ty.min == 0 {
            Self::empty_set()
        } else {
            Self::One(ty.key.atomic.default_atom())
        }
    }

    /// How many elements, or pairs, it has.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Set(atoms) => atoms.len(),
            Self::Map(pairs) => pairs.len(),
        }
    }

    /// Whether it has no element and no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of a set or scalar, in order. A map has none: see [`Datum::pairs`].
    pub fn atoms(&self) -> Atoms<'_> {
        match self {
            Self::One(atom) => Atoms::of_slice(std::slice::from_ref(atom)),
            Self::Set(atoms) => Atoms::of_set(atoms),
            Self::Map(_) => Atoms::of_slice(&[]),
        }
    }

    /// The pairs of a map, in the order of their keys. A set has none.
    pub fn pairs(&self) -> &[(Atom, Atom)] {
        match self {
            Self::Map(pairs) => pairs,
            Self::One(_) | Self::Set(_) => &[],
        }
    }

    /// The only atom, if there is exactly one.
    pub fn scalar(&self) -> Option<&Atom> {
        match self {
            Self::One(atom) => Some(atom),
            Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// Whether the set has this element, or the map this key.
    pub fn contains(&self, atom: &Atom) -> bool {
        match self {
            Self::One(one) => one == atom,
            Self::Set(atoms) => atoms.contains(atom),
            Self::Map(pairs) => pairs.binary_search_by(|pair| pair.0.cmp(atom)).is_ok(),
        }
    }

    /// The value that a map has for this key.
    pub fn get(&self, key: &Atom) -> Option<&Atom> {
        let pairs = self.pairs();
        pairs
            .binary_search_by(|pair| pair.0.cmp(key))
            .ok()
            .map(|index| &pairs[index].1)
    }

    /// The string that a map of strings has for this key.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        let pairs = self.pairs();
        let index = pairs
            .binary_search_by(|pair| pair.0.as_str().unwrap_or_default().cmp(key))
            .ok()?;
        pairs[index].1.as_str()
    }

    /// Reads a value of this type (RFC 7047, section 5.1).
    ///
    /// `named` resolves `["named-uuid", NAME]`, where the message may contain one; elsewhere pass `|_| None`.
    /// Duplicate elements and keys are refused, as are values outside of the type's enumeration, range, length or
    /// number of elements.
    pub fn from_json(
        ty: &ColumnType,
        json: &Value,
        named: &mut dyn FnMut(&str) -> Option<Uuid>,
    ) -> Result<Self, DatumError> {
        let datum = Self::from_json_unbounded(ty, json, named)?;
        // As Open vSwitch has it, a wrong number of elements in a message is an error of form; the same in the result
        // of a mutation violates a constraint.
        let count = datum.check_count(ty);
        count.map_err(|error| DatumError::Syntax(error.to_string()))?;
        Ok(datum)
    }

    /// As [`Datum::from_json`], but of any number of elements: for the operands of mutations and conditions.
    pub fn from_json_unbounded(
        ty: &ColumnType,
        json: &Value,
        named: &mut dyn FnMut(&str) -> Option<Uuid>,
    ) -> Result<Self, DatumError> {
        match (&ty.value, tagged(json)) {
            (None, Some(("set", elements))) => {
                let elements = array(elements, "the elements of a set")?;
                let mut atoms = Vec::with_capacity(elements.len());
                for element in elements {
                    atoms.push(atom_from_json(&ty.key, element, named)?);
                }
                let datum = Self::set(atoms);
                if datum.len() != elements.len() {
                    return Err(DatumError::Syntax(
                        "a set contains the same element twice".to_owned(),
                    ));
                }
                Ok(datum)
            }
            (None, _) => Ok(Self::One(atom_from_json(&ty.key, json, named)?)),
            (Some(value_type), Some(("map", pairs))) => {
                let elements = array(pairs, "the pairs of a map")?;
                let mut pairs = Vec::with_capacity(elements.len());
                for element in elements {
                    let [key, value] = array(element, "a pair of a map")?.as_slice() else {
                        return Err(DatumError::Syntax(format!(
                            "{element} is not a pair [key, value]"
                        )));
                    };
                    pairs.push((
                        atom_from_json(&ty.key, key, named)?,
                        atom_from_json(value_type, value, named)?,
                    ));
                }
                let datum = Self::map(pairs);
                if datum.len() != elements.len() {
                    return Err(DatumError::Syntax(
                        "a map contains the same key twice".to_owned(),
                    ));
                }
                Ok(datum)
            }
            (Some(_), _) => Err(DatumError::Syntax(format!(
                "{} is not a map [\"map\", [[key, value], …]]",
                brief(json)
            ))),
        }
    }

    /// Whether the number of elements is one that the type allows.
    pub fn check_count(&self, ty: &ColumnType) -> Result<(), DatumError> {
        let count = self.len();
        if count < ty.min || count > ty.max {
            let limit = if ty.max == usize::MAX {
                "any number".to_owned()
            } else {
                ty.max.to_string()
            };
            return Err(DatumError::Constraint(format!(
                "{count} values given where {} to {limit} are allowed",
                ty.min
            )));
        }
        Ok(())
    }

    /// Whether every atom is one that the type allows, and their number too.
    pub fn check(&self, ty: &ColumnType) -> Result<(), DatumError> {
        self.check_count(ty)?;
        match (self, &ty.value) {
            (Self::Map(pairs), Some(value_type)) => pairs.iter().try_for_each(|(key, value)| {
                ty.key.check(key)?;
                value_type.check(value)
            }),
            (Self::One(_) | Self::Set(_), None) => {
                self.atoms().iter().try_for_each(|atom| ty.key.check(atom))
            }
            _ => Err(DatumError::Syntax(
                "a map was given for a set or a set for a map".to_owned(),
            )),
        }
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(atom: A) -> Self {
        Self::One(atom.into())
    }
}

impl BaseType {
    /// Whether the atom has this type, is in its enumeration and within its range.
    pub fn check(&self, atom: &Atom) -> Result<(), DatumError> {
        if atom.atomic_type() != self.atomic {
            return Err(DatumError::Syntax(format!(
                "{atom} is not of type {}",
                self.atomic
            )));
        }
        if let Some(allowed) = &self.enumeration
            && !allowed.contains(atom)
        {
            let names: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            return Err(DatumError::Constraint(format!(
                "{atom} is not one of the allowed values ({})",
                names.join(", ")
            )));
        }
        let violation = match (&self.constraint, atom) {
            (Constraint::Integer { min, max }, Atom::Integer(value)) => (value < min
                || value > max)
                .then(|| format!("{value} is not in the range {min} to {max}")),
            (Constraint::Real { min, max }, Atom::Real(value)) => (value < min || value > max)
                .then(|| format!("{} is not in the range {} to {}", value.0, min.0, max.0)),
            (Constraint::Length { min, max }, Atom::String(value)) => {
                let length = value.chars().count();
                (length < *min || length > *max).then(|| {
                    format!("{atom} has {length} characters where {min} to {max} are allowed")
                })
            }
            _ => None,
        };
        violation.map_or(Ok(()), |text| Err(DatumError::Constraint(text)))
    }
}

fn atom_from_json(
    base: &BaseType,
    json: &Value,
    named: &mut dyn FnMut(&str) -> Option<Uuid>,
) -> Result<Atom, DatumError> {
    let wrong = || DatumError::Syntax(format!("{} is not of type {}", brief(json), base.atomic));
    let atom = match base.atomic {
        AtomicType::Integer => Atom::from(integer_from_json(json).ok_or_else(wrong)?),
        AtomicType::Real => Atom::from(json.as_f64().ok_or_else(wrong)?),
        AtomicType::Boolean => Atom::from(json.as_bool().ok_or_else(wrong)?),
        AtomicType::String => {
            let text = json.as_str().ok_or_else(wrong)?;
            if text.contains('\0') {
                return Err(DatumError::Syntax(format!(
                    "{} contains a zero byte",
                    brief(json)
                )));
            }
            Atom::from(text)
        }
        AtomicType::Uuid => match tagged(json) {
            Some(("uuid", Value::String(text))) => Atom::Uuid(
                Uuid::try_parse(text)
                    .map_err(|_| DatumError::Syntax(format!("{text:?} is not a UUID")))?,
            ),
            Some(("named-uuid", Value::String(name))) => {
                Atom::Uuid(named(name).ok_or_else(|| {
                    DatumError::Syntax(format!("named-uuid {name:?} is not defined by any insert"))
                })?)
            }
            _ => return Err(wrong()),
        },
    };
    base.check(&atom)?;
    Ok(atom)
}

/// Integers may be written as reals without a fraction, as some clients do.
fn integer_from_json(json: &Value) -> Option<i64> {
    json.as_i64().or_else(|| {
        let real = json.as_f64()?;
        // 2^53: up to here every integer is a double.
        (real.fract() == 0.0 && real.abs() <= 9_007_199_254_740_992.0).then_some(real as i64)
    })
}

/// `[TAG, VALUE]` as (TAG, VALUE).
fn tagged(json: &Value) -> Option<(&str, &Value)> {
    match json.as_array()?.as_slice() {
        [Value::String(tag), value] => Some((tag, value)),
        _ => None,
    }
}

fn array<'j>(json: &'j Value, what: &str) -> Result<&'j Vec<Value>, DatumError> {
    json.as_array().ok_or_else(|| {
        DatumError::Syntax(format!("{what} should be an array, not {}", brief(json)))
    })
}

/// The JSON, cut to a length that fits a message.
fn brief(json: &Value) -> String {
    const LIMIT: usize = 120;
    let text = json.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// As in a JSON-RPC message (RFC 7047, section 5.1): a lone atom bare, else `["set", […]]` or `["map", […]]`.
impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(atom) => atom.serialize(serializer),
            Self::Set(atoms) => {
                let mut tuple = serializer.serialize_tuple(2)?;
                tuple.serialize_element("set")?;
                tuple.serialize_element(atoms)?;
                tuple.end()
            }
            Self::Map(pairs) => {
                let mut tuple = serializer.serialize_tuple(2)?;
                tuple.serialize_element("map")?;
                tuple.serialize_element(&**pairs)?;
                tuple.end()
            }
        }
    }
}

/// For messages to people: `a`, `[a, b]`, `{k=v, …}`.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(atom) => write!(f, "{atom}"),
            Self::Set(atoms) => {
                f.write_str("[")?;
                for (index, atom) in atoms.iter().enumerate() {
                    write!(f, "{}{atom}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}={value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::ColumnType;

    #[track_caller]
    fn check(ty: &Value, value: &Value, expected: Result<&Value, &str>) {
        let ty = ColumnType::from_json(ty).expect("a valid type");
        let result = Datum::from_json(&ty, value, &mut |_| None);
        match (result, expected) {
            (Ok(datum), Ok(expected)) => {
                assert_eq!(&serde_json::to_value(&datum).unwrap(), expected);
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (result, expected) => panic!("{result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn values_become_data_and_data_become_values() {
        let set = json!({"key": "integer", "min": 0, "max": "unlimited"});
        check(
            &set,
            &json!(["set", [3, 1, 2]]),
            Ok(&json!(["set", [1, 2, 3]])),
        );
        check(&set, &json!(["set", [3]]), Ok(&json!(3)));
        check(&set, &json!(["set", []]), Ok(&json!(["set", []])));
        check(
            &set,
            &json!(["set", [1, 1]]),
            Err("a set contains the same element twice"),
        );
        check(&set, &json!("x"), Err("\"x\" is not of type integer"));
        check(
            &json!("integer"),
            &json!(["set", [1, 2]]),
            Err("2 values given where 1 to 1 are allowed"),
        );
        check(&json!("integer"), &json!(2.0), Ok(&json!(2)));
        check(&json!("real"), &json!(2), Ok(&json!(2)));
        let tag = json!({"key": {"type": "integer", "minInteger": 1, "maxInteger": 4095}, "min": 0, "max": 1});
        check(
            &tag,
            &json!(4096),
            Err("4096 is not in the range 1 to 4095"),
        );
        let map = json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"});
        check(
            &map,
            &json!(["map", [["b", "1"], ["a", "2"]]]),
            Ok(&json!(["map", [["a", "2"], ["b", "1"]]])),
        );
        check(
            &map,
            &json!(["map", [["b", "1"], ["b", "2"]]]),
            Err("a map contains the same key twice"),
        );
        check(
            &json!("uuid"),
            &json!(["uuid", "x"]),
            Err("\"x\" is not a UUID"),
        );
        check(
            &json!("uuid"),
            &json!(["named-uuid", "x"]),
            Err("named-uuid \"x\" is not defined by any insert"),
        );
        let choice = json!({"key": {"type": "string", "enum": ["set", ["a", "b"]]}});
        check(
            &choice,
            &json!("c"),
            Err("\"c\" is not one of the allowed values (\"a\", \"b\")"),
        );
    }
}
