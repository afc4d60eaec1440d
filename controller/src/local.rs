//! The local switch's database, as far as it concerns this chassis: what is there, and what should be.
//!
//! What is there is followed row by row ([`ports`]); what may not be as it should be is remembered thing by thing
//! ([`reconcile`]), so that a port that comes or goes costs that port's work and a chassis one tunnel's.

mod bridge;
mod index;
mod mirrors;
mod operations;
mod patches;
mod ports;
mod queues;
mod reconcile;
mod tunnels;

use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use replica::Tables;
use rustc_hash::FxHashSet;

use crate::network::{LocalPorts, PortChanges};
use crate::settings::{BadSetting, Settings};
use crate::vswitch::{self, Bridge, Interface, OpenVSwitch, Ssl};

pub use mirrors::{Sink, WantedMirror};
pub use patches::WantedPatch;
pub use queues::WantedQueue;
pub use reconcile::{Progress, Wanted};
pub use tunnels::{Ipsec, RemoteEncap};

use operations::Strings;
use ports::Ports;
use reconcile::Pending;

/// The database, and what was read from it.
#[derive(Debug)]
pub struct Local {
    tables: Tables,
    hostname: String,
    /// The chassis' name, where it does not come from the database.
    chassis_name: Option<Arc<str>>,
    /// The settings, once there is a name.
    pub settings: Option<Arc<Settings>>,
    /// The integration bridge's row, once it is there.
    integration: Option<Uuid>,
    index: Ports,
    /// The integration bridge's ports.
    pub ports: LocalPorts,
    /// The `iface-id`s of the integration bridge, whether or not the switch has made their interfaces yet.
    pub iface_ids: FxHashSet<Arc<str>>,
    /// Counts the changes of the settings, of the integration bridge's identity, and of the keys for TLS.
    pub settings_version: u64,
    /// What may not be as it should be.
    pending: Pending,
    /// The chassis with which BFD sessions are to run over tunnels, and how (`Interface.bfd`).
    bfd: (FxHashSet<Arc<str>>, Strings),
    /// What was already complained of.
    complaints: Vec<BadSetting>,
}

impl Local {
    /// Before anything was read.
    pub fn new(hostname: String) -> Self {
        Local {
            tables: Tables::without_indexes(vswitch::schema().clone()),
            hostname,
            chassis_name: None,
            settings: None,
            integration: None,
            index: Ports::default(),
            ports: LocalPorts::default(),
            iface_ids: FxHashSet::default(),
            settings_version: 0,
            pending: Pending::default(),
            bfd: (FxHashSet::default(), Strings::new()),
            complaints: Vec::new(),
        }
    }

    /// The chassis goes by this name, whatever the database says.
    pub fn set_chassis_name(&mut self, name: String) {
        self.chassis_name = Some(name.into());
    }

    /// Rows changed. Returns which of the integration bridge's ports did, by name.
    pub fn apply(&mut self, changes: &[RowChange]) -> PortChanges {
        changes.iter().for_each(|change| self.tables.apply(change));
        self.index.apply(&self.tables, changes);
        for change in changes {
            match change.table {
                OpenVSwitch::INDEX | Ssl::INDEX => self.settings_changed(),
                Bridge::INDEX if bridge::is_changed(change) => self.settings_changed(),
                _ => {}
            }
            let is_integration = Some(change.uuid) == self.integration;
            self.pending.queues |= queues::is_concerned(change, is_integration);
            self.pending.mirrors |= mirrors::is_concerned(change, is_integration);
            if change.table == Bridge::INDEX && Some(change.uuid) == self.integration {
                let forgotten = bridge::changed_zones(change);
                self.pending.zones.extend(forgotten);
            }
        }
        let changed = self.index.refresh(
            &self.tables,
            self.integration,
            &mut self.ports,
            &mut self.iface_ids,
        );
        self.pending.tunnels.extend(changed.tunnels.iter().cloned());
        self.pending.patches |= !changed.patches.is_empty();
        changed
    }

    /// The settings, the integration bridge or the keys may have changed.
    fn settings_changed(&mut self) {
        self.settings_version += 1;
        let old = self.settings.take();
        self.read_settings();
        let integration = self
            .settings
            .as_ref()
            .and_then(|settings| self.index.bridge(&settings.bridge));
        if integration != self.integration {
            self.index.everything_again();
            // Its tunnels belong to the new one now.
            self.pending.left_bridge = self.integration.or(self.pending.left_bridge);
            self.integration = integration;
            self.pending.all_zones = true;
        }
        if old != self.settings {
            self.pending.all_tunnels = true;
        }
        self.pending.bridge = true;
        self.pending.restore = true;
        self.pending.patches = true;
        self.pending.queues = true;
        self.pending.mirrors = true;
    }

    fn read_settings(&mut self) {
        let Some(mut row) = self.tables.iter_as::<OpenVSwitch>().next() else {
            return;
        };
        if let Some(name) = &self.chassis_name {
            row.external_ids.insert("system-id".into(), name.clone());
        }
        // The bridge's name is itself a setting, so its datapath takes a second reading.
        let (first, _) = Settings::read(&row, &self.hostname, "");
        let bridge = first.and_then(|settings| self.index.bridge(&settings.bridge));
        let datapath = bridge
            .and_then(|uuid| self.tables.get(Bridge::INDEX, uuid))
            .map_or_else(Arc::default, |row| Bridge::COLUMN.datapath_type.get(row));
        let (settings, bad) = Settings::read(&row, &self.hostname, &datapath);
        for problem in bad
            .iter()
            .filter(|problem| !self.complaints.contains(problem))
        {
            tracing::warn!("{problem}");
        }
        let idle = Settings::without_effect(&row);
        for setting in idle.iter().filter(|known| !self.complaints.contains(known)) {
            tracing::info!("{setting}");
        }
        self.complaints = bad;
        self.complaints.extend(idle);
        self.settings = settings.map(Arc::new);
    }

    /// The keys for TLS, if the database has them: key, certificate, authority.
    pub fn ssl(&self) -> Option<Ssl> {
        self.tables.iter_as::<Ssl>().next()
    }

    /// The integration bridge, once it is there. All of it is read: not for every event.
    pub fn bridge(&self) -> Option<Bridge> {
        self.tables.get_as(self.integration?)
    }

    /// Whether the integration bridge is there.
    pub fn has_bridge(&self) -> bool {
        self.integration.is_some()
    }

    /// The name of an interface that is there.
    pub fn interface_name(&self, interface: Uuid) -> Option<Arc<str>> {
        let row = self.tables.get(Interface::INDEX, interface)?;
        Some(Interface::COLUMN.name.get(row))
    }

    /// The local tunnel end by which an interface wants its port to be reached, if it says so.
    pub fn encap_ip(&self, interface: Uuid) -> Option<IpAddr> {
        let row = self.tables.get(Interface::INDEX, interface)?;
        let ids = row.get(Interface::COLUMN.external_ids.index);
        ids.get_str("encap-ip")?.parse().ok()
    }
}
