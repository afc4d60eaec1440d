//! The bytes of rows and of changes of rows, as they stand in the log and on disk.
//!
//! Values describe themselves: they can be read without a schema, so that a later version of the
//! schema can still read them. What names tables and columns is a *dictionary* of names beside
//! the bytes: one for the whole file for applied rows ([`Names`]), one in front of each entry of
//! the log, so that an entry means the same on every member.
//!
//! Integers are LEB128 (*varint*), signed ones zigzag first. A *string* is its length as a varint
//! and its UTF-8 bytes.
//!
//! ```text
//! datum    = head, body
//! head     = u8: shape × 8 + type of the elements or keys
//!            shape: 0 one, 1 set, 2 map; type: 0 integer, 1 real, 2 boolean, 3 string, 4 UUID
//! body     = one: atom
//!            set: count varint, atoms
//!            map: type of the values u8, count varint, (key atom, value atom)…
//! atom     = integer: signed varint; real: 8 bytes little-endian; boolean: u8; string; UUID: 16 bytes
//! columns  = count varint, (number of the name varint, datum)…
//! ```
//!
//! A row is `columns`, without those that have their default.

use std::sync::Arc;

use ovsdb::atom::{Atom, AtomicType, Real};
use ovsdb::datum::Datum;
use rustc_hash::FxHashMap;
use uuid::Uuid;

/// What is wrong with encoded bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("cut short")]
    Short,
    /// They go on after the end.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A number, tag or string that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
}

/// A dictionary that gives numbers to names, from 0 on, and never forgets.
#[derive(Debug, Default)]
pub struct Names {
    by_name: FxHashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The dictionary of these names, in the order of their numbers.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut dictionary = Self::default();
        for name in names {
            let number = dictionary.next();
            let name: Arc<str> = name.into();
            dictionary.by_name.insert(name.clone(), number);
            dictionary.names.push(name);
        }
        dictionary
    }

    /// The number of a name, which is given one if it has none.
    pub fn number(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.next();
        self.by_name.insert(name.clone(), number);
        self.names.push(name.clone());
        number
    }

    /// The name of a number.
    pub fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get(number as usize)
    }

    /// The number that the next new name will have.
    pub fn next(&self) -> u32 {
        u32::try_from(self.names.len()).expect("a schema has a few hundred names")
    }

    /// The names from a number on.
    pub fn since(&self, number: u32) -> &[Arc<str>] {
        self.names.get(number as usize..).unwrap_or_default()
    }
}

/// Appends an unsigned integer.
pub fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends a count or a length.
pub fn put_count(bytes: &mut Vec<u8>, count: usize) {
    put_varint(bytes, count as u64);
}

/// Appends a string.
pub fn put_str(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Appends the value of a column.
pub fn put_datum(bytes: &mut Vec<u8>, datum: &Datum) {
    match datum {
        Datum::One(atom) => {
            bytes.push(SHAPE_ONE + atom_type_code(atom.atomic_type()));
            put_atom(bytes, atom);
        }
        Datum::Set(atoms) => {
            bytes.push(SHAPE_SET + atoms.first().map_or(0, |a| atom_type_code(a.atomic_type())));
            put_count(bytes, atoms.len());
            for atom in atoms {
                put_atom(bytes, atom);
            }
        }
        Datum::Map(pairs) => {
            let (key, value) = pairs.first().map_or((0, 0), |(key, value)| {
                (
                    atom_type_code(key.atomic_type()),
                    atom_type_code(value.atomic_type()),
                )
            });
            bytes.push(SHAPE_MAP + key);
            bytes.push(value);
            put_count(bytes, pairs.len());
            for (key, value) in pairs.iter() {
                put_atom(bytes, key);
                put_atom(bytes, value);
            }
        }
    }
}

const SHAPE_ONE: u8 = 0;
const SHAPE_SET: u8 = 8;
const SHAPE_MAP: u8 = 16;

fn put_atom(bytes: &mut Vec<u8>, atom: &Atom) {
    match atom {
        Atom::Integer(value) => put_varint(bytes, ((value << 1) ^ (value >> 63)) as u64),
        Atom::Real(value) => bytes.extend_from_slice(&value.0.to_le_bytes()),
        Atom::Boolean(value) => bytes.push(u8::from(*value)),
        Atom::String(value) => put_str(bytes, value),
        Atom::Uuid(value) => bytes.extend_from_slice(value.as_bytes()),
    }
}

fn atom_type_code(atomic: AtomicType) -> u8 {
    match atomic {
        AtomicType::Integer => 0,
        AtomicType::Real => 1,
        AtomicType::Boolean => 2,
        AtomicType::String => 3,
        AtomicType::Uuid => 4,
    }
}

fn atom_type_of(code: u8) -> Result<AtomicType, DecodeError> {
    match code {
        0 => Ok(AtomicType::Integer),
        1 => Ok(AtomicType::Real),
        2 => Ok(AtomicType::Boolean),
        3 => Ok(AtomicType::String),
        4 => Ok(AtomicType::Uuid),
        _ => Err(DecodeError::Invalid("an unknown type of atom")),
    }
}

/// Takes values off the front of encoded bytes. Nothing that it allocates is larger than a small
/// multiple of the bytes that are there.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder at the front of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Asserts that everything was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    /// Takes some bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (front, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(front)
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Takes a byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Takes a UUID.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Uuid::from_slice(self.take(16)?).map_err(|_| DecodeError::Short)
    }

    /// Takes an unsigned integer.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("an integer of more than 64 bits"))
    }

    /// Takes an unsigned integer of 32 bits.
    pub fn number(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?)
            .map_err(|_| DecodeError::Invalid("a number of more than 32 bits"))
    }

    /// Takes the count of things that follow, of which each has at least one byte.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Short)?;
        if count > self.bytes.len() {
            return Err(DecodeError::Short);
        }
        Ok(count)
    }

    /// Takes a string.
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| DecodeError::Invalid("a string that is not UTF-8"))
    }

    /// Takes the value of a column.
    pub fn datum(&mut self) -> Result<Datum, DecodeError> {
        let head = self.byte()?;
        let key = atom_type_of(head & 7)?;
        match head & !7 {
            SHAPE_ONE => self.atom(key).map(Datum::One),
            SHAPE_SET => {
                let count = self.count()?;
                let atoms = (0..count).map(|_| self.atom(key));
                Ok(Datum::set(atoms.collect::<Result<Vec<_>, _>>()?))
            }
            SHAPE_MAP => {
                let value = atom_type_of(self.byte()?)?;
                let count = self.count()?;
                let pairs = (0..count).map(|_| Ok((self.atom(key)?, self.atom(value)?)));
                Ok(Datum::map(pairs.collect::<Result<Vec<_>, _>>()?))
            }
            _ => Err(DecodeError::Invalid("an unknown shape of value")),
        }
    }

    fn atom(&mut self, atomic: AtomicType) -> Result<Atom, DecodeError> {
        Ok(match atomic {
            AtomicType::Integer => {
                let value = self.varint()?;
                Atom::Integer((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            AtomicType::Real => {
                let bytes = self.take(8)?.try_into().map_err(|_| DecodeError::Short)?;
                Atom::Real(Real(f64::from_le_bytes(bytes)))
            }
            AtomicType::Boolean => Atom::Boolean(self.byte()? != 0),
            AtomicType::String => Atom::from(self.string()?),
            AtomicType::Uuid => Atom::Uuid(self.uuid()?),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any datum whose elements have one type, as all valid ones.
    pub(crate) fn any_datum() -> impl Strategy<Value = Datum> {
        let atoms = (0u8..5).prop_flat_map(|code| proptest::collection::vec(any_atom(code), 0..4));
        let pairs = (0u8..5, 0u8..5).prop_flat_map(|(key, value)| {
            proptest::collection::vec((any_atom(key), any_atom(value)), 0..4)
        });
        prop_oneof![atoms.prop_map(Datum::set), pairs.prop_map(Datum::map)]
    }

    fn any_atom(code: u8) -> BoxedStrategy<Atom> {
        match code {
            0 => any::<i64>().prop_map(Atom::Integer).boxed(),
            1 => any::<f64>().prop_map(|v| Atom::Real(Real(v))).boxed(),
            2 => any::<bool>().prop_map(Atom::Boolean).boxed(),
            3 => ".{0,12}".prop_map(|v| Atom::String(v.into())).boxed(),
            _ => any::<[u8; 16]>()
                .prop_map(|v| Atom::Uuid(Uuid::from_bytes(v)))
                .boxed(),
        }
    }

    proptest! {
        #[test]
        fn a_datum_survives_the_round_trip(datum in any_datum()) {
            let mut bytes = Vec::new();
            put_datum(&mut bytes, &datum);
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.datum(), Ok(datum));
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Decoder::new(&bytes).datum();
        }

        #[test]
        fn a_varint_survives_the_round_trip(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(Decoder::new(&bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let bytes = [0xff; 9].into_iter().chain([0x02]).collect::<Vec<_>>();
        assert!(Decoder::new(&bytes).varint().is_err());
    }
}
