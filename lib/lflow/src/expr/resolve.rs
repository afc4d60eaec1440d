//! From names to bits: symbols, sets, groups and ports are looked up, prerequisites added, negation pushed inward.
//!
//! **Prerequisites** are implied by any use of a symbol, under `!` too: `!(tcp.dst == 80)` is a TCP packet to another
//! port, and `!ip.later_frag` an IP packet. So negation turns relations round, never prerequisites. This is what makes
//! every expression that the parser accepts expressible: what is presupposed is always nominal.
//!
//! A port that does not exist matches no packet. A set or group that does not exist is an error: whoever names one
//! means to restrict something, and a wrong guess would restrict too little or too much.

use std::sync::{Arc, OnceLock};

use super::cube::Term;
use super::normalise::normalise;
use super::range::{masked_values, outside};
use super::tree::{Alternative, ResolveError, Resolved};
use super::{Comparison, Expr, Relation};
use crate::constant::{Constant, Format, Int};
use crate::symbols::{Field, Kind, Symbol};

/// What names in a match mean, on one chassis and in one datapath.
///
/// Whoever implements this may record what was asked: the answers are all that a resolved match depends on beside its
/// text.
pub trait Lookup {
    /// The tunnel key of a port or multicast group of the datapath.
    fn port(&self, name: &str) -> Option<u32>;
    /// The members of an address set.
    fn address_set(&self, name: &str) -> Option<Arc<[Int]>>;
    /// The tunnel keys of those members of a port group that are ports of the datapath.
    fn port_group(&self, name: &str) -> Option<Arc<[u32]>>;
    /// The same for a comparison with `field`. Ports that no packet here can have in that field may be left out.
    fn port_group_in(&self, name: &str, field: Symbol) -> Option<Arc<[u32]>> {
        let _ = field;
        self.port_group(name)
    }
    /// Whether a port is bound to this chassis.
    fn is_resident(&self, port: &str) -> bool;
    /// A bit that packets carry which have a member of the set or group in `field`, and no others: then the members need not
    /// be known.
    fn member_bit(&self, of: &Constant, field: Field) -> Option<Term> {
        let _ = (of, field);
        None
    }
}

/// Resolves the names of a match.
///
/// # Errors
/// When a set or group does not exist, or a nominal field is excluded.
pub fn resolve(expr: &Expr, lookup: &dyn Lookup) -> Result<Resolved, ResolveError> {
    expression(expr, lookup, false)
}

fn expression(expr: &Expr, lookup: &dyn Lookup, negated: bool) -> Result<Resolved, ResolveError> {
    let parts = |parts: &[Expr]| -> Result<Vec<Resolved>, ResolveError> {
        parts
            .iter()
            .map(|part| expression(part, lookup, negated))
            .collect()
    };
    Ok(match (expr, negated) {
        (Expr::Const(value), _) => Resolved::Const(*value != negated),
        (Expr::Resident(port), _) => Resolved::Const(lookup.is_resident(port) != negated),
        (Expr::Not(inner), _) => return expression(inner, lookup, !negated),
        (Expr::And(members), false) | (Expr::Or(members), true) => Resolved::And(parts(members)?),
        (Expr::Or(members), false) | (Expr::And(members), true) => Resolved::Or(parts(members)?),
        (Expr::Cmp(comparison), _) => return comparison_of(comparison, lookup, negated),
    })
}

fn comparison_of(
    comparison: &Comparison,
    lookup: &dyn Lookup,
    negated: bool,
) -> Result<Resolved, ResolveError> {
    let field = comparison.field;
    let relation = match negated {
        true => comparison.relation.negated(),
        false => comparison.relation,
    };
    let bits: Vec<Option<Term>> = comparison
        .constants
        .iter()
        .map(|constant| match constant {
            Constant::AddressSet(_) | Constant::PortGroup(_) => lookup.member_bit(constant, field),
            _ => None,
        })
        .collect();
    let values = values(comparison, &bits, lookup)?;
    let implied = known(field.symbol()).prerequisites.as_deref();
    let with_implied = |core| match implied {
        None => core,
        Some(implied) => Resolved::And(vec![Resolved::Known(implied), core]),
    };
    let mut parts: Vec<Resolved> = Vec::with_capacity(values.len() + bits.len());
    parts.extend(bits.into_iter().flatten().map(|bit| {
        Resolved::Term(match relation {
            Relation::Ne => Term { value: 0, ..bit },
            _ => bit,
        })
    }));
    let several = relation == Relation::Ne && values.len() > 1 && !field.symbol().is_predicate();
    let set = || {
        values
            .iter()
            .map(|int| (int.value, int.mask))
            .collect::<Vec<_>>()
    };
    match several.then(|| outside(&set(), field.width())).flatten() {
        Some(alternatives) => parts.push(masked(field, &alternatives)?),
        None => {
            for int in &values {
                parts.push(one(field, relation, *int)?);
            }
        }
    }
    // Equal to any of the constants, different from all of them; other relations have one constant.
    let core = match relation {
        Relation::Ne => Resolved::And(parts),
        _ => Resolved::Or(parts),
    };
    Ok(with_implied(core))
}

/// The key of a port; `none` is the name of having no port, key 0.
pub(crate) fn port_key(name: &str, lookup: &dyn Lookup) -> Option<u32> {
    match name {
        "none" => Some(0),
        _ => lookup.port(name),
    }
}

/// The integers that a comparison names, but for those of constants that packets carry bits of.
fn values(
    comparison: &Comparison,
    bits: &[Option<Term>],
    lookup: &dyn Lookup,
) -> Result<Vec<Int>, ResolveError> {
    let mut values = Vec::with_capacity(comparison.constants.len());
    for (constant, bit) in comparison.constants.iter().zip(bits) {
        match constant {
            _ if bit.is_some() => {}
            Constant::Int(int) => values.push(*int),
            Constant::Str(name) => values.extend(port_key(name, lookup).map(Int::from)),
            Constant::Template(name) => return Err(ResolveError::Template(name.clone())),
            Constant::AddressSet(name) => {
                let set = lookup.address_set(name);
                let set = set.ok_or_else(|| ResolveError::AddressSet(name.clone()))?;
                values.extend(set.iter().filter(|int| is_of_family(comparison.field, int)));
            }
            Constant::PortGroup(name) => {
                let group = lookup.port_group_in(name, comparison.field.symbol());
                let group = group.ok_or_else(|| ResolveError::PortGroup(name.clone()))?;
                values.extend(group.iter().map(|key| Int::from(*key)));
            }
        }
    }
    Ok(values)
}

/// True when a member of an address set can be compared with the field: sets may hold addresses of several families.
fn is_of_family(field: Field, int: &Int) -> bool {
    let format = field.symbol().format();
    let is_address = |f: Format| matches!(f, Format::Ip4 | Format::Ip6 | Format::Mac);
    int.bits() <= u32::from(field.width())
        && (!is_address(format) || !is_address(int.format) || format == int.format)
}

/// `field relation int`.
fn one(field: Field, relation: Relation, int: Int) -> Result<Resolved, ResolveError> {
    if field.symbol().is_predicate() {
        let known = known(field.symbol());
        let wanted = (int.value == 1) == (relation == Relation::Eq);
        let meaning = if wanted {
            &known.predicate
        } else {
            &known.contrary
        };
        return meaning
            .as_deref()
            .map(Resolved::Known)
            .ok_or(ResolveError::Nominal(field));
    }
    masked(
        field,
        &masked_values(relation, int.value, int.mask, field.width()),
    )
}

/// The field has one of the masked values.
fn masked(field: Field, alternatives: &[(u128, u128)]) -> Result<Resolved, ResolveError> {
    let segments = field.segments();
    let partial = |(_, mask): &(u128, u128)| *mask != field.full_mask();
    if alternatives.iter().any(partial) && segments.iter().any(|s| !s.base.maskable()) {
        return Err(ResolveError::Nominal(field));
    }
    let terms = alternatives.iter().map(|(value, mask)| {
        let terms = segments.iter().filter_map(|segment| {
            let ones = u128::MAX >> (128 - u32::from(segment.width));
            let mask = (mask >> segment.at & ones) << segment.lsb;
            (mask != 0).then_some(Resolved::Term(Term {
                base: segment.base,
                mask,
                value: (value >> segment.at & ones) << segment.lsb,
            }))
        });
        match terms.collect::<Vec<_>>() {
            none if none.is_empty() => Resolved::Const(true),
            one if one.len() == 1 => one[0].clone(),
            several => Resolved::And(several),
        }
    });
    Ok(Resolved::Or(terms.collect()))
}

/// What the texts of a symbol say, in normal form: worked out once, for they name no ports, sets or groups.
struct Known {
    /// What it implies, if it implies anything.
    prerequisites: Option<Vec<Alternative>>,
    /// What it stands for, if it is a predicate.
    predicate: Option<Vec<Alternative>>,
    /// The contrary of that, if there is one.
    contrary: Option<Vec<Alternative>>,
}

fn known(symbol: Symbol) -> &'static Known {
    static KNOWN: [OnceLock<Known>; Symbol::ALL.len()] =
        [const { OnceLock::new() }; Symbol::ALL.len()];
    // A symbol's texts speak of other symbols, whose places are filled on the way; a test says that none is circular.
    KNOWN[symbol as usize].get_or_init(|| {
        let texts = texts(symbol);
        let meaning = |text: &Option<Expr>, negated| {
            let resolved = expression(text.as_ref()?, &Nowhere, negated).ok()?;
            normalise(&resolved).ok()
        };
        Known {
            prerequisites: meaning(&texts.prerequisites, false),
            predicate: meaning(&texts.predicate, false),
            contrary: meaning(&texts.predicate, true),
        }
    })
}

/// Where nothing has a name.
pub(super) struct Nowhere;

impl Lookup for Nowhere {
    fn port(&self, _: &str) -> Option<u32> {
        None
    }

    fn address_set(&self, _: &str) -> Option<Arc<[Int]>> {
        None
    }

    fn port_group(&self, _: &str) -> Option<Arc<[u32]>> {
        None
    }

    fn is_resident(&self, _: &str) -> bool {
        false
    }
}

/// The texts that come with a symbol, parsed.
pub(crate) struct Texts {
    /// What it stands for, if it is a predicate.
    pub predicate: Option<Expr>,
    /// What its use implies.
    pub prerequisites: Option<Expr>,
}

/// The parsed texts of a symbol.
pub(crate) fn texts(symbol: Symbol) -> &'static Texts {
    static TEXTS: OnceLock<Vec<Texts>> = OnceLock::new();
    let parse =
        |text: &str| Expr::parse(text).expect("a test parses all texts of the table of symbols");
    let all = TEXTS.get_or_init(|| {
        let texts = Symbol::ALL.iter().map(|symbol| Texts {
            predicate: match symbol.kind() {
                Kind::Predicate(text) => Some(parse(text)),
                _ => None,
            },
            prerequisites: match symbol.prerequisites() {
                "" => None,
                text => Some(parse(text)),
            },
        });
        texts.collect()
    });
    &all[symbol as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Level;

    #[test]
    fn all_texts_of_symbols_parse_and_none_is_circular() {
        fn depth(expr: &Expr, left: usize) {
            assert!(left > 0, "circular: {expr}");
            expr.comparisons(&mut |c| {
                let texts = texts(c.field.symbol());
                for inner in [&texts.predicate, &texts.prerequisites]
                    .into_iter()
                    .flatten()
                {
                    depth(inner, left - 1);
                }
            });
        }
        for symbol in Symbol::ALL {
            let texts = texts(*symbol);
            for expr in [&texts.predicate, &texts.prerequisites]
                .into_iter()
                .flatten()
            {
                depth(expr, 10);
            }
            let known = known(*symbol);
            let implies = known.prerequisites.is_some();
            assert_eq!(implies, texts.prerequisites.is_some(), "{symbol}");
            assert_eq!(known.predicate.is_some(), symbol.is_predicate(), "{symbol}");
            let negatable = symbol.level() == Level::Boolean;
            assert_eq!(known.contrary.is_some(), negatable, "{symbol}");
        }
    }
}
