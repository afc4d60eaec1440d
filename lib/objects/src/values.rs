//! Fields of messages as columns of rows, and back.

use std::collections::HashMap;

use ovsdb::schema::ColumnType;
use ovsdb::{Atom, Datum};
use prost_reflect::{FieldDescriptor, Kind, MapKey, Value};

/// So many bytes a text may have.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// What a field says, as a column of this type holds it; nothing if the field is not given.
///
/// # Errors
/// What is wrong with it, in words.
pub fn to_datum(value: Option<&Value>, ty: &ColumnType) -> Result<Datum, String> {
    let datum = match value {
        None => Datum::default_for(ty),
        Some(Value::List(values)) => {
            let atoms: Vec<Atom> = values.iter().map(to_atom).collect::<Result<_, _>>()?;
            Datum::set(atoms)
        }
        Some(Value::Map(values)) => {
            let pair = |(key, value): (&MapKey, &Value)| Ok((key_to_atom(key)?, to_atom(value)?));
            let pairs: Vec<_> = values.iter().map(pair).collect::<Result<_, String>>()?;
            Datum::map(pairs)
        }
        Some(value) => Datum::One(to_atom(value)?),
    };
    datum.check(ty).map_err(|error| error.to_string())?;
    Ok(datum)
}

fn to_atom(value: &Value) -> Result<Atom, String> {
    Ok(match value {
        Value::String(text) => text_to_atom(text)?,
        Value::Bool(flag) => Atom::Boolean(*flag),
        Value::I32(number) => Atom::Integer((*number).into()),
        Value::U32(number) => Atom::Integer((*number).into()),
        Value::I64(number) => Atom::Integer(*number),
        _ => return Err("a value of a type that no column has".to_owned()),
    })
}

fn key_to_atom(key: &MapKey) -> Result<Atom, String> {
    match key {
        MapKey::String(text) => text_to_atom(text),
        _ => Err("a key of a type that no column has".to_owned()),
    }
}

fn text_to_atom(text: &str) -> Result<Atom, String> {
    match text.len() {
        0..=MAX_TEXT_BYTES => Ok(Atom::String(text.into())),
        length => Err(format!(
            "a text of {length} bytes, where {MAX_TEXT_BYTES} are allowed"
        )),
    }
}

/// What a column holds, as the field says it; nothing if the field is then not given.
pub fn from_datum(datum: &Datum, field: &FieldDescriptor) -> Option<Value> {
    if field.is_map() {
        let kind = field.kind();
        let values = kind.as_message()?.map_entry_value_field().kind();
        let pairs = datum.pairs().iter().filter_map(|(key, value)| {
            let key = MapKey::String(key.as_str()?.to_owned());
            Some((key, from_atom(value, &values)?))
        });
        let pairs: HashMap<MapKey, Value> = pairs.collect();
        return (!pairs.is_empty()).then_some(Value::Map(pairs));
    }
    let kind = field.kind();
    if field.is_list() {
        let values = datum.atoms().iter();
        let values: Vec<Value> = values.filter_map(|atom| from_atom(atom, &kind)).collect();
        return (!values.is_empty()).then_some(Value::List(values));
    }
    from_atom(datum.scalar()?, &kind)
}

fn from_atom(atom: &Atom, kind: &Kind) -> Option<Value> {
    Some(match (kind, atom) {
        (Kind::String, Atom::Uuid(uuid)) => Value::String(uuid.to_string()),
        (Kind::String, _) => Value::String(atom.as_str()?.to_owned()),
        (Kind::Bool, _) => Value::Bool(atom.as_bool()?),
        // Columns of these fields have a range that fits.
        (Kind::Int32, _) => Value::I32(i32::try_from(atom.as_integer()?).ok()?),
        (Kind::Uint32, _) => Value::U32(u32::try_from(atom.as_integer()?).ok()?),
        (Kind::Int64, _) => Value::I64(atom.as_integer()?),
        _ => return None,
    })
}
