//! How far each attached port is: flows wanted, flows sent, flows confirmed.

use std::collections::{BTreeSet, VecDeque};

use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;
use smallvec::SmallVec;

use crate::network::Network;

/// Where an attached port is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Its flows have not been sent, or not all.
    Unsent,
    /// Its flows were sent before the barrier with this number.
    Sent(u64),
    /// Its flows are in place.
    Installed,
}

/// The progress of all ports. A port that changes costs the same however many there are.
#[derive(Debug, Default)]
pub struct PortProgress {
    progress: FxHashMap<Uuid, Progress>,
    unsent: FxHashSet<Uuid>,
    /// By barrier, in their order, what was sent before it. Some of it may have become unsent again.
    sent: VecDeque<(u64, Vec<Uuid>)>,
    /// The interface of each attached port, and the ports of each interface: a guest and its containers.
    interface_of: FxHashMap<Uuid, Uuid>,
    ports_at: FxHashMap<Uuid, SmallVec<[Uuid; 1]>>,
    /// Ports of which the southbound may have to be told.
    pub(super) untold: BTreeSet<Uuid>,
    /// Interfaces of which the local database may have to be told.
    pub(super) marks: FxHashMap<Uuid, bool>,
}

impl PortProgress {
    /// Ports were attached, or to something else than before, or detached.
    pub(super) fn rebound(&mut self, ports: &FxHashSet<Uuid>, network: &Network) {
        let mut left = Vec::new();
        for &port in ports {
            self.untold.insert(port);
            let binding = network.bindings.peek(port);
            let interface = binding.and_then(|binding| binding.at.interface);
            // A gateway has no interface, and is as ready as its flows.
            let has_flows = interface.is_some() || binding.is_some_and(|b| b.kind.is_claimed());
            match has_flows {
                true => {
                    self.unsent.insert(port);
                    self.progress.insert(port, Progress::Unsent);
                }
                false => {
                    self.unsent.remove(&port);
                    self.progress.remove(&port);
                }
            }
            left.extend(self.move_to(port, interface));
        }
        // One port may have taken another's place at an interface, so what is empty is known only now.
        for interface in left {
            if !self.ports_at.contains_key(&interface) {
                self.marks.insert(interface, false);
            }
        }
    }

    /// Notes the interface of a port; gives the one that it has left.
    fn move_to(&mut self, port: Uuid, interface: Option<Uuid>) -> Option<Uuid> {
        let old = match interface {
            Some(interface) => self.interface_of.insert(port, interface),
            None => self.interface_of.remove(&port),
        };
        let left = old.filter(|old| Some(*old) != interface);
        if let Some(left) = left
            && let Some(ports) = self.ports_at.get_mut(&left)
        {
            ports.retain(|other| *other != port);
            if ports.is_empty() {
                self.ports_at.remove(&left);
            }
        }
        if let Some(interface) = interface.filter(|new| Some(*new) != old) {
            self.ports_at.entry(interface).or_default().push(port);
        }
        left
    }

    /// A row of the southbound changed: it may not say any more what it was told.
    pub(super) fn row_changed(&mut self, change: &RowChange) {
        if change.table == PortBinding::INDEX && change.new.is_some() {
            self.untold.insert(change.uuid);
            // Containers are here as what their guest is.
            let parent = PortBinding::COLUMN.parent_port.index;
            let is_guest = change
                .new
                .as_ref()
                .is_some_and(|row| row.get(parent).is_empty());
            let interface = self.interface_of.get(&change.uuid).copied();
            if let Some(interface) = interface.filter(|_| is_guest) {
                self.look_again(interface);
            }
        }
    }

    /// What an interface says of its ports may be something else.
    pub(super) fn look_again(&mut self, interface: Uuid) {
        let ports = self.ports_at.get(&interface);
        self.untold.extend(ports.into_iter().flatten());
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
        let ports: Vec<Uuid> = self.unsent.drain().collect();
        for port in &ports {
            self.progress.insert(*port, Progress::Sent(barrier));
        }
        self.sent.push_back((barrier, ports));
    }

    /// The switch is through with all before this barrier.
    pub(super) fn confirmed(&mut self, barrier: u64) {
        while let Some((number, ports)) = self.sent.pop_front_if(|(number, _)| *number <= barrier) {
            for port in ports {
                if self.progress.get(&port) != Some(&Progress::Sent(number)) {
                    continue;
                }
                self.progress.insert(port, Progress::Installed);
                self.untold.insert(port);
                if let Some(interface) = self.interface_of.get(&port) {
                    self.marks.insert(*interface, true);
                }
            }
        }
    }

    /// The switch is gone: what it had not confirmed has to be sent again.
    pub(super) fn barriers_lost(&mut self) {
        for (number, ports) in self.sent.drain(..) {
            for port in ports {
                if let Some(progress) = self.progress.get_mut(&port)
                    && *progress == Progress::Sent(number)
                {
                    *progress = Progress::Unsent;
                    self.unsent.insert(port);
                }
            }
        }
    }

    /// Whether a port's flows are in place.
    pub fn is_installed(&self, uuid: Uuid) -> bool {
        self.progress.get(&uuid) == Some(&Progress::Installed)
    }
}
