//! `inject-pkt`: a packet out of a description, into the ingress pipeline of a logical port.
//!
//! The description is a match of the logical-flow language that leaves nothing open (ovn-controller(8), `inject-pkt`): it names
//! the input port and the headers, such as
//!
//! ```text
//! inport == "vm1" && eth.src == 02:00:00:00:00:01 && eth.dst == 02:00:00:00:00:02 && ip4.src == 10.0.0.1 &&
//!     ip4.dst == 10.0.0.2 && ip.ttl == 64 && icmp4.type == 8
//! ```
//!
//! Fields that it does not name are zero; a TTL of zero becomes 64, since such a packet would go nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::IpNumber;
use lflow::expr::{Comparison, Cube, normalise, resolve};
use lflow::{Base, Constant, Expr, Name, Symbol};
use openflow::message::PacketOut;
use openflow::{Action, Field, Match, Port};
use ovsdb::Uuid;
use packet::frame::{ip_packet, transport_checksum};
use sb_db::tables::PortBinding;

use crate::layout;
use crate::logical::names::Names;
use crate::network::{Network, Reads};

const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const DEFAULT_TTL: u8 = 64;

/// The packet-out that a description asks for, or what is wrong with it.
pub fn packet_out(network: &Network, description: &str) -> Result<PacketOut, String> {
    let expr = Expr::parse(description).map_err(|error| error.to_string())?;
    let name = input_port(&expr).ok_or("the description must say inport == \"PORT\"")?;
    let reads = Reads::untracked();
    let port = network
        .port_by_name(&reads, &name)
        .ok_or_else(|| format!("there is no port {name}"))?;
    let datapath = network
        .datapaths
        .get(&reads, port.datapath)
        .ok_or("the port's datapath is not known here")?;
    let names = Names::new(network, &reads, port.datapath, datapath.key);
    let resolved = resolve(&expr, &names).map_err(|error| error.to_string())?;
    let alternatives = normalise(&resolved).map_err(|error| error.to_string())?;
    let [alternative] = &alternatives[..] else {
        return Err(format!(
            "the description fits {} kinds of packets, not one",
            alternatives.len()
        ));
    };
    if !alternative.choices.is_empty() {
        return Err("the description leaves a choice open".to_owned());
    }
    let packet = Headers(&alternative.cube).frame()?;
    from_port(network, port, packet)
        .ok_or_else(|| "the port's datapath is not known here".to_owned())
}

/// A packet as if it had come from a logical port: into the ingress pipeline of its datapath. `None` while that is not known.
pub fn from_port(network: &Network, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
    let reads = Reads::untracked();
    let datapath = network.datapaths.get(&reads, port.datapath)?;
    let mut actions = vec![
        Action::set(
            layout::DATAPATH,
            crate::physical::metadata(network, &reads, port, datapath.key),
        ),
        Action::set(
            layout::IN_PORT,
            u32::try_from(port.tunnel_key).unwrap_or_default(),
        ),
    ];
    crate::physical::load_zones(
        network,
        &reads,
        &port.logical_port,
        port.datapath,
        &mut actions,
    );
    actions.push(Action::resubmit(layout::INGRESS));
    let metadata = Match::new().with(Field::InPort, Port::CONTROLLER.0);
    Some(PacketOut {
        metadata,
        actions,
        packet,
    })
}

/// The packet-out that sends a packet straight to a port that is here, through the egress pipeline. `None` while the port's datapath
/// is not known.
pub fn to_port(network: &Network, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
    let datapath = network.datapaths.peek(port.datapath)?;
    let actions = vec![
        Action::set(layout::DATAPATH, u64::from(datapath.key)),
        Action::set(layout::OUT_PORT, u32::try_from(port.tunnel_key).ok()?),
        Action::set(layout::FLAGS, layout::flag::LOCAL_ONLY),
        Action::resubmit(layout::LOCAL_OUTPUT),
    ];
    Some(PacketOut {
        metadata: Match::new().with(Field::InPort, Port::CONTROLLER.0),
        actions,
        packet,
    })
}

/// The packet-out that sends a packet that came by the port with key `from` on to ports and groups with these keys, wherever they
/// are. `None` while the datapath is not known.
pub fn onward(
    network: &Network,
    datapath: Uuid,
    from: u32,
    to: &[u32],
    packet: Vec<u8>,
) -> Option<PacketOut> {
    let reads = Reads::untracked();
    let key = network.datapaths.peek(datapath)?.key;
    let bits = crate::physical::bits(network, &reads, datapath);
    let mut actions = vec![
        Action::set(layout::DATAPATH, u64::from(key) | bits),
        Action::set(layout::IN_PORT, from),
    ];
    for to in to {
        actions.push(Action::set(layout::OUT_PORT, *to));
        actions.push(Action::resubmit(layout::REMOTE_OUTPUT));
    }
    Some(PacketOut {
        metadata: Match::new().with(Field::InPort, Port::CONTROLLER.0),
        actions,
        packet,
    })
}

/// The packet-out that sends a packet to all ports of a datapath here that lead to no router. `None` while it is not known.
pub fn to_all(network: &Network, datapath: Uuid, packet: Vec<u8>) -> Option<PacketOut> {
    let key = network.datapaths.peek(datapath)?.key;
    let actions = vec![
        Action::set(layout::DATAPATH, u64::from(key)),
        Action::set(layout::OUT_PORT, u32::from(addr::PortKey::FLOOD_L2.get())),
        Action::set(layout::FLAGS, layout::flag::LOCAL_ONLY),
        Action::resubmit(layout::LOCAL_OUTPUT),
    ];
    Some(PacketOut {
        metadata: Match::new().with(Field::InPort, Port::CONTROLLER.0),
        actions,
        packet,
    })
}

/// The port in `inport == "PORT"`.
fn input_port(expr: &Expr) -> Option<Name> {
    let mut found = None;
    expr.comparisons(&mut |comparison: &Comparison| {
        if comparison.field.symbol() == Symbol::Inport
            && let [Constant::Str(name)] = &comparison.constants[..]
        {
            found = Some(name.clone());
        }
    });
    found
}

/// The headers that a description gives.
struct Headers<'a>(&'a Cube);

impl Headers<'_> {
    fn get(&self, base: Base) -> u128 {
        self.0.get(base).map_or(0, |term| term.value)
    }

    fn frame(&self) -> Result<Vec<u8>, String> {
        let mut frame = bytes(self.get(Base::EthDst), 6);
        frame.extend(bytes(self.get(Base::EthSrc), 6));
        let tci = self.get(Base::VlanTci) as u16;
        if tci & 0x1000 != 0 {
            frame.extend(VLAN.to_be_bytes());
            // The bit that says "present" is Open vSwitch's own; on the wire it means something else.
            frame.extend((tci & !0x1000).to_be_bytes());
        }
        let ethertype = self.get(Base::EthType) as u16;
        frame.extend(ethertype.to_be_bytes());
        match ethertype {
            ARP | RARP => self.arp(&mut frame),
            IP4 => {
                let address = |base| IpAddr::V4(Ipv4Addr::from_bits(self.get(base) as u32));
                self.ip(address(Base::Ip4Src), address(Base::Ip4Dst), &mut frame)?;
            }
            IP6 => {
                let address = |base| IpAddr::V6(Ipv6Addr::from_bits(self.get(base)));
                self.ip(address(Base::Ip6Src), address(Base::Ip6Dst), &mut frame)?;
            }
            _ => {}
        }
        Ok(frame)
    }

    /// RFC 826, for Ethernet and IPv4.
    fn arp(&self, frame: &mut Vec<u8>) {
        frame.extend([0, 1, 8, 0, 6, 4]);
        for (base, len) in [
            (Base::ArpOp, 2),
            (Base::ArpSha, 6),
            (Base::ArpSpa, 4),
            (Base::ArpTha, 6),
            (Base::ArpTpa, 4),
        ] {
            frame.extend(bytes(self.get(base), len));
        }
    }

    fn ip(&self, source: IpAddr, destination: IpAddr, frame: &mut Vec<u8>) -> Result<(), String> {
        let protocol = IpNumber(self.get(Base::IpProto) as u8);
        let (mut segment, checksum_at) = self.segment(protocol);
        if let Some(at) = checksum_at {
            // ICMP for IPv4 alone has no pseudo header.
            let sum = match protocol {
                IpNumber::ICMP => etherparse::checksum::Sum16BitWords::new()
                    .add_slice(&segment)
                    .ones_complement()
                    .to_be(),
                _ => transport_checksum(source, destination, protocol, &segment),
            };
            segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let ttl = match self.get(Base::IpTtl) as u8 {
            0 => DEFAULT_TTL,
            ttl => ttl,
        };
        let (_, packet) = ip_packet(source, destination, protocol, ttl, &segment)
            .map_err(|error| error.to_string())?;
        frame.extend(packet);
        Ok(())
    }

    /// The transport header, and where in it the checksum is.
    fn segment(&self, protocol: IpNumber) -> (Vec<u8>, Option<usize>) {
        let ports = |source, destination| {
            [bytes(self.get(source), 2), bytes(self.get(destination), 2)].concat()
        };
        match protocol {
            IpNumber::TCP => {
                let mut segment = ports(Base::TcpSrc, Base::TcpDst);
                segment.extend([0; 8]);
                let flags = self.get(Base::TcpFlags) as u16;
                segment.extend((5 << 12 | flags).to_be_bytes());
                segment.extend([0xff, 0xff, 0, 0, 0, 0]);
                (segment, Some(16))
            }
            IpNumber::UDP => {
                let mut segment = ports(Base::UdpSrc, Base::UdpDst);
                segment.extend([0, 8, 0, 0]);
                (segment, Some(6))
            }
            IpNumber::SCTP => {
                let mut segment = ports(Base::SctpSrc, Base::SctpDst);
                segment.extend([0; 8]);
                (segment, None)
            }
            IpNumber::ICMP => {
                let [kind, code] =
                    [self.get(Base::Icmp4Type), self.get(Base::Icmp4Code)].map(|n| n as u8);
                (vec![kind, code, 0, 0, 0, 0, 0, 0], Some(2))
            }
            IpNumber::IPV6_ICMP => {
                let [kind, code] =
                    [self.get(Base::Icmp6Type), self.get(Base::Icmp6Code)].map(|n| n as u8);
                let mut segment = vec![kind, code, 0, 0, 0, 0, 0, 0];
                if matches!(kind, 135 | 136) {
                    segment.extend(bytes(self.get(Base::NdTarget), 16));
                    let (option, base) = if kind == 135 {
                        (1, Base::NdSll)
                    } else {
                        (2, Base::NdTll)
                    };
                    if self.get(base) != 0 {
                        segment.extend([option, 1]);
                        segment.extend(bytes(self.get(base), 6));
                    }
                }
                (segment, Some(2))
            }
            _ => (Vec::new(), None),
        }
    }
}

/// The lowest `len` bytes of a number.
fn bytes(value: u128, len: usize) -> Vec<u8> {
    value.to_be_bytes()[16 - len..].to_vec()
}

#[cfg(test)]
mod tests {
    use ovsdb::typed::{Table, TableDefinition};
    use ovsdb::{RowChange, Uuid};
    use packet::frame::Frame;
    use sb_db::tables::{DatapathBinding, PortBinding};

    use super::*;
    use crate::network::Engine;

    fn network() -> Network {
        let (mut network, mut engine) = (Network::default(), Engine::new());
        let change = |table, n, row| RowChange {
            table,
            uuid: Uuid::from_u128(n),
            old: None,
            new: Some(std::sync::Arc::new(row)),
        };
        let datapath = DatapathBinding {
            tunnel_key: 4,
            ..DatapathBinding::default()
        };
        let port = PortBinding {
            logical_port: "vm1".into(),
            datapath: Uuid::from_u128(1),
            tunnel_key: 3,
            ..PortBinding::default()
        };
        engine.input(&mut network, |network, changes| {
            network.apply(
                changes,
                &change(DatapathBinding::INDEX, 1, datapath.to_row()),
            );
            network.apply(changes, &change(PortBinding::INDEX, 2, port.to_row()));
        });
        network
    }

    #[test]
    fn a_description_becomes_a_packet_with_checksums() {
        let description = "inport == \"vm1\" && eth.src == 02:00:00:00:00:01 && eth.dst == 02:00:00:00:00:02 && \
                           ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && udp.src == 68 && udp.dst == 67";
        let out = packet_out(&network(), description).expect("a packet");
        let frame = Frame::parse(&out.packet).expect("a frame");
        let udp = frame.udp4().expect("a UDP datagram");
        assert_eq!((udp.source_port(), udp.destination_port()), (68, 67));
        let segment = udp.slice().to_vec();
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|octets| IpAddr::V4(octets.into()));
        // Over a segment with a right checksum, the sum comes to nothing.
        assert_eq!(transport_checksum(a, b, IpNumber::UDP, &segment), 0);
        assert_eq!(
            out.actions,
            [
                Action::set(layout::DATAPATH, 4u8),
                Action::set(layout::IN_PORT, 3u8),
                Action::resubmit(layout::INGRESS)
            ]
        );
    }

    #[test]
    fn what_is_no_description_of_one_packet_is_refused() {
        let network = network();
        let refused = |description: &str| packet_out(&network, description).expect_err(description);
        assert!(refused("ip4").contains("inport"));
        assert_eq!(refused("inport == \"vm2\""), "there is no port vm2");
        assert_eq!(
            refused("inport == \"vm1\" && (arp || ip4)"),
            "the description fits 2 kinds of packets, not one"
        );
        assert!(refused("inport == \"vm1\" && ip4.sorce == 1").contains("ip4.sorce"));
    }
}
