//! JSON of what is written most: strings and data, straight into a buffer.
//!
//! The text is the one that `Serialize` gives. A string is looked at eight bytes at a time, since hardly any of them has to be
//! escaped.

use std::io::Write;

use uuid::Uuid;

use crate::atom::Atom;
use crate::datum::Datum;

/// Every byte of a word is this one.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether a byte of a word is below `limit`, which is 128 at most.
const fn has_below(word: u64, limit: u8) -> bool {
    word.wrapping_sub(all(limit)) & !word & all(0x80) != 0
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn has_special(word: u64) -> bool {
    has_below(word, 0x20) || has_below(word ^ all(b'"'), 1) || has_below(word ^ all(b'\\'), 1)
}

/// How many bytes there are before the first that has to be escaped.
fn plain(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let words = words.iter();
    let plain = words.take_while(|word| !has_special(u64::from_ne_bytes(**word)));
    let sure = 8 * plain.count();
    let rest = bytes[sure..].iter();
    sure + rest.take_while(|byte| !is_special(**byte)).count()
}

/// Writes a string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain(rest));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            byte => write!(out, "\\u{byte:04x}").expect("a buffer takes everything"),
        }
        rest = behind;
    }
    out.push(b'"');
}

/// Writes a UUID as a string.
pub(crate) fn uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let mut buffer = Uuid::encode_buffer();
    out.push(b'"');
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
    out.push(b'"');
}

/// Writes what a column holds.
pub(crate) fn datum(out: &mut Vec<u8>, datum: &Datum) {
    match datum {
        Datum::One(one) => atom(out, one),
        Datum::Set(atoms) => {
            out.extend_from_slice(b"[\"set\",");
            list(out, atoms.iter(), atom);
            out.push(b']');
        }
        Datum::Map(pairs) => {
            out.extend_from_slice(b"[\"map\",");
            list(out, pairs.iter(), |out, (key, value)| {
                list(out, [key, value].into_iter(), atom);
            });
            out.push(b']');
        }
    }
}

/// Writes an array.
pub(crate) fn list<T>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, element) in elements.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, element);
    }
    out.push(b']');
}

fn atom(out: &mut Vec<u8>, atom: &Atom) {
    match atom {
        Atom::String(text) => string(out, text),
        Atom::Uuid(value) => {
            out.extend_from_slice(b"[\"uuid\",");
            uuid(out, *value);
            out.push(b']');
        }
        other => serde_json::to_writer(out, other).expect("a number or a truth can be written"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn atoms() -> impl Strategy<Value = Atom> {
        prop_oneof![
            any::<i64>().prop_map(Atom::from),
            any::<f64>()
                .prop_filter("JSON has no others", |real| real.is_finite())
                .prop_map(Atom::from),
            any::<bool>().prop_map(Atom::from),
            "[ -~]{0,20}|[\"\\\\a]{0,40}|\\PC{0,40}|[\\x00-\\x7f]{0,40}"
                .prop_map(|text| Atom::from(text.as_str())),
            any::<u128>().prop_map(|value| Atom::from(Uuid::from_u128(value))),
        ]
    }

    proptest! {
        #[test]
        fn data_are_written_as_serde_writes_them(
            one in atoms(),
            set in prop::collection::vec(atoms(), 0..4),
            map in prop::collection::vec((atoms(), atoms()), 0..4),
        ) {
            for written in [Datum::One(one), Datum::set(set), Datum::map(map)] {
                let mut out = Vec::new();
                datum(&mut out, &written);
                prop_assert_eq!(out, serde_json::to_vec(&written).unwrap());
            }
        }
    }
}
