//! Flows of what was learned from packets: Ethernet addresses behind ports, and neighbours.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 71 | 100 | datapath, destination | output port |
//! | 72 | 100 | datapath, input port, source | flag "known" |
//! | 72 | 100 | datapath, flag "localnet", source that a guest's port has | flag "known" |
//! | 66 | 100, 50, 150 | datapath, output port, next hop | destination, flag "known" |
//! | 67 | 100, 50, 150 | datapath, input port, address, source | flag "known" |
//!
//! What was learned of a neighbour (`MAC_Binding`, 100) is preferred to what an operator has declared (`Static_MAC_Binding`, 50),
//! unless the operator says otherwise (`override_dynamic_mac`, 150).
//!
//! A neighbour that is to be heard of again (`ripening`) is in table 66 only: what it says is learned anew. So is an Ethernet address
//! in table 71.
//!
//! An address behind a guest's port stays there when a physical network sends it back: frames that the network reflects must
//! not move guests.

use std::net::IpAddr;

use addr::Mac;
use openflow::{Action, Field};
use ovsdb::Uuid;
use sb_db::tables::{Fdb, MacBinding, StaticMacBinding};

use super::{Flows, towards};
use crate::layout::{self, flag};
use crate::network::{Fact, Network, PortKind, Reads};

/// The flows of an Ethernet address.
pub fn fdb_flows(network: &Network, reads: &Reads, row: &Fdb, facts: &mut Vec<Fact>) {
    let (Ok(key), Ok(port), Ok(mac)) = (
        u32::try_from(row.dp_key),
        u32::try_from(row.port_key),
        row.mac.parse::<Mac>(),
    ) else {
        return;
    };
    let Some(datapath) = network.datapath_keyed.get(reads, key) else {
        return;
    };
    if network.local.get(reads, *datapath).is_none() {
        return;
    }
    let owner = network.port_keyed.get(reads, (*datapath, port));
    let owner = owner.and_then(|uuid| network.ports.get(reads, *uuid));
    let is_guest = owner
        .is_some_and(|port| matches!(PortKind::of(port), PortKind::Guest | PortKind::Container));
    let mut out = Flows::of(facts, row.uuid);
    let of_datapath = || layout::of_datapath(key);
    let get = of_datapath().with(Field::EthDst, number(mac));
    out.add(
        layout::GET_FDB,
        100,
        get,
        vec![Action::set(layout::OUT_PORT, port)],
    );
    let lookup = of_datapath()
        .with(layout::IN_PORT, port)
        .with(Field::EthSrc, number(mac));
    let known = vec![Action::set_masked(
        layout::FLAGS,
        flag::LOOKUP_FDB,
        flag::LOOKUP_FDB,
    )];
    if network.ripe.get(reads, row.uuid).is_none() {
        out.add(layout::LOOKUP_FDB, 100, lookup, known.clone());
    }
    if is_guest {
        let reflected = of_datapath()
            .with_masked(layout::FLAGS, flag::LOCALNET, flag::LOCALNET)
            .with(Field::EthSrc, number(mac));
        out.add(layout::LOOKUP_FDB, 100, reflected, known);
    }
}

/// What a row says of a neighbour.
struct Neighbour<'a> {
    row: Uuid,
    datapath: Uuid,
    port: &'a str,
    ip: &'a str,
    mac: &'a str,
    priority: u16,
    /// Who speaks from the address is known.
    is_known: bool,
}

/// The flows of a neighbour that was learned.
pub fn neighbour_flows(network: &Network, reads: &Reads, row: &MacBinding, facts: &mut Vec<Fact>) {
    let neighbour = Neighbour {
        row: row.uuid,
        datapath: row.datapath,
        port: &row.logical_port,
        ip: &row.ip,
        mac: &row.mac,
        priority: 100,
        is_known: network.ripe.get(reads, row.uuid).is_none(),
    };
    flows(network, reads, &neighbour, facts);
}

/// The flows of a neighbour that an operator has declared.
pub fn static_neighbour_flows(
    network: &Network,
    reads: &Reads,
    row: &StaticMacBinding,
    facts: &mut Vec<Fact>,
) {
    let neighbour = Neighbour {
        row: row.uuid,
        datapath: row.datapath,
        port: &row.logical_port,
        ip: &row.ip,
        mac: &row.mac,
        priority: if row.override_dynamic_mac { 150 } else { 50 },
        is_known: true,
    };
    flows(network, reads, &neighbour, facts);
}

fn flows(network: &Network, reads: &Reads, row: &Neighbour<'_>, facts: &mut Vec<Fact>) {
    if network.local.get(reads, row.datapath).is_none() {
        return;
    }
    let Some(datapath) = network.datapaths.get(reads, row.datapath) else {
        return;
    };
    let Some(port) = network.port_by_name(reads, row.port) else {
        return;
    };
    let (Ok(ip), Ok(mac), Ok(key)) = (
        row.ip.parse::<IpAddr>(),
        row.mac.parse::<Mac>(),
        u32::try_from(port.tunnel_key),
    ) else {
        return;
    };
    let mut out = Flows::of(facts, row.row);
    let from = || layout::of_datapath(datapath.key).with(layout::IN_PORT, key);
    let known = vec![Action::set_masked(
        layout::FLAGS,
        flag::LOOKUP_MAC,
        flag::LOOKUP_MAC,
    )];
    let (get, lookup) = match ip {
        IpAddr::V4(ip) => (
            towards(datapath.key, key).with(Field::Reg0, ip.to_bits()),
            from()
                .with(Field::Reg0, ip.to_bits())
                .with(Field::EthType, 0x806u16),
        ),
        IpAddr::V6(ip) => (
            towards(datapath.key, key).with(Field::Xxreg0, ip.to_bits()),
            from()
                .with(Field::Xxreg0, ip.to_bits())
                .with(Field::EthType, 0x86ddu16)
                .with(Field::IpProto, 58u8)
                .with(Field::Icmpv6Code, 0u8),
        ),
    };
    out.add(
        layout::MAC_BINDING,
        row.priority,
        get,
        [vec![Action::set(Field::EthDst, number(mac))], known.clone()].concat(),
    );
    if !row.is_known {
        return;
    }
    out.add(
        layout::MAC_LOOKUP,
        row.priority,
        lookup.with(Field::EthSrc, number(mac)),
        known,
    );
}

/// An Ethernet address as a field's value.
pub(super) fn number(mac: Mac) -> u128 {
    mac.0.iter().fold(0, |n, &byte| n << 8 | u128::from(byte))
}
