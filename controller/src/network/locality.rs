//! Which datapaths are local: those with an attached port, and those that patch ports connect with them.
//!
//! Only these have flows here, and only about these does the controller ask the southbound. The set grows along what is new, and
//! is found anew when a datapath's last attachment or a patch port goes; that costs the local part of the network, not the whole.

use std::sync::Arc;

use ovsdb::Uuid;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::binding::{Binding, PortKind};
use super::{Changes, NameId, Network};
use crate::settings::ZoneRange;

impl Network {
    /// A logical port is attached.
    pub(crate) fn attached(&mut self, uuid: Uuid, binding: Binding, changes: &mut Changes) {
        if let Some(old) = self.bindings.peek(uuid).copied() {
            self.uncount(&old);
        }
        if binding.kind.makes_local() {
            let count = self.seeds.entry(binding.datapath).or_default();
            *count += 1;
            if *count == 1 {
                self.new_seeds.push(binding.datapath);
            }
        }
        if self.bindings.set(changes, uuid, binding) {
            self.rebound.insert(uuid);
        }
        self.settle_near(uuid, changes);
        self.settle_traffic(uuid);
        let name = self.ports.peek(uuid).map(|port| port.logical_port.clone());
        let name = name.filter(|_| binding.kind.has_zone());
        if self.zone_names.get(&uuid) == name.as_ref() {
            return;
        }
        if let Some(old) = self.zone_names.remove(&uuid) {
            self.release_zone(&old, changes);
        }
        if let Some(name) = name.filter(|name| self.assign_zone(name, changes)) {
            self.zone_names.insert(uuid, name);
        }
    }

    /// A logical port is attached no more.
    pub(crate) fn detached(&mut self, uuid: Uuid, changes: &mut Changes) {
        if let Some(old) = self.bindings.remove(changes, uuid) {
            self.uncount(&old);
            self.rebound.insert(uuid);
        }
        self.settle_near(uuid, changes);
        self.settle_traffic(uuid);
        if let Some(name) = self.zone_names.remove(&uuid) {
            self.release_zone(&name, changes);
        }
    }

    /// Brings up to date whether packets here can come from a port or go to it, and in which datapath: an attached port, and
    /// one that is no guest.
    pub(super) fn settle_near(&mut self, uuid: Uuid, changes: &mut Changes) {
        let port = self.ports.peek(uuid);
        let is_guest =
            port.is_none_or(|p| matches!(PortKind::of(p), PortKind::Guest | PortKind::Container));
        let now = match is_guest {
            true => self.bindings.peek(uuid).map(|binding| binding.datapath),
            false => port.map(|port| port.datapath),
        };
        let before = match now {
            Some(datapath) => self.near_in.insert(uuid, datapath),
            None => self.near_in.remove(&uuid),
        };
        if before != now {
            before.map(|datapath| self.near_ports.remove(changes, datapath, uuid));
            now.map(|datapath| self.near_ports.insert(changes, datapath, uuid));
        }
    }

    fn uncount(&mut self, binding: &Binding) {
        if !binding.kind.makes_local() {
            return;
        }
        if let Some(count) = self.seeds.get_mut(&binding.datapath) {
            *count -= 1;
            if *count == 0 {
                self.seeds.remove(&binding.datapath);
                self.paths.gone = true;
            }
        }
    }

    /// Gives a name one more holder, and a number if it had none. False when all numbers are taken.
    fn assign_zone(&mut self, name: &str, changes: &mut Changes) -> bool {
        let Some(zone) = self.zones.assign(name) else {
            return false;
        };
        self.zone_of.set(changes, NameId::of(name), zone);
        true
    }

    /// Gives a name one more holder, and the number that it asks for.
    fn request_zone(&mut self, name: &str, number: u16, changes: &mut Changes) {
        let displaced = self.zones.request(name, number);
        self.zone_of.set(changes, NameId::of(name), number);
        if let Some(other) = displaced {
            self.zone_moved(&other, changes);
        }
    }

    /// Only numbers of this range are given out, and whoever has another gets one of them.
    pub fn set_zone_range(&mut self, changes: &mut Changes, range: ZoneRange) {
        for name in self.zones.set_range(range) {
            self.zone_moved(&name, changes);
        }
    }

    /// A name that is held has another number than before, or none any more.
    fn zone_moved(&mut self, name: &str, changes: &mut Changes) {
        match self.zones.get(name) {
            Some(zone) => drop(self.zone_of.set(changes, NameId::of(name), zone)),
            None => {
                tracing::warn!(
                    "no connection tracking zone is left for {name}: connections there are not tracked"
                );
                self.zone_of.remove(changes, NameId::of(name));
            }
        }
    }

    /// Takes a holder away from a name, and with the last the number.
    fn release_zone(&mut self, name: &str, changes: &mut Changes) {
        if self.zones.release(name) {
            self.zone_of.remove(changes, NameId::of(name));
        }
    }

    /// Brings the local datapaths up to date.
    pub(crate) fn settle_locality(&mut self, changes: &mut Changes) {
        let come = std::mem::take(&mut self.paths.come);
        let seeds = std::mem::take(&mut self.new_seeds);
        let mut changed = Vec::new();
        if std::mem::take(&mut self.paths.gone) {
            let now = self.reachable_from(self.seeds.keys().copied(), |_| false);
            let gone: Vec<Uuid> = self
                .local
                .iter()
                .map(|(uuid, ())| uuid)
                .filter(|uuid| !now.contains(uuid))
                .collect();
            for uuid in gone {
                self.local.remove(changes, uuid);
                changed.push(uuid);
            }
            changed.extend(
                now.into_iter()
                    .filter(|uuid| self.local.set(changes, *uuid, ())),
            );
        } else {
            let is_local = |uuid: Uuid| self.local.peek(uuid).is_some();
            let led = come
                .into_iter()
                .filter(|patch| {
                    let port = self.ports.peek(*patch);
                    port.is_some_and(|port| is_local(port.datapath))
                })
                .filter_map(|patch| self.peer_datapath(patch));
            let new = self.reachable_from(seeds.into_iter().chain(led), is_local);
            for uuid in new {
                self.local.set(changes, uuid, ());
                changed.push(uuid);
            }
        }
        if changed.is_empty() {
            return;
        }
        self.topology_version += 1;
        // In one order, whatever led here: zones are numbered in it.
        changed.sort_unstable();
        let mut groups = FxHashSet::default();
        for uuid in changed {
            self.settle_zones(uuid, changes);
            groups.extend(self.groups_of.get(&uuid).into_iter().flatten().copied());
        }
        for group in groups {
            self.settle_group(group, changes);
        }
    }

    /// Gives a local datapath its zones, and takes them from what needs none any more.
    pub(super) fn settle_zones(&mut self, uuid: Uuid, changes: &mut Changes) {
        let local = self
            .local
            .peek(uuid)
            .and_then(|()| self.datapaths.peek(uuid));
        let mut names: SmallVec<[String; 2]> = match local {
            Some(router) if router.is_router => translation_zones(&router.name).into(),
            Some(switch) if self.is_balanced(uuid) => {
                let [_, snat] = translation_zones(&switch.name);
                [snat].into_iter().collect()
            }
            _ => SmallVec::new(),
        };
        if local.is_some() {
            let ruled = self.ruled.get(&uuid).into_iter().flatten();
            names.extend(ruled.map(ToString::to_string));
        }
        let requested = local.and_then(|router| router.snat_zone);
        let (before, asked) = self.datapath_zones.remove(&uuid).unwrap_or_default();
        if (&before, asked) == (&names, requested) {
            if !names.is_empty() {
                self.datapath_zones.insert(uuid, (names, requested));
            }
            return;
        }
        for zone in before {
            self.release_zone(&zone, changes);
        }
        let assigned = names
            .iter()
            .enumerate()
            .take_while(|(place, name)| match requested {
                Some(number) if *place == 1 => {
                    self.request_zone(name, number, changes);
                    true
                }
                _ => self.assign_zone(name, changes),
            })
            .count();
        if assigned < names.len() {
            // All or none: half a translation is none.
            for name in &names[..assigned] {
                self.release_zone(name, changes);
            }
        } else if !names.is_empty() {
            self.datapath_zones.insert(uuid, (names, requested));
        }
    }

    /// Recomputes which members of a datapath group are local.
    pub(super) fn settle_group(&mut self, group: Uuid, changes: &mut Changes) {
        self.sharing.members_changed(group);
        let members = self.group_members.get(&group).into_iter();
        let local: Arc<[Uuid]> = members
            .flat_map(|members| members.iter().copied())
            .filter(|m| self.local.peek(*m).is_some())
            .collect();
        let was_local = self.local_members.peek(group).is_some();
        if was_local == local.is_empty() {
            // Its flows are asked for from now on, or no more.
            self.topology_version += 1;
        }
        match local.is_empty() {
            true => drop(self.local_members.remove(changes, group)),
            false => drop(self.local_members.set(changes, group, local)),
        }
    }

    /// The datapath groups with local members.
    pub(crate) fn local_groups(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.local_members.iter().map(|(group, _)| group)
    }

    /// The datapaths that are reached from some, these included, beside those that are `known` and those behind them.
    fn reachable_from(
        &self,
        from: impl Iterator<Item = Uuid>,
        known: impl Fn(Uuid) -> bool,
    ) -> FxHashSet<Uuid> {
        let mut found: FxHashSet<Uuid> = from.filter(|uuid| !known(*uuid)).collect();
        let mut waiting: Vec<Uuid> = found.iter().copied().collect();
        while let Some(datapath) = waiting.pop() {
            for peer in self
                .paths
                .of(datapath)
                .filter_map(|patch| self.peer_datapath(patch))
            {
                if !known(peer) && found.insert(peer) {
                    waiting.push(peer);
                }
            }
        }
        found
    }

    /// The peers of local patch ports that are not known yet, or not as local: where the network may go on. And those of gateway
    /// routers' ends, which tell guests here something and lead nowhere.
    pub(crate) fn unknown_peers(&self) -> FxHashSet<Arc<str>> {
        let local = self.local.iter();
        let ends = local.flat_map(|(datapath, ())| {
            self.paths.of(datapath).chain(self.paths.gateways(datapath))
        });
        ends.filter(|end| {
            let peer = self.peer_datapath(*end);
            peer.is_none_or(|peer| self.local.peek(peer).is_none())
        })
        .filter_map(|end| self.ports.peek(end)?.options.get("peer").cloned())
        .collect()
    }

    fn peer_datapath(&self, end: Uuid) -> Option<Uuid> {
        let port = self
            .ports
            .peek(end)
            .filter(|port| matches!(PortKind::of(port), PortKind::Patch | PortKind::L3Gateway))?;
        let peer = self
            .port_named
            .peek(NameId::of(port.options.get("peer")?))?;
        Some(self.ports.peek(*peer)?.datapath)
    }
}

/// The names of a datapath's zones for translations of destinations and of sources. A router has both, a switch with load
/// balancers the second.
pub(crate) fn translation_zones(datapath: &str) -> [String; 2] {
    [format!("{datapath}_dnat"), format!("{datapath}_snat")]
}
