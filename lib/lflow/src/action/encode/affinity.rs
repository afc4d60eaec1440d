//! `commit_lb_aff(…);`: the switch itself learns which backend a client has, as a flow of the table that `chk_lb_aff` calls.
//!
//! | the learned flow | |
//! | --- | --- |
//! | matches | the datapath's key, the client's address, the virtual address with its port |
//! | answers in | the flag, and the backend in registers, where northd's flows look for it |
//! | goes | when no connection was made for the timeout, or with the logical flow that learned it |
//!
//! In which registers northd looks changed with OVN 25.09: address and port are put into both where that does no harm. For IPv6 on a
//! switch the old ones overlap with others, so it depends on what northd says ([`super::Resources::has_new_registers`]).

use std::net::IpAddr;

use openflow::action::Learn;
use openflow::{Action as OfAction, Field as OfField};

use super::fields::subfield;
use super::learned::{PRIORITY, bits, datapath, equals, load, same};
use super::{Context, DatapathKind, FlagBit, Outcome};
use crate::action::Affinity;

pub(super) fn commit(
    affinity: &Affinity,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let (vip, vip_port) = affinity.vip;
    let (backend, backend_port) = affinity.backend;
    let (ethertype, source, destination) = match vip {
        IpAddr::V4(_) => (0x800, OfField::IpSrc, OfField::IpDst),
        IpAddr::V6(_) => (0x86dd, OfField::Ipv6Src, OfField::Ipv6Dst),
    };
    let mut specs = vec![
        same(datapath()),
        equals(OfField::EthType.into(), ethertype),
        same(source.into()),
        equals(destination.into(), number(vip)),
    ];
    if let Some(port) = vip_port {
        let (protocol, field) = match affinity.proto.as_deref() {
            Some("udp") => (17u8, OfField::UdpDst),
            Some("sctp") => (132, OfField::SctpDst),
            _ => (6, OfField::TcpDst),
        };
        specs.push(equals(OfField::IpProto.into(), protocol.into()));
        specs.push(equals(field.into(), port.into()));
    }
    specs.push(load(subfield(FlagBit::LbAffinity.field())?, 1));
    let (addresses, ports): (&[OfField], &[OfField]) = if backend.is_ipv4() {
        (&[OfField::Reg4], &[OfField::Reg2, OfField::Reg8])
    } else if context.datapath == DatapathKind::Switch && !context.resources.has_new_registers() {
        // The new one for ports is a part of the old one for addresses.
        (&[OfField::Xxreg1, OfField::Xxreg0], &[OfField::Reg8])
    } else {
        (&[OfField::Xxreg1], &[OfField::Reg2, OfField::Reg8])
    };
    for register in addresses {
        specs.push(load((*register).into(), number(backend)));
    }
    if let Some(port) = backend_port {
        for register in ports {
            specs.push(load(bits(*register, 16), port.into()));
        }
    }
    out.push(OfAction::Learn(Box::new(Learn {
        idle_timeout: affinity.timeout,
        priority: PRIORITY,
        cookie: context.cookie.into(),
        table: context.tables.chk_lb_affinity,
        delete_learned: true,
        specs,
        ..Learn::default()
    })));
    Ok(())
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}
