//! The world as packet services see it, and what becomes of their effects.

use std::sync::Arc;

use openflow::Message;
use openflow::message::PacketOut;
use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use super::{Core, Now};
use crate::inject;
use crate::network::{Datapath, Network, Reads};
use crate::pinctrl::service::{Change, Effect, View};
use crate::settings::Settings;
use crate::switch::Switch;

/// What services see.
struct World<'a> {
    own: Option<Uuid>,
    settings: Option<&'a Settings>,
    network: &'a Network,
}

impl View for World<'_> {
    fn own(&self) -> Option<Uuid> {
        self.own
    }

    fn settings(&self) -> Option<&Settings> {
        self.settings
    }

    fn port(&self, uuid: Uuid) -> Option<&Arc<PortBinding>> {
        self.network.ports.peek(uuid)
    }

    fn port_keyed(&self, datapath: u32, port: u32) -> Option<&Arc<PortBinding>> {
        let datapath = *self.network.datapath_keyed.peek(datapath)?;
        self.port(*self.network.port_keyed.peek((datapath, port))?)
    }

    fn port_named(&self, name: &str) -> Option<&Arc<PortBinding>> {
        self.network.port_by_name(&Reads::untracked(), name)
    }

    fn is_local(&self, datapath: Uuid) -> bool {
        self.network.local.peek(datapath).is_some()
    }

    fn datapath(&self, uuid: Uuid) -> Option<&Datapath> {
        self.network.datapaths.peek(uuid)
    }

    fn has_localnet(&self, datapath: Uuid) -> bool {
        let reads = Reads::untracked();
        self.network.attached_localnet(&reads, datapath).is_some()
    }

    fn is_here(&self, name: &str) -> bool {
        let reads = Reads::untracked();
        let port = self.network.port_by_name(&reads, name);
        port.is_some_and(|port| self.network.bindings.peek(port.uuid).is_some())
    }

    fn is_served_elsewhere(&self, name: &str) -> bool {
        let port = self.network.port_by_name(&Reads::untracked(), name);
        port.is_some_and(|port| self.network.is_served_elsewhere(port))
    }

    fn packet_to(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
        inject::to_port(self.network, port, packet)
    }

    fn packet_from(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
        inject::from_port(self.network, port, packet)
    }

    fn packet_onward(
        &self,
        datapath: Uuid,
        from: u32,
        to: &[u32],
        packet: Vec<u8>,
    ) -> Option<PacketOut> {
        inject::onward(self.network, datapath, from, to, packet)
    }

    fn packet_to_all(&self, datapath: Uuid, packet: Vec<u8>) -> Option<PacketOut> {
        inject::to_all(self.network, datapath, packet)
    }
}

impl Core {
    /// Tells the services of changes.
    pub(super) fn tell_services<'c>(
        &mut self,
        now: Now,
        changes: impl IntoIterator<Item = Change<'c>>,
    ) {
        let world = World {
            own: self.own_chassis(),
            settings: self.local.settings.as_deref(),
            network: &self.network,
        };
        let packets = &mut self.packets;
        let wanted: Vec<Effect> = changes
            .into_iter()
            .flat_map(|change| packets.changed(now, change, &world))
            .collect();
        self.perform(now, wanted);
    }

    /// Whether services do anything: without a switch there is nobody to send anything, and one that does not keep up is not sent
    /// more. Packets wait meanwhile, as many as their queues take.
    pub(super) fn serves_packets(&self) -> bool {
        let is_ready = self.switch.as_ref().is_some_and(Switch::is_ready);
        self.leaving.is_none() && is_ready && !self.switch_is_full
    }

    /// How many packets were dropped so far because too many were waiting.
    pub fn packets_dropped(&self) -> u64 {
        self.packets.dropped()
    }

    /// By reason, how many packets were kept so far and came to nothing.
    pub fn packets_dropped_by_services(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.packets.dropped_by_services()
    }

    /// How many packets came so far for which there is no service.
    pub fn packets_unserved(&self) -> u64 {
        self.packets.unserved()
    }

    /// Lets the services do some of what there is to do.
    pub(super) fn handle_packets(&mut self, now: Now) {
        if !self.serves_packets() {
            return;
        }
        let is_due = self.packets.deadline().is_some_and(|due| due <= now.at);
        if !is_due && !self.packets.has_work() {
            return;
        }
        let world = World {
            own: self.own_chassis(),
            settings: self.local.settings.as_deref(),
            network: &self.network,
        };
        let wanted = self.packets.run(now, &world);
        self.perform(now, wanted);
    }

    fn perform(&mut self, now: Now, wanted: Vec<Effect>) {
        for effect in wanted {
            let message = match effect {
                Effect::Resume(packet) => Message::Resume(packet),
                Effect::PacketOut(packet) => Message::PacketOut(packet),
                Effect::Keep => continue,
                Effect::Write(row, operations) => {
                    if !self.learned.add(row, operations) {
                        tracing::debug!(target: "pinctrl", "too many rows wait to be learned");
                    }
                    continue;
                }
                Effect::Activate(port) => {
                    self.engine.input(&mut self.network, |network, changes| {
                        network.activate(changes, port);
                    });
                    // The southbound is to know.
                    self.ports.untold.insert(port);
                    continue;
                }
                Effect::Refreshed(row) => {
                    self.engine.input(&mut self.network, |network, changes| {
                        network.refreshed(changes, row, now.unix_ms);
                    });
                    continue;
                }
                Effect::Log(text) => {
                    tracing::info!(target: "acl_log", "{text}");
                    continue;
                }
                Effect::Warn(text) => {
                    tracing::warn!(target: "pinctrl", "{text}");
                    continue;
                }
                Effect::Note(text) => {
                    tracing::debug!(target: "pinctrl", "{text}");
                    continue;
                }
            };
            if let Some(switch) = &mut self.switch {
                switch.send(&message);
            }
        }
    }
}
