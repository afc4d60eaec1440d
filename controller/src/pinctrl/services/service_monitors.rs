//! Health checks: whether a service behind a port of this chassis answers (ovn-sb(5), `Service_Monitor`).
//!
//! | protocol | is asked by | is there if | is not there if |
//! | --- | --- | --- | --- |
//! | tcp | a SYN | a SYN-ACK comes, which a reset answers | a reset comes, or nothing within the timeout |
//! | udp | a datagram | nothing comes within the timeout | an ICMP error "port unreachable" comes |
//!
//! Probes come from `src_mac` and `src_ip` and go straight to the port; what is answered comes back by `handle_svc_check`. A probe
//! is made each `interval`; after `success_count` that succeeded, or `failure_count` that did not, the service is `online` or
//! `offline`, and if its row says otherwise, it is made to say so. When that fails, it is tried again with the next probe.
//!
//! Only the chassis that has claimed the port probes, and only it writes. A row whose port is elsewhere, or has no such address, is
//! not probed; what it says stays.

mod probe;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use daemon::Now;
use etherparse::TransportSlice;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Operation, Uuid};
use packet::frame::Frame;
use packet::probe::{Ends, unreachable_port};
use packet::userdata::Opcode;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{PortBinding, ServiceMonitor};

use crate::pinctrl::fields::logical_port;
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use probe::{Probe, Protocol, Settings};

/// How many probes are made before packets and other events have their turn.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct ServiceMonitors {
    rows: FxHashMap<Uuid, ServiceMonitor>,
    /// Rows by the name of the port.
    of_port: FxHashMap<Arc<str>, FxHashSet<Uuid>>,
    /// What is probed from here.
    probes: FxHashMap<Uuid, Probe>,
    /// The same by what answers tell.
    by_target: FxHashMap<Target, Uuid>,
    due: BTreeSet<(Instant, Uuid)>,
}

/// What is probed: the keys of datapath and port, address, protocol and port.
type Target = ((u32, u32), IpAddr, Protocol, u16);

impl Service for ServiceMonitors {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::ServiceCheck]
    }

    fn tables(&self) -> &'static [usize] {
        &[ServiceMonitor::INDEX, PortBinding::INDEX]
    }

    fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        match change {
            Change::Row(change) if change.table == ServiceMonitor::INDEX => {
                let row = change.new.as_ref();
                let row = row.map(|row| ServiceMonitor::from_row(change.uuid, row));
                self.row_changed(change.uuid, row);
                self.look_at(now, change.uuid, view);
            }
            Change::Row(change) => {
                let rows = [&change.old, &change.new];
                let names: FxHashSet<Arc<str>> = rows
                    .into_iter()
                    .flatten()
                    .map(|row| PortBinding::COLUMN.logical_port.get(row))
                    .collect();
                for name in names {
                    self.look_at_port(now, &name, view);
                }
            }
            Change::Attachment(port) => {
                if let Some(port) = view.port(port) {
                    self.look_at_port(now, &port.logical_port, view);
                }
            }
            Change::Settings => {}
        }
    }

    /// An answer. What nobody asked for is nobody's.
    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let frame = Frame::parse(&packet.packet_in.packet)?;
        let Some((source, _)) = frame.ips() else {
            return Ok(());
        };
        let place = logical_port(&packet.packet_in.metadata);
        if let Some(TransportSlice::Tcp(tcp)) = frame.transport() {
            let target = (place, source, Protocol::Tcp, tcp.source_port());
            let Some((uuid, probe)) = self.probed(&target) else {
                return Ok(());
            };
            let is_answer = tcp.destination_port() == probe.source_port
                && tcp.ack()
                && tcp.acknowledgment_number() == probe.sequence.wrapping_add(1);
            if !is_answer {
                return Ok(());
            }
            if tcp.syn() {
                let ports = (tcp.destination_port(), tcp.source_port());
                let acknowledged = tcp.sequence_number().wrapping_add(1);
                let reset = packet::probe::tcp_reset(
                    probe.ends,
                    ports,
                    tcp.acknowledgment_number(),
                    acknowledged,
                )?;
                send(view, probe.port, reset, effects);
            }
            self.answered(now, uuid, tcp.syn(), effects);
        } else if let Some((destination, (from, to))) = unreachable_port(&frame) {
            let target = (place, destination, Protocol::Udp, to);
            if let Some((uuid, probe)) = self.probed(&target)
                && from == probe.source_port
            {
                self.answered(now, uuid, false, effects);
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(at, uuid)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            self.due.remove(&(at, uuid));
            let Some(probe) = self.probes.get_mut(&uuid) else {
                continue;
            };
            if probe.waits {
                // Who answers a datagram at all says that nobody takes it.
                let is_there = probe.protocol == Protocol::Udp;
                self.answered(now, uuid, is_there, effects);
                continue;
            }
            if let Ok(packet) = probe.ask(now, uuid) {
                send(view, probe.port, packet, effects);
            }
            self.due.insert((probe.due, uuid));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl ServiceMonitors {
    /// A row is another, or is no more.
    fn row_changed(&mut self, uuid: Uuid, row: Option<ServiceMonitor>) {
        if let Some(old) = self.rows.remove(&uuid)
            && let Some(rows) = self.of_port.get_mut(&old.logical_port)
        {
            rows.remove(&uuid);
            if rows.is_empty() {
                self.of_port.remove(&old.logical_port);
            }
        }
        if let Some(row) = row {
            let rows = self.of_port.entry(row.logical_port.clone()).or_default();
            rows.insert(uuid);
            self.rows.insert(uuid, row);
        }
    }

    fn look_at_port(&mut self, now: Now, name: &str, view: &dyn View) {
        let rows = self.of_port.get(name).cloned();
        for uuid in rows.into_iter().flatten() {
            self.look_at(now, uuid, view);
        }
    }

    /// A service may have to be probed from now on, or no longer, or otherwise.
    fn look_at(&mut self, now: Now, uuid: Uuid, view: &dyn View) {
        let row = self.rows.get(&uuid);
        let wanted = row.and_then(|row| wanted(row, view));
        match (self.probes.get_mut(&uuid), wanted) {
            (Some(probe), Some((target, settings, ends)))
                if probe.ends == ends && target_of(probe) == target =>
            {
                probe.settings = settings;
            }
            (_, None) => self.stop(uuid),
            (_, Some((target, settings, ends))) => {
                self.stop(uuid);
                let (port, _, protocol, number) = target;
                let probe = Probe::new(now.at, (port, protocol, number), settings, ends);
                self.due.insert((probe.due, uuid));
                self.by_target.insert(target, uuid);
                self.probes.insert(uuid, probe);
            }
        }
    }

    fn stop(&mut self, uuid: Uuid) {
        if let Some(probe) = self.probes.remove(&uuid) {
            self.due.remove(&(probe.due, uuid));
            let target = target_of(&probe);
            if self.by_target.get(&target) == Some(&uuid) {
                self.by_target.remove(&target);
            }
        }
    }

    /// The probe of this target that waits for an answer.
    fn probed(&self, target: &Target) -> Option<(Uuid, &Probe)> {
        let uuid = *self.by_target.get(target)?;
        let probe = self.probes.get(&uuid).filter(|probe| probe.waits)?;
        Some((uuid, probe))
    }

    /// A probe has its answer.
    fn answered(&mut self, now: Now, uuid: Uuid, is_there: bool, effects: &mut Vec<Effect>) {
        let Some(probe) = self.probes.get_mut(&uuid) else {
            return;
        };
        self.due.remove(&(probe.due, uuid));
        let status = probe.answered(now.at, is_there);
        self.due.insert((probe.due, uuid));
        let row = self.rows.get(&uuid);
        if let (Some(status), Some(row)) = (status, row)
            && row.status.as_deref() != Some(status.name())
        {
            let status: Option<Arc<str>> = Some(status.name().into());
            let changed = vec![ServiceMonitor::COLUMN.status.to(&status)];
            let update = Operation::update_row(ServiceMonitor::INDEX, uuid, changed);
            effects.push(Effect::Write(uuid, vec![update]));
        }
    }
}

/// What of a row is to be probed from here, if it is.
fn wanted(row: &ServiceMonitor, view: &dyn View) -> Option<(Target, Settings, Ends)> {
    let port = view.port_named(&row.logical_port)?;
    if view.own().is_none() || port.chassis != view.own() {
        return None;
    }
    // The others are inline services, which are probed through.
    if !matches!(
        row.r#type.as_deref(),
        None | Some("load-balancer" | "logical-switch-port")
    ) {
        return None;
    }
    let protocol = match row.protocol.as_deref() {
        None | Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        _ => return None,
    };
    let ip: IpAddr = row.ip.parse().ok()?;
    let source_ip: IpAddr = row.src_ip.parse().ok()?;
    if ip.is_ipv4() != source_ip.is_ipv4() {
        return None;
    }
    let ends = Ends {
        source: (row.src_mac.parse().ok()?, source_ip),
        destination: (mac_of(port, ip)?, ip),
    };
    let datapath = view.datapath(port.datapath)?.key;
    let place = (datapath, u32::try_from(port.tunnel_key).ok()?);
    let number = u16::try_from(row.port).ok()?;
    Some((
        (place, ip, protocol, number),
        Settings::of(&row.options),
        ends,
    ))
}

/// The Ethernet address with which a port has an IP address.
fn mac_of(port: &PortBinding, ip: IpAddr) -> Option<addr::Mac> {
    port.mac.iter().find_map(|text| {
        let mut words = text.split_whitespace();
        let mac = words.next()?.parse().ok()?;
        words.any(|word| word.parse() == Ok(ip)).then_some(mac)
    })
}

fn target_of(probe: &Probe) -> Target {
    (
        probe.port,
        probe.ends.destination.1,
        probe.protocol,
        probe.number,
    )
}

/// Sends a packet straight to the port with these keys of datapath and port.
fn send(view: &dyn View, port: (u32, u32), packet: Vec<u8>, effects: &mut Vec<Effect>) {
    let port = view.port_keyed(port.0, port.1);
    let out = port.and_then(|port| view.packet_to(port, packet));
    effects.extend(out.map(Effect::PacketOut));
}

#[cfg(test)]
mod tests;
