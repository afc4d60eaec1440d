//! `put_dhcpv6_opts`: a guest's DHCPv6 request goes on as the reply.
//!
//! As with DHCPv4, the flow was made for one logical port and carries all that the port may be told, so that there are no
//! leases here and no state. The packet keeps its addresses and ports; the pipeline's next stage turns it around. What is
//! answered how stands in [`packet::dhcp6`].

use daemon::Now;
use packet::dhcp6::Request;
use packet::frame::{Frame, FrameError};
use packet::userdata::{Dhcp6Arguments, Opcode};

use crate::pinctrl::fields::{result_bit, set_result};
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Dhcp6;

impl Service for Dhcp6 {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::PutDhcp6Options]
    }

    /// Lets the packet go on: as a reply with the result bit set, or unchanged without it.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let arguments = Dhcp6Arguments::decode(packet.arguments)?;
        let result = result_bit(arguments.result)?;
        let mut resumed = packet.packet_in.clone();
        let answered = answered(&resumed.packet, &arguments).unwrap_or_else(|error| {
            effects.push(Effect::Note(format!(
                "DHCPv6 request not answered: {error}"
            )));
            None
        });
        set_result(&mut resumed.metadata, result, answered.is_some());
        if let Some(packet) = answered {
            resumed.packet = packet;
        }
        effects.push(Effect::Resume(resumed));
        Ok(())
    }
}

/// The frame with the reply, if there is one.
fn answered(packet: &[u8], arguments: &Dhcp6Arguments) -> Result<Option<Vec<u8>>, FrameError> {
    let frame = Frame::parse(packet)?;
    let is_v6 = frame.ips().is_some_and(|(source, _)| source.is_ipv6());
    let udp = frame
        .udp()
        .filter(|_| is_v6)
        .ok_or(FrameError::Missing("a UDP datagram in IPv6"))?;
    let request =
        Request::parse(udp.payload()).map_err(|error| FrameError::Malformed(error.to_string()))?;
    match request.reply(&arguments.options) {
        Some(payload) => frame.with_udp_payload(&payload).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use openflow::Field;
    use packet::dhcp6::code;
    use packet::userdata::ResultBit;

    use super::*;
    use crate::pinctrl::fields::value as field;
    use crate::pinctrl::tests::{handle, packet_in};

    const CLIENT: [u8; 14] = [0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1];

    /// Whether it is answered, and what goes on.
    fn ask(payload: &[u8]) -> (bool, Vec<u8>, Vec<u8>) {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0x33, 0x33, 0, 1, 0, 2]);
        let network = link.ipv6([0xfe; 16], [0xff; 16], 1).udp(546, 547);
        let mut packet = Vec::new();
        network.write(&mut packet, payload).expect("written");
        let arguments = Dhcp6Arguments {
            result: ResultBit {
                oxm_header: 0x0001_0004,
                bit: 3,
            },
            options: vec![
                (code::IA_ADDR, vec![0xfd; 16]),
                (code::SERVER_ID, vec![2, 0, 0, 0, 0, 0xfe]),
            ],
        };
        let userdata = arguments.encode().expect("short enough");
        let effects = handle(packet_in(1, userdata, packet.clone()));
        let Some(Effect::Resume(resumed)) = effects.last() else {
            panic!("{effects:?}")
        };
        let yes = field(&resumed.metadata, Field::Reg0) & 8 != 0;
        (yes, packet, resumed.packet.clone())
    }

    #[test]
    fn a_solicitation_becomes_an_advertisement() {
        let solicitation = [
            &[1, 7, 8, 9],
            &CLIENT[..],
            &[0, 3, 0, 12, 0, 0, 0, 5],
            &[0; 8],
        ];
        let (yes, asked, reply) = ask(&solicitation.concat());
        assert!(yes);
        let (asked, reply) = (Frame::parse(&asked).unwrap(), Frame::parse(&reply).unwrap());
        assert_eq!(
            (asked.eth_src(), asked.ips()),
            (reply.eth_src(), reply.ips())
        );
        let payload = reply.udp().unwrap().payload();
        assert_eq!(payload[..4], [2, 7, 8, 9]);
        assert!(payload.windows(16).any(|bytes| bytes == [0xfd; 16]));
    }

    #[test]
    fn what_is_none_goes_on() {
        for payload in [
            &b""[..],
            b"no DHCP",
            &[2, 0, 0, 0],
            &[1, 0, 0, 0, 0, 1, 0, 99],
        ] {
            let (yes, asked, goes_on) = ask(payload);
            assert_eq!((yes, goes_on), (false, asked));
        }
    }
}
