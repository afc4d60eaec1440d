//! A packet as Open vSwitch prints flows: the first line of a trace.
//!
//! The form is that of `ovs-ofctl` for a packet with its metadata: what is about connection tracking, the protocol's name,
//! registers, then headers in their order in the frame. Metadata that is zero is left out, headers are not.

use std::net::{Ipv4Addr, Ipv6Addr};

use addr::Mac;
use lflow::Base;
use lflow::interp::State;

use super::names::{CT_FLAGS, TCP_FLAGS, flags};

const IP4: u128 = 0x0800;
const IP6: u128 = 0x86dd;
const ARP: u128 = 0x0806;
const RARP: u128 = 0x8035;
const ICMP: u128 = 1;
const IGMP: u128 = 2;
const TCP: u128 = 6;
const UDP: u128 = 17;
const ICMP6: u128 = 58;
const SCTP: u128 = 132;

/// What a packet is called, and whether that tells its `eth.type` and its `ip.proto`.
fn name(state: &State) -> (&'static str, bool, bool) {
    match (state.get(Base::EthType), state.get(Base::IpProto)) {
        (IP4, ICMP) => ("icmp", true, true),
        (IP4, TCP) => ("tcp", true, true),
        (IP4, UDP) => ("udp", true, true),
        (IP4, SCTP) => ("sctp", true, true),
        (IP4, _) => ("ip", true, false),
        (IP6, ICMP6) => ("icmp6", true, true),
        (IP6, TCP) => ("tcp6", true, true),
        (IP6, UDP) => ("udp6", true, true),
        (IP6, SCTP) => ("sctp6", true, true),
        (IP6, _) => ("ipv6", true, false),
        (ARP, _) => ("arp", true, false),
        (RARP, _) => ("rarp", true, false),
        _ => ("", false, false),
    }
}

/// The packet and its metadata.
pub fn describe(state: &State) -> String {
    let mut parts = Vec::new();
    metadata(state, &mut parts);
    let (name, tells_type, tells_protocol) = name(state);
    if !name.is_empty() {
        parts.push(name.to_owned());
    }
    registers(state, &mut parts);
    link(state, &mut parts);
    let eth_type = state.get(Base::EthType);
    if !tells_type {
        parts.push(format!("dl_type=0x{eth_type:04x}"));
    }
    match eth_type {
        ARP | RARP => arp(state, &mut parts),
        IP4 | IP6 => network(state, tells_protocol, &mut parts),
        _ => {}
    }
    parts.join(",")
}

fn metadata(state: &State, parts: &mut Vec<String>) {
    let mark = state.get(Base::PktMark);
    if mark != 0 {
        parts.push(format!("pkt_mark={mark:#x}"));
    }
    let ct_state = state.get(Base::CtState);
    if ct_state != 0 {
        parts.push(format!("ct_state={}", flags(ct_state, &CT_FLAGS)));
    }
    for (base, name) in [(Base::CtMark, "ct_mark"), (Base::CtLabel, "ct_label")] {
        let value = state.get(base);
        if value != 0 {
            parts.push(format!("{name}={value:#x}"));
        }
    }
}

fn registers(state: &State, parts: &mut Vec<String>) {
    let numbered = (0..10).map(|number| (number, Base::reg(number)));
    let others = [(10, Base::Flags), (14, Base::Inport), (15, Base::Outport)];
    for (number, base) in numbered.chain(others) {
        let value = state.get(base);
        if value != 0 {
            parts.push(format!("reg{number}={value:#x}"));
        }
    }
}

fn link(state: &State, parts: &mut Vec<String>) {
    let tci = state.get(Base::VlanTci);
    parts.push(match tci & 0x1000 {
        0 => format!("vlan_tci=0x{tci:04x}"),
        _ => format!(
            "dl_vlan={},dl_vlan_pcp={},vlan_tci1=0x0000",
            tci & 0xfff,
            tci >> 13
        ),
    });
    parts.push(format!("dl_src={}", mac(state, Base::EthSrc)));
    parts.push(format!("dl_dst={}", mac(state, Base::EthDst)));
}

fn arp(state: &State, parts: &mut Vec<String>) {
    parts.push(format!("arp_spa={}", ip4(state, Base::ArpSpa)));
    parts.push(format!("arp_tpa={}", ip4(state, Base::ArpTpa)));
    parts.push(format!("arp_op={}", state.get(Base::ArpOp)));
    parts.push(format!("arp_sha={}", mac(state, Base::ArpSha)));
    parts.push(format!("arp_tha={}", mac(state, Base::ArpTha)));
}

fn network(state: &State, tells_protocol: bool, parts: &mut Vec<String>) {
    match state.get(Base::EthType) {
        IP4 => {
            parts.push(format!("nw_src={}", ip4(state, Base::Ip4Src)));
            parts.push(format!("nw_dst={}", ip4(state, Base::Ip4Dst)));
        }
        _ => {
            parts.push(format!("ipv6_src={}", ip6(state, Base::Ip6Src)));
            parts.push(format!("ipv6_dst={}", ip6(state, Base::Ip6Dst)));
            parts.push(format!("ipv6_label=0x{:05x}", state.get(Base::Ip6Label)));
        }
    }
    let protocol = state.get(Base::IpProto);
    if !tells_protocol {
        parts.push(format!("nw_proto={protocol}"));
    }
    parts.push(format!("nw_tos={}", state.get(Base::IpDscp) << 2));
    parts.push(format!("nw_ecn={}", state.get(Base::IpEcn)));
    parts.push(format!("nw_ttl={}", state.get(Base::IpTtl)));
    let fragment = match state.get(Base::IpFrag) {
        0 => "no",
        1 => "first",
        _ => "later",
    };
    parts.push(format!("nw_frag={fragment}"));
    transport(state, protocol, parts);
}

fn transport(state: &State, protocol: u128, parts: &mut Vec<String>) {
    let mut pair = |names: [&str; 2], bases: [Base; 2]| {
        for (name, base) in names.into_iter().zip(bases) {
            parts.push(format!("{name}={}", state.get(base)));
        }
    };
    let (ports, kinds) = (["tp_src", "tp_dst"], ["icmp_type", "icmp_code"]);
    match protocol {
        TCP => pair(ports, [Base::TcpSrc, Base::TcpDst]),
        UDP => pair(ports, [Base::UdpSrc, Base::UdpDst]),
        SCTP => pair(ports, [Base::SctpSrc, Base::SctpDst]),
        ICMP => pair(kinds, [Base::Icmp4Type, Base::Icmp4Code]),
        ICMP6 => pair(kinds, [Base::Icmp6Type, Base::Icmp6Code]),
        // Its headers are no fields, and yet they are printed.
        IGMP => parts.push("tp_src=0,tp_dst=0".to_owned()),
        _ => {}
    }
    let kind = state.get(Base::Icmp6Type);
    if protocol == ICMP6 && matches!(kind, 135 | 136) && state.get(Base::Icmp6Code) == 0 {
        parts.push(format!("nd_target={}", ip6(state, Base::NdTarget)));
        parts.push(format!("nd_sll={}", mac(state, Base::NdSll)));
        parts.push(format!("nd_tll={}", mac(state, Base::NdTll)));
    }
    if protocol == TCP {
        let value = state.get(Base::TcpFlags);
        parts.push(format!("tcp_flags={}", flags(value, &TCP_FLAGS)));
    }
}

fn mac(state: &State, base: Base) -> Mac {
    Mac::from_u64(u64::try_from(state.get(base)).unwrap_or_default())
}

fn ip4(state: &State, base: Base) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(state.get(base)).unwrap_or_default())
}

fn ip6(state: &State, base: Base) -> Ipv6Addr {
    Ipv6Addr::from_bits(state.get(base))
}
