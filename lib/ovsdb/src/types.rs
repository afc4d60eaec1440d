//! The types of columns (RFC 7047, section 3.2), apart from their JSON form, which is the schema's.

use std::sync::Arc;

use crate::atom::{Atom, AtomicType, Real};

/// What a column may hold: a scalar (min and max 1), an optional scalar (0 and 1), a set, or a map (with `value`).
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnType {
    /// The type of the elements, or of the keys of a map.
    pub key: BaseType,
    /// The type of the values of a map.
    pub value: Option<BaseType>,
    /// The least number of elements: 0 or 1.
    pub min: usize,
    /// The greatest number of elements; `usize::MAX` for any.
    pub max: usize,
}

/// What an atom may be.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseType {
    /// Its type.
    pub atomic: AtomicType,
    /// The only values allowed, sorted.
    pub enumeration: Option<Box<[Atom]>>,
    /// What else is asked of it.
    pub constraint: Constraint,
}

/// A limit on an atom's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// None.
    None,
    /// An integer from `min` to `max`, both included.
    Integer {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// A real number from `min` to `max`, both included.
    Real {
        /// The least value.
        min: Real,
        /// The greatest value.
        max: Real,
    },
    /// A string of `min` to `max` characters.
    Length {
        /// The least number.
        min: usize,
        /// The greatest number.
        max: usize,
    },
    /// A UUID of a row of `table`.
    Reference {
        /// The name of the table.
        table: Arc<str>,
        /// What becomes of the reference, and of the row.
        kind: RefKind,
    },
}

/// The two kinds of references between rows (RFC 7047, section 3.2, `refType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// The row must exist, and lives as long as it is referenced.
    Strong,
    /// The reference goes when the row goes.
    Weak,
}

impl ColumnType {
    /// Whether it is exactly one atom.
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.min == 1 && self.max == 1
    }

    /// Whether it is no atom or one.
    pub fn is_optional_scalar(&self) -> bool {
        self.value.is_none() && self.min == 0 && self.max == 1
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }
}

impl BaseType {
    /// A type with no limits.
    pub fn plain(atomic: AtomicType) -> Self {
        Self {
            atomic,
            enumeration: None,
            constraint: Constraint::None,
        }
    }

    /// The table that an atom of this type refers to, and how.
    pub fn reference(&self) -> Option<(&Arc<str>, RefKind)> {
        match &self.constraint {
            Constraint::Reference { table, kind } => Some((table, *kind)),
            _ => None,
        }
    }
}
