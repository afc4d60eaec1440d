//! The local switch's database, as far as it concerns this chassis: what is there, and what should be.

mod patches;
mod reconcile;
mod tunnels;

use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use replica::Tables;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::network::{LocalInterface, LocalPorts, Tunnel};
use crate::settings::{BadSetting, Settings, TunnelKind};
use crate::vswitch::{self, Bridge, Interface, OpenVSwitch, Port, Ssl};

pub use patches::WantedPatch;
pub use reconcile::Wanted;
pub use tunnels::RemoteEncap;

/// The database, and what was read from it.
#[derive(Debug)]
pub struct Local {
    tables: Tables,
    hostname: String,
    /// The settings, once there is a name.
    pub settings: Option<Settings>,
    /// The integration bridge's ports.
    pub ports: LocalPorts,
    /// The `iface-id`s of the integration bridge, whether or not the switch has made their interfaces yet.
    pub iface_ids: FxHashSet<Arc<str>>,
    /// Counts the times that anything was read anew.
    pub version: u64,
    /// What was already complained of.
    complaints: Vec<BadSetting>,
}

impl Local {
    /// Before anything was read.
    pub fn new(hostname: String) -> Self {
        Local {
            tables: Tables::new(vswitch::schema()),
            hostname,
            settings: None,
            ports: LocalPorts::default(),
            iface_ids: FxHashSet::default(),
            version: 0,
            complaints: Vec::new(),
        }
    }

    /// Rows changed.
    pub fn apply(&mut self, changes: &[RowChange]) {
        changes.iter().for_each(|change| self.tables.apply(change));
    }

    /// Reads settings and ports anew. To be called after changes; returns the ports as they were before.
    pub fn refresh(&mut self) -> LocalPorts {
        self.version += 1;
        self.refresh_settings();
        self.iface_ids = self.read_iface_ids();
        let ports = self.read_ports();
        std::mem::replace(&mut self.ports, ports)
    }

    /// The keys for TLS, if the database has them: key, certificate, authority.
    pub fn ssl(&self) -> Option<Ssl> {
        self.tables.iter_as::<Ssl>().next()
    }

    /// The integration bridge, once it is there.
    pub fn bridge(&self) -> Option<Bridge> {
        self.bridge_named(&self.settings.as_ref()?.bridge)
    }

    fn bridge_named(&self, name: &str) -> Option<Bridge> {
        self.tables
            .iter_as::<Bridge>()
            .find(|bridge| &*bridge.name == name)
    }

    fn refresh_settings(&mut self) {
        let Some(row) = self.tables.iter_as::<OpenVSwitch>().next() else {
            self.settings = None;
            return;
        };
        // The bridge's name is itself a setting, so its datapath takes a second reading.
        let (first, _) = Settings::read(&row, &self.hostname, "");
        let datapath = first
            .and_then(|s| self.bridge_named(&s.bridge))
            .map_or_else(Arc::default, |b| b.datapath_type);
        let (settings, bad) = Settings::read(&row, &self.hostname, &datapath);
        for problem in bad
            .iter()
            .filter(|problem| !self.complaints.contains(problem))
        {
            tracing::warn!("{problem}");
        }
        self.complaints = bad;
        self.settings = settings;
    }

    /// The bridge's ports, each with its interfaces.
    fn bridge_ports(&self, bridge: &Bridge) -> impl Iterator<Item = (Port, Interface)> + '_ {
        let ports = bridge
            .ports
            .clone()
            .into_iter()
            .filter_map(|uuid| self.tables.get_as::<Port>(uuid));
        ports.flat_map(|port| {
            let interfaces = port.interfaces.clone();
            interfaces
                .into_iter()
                .filter_map(|uuid| self.tables.get_as::<Interface>(uuid))
                .map(move |interface| (port.clone(), interface))
        })
    }

    fn read_ports(&self) -> LocalPorts {
        let mut ports = LocalPorts::default();
        let Some(bridge) = self.bridge() else {
            return ports;
        };
        for (port, interface) in self.bridge_ports(&bridge) {
            let Some(ofport) = interface
                .ofport
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0)
            else {
                continue;
            };
            if let Some((chassis, kind)) = tunnels::owner(&port, &interface) {
                let tunnels: &mut SmallVec<[Tunnel; 1]> =
                    ports.tunnels.entry(chassis.into()).or_default();
                tunnels.push(Tunnel { ofport, kind });
            } else if &*interface.r#type == "patch"
                && port.external_ids.contains_key(patches::OWNER_KEY)
            {
                ports.patches.insert(interface.name.clone(), ofport);
            } else if let Some(id) = interface.external_ids.get("iface-id") {
                let found = LocalInterface {
                    uuid: interface.uuid,
                    ofport,
                };
                // Two interfaces with one name: the one that was there first, going by its number.
                let known = ports
                    .interfaces
                    .entry(id.clone())
                    .or_insert_with(|| found.clone());
                if found.ofport < known.ofport {
                    *known = found;
                }
            }
        }
        ports
            .tunnels
            .values_mut()
            .for_each(|tunnels| tunnels.sort_by_key(|t| (t.kind, t.ofport)));
        ports
    }

    fn read_iface_ids(&self) -> FxHashSet<Arc<str>> {
        let Some(bridge) = self.bridge() else {
            return FxHashSet::default();
        };
        self.bridge_ports(&bridge)
            .filter_map(|(_, i)| i.external_ids.get("iface-id").cloned())
            .collect()
    }

    /// The local tunnel end by which an interface wants its port to be reached, if it says so.
    pub fn encap_ip(&self, interface: Uuid) -> Option<IpAddr> {
        let row = self.tables.get(Interface::INDEX, interface)?;
        let ids = row.get(Interface::COLUMN.external_ids.index);
        ids.get_str("encap-ip")?.parse().ok()
    }

    /// An interface's row.
    pub fn interface(&self, uuid: Uuid) -> Option<Interface> {
        self.tables.get_as(uuid)
    }
}

/// The kind of tunnel that an interface is.
fn tunnel_kind(interface: &Interface) -> Option<TunnelKind> {
    TunnelKind::named(&interface.r#type)
}
