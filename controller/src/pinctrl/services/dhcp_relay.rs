//! `dhcp_relay_req_chk`, `dhcp_relay_resp_chk`: a router's port relays DHCPv4 (RFC 1542, section 4).
//!
//! A request gets the relay's address and counts a relay more; a reply gets the client's addresses, or those of everybody. A
//! register bit says whether the message may be relayed at all. There is no state: the reply tells to whom it goes.

use std::net::Ipv4Addr;

use daemon::Now;
use packet::dhcp4::relay;
use packet::frame::{Frame, FrameError};
use packet::userdata::{Opcode, RelayArguments};

use crate::pinctrl::fields::{result_bit, set_result};
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct DhcpRelay;

impl Service for DhcpRelay {
    fn opcodes(&self) -> &'static [Opcode] {
        &[
            Opcode::DhcpRelayRequestCheck,
            Opcode::DhcpRelayResponseCheck,
        ]
    }

    /// Lets the packet go on: written to with the result bit set, or unchanged without it.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let arguments = RelayArguments::decode(packet.arguments)?;
        let result = result_bit(arguments.result)?;
        let mut resumed = packet.packet_in.clone();
        let relayed = match packet.opcode {
            Opcode::DhcpRelayRequestCheck => request(&resumed.packet, &arguments),
            _ => reply(&resumed.packet, &arguments),
        };
        set_result(&mut resumed.metadata, result, relayed.is_ok());
        match relayed {
            Ok(relayed) => resumed.packet = relayed,
            Err(error) => effects.push(Effect::Note(format!("not relayed: {error}"))),
        }
        effects.push(Effect::Resume(resumed));
        Ok(())
    }
}

fn request(packet: &[u8], arguments: &RelayArguments) -> Result<Vec<u8>, FrameError> {
    let frame = Frame::parse(packet)?;
    let relayed = relay::request(payload(&frame)?, arguments.relay)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    frame.with_udp4_payload(Ipv4Addr::BROADCAST, &relayed)
}

fn reply(packet: &[u8], arguments: &RelayArguments) -> Result<Vec<u8>, FrameError> {
    let frame = Frame::parse(packet)?;
    let payload = payload(&frame)?;
    let (mac, ip) = relay::recipient(payload, arguments.relay, arguments.server)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    let mut relayed = frame.with_udp4_payload(ip, payload)?;
    relayed[..6].copy_from_slice(&mac.octets());
    Ok(relayed)
}

fn payload<'p>(frame: &Frame<'p>) -> Result<&'p [u8], FrameError> {
    let udp = frame.udp4();
    let udp = udp.ok_or(FrameError::Missing("a UDP datagram in IPv4"))?;
    Ok(udp.payload())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use addr::Mac;
    use etherparse::IpNumber;
    use openflow::message::PacketIn;
    use openflow::{Field, Match};
    use packet::frame::{ip_packet, transport_checksum};

    use super::*;
    use crate::pinctrl::tests::{handle, packet_in};

    const RELAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 67);
    const YOURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

    fn frame(source: Ipv4Addr, destination: Ipv4Addr, operation: u8) -> Vec<u8> {
        let mut message = vec![0; 236];
        message[..3].copy_from_slice(&[operation, 1, 6]);
        if operation == 2 {
            message[16..20].copy_from_slice(&YOURS.octets());
            message[24..28].copy_from_slice(&RELAY.octets());
        }
        message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        message.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 9, 0, 67, 255]);
        let length = u16::try_from(message.len() + 8).expect("short");
        let mut segment = [0, 68, 0, 67].to_vec();
        segment.extend(length.to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(&message);
        let sum = transport_checksum(source.into(), destination.into(), IpNumber::UDP, &segment);
        segment[6..8].copy_from_slice(&sum.to_be_bytes());
        let (source, destination) = (source.into(), destination.into());
        let packet = ip_packet(source, destination, IpNumber::UDP, 64, &segment);
        let (ether_type, packet) = packet.expect("short");
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 9]);
        frame.extend(ether_type.0.to_be_bytes());
        frame.extend(packet);
        frame
    }

    /// The packet that goes on, and whether its bit is set.
    fn relayed(opcode: Opcode, frame: Vec<u8>) -> (Vec<u8>, bool) {
        let mut userdata = opcode.header().to_vec();
        // Bit 14 of register 9.
        userdata.extend(0x0001_1204_u32.to_be_bytes());
        userdata.extend(14_u32.to_be_bytes());
        userdata.extend(RELAY.octets());
        userdata.extend(SERVER.octets());
        let waiting: PacketIn = packet_in(1, userdata, frame);
        let resumed = handle(waiting).into_iter().find_map(|effect| match effect {
            Effect::Resume(resumed) => Some(resumed),
            _ => None,
        });
        let resumed = resumed.expect("it goes on");
        let metadata: &Match = &resumed.metadata;
        let bit = metadata.get(Field::Reg9).map_or(0, |term| term.value);
        (resumed.packet, bit & (1 << 14) != 0)
    }

    #[test]
    fn a_request_goes_on_with_the_relays_address() {
        let sent = frame(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 1);
        let (packet, is_right) = relayed(Opcode::DhcpRelayRequestCheck, sent);
        assert!(is_right);
        let frame = Frame::parse(&packet).expect("a frame");
        let payload = payload(&frame).expect("a datagram");
        assert_eq!(payload[24..28], RELAY.octets());
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(frame.ips(), Some((nobody, Ipv4Addr::BROADCAST.into())));
    }

    #[test]
    fn a_reply_goes_on_to_the_client() {
        let sent = frame(SERVER, RELAY, 2);
        let (packet, is_right) = relayed(Opcode::DhcpRelayResponseCheck, sent);
        assert!(is_right);
        let frame = Frame::parse(&packet).expect("a frame");
        assert_eq!(frame.eth_dst(), Mac([2, 0, 0, 0, 0, 9]));
        assert_eq!(frame.ips(), Some((SERVER.into(), YOURS.into())));
    }

    #[test]
    fn what_may_not_be_relayed_goes_on_as_it_is() {
        for (opcode, operation) in [
            (Opcode::DhcpRelayRequestCheck, 2),
            (Opcode::DhcpRelayResponseCheck, 1),
        ] {
            let sent = frame(SERVER, RELAY, operation);
            assert_eq!(relayed(opcode, sent.clone()), (sent, false));
        }
    }
}
