//! Connections through a load balancer that come back to their client, which is one of the backends: on its switch the client
//! must see the virtual address as the other end, and what it sends there must come back to itself.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 68 | 100 | source and destination are a backend, the connection was for the virtual address | flag "hairpin"; learns the next line |
//! | 69 | 32768 | datapath, source is the backend, destination the virtual address | flag "hairpin" |
//! | 70 | 100; 90 without a port | the connection was for the virtual address | the virtual address becomes the source |
//!
//! Where `options:hairpin_snat_ip` names another address for the client to see, the flows of 68 and 70 are for each switch, at
//! priority 200 (190): another load balancer of another switch may have the same virtual address and no such option.
//!
//! What a connection was for is asked of connection tracking, whatever northd's flows keep in registers. Only backends from which
//! packets may come here have flows. A learned flow goes with the backend that it is about: its cookie says which,
//! whatever row has it.

use std::net::IpAddr;

use openflow::action::{Ct, CtZone, Learn, LearnSource, LearnSpec, Nat, NatKind};
use openflow::{Action, Field, Match, Subfield};

use super::Flows;
use crate::flow::stable_number;
use crate::layout::{self, flag};
use crate::network::{Balancer, Endpoint, Fact, Network, Reads, Vip, endpoint, expand};

/// The bits of `ct_state` of a packet that was sent on to a backend: tracked, destination translated.
const BALANCED: u32 = 1 << 5 | 1 << 7;
/// The priority of learned flows.
const LEARNED: u16 = 0x8000;

/// The flows of a virtual address, or of one of its backends.
pub fn flows(network: &Network, reads: &Reads, part: &Vip, facts: &mut Vec<Fact>) {
    let Some(balancer) = network.balancers.get(reads, part.balancer) else {
        return;
    };
    let switches = network.switches_of(reads, balancer);
    if switches.is_empty() {
        return;
    }
    let text = expand(network, reads, &part.vip);
    let Some(vip) = endpoint(&text) else {
        return facts.push(unreadable(part, &part.vip, &text));
    };
    let Some(backends) = &part.backend else {
        return translate(balancer, part, vip, &switches, facts);
    };
    let text = expand(network, reads, backends);
    for backend in text.split(',') {
        let Some(backend) = endpoint(backend) else {
            facts.push(unreadable(part, backends, backend));
            continue;
        };
        if backend.0.is_ipv4() == vip.0.is_ipv4() && network.may_come_from(reads, backend.0) {
            detect(balancer, part, (vip, backend), &switches, facts);
        }
    }
}

/// What is written makes no sense here.
fn unreadable(part: &Vip, written: &str, here: &str) -> Fact {
    let here = match here == written {
        true => String::new(),
        false => format!(", here \"{here}\","),
    };
    // What has no value is still there, with its mark.
    let text = format!(
        "load balancer {}: \"{written}\"{here} is no address with or without a port; a variable must have a value in \
         Chassis_Template_Var, and an IPv6 address with a port be in brackets",
        part.balancer
    );
    Fact::Problem(part.balancer, text)
}

/// Finds connections that come back to their client.
fn detect(
    balancer: &Balancer,
    part: &Vip,
    (vip, backend): (Endpoint, Endpoint),
    switches: &[u32],
    facts: &mut Vec<Fact>,
) {
    let mut matches = was_for(vip, balancer.protocol);
    let (source, destination) = ends(vip.0);
    matches.set(source, number(backend.0));
    matches.set(destination, number(backend.0));
    if let Some(port) = backend.1 {
        matches.set(Field::IpProto, balancer.protocol.into());
        matches.set(ports(balancer.protocol).1, port.into());
    }
    let seen = seen_instead_of(vip.0, balancer);
    let protocol = backend.1.map(|_| balancer.protocol);
    // Several rows may say this, and the flows of one may take the place of another's: what was learned stays.
    let learned = stable_number(&format!("{vip:?} {backend:?} {seen}"));
    let learn = Action::Learn(Box::new(Learn {
        priority: LEARNED,
        cookie: learned,
        table: layout::CHECK_HAIRPIN_REPLY,
        delete_learned: true,
        specs: reply(vip.0, seen, protocol),
        ..Learn::default()
    }));
    let actions = vec![
        Action::set_masked(layout::FLAGS, flag::HAIRPIN, flag::HAIRPIN),
        learn,
    ];
    let mut out = Flows::of(facts, part.balancer);
    for (priority, matches) in places(100, &matches, seen != vip.0, switches) {
        out.add(layout::CHECK_HAIRPIN, priority, matches, actions.clone());
    }
}

/// Has the client see the virtual address.
fn translate(
    balancer: &Balancer,
    part: &Vip,
    vip: Endpoint,
    switches: &[u32],
    facts: &mut Vec<Fact>,
) {
    let seen = seen_instead_of(vip.0, balancer);
    let zone = Subfield {
        field: layout::SNAT_ZONE,
        offset: 0,
        width: 16,
    };
    let nat = Nat {
        kind: Some(NatKind::Src),
        addrs: Some((seen, seen)),
        ..Nat::default()
    };
    let translate = Action::Ct(Box::new(Ct {
        commit: true,
        force: false,
        zone: CtZone::Field(zone),
        table: None,
        alg: 0,
        exec: vec![Action::Nat(Box::new(nat))],
    }));
    let mut matches = was_for(vip, balancer.protocol);
    let mut priority = 90;
    if vip.1.is_some() {
        matches.set(Field::IpProto, balancer.protocol.into());
        priority = 100;
    }
    let mut out = Flows::of(facts, part.balancer);
    for (priority, matches) in places(priority, &matches, seen != vip.0, switches) {
        out.add(
            layout::CT_SNAT_HAIRPIN,
            priority,
            matches,
            vec![translate.clone()],
        );
    }
}

/// Priority and match: one for all switches, or one for each.
fn places(
    priority: u16,
    matches: &Match,
    is_specific: bool,
    switches: &[u32],
) -> Vec<(u16, Match)> {
    if !is_specific {
        return vec![(priority, matches.clone())];
    }
    let of = |key: &u32| {
        let matches = matches.clone();
        let matches = matches.with_masked(layout::DATAPATH, *key, layout::DATAPATH_KEY);
        (priority + 100, matches)
    };
    switches.iter().map(of).collect()
}

/// The match of packets of connections that were made to a virtual address.
fn was_for(vip: Endpoint, protocol: u8) -> Match {
    let (ethertype, destination) = match vip.0 {
        IpAddr::V4(_) => (0x800u16, Field::CtNwDst),
        IpAddr::V6(_) => (0x86dd, Field::CtIpv6Dst),
    };
    let matches = Match::new()
        .with(Field::EthType, ethertype)
        .with_masked(Field::CtState, BALANCED, BALANCED)
        .with(destination, number(vip.0));
    match vip.1 {
        Some(port) => matches
            .with(Field::CtNwProto, protocol)
            .with(Field::CtTpDst, port),
        None => matches,
    }
}

/// What the learned flow of replies matches and does.
fn reply(vip: IpAddr, seen: IpAddr, protocol: Option<u8>) -> Vec<LearnSpec> {
    let (source, destination) = ends(vip);
    let same = |field: Subfield| LearnSpec::Match {
        src: LearnSource::Field(field),
        dst: field,
    };
    let equals = |field: Field, value: u128| LearnSpec::Match {
        src: LearnSource::Imm(value),
        dst: field.into(),
    };
    let datapath = Subfield {
        field: layout::DATAPATH,
        offset: 0,
        width: layout::FIRST_GROUP_BIT.into(),
    };
    let ethertype = if vip.is_ipv4() { 0x800 } else { 0x86dd };
    let mut specs = vec![
        same(datapath),
        equals(Field::EthType, ethertype),
        same(source.into()),
        equals(destination, number(seen)),
    ];
    match protocol {
        Some(protocol) => {
            let (source, destination) = ports(protocol);
            specs.push(equals(Field::IpProto, protocol.into()));
            specs.push(LearnSpec::Match {
                src: LearnSource::Field(destination.into()),
                dst: source.into(),
            });
        }
        None => specs.push(same(Field::IpProto.into())),
    }
    specs.push(LearnSpec::Load {
        src: LearnSource::Imm(1),
        dst: layout::HAIRPIN_BIT,
    });
    specs
}

/// What the client sees as the other end.
fn seen_instead_of(vip: IpAddr, balancer: &Balancer) -> IpAddr {
    let mut others = balancer.snat_ips.iter();
    let other = others.find(|ip| ip.is_ipv4() == vip.is_ipv4());
    other.copied().unwrap_or(vip)
}

/// The fields of source and destination.
fn ends(ip: IpAddr) -> (Field, Field) {
    match ip {
        IpAddr::V4(_) => (Field::IpSrc, Field::IpDst),
        IpAddr::V6(_) => (Field::Ipv6Src, Field::Ipv6Dst),
    }
}

/// The fields of source and destination port.
fn ports(protocol: u8) -> (Field, Field) {
    match protocol {
        17 => (Field::UdpSrc, Field::UdpDst),
        132 => (Field::SctpSrc, Field::SctpDst),
        _ => (Field::TcpSrc, Field::TcpDst),
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests;
