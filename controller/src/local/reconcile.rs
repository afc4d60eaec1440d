//! What has to be done to the local database so that it is as it should be: the integration bridge, tunnels, patches, what is
//! remembered of zones, and which interfaces have their flows.
//!
//! Nothing of anybody else's is touched: only ports that carry the mark of this controller or OVN's are changed or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Atom, Datum, Uuid};
use rustc_hash::FxHashMap;

use super::Local;
use super::patches::{self, WantedPatch};
use super::tunnels::{self, RemoteEncap};
use crate::network::Zones;
use crate::vswitch::{Bridge, Interface, OpenVSwitch, Port};

/// What there should be, beside what the settings say.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The other chassis' ends of tunnels; `None` while they are not known.
    pub encaps: Option<&'a [RemoteEncap]>,
    /// The patches; `None` while they are not known.
    pub patches: Option<&'a [WantedPatch]>,
    /// The zones; `None` while they are not known.
    pub zones: Option<&'a Zones>,
    /// Which interfaces have their flows, and which have not any more.
    pub installed: &'a FxHashMap<Uuid, bool>,
}

type Strings = BTreeMap<Arc<str>, Arc<str>>;

/// Says in `Interface.external_ids` that the port's flows are in place.
const INSTALLED_KEY: &str = "ovn-installed";

impl Local {
    /// The operations of one transaction; none when all is well.
    pub fn reconcile(&self, wanted: &Wanted<'_>) -> Vec<Operation> {
        let mut operations = Vec::new();
        let Some(bridge) = self.bridge() else {
            self.create_bridge(&mut operations);
            return operations;
        };
        self.correct_bridge(&bridge, &mut operations);
        if let Some(encaps) = wanted.encaps {
            self.reconcile_tunnels(&bridge, encaps, &mut operations);
        }
        if let Some(patches) = wanted.patches {
            self.reconcile_patches(&bridge, patches, &mut operations);
        }
        if let Some(zones) = wanted.zones {
            reconcile_zones(&bridge, zones, &mut operations);
        }
        for (&uuid, &installed) in wanted.installed {
            operations.extend(self.mark_installed(uuid, installed));
        }
        operations
    }

    /// The operations that take away the tunnels, when the chassis takes leave. Nothing when there are none.
    pub fn farewell(&self) -> Vec<Operation> {
        let Some(bridge) = self.bridge() else {
            return Vec::new();
        };
        let tunnels = self
            .bridge_ports(&bridge)
            .filter(|(port, _)| port.external_ids.contains_key(tunnels::OWNER_KEY));
        tunnels
            .map(|(port, _)| remove_port(bridge.uuid, port.uuid))
            .collect()
    }

    fn create_bridge(&self, operations: &mut Vec<Operation>) {
        let (Some(settings), Some(switch)) =
            (&self.settings, self.tables.iter_as::<OpenVSwitch>().next())
        else {
            return;
        };
        let interface = insert(
            operations,
            &Interface {
                name: settings.bridge.clone(),
                r#type: "internal".into(),
                ..Interface::default()
            },
        );
        let port = insert(
            operations,
            &Port {
                name: settings.bridge.clone(),
                interfaces: vec![interface],
                ..Port::default()
            },
        );
        let bridge = Bridge {
            name: settings.bridge.clone(),
            ports: vec![port],
            datapath_type: settings.datapath_type.clone().unwrap_or_default(),
            fail_mode: Some("secure".into()),
            other_config: [in_band_off()].into(),
            ..Bridge::default()
        };
        let bridge = insert(operations, &bridge);
        let add = Mutation::new(
            OpenVSwitch::COLUMN.bridges.index,
            Mutator::Insert,
            Datum::One(Atom::Uuid(bridge)),
        );
        operations.push(Operation::mutate_row(
            OpenVSwitch::INDEX,
            switch.uuid,
            vec![add],
        ));
    }

    fn correct_bridge(&self, bridge: &Bridge, operations: &mut Vec<Operation>) {
        let mut row = Vec::new();
        if bridge.fail_mode.as_deref() != Some("secure") {
            row.push(Bridge::COLUMN.fail_mode.to(&Some("secure".into())));
        }
        let datapath_type = self
            .settings
            .as_ref()
            .and_then(|settings| settings.datapath_type.as_ref());
        if let Some(wanted) = datapath_type.filter(|wanted| **wanted != bridge.datapath_type) {
            row.push(Bridge::COLUMN.datapath_type.to(wanted));
        }
        let (key, value) = in_band_off();
        if bridge.other_config.get(&key) != Some(&value) {
            let mut config = bridge.other_config.clone();
            config.insert(key, value);
            row.push(Bridge::COLUMN.other_config.to(&config));
        }
        if !row.is_empty() {
            operations.push(Operation::update_row(Bridge::INDEX, bridge.uuid, row));
        }
    }

    fn reconcile_tunnels(
        &self,
        bridge: &Bridge,
        encaps: &[RemoteEncap],
        operations: &mut Vec<Operation>,
    ) {
        let Some(settings) = &self.settings else {
            return;
        };
        let wanted = tunnels::wanted(settings, encaps);
        let mut taken: BTreeSet<Arc<str>> = self
            .tables
            .iter_as::<Port>()
            .map(|port| port.name)
            .collect();
        let mut missing: Vec<_> = wanted.iter().collect();
        for (port, interface) in self.bridge_ports(bridge) {
            let Some(owner) = port.external_ids.get(tunnels::OWNER_KEY) else {
                continue;
            };
            let kind = super::tunnel_kind(&interface);
            // OVN's newer controllers add the local end to the name; the tunnel is the same.
            let owner = owner.split_once('%').map_or(&**owner, |(remote, _)| remote);
            match missing
                .iter()
                .position(|t| t.owner == owner && Some(t.kind) == kind)
            {
                Some(found) => {
                    let tunnel = missing.swap_remove(found);
                    let differs = tunnel
                        .options
                        .iter()
                        .any(|(k, v)| interface.options.get(k) != Some(v));
                    if differs {
                        let options = Interface::COLUMN.options.to(&tunnel.options);
                        operations.push(Operation::update_row(
                            Interface::INDEX,
                            interface.uuid,
                            vec![options],
                        ));
                    }
                }
                None => operations.push(remove_port(bridge.uuid, port.uuid)),
            }
        }
        for tunnel in missing {
            let name = tunnels::port_name(&tunnel.chassis, &taken);
            taken.insert(name.as_str().into());
            let interface = Interface {
                name: name.as_str().into(),
                r#type: tunnel.kind.name().into(),
                options: tunnel.options.clone(),
                ..Interface::default()
            };
            let ids = [(tunnels::OWNER_KEY.into(), tunnel.owner.as_str().into())].into();
            add_port(bridge.uuid, &interface, &ids, operations);
        }
    }

    fn reconcile_patches(
        &self,
        integration: &Bridge,
        wanted: &[WantedPatch],
        operations: &mut Vec<Operation>,
    ) {
        let mut present: BTreeSet<Arc<str>> = BTreeSet::new();
        let mine: BTreeMap<String, &WantedPatch> = wanted
            .iter()
            .flat_map(|patch| patch.names().map(|name| (name, patch)))
            .collect();
        for bridge in self.tables.iter_as::<Bridge>() {
            for (port, _) in self.bridge_ports(&bridge) {
                if !port.external_ids.contains_key(patches::OWNER_KEY) {
                    continue;
                }
                let belongs = mine.get(&*port.name).is_some_and(|patch| {
                    let [here, _] = patch.names();
                    let home = if *port.name == *here {
                        &integration.name
                    } else {
                        &patch.bridge
                    };
                    *home == bridge.name
                });
                if belongs {
                    present.insert(port.name.clone());
                } else {
                    operations.push(remove_port(bridge.uuid, port.uuid));
                }
            }
        }
        for patch in wanted {
            // Without the other bridge there is nothing to patch to; it may come.
            let Some(other) = self.bridge_named(&patch.bridge) else {
                continue;
            };
            let [here, there] = patch.names();
            for (bridge, name, peer) in [
                (integration.uuid, &here, &there),
                (other.uuid, &there, &here),
            ] {
                if present.contains(name.as_str()) {
                    continue;
                }
                let interface = Interface {
                    name: name.as_str().into(),
                    r#type: "patch".into(),
                    options: [("peer".into(), peer.as_str().into())].into(),
                    ..Interface::default()
                };
                let ids = [(patches::OWNER_KEY.into(), patch.localnet.clone())].into();
                add_port(bridge, &interface, &ids, operations);
            }
        }
    }

    fn mark_installed(&self, uuid: Uuid, installed: bool) -> Option<Operation> {
        let interface = self.interface(uuid)?;
        let mutation = match (
            interface.external_ids.get(INSTALLED_KEY).map(|v| &**v),
            installed,
        ) {
            (Some("true"), true) | (None, false) => return None,
            (_, true) => set_key(Interface::COLUMN.external_ids.index, INSTALLED_KEY, "true"),
            (Some(_), false) => vec![drop_keys(
                Interface::COLUMN.external_ids.index,
                [INSTALLED_KEY],
            )],
        };
        Some(Operation::mutate_row(Interface::INDEX, uuid, mutation))
    }
}

fn reconcile_zones(bridge: &Bridge, zones: &Zones, operations: &mut Vec<Operation>) {
    let column = Bridge::COLUMN.external_ids.index;
    let wanted: BTreeMap<String, String> = zones.external_ids().collect();
    let gone = bridge
        .external_ids
        .keys()
        .filter(|key| Zones::is_key(key) && !wanted.contains_key(&***key));
    let mut mutations = Vec::new();
    let gone: Vec<&str> = gone.map(|key| &**key).collect();
    if !gone.is_empty() {
        mutations.push(drop_keys(column, gone));
    }
    for (key, value) in &wanted {
        if bridge.external_ids.get(key.as_str()).map(|v| &**v) != Some(value.as_str()) {
            mutations.extend(set_key(column, key, value));
        }
    }
    if !mutations.is_empty() {
        operations.push(Operation::mutate_row(Bridge::INDEX, bridge.uuid, mutations));
    }
}

fn in_band_off() -> (Arc<str>, Arc<str>) {
    ("disable-in-band".into(), "true".into())
}

/// Inserts a row; returns its identity.
fn insert<T: Table + TableDefinition>(operations: &mut Vec<Operation>, row: &T) -> Uuid {
    let uuid = Uuid::new_v4();
    let columns = row
        .to_row()
        .columns()
        .iter()
        .cloned()
        .enumerate()
        .filter(|(_, datum)| !datum.is_empty())
        .collect();
    operations.push(Operation::Insert {
        table: T::INDEX,
        uuid,
        row: columns,
    });
    uuid
}

fn add_port(
    bridge: Uuid,
    interface: &Interface,
    external_ids: &Strings,
    operations: &mut Vec<Operation>,
) {
    let name = interface.name.clone();
    let interface = insert(operations, interface);
    let port = insert(
        operations,
        &Port {
            name,
            interfaces: vec![interface],
            external_ids: external_ids.clone(),
            ..Port::default()
        },
    );
    let add = Mutation::new(
        Bridge::COLUMN.ports.index,
        Mutator::Insert,
        Datum::One(Atom::Uuid(port)),
    );
    operations.push(Operation::mutate_row(Bridge::INDEX, bridge, vec![add]));
}

/// Takes a port out of its bridge; port and interface go with the last reference to them.
fn remove_port(bridge: Uuid, port: Uuid) -> Operation {
    let remove = Mutation::new(
        Bridge::COLUMN.ports.index,
        Mutator::Delete,
        Datum::One(Atom::Uuid(port)),
    );
    Operation::mutate_row(Bridge::INDEX, bridge, vec![remove])
}

/// Sets a key of a map. An insertion leaves a present key alone, so the key is removed first.
fn set_key(column: usize, key: &str, value: &str) -> Vec<Mutation> {
    let pair: Strings = [(key.into(), value.into())].into();
    vec![
        drop_keys(column, [key]),
        Mutation::new(column, Mutator::Insert, pair.to_datum()),
    ]
}

fn drop_keys<'a>(column: usize, keys: impl IntoIterator<Item = &'a str>) -> Mutation {
    let keys = Datum::set(keys.into_iter().map(|key| Atom::String(key.into())));
    Mutation::new(column, Mutator::Delete, keys)
}
