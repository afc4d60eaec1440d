//! Writing: a first walk tells how long everything is, a second one writes it.

use bytes::BufMut;
use ovsdb::{Atom, Datum, Uuid};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// The bytes of a key: all tags here are below 16.
const KEY: usize = 1;

/// The length of a field that has `length` bytes.
pub(crate) fn field_len(length: usize) -> usize {
    KEY + encoded_len_varint(length as u64) + length
}

/// The beginning of a field that has `length` bytes.
pub(crate) fn field(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// A field of these bytes.
pub(crate) fn bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    field(tag, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A row's UUID as a field.
pub(crate) fn uuid(tag: u32, uuid: Uuid, out: &mut Vec<u8>) {
    bytes(tag, uuid.as_bytes(), out);
}

/// The length of [`uuid`].
pub(crate) const UUID_LEN: usize = KEY + 1 + 16;

/// The length of a `Row` of these columns.
pub(crate) fn row_len<'a>(columns: impl Iterator<Item = (&'a str, &'a Datum)>) -> usize {
    columns
        .map(|(name, datum)| field_len(entry_len(name, datum)))
        .sum()
}

/// A `Row` of these columns, whose names are not empty.
pub(crate) fn row<'a>(columns: impl Iterator<Item = (&'a str, &'a Datum)>, out: &mut Vec<u8>) {
    for (name, datum) in columns {
        field(1, entry_len(name, datum), out);
        bytes(1, name.as_bytes(), out);
        field(2, datum_len(datum), out);
        self::datum(datum, out);
    }
}

fn entry_len(name: &str, datum: &Datum) -> usize {
    field_len(name.len()) + field_len(datum_len(datum))
}

fn datum_len(datum: &Datum) -> usize {
    field_len(match datum {
        Datum::One(atom) => atom_len(atom),
        Datum::Set(_) => set_len(datum),
        Datum::Map(pairs) => map_len(pairs),
    })
}

fn set_len(datum: &Datum) -> usize {
    let atoms = datum.atoms().iter();
    atoms.map(|atom| field_len(atom_len(atom))).sum()
}

fn map_len(pairs: &[(Atom, Atom)]) -> usize {
    pairs.iter().map(|pair| field_len(pair_len(pair))).sum()
}

fn pair_len((key, value): &(Atom, Atom)) -> usize {
    field_len(atom_len(key)) + field_len(atom_len(value))
}

fn datum(datum: &Datum, out: &mut Vec<u8>) {
    match datum {
        Datum::One(one) => {
            field(1, atom_len(one), out);
            atom(one, out);
        }
        Datum::Set(_) => {
            field(2, set_len(datum), out);
            for element in datum.atoms() {
                field(1, atom_len(element), out);
                atom(element, out);
            }
        }
        Datum::Map(pairs) => {
            field(3, map_len(pairs), out);
            for pair in pairs.iter() {
                field(1, pair_len(pair), out);
                for (tag, part) in [(1, &pair.0), (2, &pair.1)] {
                    field(tag, atom_len(part), out);
                    atom(part, out);
                }
            }
        }
    }
}

fn atom_len(atom: &Atom) -> usize {
    match atom {
        Atom::Integer(value) => KEY + encoded_len_varint(zigzag(*value)),
        Atom::Real(_) => KEY + 8,
        Atom::Boolean(_) => KEY + 1,
        Atom::String(text) => field_len(text.len()),
        Atom::Uuid(_) => UUID_LEN,
    }
}

fn atom(atom: &Atom, out: &mut Vec<u8>) {
    match atom {
        Atom::Integer(value) => {
            encode_key(1, WireType::Varint, out);
            encode_varint(zigzag(*value), out);
        }
        Atom::Real(value) => {
            encode_key(2, WireType::SixtyFourBit, out);
            out.put_f64_le(value.0);
        }
        Atom::Boolean(value) => {
            encode_key(3, WireType::Varint, out);
            out.push(u8::from(*value));
        }
        Atom::String(text) => bytes(4, text.as_bytes(), out),
        Atom::Uuid(value) => uuid(5, *value, out),
    }
}

/// Small numbers, whatever their sign, are short (`sint64`).
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}
