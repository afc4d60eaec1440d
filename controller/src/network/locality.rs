//! Which datapaths are local: those with an attached port, and those that patch ports connect with them.
//!
//! Only these have flows here, and only about these does the controller ask the southbound. The set is computed anew when an
//! attachment or a patch port changes; it costs the local part of the network, not the whole.

use std::sync::Arc;

use ovsdb::Uuid;
use rustc_hash::FxHashSet;

use super::binding::{Binding, PortKind};
use super::{Changes, NameId, Network};

impl Network {
    /// A logical port is attached.
    pub(super) fn attached(&mut self, uuid: Uuid, binding: Binding, changes: &mut Changes) {
        if let Some(old) = self.bindings.peek(uuid).copied() {
            self.uncount(&old);
        }
        if binding.kind.makes_local() {
            let count = self.seeds.entry(binding.datapath).or_default();
            *count += 1;
            self.topology_changed |= *count == 1;
        }
        if self.bindings.set(changes, uuid, binding) {
            self.rebound.insert(uuid);
        }
        let name = self.ports.peek(uuid).map(|port| port.logical_port.clone());
        if let Some(name) = name.filter(|_| binding.kind.has_zone()) {
            if let Some(old) = self
                .zone_names
                .insert(uuid, name.clone())
                .filter(|old| *old != name)
            {
                self.release_zone(&old, changes);
            }
            self.assign_zone(&name, changes);
        }
    }

    /// A logical port is attached no more.
    pub(super) fn detached(&mut self, uuid: Uuid, changes: &mut Changes) {
        if let Some(old) = self.bindings.remove(changes, uuid) {
            self.uncount(&old);
            self.rebound.insert(uuid);
        }
        if let Some(name) = self.zone_names.remove(&uuid) {
            self.release_zone(&name, changes);
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
                self.topology_changed = true;
            }
        }
    }

    fn assign_zone(&mut self, name: &str, changes: &mut Changes) {
        if let Some(zone) = self.zones.assign(name) {
            self.zone_of.set(changes, NameId::of(name), zone);
        }
    }

    fn release_zone(&mut self, name: &str, changes: &mut Changes) {
        self.zones.release(name);
        self.zone_of.remove(changes, NameId::of(name));
    }

    /// Recomputes the local datapaths if something happened to them.
    pub(super) fn settle_locality(&mut self, changes: &mut Changes) {
        if !std::mem::take(&mut self.topology_changed) {
            return;
        }
        self.topology_version += 1;
        let now = self.reachable();
        let before: FxHashSet<Uuid> = self.local.iter().map(|(uuid, ())| uuid).collect();
        for &gone in before.difference(&now) {
            self.local.remove(changes, gone);
        }
        for &new in now.difference(&before) {
            self.local.set(changes, new, ());
        }
        for &datapath in before.union(&now) {
            self.settle_router_zones(datapath, changes);
        }
        for changed in before.symmetric_difference(&now) {
            let groups: Vec<Uuid> = self
                .groups_of
                .get(changed)
                .into_iter()
                .flatten()
                .copied()
                .collect();
            for group in groups {
                self.settle_group(group, changes);
            }
        }
    }

    /// Gives a local router its zones, and takes them from what is none any more.
    fn settle_router_zones(&mut self, uuid: Uuid, changes: &mut Changes) {
        let router = self
            .datapaths
            .peek(uuid)
            .filter(|d| d.is_router && self.local.peek(uuid).is_some());
        let name = router.map(|d| d.name.clone());
        if self.router_names.get(&uuid) == name.as_ref() {
            return;
        }
        for zone in self
            .router_names
            .remove(&uuid)
            .iter()
            .flat_map(|name| router_zones(name))
        {
            self.release_zone(&zone, changes);
        }
        if let Some(name) = name {
            for zone in router_zones(&name) {
                self.assign_zone(&zone, changes);
            }
            self.router_names.insert(uuid, name);
        }
    }

    /// Recomputes which members of a datapath group are local.
    pub(super) fn settle_group(&mut self, group: Uuid, changes: &mut Changes) {
        let Some(members) = self.group_members.get(&group) else {
            self.local_members.remove(changes, group);
            return;
        };
        let local: Arc<[Uuid]> = members
            .iter()
            .copied()
            .filter(|m| self.local.peek(*m).is_some())
            .collect();
        self.local_members.set(changes, group, local);
    }

    fn reachable(&self) -> FxHashSet<Uuid> {
        let mut found: FxHashSet<Uuid> = self.seeds.keys().copied().collect();
        let mut waiting: Vec<Uuid> = found.iter().copied().collect();
        while let Some(datapath) = waiting.pop() {
            for patch in self.patches_of.get(&datapath).into_iter().flatten() {
                if let Some(peer) = self.peer_datapath(*patch)
                    && found.insert(peer)
                {
                    waiting.push(peer);
                }
            }
        }
        found
    }

    fn peer_datapath(&self, patch: Uuid) -> Option<Uuid> {
        let port = self
            .ports
            .peek(patch)
            .filter(|port| PortKind::of(port) == PortKind::Patch)?;
        let peer = self
            .port_named
            .peek(NameId::of(port.options.get("peer")?))?;
        Some(self.ports.peek(*peer)?.datapath)
    }
}

/// The names of a router's zones: for destination and for source address translation.
pub(crate) fn router_zones(datapath: &str) -> [String; 2] {
    [format!("{datapath}_dnat"), format!("{datapath}_snat")]
}
