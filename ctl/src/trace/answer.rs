//! Answers to what flows ask, out of the southbound: `reg9[2] = lookup_arp(…)`, `get_nd(…)` and their kin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Mac;
use lflow::action::{Bare, Lookup as Question, OptionsKind, Query};
use lflow::{Base, Field};
use ovsdb::Uuid;

use super::packet::Packet;
use super::security::{asks_before_address, may_ask, may_get, may_send};
use super::text;
use super::tree::{Kind, Node};
use super::world::World;

/// `ct.dnat`
const DESTINATION_TRANSLATED: u128 = 1 << 7;
/// `ct.trk`
const TRACKED: u128 = 1 << 5;

/// An answer, and what is to be said of it.
#[derive(Debug, Default)]
pub struct Answer {
    /// The answer; none where nobody can say, and the field stays as it is.
    pub value: Option<u128>,
    /// In words.
    pub notes: Vec<Node>,
}

impl Answer {
    fn plain(value: impl Into<u128>) -> Self {
        Self {
            value: Some(value.into()),
            notes: Vec::new(),
        }
    }

    fn note(mut self, kind: Kind, text: impl Into<String>) -> Self {
        self.notes.push(Node::new(kind, text));
        self
    }
}

/// The answer to a question about a packet on a datapath, which is stored in `to`.
pub fn answer(
    world: &World,
    datapath: Uuid,
    packet: &mut Packet,
    to: Field,
    query: &Query,
    is_chassis: bool,
) -> Answer {
    match query {
        Query::Bare(Bare::CheckInPortSec) if is_chassis && asks_before_address(&packet.state) => {
            let source = packet.state.clone();
            let key = u32::try_from(source.get(Base::Inport)).unwrap_or_default();
            let port = world.port_by_key(datapath, key);
            let is_wrong = port.is_some_and(|port| !may_ask(&port.security, &source));
            Answer::plain(u8::from(is_wrong))
        }
        Query::Bare(bare) => of_packet(world, datapath, packet, to, *bare),
        Query::Lookup(question, fields) => {
            let args: Vec<u128> = fields.iter().map(|f| packet.state.read(*f)).collect();
            looked_up(world, datapath, *question, &args)
        }
        Query::PutOptions(kind, _) => {
            let mut answer = Answer::plain(1u8);
            if *kind != OptionsKind::RouterAdvertisement {
                let text = "/* We assume that this packet is DHCPDISCOVER or DHCPREQUEST. */";
                answer = answer.note(Kind::Remark, text);
            }
            stored(answer.note(Kind::Modify, text::query(query)), to)
        }
        Query::RelayCheck { response, .. } => stored(relayed(packet, *response), to),
        // How large it is, no description says; and what is selected, the caller decides.
        Query::PacketLarger(_) | Query::Select(_) => Answer::default(),
    }
}

/// Says that the answer went into a field that is seen from outside.
fn stored(answer: Answer, to: Field) -> Answer {
    match text::is_register(to) {
        true => answer,
        false => answer.note(Kind::Modify, format!("{to} = 1")),
    }
}

fn relayed(packet: &mut Packet, is_response: bool) -> Answer {
    if !is_response {
        let text = "/* We assume that this packet is DHCPDISCOVER or DHCPREQUEST. */";
        return Answer::plain(1u8).note(Kind::Remark, text);
    }
    packet.state.set(Base::Ip4Dst, u32::MAX.into());
    packet.state.set(Base::EthDst, Base::EthDst.full_mask());
    let text = "/* We assume that this packet is DHCPOFFER or DHCPACK and DHCP broadcast flag is set. Dest IP is set to \
                broadcast. Dest MAC is set to broadcast but in real network this is unicast which is extracted from DHCP \
                header. */";
    Answer::plain(1u8).note(Kind::Remark, text)
}

fn of_packet(world: &World, datapath: Uuid, packet: &Packet, to: Field, question: Bare) -> Answer {
    let state = &packet.state;
    let port = |base| {
        let key = u32::try_from(state.get(base)).unwrap_or_default();
        world.port_by_key(datapath, key)
    };
    match question {
        Bare::CheckInPortSec => {
            let port = port(Base::Inport);
            let is_wrong = port.is_some_and(|port| !may_send(&port.security, state));
            Answer::plain(u8::from(is_wrong))
        }
        Bare::CheckOutPortSec => {
            let port = port(Base::Outport);
            let is_wrong = port.is_some_and(|port| !may_get(&port.security, state));
            Answer::plain(u8::from(is_wrong))
        }
        Bare::DnsLookup => {
            Answer::plain(0u8).note(Kind::Remark, "*** dns_lookup action not implemented")
        }
        Bare::ChkLbHairpin | Bare::ChkLbHairpinReply => {
            let is_reply = question == Bare::ChkLbHairpinReply;
            let value = u8::from(is_hairpin(world, packet, is_reply));
            Answer::plain(value).note(Kind::Modify, format!("{to} = {value}"))
        }
        Bare::CtStateSave => {
            let value = match state.get(Base::CtState) {
                tracked if tracked & TRACKED != 0 => tracked & 0xff,
                _ => 0,
            };
            Answer::plain(value).note(Kind::Action, format!("/* {to} = {value}; */"))
        }
        Bare::CtNwDst | Bare::CtIp6Dst => match packet.original.map(|original| original.address) {
            Some(IpAddr::V4(ip)) if question == Bare::CtNwDst => Answer::plain(ip.to_bits()),
            Some(IpAddr::V6(ip)) if question == Bare::CtIp6Dst => Answer::plain(ip.to_bits()),
            _ => Answer::default(),
        },
        Bare::CtTpDst => match packet.original {
            Some(original) => Answer::plain(original.port),
            None => Answer::default(),
        },
        Bare::CtProto => match packet.original {
            Some(original) => Answer::plain(original.protocol),
            None => Answer::default(),
        },
        Bare::ChkLbAff | Bare::ChkEcmpNhMac | Bare::ChkEcmpNh => Answer::default(),
    }
}

/// Whether a load balancer has sent a packet back to its sender, or this is an answer to such a packet.
fn is_hairpin(world: &World, packet: &Packet, is_reply: bool) -> bool {
    let Some(original) = packet.original else {
        return false;
    };
    let Some((_, vip_port)) = world.vip(original.address) else {
        return false;
    };
    let is_translated = packet.state.get(Base::CtState) & DESTINATION_TRANSLATED != 0;
    let destination = packet.destination().map(|to| to.address);
    let port = match is_reply {
        true => packet.destination_port(),
        false => original.port,
    };
    is_translated && packet.source() == destination && vip_port == port
}

fn looked_up(world: &World, datapath: Uuid, question: Question, args: &[u128]) -> Answer {
    let none = "/* lookup failed - No MAC binding. */";
    match (question, args) {
        (Question::LookupArp | Question::LookupNd, [port, ip, mac]) => {
            let is_ip4 = question == Question::LookupArp;
            let mac = mac_of(*mac);
            match neighbour(world, datapath, *port, *ip, is_ip4) == Some(mac) {
                true => Answer::plain(1u8)
                    .note(Kind::Action, format!("/* MAC binding to {mac} found. */")),
                false => Answer::plain(0u8).note(Kind::Action, none),
            }
        }
        (Question::LookupArpIp | Question::LookupNdIp, [port, ip]) => {
            let is_ip4 = question == Question::LookupArpIp;
            match neighbour(world, datapath, *port, *ip, is_ip4) {
                Some(_) => Answer::plain(1u8).note(Kind::Action, "/* MAC binding found. */"),
                None => Answer::plain(0u8).note(Kind::Action, none),
            }
        }
        (Question::LookupFdb, [port, mac]) => {
            match station(world, datapath, *mac).map(u128::from) == Some(*port) {
                true => Answer::plain(1u8).note(
                    Kind::Action,
                    format!("/* MAC lookup for {} found in FDB. */", mac_of(*mac)),
                ),
                false => Answer::plain(0u8).note(
                    Kind::Action,
                    "/* lookup mac failed in mac learning table. */",
                ),
            }
        }
        (Question::GetFdb, [mac]) => {
            Answer::plain(station(world, datapath, *mac).unwrap_or_default())
        }
        (Question::GetRemoteFdb, _) => Answer::plain(0u8),
        _ => Answer::default(),
    }
}

fn station(world: &World, datapath: Uuid, mac: u128) -> Option<u32> {
    let datapath = world.datapath_by_uuid(datapath)?;
    world.station_port(datapath.key, u64::try_from(mac).ok()?)
}

/// The MAC of the neighbour of a router port that has this key.
pub fn neighbour(world: &World, datapath: Uuid, port: u128, ip: u128, is_ip4: bool) -> Option<Mac> {
    let port = world.port_by_key(datapath, u32::try_from(port).ok()?)?;
    let ip = match is_ip4 {
        true => Ipv4Addr::from_bits(u32::try_from(ip).ok()?).into(),
        false => Ipv6Addr::from_bits(ip).into(),
    };
    // What is learned on a gateway is learned for the port that it stands for.
    let names = std::iter::once(&port.name).chain(&port.distributed);
    names
        .into_iter()
        .find_map(|name| world.neighbour_of(name, ip))
}

fn mac_of(bits: u128) -> Mac {
    Mac::from_u64(u64::try_from(bits).unwrap_or_default())
}
