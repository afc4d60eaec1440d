//! Actions in braces: another packet is made of the one that came, and the flow's actions are done with it.
//!
//! The userdata hold those actions, encoded as OpenFlow. The packet that came is not held up; what is sent starts with
//! its metadata, so the actions find registers, datapath and input port as the flow left them.

use daemon::Now;
use openflow::action::decode_actions;
use openflow::message::PacketOut;
use openflow::wire::Reader;
use openflow::{Field, Match};
use packet::frame::Frame;
use packet::reply::{self, Direction};
use packet::userdata::Opcode;

use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Transform;

impl Service for Transform {
    fn opcodes(&self) -> &'static [Opcode] {
        &[
            Opcode::Arp,
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
            Opcode::NdNa => reply::neighbour_advertisement(&frame, false)?,
            Opcode::NdNaRouter => reply::neighbour_advertisement(&frame, true)?,
            Opcode::TcpReset => reply::tcp_reset(&frame, Direction::Onward)?,
            Opcode::Reject => reply::reject(&frame)?,
            _ => reply::unreachable(&frame, Direction::Onward)?,
        };
        effects.push(Effect::PacketOut(PacketOut {
            metadata: pipeline_fields(&packet.packet_in.metadata),
            actions,
            packet: made,
        }));
        Ok(())
    }
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
