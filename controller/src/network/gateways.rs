//! Which chassis is the gateway of a port: the only one that has it.
//!
//! The port of a gateway router names its chassis. A `chassisredirect` port names several, in an `HA_Chassis_Group` or by rows of
//! `Gateway_Chassis`: of those that are alive, the one with the greatest priority is to have it. Every chassis comes to this by
//! itself, from the same rows.
//!
//! **A gateway that lives hands over.** When another one is to have the port, because priorities have changed or
//! because it is back, that one makes its flows first and claims the port when they are in place. Until then the old one, and
//! everybody who sends to it, goes by the claim in `Port_Binding.chassis`; and the old one serves it for a moment longer, because
//! not all hear of the claim at once, and because it alone knows the connections until then: what still comes to it from inside it
//! sends on to the new one, and that one sends back what comes from outside and is of no connection that it knows
//! ([`crate::physical::handover`]). Who is no member any more hands over like this, too, to one that is. Who is dead is not waited
//! for.
//!
//! **Who is alive is told by BFD sessions** over the tunnels between those concerned: the members of a group, and the chassis that
//! use it. One with whom there is no session, or only one that has just begun, is taken to be alive. A member none of whose
//! sessions is up does not take over: it is itself that is cut off.
//!
//! **Who was cut off asks the southbound first.** What it knows of claims may be old: others may have taken over meanwhile and
//! serve. When a session is up again, it waits until the southbound has answered it once. Where the southbound does not answer at
//! all, it stays away: others know of its return and go by the last claim that they have heard of, so nobody serves if that is
//! this one's. That takes two faults at once; the opposite choice would have two chassis answer for one address after each loss of
//! a link.
//!
//! **Two members that do not see each other, while others see both**, would claim in turn. The lower one yields: the higher one
//! that takes the port from it lives, whatever the session says. It tries again after a pause, which grows each time.

use std::cmp::Reverse;
use std::sync::Arc;

use ovsdb::Uuid;
use rustc_hash::FxHashSet;
use sb_db::tables::PortBinding;
use smallvec::SmallVec;

use super::binding::PortKind;
use super::{Changes, NameId, Network, Reads, RemoteChassis};

impl Network {
    /// Whether this chassis is the gateway of a port.
    pub(super) fn is_gateway_of(&self, reads: &Reads, port: &PortBinding) -> bool {
        let own = self.own(reads);
        match PortKind::of(port) {
            PortKind::L3Gateway => port
                .options
                .get("l3gateway-chassis")
                .is_some_and(|name| !name.is_empty() && *name == own.name),
            _ => own.chassis.is_some() && self.gateway_of(reads, port) == own.chassis,
        }
    }

    /// The chassis that is the gateway of a `chassisredirect` port, or answers an `external` one, as this one has to see it: itself, if it is to have the port;
    /// or else who has claimed it, if that one is alive; or else who is to have it.
    pub(crate) fn gateway_of(&self, reads: &Reads, port: &PortBinding) -> Option<Uuid> {
        let group = port
            .ha_chassis_group
            .and_then(|group| self.ha_groups.get(reads, group));
        let members = match group {
            Some(group) => &group.ha_chassis[..],
            None => &port.gateway_chassis[..],
        };
        let (own, holder) = (self.own(reads).chassis, port.chassis);
        if self.handed_over.get(reads, port.uuid).is_some() {
            return own;
        }
        let ranked = members.iter().filter_map(|uuid| {
            let (chassis, priority) = *self.ranks.get(reads, *uuid)?;
            let name = &self.chassis.get(reads, chassis)?.name;
            Some((Reverse(priority), name, chassis))
        });
        let ranked: SmallVec<[_; 4]> = ranked.collect();
        // A member that is no chassis any more does not count: nobody has a session on its account.
        let is_only = ranked.len() == 1;
        let conceded = self.conceded.get(reads, port.uuid).copied();
        let is_alive = |name: &Arc<str>, chassis: Uuid| {
            if own == Some(chassis) {
                return self.cut_off.get(reads, ()).is_none();
            }
            conceded == Some(chassis) || self.sessions.get(reads, NameId::of(name)) != Some(&false)
        };
        let alive = ranked.into_iter().filter(|(_, name, chassis)| {
            let is_unseen = own == Some(*chassis) && self.connected.get(reads, ()).is_none();
            is_only || (!is_unseen && is_alive(name, *chassis))
        });
        let (mut first, mut holds) = (None, None);
        for gateway in alive {
            holds = holds.or((holder == Some(gateway.2)).then_some(gateway.2));
            first = Some(first.map_or(gateway, |first| gateway.min(first)));
        }
        let first = first.map(|(.., chassis)| chassis)?;
        if own == Some(first) {
            return own;
        }
        let left = || {
            // Who is no member any more serves until one that is has claimed.
            let holder = holder?;
            let is_member = members.iter().any(|uuid| {
                let rank = self.ranks.get(reads, *uuid);
                rank.is_some_and(|(chassis, _)| *chassis == holder)
            });
            let name = &self.chassis.get(reads, holder)?.name;
            (!is_member && is_alive(name, holder)).then_some(holder)
        };
        holds.or_else(left).or(Some(first))
    }

    /// The place of a chassis among the members of a port's group: the smaller, the better.
    fn place(&self, port: &PortBinding, chassis: Uuid) -> Option<(Reverse<i64>, Arc<str>)> {
        let group = port
            .ha_chassis_group
            .and_then(|group| self.ha_groups.peek(group));
        let members = match group {
            Some(group) => &group.ha_chassis[..],
            None => &port.gateway_chassis[..],
        };
        let mut ranks = members.iter().filter_map(|uuid| self.ranks.peek(*uuid));
        let (_, priority) = ranks.find(|(member, _)| *member == chassis)?;
        let name = self.chassis.peek(chassis)?.name.clone();
        Some((Reverse(*priority), name))
    }

    /// A row of `Port_Binding` is about to be as it is here: has another chassis claimed what this one serves, or this one what
    /// another one serves?
    pub(super) fn watch_handover(&mut self, changes: &mut Changes, port: &PortBinding) {
        let own = self.own.peek(()).and_then(|own| own.chassis);
        let held = self.ports.peek(port.uuid).and_then(|old| old.chassis);
        let is_gateway = PortKind::of(port) == PortKind::ChassisRedirect;
        let (Some(own), Some(by)) = (own.filter(|_| is_gateway), port.chassis) else {
            return;
        };
        match held {
            Some(held) if by == own && held != own => {
                self.taken_over.set(changes, port.uuid, held);
                self.just_taken_over.push(port.uuid);
            }
            _ if by != own => drop(self.taken_over.remove(changes, port.uuid)),
            _ => {}
        }
        if by == own {
            self.handed_over.remove(changes, port.uuid);
        }
        // Who was cut off has stopped serving, and hears of this late.
        let serves = self.bindings.peek(port.uuid).is_some() && self.cut_off.peek(()).is_none();
        if held != Some(own) || by == own || !serves {
            return;
        }
        self.handed_over.set(changes, port.uuid, ());
        self.just_handed_over.push(port.uuid);
        let seems_dead = self
            .chassis
            .peek(by)
            .is_some_and(|by| self.sessions.peek(NameId::of(&by.name)) == Some(&false));
        let places = (self.place(port, by), self.place(port, own));
        if let (Some(by_place), Some(own_place)) = places
            && seems_dead
            && by_place < own_place
        {
            self.conceded.set(changes, port.uuid, by);
            self.just_conceded.push(port.uuid);
        }
    }

    /// The ports that better members seem to have taken although no session with them is up, since the last time.
    pub fn take_concessions(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.just_conceded)
    }

    /// A session with a chassis is up: what it says counts again, and nothing is conceded to that chassis any more.
    pub(super) fn reconcile_with(&mut self, changes: &mut Changes, chassis: NameId) {
        let conceded = self.conceded.iter().filter(|(_, to)| {
            let known = self.chassis.peek(**to);
            known.is_some_and(|known| NameId::of(&known.name) == chassis)
        });
        let conceded: Vec<Uuid> = conceded.map(|(port, _)| port).collect();
        for port in conceded {
            self.conceded.remove(changes, port);
            self.just_reconciled.push(port);
        }
    }

    /// The ports that are conceded no longer because the other chassis is seen, since the last time.
    pub fn take_reconciled(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.just_reconciled)
    }

    /// What sessions say of the chassis that has taken a port counts again.
    pub fn end_concession(&mut self, changes: &mut Changes, port: Uuid) {
        self.conceded.remove(changes, port);
    }

    /// Whether this chassis was cut off, is no more, and has yet to hear from the southbound what became of its claims.
    pub fn awaits_word(&self) -> bool {
        self.cut_off.peek(()).is_some() && self.connected.peek(()).is_some()
    }

    /// The southbound has answered since.
    pub fn has_word(&mut self, changes: &mut Changes) {
        self.cut_off.remove(changes, ());
    }

    /// The ports that others have claimed since the last time, and that this chassis still serves.
    pub fn take_handovers(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.just_handed_over)
    }

    /// The ports that this chassis has taken from others since the last time.
    pub fn take_takeovers(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.just_taken_over)
    }

    /// The chassis from which a port was taken serves it no longer.
    pub fn end_takeover(&mut self, changes: &mut Changes, port: Uuid) {
        self.taken_over.remove(changes, port);
    }

    /// A chassis that lives, as far as is known here.
    pub(crate) fn living(&self, reads: &Reads, chassis: Uuid) -> Option<&RemoteChassis> {
        let remote = self.chassis.get(reads, chassis)?;
        let session = self.sessions.get(reads, NameId::of(&remote.name));
        (session != Some(&false)).then_some(remote)
    }

    /// A port that another chassis has claimed is served no longer.
    pub fn end_handover(&mut self, changes: &mut Changes, port: Uuid) {
        self.handed_over.remove(changes, port);
    }

    /// Whether another chassis has claimed a `chassisredirect` or `external` port, and may be at work.
    pub fn is_served_elsewhere(&self, port: &PortBinding) -> bool {
        let kind = PortKind::of(port);
        if !matches!(kind, PortKind::ChassisRedirect | PortKind::External) {
            return false;
        }
        let own = self.own.peek(()).and_then(|own| own.chassis);
        let other = port.chassis.filter(|holder| Some(*holder) != own);
        let other = other.and_then(|holder| self.chassis.peek(holder));
        other.is_some_and(|other| self.sessions.peek(NameId::of(&other.name)) != Some(&false))
    }

    /// The chassis with which there are to be BFD sessions: if this one is a member of a group of several, all others of the group
    /// and those that use it; if it uses one, the members.
    pub(crate) fn bfd_peers(&self) -> FxHashSet<Arc<str>> {
        let mut peers = FxHashSet::default();
        let Some(own) = self.own.peek(()).and_then(|own| own.chassis) else {
            return peers;
        };
        for (_, group) in self.ha_groups.iter() {
            let ranks = group.ha_chassis.iter();
            let members: Vec<Uuid> = ranks
                .filter_map(|uuid| Some(self.ranks.peek(*uuid)?.0))
                .collect();
            if members.len() < 2 {
                continue;
            }
            let is_member = members.contains(&own);
            if is_member || group.ref_chassis.contains(&own) {
                let users = group.ref_chassis.iter().filter(|_| is_member);
                let all = members.iter().chain(users).filter(|uuid| **uuid != own);
                let known = all.filter_map(|uuid| self.chassis.peek(*uuid));
                peers.extend(known.map(|chassis| chassis.name.clone()));
            }
        }
        peers
    }

    /// The key of the port that a `chassisredirect` port stands for.
    pub(crate) fn distributed_port(&self, reads: &Reads, port: &PortBinding) -> Option<u32> {
        let name = port.options.get("distributed-port")?;
        let distributed = self.port_by_name(reads, name)?;
        u32::try_from(distributed.tunnel_key).ok()
    }

    /// Whether the physical network that a gateway port leads to is attached here.
    pub(crate) fn reaches_network_of(&self, reads: &Reads, port: &PortBinding) -> bool {
        let switch = self.switch_beyond(reads, port);
        switch.is_some_and(|switch| self.attached_localnet(reads, switch).is_some())
    }

    /// The switch that a gateway port leads to.
    fn switch_beyond(&self, reads: &Reads, port: &PortBinding) -> Option<Uuid> {
        let name = port.options.get("distributed-port")?;
        let peer = self.port_by_name(reads, name)?.options.get("peer")?;
        Some(self.port_by_name(reads, peer)?.datapath)
    }

    /// Whether a gateway port leads to a physical network that this chassis has (`ovn-bridge-mappings`) and that is not attached yet: the
    /// switch may only have become local with the gateway, and have yet to be told.
    pub(crate) fn awaits_network_of(&self, port: &PortBinding) -> bool {
        let reads = Reads::untracked();
        let router = port.options.get("distributed-port");
        let router = router.and_then(|name| self.port_by_name(&reads, name));
        let Some(peer) = router.and_then(|router| router.options.get("peer")) else {
            return false;
        };
        let switch = self.port_by_name(&reads, peer).map(|peer| peer.datapath);
        let Some(switch) = switch.filter(|switch| self.local.peek(*switch).is_some()) else {
            return true;
        };
        let mappings = &self.own(&reads).bridge_mappings;
        let mut localnets = self.localnets_of.get(&reads, switch).iter();
        localnets.any(|uuid| {
            let row = self.ports.get(&reads, *uuid);
            let network = row.and_then(|row| row.options.get("network_name"));
            let is_mapped = network.is_some_and(|network| mappings.contains_key(network));
            is_mapped && self.bindings.get(&reads, *uuid).is_none()
        })
    }
}
