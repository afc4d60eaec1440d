//! Scalars: the five atomic types of RFC 7047, section 3.1.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeTuple, Serializer};
use uuid::Uuid;

use crate::intern::shared;

/// The type of an [`Atom`] (RFC 7047, section 3.2, `<atomic-type>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AtomicType {
    /// A signed 64-bit integer.
    Integer,
    /// A double-precision number.
    Real,
    /// True or false.
    Boolean,
    /// A UTF-8 string.
    String,
    /// The identity of a row.
    Uuid,
}

impl AtomicType {
    /// The type's name in a schema, such as `"integer"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Uuid => "uuid",
        }
    }

    /// The type that a schema calls `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Integer,
            Self::Real,
            Self::Boolean,
            Self::String,
            Self::Uuid,
        ]
        .into_iter()
        .find(|t| t.name() == name)
    }

    /// The value that a column of this type has when none was given (RFC 7047, section 5.2.1).
    pub fn default_atom(self) -> Atom {
        match self {
            Self::Integer => Atom::Integer(0),
            Self::Real => Atom::Real(Real(0.0)),
            Self::Boolean => Atom::Boolean(false),
            Self::String => Atom::String(Arc::default()),
            Self::Uuid => Atom::Uuid(Uuid::nil()),
        }
    }
}

impl fmt::Display for AtomicType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A double with a total order, so that it can be an element of a set or the key of a map.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Real {}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        // Zero has two bit patterns and one meaning.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}
impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 + 0.0).to_bits().hash(state);
    }
}

/// One scalar value. Atoms of one column all have the same type; the order between types is only there to be total.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// A signed 64-bit integer.
    Integer(i64),
    /// A double-precision number.
    Real(Real),
    /// True or false.
    Boolean(bool),
    /// A UTF-8 string, shared.
    String(Arc<str>),
    /// The identity of a row.
    Uuid(Uuid),
}

impl Atom {
    /// The atom's type.
    pub fn atomic_type(&self) -> AtomicType {
        match self {
            Self::Integer(_) => AtomicType::Integer,
            Self::Real(_) => AtomicType::Real,
            Self::Boolean(_) => AtomicType::Boolean,
            Self::String(_) => AtomicType::String,
            Self::Uuid(_) => AtomicType::Uuid,
        }
    }

    /// The integer in it, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The real number in it, if it is one.
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Self::Real(value) => Some(value.0),
            _ => None,
        }
    }

    /// The boolean in it, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The string in it, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The string in it, shared, if it is one.
    pub fn as_arc_str(&self) -> Option<&Arc<str>> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The UUID in it, if it is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(value) => Some(*value),
            _ => None,
        }
    }
}

macro_rules! atom_from {
    ($($from:ty => |$value:ident| $atom:expr;)*) => {$(
        impl From<$from> for Atom {
            fn from($value: $from) -> Self {
                $atom
            }
        }
    )*};
}
atom_from! {
    i64 => |value| Self::Integer(value);
    f64 => |value| Self::Real(Real(value));
    bool => |value| Self::Boolean(value);
    &str => |value| Self::String(shared(value));
    String => |value| Self::String(shared(&value));
    Arc<str> => |value| Self::String(value);
    Uuid => |value| Self::Uuid(value);
}

/// As in a JSON-RPC message: a UUID is `["uuid", "…"]`, a real without a fraction has no point, everything else is itself (RFC 7047, section 5.1).
impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_i64(*value),
            // As Open vSwitch prints them. Up to 2^53 every integer is a double.
            Self::Real(Real(value))
                if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 =>
            {
                serializer.serialize_i64(*value as i64)
            }
            Self::Real(value) => serializer.serialize_f64(value.0),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Uuid(value) => {
                let mut pair = serializer.serialize_tuple(2)?;
                pair.serialize_element("uuid")?;
                pair.serialize_element(
                    value.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
                )?;
                pair.end()
            }
        }
    }
}

/// For messages to people: strings in quotes, the rest bare.
impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{}", value.0),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Uuid(value) => write!(f, "{value}"),
        }
    }
}
