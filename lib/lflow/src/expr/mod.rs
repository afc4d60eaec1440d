//! [`Expr`]: a match, as a tree.
//!
//! The way of an expression to OpenFlow is a row of passes, one module each:
//!
//! | pass | from | to |
//! | --- | --- | --- |
//! | `parse` | text | [`Expr`], types checked |
//! | [`resolve`] | [`Expr`], address sets, port groups, port keys | a tree over storage bits: symbols expanded, prerequisites added, negation pushed inward |
//! | [`normalise`] | that tree | alternatives, each a [`Cube`] and further choices |
//! | [`of_connections`] | alternatives | the same, asked of connections; only of flows that say so |
//! | [`crate::flows`] | alternatives | matches of OpenFlow, with conjunctions |
//!
//! Printing is `Display`; what is printed parses to an equal tree.
//!
//! Trees are built by [`crate::m`], by the operators `&`, `|` and `!`, and by the parser. All three keep the same form:
//! an `And` has no `And` in it, an `Or` no `Or`, both have at least two members, and constants are folded.

mod connection;
mod cube;
mod normalise;
mod parse;
mod print;
mod range;
mod reference;
mod resolve;
mod tree;

use std::ops::{BitAnd, BitOr, Not};

use smallvec::SmallVec;

use crate::constant::{Constant, Name};
use crate::symbols::{Field, Symbol};

pub use connection::of_connections;
pub use cube::{Cube, Term};
pub use normalise::{MAX_CUBES, normalise};
pub use parse::{MAX_DEPTH, parse_field};
pub(crate) use parse::{constants, field, fits};
pub use reference::{Reference, place_of};
pub use resolve::{Lookup, resolve};
pub(crate) use resolve::{port_key, texts};
pub use tree::{Alternative, ResolveError, Resolved};

/// A relation between a field and constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `==`; with several constants: equal to any of them.
    Eq,
    /// `!=`; with several constants: different from all of them.
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A comparison of a field with one constant, or a set of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// What is compared.
    pub field: Field,
    /// How.
    pub relation: Relation,
    /// With what. Relations other than `==` and `!=` take exactly one integer without a mask.
    pub constants: SmallVec<[Constant; 1]>,
}

/// A match: what must hold of a packet and its metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// `1`, every packet, or `0`, none.
    Const(bool),
    /// A comparison.
    Cmp(Comparison),
    /// All of these, two or more.
    And(Vec<Expr>),
    /// Any of these, two or more.
    Or(Vec<Expr>),
    /// The contrary of a comparison, a conjunction, a disjunction or a function.
    Not(Box<Expr>),
    /// `is_chassis_resident("port")`: the port is bound to the chassis that evaluates the match.
    Resident(Name),
}

impl Expr {
    /// Every packet.
    pub const TRUE: Expr = Expr::Const(true);
    /// No packet.
    pub const FALSE: Expr = Expr::Const(false);

    /// `field relation constant`.
    pub fn compare(field: Field, relation: Relation, constant: impl Into<Constant>) -> Expr {
        Expr::Cmp(Comparison {
            field,
            relation,
            constants: SmallVec::from_iter([constant.into()]),
        })
    }

    /// All of the expressions; true when there are none.
    pub fn all(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut members = Vec::new();
        for part in parts {
            match part {
                Expr::Const(true) => {}
                Expr::Const(false) => return Expr::FALSE,
                Expr::And(inner) => members.extend(inner),
                other => members.push(other),
            }
        }
        match members.len() {
            0 => Expr::TRUE,
            1 => members.remove(0),
            _ => Expr::And(members),
        }
    }

    /// Any of the expressions; false when there are none.
    pub fn any(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut members = Vec::new();
        for part in parts {
            match part {
                Expr::Const(false) => {}
                Expr::Const(true) => return Expr::TRUE,
                Expr::Or(inner) => members.extend(inner),
                other => members.push(other),
            }
        }
        match members.len() {
            0 => Expr::FALSE,
            1 => members.remove(0),
            _ => Expr::Or(members),
        }
    }

    /// Reads a match.
    ///
    /// # Errors
    /// Names what is wrong and where, with a caret under the place.
    pub fn parse(text: &str) -> Result<Expr, crate::ParseError> {
        parse::parse(text)
    }

    /// True when every packet matches.
    pub fn is_true(&self) -> bool {
        *self == Expr::TRUE
    }

    /// The port that a packet must have in `inport` or `outport`, where one comparison at the top of the match says so.
    ///
    /// Whoever knows that no packet has that port in that field need not look at the rest.
    pub fn required_port(&self, field: Symbol) -> Option<&Name> {
        match self {
            Expr::And(parts) => parts.iter().find_map(|part| part.required_port(field)),
            Expr::Cmp(comparison)
                if comparison.field.symbol() == field && comparison.relation == Relation::Eq =>
            {
                match &comparison.constants[..] {
                    [Constant::Str(name)] => Some(name),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Calls `visit` for each comparison in the tree.
    pub fn comparisons<'a>(&'a self, visit: &mut impl FnMut(&'a Comparison)) {
        match self {
            Expr::Cmp(comparison) => visit(comparison),
            Expr::And(parts) | Expr::Or(parts) => {
                for part in parts {
                    part.comparisons(visit);
                }
            }
            Expr::Not(inner) => inner.comparisons(visit),
            Expr::Const(_) | Expr::Resident(_) => {}
        }
    }
}

impl BitAnd for Expr {
    type Output = Expr;

    fn bitand(self, other: Expr) -> Expr {
        match (self, other) {
            (Expr::Const(true), e) | (e, Expr::Const(true)) => e,
            (Expr::Const(false), _) | (_, Expr::Const(false)) => Expr::FALSE,
            (Expr::And(mut members), Expr::And(more)) => {
                members.extend(more);
                Expr::And(members)
            }
            (Expr::And(mut members), e) => {
                members.push(e);
                Expr::And(members)
            }
            (e, Expr::And(mut members)) => {
                members.insert(0, e);
                Expr::And(members)
            }
            (a, b) => Expr::And(vec![a, b]),
        }
    }
}

impl BitOr for Expr {
    type Output = Expr;

    fn bitor(self, other: Expr) -> Expr {
        match (self, other) {
            (Expr::Const(false), e) | (e, Expr::Const(false)) => e,
            (Expr::Const(true), _) | (_, Expr::Const(true)) => Expr::TRUE,
            (Expr::Or(mut members), Expr::Or(more)) => {
                members.extend(more);
                Expr::Or(members)
            }
            (Expr::Or(mut members), e) => {
                members.push(e);
                Expr::Or(members)
            }
            (e, Expr::Or(mut members)) => {
                members.insert(0, e);
                Expr::Or(members)
            }
            (a, b) => Expr::Or(vec![a, b]),
        }
    }
}

impl Not for Expr {
    type Output = Expr;

    fn not(self) -> Expr {
        match self {
            Expr::Const(value) => Expr::Const(!value),
            Expr::Not(inner) => *inner,
            e => Expr::Not(Box::new(e)),
        }
    }
}

impl Relation {
    /// The sign.
    pub const fn sign(self) -> &'static str {
        match self {
            Relation::Eq => "==",
            Relation::Ne => "!=",
            Relation::Lt => "<",
            Relation::Le => "<=",
            Relation::Gt => ">",
            Relation::Ge => ">=",
        }
    }

    /// The relation of this sign.
    pub(crate) fn of_sign(sign: &str) -> Option<Relation> {
        use Relation::{Eq, Ge, Gt, Le, Lt, Ne};
        [Eq, Ne, Lt, Le, Gt, Ge]
            .into_iter()
            .find(|r| r.sign() == sign)
    }

    /// The relation that holds when this one does not.
    pub const fn negated(self) -> Relation {
        match self {
            Relation::Eq => Relation::Ne,
            Relation::Ne => Relation::Eq,
            Relation::Lt => Relation::Ge,
            Relation::Le => Relation::Gt,
            Relation::Gt => Relation::Le,
            Relation::Ge => Relation::Lt,
        }
    }

    /// The relation when both sides change places.
    pub const fn mirrored(self) -> Relation {
        match self {
            Relation::Eq => Relation::Eq,
            Relation::Ne => Relation::Ne,
            Relation::Lt => Relation::Gt,
            Relation::Le => Relation::Ge,
            Relation::Gt => Relation::Lt,
            Relation::Ge => Relation::Le,
        }
    }
}
