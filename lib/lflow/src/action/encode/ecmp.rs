//! `commit_ecmp_nh(…);`: the switch itself learns that a connection came in by this next hop, in both directions.
//!
//! | table | the learned flow matches | for |
//! | --- | --- | --- |
//! | `chk_ecmp_nh_mac` | the connection's packets from the MAC that this one is from | whether a connection has moved to another next hop |
//! | `chk_ecmp_nh` | what answers them | whether a connection came in by a next hop |
//!
//! Both answer in the flag alone, and go twenty seconds after the last packet, as those of OVN's controllers do, or with the logical
//! flow that taught them.

use openflow::action::{Learn, LearnSpec};
use openflow::{Action as OfAction, Field as OfField};

use super::fields::subfield;
use super::learned::{PRIORITY, copied, datapath, equals, load, same};
use super::{Context, FlagBit, Outcome};

const IDLE_TIMEOUT_S: u16 = 20;

pub(super) fn commit(
    ipv6: bool,
    protocol: &str,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let (ethertype, addresses) = match ipv6 {
        false => (0x800, [OfField::IpSrc, OfField::IpDst]),
        true => (0x86dd, [OfField::Ipv6Src, OfField::Ipv6Dst]),
    };
    let (number, ports) = match protocol {
        "udp" => (17u8, [OfField::UdpSrc, OfField::UdpDst]),
        "sctp" => (132, [OfField::SctpSrc, OfField::SctpDst]),
        _ => (6, [OfField::TcpSrc, OfField::TcpDst]),
    };
    let flag = load(subfield(FlagBit::EcmpNextHop.field())?, 1);
    let begin = || {
        vec![
            same(datapath()),
            equals(OfField::EthType.into(), ethertype),
            equals(OfField::IpProto.into(), number.into()),
        ]
    };
    let mut there = begin();
    there.push(same(OfField::EthSrc.into()));
    let mut back = begin();
    for [source, destination] in [addresses, ports] {
        let (source, destination) = (source.into(), destination.into());
        there.extend([same(source), same(destination)]);
        back.extend([copied(destination, source), copied(source, destination)]);
    }
    for (table, mut specs) in [
        (context.tables.ecmp_nh_mac, there),
        (context.tables.ecmp_nh, back),
    ] {
        specs.push(flag.clone());
        out.push(learn(table, specs, context));
    }
    Ok(())
}

fn learn(table: u8, specs: Vec<LearnSpec>, context: &Context<'_>) -> OfAction {
    OfAction::Learn(Box::new(Learn {
        idle_timeout: IDLE_TIMEOUT_S,
        priority: PRIORITY,
        cookie: context.cookie.into(),
        table,
        delete_learned: true,
        specs,
        ..Learn::default()
    }))
}
