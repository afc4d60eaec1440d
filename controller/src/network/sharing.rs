//! Which datapaths share flows: bits of `metadata` above the datapath's key.
//!
//! A flow of a datapath group is the same in every datapath of the group, but for the key in its match. So that it need not be
//! installed once for each, a packet carries beside its datapath's key a bit for each of the groups that its datapath is in, and
//! the flow matches the bit.
//!
//! ```text
//!  metadata  63                 48 47                             24 23                    0
//!            ├── port groups, 16 ─┤── bits of datapath groups, 24 ──┤── datapath key ──────┤
//! ```
//!
//! **A class** is what a bit stands for: the local members of a group that are switches, or those that are routers. Groups with
//! the same local members share a class. The classes with the most flows × members have the bits.
//!
//! **A bit moves rarely.** A class keeps its bit while it lives; when a datapath joins or leaves, all groups of a class become
//! those of another, which inherits the bit. Only a class that would spare more than twice as many flows takes another's bit.
//! What a bit stands for is not told by anything but flows; a change of it and of all flows with it is one bundle.
//!
//! **After a restart** the bits are those of before: the flows that load them are read back ([`Network::recall_bits`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ovsdb::Uuid;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Changes, Network};
use crate::layout::{FIRST_GROUP_BIT, GROUP_BITS};

/// What a bit stands for: some local datapaths of one kind, ascending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class {
    is_router: bool,
    members: Arc<[Uuid]>,
}

/// What is known of a class.
#[derive(Clone, Debug, Default)]
struct State {
    groups: BTreeSet<Uuid>,
    /// The flows of its groups.
    flows: u64,
    bit: Option<u8>,
}

/// The keys of the datapaths that each bit stands for, ascending: what can be read from a switch.
pub type BitsByKeys = BTreeMap<Vec<u32>, u8>;

/// All that has to be remembered over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// Bits of datapath groups.
    pub datapaths: BitsByKeys,
    /// Bits of address sets and port groups.
    pub names: super::BitsByNames,
}

/// A bit, and the datapaths that it stands for.
pub(crate) type SharedBit = (u8, Arc<[Uuid]>);

/// The classes and their bits.
#[derive(Debug)]
pub(crate) struct Sharing {
    is_on: bool,
    /// How many flows each group has.
    flows_of: FxHashMap<Uuid, u64>,
    classes: BTreeMap<Class, State>,
    class_of: FxHashMap<(Uuid, bool), Class>,
    /// Groups whose members or flows changed.
    dirty: FxHashSet<Uuid>,
    /// Bits that nobody has, those that were free for longest first: a packet that waits at the controller may still carry one.
    free: VecDeque<u8>,
    remembered: BitsByKeys,
}

impl Default for Sharing {
    fn default() -> Self {
        Sharing {
            is_on: false,
            flows_of: FxHashMap::default(),
            classes: BTreeMap::new(),
            class_of: FxHashMap::default(),
            dirty: FxHashSet::default(),
            free: (0..GROUP_BITS).map(|n| FIRST_GROUP_BIT + n).collect(),
            remembered: BitsByKeys::new(),
        }
    }
}

impl Sharing {
    /// A group has one flow more.
    pub(super) fn flow_added(&mut self, group: Uuid) {
        *self.flows_of.entry(group).or_default() += 1;
        self.dirty.insert(group);
    }

    /// A group has one flow less.
    pub(super) fn flow_removed(&mut self, group: Uuid) {
        if let Some(flows) = self.flows_of.get_mut(&group) {
            *flows -= 1;
            if *flows == 0 {
                self.flows_of.remove(&group);
            }
        }
        self.dirty.insert(group);
    }

    /// A group has other local members, or one of them is of another kind.
    pub(super) fn members_changed(&mut self, group: Uuid) {
        self.dirty.insert(group);
    }

    /// Flows are shared, or not.
    pub(super) fn switch(&mut self, on: bool) {
        if self.is_on != on {
            self.is_on = on;
            self.dirty.extend(self.flows_of.keys().copied());
        }
    }

    /// Puts a group into the class of its members. Returns the class that it left, if it did.
    fn classify(&mut self, group: Uuid, is_router: bool, members: Vec<Uuid>) -> Option<Class> {
        let flows = self.flows_of.get(&group).copied().unwrap_or_default();
        let now = (self.is_on && members.len() > 1 && flows > 0).then(|| Class {
            is_router,
            members: members.into(),
        });
        let key = (group, is_router);
        let before = match &now {
            Some(class) => self.class_of.insert(key, class.clone()),
            None => self.class_of.remove(&key),
        };
        if let Some(class) = &before
            && let Some(state) = self.classes.get_mut(class)
        {
            state.groups.remove(&group);
        }
        if let Some(class) = &now {
            let state = self.classes.entry(class.clone()).or_default();
            state.groups.insert(group);
        }
        for class in before.iter().chain(&now) {
            self.count(class);
        }
        before.filter(|class| now.as_ref() != Some(class))
    }

    fn count(&mut self, class: &Class) {
        if let Some(state) = self.classes.get_mut(class) {
            let flows = state.groups.iter().filter_map(|g| self.flows_of.get(g));
            state.flows = flows.sum();
        }
    }
}

fn weight(class: &Class, state: &State) -> u64 {
    state
        .flows
        .saturating_mul(u64::try_from(class.members.len()).unwrap_or(u64::MAX))
}

impl Network {
    /// Reads the bits from what a switch has: for each bit, the datapaths that load it.
    pub fn recall_bits(&mut self, changes: &mut Changes, bits: Bits) {
        let taken: Vec<Class> = self.sharing.classes.keys().cloned().collect();
        for class in taken {
            self.take_bit(&class, changes);
        }
        self.sharing.remembered = bits.datapaths;
        self.sharing
            .dirty
            .extend(self.sharing.flows_of.keys().copied());
        self.recall_names(changes, bits.names);
    }

    /// What was read has been taken up, as far as it could be.
    pub fn forget_recalled_bits(&mut self) {
        self.sharing.remembered.clear();
        self.forget_names();
    }

    /// What [`Network::recall_bits`] makes the same again.
    pub fn bits(&self) -> Bits {
        let classes = self.sharing.classes.iter();
        let datapaths = classes
            .filter_map(|(class, state)| Some((self.keys(class), state.bit?)))
            .collect();
        Bits {
            datapaths,
            names: self.bits_by_names(),
        }
    }

    /// What `metadata` is for packets of a datapath: its key, and the bits of its groups. `None` when it is not known.
    pub fn metadata(&self, datapath: Uuid) -> Option<u64> {
        let key = self.datapaths.peek(datapath)?.key;
        Some(u64::from(key) | self.bits_of.peek(datapath).copied().unwrap_or_default())
    }

    /// Brings classes and bits up to date.
    pub(crate) fn settle_sharing(&mut self, changes: &mut Changes) {
        let dirty = std::mem::take(&mut self.sharing.dirty);
        if dirty.is_empty() {
            return;
        }
        let mut left: BTreeMap<Class, BTreeSet<Class>> = BTreeMap::new();
        let mut dirty: Vec<Uuid> = dirty.into_iter().collect();
        dirty.sort_unstable();
        for group in &dirty {
            for is_router in [false, true] {
                let members = self.members_of_kind(*group, is_router);
                if let Some(before) = self.sharing.classify(*group, is_router, members) {
                    let now = self.sharing.class_of.get(&(*group, is_router)).cloned();
                    left.entry(before).or_default().extend(now);
                }
            }
        }
        self.inherit(&left, changes);
        self.distribute(changes);
        for group in dirty {
            for is_router in [false, true] {
                self.tell_group(group, is_router, changes);
            }
        }
    }

    fn members_of_kind(&self, group: Uuid, is_router: bool) -> Vec<Uuid> {
        let members = self.local_members.peek(group).into_iter();
        let members = members.flat_map(|members| members.iter().copied());
        let mut members: Vec<Uuid> = members
            .filter(|uuid| {
                let datapath = self.datapaths.peek(*uuid);
                datapath.is_some_and(|datapath| datapath.is_router == is_router)
            })
            .collect();
        members.sort_unstable();
        members
    }

    /// Classes without groups are gone; what became of them has their bits.
    fn inherit(&mut self, left: &BTreeMap<Class, BTreeSet<Class>>, changes: &mut Changes) {
        for (class, heirs) in left {
            let is_gone = self.sharing.classes.get(class);
            if !is_gone.is_some_and(|state| state.groups.is_empty()) {
                continue;
            }
            let bit = self.take_bit(class, changes);
            self.sharing.classes.remove(class);
            let Some(bit) = bit else { continue };
            let heir = heirs
                .iter()
                .filter_map(|heir| Some((heir, self.sharing.classes.get(heir)?)))
                .filter(|(_, state)| state.bit.is_none())
                .max_by_key(|(heir, state)| weight(heir, state))
                .map(|(heir, _)| heir.clone());
            if let Some(heir) = heir {
                self.give_bit(&heir, bit, changes);
            }
        }
    }

    /// Gives out the bits that are free, and those that others need much more.
    fn distribute(&mut self, changes: &mut Changes) {
        let mut waiting: Vec<(u64, Class)> = self
            .sharing
            .classes
            .iter()
            .filter(|(_, state)| state.bit.is_none())
            .map(|(class, state)| (weight(class, state), class.clone()))
            .collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        // Those that had a bit before a restart come first.
        if !self.sharing.remembered.is_empty() {
            for (_, class) in &waiting {
                let known = self.sharing.remembered.get(&self.keys(class)).copied();
                if let Some(bit) = known.filter(|bit| self.sharing.free.contains(bit)) {
                    self.give_bit(class, bit, changes);
                }
            }
        }
        for (heavy, class) in waiting {
            if self.sharing.classes[&class].bit.is_some() {
                continue;
            }
            if let Some(bit) = self.sharing.free.front().copied() {
                self.give_bit(&class, bit, changes);
                continue;
            }
            let lightest = self.sharing.classes.iter();
            let lightest = lightest
                .filter(|(_, state)| state.bit.is_some())
                .min_by_key(|(class, state)| (weight(class, state), *class))
                .map(|(class, state)| (weight(class, state), class.clone()));
            let Some((light, other)) = lightest.filter(|(light, _)| heavy > light * 2) else {
                return;
            };
            tracing::debug!(target: "lflow", "a bit of flows worth {light} is one of flows worth {heavy} now");
            if let Some(bit) = self.take_bit(&other, changes) {
                self.give_bit(&class, bit, changes);
            }
        }
    }

    fn give_bit(&mut self, class: &Class, bit: u8, changes: &mut Changes) {
        self.sharing.free.retain(|free| *free != bit);
        self.set_bit(class, Some(bit));
        self.load_bit(class, bit, true, changes);
        self.tell_class(class, changes);
    }

    fn take_bit(&mut self, class: &Class, changes: &mut Changes) -> Option<u8> {
        let bit = self.set_bit(class, None)?;
        self.sharing.free.push_back(bit);
        self.load_bit(class, bit, false, changes);
        self.tell_class(class, changes);
        Some(bit)
    }

    fn set_bit(&mut self, class: &Class, bit: Option<u8>) -> Option<u8> {
        let state = self.sharing.classes.get_mut(class)?;
        std::mem::replace(&mut state.bit, bit)
    }

    /// The datapaths of a class load its bit, or do not.
    fn load_bit(&mut self, class: &Class, bit: u8, loads: bool, changes: &mut Changes) {
        for uuid in class.members.iter().copied() {
            let before = self.bits_of.peek(uuid).copied().unwrap_or_default();
            let now = match loads {
                true => before | 1 << bit,
                false => before & !(1 << bit),
            };
            match now {
                0 => drop(self.bits_of.remove(changes, uuid)),
                _ => drop(self.bits_of.set(changes, uuid, now)),
            }
        }
    }

    fn tell_class(&mut self, class: &Class, changes: &mut Changes) {
        let groups = self.sharing.classes.get(class);
        let groups: Vec<Uuid> = groups
            .into_iter()
            .flat_map(|state| state.groups.iter().copied())
            .collect();
        for group in groups {
            self.tell_group(group, class.is_router, changes);
        }
    }

    /// What the flows of a group match.
    fn tell_group(&mut self, group: Uuid, is_router: bool, changes: &mut Changes) {
        let class = self.sharing.class_of.get(&(group, is_router));
        let bit = class.and_then(|class| {
            let state = self.sharing.classes.get(class)?;
            Some((state.bit?, class.members.clone()))
        });
        match bit {
            Some(bit) => drop(self.group_bit.set(changes, (group, is_router), bit)),
            None => drop(self.group_bit.remove(changes, (group, is_router))),
        }
    }

    fn keys(&self, class: &Class) -> Vec<u32> {
        let members = class.members.iter();
        let mut keys: Vec<u32> = members
            .filter_map(|uuid| self.datapaths.peek(*uuid).map(|datapath| datapath.key))
            .collect();
        keys.sort_unstable();
        keys
    }
}
