//! How packets get to another chassis: through which tunnel, and between which of the addresses of both.
//!
//! Each chassis may have several addresses. At the other end it is that of the port's `encap`, where its chassis has said one, else
//! any of the best kind. At this end it is that of the input port, which travels in the upper half of its zone's register, else
//! the default. A tunnel's port mostly stands for one pair of addresses; flow-based tunnels are told both by each flow.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use ovsdb::Uuid;

use super::{NameId, Network, Own, Reads, Tunnel};
use crate::settings::TunnelKind;

/// The name under which flow-based tunnels are known, which belong to no chassis.
const FLOW_BASED: &str = "flow";

/// A chassis, as the other end of tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteChassis {
    /// Its name.
    pub name: Arc<str>,
    /// Its rows of `Encap`.
    pub encaps: Arc<[Uuid]>,
    /// Its transport zones.
    pub transport_zones: Arc<[Arc<str>]>,
    /// It is of another availability zone.
    pub is_remote: bool,
    /// Its MACs in physical networks, from which come packets of routers that are on all chassis.
    pub macs: Arc<[Mac]>,
    /// It goes on serving a gateway that another chassis has claimed ([`PASSES_ON`](crate::settings::PASSES_ON)).
    pub passes_on: bool,
}

/// A row of `Encap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncapEnd {
    /// The kind of tunnel.
    pub kind: TunnelKind,
    /// The address.
    pub ip: IpAddr,
}

/// A way to another chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The port of the switch.
    pub ofport: u32,
    /// The kind of tunnel.
    pub kind: TunnelKind,
    /// Here and there: the addresses that a flow-based tunnel is to be told.
    pub addresses: Option<(IpAddr, IpAddr)>,
}

impl Own {
    /// The addresses of this chassis' ends that input ports can ask for, with their numbers. None while there is no choice.
    pub(crate) fn encap_choices(&self) -> impl Iterator<Item = (u32, IpAddr)> + '_ {
        let several = self.encap_ips.len() > 1;
        let choices = (1..).zip(self.encap_ips.iter().copied());
        choices.filter(move |_| several)
    }
}

impl Network {
    /// The number of the address by which packets of a port leave the chassis; 0 is the default.
    pub(crate) fn encap_number(&self, reads: &Reads, encap: Option<Uuid>) -> u32 {
        let end = encap.and_then(|uuid| self.encaps.get(reads, uuid));
        let own = self.own(reads);
        end.and_then(|end| own.encap_choices().find(|(_, ip)| *ip == end.ip))
            .map_or(0, |(number, _)| number)
    }

    /// The way to the chassis with this row: to `encap` if that is given, and from the address `from`, else the default.
    pub(crate) fn way_to(
        &self,
        reads: &Reads,
        chassis: Uuid,
        encap: Option<Uuid>,
        from: Option<IpAddr>,
    ) -> Option<Way> {
        let remote = self.chassis.get(reads, chassis)?;
        let wanted = encap.and_then(|uuid| self.encaps.get(reads, uuid)).copied();
        let own = self.own(reads);
        let from = from.or_else(|| own.default_encap_ip());
        let tunnels = self.tunnels.get(reads, NameId::of(&remote.name));
        if let Some(tunnel) = tunnels.and_then(|tunnels| best(tunnels, wanted, from)) {
            return Some(Way {
                ofport: tunnel.ofport,
                kind: tunnel.kind,
                addresses: None,
            });
        }
        // From an address that leads nowhere, the way is the default one.
        let ways = [from, own.default_encap_ip()].into_iter().flatten();
        let mut ways = ways.filter_map(|from| self.flow_based(reads, remote, wanted, from));
        ways.next()
    }

    fn flow_based(
        &self,
        reads: &Reads,
        remote: &RemoteChassis,
        wanted: Option<EncapEnd>,
        from: IpAddr,
    ) -> Option<Way> {
        let tunnels = self.tunnels.get(reads, NameId::of(FLOW_BASED))?;
        let own = self.own(reads);
        is_reached(
            (&own.transport_zones, own.is_interconn),
            (&remote.transport_zones, remote.is_remote),
        )
        .then_some(())?;
        let of_kind = |kind| {
            let mut flow_based = tunnels.iter().filter(|tunnel| tunnel.remote.is_none());
            flow_based.find(|tunnel| tunnel.kind == kind)
        };
        let ends = remote.encaps.iter();
        let ends = ends.filter_map(|uuid| self.encaps.get(reads, *uuid).copied());
        let end = ends
            .filter(|end| of_kind(end.kind).is_some() && end.ip.is_ipv4() == from.is_ipv4())
            .min_by_key(|end| (wanted != Some(*end), end.kind, end.ip))?;
        Some(Way {
            ofport: of_kind(end.kind)?.ofport,
            kind: end.kind,
            addresses: Some((from, end.ip)),
        })
    }
}

/// Whether there may be a tunnel between this chassis and another: they share a transport zone, or both lack any, and are of one
/// availability zone, unless this one connects those.
pub(crate) fn is_reached(
    (ours, is_interconn): (&[Arc<str>], bool),
    (theirs, is_remote): (&[Arc<str>], bool),
) -> bool {
    let in_zone =
        (ours.is_empty() && theirs.is_empty()) || ours.iter().any(|zone| theirs.contains(zone));
    in_zone && (!is_remote || is_interconn)
}

/// The tunnel that fits best: to the wanted end, of its kind, from the wanted address, of the best kind.
fn best(tunnels: &[Tunnel], wanted: Option<EncapEnd>, from: Option<IpAddr>) -> Option<Tunnel> {
    let bound = tunnels.iter().filter(|tunnel| tunnel.remote.is_some());
    // Ports of older controllers do not say their addresses.
    let unsaid = tunnels.iter().filter(|tunnel| tunnel.remote.is_none());
    bound
        .chain(unsaid)
        .min_by_key(|tunnel| {
            (
                wanted.is_some_and(|end| tunnel.remote != Some(end.ip)),
                wanted.is_some_and(|end| tunnel.kind != end.kind),
                from.is_some() && tunnel.local != from,
                tunnel.kind,
                tunnel.ofport,
            )
        })
        .copied()
}

impl Own {
    fn default_encap_ip(&self) -> Option<IpAddr> {
        self.encap_default
            .or_else(|| self.encap_ips.first().copied())
    }
}
