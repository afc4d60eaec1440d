//! From normal form to matches of OpenFlow.
//!
//! An alternative without choices is one flow. One with choices is either multiplied out or made a *conjunctive match*
//! (ovs-fields(7), "Conjunctive match fields"), whichever needs fewer flows: for each member of choice `k` of `n` a flow
//! whose action is `conjunction(id, k/n)`, and one flow that matches `conj_id=id` and has the real actions.
//!
//! Flows with conjunction actions may have equal matches, within one logical flow and between several of equal priority.
//! Here those of one logical flow are merged; who installs flows merges the rest.

use openflow::{Field as OfField, Match};
use rustc_hash::FxHashMap;

use crate::expr::{Alternative, Cube};

/// The most dimensions of a conjunctive match.
const MAX_DIMENSIONS: usize = 64;

/// A match of OpenFlow and its part in the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMatch {
    /// The match.
    pub matches: Match,
    /// What the flow does.
    pub role: Role,
}

/// What a flow does for its logical flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the actions of the logical flow.
    Actions,
    /// It says that these dimensions are met.
    Clauses(Vec<Clause>),
}

/// `conjunction(id, k/n)`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// The conjunctive match.
    pub id: u32,
    /// Which dimension, from 0.
    pub k: u8,
    /// Of how many, at least 2.
    pub n: u8,
}

/// Makes the flows of a match in normal form.
///
/// Conjunctive matches get the ids `first_id`, `first_id + 1`, …; [`conjunctions`] says how many. Ids must differ
/// between all flows of a table.
pub fn flows(alternatives: &[Alternative], first_id: u32) -> Vec<FlowMatch> {
    let mut flows = Vec::new();
    let mut clauses: FxHashMap<Match, usize> = FxHashMap::default();
    let mut id = first_id;
    for alternative in alternatives {
        if !is_conjunctive(alternative) {
            flows.extend(multiplied(alternative).into_iter().map(|cube| FlowMatch {
                matches: to_match(&cube),
                role: Role::Actions,
            }));
            continue;
        }
        let n = u8::try_from(alternative.choices.len())
            .expect("at most 64 dimensions are made conjunctive");
        for (k, choice) in (0..n).zip(&alternative.choices) {
            let clause = Clause { id, k, n };
            for cube in choice
                .iter()
                .filter_map(|member| alternative.cube.and(member))
            {
                add_clause(&mut flows, &mut clauses, to_match(&cube), clause);
            }
        }
        flows.push(FlowMatch {
            matches: to_match(&alternative.cube).with(OfField::ConjId, id),
            role: Role::Actions,
        });
        id = id.wrapping_add(1);
    }
    flows
}

/// How many conjunctive matches [`flows`] makes of this.
pub fn conjunctions(alternatives: &[Alternative]) -> usize {
    alternatives
        .iter()
        .filter(|alternative| is_conjunctive(alternative))
        .count()
}

/// The match that a cube is.
pub fn to_match(cube: &Cube) -> Match {
    let mut matches = Match::new();
    for term in cube.terms() {
        matches.set_masked(term.base.openflow(), term.value, term.mask);
    }
    matches
}

fn add_clause(
    flows: &mut Vec<FlowMatch>,
    known: &mut FxHashMap<Match, usize>,
    matches: Match,
    clause: Clause,
) {
    if let Some(at) = known.get(&matches)
        && let Role::Clauses(clauses) = &mut flows[*at].role
    {
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
        return;
    }
    known.insert(matches.clone(), flows.len());
    flows.push(FlowMatch {
        matches,
        role: Role::Clauses(vec![clause]),
    });
}

/// True when a conjunctive match needs fewer flows than the product.
fn is_conjunctive(alternative: &Alternative) -> bool {
    let sizes = || alternative.choices.iter().map(Vec::len);
    let dimensions = sizes().count();
    let product = sizes().fold(1usize, usize::saturating_mul);
    (2..=MAX_DIMENSIONS).contains(&dimensions) && product > sizes().sum::<usize>() + 1
}

/// The cubes of the product.
fn multiplied(alternative: &Alternative) -> Vec<Cube> {
    let mut cubes = vec![alternative.cube.clone()];
    for choice in &alternative.choices {
        let pairs = cubes
            .iter()
            .flat_map(|cube| choice.iter().filter_map(|member| cube.and(member)));
        cubes = pairs.collect();
    }
    cubes
}
