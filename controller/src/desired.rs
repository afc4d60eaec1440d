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

use std::sync::Arc;

use openflow::Action;
use openflow::message::{
    FlowCommand, FlowDesc, FlowMod, Group, GroupCommand, GroupMod, Meter, MeterCommand, MeterMod,
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use self::numbered::{Change, Numbered};
use crate::flow::{Digest, Flow, FlowKey, Need, Resource, digest, effect};

/// The greatest number of a group (OpenFlow 1.5.1, section 7.2.4.2, `OFPG_MAX`).
const LAST_GROUP: u32 = 0xffff_ff00;
/// The greatest number of a meter that is used here; the switch takes more, but numbers are read by people, too.
const LAST_METER: u32 = 0xffff;
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
            let (content, preferred) = (digest(&need.resource), need.resource.preferred_number());
            let number = match &need.resource {
                Resource::Group(group) => self.groups.acquire(content, preferred, |id| {
                    Arc::new(Group {
                        id,
                        ..(**group).clone()
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
            let content = digest(&need.resource);
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
        for flow in installed.flows {
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
        self.installed.remove(key);
        cookie
    }

    /// The switch refused a group. Flows that use it are not offered either.
    pub fn refuse_group(&mut self, number: u32) {
        self.groups.refuse(number);
        self.refuse_dependents();
    }

    /// The switch refused a meter. Flows that use it are not offered either.
    pub fn refuse_meter(&mut self, number: u32) {
        self.meters.refuse(number);
        self.refuse_dependents();
    }

    fn refuse_dependents(&mut self) {
        let lacks = |need: &Need| {
            let content = digest(&need.resource);
            match need.resource {
                Resource::Group(_) => self
                    .groups
                    .number(content)
                    .is_some_and(|n| self.groups.is_refused(n)),
                Resource::Meter(_) => self
                    .meters
                    .number(content)
                    .is_some_and(|n| self.meters.is_refused(n)),
                Resource::Conjunction(_) => false,
            }
        };
        let dependents = self
            .wanted
            .iter()
            .filter(|(_, (flow, _))| flow.needs.iter().any(lacks));
        let dependents: Vec<Digest> = dependents.map(|(digest, _)| *digest).collect();
        self.refused.extend(dependents);
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

    fn installed(flows: impl IntoIterator<Item = FlowDesc>) -> Installed {
        Installed {
            flows: flows.into_iter().collect(),
            ..Installed::default()
        }
    }

    fn commands(desired: &mut Desired) -> Vec<(FlowCommand, Vec<Action>)> {
        desired
            .changes()
            .flows
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
        desired.set_installed(installed([desc(&same), changed, desc(&extra)]));
        assert_eq!(
            commands(&mut desired),
            [
                (FlowCommand::Add, vec![Action::CtClear]),
                (FlowCommand::DeleteStrict, vec![])
            ]
        );
        desired.set_installed(installed([desc(&same), desc(&other)]));
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

    fn meter(name: &str) -> Resource {
        Resource::Meter(crate::flow::MeterSpec {
            name: name.into(),
            packets: true,
            rate: 10,
            burst: 5,
        })
    }

    fn group(weight: u16) -> Resource {
        Resource::Group(Arc::new(Group {
            id: 0,
            kind: openflow::message::GroupKind::Select,
            buckets: vec![openflow::message::Bucket {
                id: 0,
                weight: Some(weight),
                actions: vec![Action::resubmit(9)],
            }],
            selection: None,
        }))
    }

    fn needy(reg: u8, resources: Vec<Resource>) -> Flow {
        let mut actions = Vec::new();
        let mut needs = Vec::new();
        for (placeholder, resource) in (1..).zip(resources) {
            actions.push(match resource {
                Resource::Group(_) => Action::Group(placeholder),
                _ => Action::Meter(placeholder),
            });
            needs.push(Need {
                placeholder,
                resource,
            });
        }
        let matches = Match::new().with(Field::Reg0, reg);
        Flow::with_needs(8, 100, matches, actions, 7, needs)
    }

    #[test]
    fn groups_and_meters_come_before_their_flows_and_go_after_them() {
        let mut desired = Desired::default();
        let first = needy(1, vec![group(1), meter("a")]);
        let second = needy(2, vec![group(1), meter("b")]);
        desired.add(first.clone());
        desired.add(second.clone());
        let changes = desired.changes();
        assert_eq!(
            (
                changes.meters.len(),
                changes.groups.len(),
                changes.flows.len()
            ),
            (2, 1, 2)
        );
        assert_ne!(changes.meters[0].meter.id, changes.meters[1].meter.id);
        let number = changes.groups[0].group.id;
        for (_, flow) in &changes.flows {
            assert_eq!(flow.actions[0], Action::Group(number));
        }
        desired.remove(first.digest);
        let changes = desired.changes();
        assert_eq!(
            (changes.groups_gone.len(), changes.meters_gone.len()),
            (0, 1)
        );
        desired.remove(second.digest);
        let changes = desired.changes();
        assert_eq!(
            (changes.groups_gone.len(), changes.meters_gone.len()),
            (1, 1)
        );
    }

    #[test]
    fn what_was_read_back_is_what_was_made() {
        let flow = needy(1, vec![group(1), meter("a")]);
        let mut desired = Desired::default();
        desired.add(flow.clone());
        let made = desired.changes();
        let mut again = Desired::default();
        again.add(flow);
        let (key, flow) = &made.flows[0];
        again.set_installed(Installed {
            flows: vec![FlowDesc {
                table: key.table,
                priority: key.priority,
                cookie: flow.cookie,
                idle_timeout: 0,
                hard_timeout: 0,
                flags: FlowFlags::default(),
                matches: key.matches.clone(),
                actions: flow.actions.clone(),
            }],
            groups: vec![made.groups[0].group.clone()],
            meters: vec![made.meters[0].meter],
        });
        assert_eq!(again.changes(), Changes::default());
    }

    #[test]
    fn a_refused_group_takes_its_flows_with_it() {
        let mut desired = Desired::default();
        desired.add(needy(1, vec![group(1)]));
        let plain = flow(2, vec![]);
        desired.add(plain);
        let number = desired.changes().groups[0].group.id;
        desired.refuse_group(number);
        // It has taken nothing of the bundle, and is read again.
        desired.set_installed(Installed::default());
        let changes = desired.changes();
        assert_eq!((changes.groups.len(), changes.flows.len()), (0, 1));
    }
}
