//! The ports that have to be asked for by name: those with an interface here that no local datapath brings along.
//!
//! A port that is plugged into a datapath that is local already is known, so nothing has to be asked and waited for.

use std::sync::Arc;

use ovsdb::RowChange;
use ovsdb::typed::Table;
use rustc_hash::FxHashSet;
use sb_db::tables::PortBinding;

use crate::local::Local;
use crate::network::{NameId, Network};

/// The names.
#[derive(Debug, Default)]
pub(super) struct Sought {
    names: FxHashSet<Arc<str>>,
    /// Counts the changes of the names.
    version: u64,
    /// The version of what is local for which they were looked at.
    topology: u64,
}

impl Sought {
    /// Something happened to the interface or the port of this name.
    pub(super) fn look_at(&mut self, name: &Arc<str>, local: &Local, network: &Network) {
        let port = network
            .port_named
            .peek(NameId::of(name))
            .and_then(|uuid| network.ports.peek(*uuid));
        let is_brought = port.is_some_and(|port| network.local.peek(port.datapath).is_some());
        let is_changed = if local.iface_ids.contains(name) && !is_brought {
            self.names.insert(name.clone())
        } else {
            self.names.remove(name)
        };
        self.version += u64::from(is_changed);
    }

    /// A row of the southbound changed, and the network knows it.
    pub(super) fn row_changed(&mut self, change: &RowChange, local: &Local, network: &Network) {
        if change.table != PortBinding::INDEX {
            return;
        }
        for row in change.old.iter().chain(&change.new) {
            let name = PortBinding::COLUMN.logical_port.get(row);
            if local.iface_ids.contains(&name) {
                self.look_at(&name, local, network);
            }
        }
    }

    /// The names, with a version, after what is local may have changed.
    pub(super) fn names(
        &mut self,
        local: &Local,
        network: &Network,
    ) -> (u64, &FxHashSet<Arc<str>>) {
        if self.topology != network.topology_version {
            self.topology = network.topology_version;
            for name in &local.iface_ids {
                self.look_at(name, local, network);
            }
        }
        (self.version, &self.names)
    }
}
