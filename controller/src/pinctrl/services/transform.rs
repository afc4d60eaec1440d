//! Actions in braces: another packet is made of the one that came, and the flow's actions are done with it.
//!
//! The userdata hold those actions, encoded as OpenFlow. The packet that came is not held up; what is sent starts with
//! its metadata, so the actions find registers, datapath and input port as the flow left them.

use daemon::Now;
use openflow::Action;
use openflow::action::decode_actions;
use openflow::message::PacketOut;
use openflow::wire::Reader;
use packet::frame::Frame;
use packet::reply::{self, Direction};
use packet::userdata::Opcode;

use crate::pinctrl::fields::pipeline_fields;
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Transform;

impl Service for Transform {
    fn opcodes(&self) -> &'static [Opcode] {
        &[
            Opcode::NdNa,
            Opcode::NdNaRouter,
            Opcode::Icmp,
            Opcode::Icmp4Error,
            Opcode::Icmp6Error,
            Opcode::TcpReset,
            Opcode::SctpAbort,
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
            Opcode::NdNa => reply::neighbour_advertisement(&frame, false)?,
            Opcode::NdNaRouter => reply::neighbour_advertisement(&frame, true)?,
            Opcode::TcpReset => reply::tcp_reset(&frame, Direction::Onward)?,
            Opcode::SctpAbort => reply::sctp_abort(&frame, Direction::Onward)?,
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

#[cfg(test)]
mod tests;
