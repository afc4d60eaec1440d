//! Reading data and rows straight from JSON text, without a tree of values in between.
//!
//! [`Datum::from_json`] is for requests: it refuses what the schema does not allow and says why. The seeds here are for
//! what a server sends: they insist on the types, because nothing else fits into a datum, but take values out of an
//! enumeration or range as they are. The server is the one that knows its schema.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use uuid::Uuid;

use crate::atom::{Atom, AtomicType, Real};
use crate::datum::Datum;
use crate::schema::ColumnType;

/// Reads a value of a column of this type.
pub(crate) struct DatumSeed<'a>(pub(crate) &'a ColumnType);

impl<'de> DeserializeSeed<'de> for DatumSeed<'_> {
    type Value = Datum;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Datum, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DatumSeed<'_> {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", self.0.to_json())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Datum, E> {
        AtomSeed(self.0.key.atomic)
            .visit_bool(value)
            .map(Datum::One)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Datum, E> {
        AtomSeed(self.0.key.atomic).visit_i64(value).map(Datum::One)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Datum, E> {
        AtomSeed(self.0.key.atomic).visit_u64(value).map(Datum::One)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Datum, E> {
        AtomSeed(self.0.key.atomic).visit_f64(value).map(Datum::One)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Datum, E> {
        AtomSeed(self.0.key.atomic).visit_str(value).map(Datum::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Datum, A::Error> {
        let key = self.0.key.atomic;
        let datum = match (&*tag(&mut elements)?, &self.0.value) {
            ("set", None) => {
                let atoms = elements.next_element_seed(AtomsSeed(key))?;
                Datum::set(atoms.ok_or_else(|| A::Error::invalid_length(1, &"a tag and a value"))?)
            }
            ("map", Some(value)) => {
                let pairs = elements.next_element_seed(PairsSeed(key, value.atomic))?;
                Datum::map(pairs.ok_or_else(|| A::Error::invalid_length(1, &"a tag and a value"))?)
            }
            ("uuid", None) if key == AtomicType::Uuid => {
                Datum::One(Atom::Uuid(uuid_element(&mut elements)?))
            }
            (tag, _) => {
                return Err(A::Error::custom(format_args!(
                    "{tag:?} does not begin a value of type {}",
                    self.0.to_json()
                )));
            }
        };
        end(&mut elements)?;
        Ok(datum)
    }
}

/// Reads one atom of this type.
#[derive(Clone, Copy)]
struct AtomSeed(AtomicType);

impl<'de> DeserializeSeed<'de> for AtomSeed {
    type Value = Atom;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Atom, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AtomSeed {
    type Value = Atom;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an atom of type {}", self.0)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Atom, E> {
        if self.0 == AtomicType::Boolean {
            Ok(Atom::Boolean(value))
        } else {
            Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Atom, E> {
        match self.0 {
            AtomicType::Integer => Ok(Atom::Integer(value)),
            AtomicType::Real => Ok(Atom::Real(Real(value as f64))),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Atom, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Atom, E> {
        match self.0 {
            AtomicType::Real => Ok(Atom::Real(Real(value))),
            // 2^53: up to here every integer is a double.
            AtomicType::Integer
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
            {
                Ok(Atom::Integer(value as i64))
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Atom, E> {
        if self.0 == AtomicType::String {
            Ok(Atom::from(value))
        } else {
            Err(E::invalid_type(serde::de::Unexpected::Str(value), &self))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Atom, A::Error> {
        if self.0 != AtomicType::Uuid || tag(&mut elements)? != "uuid" {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let uuid = uuid_element(&mut elements)?;
        end(&mut elements)?;
        Ok(Atom::Uuid(uuid))
    }
}

struct AtomsSeed(AtomicType);

impl<'de> DeserializeSeed<'de> for AtomsSeed {
    type Value = Vec<Atom>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Atom>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtomsSeed {
    type Value = Vec<Atom>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of atoms of type {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Atom>, A::Error> {
        let mut atoms = Vec::new();
        while let Some(atom) = elements.next_element_seed(AtomSeed(self.0))? {
            atoms.push(atom);
        }
        Ok(atoms)
    }
}

struct PairsSeed(AtomicType, AtomicType);

impl<'de> DeserializeSeed<'de> for PairsSeed {
    type Value = Vec<(Atom, Atom)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed {
    type Value = Vec<(Atom, Atom)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of pairs of {} and {}", self.0, self.1)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = elements.next_element_seed(PairSeed(self.0, self.1))? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct PairSeed(AtomicType, AtomicType);

impl<'de> DeserializeSeed<'de> for PairSeed {
    type Value = (Atom, Atom);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairSeed {
    type Value = (Atom, Atom);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pair of {} and {}", self.0, self.1)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let key = elements.next_element_seed(AtomSeed(self.0))?;
        let value = elements.next_element_seed(AtomSeed(self.1))?;
        let (Some(key), Some(value)) = (key, value) else {
            return Err(A::Error::invalid_length(1, &self));
        };
        end(&mut elements)?;
        Ok((key, value))
    }
}

/// The string that begins a tagged array.
fn tag<'de, A: SeqAccess<'de>>(elements: &mut A) -> Result<Cow<'de, str>, A::Error> {
    /// Borrows the string where the input allows.
    struct Tag<'a>(Cow<'a, str>);
    impl<'de> serde::Deserialize<'de> for Tag<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct TagVisitor;
            impl<'de> Visitor<'de> for TagVisitor {
                type Value = Tag<'de>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("\"uuid\", \"set\" or \"map\"")
                }
                fn visit_borrowed_str<E>(self, tag: &'de str) -> Result<Tag<'de>, E> {
                    Ok(Tag(Cow::Borrowed(tag)))
                }
                fn visit_str<E>(self, tag: &str) -> Result<Tag<'de>, E> {
                    Ok(Tag(Cow::Owned(tag.to_owned())))
                }
            }
            deserializer.deserialize_str(TagVisitor)
        }
    }
    let tag = elements.next_element::<Tag<'de>>()?;
    Ok(tag
        .ok_or_else(|| A::Error::invalid_length(0, &"a tag and a value"))?
        .0)
}

/// The text of a `["uuid", TEXT]`.
fn uuid_element<'de, A: SeqAccess<'de>>(elements: &mut A) -> Result<Uuid, A::Error> {
    struct UuidText(Uuid);
    impl<'de> serde::Deserialize<'de> for UuidText {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct UuidVisitor;
            impl Visitor<'_> for UuidVisitor {
                type Value = UuidText;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a UUID")
                }
                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<UuidText, E> {
                    Uuid::try_parse(text)
                        .map(UuidText)
                        .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
            deserializer.deserialize_str(UuidVisitor)
        }
    }
    let uuid = elements.next_element::<UuidText>()?;
    Ok(uuid
        .ok_or_else(|| A::Error::invalid_length(1, &"a tag and a UUID"))?
        .0)
}

fn end<'de, A: SeqAccess<'de>>(elements: &mut A) -> Result<(), A::Error> {
    match elements.next_element::<serde::de::IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("the array has too many elements")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(ty: &Value, text: &str, expected: Result<&Value, &str>) {
        let ty = ColumnType::from_json(ty).unwrap();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        match (DatumSeed(&ty).deserialize(&mut deserializer), expected) {
            (Ok(datum), Ok(expected)) => {
                assert_eq!(&serde_json::to_value(&datum).unwrap(), expected);
                let read = Datum::from_json_unbounded(&ty, expected, &mut |_| None);
                assert_eq!(read.unwrap(), datum);
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().starts_with(expected), "{error}");
            }
            (result, expected) => panic!("{text}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn data_are_read_from_text() {
        let uuid = "00000000-0000-0000-0000-00000000000a";
        let set = |key: &str| json!({"key": key, "min": 0, "max": "unlimited"});
        let map = json!({"key": "string", "value": "uuid", "min": 0, "max": "unlimited"});
        check(
            &set("integer"),
            "[\"set\",[3,1,2]]",
            Ok(&json!(["set", [1, 2, 3]])),
        );
        check(&set("integer"), "7", Ok(&json!(7)));
        check(&set("integer"), "-7.0", Ok(&json!(-7)));
        check(&json!("real"), "7", Ok(&json!(7)));
        check(&json!("boolean"), "true", Ok(&json!(true)));
        check(
            &set("string"),
            "[\"set\",[\"b\",\"\\u0061\"]]",
            Ok(&json!(["set", ["a", "b"]])),
        );
        check(
            &set("uuid"),
            &format!("[\"uuid\",\"{uuid}\"]"),
            Ok(&json!(["uuid", uuid])),
        );
        check(&set("uuid"), "[\"set\",[]]", Ok(&json!(["set", []])));
        check(
            &map,
            &format!("[\"map\",[[\"k\",[\"uuid\",\"{uuid}\"]]]]"),
            Ok(&json!(["map", [["k", ["uuid", uuid]]]])),
        );
        check(
            &set("integer"),
            "\"x\"",
            Err("invalid type: string \"x\", expected an atom of type integer"),
        );
        check(
            &set("uuid"),
            "[\"uuid\",\"x\"]",
            Err("invalid value: string \"x\", expected a UUID"),
        );
        check(
            &set("string"),
            "[\"map\",[]]",
            Err("\"map\" does not begin a value of type"),
        );
        check(&map, "[\"map\",[[\"k\"]]]", Err("invalid length 1"));
        check(&set("string"), "[]", Err("invalid length 0"));
        check(
            &set("string"),
            "[\"set\",[],1]",
            Err("the array has too many elements"),
        );
        check(&set("string"), "null", Err("invalid type: null"));
    }
}
