//! Load balancers of the southbound, taken apart: a backend that comes or goes is one thing that changes, however many there are.
//!
//! Logical flows balance by themselves. Rows of `Load_Balancer` tell what else a chassis has to know: from which backends a
//! connection may come back to its own client ([`crate::physical::hairpin`]).

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

/// The connections through a virtual address to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flush {
    /// The number of their protocol; 0 for all of them.
    pub protocol: u8,
    /// To whom they were made.
    pub vip: Endpoint,
    /// To whom they go.
    pub backend: Endpoint,
}

/// How many of those wait for the switch.
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
            flushes: row
                .options
                .get("ct_flush")
                .is_some_and(|on| &**on == "true"),
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
        let flushing = before.filter(|before| before.flushes);
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
            self.change_vip(changes, (uuid, &flushing), &vip, Some(&backends), None);
        }
        for (vip, backends) in vips {
            let before = known.vips.insert(vip.clone(), backends.clone());
            if before.as_ref() != Some(&backends) {
                let balancer = (uuid, &flushing);
                self.change_vip(changes, balancer, &vip, before.as_deref(), Some(&backends));
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

    /// A virtual address has other backends, or is new or gone.
    fn change_vip(
        &mut self,
        changes: &mut Changes,
        (balancer, flushing): (Uuid, &Option<Balancer>),
        vip: &Arc<str>,
        old: Option<&str>,
        new: Option<&str>,
    ) {
        let before: FxHashSet<Option<&str>> = old.into_iter().flat_map(parts).collect();
        let now: FxHashSet<Option<&str>> = new.into_iter().flat_map(parts).collect();
        let id = |backend: &Option<&str>| {
            let backend = backend.map_or_else(String::new, |backend| format!(",{backend}"));
            NameId::of(&format!("{balancer} {vip}{backend}"))
        };
        for gone in before.difference(&now) {
            self.vips.remove(changes, id(gone));
            if let (Some(flushing), Some(backends)) = (flushing, gone) {
                self.flush(flushing.protocol, vip, backends);
            }
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

    /// Connections through a virtual address to backends that are gone are to be forgotten.
    fn flush(&mut self, protocol: u8, vip: &str, backends: &str) {
        let reads = Reads::untracked();
        let vip = endpoint(&expand(self, &reads, vip));
        let Some(vip) = vip else { return };
        let backends = expand(self, &reads, backends).into_owned();
        for backend in backends.split(',').filter_map(endpoint) {
            // Beyond that, they time out.
            if self.flushes.len() >= MAX_FLUSHES {
                return;
            }
            self.flushes.insert(Flush {
                protocol: if vip.1.is_some() { protocol } else { 0 },
                vip,
                backend,
            });
        }
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
                source: Some(flush.backend.0),
                source_port: flush.backend.1,
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
    use crate::testing::{World, options};

    #[test]
    fn connections_to_a_backend_that_went_are_forgotten_where_that_is_wanted() {
        let row = |flushes: &str, backends: &str| LoadBalancer {
            vips: options([("172.30.0.10:80", backends)]),
            options: options([("ct_flush", flushes)]),
            ..LoadBalancer::default()
        };
        let told = |flushes: &str| {
            let mut world = World::new();
            let rows = ["10.0.0.1:80,10.0.0.2:80", "10.0.0.2:80,10.0.0.3:80"];
            let rows = rows.map(|backends| row(flushes, backends));
            world.set(40, None, Some(&rows[0]));
            world.set(40, Some(&rows[0]), Some(&rows[1]));
            world.set(40, Some(&rows[1]), None);
            let backends = world.network.flushes.iter().map(|flush| flush.backend);
            backends.map(|(ip, _)| ip.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told("true"), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(told("false"), Vec::<String>::new());
    }
}
