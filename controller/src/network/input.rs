//! Rows in, cells changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use addr::Mac;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Row, RowChange, Uuid, truth};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{
    AddressSet, Chassis, ChassisTemplateVar, DatapathBinding, DhcpOptions, Dhcpv6Options, Encap,
    Fdb, GatewayChassis, HaChassis, HaChassisGroup, LoadBalancer, LogicalDpGroup, LogicalFlow,
    MacBinding, Meter, MeterBand, Mirror, MulticastGroup, PortBinding, PortGroup, SbGlobal,
    StaticMacBinding,
};
use smallvec::SmallVec;

use super::binding::PortKind;
use super::migration::is_additional;
use super::{
    Changes, Datapath, DhcpCodes, EncapEnd, LocalInterfaces, NameId, Network, Own, RemoteChassis,
    Tunnel, Unit,
};
use crate::settings::{PASSES_ON, TunnelKind, mac_mappings};

/// The ports of the integration bridge that mean something, collected from the local database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalPorts {
    /// Interfaces by `iface-id`.
    pub interfaces: FxHashMap<Arc<str>, LocalInterfaces>,
    /// Tunnels by the name of the chassis at their other end.
    pub tunnels: FxHashMap<Arc<str>, SmallVec<[Tunnel; 1]>>,
    /// Whether BFD sessions over tunnels are up, by the name of the chassis at the other end.
    pub sessions: FxHashMap<Arc<str>, bool>,
    /// Those of them that are down and have never been up.
    pub newborn: FxHashSet<Arc<str>>,
    /// Patch ports by name.
    pub patches: FxHashMap<Arc<str>, u32>,
}

/// Which of the bridge's ports changed, by name: each is to be looked up in [`LocalPorts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortChanges {
    /// `iface-id`s.
    pub interfaces: FxHashSet<Arc<str>>,
    /// Chassis at the other end of tunnels.
    pub tunnels: FxHashSet<Arc<str>>,
    /// Patch ports.
    pub patches: FxHashSet<Arc<str>>,
}

impl Network {
    /// What this chassis is.
    pub fn set_own(&mut self, changes: &mut Changes, own: Own) {
        self.store_own(changes, own);
        changes.wake(Unit::Constant);
    }

    /// What this chassis is, changed in part.
    pub fn change_own(&mut self, changes: &mut Changes, change: impl FnOnce(&mut Own)) {
        let mut own = self.own.peek(()).cloned().unwrap_or_default();
        change(&mut own);
        self.store_own(changes, own);
    }

    fn store_own(&mut self, changes: &mut Changes, own: Own) {
        self.sharing.switch(own.shares_flows);
        self.members.switch(own.shares_flows);
        match own.keeps_apart {
            true => drop(self.commits_plainly.remove(changes, ())),
            false => drop(self.commits_plainly.set(changes, (), ())),
        }
        self.own.set(changes, (), own);
    }

    /// Replaces what is known of the bridge's ports.
    pub fn set_local_ports(&mut self, changes: &mut Changes, old: &LocalPorts, new: &LocalPorts) {
        let mut tunnels = difference(&old.tunnels, &new.tunnels);
        tunnels.extend(difference(&old.sessions, &new.sessions));
        let changed = PortChanges {
            interfaces: difference(&old.interfaces, &new.interfaces),
            tunnels,
            patches: difference(&old.patches, &new.patches),
        };
        self.change_local_ports(changes, new, &changed);
    }

    /// Some of the bridge's ports changed: these, of all there are.
    pub fn change_local_ports(
        &mut self,
        changes: &mut Changes,
        ports: &LocalPorts,
        changed: &PortChanges,
    ) {
        for name in &changed.interfaces {
            let id = NameId::of(name);
            match ports.interfaces.get(name) {
                Some(value) => drop(self.interfaces.set(changes, id, value.clone())),
                None => drop(self.interfaces.remove(changes, id)),
            }
        }
        for name in &changed.patches {
            let id = NameId::of(name);
            match ports.patches.get(name) {
                Some(value) => drop(self.patches.set(changes, id, *value)),
                None => drop(self.patches.remove(changes, id)),
            }
        }
        for name in &changed.tunnels {
            self.change_tunnels(changes, NameId::of(name), ports.tunnels.get(name));
            self.change_session(changes, NameId::of(name), ports.sessions.get(name).copied());
        }
    }

    /// A session says nothing for now: it has just begun.
    pub fn silence_session(&mut self, changes: &mut Changes, chassis: &str) {
        self.sessions.remove(changes, NameId::of(chassis));
    }

    /// A session that has said nothing says that it is down.
    pub fn end_silence(&mut self, changes: &mut Changes, chassis: &str) {
        self.change_session(changes, NameId::of(chassis), Some(false));
    }

    fn change_session(&mut self, changes: &mut Changes, chassis: NameId, is_up: Option<bool>) {
        let has_changed = match is_up {
            Some(is_up) => self.sessions.set(changes, chassis, is_up),
            None => self.sessions.remove(changes, chassis).is_some(),
        };
        if has_changed && is_up == Some(true) {
            self.reconcile_with(changes, chassis);
        }
        if has_changed {
            let is_connected = self.sessions.iter().any(|(_, is_up)| *is_up);
            match is_connected {
                true => drop(self.connected.set(changes, (), ())),
                false => {
                    // A session that is not wanted any more tells nothing.
                    let was_connected = self.connected.remove(changes, ()).is_some();
                    if was_connected && is_up == Some(false) {
                        self.cut_off.set(changes, (), ());
                    }
                }
            }
        }
    }

    fn change_tunnels(
        &mut self,
        changes: &mut Changes,
        chassis: NameId,
        new: Option<&SmallVec<[Tunnel; 1]>>,
    ) {
        let old = self.tunnels.peek(chassis).cloned().unwrap_or_default();
        for tunnel in &old {
            // Its number may be another tunnel's by now.
            if self.tunnel_ports.peek(tunnel.ofport) == Some(tunnel) {
                self.tunnel_ports.remove(changes, tunnel.ofport);
            }
        }
        for tunnel in new.into_iter().flatten() {
            self.tunnel_ports.set(changes, tunnel.ofport, *tunnel);
            changes.wake(Unit::Tunnel(tunnel.ofport));
        }
        match new {
            Some(new) => drop(self.tunnels.set(changes, chassis, new.clone())),
            None => drop(self.tunnels.remove(changes, chassis)),
        }
    }

    /// A row of the southbound changed.
    pub fn apply(&mut self, changes: &mut Changes, change: &RowChange) {
        let uuid = change.uuid;
        match change.table {
            PortBinding::INDEX => self.apply_port(changes, uuid, row(change)),
            LogicalFlow::INDEX => self.apply_flow(changes, uuid, change.new.clone()),
            DatapathBinding::INDEX => self.apply_datapath(changes, uuid, row(change)),
            LogicalDpGroup::INDEX => self.apply_datapath_group(changes, uuid, row(change)),
            MulticastGroup::INDEX => self.apply_group(changes, uuid, row(change)),
            Chassis::INDEX => match row::<Chassis>(change) {
                Some(chassis) => {
                    self.gateways_version += 1;
                    let mappings = chassis.other_config.get("ovn-chassis-mac-mappings");
                    // What makes no sense its own controller tells.
                    let mappings = mac_mappings(mappings.map_or("", |text| text));
                    let macs: BTreeSet<Mac> = mappings.flatten().map(|(_, mac)| mac).collect();
                    let macs: Vec<Mac> = macs.into_iter().collect();
                    let remote = RemoteChassis {
                        name: chassis.name,
                        encaps: chassis.encaps.into(),
                        transport_zones: chassis.transport_zones.into(),
                        is_remote: truth(chassis.other_config.get("is-remote"), false),
                        macs: macs.into(),
                        passes_on: truth(chassis.other_config.get(PASSES_ON), false),
                    };
                    if !remote.macs.is_empty() {
                        changes.wake(Unit::ChassisMacs(uuid));
                    }
                    self.chassis.set(changes, uuid, remote);
                }
                None => drop(self.chassis.remove(changes, uuid)),
            },
            Encap::INDEX => {
                let end = row::<Encap>(change).and_then(|encap| {
                    Some(EncapEnd {
                        kind: TunnelKind::named(&encap.r#type)?,
                        ip: encap.ip.parse().ok()?,
                    })
                });
                match end {
                    Some(end) => drop(self.encaps.set(changes, uuid, end)),
                    None => drop(self.encaps.remove(changes, uuid)),
                }
            }
            HaChassisGroup::INDEX => match row::<HaChassisGroup>(change) {
                Some(group) => {
                    self.gateways_version += 1;
                    self.ha_groups.set(changes, uuid, Arc::new(group));
                }
                None => {
                    self.gateways_version += 1;
                    self.ha_groups.remove(changes, uuid);
                }
            },
            HaChassis::INDEX => {
                let rank = row::<HaChassis>(change).and_then(|r| Some((r.chassis?, r.priority)));
                self.apply_rank(changes, uuid, rank);
            }
            GatewayChassis::INDEX => {
                let rank =
                    row::<GatewayChassis>(change).and_then(|r| Some((r.chassis?, r.priority)));
                self.apply_rank(changes, uuid, rank);
            }
            ChassisTemplateVar::INDEX => self.apply_templates(changes, uuid, row(change)),
            AddressSet::INDEX => {
                self.apply_address_set(changes, uuid, (change.old.as_ref(), change.new.as_ref()));
            }
            PortGroup::INDEX => {
                self.apply_port_group(changes, uuid, (change.old.as_ref(), change.new.as_ref()));
            }
            SbGlobal::INDEX => {
                let options = row::<SbGlobal>(change).map(|global| global.options);
                let options = options.unwrap_or_default();
                for (key, store) in [
                    ("register_consolidation", &mut self.new_registers),
                    ("always_tunnel", &mut self.always_tunnel),
                ] {
                    match truth(options.get(key), false) {
                        true => drop(store.set(changes, (), ())),
                        false => drop(store.remove(changes, ())),
                    }
                }
            }
            LoadBalancer::INDEX => self.apply_balancer(changes, uuid, row(change)),
            Fdb::INDEX => match row::<Fdb>(change) {
                Some(fdb) => {
                    self.fdb.set(changes, uuid, Arc::new(fdb));
                    self.address_heard(changes, uuid);
                    changes.wake(Unit::Fdb(uuid));
                }
                None => {
                    self.fdb.remove(changes, uuid);
                    self.address_heard(changes, uuid);
                }
            },
            MacBinding::INDEX => match row::<MacBinding>(change) {
                Some(binding) => {
                    self.mac_bindings.set(changes, uuid, Arc::new(binding));
                    self.neighbour_heard(changes, uuid);
                    changes.wake(Unit::MacBinding(uuid));
                }
                None => {
                    self.mac_bindings.remove(changes, uuid);
                    self.neighbour_heard(changes, uuid);
                }
            },
            StaticMacBinding::INDEX => match row::<StaticMacBinding>(change) {
                Some(binding) => {
                    let bindings = &mut self.static_mac_bindings;
                    bindings.set(changes, uuid, Arc::new(binding));
                    changes.wake(Unit::StaticMacBinding(uuid));
                }
                None => drop(self.static_mac_bindings.remove(changes, uuid)),
            },
            Meter::INDEX => {
                if let Some(old) = change.old.as_ref().map(|old| Meter::COLUMN.name.get(old)) {
                    let id = NameId::of(&old);
                    if self.meters.peek(id).is_some_and(|meter| meter.uuid == uuid) {
                        self.meters.remove(changes, id);
                    }
                }
                if let Some(meter) = row::<Meter>(change) {
                    self.meters
                        .set(changes, NameId::of(&meter.name), Arc::new(meter));
                }
            }
            Mirror::INDEX => self.traffic.apply_mirror(uuid, row(change)),
            MeterBand::INDEX => match row::<MeterBand>(change) {
                Some(band) => drop(self.meter_bands.set(changes, uuid, band)),
                None => drop(self.meter_bands.remove(changes, uuid)),
            },
            DhcpOptions::INDEX => {
                let row = row::<DhcpOptions>(change).map(|o| (o.name, o.code, o.r#type, false));
                self.apply_dhcp(changes, uuid, row);
            }
            Dhcpv6Options::INDEX => {
                let row = row::<Dhcpv6Options>(change).map(|o| (o.name, o.code, o.r#type, true));
                self.apply_dhcp(changes, uuid, row);
            }
            _ => {}
        }
    }

    fn apply_rank(&mut self, changes: &mut Changes, uuid: Uuid, rank: Option<(Uuid, i64)>) {
        self.gateways_version += 1;
        match rank {
            Some(rank) => drop(self.ranks.set(changes, uuid, rank)),
            None => drop(self.ranks.remove(changes, uuid)),
        }
    }

    fn apply_templates(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        row: Option<ChassisTemplateVar>,
    ) {
        let old = self.template_rows.remove(&uuid).unwrap_or_default();
        let mut now = Vec::new();
        for (name, value) in row.into_iter().flat_map(|row| row.variables) {
            let id = NameId::of(&name);
            now.push(id);
            self.templates.set(changes, id, (name, value));
        }
        for gone in old.into_iter().filter(|id| !now.contains(id)) {
            self.templates.remove(changes, gone);
        }
        if !now.is_empty() {
            self.template_rows.insert(uuid, now);
        }
    }

    fn apply_flow(&mut self, changes: &mut Changes, uuid: Uuid, flow: Option<Arc<Row>>) {
        let group = |row: &Arc<Row>| LogicalFlow::COLUMN.logical_dp_group.get(row);
        let before = self.flows.peek(uuid).and_then(group);
        let now = flow.as_ref().and_then(group);
        if before != now {
            if let Some(group) = before {
                self.sharing.flow_removed(group);
            }
            if let Some(group) = now {
                self.sharing.flow_added(group);
            }
        }
        match flow {
            Some(flow) => {
                if names_members(&flow) {
                    changes.wake(Unit::Uses(uuid));
                }
                self.flows.set(changes, uuid, flow);
                changes.wake(Unit::Flow(uuid));
            }
            None => drop(self.flows.remove(changes, uuid)),
        }
    }

    fn apply_port(&mut self, changes: &mut Changes, uuid: Uuid, port: Option<PortBinding>) {
        let old = self.ports.peek(uuid).cloned();
        let to_bridge = |port: Option<&PortBinding>| {
            let kind = port.map(PortKind::of);
            let is_door = matches!(kind, Some(PortKind::Localnet | PortKind::L2Gateway));
            let port = port.filter(|_| is_door)?;
            let option = |key: &str| port.options.get(key).cloned();
            let options = (option("network_name"), option("l2gateway-chassis"));
            Some((port.logical_port.clone(), port.datapath, options))
        };
        match port.as_ref().map(PortKind::of) {
            Some(PortKind::L2Gateway) => drop(self.l2_gateways.insert(uuid)),
            _ => drop(self.l2_gateways.remove(&uuid)),
        }
        self.change_addresses(changes, uuid, old.as_deref(), port.as_ref());
        let is_path = self.paths.change(uuid, old.as_deref(), port.as_ref());
        if is_path || to_bridge(old.as_deref()) != to_bridge(port.as_ref()) {
            self.topology_version += 1;
        }
        self.note_ruled(changes, old.as_deref(), port.as_ref());
        if let Some(old) = old {
            let renamed = port
                .as_ref()
                .is_none_or(|new| new.logical_port != old.logical_port);
            if renamed && self.port_named.peek(NameId::of(&old.logical_port)) == Some(&uuid) {
                self.port_named
                    .remove(changes, NameId::of(&old.logical_port));
            }
            let place = |port: &PortBinding| Some((port.datapath, number(port.tunnel_key)?));
            if let Some(key) = place(&old)
                && port.as_ref().and_then(place) != Some(key)
                && self.port_keyed.peek(key) == Some(&uuid)
            {
                self.port_keyed.remove(changes, key);
            }
            let stays_localnet = port.as_ref().is_some_and(|new| {
                new.datapath == old.datapath && PortKind::of(new) == PortKind::Localnet
            });
            if PortKind::of(&old) == PortKind::Localnet && !stays_localnet {
                self.localnets_of.remove(changes, old.datapath, uuid);
            }
            let stays_patch = port.as_ref().is_some_and(|new| {
                new.datapath == old.datapath && PortKind::of(new) == PortKind::Patch
            });
            if PortKind::of(&old) == PortKind::Patch && !stays_patch {
                self.patches_of.remove(changes, old.datapath, uuid);
            }
        }
        let Some(port) = port else {
            self.handed_over.remove(changes, uuid);
            self.taken_over.remove(changes, uuid);
            self.activated.remove(changes, uuid);
            self.conceded.remove(changes, uuid);
            self.ports.remove(changes, uuid);
            self.settle_near(uuid, changes);
            self.settle_traffic(uuid);
            return;
        };
        self.port_named
            .set(changes, NameId::of(&port.logical_port), uuid);
        if let Some(key) = number(port.tunnel_key) {
            self.port_keyed.set(changes, (port.datapath, key), uuid);
        }
        if PortKind::of(&port) == PortKind::Localnet {
            self.localnets_of.insert(changes, port.datapath, uuid);
        }
        if PortKind::of(&port) == PortKind::Patch {
            self.patches_of.insert(changes, port.datapath, uuid);
        }
        self.watch_handover(changes, &port);
        let own = self.own.peek(()).and_then(|own| own.chassis);
        if !own.is_some_and(|own| is_additional(&port, own)) {
            self.activated.remove(changes, uuid);
        }
        self.ports.set(changes, uuid, Arc::new(port));
        self.settle_near(uuid, changes);
        self.settle_traffic(uuid);
        for unit in [
            Unit::Binding(uuid),
            Unit::Port(uuid),
            Unit::PortSecurity(uuid),
        ] {
            changes.wake(unit);
        }
    }

    /// A port to a router has a zone while rules are asked of it.
    fn note_ruled(
        &mut self,
        changes: &mut Changes,
        old: Option<&PortBinding>,
        new: Option<&PortBinding>,
    ) {
        let ruled = |port: Option<&PortBinding>| {
            let port = port.filter(|port| PortKind::of(port) == PortKind::Patch)?;
            let is_ruled = truth(port.options.get("enable_router_port_acl"), false);
            is_ruled.then(|| (port.datapath, port.logical_port.clone()))
        };
        let (old, new) = (ruled(old), ruled(new));
        if old == new {
            return;
        }
        let concerned = [&old, &new].map(|of| of.as_ref().map(|(datapath, _)| *datapath));
        if let Some((datapath, name)) = old
            && let Some(names) = self.ruled.get_mut(&datapath)
        {
            names.remove(&name);
            if names.is_empty() {
                self.ruled.remove(&datapath);
            }
        }
        if let Some((datapath, name)) = new {
            self.ruled.entry(datapath).or_default().insert(name);
        }
        for datapath in concerned.into_iter().flatten() {
            self.settle_zones(datapath, changes);
        }
    }

    /// The guest of a port that is here in addition has spoken here.
    pub fn activate(&mut self, changes: &mut Changes, port: Uuid) {
        if self.ports.peek(port).is_some() {
            self.activated.set(changes, port, ());
        }
    }

    fn apply_datapath(&mut self, changes: &mut Changes, uuid: Uuid, row: Option<DatapathBinding>) {
        let datapath = row.and_then(|row| {
            let key = u32::try_from(row.tunnel_key).ok()?;
            let is_router = row.external_ids.contains_key("logical-router");
            let name = row
                .external_ids
                .get("name")
                .cloned()
                .unwrap_or_else(|| uuid.to_string().into());
            let ages = row.external_ids.get("mac_binding_age_threshold");
            let ages = ages.and_then(|text| text.parse().ok().map(Arc::new));
            let fdb_age_s = row.external_ids.get("fdb_age_threshold");
            let fdb_age_s: Option<u32> = fdb_age_s.and_then(|text| text.parse().ok());
            let is_quiet = row.external_ids.get("disable_garp_rarp");
            let snat_zone = row.external_ids.get("snat-ct-zone");
            Some(Datapath {
                key,
                is_router,
                name,
                is_quiet: truth(is_quiet, false),
                snat_zone: snat_zone
                    .and_then(|text| text.parse().ok())
                    .filter(|_| is_router),
                ages,
                fdb_age_s: fdb_age_s.filter(|age_s| *age_s > 0),
            })
        });
        let ages = |datapath: Option<&Datapath>| {
            let fdb_age = datapath.and_then(|known| Some((known.key, known.fdb_age_s?)));
            (datapath.and_then(|known| known.ages.clone()), fdb_age)
        };
        let has_other_ages = ages(datapath.as_ref()) != ages(self.datapaths.peek(uuid));
        let old = match datapath {
            Some(datapath) => {
                let old = self.datapaths.peek(uuid).cloned();
                self.datapath_keyed.set(changes, datapath.key, uuid);
                let kept = old.filter(|old| old.key != datapath.key);
                self.datapaths.set(changes, uuid, datapath);
                kept
            }
            None => self.datapaths.remove(changes, uuid),
        };
        if let Some(old) = old
            && self.datapath_keyed.peek(old.key) == Some(&uuid)
        {
            self.datapath_keyed.remove(changes, old.key);
        }
        if has_other_ages {
            self.ages_changed(changes, uuid);
        }
        // The name and the kind decide the zones, the key what is asked for.
        self.settle_zones(uuid, changes);
        for group in self.groups_of.get(&uuid).into_iter().flatten() {
            self.sharing.members_changed(*group);
        }
        self.topology_version += 1;
    }

    fn apply_datapath_group(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        row: Option<LogicalDpGroup>,
    ) {
        if row.is_none() {
            self.note_group_gone(uuid);
        }
        let before = self.group_members.remove(&uuid);
        for member in before.iter().flat_map(|members| members.iter()) {
            if let Some(groups) = self.groups_of.get_mut(member) {
                groups.remove(&uuid);
            }
        }
        if let Some(group) = row {
            for member in &group.datapaths {
                self.groups_of.entry(*member).or_default().insert(uuid);
            }
            self.group_members.insert(uuid, group.datapaths.into());
        }
        if self.balanced.contains_key(&uuid) {
            let now = self.group_members.get(&uuid).cloned();
            let members = before.iter().chain(&now);
            let members: Vec<Uuid> = members.flat_map(|m| m.iter().copied()).collect();
            members
                .into_iter()
                .for_each(|member| self.settle_zones(member, changes));
        }
        self.settle_group(uuid, changes);
    }

    fn apply_group(&mut self, changes: &mut Changes, uuid: Uuid, row: Option<MulticastGroup>) {
        if let Some(old) = self.groups.peek(uuid) {
            let key = (old.datapath, NameId::of(&old.name));
            // The name may be another's by now.
            if self.group_named.peek(key) == Some(&uuid) {
                self.group_named.remove(changes, key);
            }
        }
        match row {
            Some(group) => {
                self.group_named
                    .set(changes, (group.datapath, NameId::of(&group.name)), uuid);
                self.groups.set(changes, uuid, Arc::new(group));
                changes.wake(Unit::Group(uuid));
            }
            None => drop(self.groups.remove(changes, uuid)),
        }
    }

    fn apply_dhcp(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        row: Option<(Arc<str>, i64, Arc<str>, bool)>,
    ) {
        let row =
            row.and_then(|(name, code, kind, v6)| Some((name, u8::try_from(code).ok()?, kind, v6)));
        match row {
            Some(row) => drop(self.dhcp_rows.insert(uuid, row)),
            None => drop(self.dhcp_rows.remove(&uuid)),
        }
        let mut codes = DhcpCodes::default();
        for (name, code, kind, v6) in self.dhcp_rows.values() {
            let table = if *v6 { &mut codes.v6 } else { &mut codes.v4 };
            table.insert(name.clone(), (*code, kind.clone()));
        }
        self.dhcp.set(changes, (), Arc::new(codes));
    }
}

/// Whether a logical flow's match may name an address set or a port group.
fn names_members(flow: &Row) -> bool {
    let text = flow.get(LogicalFlow::COLUMN.r#match.index).scalar();
    let text = text.and_then(Atom::as_str).unwrap_or_default();
    text.bytes().any(|byte| matches!(byte, b'$' | b'@' | b'^'))
}

fn number(key: i64) -> Option<u32> {
    u32::try_from(key).ok()
}

fn row<T: Table + TableDefinition>(change: &RowChange) -> Option<T> {
    change.new.as_ref().map(|row| T::from_row(change.uuid, row))
}

/// The keys whose values differ.
fn difference<V: PartialEq>(
    old: &FxHashMap<Arc<str>, V>,
    new: &FxHashMap<Arc<str>, V>,
) -> FxHashSet<Arc<str>> {
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value));
    let changed = changed.map(|(key, _)| key.clone());
    let gone = old.keys().filter(|key| !new.contains_key(*key)).cloned();
    changed.chain(gone).collect()
}
