//! Ways from one datapath to others: patch ports, and the ports that they name as their peers.
//!
//! A way can be followed when the patch port and its peer are both known. Whoever keeps what can be reached is told what has to
//! be followed anew: ways that came are enough to extend it, a way that went means that all of it must be found again.
//!
//! The port of a gateway router is no way: the router is on one chassis. Its row is asked for wherever its switch is all the same,
//! for what the router tells guests there.

use ovsdb::Uuid;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;

use super::NameId;
use super::binding::PortKind;

/// The patch ports, and what happened to them.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Patch ports of each datapath.
    of: FxHashMap<Uuid, FxHashSet<Uuid>>,
    /// Patch ports by the name of their peer.
    naming: FxHashMap<NameId, FxHashSet<Uuid>>,
    /// The ends of gateway routers in each datapath.
    gateways: FxHashMap<Uuid, FxHashSet<Uuid>>,
    /// Patch ports whose way may be new.
    pub(super) come: Vec<Uuid>,
    /// Some way is no more.
    pub(super) gone: bool,
}

/// Where a port is, as far as ways are concerned.
#[derive(PartialEq)]
struct Place<'a> {
    name: &'a str,
    datapath: Uuid,
    peer: Option<&'a str>,
    /// It is a gateway router's, or leads to one.
    is_gateway: bool,
}

impl Paths {
    /// A port's row changed. Returns whether that matters here.
    pub(super) fn change(
        &mut self,
        uuid: Uuid,
        old: Option<&PortBinding>,
        new: Option<&PortBinding>,
    ) -> bool {
        let (was, is) = (old.map(place), new.map(place));
        if was == is {
            return false;
        }
        let mut matters = false;
        if let Some(place) = was.as_ref().filter(|place| place.is_gateway) {
            remove(&mut self.gateways, &place.datapath, uuid);
            matters = true;
        }
        if let Some(place) = is.as_ref().filter(|place| place.is_gateway) {
            self.gateways
                .entry(place.datapath)
                .or_default()
                .insert(uuid);
            matters = true;
        }
        if let Some(place) = was {
            self.gone |= self.naming.contains_key(&NameId::of(place.name));
            if let Some(peer) = place.peer {
                self.gone = true;
                remove(&mut self.of, &place.datapath, uuid);
                remove(&mut self.naming, &NameId::of(peer), uuid);
            }
            matters |= self.gone;
        }
        if let Some(place) = is {
            if let Some(peer) = place.peer {
                self.of.entry(place.datapath).or_default().insert(uuid);
                self.naming
                    .entry(NameId::of(peer))
                    .or_default()
                    .insert(uuid);
                self.come.push(uuid);
                matters = true;
            }
            if let Some(patches) = self.naming.get(&NameId::of(place.name)) {
                self.come.extend(patches);
                matters = true;
            }
        }
        matters
    }

    /// The patch ports of a datapath.
    pub(super) fn of(&self, datapath: Uuid) -> impl Iterator<Item = Uuid> + '_ {
        self.of.get(&datapath).into_iter().flatten().copied()
    }

    /// The ends of gateway routers in a datapath.
    pub(super) fn gateways(&self, datapath: Uuid) -> impl Iterator<Item = Uuid> + '_ {
        self.gateways.get(&datapath).into_iter().flatten().copied()
    }
}

fn place(port: &PortBinding) -> Place<'_> {
    let peer = port.options.get("peer").map(|name| &**name);
    Place {
        name: &port.logical_port,
        datapath: port.datapath,
        peer: peer.filter(|_| PortKind::of(port) == PortKind::Patch),
        is_gateway: PortKind::of(port) == PortKind::L3Gateway,
    }
}

fn remove<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, FxHashSet<Uuid>>, key: &K, uuid: Uuid) {
    if let Some(members) = map.get_mut(key) {
        members.remove(&uuid);
        if members.is_empty() {
            map.remove(key);
        }
    }
}
