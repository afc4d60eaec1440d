//! Reading what is usual: `None` is no error yet, but the messages' business.

use ovsdb::schema::{ColumnType, TableSchema};
use ovsdb::{Atom, AtomicType, Datum, Real, Uuid};
use prost::encoding::{WireType, decode_key, decode_varint};

/// What a field has.
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The next field of a message, with its tag; nothing if there is none, or none that is known here.
pub(crate) fn next<'a>(message: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (tag, kind) = decode_key(message).ok()?;
    let value = match kind {
        WireType::Varint => Value::Varint(decode_varint(message).ok()?),
        WireType::SixtyFourBit => {
            let (value, rest) = message.split_first_chunk()?;
            *message = rest;
            Value::Fixed(u64::from_le_bytes(*value))
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(message).ok()?).ok()?;
            let (value, rest) = message.split_at_checked(length)?;
            *message = rest;
            Value::Bytes(value)
        }
        _ => return None,
    };
    Some((tag, value))
}

/// The only field of a message.
fn only(mut message: &[u8]) -> Option<(u32, Value<'_>)> {
    let field = next(&mut message)?;
    message.is_empty().then_some(field)
}

/// The next field, if it has this tag and bytes.
fn part<'a>(message: &mut &'a [u8], tag: u32) -> Option<&'a [u8]> {
    match next(message)? {
        (found, Value::Bytes(bytes)) if found == tag => Some(bytes),
        _ => None,
    }
}

/// The two fields of a message, in their order.
fn both(mut message: &[u8]) -> Option<(&[u8], &[u8])> {
    let fields = (part(&mut message, 1)?, part(&mut message, 2)?);
    message.is_empty().then_some(fields)
}

/// The columns of a `Row`, in the order of the table's schema. Those that the schema does not have are left out, or make it
/// a matter of the messages. So do columns that stand there twice.
pub(crate) fn row(
    table: &TableSchema,
    mut message: &[u8],
    leaves_out: bool,
) -> Option<Vec<(usize, Datum, usize)>> {
    /// Most rows have no more columns than these.
    const COLUMNS: usize = 10;
    let mut row = Vec::with_capacity(COLUMNS);
    while !message.is_empty() {
        let (name, datum) = both(part(&mut message, 1)?)?;
        match table.column_index(std::str::from_utf8(name).ok()?) {
            Some(column) => {
                let (datum, count) = self::datum(&table.columns[column].ty, datum)?;
                row.push((column, datum, count));
            }
            None if leaves_out => {}
            None => return None,
        }
    }
    if !row.is_sorted_by_key(|(column, ..)| *column) {
        row.sort_unstable_by_key(|(column, ..)| *column);
    }
    let is_once = row.windows(2).all(|pair| pair[0].0 < pair[1].0);
    is_once.then_some(row)
}

/// A `Datum` of a column of this type, and how many elements it was told with. The type's limits are not looked at.
fn datum(ty: &ColumnType, message: &[u8]) -> Option<(Datum, usize)> {
    let (tag, Value::Bytes(mut message)) = only(message)? else {
        return None;
    };
    match (tag, &ty.value) {
        (1, None) => Some((Datum::One(atom(ty.key.atomic, message)?), 1)),
        (2, None) => {
            let mut atoms = Vec::new();
            while !message.is_empty() {
                atoms.push(atom(ty.key.atomic, part(&mut message, 1)?)?);
            }
            let count = atoms.len();
            Some((Datum::set(atoms), count))
        }
        (3, Some(value_type)) => {
            let mut pairs = Vec::new();
            while !message.is_empty() {
                let (key, value) = both(part(&mut message, 1)?)?;
                pairs.push((atom(ty.key.atomic, key)?, atom(value_type.atomic, value)?));
            }
            let count = pairs.len();
            Some((Datum::map(pairs), count))
        }
        _ => None,
    }
}

fn atom(atomic: AtomicType, message: &[u8]) -> Option<Atom> {
    Some(match (atomic, only(message)?) {
        (AtomicType::Integer, (1, Value::Varint(value))) => {
            Atom::Integer((value >> 1) as i64 ^ -((value & 1) as i64))
        }
        (AtomicType::Real, (2, Value::Fixed(value))) => {
            let value = f64::from_bits(value);
            value.is_finite().then_some(Atom::Real(Real(value)))?
        }
        (AtomicType::Boolean, (3, Value::Varint(value))) => Atom::Boolean(value != 0),
        (AtomicType::String, (4, Value::Bytes(text))) => {
            Atom::from(std::str::from_utf8(text).ok()?)
        }
        (AtomicType::Uuid, (5, Value::Bytes(uuid))) => Atom::Uuid(Uuid::from_slice(uuid).ok()?),
        _ => return None,
    })
}
