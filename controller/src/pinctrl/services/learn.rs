//! `put_fdb`, `put_arp`, `put_nd`: what a packet tells about its sender becomes a row of the southbound.
//!
//! Flows ask for this only when the look-up before found nothing, or something else; still several packets may come
//! before the row does, and several chassis may see one. A row that says the same already is left alone, and a
//! transaction that another chassis has overtaken fails on the table's index, which does no harm. A router never learns
//! that a neighbour has one of its own addresses.
//!
//! Where a router forgets neighbours of which nobody hears, one that speaks has its row's timestamp refreshed when half of its age
//! has passed; of several chassis that hear it the first does.

mod recent;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::{Mac, MacAndIps};
use daemon::Now;
use openflow::Field;
use openflow::message::PacketIn;
use ovsdb::typed::{Column, Table};
use ovsdb::{Clause, Datum, Operation, Row, RowChange, Uuid};
use packet::frame::Frame;
use packet::userdata::Opcode;
use rustc_hash::FxHashMap;
use sb_db::tables::{Fdb, MacBinding, PortBinding};

use crate::network::PortKind;
use crate::pinctrl::fields::{logical_port, value, value_of_registers};
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use recent::Recent;

/// The service: where rows are found by what they are about, of keys only.
#[derive(Debug, Default)]
pub struct Learn {
    /// Rows of `FDB` with the port key and the time in them, by datapath key and address.
    fdb: FxHashMap<(u32, Mac), (Uuid, i64, i64)>,
    /// Rows of `MAC_Binding` with the address and the time in them, by port and IP address.
    mac_bindings: FxHashMap<(Arc<str>, IpAddr), Heard>,
    recent: Recent,
}

impl Service for Learn {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::PutFdb, Opcode::PutArp, Opcode::PutNd]
    }

    fn tables(&self) -> &'static [usize] {
        &[Fdb::INDEX, MacBinding::INDEX]
    }

    fn changed(&mut self, _: Now, change: Change<'_>, _: &dyn View, _: &mut Vec<Effect>) {
        if let Change::Row(row) = change {
            self.row_changed(row);
        }
    }

    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let packet_in = packet.packet_in;
        let (datapath, port) = logical_port(&packet_in.metadata);
        let port = view
            .port_keyed(datapath, port)
            .ok_or(HandleError::Port { datapath, port })?;
        let wanted = match packet.opcode {
            Opcode::PutFdb => self.fdb(now, packet_in, datapath, port, view)?,
            opcode => self.neighbour(now, packet_in, opcode, port, view)?,
        };
        let wanted = wanted.filter(|wanted| !self.recent.repeats(now, wanted.row, wanted.says));
        if let Some(wanted) = wanted {
            effects.extend(wanted.refreshes.then_some(Effect::Refreshed(wanted.row)));
            effects.push(Effect::Write(wanted.row, vec![wanted.operation]));
        }
        Ok(())
    }
}

impl Learn {
    fn row_changed(&mut self, change: &RowChange) {
        let uuid = change.uuid;
        self.recent.answered(uuid);
        let rows = [
            (change.old.as_deref(), false),
            (change.new.as_deref(), true),
        ];
        for (row, is_new) in rows.into_iter().filter_map(|(row, new)| Some((row?, new))) {
            if change.table == Fdb::INDEX {
                keep(&mut self.fdb, fdb_entry(uuid, row), is_new, |known| {
                    known.0 == uuid
                });
            } else {
                let entry = mac_binding_entry(uuid, row);
                keep(&mut self.mac_bindings, entry, is_new, |known| {
                    known.0 == uuid
                });
            }
        }
    }

    /// An address is behind a port of a switch.
    fn fdb(
        &self,
        now: Now,
        packet_in: &PacketIn,
        datapath: u32,
        port: &PortBinding,
        view: &dyn View,
    ) -> Result<Option<Wanted>, HandleError> {
        let mac = Frame::parse(&packet_in.packet)?.eth_src();
        let known = self.fdb.get(&(datapath, mac)).copied();
        if let Some((row, at, heard_ms)) = known {
            let is_behind_guest = || {
                let other = u32::try_from(at).ok();
                let other = other.and_then(|at| view.port_keyed(datapath, at));
                other.is_some_and(|other| PortKind::of(other).is_claimed())
            };
            // What a guest sends comes back from the physical network, where it was flooded to; the guest has not moved there.
            let is_echo = PortKind::of(port) == PortKind::Localnet && is_behind_guest();
            if at == port.tunnel_key {
                let datapath = view.datapath(port.datapath);
                let age_s = datapath.and_then(|datapath| datapath.fdb_age_s);
                let is_old = age_s.is_some_and(|age_s| {
                    now.unix_ms.saturating_sub(heard_ms) >= i64::from(age_s) * 500
                });
                let column = Fdb::COLUMN.timestamp;
                return Ok(is_old.then(|| refresh(Fdb::INDEX, column, row, heard_ms, now.unix_ms)));
            }
            if is_echo {
                return Ok(None);
            }
        }
        let row = Fdb {
            uuid: identity(port.datapath, &mac.to_string()),
            mac: text(mac),
            dp_key: i64::from(datapath),
            port_key: port.tunnel_key,
            timestamp: now.unix_ms,
        };
        let changed = [
            Fdb::COLUMN.port_key.to(&row.port_key),
            Fdb::COLUMN.timestamp.to(&row.timestamp),
        ];
        let known = known.map(|(uuid, ..)| uuid);
        let says = row.port_key.cast_unsigned();
        Ok(Some(write(&row, row.uuid, known, says, &changed)))
    }

    /// An address of a neighbour of a router.
    fn neighbour(
        &self,
        now: Now,
        packet_in: &PacketIn,
        opcode: Opcode,
        port: &PortBinding,
        view: &dyn View,
    ) -> Result<Option<Wanted>, HandleError> {
        let metadata = &packet_in.metadata;
        let sender = Frame::parse(&packet_in.packet)?.eth_src();
        let mac = text(sender);
        let ip: IpAddr = match opcode {
            Opcode::PutArp => Ipv4Addr::from_bits(value(metadata, Field::Reg0) as u32).into(),
            _ => Ipv6Addr::from_bits(value_of_registers(metadata, Field::Xxreg0)).into(),
        };
        if let Some(own) = own_mac(port, ip) {
            // Its own announcement, which a network brings back, is no lie.
            return if sender == own {
                Ok(None)
            } else {
                Err(HandleError::Forged {
                    mac: sender,
                    ip,
                    port: port.logical_port.clone(),
                })
            };
        }
        let logical_port = port.logical_port.clone();
        let known = self.mac_bindings.get(&(logical_port.clone(), ip));
        if let Some((row, at, heard_ms)) = known
            && *at == mac
        {
            let ages = view
                .datapath(port.datapath)
                .and_then(|datapath| datapath.ages.as_ref());
            let age_s = ages.and_then(|ages| ages.of(ip));
            let is_old = age_s.is_some_and(|age_s| {
                now.unix_ms.saturating_sub(*heard_ms) >= i64::from(age_s) * 500
            });
            let column = MacBinding::COLUMN.timestamp;
            return Ok(
                is_old.then(|| refresh(MacBinding::INDEX, column, *row, *heard_ms, now.unix_ms))
            );
        }
        let row = MacBinding {
            uuid: identity(port.datapath, &format!("{logical_port} {ip}")),
            logical_port,
            ip: ip.to_string().into(),
            mac,
            timestamp: now.unix_ms,
            datapath: port.datapath,
        };
        let changed = [
            MacBinding::COLUMN.mac.to(&row.mac),
            MacBinding::COLUMN.timestamp.to(&row.timestamp),
        ];
        let known = known.map(|(uuid, ..)| *uuid);
        let octets = sender.octets();
        let says = octets
            .iter()
            .fold(0, |all, octet| all << 8 | u64::from(*octet));
        Ok(Some(write(&row, row.uuid, known, says, &changed)))
    }
}

/// The router port's MAC, if the address is the port's own: nobody else has it, whatever is said.
fn own_mac(port: &PortBinding, ip: IpAddr) -> Option<Mac> {
    let own: MacAndIps = port.mac.first()?.parse().ok()?;
    let is_own = own.ips.iter().any(|own| own.addr() == ip) || ip == own.mac.link_local();
    is_own.then_some(own.mac)
}

/// Adds an entry, or takes it away unless another row has taken its place meanwhile.
fn keep<K: std::hash::Hash + Eq, V>(
    index: &mut FxHashMap<K, V>,
    entry: Option<(K, V)>,
    is_new: bool,
    own: impl FnOnce(&V) -> bool,
) {
    let Some((key, value)) = entry else {
        return;
    };
    if is_new {
        index.insert(key, value);
    } else if index.get(&key).is_some_and(own) {
        index.remove(&key);
    }
}

type FdbEntry = ((u32, Mac), (Uuid, i64, i64));

fn fdb_entry(uuid: Uuid, row: &Row) -> Option<FdbEntry> {
    let columns = Fdb::COLUMN;
    let datapath = u32::try_from(columns.dp_key.get(row)).ok()?;
    let place = (datapath, columns.mac.get(row).parse().ok()?);
    let (port, heard_ms) = (columns.port_key.get(row), columns.timestamp.get(row));
    Some((place, (uuid, port, heard_ms)))
}

/// A row, with its address and the time.
type Heard = (Uuid, Arc<str>, i64);
type MacBindingEntry = ((Arc<str>, IpAddr), Heard);

fn mac_binding_entry(uuid: Uuid, row: &Row) -> Option<MacBindingEntry> {
    let columns = MacBinding::COLUMN;
    let ip = columns.ip.get(row).parse().ok()?;
    let place = (columns.logical_port.get(row), ip);
    Some((
        place,
        (uuid, columns.mac.get(row), columns.timestamp.get(row)),
    ))
}

fn text(mac: Mac) -> Arc<str> {
    mac.to_string().into()
}

/// The identity of a new row: the same on every chassis, so that of several that see one packet one succeeds.
fn identity(datapath: Uuid, what: &str) -> Uuid {
    Uuid::new_v5(&datapath, what.as_bytes())
}

/// The row was heard of now, unless another chassis has said so meanwhile.
fn refresh(table: usize, column: Column<i64>, row: Uuid, before_ms: i64, now_ms: i64) -> Wanted {
    let unchanged = Clause::equals(column.index, Datum::from(before_ms));
    let operation = Operation::Update {
        table,
        condition: vec![Clause::is_row(row), unchanged],
        row: vec![column.to(&now_ms)],
    };
    Wanted {
        row,
        says: now_ms.cast_unsigned(),
        refreshes: true,
        operation,
    }
}

/// A row as it should be.
struct Wanted {
    row: Uuid,
    /// What it should say, as a number.
    says: u64,
    /// It says what it said, and when that was heard.
    refreshes: bool,
    operation: Operation,
}

/// Changes the row that is there, or adds one.
fn write<T: Table>(
    row: &T,
    uuid: Uuid,
    known: Option<Uuid>,
    says: u64,
    changed: &[(usize, Datum)],
) -> Wanted {
    let operation = match known {
        Some(known) => Operation::update_row(T::INDEX, known, changed.to_vec()),
        None => Operation::Insert {
            table: T::INDEX,
            uuid,
            row: row.to_row().columns().iter().cloned().enumerate().collect(),
        },
    };
    Wanted {
        row: known.unwrap_or(uuid),
        says,
        refreshes: false,
        operation,
    }
}

#[cfg(test)]
mod tests;
