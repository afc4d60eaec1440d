//! A frame as text, as Open vSwitch prints flows: `tcp,vlan_tci=0x0000,dl_src=…,nw_src=…,tp_dst=80,tcp_flags=syn`.
//!
//! The form is that of `ovs-ofctl parse-pcap` (OVS 3.1), without the input port; a test holds one against the other.

use std::net::{IpAddr, Ipv4Addr};

use addr::Mac;
use etherparse::{
    ArpPacketSlice, IpNumber, Ipv6ExtensionSlice, NetSlice, TcpSlice, TransportSlice,
};

use crate::frame::Frame;
use crate::reply::sctp;

/// TCP's flags as OVS calls them, from the lowest bit on.
const TCP_FLAGS: [&str; 9] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];

/// The headers of a frame, up to its transport ports.
pub fn describe(frame: &Frame<'_>) -> String {
    let link = format!(
        "{},dl_src={},dl_dst={}",
        vlan(frame),
        frame.eth_src(),
        frame.eth_dst()
    );
    match frame.net() {
        None => format!("{link},dl_type=0x{:04x}", frame.ether_type()),
        Some(NetSlice::Arp(arp)) => format!("arp,{link}{}", of_arp(arp)),
        Some(net) => {
            let ip = Headers::of(net);
            let (name, is_named) = ip.name();
            let proto = match is_named {
                true => String::new(),
                false => format!(",nw_proto={}", ip.protocol.0),
            };
            let addresses = match (ip.source, ip.destination) {
                (IpAddr::V4(source), to) => format!(",nw_src={source},nw_dst={to}"),
                (source, to) => format!(
                    ",ipv6_src={source},ipv6_dst={to},ipv6_label=0x{:05x}",
                    ip.label
                ),
            };
            let (tos, ecn, ttl) = (ip.class & !3, ip.class & 3, ip.ttl);
            let transport = match ip.fragment {
                "later" => String::new(),
                "first" => first_transport(net),
                _ => frame
                    .transport()
                    .map_or_else(|| of_sctp(frame), of_transport),
            };
            format!(
                "{name},{link}{addresses}{proto},nw_tos={tos},nw_ecn={ecn},nw_ttl={ttl},nw_frag={}{transport}",
                ip.fragment
            )
        }
    }
}

fn vlan(frame: &Frame<'_>) -> String {
    match frame.vlan_tci() {
        None => "vlan_tci=0x0000".to_owned(),
        Some(tci) => format!(
            "dl_vlan={},dl_vlan_pcp={},vlan_tci1=0x0000",
            tci & 0xfff,
            tci >> 13
        ),
    }
}

/// ARP for IPv4 on Ethernet; of another kind OVS tells no more than that it is ARP.
fn of_arp(arp: &ArpPacketSlice<'_>) -> String {
    let bytes = arp.slice();
    let ip = |at: usize| {
        let octets = bytes.get(at..at + 4)?;
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))
    };
    let mac = |at: usize| Some(Mac(bytes.get(at..at + 6)?.try_into().ok()?));
    let fields = (ip(14), ip(24), mac(8), mac(18), bytes.get(4..8));
    let (Some(spa), Some(tpa), Some(sha), Some(tha), Some([6, 4, 0, op])) = fields else {
        return String::new();
    };
    format!(",arp_spa={spa},arp_tpa={tpa},arp_op={op},arp_sha={sha},arp_tha={tha}")
}

/// What IPv4 and IPv6 have in common.
struct Headers {
    source: IpAddr,
    destination: IpAddr,
    label: u32,
    class: u8,
    ttl: u8,
    protocol: IpNumber,
    fragment: &'static str,
}

impl Headers {
    fn of(net: &NetSlice<'_>) -> Self {
        match net {
            NetSlice::Ipv4(slice) => {
                let ip = slice.header();
                let offset = ip.fragments_offset().value();
                Self {
                    source: ip.source_addr().into(),
                    destination: ip.destination_addr().into(),
                    label: 0,
                    class: ip.dcp().value() << 2 | ip.ecn().value(),
                    ttl: ip.ttl(),
                    protocol: ip.protocol(),
                    fragment: fragment(offset, ip.more_fragments()),
                }
            }
            NetSlice::Ipv6(slice) => {
                let ip = slice.header();
                let mut extensions = slice.extensions().clone().into_iter();
                let of_fragment = extensions.find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(header) => Some(header.to_header()),
                    _ => None,
                });
                let fragment = of_fragment.as_ref().map_or("no", |header| {
                    fragment(header.fragment_offset.value(), header.more_fragments)
                });
                Self {
                    source: ip.source_addr().into(),
                    destination: ip.destination_addr().into(),
                    label: ip.flow_label().value(),
                    class: ip.traffic_class(),
                    ttl: ip.hop_limit(),
                    // Of later fragments OVS says what they are, not of what.
                    protocol: match fragment {
                        "later" => IpNumber::IPV6_FRAGMENTATION_HEADER,
                        _ => slice.payload().ip_number,
                    },
                    fragment,
                }
            }
            NetSlice::Arp(_) => unreachable!("ARP has been told"),
        }
    }

    /// What OVS calls it, and whether that says the protocol.
    fn name(&self) -> (&'static str, bool) {
        let names = match self.protocol {
            IpNumber::TCP => ("tcp", "tcp6"),
            IpNumber::UDP => ("udp", "udp6"),
            IpNumber::SCTP => ("sctp", "sctp6"),
            IpNumber::ICMP if self.source.is_ipv4() => ("icmp", ""),
            IpNumber::IPV6_ICMP if self.source.is_ipv6() => ("", "icmp6"),
            _ if self.source.is_ipv4() => return ("ip", false),
            _ => return ("ipv6", false),
        };
        let name = if self.source.is_ipv4() {
            names.0
        } else {
            names.1
        };
        (name, true)
    }
}

fn fragment(offset: u16, more: bool) -> &'static str {
    match (offset, more) {
        (0, false) => "no",
        (0, true) => "first",
        _ => "later",
    }
}

/// Of a first fragment, whose payload is not whole.
fn first_transport(net: &NetSlice<'_>) -> String {
    let payload = match net {
        NetSlice::Ipv4(ip) => ip.payload(),
        NetSlice::Ipv6(ip) => ip.payload(),
        NetSlice::Arp(_) => return String::new(),
    };
    match (payload.ip_number, payload.payload) {
        (IpNumber::TCP, bytes) => TcpSlice::from_slice(bytes).map_or_else(
            |_| String::new(),
            |tcp| of_transport(&TransportSlice::Tcp(tcp)),
        ),
        (IpNumber::UDP | IpNumber::SCTP, [a, b, c, d, ..]) => {
            ports(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        _ => String::new(),
    }
}

fn ports(from: u16, to: u16) -> String {
    format!(",tp_src={from},tp_dst={to}")
}

fn of_sctp(frame: &Frame<'_>) -> String {
    match sctp(frame) {
        Some([a, b, c, d, ..]) => ports(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => String::new(),
    }
}

fn of_transport(transport: &TransportSlice<'_>) -> String {
    match transport {
        TransportSlice::Tcp(tcp) => {
            let bytes = tcp.slice();
            let bits = u16::from(bytes[12] & 1) << 8 | u16::from(bytes[13]);
            let names = TCP_FLAGS.iter().enumerate();
            let set: Vec<&str> = names
                .filter(|(bit, _)| bits & (1 << bit) != 0)
                .map(|(_, name)| *name)
                .collect();
            let flags = match set.as_slice() {
                [] => "0".to_owned(),
                some => some.join("|"),
            };
            let ports = ports(tcp.source_port(), tcp.destination_port());
            format!("{ports},tcp_flags={flags}")
        }
        TransportSlice::Udp(udp) => ports(udp.source_port(), udp.destination_port()),
        TransportSlice::Icmpv4(icmp) => {
            format!(",icmp_type={},icmp_code={}", icmp.type_u8(), icmp.code_u8())
        }
        TransportSlice::Icmpv6(icmp) => {
            format!(",icmp_type={},icmp_code={}", icmp.type_u8(), icmp.code_u8())
        }
        // OVS takes type and code of IGMP for ports.
        TransportSlice::Igmp(igmp) => match igmp.slice() {
            [kind, code, ..] => ports(u16::from(*kind), u16::from(*code)),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        [&ETHERNET[..], &kind.to_be_bytes(), packet].concat()
    }

    fn ip4(protocol: u8, flags: u16, tos: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).expect("short");
        let [high, low] = length.to_be_bytes();
        let [flags_high, flags_low] = flags.to_be_bytes();
        let header = [
            0x45, tos, high, low, 0, 1, flags_high, flags_low, 64, protocol, 0, 0, 10, 0, 0, 1, 10,
            0, 0, 2,
        ];
        ethernet(0x800, &[&header[..], payload].concat())
    }

    fn ip6(next: u8, first: u32, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short");
        let mut header = (6 << 28 | first).to_be_bytes().to_vec();
        header.extend(length.to_be_bytes());
        header.extend([next, 64]);
        for host in [1, 2] {
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        }
        ethernet(0x86dd, &[&header[..], payload].concat())
    }

    fn tcp(flags: u16) -> Vec<u8> {
        let [high, low] = (0x5000 | flags).to_be_bytes();
        vec![
            3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, high, low, 0, 100, 0, 0, 0, 0,
        ]
    }

    fn frames() -> Vec<Vec<u8>> {
        let udp = [0, 53, 20, 233, 0, 8, 0, 0];
        let icmp = [8, 0, 0, 0, 0, 0, 0, 0];
        let icmp6 = [128, 0, 0, 0, 0, 0, 0, 0];
        let sctp = [0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4];
        let fragment = [17, 0, 0, 64, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
        let arp = [
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ];
        let tagged = [&[0x60, 5, 8, 0][..], &ip4(6, 0, 0, &tcp(2))[14..]].concat();
        vec![
            ip4(6, 0, 0, &tcp(2)),
            ip4(6, 0, 0xb9, &tcp(0x1ff)),
            ip4(6, 0, 0, &tcp(0)),
            ip4(6, 0x2000, 0, &tcp(2)),
            ip4(17, 0, 0, &udp),
            ip4(17, 0x10, 0, &udp),
            ip4(1, 0, 0, &icmp),
            ip4(132, 0, 0, &sctp),
            ip4(47, 0, 0, &[0; 4]),
            ip4(2, 0, 0, &[0x16, 0, 0, 0, 0, 0, 0, 0]),
            ip6(6, 0xb << 24 | 8 << 20 | 0x12345, &tcp(0x12)),
            ip6(17, 0, &udp),
            ip6(58, 0, &icmp6),
            ip6(132, 0, &sctp),
            ip6(59, 0, &[]),
            ip6(44, 0, &fragment),
            ethernet(0x806, &arp),
            ethernet(0x88cc, &[0, 0]),
            ethernet(0x8100, &tagged),
        ]
    }

    #[test]
    fn frames_are_told_as_open_vswitch_tells_them() {
        let frames = frames();
        let mut capture = Vec::new();
        for word in [0xa1b2_c3d4u32, 4 << 16 | 2, 0, 0, 65535, 1] {
            capture.extend(word.to_le_bytes());
        }
        for frame in &frames {
            let length = u32::try_from(frame.len()).expect("short");
            for word in [0, 0, length, length] {
                capture.extend(word.to_le_bytes());
            }
            capture.extend(frame);
        }
        let file = std::env::temp_dir().join(format!("weft-frames-{}.pcap", std::process::id()));
        std::fs::write(&file, capture).expect("a file can be written");
        let told = Command::new("ovs-ofctl")
            .arg("parse-pcap")
            .arg(&file)
            .output()
            .expect("Open vSwitch is installed: cargo xtask setup");
        std::fs::remove_file(&file).expect("the file is there");
        let told = String::from_utf8(told.stdout).expect("text");
        let theirs: Vec<String> = told
            .lines()
            .map(|line| line.replace("in_port=ANY,", ""))
            .collect();
        let ours: Vec<String> = frames
            .iter()
            .map(|frame| describe(&Frame::parse(frame).expect("a frame")))
            .collect();
        assert_eq!(ours, theirs);
    }
}
