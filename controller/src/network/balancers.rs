//! Load balancers of the southbound, taken apart: a backend that comes or goes is one thing that changes, however many there are.
//!
//! Logical flows balance by themselves. Rows of `Load_Balancer` tell what else a chassis has to know: from which backends a
//! connection may come back to its own client ([`crate::physical::hairpin`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use openflow::message::{CtFlush, CtTuple};
use ovsdb::Uuid;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{LoadBalancer, PortBinding};
use smallvec::SmallVec;

use super::{Changes, NameId, Network, PortKind, Reads, Unit, expand};

/// What all virtual addresses of a load balancer have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// The number of the protocol of those with a port.
    pub protocol: u8,
    /// Datapaths that it acts on.
    pub datapaths: Vec<Uuid>,
    /// Groups of datapaths that it acts on.
    pub groups: SmallVec<[Uuid; 2]>,
    /// Connections to a backend that is gone are forgotten.
    pub flushes: bool,
    /// What a client that is its own backend sees as the other end, if not the virtual address: at most one of each family.
    pub snat_ips: SmallVec<[IpAddr; 2]>,
}

/// A virtual address, alone or with one of its backends. Both as written: they may hold template variables, and then the backend
/// may be several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The load balancer's row.
    pub balancer: Uuid,
    /// `IP` or `IP:PORT`.
    pub vip: Arc<str>,
    /// `IP` or `IP:PORT`.
    pub backend: Option<Arc<str>>,
}

/// An address, perhaps with a port.
pub type Endpoint = (IpAddr, Option<u16>);

/// The connections through a virtual address, or of them those to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flush {
    /// The number of their protocol; 0 for all of them.
    pub protocol: u8,
    /// To whom they were made.
    pub vip: Endpoint,
    /// To whom they go; `None` for all of them.
    pub backend: Option<Endpoint>,
}

/// What is to be forgotten, and who may still hold it.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// How many rows have a virtual address with this protocol, or one of its backends: a load balancer may have several rows.
    holders: FxHashMap<NameId, u32>,
    /// Backends that a row had, with the name that their holders are counted by.
    backends: BTreeMap<Flush, NameId>,
    /// Virtual addresses that a row had, each with its backends there.
    vips: BTreeMap<Flush, (NameId, Vec<(Flush, NameId)>)>,
    /// How many backends wait, with their virtual addresses or without.
    waiting: usize,
    /// Groups with local members that went in the update that is being applied.
    groups_gone: FxHashSet<Uuid>,
    dropped: u64,
}

impl Flushes {
    /// Takes over what another one waits to have forgotten.
    pub(super) fn recall(&mut self, before: &Flushes) {
        self.backends.clone_from(&before.backends);
        self.vips.clone_from(&before.vips);
        (self.waiting, self.dropped) = (before.waiting, before.dropped);
    }

    /// A row has this.
    fn hold(&mut self, what: NameId) {
        *self.holders.entry(what).or_default() += 1;
    }

    /// A row has it no more.
    fn release(&mut self, what: NameId) {
        if let Some(count) = self.holders.get_mut(&what) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(&what);
            }
        }
    }

    /// Takes one more backend if there is room.
    fn has_room(&mut self) -> bool {
        let has_room = self.waiting < MAX_FLUSHES;
        match has_room {
            true => self.waiting += 1,
            false => self.dropped += 1,
        }
        has_room
    }

    /// What has no holder any more: a virtual address as a whole, or else single backends of it.
    fn take(&mut self) -> Vec<Flush> {
        let is_gone = |what: &NameId| !self.holders.contains_key(what);
        let mut gone = Vec::new();
        let mut singly: Vec<_> = std::mem::take(&mut self.backends).into_iter().collect();
        for (vip, (what, backends)) in std::mem::take(&mut self.vips) {
            match is_gone(&what) {
                true => gone.push(vip),
                false => singly.extend(backends),
            }
        }
        let singly = singly.into_iter().filter(|(_, what)| is_gone(what));
        gone.extend(singly.map(|(flush, _)| flush));
        self.waiting = 0;
        gone.sort_unstable();
        gone.dedup();
        gone
    }
}

/// How many of those wait for the switch. Beyond that, connections time out.
const MAX_FLUSHES: usize = 4_096;

/// What of a row was taken apart.
#[derive(Debug, Default)]
pub(super) struct Known {
    vips: FxHashMap<Arc<str>, Arc<str>>,
    groups: SmallVec<[Uuid; 2]>,
    datapaths: Vec<Uuid>,
}

impl Balancer {
    fn of(row: &LoadBalancer) -> Self {
        let ips = row.options.get("hairpin_snat_ip");
        let ips = ips.into_iter().flat_map(|ips| ips.split_whitespace());
        let mut snat_ips: SmallVec<[IpAddr; 2]> = SmallVec::new();
        for ip in ips.filter_map(|ip| ip.parse::<IpAddr>().ok()) {
            if !snat_ips.iter().any(|known| known.is_ipv4() == ip.is_ipv4()) {
                snat_ips.push(ip);
            }
        }
        let groups = [
            row.datapath_group,
            row.ls_datapath_group,
            row.lr_datapath_group,
        ];
        Balancer {
            protocol: match row.protocol.as_deref() {
                Some("udp") => 17,
                Some("sctp") => 132,
                _ => 6,
            },
            flushes: ovsdb::truth(row.options.get("ct_flush"), false),
            datapaths: row.datapaths.clone(),
            groups: groups.into_iter().flatten().collect(),
            snat_ips,
        }
    }
}

impl Network {
    /// A row of `Load_Balancer` changed.
    pub(super) fn apply_balancer(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        row: Option<LoadBalancer>,
    ) {
        let mut known = self.balancers_known.remove(&uuid).unwrap_or_default();
        let before = self.balancers.peek(uuid).cloned();
        // A row also goes when nothing that it is about is here any more.
        let flushes = before
            .as_ref()
            .is_some_and(|before| before.flushes && self.acts_here(before));
        let protocols = (
            before.as_ref().map(|before| before.protocol),
            row.as_ref().map(|row| Balancer::of(row).protocol),
        );
        let (balancer, vips) = match row {
            Some(row) => (Some(Balancer::of(&row)), row.vips),
            None => (None, Default::default()),
        };
        let gone: Vec<Arc<str>> = known
            .vips
            .keys()
            .filter(|vip| !vips.contains_key(*vip))
            .cloned()
            .collect();
        for vip in gone {
            let backends = known.vips.remove(&vip).unwrap_or_default();
            let place = (uuid, flushes, protocols);
            self.change_vip(changes, place, &vip, Some(&backends), None);
        }
        for (vip, backends) in vips {
            let before = known.vips.insert(vip.clone(), backends.clone());
            if before.as_ref() != Some(&backends) || protocols.0 != protocols.1 {
                let place = (uuid, flushes, protocols);
                self.change_vip(changes, place, &vip, before.as_deref(), Some(&backends));
            }
        }
        let (groups, datapaths) = match &balancer {
            Some(balancer) => (balancer.groups.clone(), balancer.datapaths.clone()),
            None => Default::default(),
        };
        let places = |groups: &[Uuid], datapaths: &[Uuid]| -> Vec<Uuid> {
            groups.iter().chain(datapaths).copied().collect()
        };
        let before = places(&known.groups, &known.datapaths);
        let now = places(&groups, &datapaths);
        match balancer {
            Some(balancer) => {
                self.balancers.set(changes, uuid, balancer);
                (known.groups, known.datapaths) = (groups, datapaths);
                self.balancers_known.insert(uuid, known);
            }
            None => drop(self.balancers.remove(changes, uuid)),
        }
        self.change_balanced(changes, &before, &now);
    }

    /// A virtual address has other backends, or is new or gone. `protocols` are those of its load balancer before and now.
    fn change_vip(
        &mut self,
        changes: &mut Changes,
        (balancer, flushes, protocols): (Uuid, bool, (Option<u8>, Option<u8>)),
        vip: &Arc<str>,
        old: Option<&str>,
        new: Option<&str>,
    ) {
        let before: FxHashSet<Option<&str>> = old.into_iter().flat_map(parts).collect();
        let now: FxHashSet<Option<&str>> = new.into_iter().flat_map(parts).collect();
        let name = |part: &Option<&str>| {
            let backend = part.map_or_else(String::new, |backend| format!(",{backend}"));
            format!("{vip}{backend}")
        };
        let id = |part: &Option<&str>| NameId::of(&format!("{balancer} {}", name(part)));
        let held =
            |part: &Option<&str>, protocol: u8| NameId::of(&format!("{protocol} {}", name(part)));
        for part in now.iter().filter(|_| protocols.1.is_some()) {
            let is_same = before.contains(part) && protocols.0 == protocols.1;
            if let Some(protocol) = protocols.1.filter(|_| !is_same) {
                self.flushes.hold(held(part, protocol));
            }
        }
        if let Some(protocol) = protocols.0 {
            let is_same = |part| now.contains(part) && protocols.0 == protocols.1;
            let gone = before.iter().filter(|part| !is_same(*part));
            let gone: Vec<_> = gone.map(|part| (*part, held(part, protocol))).collect();
            gone.iter()
                .for_each(|(_, what)| self.flushes.release(*what));
            if flushes {
                self.want_flush(protocol, vip, &gone);
            }
        }
        for gone in before.difference(&now) {
            self.vips.remove(changes, id(gone));
        }
        for come in now.difference(&before) {
            let part = Vip {
                balancer,
                vip: vip.clone(),
                backend: come.map(Into::into),
            };
            self.vips.set(changes, id(come), part);
            changes.wake(Unit::Vip(id(come)));
        }
    }

    /// Connections through a virtual address, or to some backends of it, are to be forgotten unless another row has them. `gone` says
    /// what of it went, each with the name that its holders are counted by.
    fn want_flush(&mut self, protocol: u8, vip: &str, gone: &[(Option<&str>, NameId)]) {
        let reads = Reads::untracked();
        let vip = endpoint(&expand(self, &reads, vip));
        let Some(vip) = vip else { return };
        let flush = |backend| Flush {
            protocol: if vip.1.is_some() { protocol } else { 0 },
            vip,
            backend,
        };
        let mut backends = Vec::new();
        for (part, what) in gone {
            let text = expand(self, &reads, part.unwrap_or_default()).into_owned();
            for backend in text.split(',').filter_map(endpoint) {
                if self.flushes.has_room() {
                    backends.push((flush(Some(backend)), *what));
                }
            }
        }
        match gone.iter().find(|(part, _)| part.is_none()) {
            Some((_, what)) => {
                let known = self
                    .flushes
                    .vips
                    .entry(flush(None))
                    .or_insert((*what, Vec::new()));
                known.1.extend(backends);
            }
            None => self.flushes.backends.extend(backends),
        }
    }

    /// What connections are to be forgotten, once all of an update is known.
    pub fn take_flushes(&mut self) -> Vec<Flush> {
        let dropped = std::mem::take(&mut self.flushes.dropped);
        if dropped > 0 {
            tracing::warn!(
                target: "ofctrl",
                "{dropped} times connections to a backend that is gone stay until they time out: too many went at once"
            );
        }
        self.flushes.take()
    }

    /// An update of the southbound has been applied as a whole.
    pub fn update_applied(&mut self) {
        self.flushes.groups_gone.clear();
    }

    /// A group of datapaths goes.
    pub(super) fn note_group_gone(&mut self, group: Uuid) {
        if self.balanced.contains_key(&group) && self.local_members.peek(group).is_some() {
            self.flushes.groups_gone.insert(group);
        }
    }

    /// Whether a load balancer acts on a datapath that is local, or was until its group went a moment ago.
    fn acts_here(&self, balancer: &Balancer) -> bool {
        let is_here = |group: &Uuid| {
            self.local_members.peek(*group).is_some() || self.flushes.groups_gone.contains(group)
        };
        balancer.groups.iter().any(is_here)
            || balancer
                .datapaths
                .iter()
                .any(|datapath| self.local.peek(*datapath).is_some())
    }

    /// A load balancer acts on other groups or datapaths than before. The switches among them need a zone for it.
    fn change_balanced(&mut self, changes: &mut Changes, before: &[Uuid], now: &[Uuid]) {
        if before == now {
            return;
        }
        let mut affected = Vec::new();
        for place in now {
            let count = self.balanced.entry(*place).or_default();
            *count += 1;
            if *count == 1 {
                affected.push(*place);
            }
        }
        for place in before {
            if let Some(count) = self.balanced.get_mut(place) {
                *count -= 1;
                if *count == 0 {
                    self.balanced.remove(place);
                    affected.push(*place);
                }
            }
        }
        for place in affected {
            self.settle_zones(place, changes);
            let members = self.group_members.get(&place).cloned();
            for member in members.iter().flat_map(|members| members.iter()) {
                self.settle_zones(*member, changes);
            }
        }
    }

    /// Whether a load balancer acts on a datapath.
    pub(super) fn is_balanced(&self, datapath: Uuid) -> bool {
        let groups = self.groups_of.get(&datapath).into_iter().flatten();
        let mut places = groups.chain([&datapath]);
        places.any(|place| self.balanced.contains_key(place))
    }

    /// The local switches that a load balancer acts on, with their keys.
    pub(crate) fn switches_of(&self, reads: &Reads, balancer: &Balancer) -> Vec<u32> {
        let mut keys = Vec::new();
        let mut add = |uuid: Uuid| {
            let datapath = self.datapaths.get(reads, uuid);
            keys.extend(datapath.filter(|d| !d.is_router).map(|d| d.key));
        };
        for group in &balancer.groups {
            let members = self.local_members.get(reads, *group);
            members
                .into_iter()
                .flat_map(|members| members.iter())
                .for_each(|uuid| add(*uuid));
        }
        for uuid in &balancer.datapaths {
            if self.local.get(reads, *uuid).is_some() {
                add(*uuid);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Whether packets here may come from an address: one that is of a guest elsewhere, and of nobody else, cannot.
    pub(crate) fn may_come_from(&self, reads: &Reads, ip: IpAddr) -> bool {
        let owners = self.ports_with.get(reads, NameId::of_address(ip));
        let is_elsewhere = |uuid: &Uuid| {
            let port = self.ports.get(reads, *uuid);
            let is_guest = port.is_some_and(|port| {
                matches!(PortKind::of(port), PortKind::Guest | PortKind::Container)
            });
            is_guest && self.bindings.get(reads, *uuid).is_none()
        };
        owners.is_empty() || !owners.iter().all(is_elsewhere)
    }

    /// A port has other addresses than before.
    pub(super) fn change_addresses(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        old: Option<&PortBinding>,
        new: Option<&PortBinding>,
    ) {
        if old.map(|port| &port.mac) == new.map(|port| &port.mac) {
            return;
        }
        let before: FxHashSet<NameId> = old.into_iter().flat_map(addresses).collect();
        let now: FxHashSet<NameId> = new.into_iter().flat_map(addresses).collect();
        for gone in before.difference(&now) {
            self.ports_with.remove(changes, *gone, uuid);
        }
        for come in now.difference(&before) {
            self.ports_with.insert(changes, *come, uuid);
        }
    }
}

impl From<Flush> for CtFlush {
    fn from(flush: Flush) -> CtFlush {
        CtFlush {
            zone: None,
            protocol: flush.protocol,
            original: CtTuple {
                destination: Some(flush.vip.0),
                destination_port: flush.vip.1,
                ..CtTuple::default()
            },
            reply: CtTuple {
                source: flush.backend.map(|backend| backend.0),
                source_port: flush.backend.and_then(|backend| backend.1),
                ..CtTuple::default()
            },
        }
    }
}

/// `IP`, `IPv4:PORT` or `[IPv6]:PORT`.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let text = text.trim();
    let with_port = text.parse::<SocketAddr>().ok();
    let with_port = with_port.map(|both| (both.ip(), Some(both.port())));
    with_port.or_else(|| Some((text.trim_matches(['[', ']']).parse().ok()?, None)))
}

/// The IP addresses of a port.
fn addresses(port: &PortBinding) -> impl Iterator<Item = NameId> + '_ {
    let words = port.mac.iter().flat_map(|text| text.split_whitespace());
    words.filter_map(|word| Some(NameId::of_address(word.parse().ok()?)))
}

/// A virtual address' parts: itself, and each of its backends. What has variables is one backend: a value may be several.
fn parts(backends: &str) -> Vec<Option<&str>> {
    let mut parts = vec![None];
    match backends.contains('^') {
        true => parts.push(Some(backends)),
        false => {
            let backends = backends.split(',').map(str::trim);
            parts.extend(backends.filter(|backend| !backend.is_empty()).map(Some));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_db::tables::LogicalDpGroup;

    use crate::testing::{SWITCH, World, options};

    const GROUP: u128 = 41;

    fn row(flushes: &str, backends: &str) -> LoadBalancer {
        LoadBalancer {
            vips: options([("172.30.0.10:80", backends)]),
            options: options([("ct_flush", flushes)]),
            ls_datapath_group: Some(Uuid::from_u128(GROUP)),
            ..LoadBalancer::default()
        }
    }

    fn world() -> World {
        let mut world = World::new();
        let group = LogicalDpGroup {
            datapaths: vec![SWITCH],
            ..LogicalDpGroup::default()
        };
        world.set(GROUP, None, Some(&group));
        world
    }

    /// The backends whose connections are to be forgotten, or the whole address.
    fn told(world: &mut World) -> Vec<String> {
        let backends = world.network.take_flushes().into_iter();
        let backends = backends.map(|flush| flush.backend);
        backends
            .map(|backend| backend.map_or_else(|| "all".into(), |(ip, _)| ip.to_string()))
            .collect()
    }

    const NOTHING: [String; 0] = [];

    #[test]
    fn connections_to_a_backend_that_went_are_forgotten_where_that_is_wanted() {
        for (flushes, expected) in [
            ("true", [&["10.0.0.1"][..], &["all"]]),
            ("false", [&[], &[]]),
        ] {
            let mut world = world();
            let rows = ["10.0.0.1:80,10.0.0.2:80", "10.0.0.2:80,10.0.0.3:80"];
            let rows = rows.map(|backends| row(flushes, backends));
            world.set(40, None, Some(&rows[0]));
            world.set(40, Some(&rows[0]), Some(&rows[1]));
            assert_eq!(told(&mut world), expected[0]);
            world.set(40, Some(&rows[1]), None);
            assert_eq!(told(&mut world), expected[1]);
        }
    }

    #[test]
    fn what_waits_for_the_switch_is_recalled() {
        let mut before = world();
        let rows = ["10.0.0.1:80,10.0.0.2:80", "10.0.0.2:80"].map(|backends| row("true", backends));
        before.set(40, None, Some(&rows[0]));
        before.set(40, Some(&rows[0]), Some(&rows[1]));
        let mut anew = world();
        anew.set(40, None, Some(&rows[1]));
        anew.engine.input(&mut anew.network, |network, changes| {
            network.recall(changes, &before.network);
        });
        assert_eq!(told(&mut anew), ["10.0.0.1"]);
    }

    #[test]
    fn what_another_row_has_is_not_forgotten() {
        let mut world = world();
        let rows = ["10.0.0.1:80,10.0.0.2:80", "10.0.0.2:80"].map(|backends| row("true", backends));
        world.set(40, None, Some(&rows[0]));
        world.set(42, None, Some(&rows[0]));
        world.set(40, Some(&rows[0]), Some(&rows[1]));
        assert_eq!(told(&mut world), NOTHING);
        world.set(42, Some(&rows[0]), Some(&rows[1]));
        assert_eq!(told(&mut world), ["10.0.0.1"]);
        world.set(42, Some(&rows[1]), None);
        assert_eq!(told(&mut world), NOTHING);
        // Another load balancer takes the address over, in one update: what it does not have is forgotten.
        world.set(44, None, Some(&row("true", "10.0.0.9:80")));
        world.set(40, Some(&rows[1]), None);
        assert_eq!(told(&mut world), ["10.0.0.2"]);
        world.set(40, None, Some(&rows[1]));
        world.set(44, Some(&row("true", "10.0.0.9:80")), None);
        assert_eq!(told(&mut world), ["10.0.0.9"]);
        // It moves to another row, in one update.
        world.set(40, Some(&rows[1]), None);
        world.set(43, None, Some(&rows[1]));
        assert_eq!(told(&mut world), NOTHING);
        world.set(43, Some(&rows[1]), None);
        assert_eq!(told(&mut world), ["all"]);
    }

    #[test]
    fn rows_that_are_about_nothing_here_any_more_take_no_connections_along() {
        let mut world = world();
        let row = row("true", "10.0.0.1:80");
        let group = LogicalDpGroup {
            datapaths: vec![SWITCH],
            ..LogicalDpGroup::default()
        };
        world.set(40, None, Some(&row));
        world.changes();
        world.change_ports(|ports| ports.interfaces.clear());
        world.changes();
        world.set(GROUP, Some(&group), None);
        world.set(40, Some(&row), None);
        world.network.update_applied();
        assert_eq!(told(&mut world), NOTHING);
        // Where they are deleted together, they do.
        world.plug("here", 7);
        world.set(GROUP, None, Some(&group));
        world.set(40, None, Some(&row));
        world.changes();
        world.set(GROUP, Some(&group), None);
        world.set(40, Some(&row), None);
        assert_eq!(told(&mut world), ["all"]);
    }
}
