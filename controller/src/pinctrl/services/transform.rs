//! Actions in braces: another packet is made of the one that came, and the flow's actions are done with it.
//!
//! The userdata hold those actions, encoded as OpenFlow. The packet that came is not held up; what is sent starts with
//! its metadata, so the actions find registers, datapath and input port as the flow left them.

use std::net::{IpAddr, Ipv6Addr};

use daemon::Now;
use openflow::action::decode_actions;
use openflow::message::PacketOut;
use openflow::wire::Reader;
use openflow::{Action, Field, Match};
use packet::frame::{Frame, FrameError};
use packet::reply::{self, Direction};
use packet::userdata::Opcode;

use crate::pinctrl::fields::value_of_registers;
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Transform;

impl Service for Transform {
    fn opcodes(&self) -> &'static [Opcode] {
        &[
            Opcode::Arp,
            Opcode::NdNs,
            Opcode::NdNa,
            Opcode::NdNaRouter,
            Opcode::Icmp,
            Opcode::Icmp4Error,
            Opcode::Icmp6Error,
            Opcode::TcpReset,
            Opcode::Reject,
        ]
    }

    /// Makes the packet and sends it through the actions.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let actions = decode_actions(Reader::new(packet.arguments))?;
        let frame = Frame::parse(&packet.packet_in.packet)?;
        let made = match packet.opcode {
            Opcode::Arp => reply::arp_request(&frame)?,
            Opcode::NdNs => {
                let target = solicited(&actions, &packet.packet_in.metadata, &frame)
                    .ok_or(FrameError::Missing("an IPv6 next hop"))?;
                reply::neighbour_solicitation(&frame, target)?
            }
            Opcode::NdNa => reply::neighbour_advertisement(&frame, false)?,
            Opcode::NdNaRouter => reply::neighbour_advertisement(&frame, true)?,
            Opcode::TcpReset => reply::tcp_reset(&frame, Direction::Onward)?,
            Opcode::Reject => reply::reject(&frame)?,
            _ => match mtu(&actions) {
                Some(mtu) => reply::too_big(&frame, Direction::Onward, mtu)?,
                None => reply::unreachable(&frame, Direction::Onward)?,
            },
        };
        effects.push(Effect::PacketOut(PacketOut {
            metadata: pipeline_fields(&packet.packet_in.metadata),
            actions,
            packet: made,
        }));
        Ok(())
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

/// The MTU that an error is to tell (`icmp4.frag_mtu`, `icmp6.frag_mtu`): a note, for the switch has no such field.
fn mtu(actions: &[Action]) -> Option<u32> {
    actions.iter().find_map(|action| match action {
        Action::Note(note) => match note[..] {
            [16 | 32, 0, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        },
        _ => None,
    })
}

/// The fields with which a packet-out may start (OpenFlow 1.5.1, section 7.2.3.8, "pipeline fields"), of those that a
/// logical pipeline uses.
fn pipeline_fields(metadata: &Match) -> Match {
    let mut kept = Match::new();
    for term in metadata.terms() {
        let register = Field::Reg0 <= term.field && term.field <= Field::Reg15;
        if register || matches!(term.field, Field::InPort | Field::Metadata | Field::TunId) {
            kept.set(term.field, term.value);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
