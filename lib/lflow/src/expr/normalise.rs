//! From a tree to alternatives: each a cube, and further choices that multiply.
//!
//! A switch knows two ways to say "or": several flows, and conjunctive matches, where each of `n` dimensions has flows
//! of its own and a packet must meet one of each. The first is right for sums, the second for products: `a == {…} && b ==
//! {…}` with sets of 100 each needs 10,000 flows or 201. So normal form here is
//!
//! ```text
//! alternative or alternative or …       alternative := cube and (cube or cube …) and (cube or cube …) …
//! ```
//!
//! with the inner choices kept apart as long as they are independent:
//!
//! * what all members of a choice agree on moves to the cube beside it;
//! * members that contradict the cube go, a choice with an implied member goes as a whole;
//! * choices about the same single field are intersected;
//! * fields that others presuppose (`eth.type`, `ip.proto`, `icmp6.type`, `icmp6.code`) are never left to a choice: the
//!   alternatives are split by them. Otherwise a flow of another dimension could test `tcp.dst` without saying `tcp`.
//!
//! Work is bounded: more than [`MAX_CUBES`] cubes on the way are refused, and what is left out because another says it is found by
//! look-ups, not by comparing each with each.

use std::hash::BuildHasher as _;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::cube::{Cube, Term};
use super::tree::{Alternative, ResolveError, Resolved};
use crate::symbols::Base;

/// The most cubes that a match may need on its way to normal form.
pub const MAX_CUBES: usize = 1 << 20;

/// More kinds of masks than this in one choice, and members that others cover are no longer searched for.
const MAX_SIGNATURES: usize = 130;

/// Brings a match into normal form. No alternatives: no packet matches.
///
/// # Errors
/// [`ResolveError::TooComplex`] beyond [`MAX_CUBES`].
pub fn normalise(tree: &Resolved) -> Result<Vec<Alternative>, ResolveError> {
    Normaliser { cubes: 0 }.alternatives(tree)
}

type Outcome<T> = Result<T, ResolveError>;

struct Normaliser {
    /// Cubes made so far.
    cubes: usize,
}

impl Normaliser {
    fn spend(&mut self, cubes: usize) -> Outcome<()> {
        self.cubes = self.cubes.saturating_add(cubes);
        match self.cubes > MAX_CUBES {
            true => Err(ResolveError::TooComplex(MAX_CUBES)),
            false => Ok(()),
        }
    }

    fn alternatives(&mut self, tree: &Resolved) -> Outcome<Vec<Alternative>> {
        match tree {
            Resolved::Const(false) => Ok(Vec::new()),
            Resolved::Const(true) => Ok(vec![Alternative::default()]),
            Resolved::Term(term) => {
                self.spend(1)?;
                Ok(vec![plain(Cube::from(*term))])
            }
            Resolved::Known(alternatives) => {
                self.spend(alternatives.len())?;
                Ok(alternatives.to_vec())
            }
            Resolved::Or(members) => self.sum(members),
            Resolved::And(members) => self.product(members),
        }
    }

    fn sum(&mut self, members: &[Resolved]) -> Outcome<Vec<Alternative>> {
        if let [only] = members {
            return self.alternatives(only);
        }
        let mut cubes = Vec::with_capacity(members.len());
        let mut products = Vec::new();
        for member in members {
            for alternative in self.alternatives(member)? {
                if alternative.choices.is_empty() {
                    cubes.push(alternative.cube);
                } else {
                    products.push(alternative);
                }
            }
        }
        let cubes = tidy(cubes);
        if cubes.first().is_some_and(Cube::is_empty) {
            return Ok(vec![Alternative::default()]);
        }
        if !products.is_empty() {
            let mut known = Covers::default();
            for cube in &cubes {
                known.insert(cube);
            }
            products.retain(|product| !known.covers(&product.cube));
        }
        let mut sum: Vec<_> = cubes.into_iter().map(plain).collect();
        sum.extend(once_each(products));
        Ok(sum)
    }

    fn product(&mut self, members: &[Resolved]) -> Outcome<Vec<Alternative>> {
        let mut cube = Cube::default();
        let mut factors = Vec::new();
        for member in members {
            let mut alternatives = self.alternatives(member)?;
            match &mut alternatives[..] {
                [] => return Ok(Vec::new()),
                [certain] => {
                    let Some(both) = cube.and(&certain.cube) else {
                        return Ok(Vec::new());
                    };
                    cube = both;
                    let choices = std::mem::take(&mut certain.choices).into_iter();
                    factors.extend(choices.map(|choice| choice.into_iter().map(plain).collect()));
                }
                _ => factors.push(alternatives),
            }
        }
        if factors.is_empty() {
            return Ok(vec![plain(cube)]);
        }
        let mut results = Vec::new();
        self.multiply(cube, factors, &mut results)?;
        Ok(results)
    }

    /// Appends the product of `cube` and `factors` to `results`.
    fn multiply(
        &mut self,
        cube: Cube,
        factors: Vec<Vec<Alternative>>,
        results: &mut Vec<Alternative>,
    ) -> Outcome<()> {
        let mut open = vec![(cube, factors)];
        while let Some((cube, factors)) = open.pop() {
            let Some((cube, mut factors)) = self.settle(cube, factors)? else {
                continue;
            };
            let Some(at) = factors.iter().position(|factor| must_split(factor)) else {
                let choices = factors
                    .into_iter()
                    .map(|factor| factor.into_iter().map(|a| a.cube).collect());
                let choices = self.intersect_same_fields(choices.collect())?;
                self.finish(cube, choices, results)?;
                continue;
            };
            let split = factors.swap_remove(at);
            for (condition, rest) in groups(split) {
                let Some(cube) = cube.and(&condition) else {
                    continue;
                };
                self.spend(1 + factors.iter().map(Vec::len).sum::<usize>())?;
                let mut factors = factors.clone();
                factors.push(rest);
                open.push((cube, factors));
            }
        }
        Ok(())
    }

    /// Moves into the cube what is certain, until nothing is; nothing when no packet can match.
    fn settle(
        &mut self,
        mut cube: Cube,
        factors: Vec<Vec<Alternative>>,
    ) -> Outcome<Option<(Cube, Vec<Vec<Alternative>>)>> {
        let mut open = factors;
        loop {
            let mut kept: Vec<Vec<Alternative>> = Vec::with_capacity(open.len());
            let before = cube.clone();
            for factor in open {
                self.spend(factor.len())?;
                let possible = factor.into_iter().filter_map(|alternative| {
                    cube.and(&alternative.cube)?;
                    Some(Alternative {
                        cube: alternative.cube.without(&cube),
                        choices: alternative.choices,
                    })
                });
                let possible: Vec<_> = possible.collect();
                if possible
                    .iter()
                    .any(|a| a.cube.is_empty() && a.choices.is_empty())
                {
                    continue;
                }
                let common = common(&possible);
                match cube.and(&common) {
                    Some(both) => cube = both,
                    None => return Ok(None),
                }
                match possible.len() {
                    0 => return Ok(None),
                    1 => kept.extend(certain(possible, &cube)),
                    _ => kept.push(possible),
                }
            }
            if cube == before {
                return Ok(Some((cube, kept)));
            }
            open = kept;
        }
    }

    /// Makes one choice of those that are about the same field and nothing else.
    fn intersect_same_fields(&mut self, choices: Vec<Vec<Cube>>) -> Outcome<Vec<Vec<Cube>>> {
        let mut by_field: Vec<(Option<Base>, Vec<Cube>)> = Vec::new();
        for choice in choices {
            let field = only_field(&choice);
            let same = by_field
                .iter_mut()
                .find(|(other, _)| field.is_some() && *other == field);
            match same {
                None => by_field.push((field, choice)),
                Some((_, first)) => {
                    self.spend(first.len().saturating_mul(choice.len()))?;
                    let pairs = first
                        .iter()
                        .flat_map(|a| choice.iter().filter_map(|b| a.and(b)));
                    *first = tidy(pairs.collect());
                }
            }
        }
        Ok(by_field.into_iter().map(|(_, choice)| choice).collect())
    }

    /// Appends an alternative whose choices are independent; choices may by now have one member, or none.
    fn finish(
        &mut self,
        cube: Cube,
        choices: Vec<Vec<Cube>>,
        results: &mut Vec<Alternative>,
    ) -> Outcome<()> {
        if choices.iter().any(Vec::is_empty) {
            return Ok(());
        }
        let factors = choices
            .into_iter()
            .map(|choice| choice.into_iter().map(plain).collect());
        let Some((cube, factors)) = self.settle(cube, factors.collect())? else {
            return Ok(());
        };
        let choices = factors
            .into_iter()
            .map(|factor| factor.into_iter().map(|a| a.cube).collect());
        let choices: Vec<Vec<Cube>> = choices.collect();
        if let [members] = &choices[..] {
            // One choice is a sum: its members are alternatives of their own.
            self.spend(members.len())?;
            results.extend(
                members
                    .iter()
                    .filter_map(|member| cube.and(member))
                    .map(plain),
            );
        } else {
            results.push(Alternative { cube, choices });
        }
        Ok(())
    }
}

fn plain(cube: Cube) -> Alternative {
    Alternative {
        cube,
        choices: Vec::new(),
    }
}

/// The single alternative of a factor, as factors: its cube is in `cube` already, its choices remain.
fn certain(factor: Vec<Alternative>, cube: &Cube) -> Vec<Vec<Alternative>> {
    let choices = factor.into_iter().flat_map(|alternative| {
        debug_assert!(
            cube.implies(&alternative.cube),
            "the common part of one alternative is all of it"
        );
        alternative.choices
    });
    choices
        .map(|choice| choice.into_iter().map(plain).collect())
        .collect()
}

/// The terms that all alternatives have.
fn common(alternatives: &[Alternative]) -> Cube {
    let Some((first, others)) = alternatives.split_first() else {
        return Cube::default();
    };
    first.cube.filter(|term| {
        others
            .iter()
            .all(|other| other.cube.get(term.base) == Some(term))
    })
}

/// True for storage that other fields presuppose.
fn is_presupposed(base: Base) -> bool {
    matches!(
        base,
        Base::EthType | Base::IpProto | Base::Icmp6Type | Base::Icmp6Code
    )
}

/// True when alternatives must be told apart before they can be a choice.
fn must_split(factor: &[Alternative]) -> bool {
    factor.iter().any(|alternative| {
        !alternative.choices.is_empty()
            || alternative
                .cube
                .terms()
                .iter()
                .any(|term| is_presupposed(term.base))
    })
}

/// Splits alternatives by what they say about presupposed fields; those with choices are groups of their own.
fn groups(factor: Vec<Alternative>) -> Vec<(Cube, Vec<Alternative>)> {
    let mut found: Vec<(Cube, Vec<Alternative>)> = Vec::new();
    let mut index: FxHashMap<Cube, usize> = FxHashMap::default();
    for alternative in factor {
        if !alternative.choices.is_empty() {
            found.push((alternative.cube.clone(), vec![alternative]));
            continue;
        }
        let condition = alternative.cube.filter(|term| is_presupposed(term.base));
        let rest = plain(alternative.cube.filter(|term| !is_presupposed(term.base)));
        match index.get(&condition) {
            Some(at) => found[*at].1.push(rest),
            None => {
                index.insert(condition.clone(), found.len());
                found.push((condition, vec![rest]));
            }
        }
    }
    found
}

/// The one field that all cubes are about, if there is one.
fn only_field(choice: &[Cube]) -> Option<Base> {
    let base = |cube: &Cube| match cube.terms() {
        [term] => Some(term.base),
        _ => None,
    };
    let first = base(choice.first()?)?;
    choice
        .iter()
        .all(|cube| base(cube) == Some(first))
        .then_some(first)
}

/// Cubes by the bits that they test. Those with the same bits can only be equal, and a wider one has a subset of the bits: so whether one
/// covers another is a look-up for each set of bits, however many cubes there are.
#[derive(Default)]
struct Covers {
    by_bits: FxHashMap<Vec<(Base, u128)>, FxHashSet<Cube>>,
}

impl Covers {
    /// Adds a cube; false if it is there.
    fn insert(&mut self, cube: &Cube) -> bool {
        let bits = cube.terms().iter().map(|term| (term.base, term.mask));
        let same = self.by_bits.entry(bits.collect()).or_default();
        same.insert(cube.clone())
    }

    /// Whether there are so many sets of bits that nothing is looked for.
    fn is_confusing(&self) -> bool {
        self.by_bits.len() > MAX_SIGNATURES
    }

    /// Whether a cube is there that covers this one, or is equal.
    fn covers(&self, cube: &Cube) -> bool {
        !self.is_confusing() && self.wider(cube, |_| true)
    }

    /// Whether another cube is there that covers this one.
    fn another_covers(&self, cube: &Cube) -> bool {
        !self.is_confusing() && self.by_bits.len() > 1 && self.wider(cube, |other| other != cube)
    }

    fn wider(&self, cube: &Cube, counts: impl Fn(&Cube) -> bool) -> bool {
        self.by_bits.iter().any(|(bits, wider)| {
            let projection = project(cube, bits);
            projection.is_some_and(|other| counts(&other) && wider.contains(&other))
        })
    }
}

/// Leaves out cubes that another covers. Keeps the order of the rest.
fn tidy(cubes: Vec<Cube>) -> Vec<Cube> {
    if cubes.len() < 2 {
        return cubes;
    }
    let mut known = Covers::default();
    let mut distinct = cubes;
    distinct.retain(|cube| known.insert(cube));
    distinct.retain(|cube| !known.another_covers(cube));
    distinct
}

/// Leaves out what is there before. Compares only what has the same hash.
fn once_each(products: Vec<Alternative>) -> Vec<Alternative> {
    let mut kept: Vec<Alternative> = Vec::with_capacity(products.len());
    let mut by_hash: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    for product in products {
        let same = by_hash.entry(FxBuildHasher.hash_one(&product)).or_default();
        if !same.iter().any(|at| kept[*at] == product) {
            same.push(kept.len());
            kept.push(product);
        }
    }
    kept
}

/// What a cube says about some bits, if it speaks of all of them.
fn project(cube: &Cube, bits: &[(Base, u128)]) -> Option<Cube> {
    let mut projection = Cube::default();
    for (base, mask) in bits {
        let term = cube.get(*base).filter(|term| term.mask & mask == *mask)?;
        let narrowed = Term {
            base: *base,
            mask: *mask,
            value: term.value & mask,
        };
        if !projection.constrain(narrowed) {
            return None;
        }
    }
    Some(projection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expr;
    use crate::expr::resolve::{Nowhere, resolve};

    fn alternatives(text: &str) -> Vec<Alternative> {
        let expr = Expr::parse(text).expect("a match");
        let resolved = resolve(&expr, &Nowhere).expect("no names");
        normalise(&resolved).expect("small")
    }

    #[test]
    fn products_that_others_say_are_left_out() {
        let product = "(ip4.src == {10.0.0.1, 10.0.0.2} && tcp.dst == {1, 2, 5})";
        for (text, cubes, products) in [
            (format!("{product} || {product}"), 0, 1),
            (
                format!("{product} || ip4.dst == 10.0.0.9 || {product}"),
                1,
                1,
            ),
            (format!("{product} || tcp || {product}"), 2, 0),
            (format!("{product} || ip4 || ip4.dst == 10.0.0.9"), 1, 0),
        ] {
            let all = alternatives(&text);
            let count = all.iter().filter(|of| of.choices.is_empty()).count();
            assert_eq!((count, all.len() - count), (cubes, products), "{text}");
        }
    }

    /// A sum of so many products and cubes would be 300 million comparisons of each with each.
    #[test]
    fn a_large_sum_is_no_work_of_hours() {
        let products = (0..3_000).map(|number| {
            let ip = std::net::Ipv4Addr::from_bits(0x0b00_0000 + 2 * number);
            let next = std::net::Ipv4Addr::from_bits(0x0b00_0001 + 2 * number);
            format!("(ip4.src == {{{ip}, {next}}} && tcp.dst == {{1, 2}})")
        });
        let addresses = (0..50_000).map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        let addresses: Vec<String> = addresses.map(|ip| ip.to_string()).collect();
        let set = format!("ip4.src == {{{}}}", addresses.join(", "));
        let terms: Vec<String> = products.chain([set]).collect();
        let all = alternatives(&terms.join(" || "));
        assert_eq!(all.len(), 53_000);
    }
}
