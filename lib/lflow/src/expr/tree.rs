//! What a match is between its passes: a tree over storage bits, and the alternatives that it has in normal form.

use thiserror::Error;

use super::cube::{Cube, Term};
use crate::constant::Name;
use crate::symbols::Field;

/// A match over storage bits, without negation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Every packet or none.
    Const(bool),
    /// A masked comparison.
    Term(Term),
    /// All of these.
    And(Vec<Resolved>),
    /// Any of these.
    Or(Vec<Resolved>),
    /// What the text of a symbol says, in normal form already.
    Known(&'static [Alternative]),
}

/// Why a match has no meaning here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// There is no such address set.
    #[error("there is no address set ${0}")]
    AddressSet(Name),
    /// There is no such port group.
    #[error("there is no port group @{0}")]
    PortGroup(Name),
    /// A template variable was not replaced before parsing.
    #[error("the template variable ^{0} has no value on this chassis")]
    Template(Name),
    /// A nominal field under an odd number of `!`, which the parser refuses.
    #[error("{0} is known only as a whole and cannot be excluded")]
    Nominal(Field),
    /// The match has too many alternatives.
    #[error(
        "the match has more than {0} alternatives; write it with fewer sets, ranges or negations"
    )]
    TooComplex(usize),
}

/// A product: the cube, and one member of each choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Alternative {
    /// What must hold.
    pub cube: Cube,
    /// Of each of these, one must hold too; each has two members or more.
    pub choices: Vec<Vec<Cube>>,
}
