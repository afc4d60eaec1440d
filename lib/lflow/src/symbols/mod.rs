//! Symbols: the names that matches and actions may use.
//!
//! [`Symbol`] is one name; the table in `table.rs` says of each its width, what it is a view of, what its use implies
//! (`prerequisites`) and whether actions may write it. [`Field`] is a symbol or some of its bits. [`Base`] is the storage
//! behind them.
//!
//! **Level of measurement** (ovn-sb(5), "Logical_Flow", "Symbols"): the bits of an *ordinal* field may be looked at one by
//! one, so it has all relations; a *nominal* field is known only as a whole, so it can only be tested for equality. What
//! the switch can match under a mask is ordinal. A predicate is nominal when its text speaks of a nominal field,
//! otherwise *Boolean*: then it can be negated. Strings are nominal.

mod base;
mod field;
mod table;

use std::fmt;
use std::sync::OnceLock;

use rustc_hash::FxHashMap;

pub use base::Base;
pub use field::{Field, Segment};
pub use table::Symbol;

use crate::constant::Format;

/// How a symbol's values may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Bit by bit, with all relations.
    Ordinal,
    /// As a whole, for equality.
    Nominal,
    /// True or false, and either can be asked for.
    Boolean,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole field.
    Field(Base),
    /// A string: the name of the port whose key is in this field.
    Port(Base),
    /// `count` registers side by side, the first of them the most significant.
    Registers {
        /// The number of the first register.
        first: u8,
        /// How many.
        count: u8,
    },
    /// Bits of another symbol, from `lsb` on.
    Bits {
        /// The symbol whose bits these are.
        parent: Symbol,
        /// The least significant of them.
        lsb: u8,
    },
    /// Shorthand for an expression.
    Predicate(&'static str),
    /// A field that only actions know, and only to set: the switch has none such.
    MtuOfError,
}

/// Where actions may write a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nowhere.
    ReadOnly,
    /// Everywhere.
    ReadWrite,
    /// In the ingress pipeline.
    Ingress,
    /// Inside `ct_commit { … }`.
    Commit,
}

/// A row of the table.
pub(crate) struct Info {
    name: &'static str,
    width: u8,
    format: Format,
    kind: Kind,
    access: Access,
    prerequisites: &'static str,
}

impl Symbol {
    /// The symbol of this name.
    pub fn named(name: &str) -> Option<Symbol> {
        static BY_NAME: OnceLock<FxHashMap<&'static str, Symbol>> = OnceLock::new();
        let by_name = BY_NAME.get_or_init(|| Symbol::ALL.iter().map(|s| (s.name(), *s)).collect());
        by_name.get(name).copied()
    }

    /// The name, as matches and actions write it.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The number of bits; 1 for a predicate, 32 (the key) for a string.
    pub fn width(self) -> u8 {
        self.info().width
    }

    /// How its values are written by preference.
    pub fn format(self) -> Format {
        self.info().format
    }

    /// What it stands for.
    pub fn kind(self) -> Kind {
        self.info().kind
    }

    /// Where actions may write it.
    pub fn access(self) -> Access {
        self.info().access
    }

    /// A match that any use of the symbol implies; empty when there is none.
    pub fn prerequisites(self) -> &'static str {
        self.info().prerequisites
    }

    /// True for names of ports.
    pub fn is_string(self) -> bool {
        matches!(self.kind(), Kind::Port(_))
    }

    /// True for shorthands.
    pub fn is_predicate(self) -> bool {
        matches!(self.kind(), Kind::Predicate(_))
    }

    /// How its values may be compared.
    pub fn level(self) -> Level {
        match self.kind() {
            Kind::Field(base) if base.maskable() => Level::Ordinal,
            Kind::Registers { .. } | Kind::Bits { .. } => Level::Ordinal,
            Kind::Field(_) | Kind::Port(_) | Kind::MtuOfError => Level::Nominal,
            Kind::Predicate(text) if mentions_nominal(text) => Level::Nominal,
            Kind::Predicate(_) => Level::Boolean,
        }
    }

    /// All its bits.
    pub fn whole(self) -> Field {
        Field::whole(self)
    }

    /// One of its bits; a bit beyond its width is the highest one.
    pub fn bit(self, bit: u8) -> Field {
        self.bits(bit, bit)
    }

    /// Its bits `lo` to `hi`, both included; bits beyond its width are left out.
    pub fn bits(self, lo: u8, hi: u8) -> Field {
        let hi = hi.min(self.width() - 1);
        let lo = lo.min(hi);
        Field::new(self, lo, hi - lo + 1).expect("the bits were limited to those that exist")
    }
}

/// True when the text of a predicate names a nominal symbol.
fn mentions_nominal(text: &str) -> bool {
    let word_ends = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_');
    let mut names = text.split(word_ends).filter_map(Symbol::named);
    names.any(|symbol| symbol.level() == Level::Nominal)
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for symbol in Symbol::ALL {
            assert_eq!(Symbol::named(symbol.name()), Some(*symbol), "{symbol}");
            assert!((1..=128).contains(&symbol.width()), "{symbol}");
        }
        assert_eq!(Symbol::named("ip4.sorce"), None);
    }

    #[test]
    fn levels() {
        for (name, level) in [
            ("eth.type", Level::Nominal),
            ("ip.ttl", Level::Nominal),
            ("inport", Level::Nominal),
            ("ip4", Level::Nominal),
            ("tcp", Level::Nominal),
            ("ip", Level::Nominal),
            ("nd", Level::Nominal),
            ("eth.mcast", Level::Boolean),
            ("ip4.mcast", Level::Boolean),
            ("vlan.present", Level::Boolean),
            ("ip.first_frag", Level::Boolean),
            ("ct.est", Level::Ordinal),
            ("xxreg1", Level::Ordinal),
            ("tcp.dst", Level::Ordinal),
        ] {
            assert_eq!(Symbol::named(name).unwrap().level(), level, "{name}");
        }
    }

    #[test]
    fn bits_lie_within_their_parents() {
        for symbol in Symbol::ALL {
            if let Kind::Bits { parent, lsb } = symbol.kind() {
                assert!(lsb + symbol.width() <= parent.width(), "{symbol}");
            }
            if let Kind::Field(base) = symbol.kind() {
                assert_eq!(base.width(), symbol.width(), "{symbol}");
            }
        }
    }
}
