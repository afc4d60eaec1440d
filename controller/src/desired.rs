//! The flows, groups and meters that the switch should have: content with a reference count, and what of it differs from what is
//! installed.
//!
//! Several units may want the same flow; it stays while one does. They may also want different actions for one match, which
//! is nobody's intention but can be written in a database: then the flow with the least digest is installed, whatever the
//! order of events. Flows whose actions are all `conjunction` are no such case: they are merged into one.
//!
//! Groups and meters are wanted by the flows that need them. They get their numbers here ([`numbered`]), are changed before the
//! flows that use them, and deleted after those.
//!
//! ```text
//!  units ──add, remove──▶ Desired ──changes()──▶ meters, one bundle of groups and flows, meters ──▶ switch
//!                            ▲                                                                        │
//!                            └──────────────────────── read back at start ◀───────────────────────────┘
//! ```

mod numbered;

use std::collections::BTreeSet;
use std::sync::Arc;

use openflow::Action;
use openflow::message::{
    FlowCommand, FlowDesc, FlowMod, Group, GroupCommand, GroupMod, Meter, MeterCommand, MeterMod,
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use self::numbered::{Change, Numbered};
use crate::flow::{Digest, Flow, FlowKey, Resource, digest, effect, mentions};
use crate::layout::is_learned;

/// The greatest number of a group (OpenFlow 1.5.1, section 7.2.4.2, `OFPG_MAX`).
const LAST_GROUP: u32 = 0xffff_ff00;
/// The greatest number of a meter (OpenFlow 1.5.1, section 7.3.4.5, `OFPM_MAX`).
const LAST_METER: u32 = 0xffff_0000;
/// The greatest `conj_id`.
const LAST_CONJUNCTION: u32 = u32::MAX;

/// The wanted flows, and what is known of the switch's.
#[derive(Debug)]
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
    groups: Numbered<Arc<Group>>,
    meters: Numbered<Meter>,
    /// Conjunctive matches have numbers only: there is nothing to install but the flows.
    conjunctions: Numbered<()>,
}

impl Default for Desired {
    fn default() -> Self {
        Desired {
            wanted: FxHashMap::default(),
            by_key: FxHashMap::default(),
            installed: FxHashMap::default(),
            dirty: FxHashSet::default(),
            refused: FxHashSet::default(),
            groups: Numbered::new(LAST_GROUP),
            meters: Numbered::new(LAST_METER),
            conjunctions: Numbered::new(LAST_CONJUNCTION),
        }
    }
}

/// What the switch has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its flows.
    pub flows: Vec<FlowDesc>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its meters.
    pub meters: Vec<Meter>,
}

/// What makes the switch what is wanted, in the order in which it has to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New and changed meters. Meters cannot be part of a bundle.
    pub meters: Vec<MeterMod>,
    /// New and changed groups.
    pub groups: Vec<GroupMod>,
    /// Flows.
    pub flows: Vec<(Arc<FlowKey>, FlowMod)>,
    /// Groups that no flow uses any more.
    pub groups_gone: Vec<GroupMod>,
    /// Meters that no flow uses any more.
    pub meters_gone: Vec<MeterMod>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.meters.len()
            + self.groups.len()
            + self.flows.len()
            + self.groups_gone.len()
            + self.meters_gone.len()
    }
}

/// What is installed for a key.
struct Winner {
    actions: Arc<[Action]>,
    cookie: u64,
}

impl Desired {
    /// Somebody wants a flow.
    pub fn add(&mut self, flow: Flow) {
        if let Some((_, count)) = self.wanted.get_mut(&flow.digest) {
            *count += 1;
            return;
        }
        let flow = self.acquire_needs(flow);
        self.by_key
            .entry(flow.key.clone())
            .or_default()
            .push(flow.digest);
        self.dirty.insert(flow.key.clone());
        self.wanted.insert(flow.digest, (flow, 1));
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
        self.release_needs(&flow);
        self.dirty.insert(flow.key);
    }

    /// Puts the switch's numbers into a flow.
    fn acquire_needs(&mut self, flow: Flow) -> Flow {
        if flow.needs.is_empty() {
            return flow;
        }
        let mut numbers: SmallVec<[(u32, u32); 4]> = SmallVec::new();
        for need in flow.needs.iter() {
            let content = (need.resource.name(), digest(&need.resource));
            let preferred = need.resource.preferred_number();
            let number = match &need.resource {
                Resource::Group(spec) => self.groups.acquire(content, preferred, |id| {
                    Arc::new(Group {
                        id,
                        ..(*spec.group).clone()
                    })
                }),
                Resource::Meter(spec) => self.meters.acquire(content, preferred, |id| Meter {
                    id,
                    packets: spec.packets,
                    rate: spec.rate,
                    burst: spec.burst,
                }),
                Resource::Conjunction(_) => self.conjunctions.acquire(content, preferred, drop),
            };
            numbers.push((need.placeholder, number));
        }
        flow.numbered(&|placeholder| {
            let known = numbers.iter().find(|(p, _)| *p == placeholder);
            known.map_or(placeholder, |(_, number)| *number)
        })
    }

    fn release_needs(&mut self, flow: &Flow) {
        for need in flow.needs.iter() {
            let content = (need.resource.name(), digest(&need.resource));
            match need.resource {
                Resource::Group(_) => self.groups.release(content),
                Resource::Meter(_) => self.meters.release(content),
                Resource::Conjunction(_) => self.conjunctions.release(content),
            }
        }
    }

    /// What the switch has, read back. What was known of it before is forgotten.
    ///
    /// What it refused it would refuse again: that is remembered.
    pub fn set_installed(&mut self, installed: Installed) {
        self.installed.clear();
        self.dirty.clear();
        let ours = installed.flows.into_iter();
        for flow in ours.filter(|flow| !is_learned(flow.table)) {
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
        let groups = installed.groups.into_iter();
        self.groups
            .set_installed(groups.map(|group| (group.id, Arc::new(group))));
        let meters = installed.meters.into_iter();
        self.meters
            .set_installed(meters.map(|meter| (meter.id, meter)));
    }

    /// The switch is gone, and with it what was known of it.
    pub fn forget_installed(&mut self) {
        self.installed.clear();
        self.dirty.clear();
        self.refused.clear();
        self.groups.forget_installed();
        self.meters.forget_installed();
    }

    /// Takes over what another knows of the switch.
    pub fn adopt_installed(&mut self, other: &mut Desired) {
        self.installed = std::mem::take(&mut other.installed);
        self.refused = std::mem::take(&mut other.refused);
        self.dirty.extend(self.installed.keys().cloned());
        self.dirty.extend(self.by_key.keys().cloned());
        self.groups.adopt_installed(&mut other.groups);
        self.meters.adopt_installed(&mut other.meters);
    }

    /// The switch refused the flow with this key as it is wanted now. Returns its cookie.
    pub fn refuse(&mut self, key: &FlowKey) -> Option<u64> {
        let digests = self.by_key.get(key)?;
        self.refused.extend(digests.iter().copied());
        let cookie = digests
            .first()
            .and_then(|d| self.wanted.get(d))
            .map(|(flow, _)| flow.cookie);
        // If it has another flow there, that differs from whatever will be wanted.
        if let Some(installed) = self.installed.get_mut(key) {
            *installed = Digest(0);
        }
        cookie
    }

    /// The switch refused a group. Flows that use it are not offered either.
    pub fn refuse_group(&mut self, number: u32) {
        self.groups.refuse(number);
    }

    /// The switch refused a meter. Flows whose meter it is are not offered either; what goes to the controller goes by the flow's
    /// spare meter, and without any only if the switch refuses that, too: such a switch has none.
    pub fn refuse_meter(&mut self, number: u32) {
        self.meters.refuse(number);
        let users = self.wanted.values().filter(|(flow, _)| {
            !flow.needs.is_empty()
                && (mentions(&flow.actions, number) || self.spare_meter(flow) == Some(number))
        });
        let keys: Vec<Arc<FlowKey>> = users.map(|(flow, _)| flow.key.clone()).collect();
        self.dirty.extend(keys);
    }

    /// Whether a flow does something that the switch refused.
    fn is_impossible(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| match action {
            Action::Group(n) => self.groups.is_refused(*n),
            Action::Meter(n) => self.meters.is_refused(*n),
            Action::Clone(inner) => self.is_impossible(inner),
            _ => false,
        })
    }

    /// The number of the meter that a flow has for the case that the switch refuses the one it names.
    fn spare_meter(&self, flow: &Flow) -> Option<u32> {
        let spare = flow.needs.iter().find(|need| need.is_spare)?;
        self.meters.number(spare.resource.name())
    }

    /// The actions of a flow, with its spare meter in the place of those that the switch refused.
    fn possible(&self, flow: &Flow) -> Arc<[Action]> {
        if flow.needs.is_empty() || !self.is_any_refused(&flow.actions) {
            return flow.actions.clone();
        }
        let spare = self.spare_meter(flow);
        let spare = spare.filter(|number| !self.meters.is_refused(*number));
        let mut actions = flow.actions.to_vec();
        self.replace_refused(&mut actions, spare);
        actions.into()
    }

    /// Whether something goes to the controller by a meter that the switch refused.
    fn is_any_refused(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| match action {
            Action::Controller(c) => c.meter_id.is_some_and(|n| self.meters.is_refused(n)),
            Action::Clone(inner) => self.is_any_refused(inner),
            _ => false,
        })
    }

    fn replace_refused(&self, actions: &mut [Action], spare: Option<u32>) {
        for action in actions {
            match action {
                Action::Controller(c) if c.meter_id.is_some_and(|n| self.meters.is_refused(n)) => {
                    c.meter_id = spare;
                }
                Action::Clone(inner) => self.replace_refused(inner, spare),
                _ => {}
            }
        }
    }

    /// Whether something has to be changed in the switch.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.groups.is_dirty() || self.meters.is_dirty()
    }

    /// The changes that make the switch what is wanted. They are taken for done: what fails is told by
    /// [`Desired::refuse`], or the switch is read again.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes {
            flows: self.flow_changes(),
            ..Changes::default()
        };
        for change in self.groups.changes() {
            match change {
                Change::Add(_, group) => changes
                    .groups
                    .push(group_mod(GroupCommand::Add, (*group).clone())),
                Change::Modify(_, group) => changes
                    .groups
                    .push(group_mod(GroupCommand::Modify, (*group).clone())),
                Change::Delete(id) => changes.groups_gone.push(GroupMod::delete(id)),
            }
        }
        for change in self.meters.changes() {
            match change {
                Change::Add(_, meter) => changes.meters.push(MeterMod {
                    command: MeterCommand::Add,
                    meter,
                }),
                Change::Modify(_, meter) => changes.meters.push(MeterMod {
                    command: MeterCommand::Modify,
                    meter,
                }),
                Change::Delete(id) => changes.meters_gone.push(MeterMod::delete(id)),
            }
        }
        changes
    }

    fn flow_changes(&mut self) -> Vec<(Arc<FlowKey>, FlowMod)> {
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

    /// The groups that are wanted, in the order of their numbers.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.wanted().map(|(_, group)| &**group).collect();
        groups.sort_unstable_by_key(|group| group.id);
        groups
    }

    /// The names and numbers of the meters that the southbound asks for. Walks all flows.
    pub fn meters(&self) -> BTreeSet<(Arc<str>, u32)> {
        let needs = self.wanted.values().flat_map(|(flow, _)| &*flow.needs);
        let meters = needs.filter_map(|need| match &need.resource {
            Resource::Meter(spec) if spec.is_asked_for => {
                let number = self.meters.number(need.resource.name())?;
                Some((spec.name.clone(), number))
            }
            _ => None,
        });
        meters.collect()
    }

    /// How many conjunctive matches have a number.
    pub fn conjunctions_len(&self) -> usize {
        self.conjunctions.wanted().count()
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
                .filter(|flow| flow.needs.is_empty() || !self.is_impossible(&flow.actions))
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
                actions: self.possible(flow),
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

fn group_mod(command: GroupCommand, group: Group) -> GroupMod {
    GroupMod { command, group }
}

fn is_conjunctive(flow: &Flow) -> bool {
    !flow.actions.is_empty()
        && flow
            .actions
            .iter()
            .all(|a| matches!(a, Action::Conjunction { .. }))
}

#[cfg(test)]
mod tests;
