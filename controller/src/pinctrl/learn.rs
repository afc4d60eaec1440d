//! `put_fdb`, `put_arp`, `put_nd`: what a packet tells about its sender becomes a row of the southbound.
//!
//! Flows ask for this only when the look-up before found nothing, or something else; still several packets may come
//! before the row does, and several chassis may see one. A row that says the same already is left alone, and a
//! transaction that another chassis has overtaken fails on the table's index, which does no harm.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::Mac;
use openflow::Field;
use openflow::message::PacketIn;
use ovsdb::typed::Table;
use ovsdb::{Operation, Uuid};
use packet::frame::Frame;
use sb_db::tables::{Fdb, MacBinding};

use super::{Context, Effect, HandleError, Now, logical_port, value, value_of_registers};

/// Which action it was, and so which register has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `put_arp`: IPv4 in `reg0`.
    Arp,
    /// `put_nd`: IPv6 in `xxreg0`.
    Nd,
}

/// An address is behind a port of a switch.
pub(super) fn fdb(
    now: Now,
    packet_in: &PacketIn,
    context: &dyn Context,
) -> Result<Vec<Effect>, HandleError> {
    let (datapath, port) = logical_port(&packet_in.metadata);
    let mac = Frame::parse(&packet_in.packet)?.eth_src();
    let (_, datapath_row) = context
        .port(datapath, port)
        .ok_or(HandleError::Port { datapath, port })?;
    let known = context.fdb(datapath, mac);
    if known.is_some_and(|(_, at)| at == i64::from(port)) {
        return Ok(Vec::new());
    }
    let row = Fdb {
        uuid: identity(datapath_row, &mac.to_string()),
        mac: text(mac),
        dp_key: i64::from(datapath),
        port_key: i64::from(port),
        timestamp: now.unix_ms,
    };
    let changed = [
        Fdb::COLUMN.port_key.to(&row.port_key),
        Fdb::COLUMN.timestamp.to(&row.timestamp),
    ];
    Ok(vec![write(
        &row,
        row.uuid,
        known.map(|(uuid, _)| uuid),
        &changed,
    )])
}

/// An address of a neighbour of a router.
pub(super) fn neighbour(
    now: Now,
    packet_in: &PacketIn,
    family: Family,
    context: &dyn Context,
) -> Result<Vec<Effect>, HandleError> {
    let metadata = &packet_in.metadata;
    let (datapath, port) = logical_port(metadata);
    let mac = Frame::parse(&packet_in.packet)?.eth_src();
    let ip: IpAddr = match family {
        Family::Arp => Ipv4Addr::from_bits(value(metadata, Field::Reg0) as u32).into(),
        Family::Nd => Ipv6Addr::from_bits(value_of_registers(metadata, Field::Xxreg0)).into(),
    };
    let (logical_port, datapath) = context
        .port(datapath, port)
        .ok_or(HandleError::Port { datapath, port })?;
    let known = context.mac_binding(&logical_port, ip);
    let mac = text(mac);
    if known.as_ref().is_some_and(|(_, at)| *at == mac) {
        return Ok(Vec::new());
    }
    let row = MacBinding {
        uuid: identity(datapath, &format!("{logical_port} {ip}")),
        logical_port,
        ip: ip.to_string().into(),
        mac,
        timestamp: now.unix_ms,
        datapath,
    };
    let changed = [
        MacBinding::COLUMN.mac.to(&row.mac),
        MacBinding::COLUMN.timestamp.to(&row.timestamp),
    ];
    Ok(vec![write(
        &row,
        row.uuid,
        known.map(|(uuid, _)| uuid),
        &changed,
    )])
}

fn text(mac: Mac) -> Arc<str> {
    mac.to_string().into()
}

/// The identity of a new row: the same on every chassis, so that of several that see one packet one succeeds.
fn identity(datapath: Uuid, what: &str) -> Uuid {
    Uuid::new_v5(&datapath, what.as_bytes())
}

/// Changes the row that is there, or adds one.
fn write<T: Table>(
    row: &T,
    uuid: Uuid,
    known: Option<Uuid>,
    changed: &[(usize, ovsdb::Datum)],
) -> Effect {
    let operation = match known {
        Some(known) => Operation::update_row(T::INDEX, known, changed.to_vec()),
        None => Operation::Insert {
            table: T::INDEX,
            uuid,
            row: row.to_row().columns().iter().cloned().enumerate().collect(),
        },
    };
    Effect::Write(vec![operation])
}

#[cfg(test)]
mod tests;
