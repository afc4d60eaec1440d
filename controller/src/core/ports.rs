//! How far each attached port is: flows wanted, flows sent, flows confirmed.

use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;

use crate::network::Network;

/// The progress of all ports.
#[derive(Debug, Default)]
pub struct PortProgress {
    /// Attached, and their flows have not been sent, or not all.
    unsent: FxHashSet<Uuid>,
    /// Their flows were sent before the barrier with this number.
    sent: Vec<(u64, Uuid)>,
    /// Their flows are in place.
    installed: FxHashSet<Uuid>,
    /// The interface of each attached port.
    interfaces: FxHashMap<Uuid, Uuid>,
    /// Ports of which the southbound may have to be told.
    pub(super) untold: FxHashSet<Uuid>,
    /// Interfaces of which the local database may have to be told.
    pub(super) marks: FxHashMap<Uuid, bool>,
}

impl PortProgress {
    /// A port was attached, or to something else than before, or detached.
    pub(super) fn rebound(&mut self, uuid: Uuid, network: &Network) {
        self.untold.insert(uuid);
        self.installed.remove(&uuid);
        self.sent.retain(|(_, port)| *port != uuid);
        let interface = network
            .bindings
            .peek(uuid)
            .and_then(|binding| binding.at.interface);
        match interface {
            Some(interface) => {
                self.unsent.insert(uuid);
                if let Some(old) = self
                    .interfaces
                    .insert(uuid, interface)
                    .filter(|old| *old != interface)
                {
                    self.marks.insert(old, false);
                }
            }
            None => {
                self.unsent.remove(&uuid);
                if let Some(old) = self.interfaces.remove(&uuid)
                    && !self.interfaces.values().any(|other| *other == old)
                {
                    self.marks.insert(old, false);
                }
            }
        }
    }

    /// A row of the southbound changed: it may not say any more what it was told.
    pub(super) fn row_changed(&mut self, change: &RowChange) {
        if change.table == PortBinding::INDEX && change.new.is_some() {
            self.untold.insert(change.uuid);
        }
    }

    /// What an interface says of its ports may be something else.
    pub(super) fn look_again(&mut self, interface: Uuid) {
        let theirs = self.interfaces.iter().filter(|(_, at)| **at == interface);
        self.untold.extend(theirs.map(|(port, _)| *port));
    }

    /// The southbound may not have heard the last of any port.
    pub(super) fn all_again(&mut self, network: &Network) {
        self.untold
            .extend(network.bindings.iter().map(|(uuid, _)| uuid));
    }

    /// Whether flows are wanted that were not sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// All flows of all ports are sent, before this barrier.
    pub(super) fn all_sent(&mut self, barrier: u64) {
        self.sent
            .extend(self.unsent.drain().map(|uuid| (barrier, uuid)));
    }

    /// The switch is through with all before this barrier.
    pub(super) fn confirmed(&mut self, barrier: u64) {
        let mut waiting = Vec::new();
        for (number, uuid) in self.sent.drain(..) {
            if number > barrier {
                waiting.push((number, uuid));
                continue;
            }
            self.installed.insert(uuid);
            self.untold.insert(uuid);
            if let Some(interface) = self.interfaces.get(&uuid) {
                self.marks.insert(*interface, true);
            }
        }
        self.sent = waiting;
    }

    /// The switch is gone: what it had not confirmed has to be sent again.
    pub(super) fn barriers_lost(&mut self) {
        self.unsent
            .extend(self.sent.drain(..).map(|(_, uuid)| uuid));
    }

    /// Whether a port's flows are in place.
    pub fn is_installed(&self, uuid: Uuid) -> bool {
        self.installed.contains(&uuid)
    }
}
