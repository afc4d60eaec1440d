//! The ports of the switch by what they are, kept up to date row by row: a change costs the ports that it is about.
//!
//! | a port of the integration bridge | is |
//! | --- | --- |
//! | with `external_ids:ovn-chassis-id` | a tunnel |
//! | of type `patch` with `external_ids:ovn-localnet-port` or `ovn-l2gateway-port` | our end of a patch; its other end is a port of another bridge |
//! | whose interface has `external_ids:iface-id` | a logical port's interface |
//! | with `external_ids:ovn-owned` | the tunnel of a mirror |
//! | else | somebody else's |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};
use replica::Tables;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{mirrors, patches, tunnels};
use crate::network::{LocalInterface, LocalInterfaces, LocalPorts, PortChanges, Tunnel};
use crate::settings::TunnelKind;
use crate::vswitch::{Bridge, Interface, Port};

/// What an interface is, as far as it concerns this chassis.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A logical port's.
    Logical {
        id: Arc<str>,
        ofport: Option<u32>,
        /// The local tunnel end by which it wants to be reached.
        encap_ip: Option<Arc<str>>,
        /// Which of the ports that have had the name it is for.
        version: Option<Arc<str>>,
    },
    /// A tunnel.
    Tunnel(TunnelPort),
    /// An end of a patch.
    Patch { name: Arc<str>, end: PatchEnd },
}

/// A port that is a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TunnelPort {
    /// The row of `Port`.
    pub(super) port: Uuid,
    /// The row of `Interface`.
    pub(super) interface: Uuid,
    /// What `external_ids:ovn-chassis-id` says.
    pub(super) owner: Arc<str>,
    /// Its kind; `None` if it is none that is known here.
    pub(super) kind: Option<TunnelKind>,
    ofport: Option<u32>,
    remote: Option<IpAddr>,
    local: Option<IpAddr>,
    /// Whether its BFD session is up, if it has one.
    session: Option<bool>,
    /// Whether it has been up since it is there.
    was_up: bool,
}

/// A port that is an end of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PatchEnd {
    /// The row of `Port`.
    pub(super) port: Uuid,
    /// The row of `Bridge`.
    pub(super) bridge: Uuid,
    /// Its number, on the integration bridge.
    ofport: Option<u32>,
}

/// The ports.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// The bridges, by name.
    bridges: FxHashMap<Arc<str>, Uuid>,
    /// The bridge of each port, and the port of each interface.
    bridge_of: FxHashMap<Uuid, Uuid>,
    port_of: FxHashMap<Uuid, Uuid>,
    names: FxHashSet<Arc<str>>,
    kinds: FxHashMap<Uuid, Kind>,
    logical: FxHashMap<Arc<str>, SmallVec<[LogicalInterface; 1]>>,
    tunnels: FxHashMap<Arc<str>, SmallVec<[TunnelPort; 1]>>,
    patches: FxHashMap<Arc<str>, SmallVec<[PatchEnd; 1]>>,
    /// Interfaces that may have become something else.
    dirty: FxHashSet<Uuid>,
    /// The port that has each `QoS`.
    qos_of: FxHashMap<Uuid, Uuid>,
    /// The tunnels of mirrors, by name.
    mirror_tunnels: BTreeMap<Arc<str>, Uuid>,
    /// Interfaces that are sinks of mirrors, by `mirror-id`.
    sinks: FxHashMap<Arc<str>, BTreeSet<Uuid>>,
}

/// An interface with a logical port's name, its number on the bridge once it has one, and its version.
type LogicalInterface = (Uuid, Option<u32>, Option<Arc<str>>);

impl Ports {
    /// Rows changed. `tables` have them already.
    pub(super) fn apply(&mut self, tables: &Tables, changes: &[RowChange]) {
        for change in changes {
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            match change.table {
                Bridge::INDEX => self.bridge_changed(tables, change.uuid, old, new),
                Port::INDEX => self.port_changed(change.uuid, old, new),
                Interface::INDEX => {
                    self.dirty.insert(change.uuid);
                    self.sink_changed(change.uuid, old, new);
                }
                _ => {}
            }
        }
    }

    fn bridge_changed(
        &mut self,
        tables: &Tables,
        uuid: Uuid,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        let name = Bridge::COLUMN.name;
        if let Some(old) = old.map(|row| name.get(row))
            && self.bridges.get(&old) == Some(&uuid)
        {
            self.bridges.remove(&old);
        }
        if let Some(new) = new {
            self.bridges.insert(name.get(new), uuid);
        }
        let ports = |row: Option<&Row>| row.map(|row| row.get(Bridge::COLUMN.ports.index).clone());
        let (old, new) = (ports(old), ports(new));
        for (port, is_new) in difference(old.as_ref(), new.as_ref()) {
            if is_new {
                self.bridge_of.insert(port, uuid);
            } else if self.bridge_of.get(&port) == Some(&uuid) {
                self.bridge_of.remove(&port);
            }
            let row = tables.get(Port::INDEX, port);
            self.dirty.extend(interfaces(row.map(|row| &**row)));
        }
    }

    fn port_changed(&mut self, uuid: Uuid, old: Option<&Row>, new: Option<&Row>) {
        for interface in interfaces(old) {
            if self.port_of.get(&interface) == Some(&uuid) {
                self.port_of.remove(&interface);
            }
            self.dirty.insert(interface);
        }
        for interface in interfaces(new) {
            self.port_of.insert(interface, uuid);
            self.dirty.insert(interface);
        }
        let (name, qos) = (Port::COLUMN.name, Port::COLUMN.qos);
        let is_mirrors = |row: &Row, name: &str| {
            let ids = row.get(Port::COLUMN.external_ids.index);
            ids.get_str(mirrors::OWNED_KEY) == Some("true") && name.starts_with("ovn-")
        };
        if let Some(old) = old {
            let name = name.get(old);
            if self.mirror_tunnels.get(&name) == Some(&uuid) {
                self.mirror_tunnels.remove(&name);
            }
            self.names.remove(&name);
            if let Some(qos) = qos
                .get(old)
                .filter(|qos| self.qos_of.get(qos) == Some(&uuid))
            {
                self.qos_of.remove(&qos);
            }
        }
        if let Some(new) = new {
            let name = name.get(new);
            if is_mirrors(new, &name) {
                self.mirror_tunnels.insert(name.clone(), uuid);
            }
            self.names.insert(name);
            qos.get(new).map(|qos| self.qos_of.insert(qos, uuid));
        }
    }

    fn sink_changed(&mut self, uuid: Uuid, old: Option<&Row>, new: Option<&Row>) {
        let ids = Interface::COLUMN.external_ids.index;
        let id = |row: Option<&Row>| row?.get(ids).get_str(mirrors::SINK_KEY).map(Arc::from);
        let (old, new): (Option<Arc<str>>, Option<Arc<str>>) = (id(old), id(new));
        if old == new {
            return;
        }
        if let Some(id) = old
            && let Some(known) = self.sinks.get_mut(&id)
        {
            known.remove(&uuid);
            if known.is_empty() {
                self.sinks.remove(&id);
            }
        }
        if let Some(id) = new {
            self.sinks.entry(id).or_default().insert(uuid);
        }
    }

    /// The port of an interface.
    pub(super) fn port_of(&self, interface: Uuid) -> Option<Uuid> {
        self.port_of.get(&interface).copied()
    }

    /// The port that has a `QoS`.
    pub(super) fn port_with(&self, qos: Uuid) -> Option<Uuid> {
        self.qos_of.get(&qos).copied()
    }

    /// The port of a bridge that is the sink of mirrors under this name; of several, the first by identity of its interface.
    pub(super) fn sink(&self, id: &str, bridge: Uuid) -> Option<Uuid> {
        let interfaces = self.sinks.get(id)?.iter();
        let mut ports = interfaces.filter_map(|interface| self.port_of(*interface));
        ports.find(|port| self.bridge_of.get(port) == Some(&bridge))
    }

    /// The tunnel of a mirror of a bridge, by its own name.
    pub(super) fn mirror_tunnel(&self, name: &str, bridge: Uuid) -> Option<Uuid> {
        let port = self.mirror_tunnels.get(name)?;
        (self.bridge_of.get(port) == Some(&bridge)).then_some(*port)
    }

    /// All tunnels of mirrors of a bridge.
    pub(super) fn mirror_tunnels(&self, bridge: Uuid) -> impl Iterator<Item = (&Arc<str>, Uuid)> {
        let all = self.mirror_tunnels.iter();
        all.map(|(name, port)| (name, *port))
            .filter(move |(_, port)| self.bridge_of.get(port) == Some(&bridge))
    }

    /// The bridge of this name.
    pub(super) fn bridge(&self, name: &str) -> Option<Uuid> {
        self.bridges.get(name).copied()
    }

    /// The names of all ports.
    pub(super) fn names(&self) -> &FxHashSet<Arc<str>> {
        &self.names
    }

    /// The tunnels whose owner has this name.
    pub(super) fn tunnels_to(&self, chassis: &str) -> &[TunnelPort] {
        self.tunnels.get(chassis).map_or(&[], |tunnels| tunnels)
    }

    /// All tunnels, with the names of their owners.
    pub(super) fn tunnels(&self) -> impl Iterator<Item = (&Arc<str>, &[TunnelPort])> {
        self.tunnels.iter().map(|(name, ports)| (name, &ports[..]))
    }

    /// The ports that are ends of patches, by name.
    pub(super) fn patches(&self) -> impl Iterator<Item = (&Arc<str>, PatchEnd)> {
        let all = self.patches.iter();
        all.flat_map(|(name, ends)| ends.iter().map(move |end| (name, *end)))
    }

    /// Another bridge is the integration bridge: all of both has to be looked at again.
    pub(super) fn everything_again(&mut self) {
        self.dirty.extend(self.port_of.keys());
    }

    /// Looks at what may have become something else. Brings `known` and `iface_ids` up to date and says what changed.
    pub(super) fn refresh(
        &mut self,
        tables: &Tables,
        integration: Option<Uuid>,
        known: &mut LocalPorts,
        iface_ids: &mut FxHashSet<Arc<str>>,
    ) -> PortChanges {
        let mut touched = PortChanges::default();
        for interface in std::mem::take(&mut self.dirty) {
            let kind = self.kind_of(tables, integration, interface);
            if self.kinds.get(&interface) == kind.as_ref() {
                continue;
            }
            if let Some(old) = self.kinds.remove(&interface) {
                self.take(interface, &old, &mut touched);
            }
            if let Some(new) = kind {
                self.put(interface, &new, &mut touched);
                self.kinds.insert(interface, new);
            }
        }
        for id in &touched.interfaces {
            match self.logical.contains_key(id) {
                true => drop(iface_ids.insert(id.clone())),
                false => drop(iface_ids.remove(id)),
            }
            set(&mut known.interfaces, id, self.interfaces_named(id));
        }
        for chassis in &touched.tunnels {
            set(&mut known.tunnels, chassis, self.usable_tunnels(chassis));
            let session = self.session_with(chassis);
            set(&mut known.sessions, chassis, session);
            match session == Some(false) && !self.was_up_with(chassis) {
                true => drop(known.newborn.insert(Arc::clone(chassis))),
                false => drop(known.newborn.remove(chassis)),
            }
        }
        for name in &touched.patches {
            let ends = self.patches.get(name).into_iter().flatten();
            let ofport = ends.filter_map(|end| end.ofport).min();
            set(&mut known.patches, name, ofport);
        }
        touched
    }

    fn kind_of(&self, tables: &Tables, integration: Option<Uuid>, interface: Uuid) -> Option<Kind> {
        let port = *self.port_of.get(&interface)?;
        let bridge = *self.bridge_of.get(&port)?;
        let row = tables.get(Interface::INDEX, interface)?;
        let port_row = tables.get(Port::INDEX, port)?;
        let column = Interface::COLUMN;
        let ofport = column.ofport.get(row);
        let ofport = ofport
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0);
        let port_ids = port_row.get(Port::COLUMN.external_ids.index);
        let is_patch = row.get(column.r#type.index) == &Datum::from("patch");
        if is_patch && patches::is_end(port_ids) {
            let end = PatchEnd {
                port,
                bridge,
                ofport: ofport.filter(|_| Some(bridge) == integration),
            };
            let name = column.name.get(row);
            return Some(Kind::Patch { name, end });
        }
        if Some(bridge) != integration {
            return None;
        }
        if let Some(owner) = port_ids.get_str(tunnels::OWNER_KEY) {
            let options = row.get(column.options.index);
            let address = |key| options.get_str(key)?.parse().ok();
            let has_session = row.get(column.bfd.index).get_str("enable") == Some("true");
            let status = row.get(column.bfd_status.index);
            let state = status.get_str("state");
            // An older switch does not count.
            let was_up = status.get_str("flap_count") != Some("0");
            return Some(Kind::Tunnel(TunnelPort {
                port,
                interface,
                owner: owner.into(),
                kind: TunnelKind::named(&column.r#type.get(row)),
                ofport,
                remote: address("remote_ip"),
                local: address("local_ip"),
                session: state.filter(|_| has_session).map(|state| state == "up"),
                was_up,
            }));
        }
        let ids = row.get(column.external_ids.index);
        let text = |key: &str| ids.get(&Atom::String(key.into()))?.as_arc_str().cloned();
        Some(Kind::Logical {
            id: text("iface-id")?,
            ofport,
            encap_ip: text("encap-ip"),
            version: text("iface-id-ver"),
        })
    }

    fn put(&mut self, interface: Uuid, kind: &Kind, touched: &mut PortChanges) {
        match kind {
            Kind::Logical {
                id,
                ofport,
                version,
                ..
            } => {
                let known = self.logical.entry(id.clone()).or_default();
                known.push((interface, *ofport, version.clone()));
                touched.interfaces.insert(id.clone());
            }
            Kind::Tunnel(tunnel) => {
                let chassis: Arc<str> = tunnels::chassis_of(&tunnel.owner).into();
                let known = self.tunnels.entry(chassis.clone()).or_default();
                known.push(tunnel.clone());
                touched.tunnels.insert(chassis);
            }
            Kind::Patch { name, end } => {
                self.patches.entry(name.clone()).or_default().push(*end);
                touched.patches.insert(name.clone());
            }
        }
    }

    fn take(&mut self, interface: Uuid, kind: &Kind, touched: &mut PortChanges) {
        match kind {
            Kind::Logical { id, .. } => {
                remove(&mut self.logical, id, |known| known.0 == interface);
                touched.interfaces.insert(id.clone());
            }
            Kind::Tunnel(tunnel) => {
                let chassis: Arc<str> = tunnels::chassis_of(&tunnel.owner).into();
                remove(&mut self.tunnels, &chassis, |known| {
                    known.interface == interface
                });
                touched.tunnels.insert(chassis);
            }
            Kind::Patch { name, end } => {
                remove(&mut self.patches, name, |known| known == end);
                touched.patches.insert(name.clone());
            }
        }
    }

    /// The usable interfaces with a logical port's name, those that were there first before others, going by their numbers.
    fn interfaces_named(&self, id: &str) -> Option<LocalInterfaces> {
        let known = self.logical.get(id)?.iter();
        let usable = known.filter_map(|(uuid, ofport, version)| {
            Some(LocalInterface {
                uuid: *uuid,
                ofport: (*ofport)?,
                version: version.clone(),
            })
        });
        let mut usable: LocalInterfaces = usable.collect();
        usable.sort_by_key(|interface| (interface.ofport, interface.uuid));
        (!usable.is_empty()).then_some(usable)
    }

    /// Whether any BFD session with a chassis is up, if there are any.
    fn session_with(&self, chassis: &str) -> Option<bool> {
        let tunnels = self.tunnels.get(chassis)?.iter();
        tunnels.filter_map(|tunnel| tunnel.session).max()
    }

    fn was_up_with(&self, chassis: &str) -> bool {
        let tunnels = self.tunnels.get(chassis).into_iter().flatten();
        tunnels.into_iter().any(|tunnel| tunnel.was_up)
    }

    fn usable_tunnels(&self, chassis: &str) -> Option<SmallVec<[Tunnel; 1]>> {
        let known = self.tunnels.get(chassis)?.iter();
        let mut usable: SmallVec<[Tunnel; 1]> = known
            .filter_map(|tunnel| {
                Some(Tunnel {
                    ofport: tunnel.ofport?,
                    kind: tunnel.kind?,
                    remote: tunnel.remote,
                    local: tunnel.local,
                })
            })
            .collect();
        usable.sort_by_key(|tunnel| (tunnel.kind, tunnel.ofport));
        (!usable.is_empty()).then_some(usable)
    }
}

/// Which members a set has lost (`false`) and won (`true`).
fn difference(old: Option<&Datum>, new: Option<&Datum>) -> Vec<(Uuid, bool)> {
    let (mut found, nothing) = (Vec::new(), Datum::empty_set());
    let [old, new] = [old, new].map(|set| set.unwrap_or(&nothing).atoms());
    ovsdb::difference(old, new, |atom, is_new| {
        found.extend(atom.as_uuid().map(|uuid| (uuid, is_new)));
    });
    found
}

/// The interfaces of a port.
fn interfaces(port: Option<&Row>) -> Vec<Uuid> {
    port.map(|row| Port::COLUMN.interfaces.get(row))
        .unwrap_or_default()
}

fn set<V>(map: &mut FxHashMap<Arc<str>, V>, key: &Arc<str>, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key.clone(), value)),
        None => drop(map.remove(key)),
    }
}

fn remove<V, const N: usize>(
    map: &mut FxHashMap<Arc<str>, SmallVec<[V; N]>>,
    key: &Arc<str>,
    is_it: impl Fn(&V) -> bool,
) where
    [V; N]: smallvec::Array<Item = V>,
{
    if let Some(known) = map.get_mut(key) {
        known.retain(|value| !is_it(value));
        if known.is_empty() {
            map.remove(key);
        }
    }
}
