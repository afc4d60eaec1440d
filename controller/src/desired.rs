//! The flows that the switch should have: content with a reference count, and what of it differs from what is installed.
//!
//! Several units may want the same flow; it stays while one does. They may also want different actions for one match, which
//! is nobody's intention but can be written in a database: then the flow with the least digest is installed, whatever the
//! order of events. Flows whose actions are all `conjunction` are no such case: they are merged into one.
//!
//! ```text
//!  units ──add, remove──▶ Desired ──changes()──▶ flow mods in one bundle ──▶ switch
//!                            ▲                                                │
//!                            └────────────── read back at start ◀─────────────┘
//! ```

use std::sync::Arc;

use openflow::Action;
use openflow::message::{FlowCommand, FlowDesc, FlowMod};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::flow::{Digest, Flow, FlowKey, effect};

/// The wanted flows, and what is known of the switch's.
#[derive(Debug, Default)]
pub struct Desired {
    /// Every wanted flow by content, with the number of those who want it.
    wanted: FxHashMap<Digest, (Flow, u32)>,
    /// The wanted flows of each key; mostly one.
    by_key: FxHashMap<Arc<FlowKey>, SmallVec<[Digest; 1]>>,
    /// The flows of the switch, by key, with the digest of actions and cookie.
    installed: FxHashMap<Arc<FlowKey>, Digest>,
    /// Keys for which wanted and installed may differ.
    dirty: FxHashSet<Arc<FlowKey>>,
    /// Flows that the switch refused. They are not offered again until they change or the switch restarts.
    refused: FxHashSet<Digest>,
}

/// What is installed for a key.
struct Winner {
    actions: Arc<[Action]>,
    cookie: u64,
}

impl Desired {
    /// Somebody wants a flow.
    pub fn add(&mut self, flow: Flow) {
        let held = self.wanted.entry(flow.digest);
        let entry = held.or_insert_with(|| (flow.clone(), 0));
        entry.1 += 1;
        if entry.1 == 1 {
            self.by_key
                .entry(flow.key.clone())
                .or_default()
                .push(flow.digest);
            self.dirty.insert(flow.key);
        }
    }

    /// Somebody who wanted a flow does no longer.
    pub fn remove(&mut self, digest: Digest) {
        let Some(entry) = self.wanted.get_mut(&digest) else {
            return;
        };
        entry.1 -= 1;
        if entry.1 > 0 {
            return;
        }
        let Some((flow, _)) = self.wanted.remove(&digest) else {
            return;
        };
        if let Some(digests) = self.by_key.get_mut(&flow.key) {
            digests.retain(|d| *d != digest);
            if digests.is_empty() {
                self.by_key.remove(&flow.key);
            }
        }
        self.refused.remove(&digest);
        self.dirty.insert(flow.key);
    }

    /// What the switch has, read back. What was known of it before is forgotten.
    pub fn set_installed(&mut self, flows: impl IntoIterator<Item = FlowDesc>) {
        self.forget_installed();
        for flow in flows {
            let key = Arc::new(FlowKey {
                table: flow.table,
                priority: flow.priority,
                matches: flow.matches,
            });
            // A flow with a timeout is not one that we would install: it is replaced.
            let ours = flow.idle_timeout == 0 && flow.hard_timeout == 0;
            let digest = if ours {
                effect(&flow.actions, flow.cookie)
            } else {
                Digest(0)
            };
            self.dirty.insert(key.clone());
            self.installed.insert(key, digest);
        }
        self.dirty.extend(self.by_key.keys().cloned());
    }

    /// The switch is gone, and with it what was known of it.
    pub fn forget_installed(&mut self) {
        self.installed.clear();
        self.dirty.clear();
        self.refused.clear();
    }

    /// Takes over what another knows of the switch.
    pub fn adopt_installed(&mut self, other: &mut Desired) {
        self.installed = std::mem::take(&mut other.installed);
        self.refused = std::mem::take(&mut other.refused);
        self.dirty.extend(self.installed.keys().cloned());
        self.dirty.extend(self.by_key.keys().cloned());
    }

    /// The switch refused the flow with this key as it is wanted now. Returns its cookie.
    pub fn refuse(&mut self, key: &FlowKey) -> Option<u64> {
        let digests = self.by_key.get(key)?;
        self.refused.extend(digests.iter().copied());
        let cookie = digests
            .first()
            .and_then(|d| self.wanted.get(d))
            .map(|(flow, _)| flow.cookie);
        self.installed.remove(key);
        cookie
    }

    /// Whether something has to be changed in the switch.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The changes that make the switch what is wanted. They are taken for done: what fails is told by
    /// [`Desired::refuse`], or the switch is read again.
    pub fn changes(&mut self) -> Vec<(Arc<FlowKey>, FlowMod)> {
        let mut mods = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            match self.winner(&key) {
                Some(winner) => {
                    let digest = effect(&winner.actions, winner.cookie);
                    if self.installed.get(&key) != Some(&digest) {
                        self.installed.insert(key.clone(), digest);
                        let actions = winner.actions.to_vec();
                        let add = FlowMod::add(
                            key.table,
                            key.priority,
                            key.matches.clone(),
                            actions,
                            winner.cookie,
                        );
                        mods.push((key, add));
                    }
                }
                None => {
                    if self.installed.remove(&key).is_some() {
                        let delete =
                            FlowMod::delete_strict(key.table, key.priority, key.matches.clone());
                        mods.push((key, delete));
                    }
                }
            }
        }
        // Deletions last: within one bundle the order does not show, but without one nothing is missing in between.
        mods.sort_by_key(|(_, m)| m.command != FlowCommand::Add);
        mods
    }

    /// How many flows are wanted, by content.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// How many flows the switch has, as far as is known.
    pub fn installed_len(&self) -> usize {
        self.installed.len()
    }

    /// Every wanted flow's digest with its number of holders, for comparison with a computation from scratch.
    pub fn contents(&self) -> impl Iterator<Item = (Digest, u32)> + '_ {
        self.wanted
            .iter()
            .map(|(digest, (_, count))| (*digest, *count))
    }

    fn winner(&self, key: &FlowKey) -> Option<Winner> {
        let flows = || {
            let digests = self.by_key.get(key).into_iter().flatten();
            digests
                .filter(|d| !self.refused.contains(d))
                .filter_map(|d| self.wanted.get(d))
                .map(|(flow, _)| flow)
        };
        let mut clauses: Vec<Action> = Vec::new();
        for flow in flows().filter(|flow| is_conjunctive(flow)) {
            clauses.extend(flow.actions.iter().cloned());
        }
        // A flow with actions of its own is complete by itself, and decides over the same match in pieces.
        if let Some(flow) = flows()
            .filter(|flow| !is_conjunctive(flow))
            .min_by_key(|flow| flow.digest)
        {
            return Some(Winner {
                actions: flow.actions.clone(),
                cookie: flow.cookie,
            });
        }
        if clauses.is_empty() {
            return None;
        }
        clauses.sort();
        clauses.dedup();
        Some(Winner {
            actions: clauses.into(),
            cookie: 0,
        })
    }
}

fn is_conjunctive(flow: &Flow) -> bool {
    !flow.actions.is_empty()
        && flow
            .actions
            .iter()
            .all(|a| matches!(a, Action::Conjunction { .. }))
}

#[cfg(test)]
mod tests {
    use openflow::message::FlowFlags;
    use openflow::{Field, Match};

    use super::*;

    fn flow(reg: u8, actions: Vec<Action>) -> Flow {
        Flow::new(8, 100, Match::new().with(Field::Reg0, reg), actions, 7)
    }

    fn desc(flow: &Flow) -> FlowDesc {
        FlowDesc {
            table: flow.key.table,
            priority: flow.key.priority,
            cookie: flow.cookie,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::default(),
            matches: flow.key.matches.clone(),
            actions: flow.actions.to_vec(),
        }
    }

    fn commands(desired: &mut Desired) -> Vec<(FlowCommand, Vec<Action>)> {
        desired
            .changes()
            .into_iter()
            .map(|(_, m)| (m.command, m.actions))
            .collect()
    }

    #[test]
    fn a_flow_stays_while_somebody_wants_it() {
        let mut desired = Desired::default();
        let f = flow(1, vec![Action::resubmit(9)]);
        desired.add(f.clone());
        desired.add(f.clone());
        assert_eq!(
            commands(&mut desired),
            [(FlowCommand::Add, f.actions.to_vec())]
        );
        desired.remove(f.digest);
        assert_eq!(commands(&mut desired), []);
        desired.remove(f.digest);
        assert_eq!(
            commands(&mut desired),
            [(FlowCommand::DeleteStrict, vec![])]
        );
        desired.add(f.clone());
        desired.remove(f.digest);
        assert_eq!(commands(&mut desired), []);
    }

    #[test]
    fn a_restart_changes_what_differs_and_nothing_else() {
        let (same, other, extra) = (
            flow(1, vec![Action::resubmit(9)]),
            flow(2, vec![Action::CtClear]),
            flow(3, vec![]),
        );
        let mut desired = Desired::default();
        desired.add(same.clone());
        desired.add(other.clone());
        let mut changed = desc(&other);
        changed.actions = vec![];
        desired.set_installed([desc(&same), changed, desc(&extra)]);
        assert_eq!(
            commands(&mut desired),
            [
                (FlowCommand::Add, vec![Action::CtClear]),
                (FlowCommand::DeleteStrict, vec![])
            ]
        );
        desired.set_installed([desc(&same), desc(&other)]);
        assert_eq!(commands(&mut desired), []);
    }

    #[test]
    fn clauses_are_merged_and_conflicts_decided_whatever_the_order() {
        let clause = |id| {
            flow(
                1,
                vec![Action::Conjunction {
                    id,
                    clause: 0,
                    n_clauses: 2,
                }],
            )
        };
        let whole = [
            flow(2, vec![Action::CtClear]),
            flow(2, vec![Action::resubmit(9)]),
        ];
        let run = |order: [usize; 4]| {
            let all = [clause(1), clause(2), whole[0].clone(), whole[1].clone()];
            let mut desired = Desired::default();
            order.iter().for_each(|&i| desired.add(all[i].clone()));
            let mut result = commands(&mut desired);
            result.sort_by_key(|(_, actions)| actions.len());
            result
        };
        let first = run([0, 1, 2, 3]);
        assert_eq!(first[1].1.len(), 2);
        assert_eq!(first.len(), 2);
        assert_eq!(first, run([3, 2, 1, 0]));
    }

    #[test]
    fn a_refused_flow_is_not_offered_again_until_it_changes() {
        let mut desired = Desired::default();
        let f = flow(1, vec![Action::resubmit(9)]);
        desired.add(f.clone());
        assert_eq!(commands(&mut desired).len(), 1);
        assert_eq!(desired.refuse(&f.key), Some(7));
        desired.add(flow(2, vec![]));
        assert_eq!(commands(&mut desired), [(FlowCommand::Add, vec![])]);
        desired.remove(f.digest);
        desired.add(f);
        assert_eq!(commands(&mut desired).len(), 1);
    }
}
