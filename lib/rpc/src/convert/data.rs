//! Atoms, data and rows.

use ovsdb::schema::ColumnType;
use ovsdb::{Atom, AtomicType, Datum, Real};
use serde_json::{Value, json};

use super::{ConvertError, uuid_from_bytes};
use crate::v1;
use crate::v1::atom::Value as AtomValue;
use crate::v1::datum::Kind;

/// A datum as a message.
pub fn datum_to_proto(datum: &Datum) -> v1::Datum {
    let kind = match datum {
        Datum::One(atom) => Kind::Scalar(atom_to_proto(atom)),
        Datum::Set(elements) => Kind::Set(v1::Set {
            atoms: elements.iter().map(atom_to_proto).collect(),
        }),
        Datum::Map(pairs) => {
            let pair = |(key, value): &(Atom, Atom)| v1::Pair {
                key: Some(atom_to_proto(key)),
                value: Some(atom_to_proto(value)),
            };
            Kind::Map(v1::Map {
                pairs: pairs.iter().map(pair).collect(),
            })
        }
    };
    v1::Datum { kind: Some(kind) }
}

fn atom_to_proto(atom: &Atom) -> v1::Atom {
    let value = match atom {
        Atom::Integer(value) => AtomValue::Integer(*value),
        Atom::Real(value) => AtomValue::Real(value.0),
        Atom::Boolean(value) => AtomValue::Boolean(*value),
        Atom::String(value) => AtomValue::String(value.to_string()),
        Atom::Uuid(value) => AtomValue::Uuid(value.as_bytes().to_vec()),
    };
    v1::Atom { value: Some(value) }
}

/// Reads what a server sends for a column of this type. The atoms must have the type's types; its limits are the
/// server's business.
pub fn datum_from_proto(ty: &ColumnType, datum: v1::Datum) -> Result<Datum, ConvertError> {
    let wrong = |what| Err(ConvertError::new("", what));
    match (datum.kind, &ty.value) {
        (Some(Kind::Scalar(atom)), None) => Ok(Datum::One(atom_from_proto(ty.key.atomic, atom)?)),
        (Some(Kind::Set(set)), None) => {
            let atoms = set.atoms.into_iter();
            let atoms = atoms.map(|atom| atom_from_proto(ty.key.atomic, atom));
            Ok(Datum::set(atoms.collect::<Result<Vec<_>, _>>()?))
        }
        (Some(Kind::Map(map)), Some(value_type)) => {
            let pairs = map.pairs.into_iter().map(|pair| {
                Ok((
                    atom_from_proto(ty.key.atomic, pair.key.unwrap_or_default())?,
                    atom_from_proto(value_type.atomic, pair.value.unwrap_or_default())?,
                ))
            });
            Ok(Datum::map(pairs.collect::<Result<Vec<_>, ConvertError>>()?))
        }
        (None, _) => wrong("no value"),
        (Some(Kind::Map(_)), None) => wrong("a map where a set is expected"),
        (Some(_), Some(_)) => wrong("a set where a map is expected"),
    }
}

fn atom_from_proto(atomic: AtomicType, atom: v1::Atom) -> Result<Atom, ConvertError> {
    match (atomic, atom.value) {
        (AtomicType::Integer, Some(AtomValue::Integer(value))) => Ok(Atom::Integer(value)),
        (AtomicType::Real, Some(AtomValue::Real(value))) if value.is_finite() => {
            Ok(Atom::Real(Real(value)))
        }
        (AtomicType::Boolean, Some(AtomValue::Boolean(value))) => Ok(Atom::Boolean(value)),
        (AtomicType::String, Some(AtomValue::String(value))) => Ok(Atom::from(value)),
        (AtomicType::Uuid, Some(AtomValue::Uuid(bytes))) => {
            uuid_from_bytes("uuid", &bytes).map(Atom::Uuid)
        }
        (_, None) => Err(ConvertError::new("value", "missing")),
        (_, Some(_)) => Err(ConvertError::new("value", format!("not of type {atomic}"))),
    }
}

/// The JSON that RFC 7047 has for it.
pub(super) fn datum_to_json(datum: v1::Datum) -> Result<Value, ConvertError> {
    match datum.kind {
        Some(Kind::Scalar(atom)) => atom_to_json(atom),
        Some(Kind::Set(set)) => {
            let atoms: Result<Vec<Value>, _> = set.atoms.into_iter().map(atom_to_json).collect();
            Ok(json!(["set", atoms?]))
        }
        Some(Kind::Map(map)) => {
            let pair = |pair: v1::Pair| {
                Ok(json!([
                    atom_to_json(pair.key.unwrap_or_default())?,
                    atom_to_json(pair.value.unwrap_or_default())?
                ]))
            };
            let pairs: Result<Vec<Value>, ConvertError> = map.pairs.into_iter().map(pair).collect();
            Ok(json!(["map", pairs?]))
        }
        None => Err(ConvertError::new("", "no value")),
    }
}

fn atom_to_json(atom: v1::Atom) -> Result<Value, ConvertError> {
    Ok(match atom.value {
        Some(AtomValue::Integer(value)) => json!(value),
        Some(AtomValue::Real(value)) if value.is_finite() => json!(value),
        Some(AtomValue::Real(_)) => return Err(ConvertError::new("real", "not a finite number")),
        Some(AtomValue::Boolean(value)) => json!(value),
        Some(AtomValue::String(value)) => json!(value),
        Some(AtomValue::Uuid(bytes)) => json!(["uuid", uuid_from_bytes("uuid", &bytes)?]),
        Some(AtomValue::NamedUuid(name)) => json!(["named-uuid", name]),
        None => return Err(ConvertError::new("value", "missing")),
    })
}

/// The JSON that RFC 7047 has for a row.
pub(super) fn row_to_json(row: v1::Row) -> Result<Value, ConvertError> {
    let column = |(name, datum): (String, v1::Datum)| match datum_to_json(datum) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(error.within(&name)),
    };
    let columns: Result<serde_json::Map<_, _>, _> = row.columns.into_iter().map(column).collect();
    Ok(Value::Object(columns?))
}
