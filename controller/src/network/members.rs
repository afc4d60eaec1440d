//! Bits that packets carry instead of being compared with every member of an address set or port group.
//!
//! A flow that says `ip4.dst == $set` needs not be a flow for each address of the set, made anew with every address that comes or
//! goes: it matches a bit, and something else sets the bit.
//!
//! | bit | where | set by |
//! | --- | --- | --- |
//! | the port on the near side (`inport` of ingress, `outport` of egress) is in a port group | `metadata`, above the bits of datapath groups | whatever loads the port |
//! | source or destination is in an address set | upper halves of `reg11` and `reg12` | a table with a flow for each prefix ([`prefixes`]) |
//!
//! **Addresses are looked up on the way into a stage that asks for them,** so that nothing that a stage before did to them makes
//! the bits stale. Such a stage's flows stand in a table of their own; its usual table has a flow for each place that asks, which
//! clears the bits, looks addresses up and goes on there. What it finds has a meaning in that stage only, so that the ingress and
//! the egress pipeline have bits each.
//!
//! **Whoever wants a bit says so** ([`Use`]), layer by layer before flows are made. There are few bits: each is held by what has the
//! most flows × members, and passes to another only for twice that. Who gets none has flows for its members.
//!
//! **After a restart** bits stand for what they stood for before: a table that no packet comes to has a flow for each bit, with the
//! name ([`names`]).

mod allotment;
mod names;
mod prefixes;
mod rows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Changes, NameId, Network, Reads, Unit};
use crate::flow::Digest;
use crate::layout;
use allotment::Allotment;
use names::tell;
use prefixes::{Parsed, Prefixes};
use rows::{addresses, parse};

pub(crate) use names::named_bits;
pub(crate) use rows::{Named, integers};

/// What a bit says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// Its port on the pipeline's own side is in a port group.
    Group,
    /// One of its addresses is in an address set.
    Address {
        /// In the egress pipeline.
        egress: bool,
        /// The destination, not the source.
        destination: bool,
    },
}

impl Membership {
    /// All of them.
    pub(crate) const ALL: [Membership; 5] = [
        Membership::Group,
        Membership::address(false, false),
        Membership::address(false, true),
        Membership::address(true, false),
        Membership::address(true, true),
    ];

    const fn address(egress: bool, destination: bool) -> Membership {
        Membership::Address {
            egress,
            destination,
        }
    }

    /// Which of the bits it takes from.
    fn space(self) -> usize {
        match self {
            Membership::Group => 0,
            Membership::Address { egress, .. } => 1 + usize::from(egress),
        }
    }

    /// Which of a stage's lookups tells it: 0 for the source, 1 for the destination.
    pub(crate) fn direction(self) -> Option<u8> {
        match self {
            Membership::Group => None,
            Membership::Address { destination, .. } => Some(destination.into()),
        }
    }

    /// The table in which addresses are looked up, counted from the first.
    fn lookup(self) -> Option<u8> {
        match self {
            Membership::Group => None,
            Membership::Address {
                egress,
                destination,
            } => Some(2 * u8::from(egress) + u8::from(destination)),
        }
    }
}

/// So many stages of each pipeline may ask for address sets; in others, flows have the addresses. Each is one more step back to an
/// earlier table on a packet's way, of which Open vSwitch allows 64 over all datapaths.
const MAX_ASKING: usize = 2;

/// A name that logical flows compare packets with.
type Wanted = (Membership, NameId);

/// That the logical flows of a stage compare packets with a set or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// What of the packet.
    pub of: Membership,
    /// The name of the set or group.
    pub name: NameId,
    /// The stage; 0 for a group, whose bits have a meaning in the whole pipeline.
    pub table: u8,
}

/// The bits of address sets and port groups by what they stand for: what can be read from a switch.
pub type BitsByNames = BTreeMap<(Membership, Arc<str>), u8>;

/// A bit, and the name of the set or group that it stands for.
pub(crate) type NamedBit = (u8, Arc<str>);

/// Who wants bits, and who has them.
#[derive(Debug)]
pub(crate) struct Members {
    is_on: bool,
    /// How many flows say each use.
    uses: BTreeMap<Use, u32>,
    /// The names in use, with the number of uses.
    names: FxHashMap<NameId, (Arc<str>, u32)>,
    spaces: [Allotment<Wanted>; 3],
    /// The flows that tell the names of bits.
    told: BTreeMap<Wanted, Digest>,
    tables: [Prefixes; 4],
    /// Sets with members that are no prefixes.
    unfit: FxHashSet<NameId>,
    /// Whose claim has to be looked at again.
    dirty: BTreeSet<Wanted>,
    /// Uses changed: stages may look up something else.
    uses_changed: bool,
    remembered: BitsByNames,
}

impl Default for Members {
    fn default() -> Self {
        Members {
            is_on: false,
            uses: BTreeMap::new(),
            names: FxHashMap::default(),
            spaces: [
                Allotment::new(layout::PORT_GROUP_BITS),
                Allotment::new(layout::ADDRESS_SET_BITS),
                Allotment::new(layout::ADDRESS_SET_BITS),
            ],
            told: BTreeMap::new(),
            tables: [0, 1, 2, 3].map(Prefixes::new),
            unfit: FxHashSet::default(),
            dirty: BTreeSet::new(),
            uses_changed: false,
            remembered: BitsByNames::new(),
        }
    }
}

impl Members {
    /// Bits are used, or not.
    pub(super) fn switch(&mut self, on: bool) {
        if self.is_on != on {
            self.is_on = on;
            self.review_all();
        }
    }

    /// A flow says that it compares packets with a set or group.
    pub(crate) fn used(&mut self, what: Use, name: &Arc<str>) {
        let (known, uses) = self
            .names
            .entry(what.name)
            .or_insert_with(|| (name.clone(), 0));
        // Two names with one number: the second gets no bit, for who asks for it compares the name.
        if *known != *name {
            tracing::debug!(target: "lflow", "{name} and {known} have one number");
        }
        *uses += 1;
        *self.uses.entry(what).or_default() += 1;
        self.dirty.insert((what.of, what.name));
        self.uses_changed = true;
    }

    /// A flow says it no more.
    pub(crate) fn unused(&mut self, what: Use) {
        let Some(uses) = self.uses.get_mut(&what) else {
            return;
        };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&what);
        }
        if let Some((_, uses)) = self.names.get_mut(&what.name) {
            *uses -= 1;
        }
        self.dirty.insert((what.of, what.name));
        self.uses_changed = true;
    }

    fn uses_of(&self, (of, name): Wanted) -> u64 {
        let of_stage = |table| Use { of, name, table };
        let uses = self.uses.range(of_stage(0)..=of_stage(u8::MAX));
        uses.map(|(_, uses)| u64::from(*uses)).sum()
    }

    fn bit(&self, wanted: Wanted) -> Option<u8> {
        self.spaces[wanted.0.space()].bit(wanted)
    }

    fn review_all(&mut self) {
        let all = self.uses.keys().map(|what| (what.of, what.name));
        self.dirty.extend(all);
        self.uses_changed = true;
    }
}

impl Network {
    /// The bits of `metadata` that say in which port groups a port of the datapath with this key is; nothing while no group has
    /// a bit.
    pub(crate) fn port_bits(&self, reads: &Reads, datapath: u32, port: &Arc<str>) -> Option<u64> {
        let groups = self.group_bits.get(reads, ())?;
        let bits = groups.iter().filter(|(_, group)| {
            let part = self.part_of_port_group(reads, datapath, group);
            part.is_some_and(|part| self.is_in_port_group(reads, &part, port))
        });
        Some(bits.fold(0, |all, (bit, _)| {
            all | 1 << (layout::FIRST_PORT_GROUP_BIT + bit)
        }))
    }

    /// The bit that says whether packets are members.
    pub(crate) fn member_bit(&self, reads: &Reads, of: Membership, name: &str) -> Option<u8> {
        let (bit, known) = self.member_bits.get(reads, (of, NameId::of(name)))?;
        (&**known == name).then_some(*bit)
    }

    /// The bits of sets and groups.
    pub fn bits_by_names(&self) -> BitsByNames {
        let bits = self.member_bits.iter();
        bits.map(|((of, _), (bit, name))| ((of, name.clone()), *bit))
            .collect()
    }

    /// Takes the bits of sets and groups from what was read from a switch.
    pub(super) fn recall_names(&mut self, changes: &mut Changes, bits: BitsByNames) {
        let held: Vec<Wanted> = self.members.told.keys().copied().collect();
        for wanted in held {
            self.take_member_bit(changes, wanted);
        }
        self.members.remembered = bits;
        self.members.review_all();
    }

    /// What was read has been taken up.
    pub(super) fn forget_names(&mut self) {
        self.members.remembered.clear();
    }

    /// Brings bits up to date: who has them, and what stages look up.
    pub(crate) fn settle_members(&mut self, changes: &mut Changes) {
        let dirty = std::mem::take(&mut self.members.dirty);
        let uses_changed = std::mem::take(&mut self.members.uses_changed);
        if dirty.is_empty() && !uses_changed {
            return;
        }
        let mut waiting = BTreeSet::new();
        let mut freed = [false; 3];
        for wanted in dirty {
            match (self.deserves_bit(wanted), self.members.bit(wanted)) {
                (false, Some(_)) => {
                    self.take_member_bit(changes, wanted);
                    freed[wanted.0.space()] = true;
                }
                (true, None) => drop(waiting.insert(wanted)),
                // It may be worth less than before.
                (true, Some(_)) => freed[wanted.0.space()] = true,
                (false, None) => {}
            }
        }
        let others = self.members.uses.keys().map(|what| (what.of, what.name));
        let others = others.filter(|wanted| freed[wanted.0.space()]);
        let others: Vec<Wanted> = others
            .filter(|wanted| self.members.bit(*wanted).is_none() && self.deserves_bit(*wanted))
            .collect();
        waiting.extend(others);
        self.hand_out(changes, waiting);
        self.members.names.retain(|_, (_, uses)| *uses > 0);
        self.tell_groups(changes);
        self.tell_stages(changes);
    }

    fn deserves_bit(&self, wanted: Wanted) -> bool {
        let (of, name) = wanted;
        let exists = of == Membership::Group
            || self.address_sets.peek(name).is_some() && !self.members.unfit.contains(&name);
        self.members.is_on && exists && self.members.uses_of(wanted) > 0
    }

    fn weight(&self, wanted: Wanted) -> u64 {
        let set = self.address_sets.peek(wanted.1);
        let members = match wanted.0 {
            Membership::Group => None,
            Membership::Address { .. } => set.map(|set| addresses(&set.row).len()),
        };
        // In powers of two, so that not every address that comes makes everybody's claim another.
        let members = 1 << members.unwrap_or(1).max(1).ilog2();
        self.members.uses_of(wanted).saturating_mul(members)
    }

    fn hand_out(&mut self, changes: &mut Changes, waiting: BTreeSet<Wanted>) {
        let name = |wanted: &Wanted| {
            self.members
                .names
                .get(&wanted.1)
                .map(|(name, _)| name.clone())
        };
        let waiting = waiting
            .into_iter()
            .filter_map(|wanted| Some((Reverse(self.weight(wanted)), name(&wanted)?, wanted)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort();
        // Those that had a bit before a restart come first.
        for (_, name, wanted) in &waiting {
            let key = (wanted.0, name.clone());
            let known = self.members.remembered.get(&key).copied();
            if let Some(bit) =
                known.filter(|bit| self.members.spaces[wanted.0.space()].is_free(*bit))
            {
                self.give_member_bit(changes, *wanted, name, bit);
            }
        }
        for (Reverse(heavy), name, wanted) in waiting {
            if self.members.bit(wanted).is_some() || !self.deserves_bit(wanted) {
                continue;
            }
            if !self.can_be_looked_up(wanted) {
                self.members.unfit.insert(wanted.1);
                continue;
            }
            let space = wanted.0.space();
            if let Some(bit) = self.members.spaces[space].first_free() {
                self.give_member_bit(changes, wanted, &name, bit);
                continue;
            }
            let holders = self.members.spaces[space].holders();
            let lightest = holders
                .map(|holder| {
                    let name = self.member_bits.peek(holder).map(|(_, name)| name);
                    (self.weight(holder), holder.0, name, holder)
                })
                .min()
                .filter(|(light, ..)| heavy > light.saturating_mul(2))
                .map(|(.., holder)| holder);
            if let Some(holder) = lightest
                && let Some(bit) = self.take_member_bit(changes, holder)
            {
                self.give_member_bit(changes, wanted, &name, bit);
            }
        }
    }

    /// Whether all members of an address set are prefixes.
    fn can_be_looked_up(&self, (of, name): Wanted) -> bool {
        let set = self
            .address_sets
            .peek(name)
            .filter(|_| of != Membership::Group);
        let mut members = set.into_iter().flat_map(|set| addresses(&set.row));
        !members.any(|atom| matches!(parse(atom), Parsed::Unfit))
    }

    fn give_member_bit(&mut self, changes: &mut Changes, wanted: Wanted, name: &Arc<str>, bit: u8) {
        let (of, id) = wanted;
        if let Some(table) = of.lookup() {
            let table = usize::from(table);
            let Some(set) = self.address_sets.peek(id).cloned() else {
                return;
            };
            for atom in addresses(&set.row) {
                match parse(atom) {
                    Parsed::Prefix(prefix) => {
                        self.members.tables[table].change(prefix, bit, true, &mut self.desired);
                    }
                    Parsed::Unfit => {
                        self.members.tables[table].clear(bit, &mut self.desired);
                        self.members.unfit.insert(id);
                        return;
                    }
                    Parsed::Other => {}
                }
            }
        }
        self.members.spaces[of.space()].give(wanted, bit);
        let flow = tell(of, bit, name);
        self.members.told.insert(wanted, flow.digest);
        self.desired.add(flow);
        self.member_bits.set(changes, wanted, (bit, name.clone()));
    }

    fn take_member_bit(&mut self, changes: &mut Changes, wanted: Wanted) -> Option<u8> {
        let bit = self.members.spaces[wanted.0.space()].take(wanted)?;
        if let Some(table) = wanted.0.lookup() {
            self.members.tables[usize::from(table)].clear(bit, &mut self.desired);
        }
        if let Some(flow) = self.members.told.remove(&wanted) {
            self.desired.remove(flow);
        }
        self.member_bits.remove(changes, wanted);
        Some(bit)
    }

    /// Tells ports which groups have bits.
    fn tell_groups(&mut self, changes: &mut Changes) {
        let holders = self.members.spaces[Membership::Group.space()].holders();
        let bits = holders.filter_map(|wanted| {
            let (bit, name) = self.member_bits.peek(wanted)?;
            Some((*bit, name.clone()))
        });
        let mut bits: Vec<NamedBit> = bits.collect();
        bits.sort();
        match bits.is_empty() {
            true => {
                self.group_bits.remove(changes, ());
                self.has_group_bits.remove(changes, ());
            }
            false => {
                self.group_bits.set(changes, (), bits.into());
                self.has_group_bits.set(changes, (), ());
            }
        }
        changes.wake(Unit::PortBits);
    }

    /// Tells stages what they look up.
    fn tell_stages(&mut self, changes: &mut Changes) {
        let mut lookups: BTreeMap<(bool, u8), u8> = BTreeMap::new();
        let mut uses_of: BTreeMap<(bool, u8), u64> = BTreeMap::new();
        for (what, uses) in &self.members.uses {
            if let Membership::Address {
                egress,
                destination,
            } = what.of
                && self.members.bit((what.of, what.name)).is_some()
            {
                *lookups.entry((egress, what.table)).or_default() |= 1 << u8::from(destination);
                *uses_of.entry((egress, what.table)).or_default() += u64::from(*uses);
            }
        }
        for egress in [false, true] {
            let of_pipeline = uses_of.iter().filter(|((of, _), _)| *of == egress);
            let mut ranked: Vec<_> = of_pipeline
                .map(|(stage, uses)| (Reverse(*uses), *stage))
                .collect();
            ranked.sort_unstable();
            for (_, stage) in ranked.into_iter().skip(MAX_ASKING) {
                lookups.remove(&stage);
            }
        }
        let before: Vec<(bool, u8)> = self.stage_lookups.iter().map(|(stage, _)| stage).collect();
        for stage in before {
            if !lookups.contains_key(&stage) {
                self.stage_lookups.remove(changes, stage);
            }
        }
        for (stage, lookups) in lookups {
            self.stage_lookups.set(changes, stage, lookups);
            changes.wake(Unit::Stage(stage.0, stage.1));
        }
    }
}
