//! `bind_vport`: a guest has announced the address of a virtual port, and so has it from now on.
//!
//! The port's row says on which chassis it is, and at which guest. When the guest leaves, whoever had claimed the port for it
//! releases it; that is the business of claims.
//!
//! Two guests may both announce an address, over and over. Each claim is work for everybody; so who has claimed a port does it
//! again after a pause at the earliest, which doubles as long as the port is lost again. Of what is announced meanwhile the last
//! counts, when the pause is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use packet::userdata::{Opcode, UserdataError};
use rustc_hash::FxHashMap;
use sb_db::tables::PortBinding;

use crate::network::{PortKind, may_have};
use crate::pinctrl::fields::logical_port;
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The first pause, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The service.
#[derive(Debug, Default)]
pub struct VirtualPorts {
    /// The last claim of each port, as long as it has a pause.
    claims: FxHashMap<Uuid, Claim>,
    /// Claims that wait for the end of a pause.
    due: BTreeSet<(Instant, Uuid)>,
}

#[derive(Debug)]
struct Claim {
    at: Instant,
    pause: Duration,
    /// The guest that has announced the address since.
    next: Option<Uuid>,
}

impl Service for VirtualPorts {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::BindVport]
    }

    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let (datapath, parent) = logical_port(&packet.packet_in.metadata);
        let key = packet.arguments.first_chunk().copied();
        let key = key.ok_or(UserdataError::Short("the key of a virtual port"))?;
        let key = u32::from_be_bytes(key);
        let find = |port| {
            view.port_keyed(datapath, port)
                .ok_or(HandleError::Port { datapath, port })
        };
        let (port, parent) = (find(key)?.uuid, find(parent)?.uuid);
        let Some(wish) = Wish::of(port, parent, view) else {
            return Ok(());
        };
        if let Some(last) = self.claims.get_mut(&port)
            && now.at < last.at + last.pause
        {
            last.next = Some(parent);
            self.due.insert((last.at + last.pause, port));
            return Ok(());
        }
        self.take(now, &wish, effects);
        Ok(())
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        while let Some(&first) = self.due.first().filter(|(at, _)| *at <= now.at) {
            self.due.remove(&first);
            let last = self.claims.get_mut(&first.1);
            let next = last.and_then(|last| last.next.take());
            if let Some(wish) = next.and_then(|parent| Wish::of(first.1, parent, view)) {
                self.take(now, &wish, effects);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl VirtualPorts {
    fn take(&mut self, now: Now, wish: &Wish<'_>, effects: &mut Vec<Effect>) {
        let port = wish.port.uuid;
        self.claims
            .retain(|_, last| now.at < last.at + last.pause * 2 || last.next.is_some());
        let pause = match self.claims.get(&port) {
            Some(last) => (last.pause * 2).min(PAUSE.1),
            None => PAUSE.0,
        };
        let last = Claim {
            at: now.at,
            pause,
            next: None,
        };
        self.claims.insert(port, last);
        let (name, parent) = (&wish.port.logical_port, &wish.parent);
        tracing::info!(
            target: "pinctrl",
            "Claiming virtual lport {name} for this chassis with the virtual parent {parent}"
        );
        effects.push(Effect::Write(port, vec![wish.operation()]));
    }
}

/// A port that is to be this chassis', at a guest that is here.
struct Wish<'a> {
    port: &'a PortBinding,
    parent: &'a Arc<str>,
    own: Uuid,
}

impl<'a> Wish<'a> {
    /// Nothing if it is so, or may not be.
    fn of(port: Uuid, parent: Uuid, view: &'a dyn View) -> Option<Self> {
        let (port, parent) = (view.port(port)?, view.port(parent)?);
        let parent = &parent.logical_port;
        let own = view.own().filter(|_| view.is_here(parent))?;
        let is_its = port.virtual_parent.as_ref() == Some(parent) && port.chassis == Some(own);
        if is_its || PortKind::of(port) != PortKind::Virtual || !may_have(port, parent) {
            return None;
        }
        Some(Wish { port, parent, own })
    }

    fn operation(&self) -> Operation {
        let column = PortBinding::COLUMN;
        let columns = vec![
            column.chassis.to(&Some(self.own)),
            column.virtual_parent.to(&Some(self.parent.clone())),
        ];
        Operation::update_row(PortBinding::INDEX, self.port.uuid, columns)
    }
}

#[cfg(test)]
mod tests;
