//! What has to be done to the local database so that it is as it should be: the integration bridge, tunnels, patches, queues,
//! mirrors, what is remembered of zones, and which interfaces have their flows.
//!
//! Each thing that may not be as it should is pending until it was looked at and nothing had to be done: so whatever is asked
//! of the database is checked when it has answered.
//!
//! Nothing of anybody else's is touched: only ports that carry the mark of this controller or OVN's are changed or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Row, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::mirrors::WantedMirror;
use super::operations::{add_port, drop_keys, remove_port, set_key};
use super::patches::{self, WantedPatch};
use super::queues::{NAME_KEY, WantedQueue};
use super::tunnels::{self, RemoteEncap, WantedTunnel};
use super::{Local, bridge, index};
use crate::network::Zones;
use crate::settings::{DEFAULT_BRIDGE, Settings};
use crate::vswitch::{Bridge, Interface, OpenVSwitch, Port};

/// What there should be, beside what the settings say.
pub trait Wanted {
    /// All other chassis to which there may be tunnels.
    fn chassis(&self) -> Vec<Arc<str>>;
    /// The ends of tunnels at a chassis; none if there is to be no tunnel.
    fn encaps(&self, settings: &Settings, chassis: &str) -> Vec<RemoteEncap>;
    /// The patches.
    fn patches(&self) -> Vec<WantedPatch>;
    /// The queues of ports at the interfaces to physical networks.
    fn queues(&self) -> Vec<WantedQueue>;
    /// The mirrors.
    fn mirrors(&self) -> Vec<WantedMirror>;
    /// The zones; `None` while they are not known.
    fn zones(&self) -> Option<&Zones>;
    /// Whether chassis and patches are known.
    fn is_known(&self) -> bool;
    /// Whether the switch has confirmed its flows.
    fn has_flows(&self) -> bool;
    /// How far this controller is.
    fn progress(&self) -> Progress;
}

/// How far a controller is, as it says in the integration bridge under OVN's keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// When it started, in milliseconds since the epoch.
    pub started_ms: i64,
    /// The `SB_Global.nb_cfg` whose flows the switch has confirmed, if it is known.
    pub nb_cfg: Option<i64>,
    /// What time it is, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// What may not be as it should be.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The integration bridge itself.
    pub(super) bridge: bool,
    /// Whether the switch waits for flows before it lets packets pass.
    pub(super) restore: bool,
    /// The tunnels to these chassis.
    pub(super) tunnels: FxHashSet<Arc<str>>,
    /// Those to all.
    pub(super) all_tunnels: bool,
    /// The patches.
    pub(super) patches: bool,
    /// Queues.
    pub(super) queues: bool,
    /// Mirrors.
    pub(super) mirrors: bool,
    /// What is remembered of the zones of these names.
    pub(super) zones: BTreeSet<Arc<str>>,
    /// What is remembered of all zones.
    pub(super) all_zones: bool,
    /// This was the integration bridge before.
    pub(super) left_bridge: Option<Uuid>,
}

/// Says in `Interface.external_ids` that the port's flows are in place.
const INSTALLED_KEY: &str = "ovn-installed";
/// Since when, in milliseconds since the epoch.
const INSTALLED_AT_KEY: &str = "ovn-installed-ts";
/// In the integration bridge's `external_ids`: [`Progress::started_ms`].
const STARTED_KEY: &str = "ovn-startup-ts";
/// In the integration bridge's `external_ids`: [`Progress::nb_cfg`], and when it was reached, in milliseconds since the epoch.
const NB_CFG_KEYS: [&str; 2] = ["ovn-nb-cfg", "ovn-nb-cfg-ts"];

impl Local {
    /// A chassis, or the ends of tunnels there, changed.
    pub fn chassis_changed(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        self.pending.tunnels.extend(names);
    }

    /// BFD sessions are to run with these chassis, with these settings.
    pub fn set_bfd(&mut self, peers: FxHashSet<Arc<str>>, settings: BTreeMap<Arc<str>, Arc<str>>) {
        let (old, old_settings) = &self.bfd;
        let others = old.symmetric_difference(&peers);
        self.pending.tunnels.extend(others.cloned());
        if *old_settings != settings {
            self.pending.tunnels.extend(peers.iter().cloned());
        }
        self.bfd = (peers, settings);
    }

    /// What `Interface.bfd` is to be for tunnels to a chassis.
    fn bfd_with(&self, chassis: &str) -> BTreeMap<Arc<str>, Arc<str>> {
        let (peers, settings) = &self.bfd;
        match peers.contains(chassis) {
            true => settings.clone(),
            false => BTreeMap::new(),
        }
    }

    /// Other patches may be wanted.
    pub fn patches_changed(&mut self) {
        self.pending.patches = true;
    }

    /// Other queues or mirrors may be wanted.
    pub fn traffic_changed(&mut self) {
        self.pending.queues = true;
        self.pending.mirrors = true;
    }

    /// These names got zones, or lost theirs.
    pub fn zones_changed(&mut self, names: BTreeSet<Arc<str>>) {
        self.pending.zones.extend(names);
    }

    /// All zones are known now, or no longer.
    pub fn all_zones_changed(&mut self) {
        self.pending.all_zones = true;
    }

    /// The operations of one transaction; none when all is well, as far as it is known. Of `marks`, which say which interfaces
    /// have their flows and which have not any more, those that are right are removed.
    pub fn reconcile(
        &mut self,
        wanted: &impl Wanted,
        marks: &mut FxHashMap<Uuid, bool>,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        let Some(settings) = self.settings.clone() else {
            return operations;
        };
        let Some((uuid, row)) = self.integration_row() else {
            if let Some(switch) = self.tables.iter_as::<OpenVSwitch>().next() {
                bridge::create(&settings, switch.uuid, &mut operations);
            }
            return operations;
        };
        if self.pending.bridge {
            bridge::correct(&settings, uuid, &row, &mut operations);
            if let Some(switch) = self.tables.iter_as::<OpenVSwitch>().next() {
                bridge::look_through_tags(&switch, &mut operations);
                index::take(&switch, &settings.system_id, &mut operations);
            }
            self.pending.bridge = !operations.is_empty();
        }
        if self.pending.restore && wanted.has_flows() {
            let switch = self.tables.iter_as::<OpenVSwitch>().next();
            let release = switch.and_then(|switch| bridge::let_packets_pass(&switch));
            self.pending.restore = release.is_some();
            operations.extend(release);
        }
        if let Some(left) = self.pending.left_bridge {
            let tunnels = self.tunnels_on(left);
            if tunnels.is_empty() {
                self.pending.left_bridge = None;
            }
            operations.extend(tunnels);
        }
        if wanted.is_known() {
            self.reconcile_all_tunnels(uuid, &settings, wanted, &mut operations);
            if self.pending.patches {
                let before = operations.len();
                self.reconcile_patches(uuid, &wanted.patches(), &mut operations);
                self.pending.patches = operations.len() > before;
            }
            if self.pending.queues {
                let before = operations.len();
                let chassis = &settings.system_id;
                self.reconcile_queues(chassis, &wanted.queues(), &mut operations);
                self.pending.queues = operations.len() > before;
            }
            if self.pending.mirrors {
                let before = operations.len();
                self.reconcile_mirrors(uuid, &wanted.mirrors(), &mut operations);
                self.pending.mirrors = operations.len() > before;
            }
        }
        if let Some(zones) = wanted.zones() {
            operations.extend(self.reconcile_zones(uuid, &row, zones));
        }
        let progress = wanted.progress();
        operations.extend(tell_progress(uuid, &row, progress));
        operations.extend(self.tell_name(uuid, &row));
        marks.retain(|interface, installed| {
            let mark = self.mark_installed(*interface, *installed, progress.now_ms);
            let wrong = mark.is_some();
            operations.extend(mark);
            wrong
        });
        operations
    }

    /// Makes the bridge say whose it is, if this controller goes by another name than the database's.
    fn tell_name(&self, bridge: Uuid, row: &Row) -> Option<Operation> {
        let column = Bridge::COLUMN.external_ids.index;
        let told = row.get(column).get_str(NAME_KEY);
        let mutations = match &self.chassis_name {
            Some(name) if told == Some(&**name) => return None,
            Some(name) => set_key(column, NAME_KEY, name),
            None => vec![drop_keys(column, [told.map(|_| NAME_KEY)?])],
        };
        Some(Operation::mutate_row(Bridge::INDEX, bridge, mutations))
    }

    /// The operations that take away the tunnels and the index of their names, when the chassis takes leave. Nothing when there are none.
    pub fn farewell(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        if let Some(bridge) = self.integration {
            let tunnels = self.index.tunnels().flat_map(|(_, tunnels)| tunnels);
            operations.extend(tunnels.map(|tunnel| remove_port(bridge, tunnel.port)));
        }
        if let Some(settings) = &self.settings
            && let Some(switch) = self.tables.iter_as::<OpenVSwitch>().next()
        {
            operations.extend(index::give_back(&switch, &settings.system_id));
        }
        operations
    }

    fn integration_row(&self) -> Option<(Uuid, Arc<Row>)> {
        let uuid = self.integration?;
        Some((uuid, self.tables.get(Bridge::INDEX, uuid)?.clone()))
    }

    /// Takes the tunnels off a bridge that is not the integration bridge any more.
    fn tunnels_on(&self, bridge: Uuid) -> Vec<Operation> {
        let Some(row) = self.tables.get(Bridge::INDEX, bridge) else {
            return Vec::new();
        };
        let ids = Port::COLUMN.external_ids.index;
        let is_tunnel = |port: &Uuid| {
            let row = self.tables.get(Port::INDEX, *port);
            row.is_some_and(|row| row.get(ids).get_str(tunnels::OWNER_KEY).is_some())
        };
        let ports = Bridge::COLUMN.ports.get(row).into_iter();
        ports
            .filter(is_tunnel)
            .map(|port| remove_port(bridge, port))
            .collect()
    }

    fn reconcile_all_tunnels(
        &mut self,
        bridge: Uuid,
        settings: &Settings,
        wanted: &impl Wanted,
        operations: &mut Vec<Operation>,
    ) {
        if std::mem::take(&mut self.pending.all_tunnels) {
            self.pending.tunnels.extend(wanted.chassis());
            self.pending.tunnels.insert(tunnels::FLOW_BASED.into());
            let present = self.index.tunnels().map(|(chassis, _)| chassis.clone());
            self.pending.tunnels.extend(present);
        }
        let mut pending = std::mem::take(&mut self.pending.tunnels);
        if pending.is_empty() {
            return;
        }
        let switch = self.tables.iter_as::<OpenVSwitch>().next();
        let index = switch.map(|switch| index::of(&switch, &settings.system_id));
        let index = index.unwrap_or_default();
        // Names that are given to ports within this transaction.
        let mut given = FxHashSet::default();
        pending.retain(|chassis| {
            let mut tunnels = Vec::new();
            if !settings.flow_based_tunnels {
                tunnels = tunnels::wanted(settings, chassis, &wanted.encaps(settings, chassis));
            } else if **chassis == *tunnels::FLOW_BASED {
                tunnels = tunnels::flow_based(settings);
            }
            let before = operations.len();
            let place = (bridge, &*index);
            self.reconcile_tunnels(place, chassis, tunnels, &mut given, operations);
            operations.len() > before
        });
        self.pending.tunnels = pending;
    }

    fn reconcile_tunnels(
        &self,
        (bridge, index): (Uuid, &str),
        chassis: &str,
        mut missing: Vec<WantedTunnel>,
        given: &mut FxHashSet<String>,
        operations: &mut Vec<Operation>,
    ) {
        let bfd = self.bfd_with(chassis);
        for present in self.index.tunnels_to(chassis) {
            let Some(found) = missing
                .iter()
                .position(|tunnel| tunnel.is(&present.owner, present.kind))
            else {
                operations.push(remove_port(bridge, present.port));
                continue;
            };
            let tunnel = missing.swap_remove(found);
            if *present.owner != *tunnel.owner {
                let ids = Port::COLUMN.external_ids.index;
                let set = set_key(ids, tunnels::OWNER_KEY, &tunnel.owner);
                operations.push(Operation::mutate_row(Port::INDEX, present.port, set));
            }
            let options = Interface::COLUMN.options;
            let row = self.tables.get(Interface::INDEX, present.interface);
            if row.is_some_and(|row| options.get(row) != tunnel.options) {
                let update = vec![options.to(&tunnel.options)];
                let interface = present.interface;
                operations.push(Operation::update_row(Interface::INDEX, interface, update));
            }
            let column = Interface::COLUMN.bfd;
            if row.is_some_and(|row| column.get(row) != bfd) {
                let update = vec![column.to(&bfd)];
                let interface = present.interface;
                operations.push(Operation::update_row(Interface::INDEX, interface, update));
            }
        }
        for tunnel in missing {
            let taken = self.index.names();
            let is_taken = |name: &str| taken.contains(name) || given.contains(name);
            let usual = tunnel.name.clone().filter(|name| !is_taken(name));
            let name = usual.unwrap_or_else(|| tunnels::port_name(index, chassis, is_taken));
            let interface = Interface {
                name: name.as_str().into(),
                r#type: tunnel.kind.name().into(),
                options: tunnel.options.clone(),
                bfd: bfd.clone(),
                ..Interface::default()
            };
            given.insert(name);
            add_port(bridge, &interface, tunnel.ids(), operations);
        }
    }

    fn reconcile_patches(
        &self,
        integration: Uuid,
        wanted: &[WantedPatch],
        operations: &mut Vec<Operation>,
    ) {
        // By bridge and name: whose end it is, and the name of the other.
        let mut missing = BTreeMap::<(Uuid, Arc<str>), (&WantedPatch, Arc<str>)>::new();
        let name = self
            .settings
            .as_ref()
            .map_or("", |settings| &settings.bridge);
        for patch in wanted {
            // Without the other bridge there is nothing to patch to; it may come.
            let Some(other) = self.index.bridge(&patch.bridge) else {
                continue;
            };
            let [here, there] = patch.names(name).map(Arc::<str>::from);
            missing.insert((integration, here.clone()), (patch, there.clone()));
            missing.insert((other, there), (patch, here));
        }
        let ours = patches::to(name);
        for (name, end) in self.index.patches() {
            // Until now, ends were named so whatever the integration bridge was.
            let is_old = name.ends_with(&patches::to(DEFAULT_BRIDGE));
            let is_left = is_old && self.index.bridge(DEFAULT_BRIDGE).is_none();
            let is_ours = end.bridge == integration || name.ends_with(&ours) || is_left;
            if missing.remove(&(end.bridge, name.clone())).is_none() && is_ours {
                operations.push(remove_port(end.bridge, end.port));
            }
        }
        for ((bridge, name), (patch, peer)) in missing {
            let interface = Interface {
                name,
                r#type: "patch".into(),
                options: [("peer".into(), peer)].into(),
                ..Interface::default()
            };
            add_port(bridge, &interface, patch.ids(), operations);
        }
    }

    fn mark_installed(&self, uuid: Uuid, installed: bool, now_ms: i64) -> Option<Operation> {
        let row = self.tables.get(Interface::INDEX, uuid)?;
        let column = Interface::COLUMN.external_ids.index;
        let ids = row.get(column);
        let lport = ids.get_str("iface-id");
        let mutation = match (ids.get_str(INSTALLED_KEY), installed) {
            (Some("true"), true) | (None, false) => return None,
            (_, true) => {
                let lport = lport.unwrap_or_default();
                tracing::info!(target: "binding", "Setting lport {lport} ovn-installed in OVS");
                let mut set = set_key(column, INSTALLED_KEY, "true");
                set.extend(set_key(column, INSTALLED_AT_KEY, &now_ms.to_string()));
                set
            }
            (Some(_), false) => {
                let name = Interface::COLUMN.name.get(row);
                tracing::info!(target: "binding", "Removing iface {name} ovn-installed in OVS");
                if let Some(lport) = lport {
                    tracing::info!(target: "binding", "Removing lport {lport} ovn-installed in OVS");
                }
                vec![drop_keys(column, [INSTALLED_KEY, INSTALLED_AT_KEY])]
            }
        };
        Some(Operation::mutate_row(Interface::INDEX, uuid, mutation))
    }

    /// Makes the bridge remember the zones that there are.
    fn reconcile_zones(&mut self, bridge: Uuid, row: &Row, zones: &Zones) -> Option<Operation> {
        let column = Bridge::COLUMN.external_ids.index;
        let remembered = row.get(column);
        if std::mem::take(&mut self.pending.all_zones) {
            let keys = remembered
                .pairs()
                .iter()
                .filter_map(|(key, _)| key.as_str());
            let old = keys.filter_map(Zones::name_of).map(Arc::from);
            self.pending.zones.extend(old);
            let new = zones.iter().map(|(name, _)| name.clone());
            self.pending.zones.extend(new);
        }
        let (mut gone, mut mutations) = (Vec::new(), Vec::new());
        self.pending.zones.retain(|name| {
            let key = Zones::key(name);
            let number = zones.get(name).map(|number| number.to_string());
            if remembered.get_str(&key) == number.as_deref() {
                return false;
            }
            match number {
                Some(number) => mutations.extend(set_key(column, &key, &number)),
                None => gone.push(key),
            }
            true
        });
        if !gone.is_empty() {
            let gone = gone.iter().map(String::as_str);
            mutations.push(drop_keys(column, gone));
        }
        (!mutations.is_empty()).then(|| Operation::mutate_row(Bridge::INDEX, bridge, mutations))
    }
}

/// Makes the bridge say how far this controller is.
fn tell_progress(bridge: Uuid, row: &Row, progress: Progress) -> Option<Operation> {
    let column = Bridge::COLUMN.external_ids.index;
    let told = row.get(column);
    let mut mutations = Vec::new();
    let started = progress.started_ms.to_string();
    if told.get_str(STARTED_KEY) != Some(&started) {
        mutations.extend(set_key(column, STARTED_KEY, &started));
    }
    let [cfg_key, at_key] = NB_CFG_KEYS;
    let reached = progress.nb_cfg.map(|cfg| cfg.to_string());
    if let Some(reached) = reached.filter(|cfg| told.get_str(cfg_key) != Some(cfg)) {
        mutations.extend(set_key(column, cfg_key, &reached));
        mutations.extend(set_key(column, at_key, &progress.now_ms.to_string()));
    }
    (!mutations.is_empty()).then(|| Operation::mutate_row(Bridge::INDEX, bridge, mutations))
}
