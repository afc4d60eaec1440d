//! Packets that flows send to the agent, and what the agent sends by itself: what is answered, learned, announced.
//!
//! Flows are computed elsewhere and never wait for this; this never waits for them. A packet comes with userdata that say what
//! the flow wants of it ([`packet::userdata`]). [`PinControl`] knows opcodes, rows and deadlines, and no service: what there is
//! to do stands in [`services`], one file a service, in the shape of [`service::Service`].
//!
//! [`PinControl`] sees to it that nobody starves anybody: packets wait in [`queue::FairQueue`], a short queue for every logical
//! port and service, and are taken in turn. A port that floods fills its own queue. What is due by time comes before packets, in
//! bounded portions.

mod fields;
pub mod queue;
pub mod service;
pub mod services;

use std::time::Instant;

use daemon::Now;
use openflow::message::PacketIn;
use packet::userdata::Opcode;
use rustc_hash::FxHashMap;

use queue::{FairQueue, Limits};
use service::{Change, Effect, HandleError, Packet, Service, View};

/// So many opcodes that nobody serves are told apart: userdata may say anything.
const MAX_UNSERVED: usize = 64;
/// How many packets are handled before the agent looks after its other work.
const BATCH: usize = 64;

/// Services, packets that wait for them, and their fair turn.
#[derive(Debug)]
pub struct PinControl {
    services: Vec<Box<dyn Service>>,
    by_opcode: FxHashMap<Opcode, usize>,
    /// The services that follow each table.
    by_table: FxHashMap<usize, Vec<usize>>,
    /// By service, datapath and port.
    queue: FairQueue<(usize, u32, u32), PacketIn>,
    /// Packets with each opcode that nobody serves; those beyond the first few opcodes together.
    unserved: FxHashMap<u32, u64>,
}

impl Default for PinControl {
    fn default() -> Self {
        Self::new(services::all())
    }
}

impl PinControl {
    /// With these services and no others.
    pub fn new(services: Vec<Box<dyn Service>>) -> Self {
        let mut by_opcode = FxHashMap::default();
        let mut by_table: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        for (place, service) in services.iter().enumerate() {
            for &opcode in service.opcodes() {
                let taken = by_opcode.insert(opcode, place);
                debug_assert_eq!(taken, None, "{opcode:?} is taken twice");
            }
            for &table in service.tables() {
                by_table.entry(table).or_default().push(place);
            }
        }
        Self {
            services,
            by_opcode,
            by_table,
            queue: FairQueue::new(Limits::default()),
            unserved: FxHashMap::default(),
        }
    }

    /// A packet came from the switch. If its port has too many waiting already, it is dropped.
    pub fn receive(&mut self, packet_in: PacketIn) {
        // What nobody takes waits together.
        let place = Opcode::split(&packet_in.userdata)
            .ok()
            .and_then(|(opcode, _)| self.by_opcode.get(&opcode).copied())
            .unwrap_or(self.services.len());
        let (datapath, port) = fields::logical_port(&packet_in.metadata);
        let size = packet_in.packet.len() + packet_in.userdata.len() + packet_in.continuation.len();
        self.queue.push((place, datapath, port), packet_in, size);
    }

    /// Forgets the packets that wait.
    pub fn forget_waiting(&mut self) {
        while self.queue.pop().is_some() {}
    }

    /// Something changed. Row changes reach the services that follow the table, other changes all of them.
    pub fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View) -> Vec<Effect> {
        let mut effects = Vec::new();
        match change {
            Change::Row(row) => {
                for &place in self.by_table.get(&row.table).into_iter().flatten() {
                    self.services[place].changed(now, change, view, &mut effects);
                }
            }
            Change::Attachment(_) | Change::Settings => {
                for service in &mut self.services {
                    service.changed(now, change, view, &mut effects);
                }
            }
        }
        effects
    }

    /// Whether packets wait.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When a service has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.services.iter().map(|service| service.deadline());
        deadlines.flatten().min()
    }

    /// How many packets were dropped so far because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// By reason, how many packets services had kept that came to nothing.
    pub fn dropped_by_services(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.services.iter().filter_map(|service| service.dropped())
    }

    /// How many packets came so far for which there is no service.
    pub fn unserved(&self) -> u64 {
        self.unserved.values().sum()
    }

    /// Counts a packet with an opcode that nobody serves. Whether it is the first.
    fn is_first(&mut self, opcode: u32) -> bool {
        let is_known = self.unserved.contains_key(&opcode);
        let is_counted = is_known || self.unserved.len() < MAX_UNSERVED;
        let count = self
            .unserved
            .entry(if is_counted { opcode } else { u32::MAX });
        *count.or_default() += 1;
        is_counted && !is_known
    }

    /// Does what is due, and handles some of the packets that wait, each port's in turn.
    pub fn run(&mut self, now: Now, view: &dyn View) -> Vec<Effect> {
        let mut effects = Vec::new();
        for service in &mut self.services {
            if service.deadline().is_some_and(|due| due <= now.at) {
                service.tick(now, view, &mut effects);
            }
        }
        for _ in 0..BATCH {
            let Some(packet_in) = self.queue.pop() else {
                break;
            };
            self.handle(now, packet_in, view, &mut effects);
        }
        effects
    }

    /// Does what a flow wants of a packet.
    fn handle(
        &mut self,
        now: Now,
        packet_in: PacketIn,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        let before = effects.len();
        if let Err(error) = self.dispatch(now, &packet_in, view, effects) {
            let text = format!("packet from flow {:#x}: {error}", packet_in.cookie);
            // Flows ask for what this controller does not do: that is told once, and counted.
            let is_new = error.unserved().is_some_and(|opcode| self.is_first(opcode));
            effects.push(match is_new {
                true => Effect::Warn(text),
                false => Effect::Note(text),
            });
        }
        // Whatever becomes of it, a packet that waits must go on: without this the switch would never forward it. If the flow
        // waits for a result, that stays as it was: no.
        let is_paused = !packet_in.continuation.is_empty();
        let is_settled = |effect: &Effect| matches!(effect, Effect::Resume(_) | Effect::Keep);
        if is_paused && !effects[before..].iter().any(is_settled) {
            effects.push(Effect::Resume(packet_in));
        }
    }

    fn dispatch(
        &mut self,
        now: Now,
        packet_in: &PacketIn,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let (opcode, arguments) = Opcode::split(&packet_in.userdata)?;
        let place = *self
            .by_opcode
            .get(&opcode)
            .ok_or(HandleError::Unsupported(opcode))?;
        let packet = Packet {
            opcode,
            arguments,
            packet_in,
        };
        self.services[place].packet(now, packet, view, effects)
    }
}

#[cfg(test)]
mod tests;
