//! `put_dhcp_opts`: a guest's DHCP request goes on as the reply.
//!
//! The flow was made for one logical port and carries all that the port may be told: its address and its options. So
//! there are no leases here and no state: the same question has the same answer on every chassis, at every time. The
//! packet keeps its addresses and ports but for the IP destination; the pipeline's next stage turns it around.
//!
//! | request | reply |
//! | --- | --- |
//! | DISCOVER | OFFER |
//! | REQUEST for the port's address, new or renewed | ACK |
//! | REQUEST for another address, or for none | NAK, without options |
//! | REQUEST to another server | none |
//! | INFORM | ACK without address, mask and times |
//! | RELEASE, DECLINE | none: the address stays the port's |

use std::net::Ipv4Addr;

use daemon::Now;
use packet::dhcp4::{Reply, ReplyKind, Request, RequestKind, code, pseudo};
use packet::frame::{Frame, FrameError};
use packet::userdata::{DhcpArguments, Opcode};

use crate::pinctrl::fields::{result_bit, set_result};
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Dhcp4;

impl Service for Dhcp4 {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::PutDhcpOptions]
    }

    /// Lets the packet go on: as a reply with the result bit set, or unchanged without it.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let arguments = DhcpArguments::decode(packet.arguments)?;
        let result = result_bit(arguments.result)?;
        let mut resumed = packet.packet_in.clone();
        let answered = match answered(&resumed.packet, &arguments) {
            Ok((packet, notes)) => {
                effects.extend(notes.map(Effect::Note));
                packet
            }
            Err(error) => {
                effects.push(Effect::Note(format!("DHCP request not answered: {error}")));
                None
            }
        };
        set_result(&mut resumed.metadata, result, answered.is_some());
        if let Some(packet) = answered {
            resumed.packet = packet;
        }
        effects.push(Effect::Resume(resumed));
        Ok(())
    }
}

/// The frame with the reply, if there is one, and what is worth a note.
fn answered(
    packet: &[u8],
    arguments: &DhcpArguments,
) -> Result<(Option<Vec<u8>>, Option<String>), FrameError> {
    let frame = Frame::parse(packet)?;
    let udp = frame
        .udp4()
        .ok_or(FrameError::Missing("a UDP datagram in IPv4"))?;
    let request =
        Request::parse(udp.payload()).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let Some(reply) = reply(&request, arguments) else {
        let note = format!(
            "DHCP {:?} for {} needs no answer",
            request.kind, arguments.offer
        );
        return Ok((None, Some(note)));
    };
    let (payload, left_out) = reply.encode(&request);
    let note = (!left_out.is_empty()).then(|| {
        format!(
            "DHCP {:?} for {}: no room for options {left_out:?}",
            reply.kind, arguments.offer
        )
    });
    // As OVN has it: to all if the client asks for that, else to the port's address, refused or not.
    let destination = match request.broadcast {
        true => Ipv4Addr::BROADCAST,
        false => arguments.offer,
    };
    let packet = frame.with_udp4_payload(destination, &payload)?;
    Ok((Some(packet), note))
}

/// The answer, if the request deserves one.
fn reply(request: &Request, arguments: &DhcpArguments) -> Option<Reply> {
    let value = |wanted: u8| {
        let found = arguments.options.iter().find(|(code, _)| *code == wanted);
        found.map(|(_, value)| value.as_slice())
    };
    let address = |value: Option<&[u8]>| Some(Ipv4Addr::from(<[u8; 4]>::try_from(value?).ok()?));
    let kind = match request.kind {
        RequestKind::Discover => ReplyKind::Offer,
        RequestKind::Inform => ReplyKind::Ack,
        RequestKind::Release | RequestKind::Decline => return None,
        RequestKind::Request => {
            let chosen = request.address_option(code::SERVER_ID);
            if chosen.is_some() && chosen != address(value(code::SERVER_ID)) {
                return None;
            }
            let wanted = request
                .address_option(code::REQUESTED_ADDRESS)
                .unwrap_or(request.client_address);
            if wanted == arguments.offer {
                ReplyKind::Ack
            } else {
                ReplyKind::Nak
            }
        }
    };
    if kind == ReplyKind::Nak {
        return Some(Reply {
            kind,
            your_address: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            options: Vec::new(),
        });
    }
    let informed = request.kind == RequestKind::Inform;
    Some(Reply {
        kind,
        your_address: if informed {
            Ipv4Addr::UNSPECIFIED
        } else {
            arguments.offer
        },
        next_server: address(value(pseudo::NEXT_SERVER)).unwrap_or(Ipv4Addr::UNSPECIFIED),
        options: options(request, arguments, informed),
    })
}

/// The options of an offer or acknowledgement.
fn options(request: &Request, arguments: &DhcpArguments, informed: bool) -> Vec<(u8, Vec<u8>)> {
    let has = |wanted: u8| arguments.options.iter().any(|(code, _)| *code == wanted);
    // Two file names: one for clients that are iPXE already, one for those that are to become it.
    let alternative = has(pseudo::BOOTFILE_NAME_ALT)
        && (request.option(code::ETHERBOOT).is_none() || !has(code::BOOTFILE_NAME));
    arguments
        .options
        .iter()
        .filter_map(|(code, value)| {
            let code = match *code {
                pseudo::NEXT_SERVER => return None,
                pseudo::BOOTFILE_NAME_ALT if alternative => code::BOOTFILE_NAME,
                pseudo::BOOTFILE_NAME_ALT => return None,
                code::BOOTFILE_NAME if alternative => return None,
                // RFC 2131, section 4.3.5; and the mask goes with the address.
                code::LEASE_TIME
                | code::RENEWAL_TIME
                | code::REBINDING_TIME
                | code::SUBNET_MASK
                    if informed =>
                {
                    return None;
                }
                code => code,
            };
            Some((code, value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
