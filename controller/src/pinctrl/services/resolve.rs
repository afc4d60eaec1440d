//! `arp`, `nd_ns`: a next hop is asked for its MAC address, and the packets for it wait until it has answered.
//!
//! The actions in braces are done with the request that is made of the packet, as [`super::transform`] does it with others. The
//! packet itself is kept. When a row of `MAC_Binding` tells of the next hop, the packets go on with that address as their
//! destination, in the order in which they came, into the table behind the ingress pipeline, as they would have with a known next
//! hop. So the first packet to a new neighbour is late and not lost.
//!
//! | limit | what happens beyond it |
//! | --- | --- |
//! | [`PER_NEIGHBOUR`] packets for a next hop | the oldest of them is dropped |
//! | [`PER_PORT`] next hops of a router's port, [`TOTAL`] of all, [`TOTAL_BYTES`] of packets | the packet is dropped |
//! | [`WAIT`] | what came before that is dropped |
//!
//! The flow may be one that goes on after the braces, as those of OVN 26.03's northd do for who has an answer at once: with a
//! packet that is kept they do not.
//!
//! A row may come while a packet is on its way here, from a flow that did not know of it yet: who is known already is not asked.
//! Neighbours that operators have declared (`Static_MAC_Binding`) are known like those that were learned.

mod waiting;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use addr::Mac;
use daemon::Now;
use openflow::action::decode_actions;
use openflow::message::{PacketIn, PacketOut};
use openflow::wire::Reader;
use openflow::{Action, Field, Match};
use ovsdb::typed::Table;
use ovsdb::{Row, Uuid};
use packet::frame::{Frame, FrameError};
use packet::reply;
use packet::userdata::Opcode;
use rustc_hash::FxHashMap;
use sb_db::tables::{MacBinding, PortBinding, StaticMacBinding};

use crate::layout;
use crate::pinctrl::fields::{logical_output, pipeline_fields, value, value_of_registers};
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use waiting::{Kept, Neighbour, Waiting};

/// How many packets wait for one next hop.
pub const PER_NEIGHBOUR: usize = 4;
/// How many next hops behind one port of a router are waited for: who scans a network does not take everybody's place.
pub const PER_PORT: usize = 128;
/// How many next hops are waited for.
pub const TOTAL: usize = 1_024;
/// How many bytes the packets that wait may have.
pub const TOTAL_BYTES: usize = 8 << 20;
/// For how long a packet waits.
pub const WAIT: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug, Default)]
pub struct Resolve {
    waiting: Waiting,
    /// What the rows of each table tell, each with its row.
    learned: FxHashMap<Neighbour, (Uuid, Mac)>,
    declared: FxHashMap<Neighbour, (Uuid, Declared)>,
}

impl Service for Resolve {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::Arp, Opcode::NdNs]
    }

    fn tables(&self) -> &'static [usize] {
        &[MacBinding::INDEX, StaticMacBinding::INDEX]
    }

    /// Sends on what waited for a neighbour that is known now.
    fn changed(&mut self, now: Now, change: Change<'_>, _: &dyn View, effects: &mut Vec<Effect>) {
        let Change::Row(change) = change else {
            return;
        };
        let rows = (change.old.as_deref(), change.new.as_deref());
        let told = if change.table == MacBinding::INDEX {
            follow(&mut self.learned, change.uuid, rows, learned)
        } else {
            follow(&mut self.declared, change.uuid, rows, declared)
        };
        if let Some(neighbour) = told
            && let Some(mac) = self.known(&neighbour)
        {
            for kept in self.waiting.resolved(now.at, &neighbour) {
                effects.push(Effect::PacketOut(onward(kept, mac)));
            }
        }
    }

    /// Sends the request, and keeps the packet, or sends it on if the answer has come meanwhile.
    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let packet_in = packet.packet_in;
        // Whatever follows the braces is not for this packet, even if it makes no sense.
        effects.push(Effect::Keep);
        let actions = decode_actions(Reader::new(packet.arguments))?;
        let frame = Frame::parse(&packet_in.packet)?;
        let neighbour = next_hop(packet.opcode, packet_in, view);
        if let Some(neighbour) = &neighbour
            && let Some(mac) = self.known(neighbour)
        {
            effects.push(Effect::PacketOut(onward(Kept::of(packet_in), mac)));
            return Ok(());
        }
        let request = match packet.opcode {
            Opcode::Arp => reply::arp_request(&frame)?,
            _ => {
                let target = solicited(&actions, &packet_in.metadata, &frame)
                    .ok_or(FrameError::Missing("an IPv6 next hop"))?;
                reply::neighbour_solicitation(&frame, target)?
            }
        };
        effects.push(Effect::PacketOut(PacketOut {
            metadata: pipeline_fields(&packet_in.metadata),
            actions,
            packet: request,
        }));
        if let Some(neighbour) = neighbour {
            self.waiting.keep(now.at, neighbour, Kept::of(packet_in));
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, _: &dyn View, _: &mut Vec<Effect>) {
        self.waiting.expire(now.at);
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting.deadline()
    }

    fn dropped(&self) -> Option<(&'static str, u64)> {
        Some(("unresolved", self.waiting.dropped()))
    }
}

/// Who is asked for a packet: by which port of the router, and at which address, as later rows name them.
fn next_hop(opcode: Opcode, packet_in: &PacketIn, view: &dyn View) -> Option<Neighbour> {
    let metadata = &packet_in.metadata;
    let ip: IpAddr = match opcode {
        Opcode::Arp => Ipv4Addr::from_bits(value(metadata, Field::Reg0) as u32).into(),
        _ => Ipv6Addr::from_bits(value_of_registers(metadata, Field::Xxreg0)).into(),
    };
    let (datapath, port) = logical_output(metadata);
    let port = router_port(view.port_keyed(datapath, port)?);
    Some(Neighbour { port, ip })
}

/// The name under which neighbours of a port are learned: a gateway's chassis learns by the port itself.
fn router_port(port: &PortBinding) -> Arc<str> {
    match port.options.get("distributed-port") {
        Some(distributed) if &*port.r#type == "chassisredirect" => distributed.clone(),
        _ => port.logical_port.clone(),
    }
}

/// What an operator says of a neighbour.
#[derive(Clone, Copy, Debug)]
struct Declared {
    mac: Mac,
    /// It counts more than what was learned.
    overrides: bool,
}

impl Resolve {
    /// The address of a neighbour, as the switch's flows have it: what overrides, what was learned, what else was declared.
    fn known(&self, neighbour: &Neighbour) -> Option<Mac> {
        let declared = self.declared.get(neighbour).map(|(_, declared)| declared);
        let overriding = declared.filter(|declared| declared.overrides);
        let learned = self.learned.get(neighbour).map(|(_, mac)| *mac);
        let first = overriding.map(|declared| declared.mac).or(learned);
        first.or(declared.map(|declared| declared.mac))
    }
}

/// Keeps what the rows of a table tell. Gives whom the new row is about.
fn follow<V>(
    index: &mut FxHashMap<Neighbour, (Uuid, V)>,
    uuid: Uuid,
    (old, new): (Option<&Row>, Option<&Row>),
    told: fn(&Row) -> Option<(Neighbour, V)>,
) -> Option<Neighbour> {
    if let Some((neighbour, _)) = old.and_then(told)
        && index.get(&neighbour).is_some_and(|(of, _)| *of == uuid)
    {
        index.remove(&neighbour);
    }
    let (neighbour, value) = new.and_then(told)?;
    index.insert(neighbour.clone(), (uuid, value));
    Some(neighbour)
}

/// What a row of `MAC_Binding` tells, if it makes sense.
fn learned(row: &Row) -> Option<(Neighbour, Mac)> {
    let column = MacBinding::COLUMN;
    let port = column.logical_port.get(row);
    let ip = column.ip.get(row).parse().ok()?;
    let mac = column.mac.get(row).parse().ok()?;
    Some((Neighbour { port, ip }, mac))
}

/// What a row of `Static_MAC_Binding` tells, if it makes sense.
fn declared(row: &Row) -> Option<(Neighbour, Declared)> {
    let column = StaticMacBinding::COLUMN;
    let port = column.logical_port.get(row);
    let ip = column.ip.get(row).parse().ok()?;
    let mac = column.mac.get(row).parse().ok()?;
    let overrides = column.override_dynamic_mac.get(row);
    Some((Neighbour { port, ip }, Declared { mac, overrides }))
}

/// A packet that goes on to a next hop whose address is known.
fn onward(kept: Kept, mac: Mac) -> PacketOut {
    PacketOut {
        metadata: kept.metadata,
        actions: vec![
            Action::set(Field::EthDst, mac.to_u64()),
            Action::resubmit(layout::REMOTE_OUTPUT),
        ],
        packet: kept.packet,
    }
}

/// Who is asked for: the actions write it into `nd.target`, as a number or from a register. Without that, the packet's destination.
fn solicited(actions: &[Action], metadata: &Match, frame: &Frame<'_>) -> Option<Ipv6Addr> {
    let written = actions.iter().find_map(|action| match action {
        Action::SetField {
            field: Field::NdTarget,
            value,
            ..
        } => Some(*value),
        Action::Move { src, dst } if dst.field == Field::NdTarget => {
            Some(value_of_registers(metadata, src.field))
        }
        _ => None,
    });
    match (written, frame.ips()) {
        (Some(target), _) => Some(Ipv6Addr::from_bits(target)),
        (None, Some((_, IpAddr::V6(target)))) => Some(target),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
