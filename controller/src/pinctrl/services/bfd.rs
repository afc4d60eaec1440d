//! BFD sessions of routers with their neighbours (ovn-sb(5), `BFD`; RFC 5880, RFC 5881).
//!
//! A row asks for a session of a router's port with the neighbour `dst_ip`, and its `status` says how it is. Packets enter the
//! router as if they had come by that port, and flows of the router send them on to the neighbour, with the hop limit that they
//! have to have; what the neighbour sends comes by `handle_bfd_msg`.
//!
//! The chassis that has the port, as a gateway or a gateway router's, runs the session; a port that is on all of them has none. Who
//! takes over, another chassis or another process, goes on with a session that is up ([`session`]).
//!
//! That a session is not up any more is written at once, all else a second after the last time at the earliest: a neighbour that
//! comes and goes with each packet costs the southbound two rows a second. So a status that could not be written is written again.

mod session;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use addr::{Cidr, MacAndIps};
use daemon::Now;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Operation, Uuid};
use packet::bfd::{Control, State};
use packet::frame::Frame;
use packet::probe::Ends;
use packet::userdata::Opcode;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{Bfd as BfdRow, PortBinding};

use crate::pinctrl::fields::logical_port;
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use session::{Session, Settings};

/// How many sessions are looked after before packets and other events have their turn.
const BATCH: usize = 64;
/// How long after a status was written the next one is.
const PAUSE: Duration = Duration::from_secs(1);

/// The service.
#[derive(Debug, Default)]
pub struct Bfd {
    rows: FxHashMap<Uuid, BfdRow>,
    /// Rows by the name of the router's port.
    of_port: FxHashMap<Arc<str>, FxHashSet<Uuid>>,
    /// What is run from here.
    sessions: FxHashMap<Uuid, Running>,
    /// The same by what packets tell.
    by_neighbour: FxHashMap<Neighbour, Uuid>,
    due: BTreeSet<(Instant, Uuid)>,
}

/// Who speaks: the keys of datapath and port by which it comes, and its address.
type Neighbour = ((u32, u32), IpAddr);

#[derive(Debug)]
struct Running {
    session: Session,
    neighbour: Neighbour,
    ends: Ends,
    source_port: u16,
    due: Instant,
    /// When a status was last asked to be written, and which.
    written: Option<(Instant, State)>,
}

impl Service for Bfd {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::Bfd]
    }

    fn tables(&self) -> &'static [usize] {
        &[BfdRow::INDEX, PortBinding::INDEX]
    }

    fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        match change {
            Change::Row(change) if change.table == BfdRow::INDEX => {
                let row = change.new.as_ref();
                let row = row.map(|row| BfdRow::from_row(change.uuid, row));
                self.row_changed(change.uuid, row);
                self.look_at(now, change.uuid, view);
            }
            Change::Row(change) => {
                for row in [&change.old, &change.new].into_iter().flatten() {
                    let name = PortBinding::COLUMN.logical_port.get(row);
                    // A session is where its port's redirecting port is.
                    for name in [&*name, name.strip_prefix("cr-").unwrap_or_default()] {
                        self.look_at_port(now, name, view);
                    }
                }
            }
            Change::Attachment(port) => {
                if let Some(port) = view.port(port) {
                    let name = &port.logical_port;
                    self.look_at_port(now, name.strip_prefix("cr-").unwrap_or(name), view);
                }
            }
            Change::Settings => {}
        }
    }

    /// A neighbour speaks. What is of no session here is nobody's.
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
        let neighbour = (logical_port(&packet.packet_in.metadata), source);
        let Some(uuid) = self.by_neighbour.get(&neighbour).copied() else {
            return Ok(());
        };
        let control = Control::parse(&frame)?;
        if let Some(running) = self.sessions.get_mut(&uuid) {
            let answer = running.session.receive(now.at, &control);
            if let Some(answer) = answer {
                running.send(&answer, view, effects);
            }
            self.settle(now, uuid, effects);
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(_, uuid)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            // Who may serve a port changes without a row, too.
            let is_here = self.rows.get(&uuid).is_some_and(|row| {
                let port = view.port_named(&row.logical_port);
                port.is_some_and(|port| view.has_alone(port))
            });
            let Some(running) = self.sessions.get_mut(&uuid).filter(|_| is_here) else {
                self.stop(uuid);
                continue;
            };
            if let Some(control) = running.session.due(now.at) {
                running.send(&control, view, effects);
            }
            self.settle(now, uuid, effects);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Bfd {
    /// A row is another, or is no more.
    fn row_changed(&mut self, uuid: Uuid, row: Option<BfdRow>) {
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

    /// A session may have to be run from now on, or no longer, or otherwise.
    fn look_at(&mut self, now: Now, uuid: Uuid, view: &dyn View) {
        let row = self.rows.get(&uuid);
        let wanted = row.and_then(|row| wanted(row, view));
        match (self.sessions.get_mut(&uuid), wanted) {
            (Some(running), Some(wanted)) if running.is(&wanted) => {
                running.session.set(now.at, wanted.settings);
                self.due.remove(&(running.due, uuid));
                running.due = running.deadline(self.rows.get(&uuid));
                self.due.insert((running.due, uuid));
            }
            (_, None) => self.stop(uuid),
            (_, Some(wanted)) => {
                self.stop(uuid);
                let Wanted {
                    number, settings, ..
                } = wanted;
                let running = Running {
                    session: Session::new(now.at, number, settings, wanted.is_up),
                    neighbour: wanted.neighbour,
                    ends: wanted.ends,
                    source_port: wanted.source_port,
                    due: now.at,
                    written: None,
                };
                self.due.insert((running.due, uuid));
                self.by_neighbour.insert(wanted.neighbour, uuid);
                self.sessions.insert(uuid, running);
            }
        }
    }

    fn stop(&mut self, uuid: Uuid) {
        if let Some(running) = self.sessions.remove(&uuid) {
            self.due.remove(&(running.due, uuid));
            if self.by_neighbour.get(&running.neighbour) == Some(&uuid) {
                self.by_neighbour.remove(&running.neighbour);
            }
        }
    }

    /// After something has happened to a session: its row is to say how it is, and it is looked after again.
    fn settle(&mut self, now: Now, uuid: Uuid, effects: &mut Vec<Effect>) {
        let row = self.rows.get(&uuid);
        let (Some(running), Some(row)) = (self.sessions.get_mut(&uuid), row) else {
            return;
        };
        let state = running.session.state();
        let is_pausing = running.written.is_some_and(|(at, _)| now.at < at + PAUSE);
        let was_up = running
            .written
            .map_or(&*row.status == "up", |(_, state)| state == State::Up);
        let is_lost = was_up && state != State::Up;
        if *row.status != *name_of(state) && (is_lost || !is_pausing) {
            running.written = Some((now.at, state));
            let status: Arc<str> = name_of(state).into();
            let changed = vec![BfdRow::COLUMN.status.to(&status)];
            let update = Operation::update_row(BfdRow::INDEX, uuid, changed);
            effects.push(Effect::Write(uuid, vec![update]));
        }
        self.due.remove(&(running.due, uuid));
        running.due = running.deadline(Some(row));
        self.due.insert((running.due, uuid));
    }
}

/// What a row asks of this chassis.
struct Wanted {
    neighbour: Neighbour,
    ends: Ends,
    source_port: u16,
    number: u32,
    settings: Settings,
    is_up: bool,
}

impl Running {
    /// Whether it is the session that is wanted, if perhaps with other times.
    fn is(&self, wanted: &Wanted) -> bool {
        (
            self.neighbour,
            self.ends,
            self.source_port,
            self.session.number(),
        ) == (
            wanted.neighbour,
            wanted.ends,
            wanted.source_port,
            wanted.number,
        )
    }

    /// When it is to be looked after.
    fn deadline(&self, row: Option<&BfdRow>) -> Instant {
        let own = self.session.deadline();
        let is_said = row.is_some_and(|row| *row.status == *name_of(self.session.state()));
        match self.written.filter(|_| !is_said) {
            Some((at, _)) => own.min(at + PAUSE),
            None => own,
        }
    }

    /// Sends a packet into the router, as if it had come by the port.
    fn send(&self, control: &Control, view: &dyn View, effects: &mut Vec<Effect>) {
        let ((datapath, port), _) = self.neighbour;
        let out = view
            .port_keyed(datapath, port)
            .zip(control.frame(self.ends, self.source_port).ok())
            .and_then(|(port, frame)| view.packet_from(port, frame));
        effects.extend(out.map(Effect::PacketOut));
    }
}

/// What of a row is to be run from here, if it is.
fn wanted(row: &BfdRow, view: &dyn View) -> Option<Wanted> {
    let port = view.port_named(&row.logical_port)?;
    if !view.has_alone(port) || &*row.status == "admin_down" {
        return None;
    }
    let neighbour: IpAddr = row.dst_ip.parse().ok()?;
    let own: MacAndIps = port.mac.first()?.parse().ok()?;
    let source = source_towards(&own, neighbour)?;
    let key = view.datapath(port.datapath)?.key;
    let milliseconds = |number: i64| Duration::from_millis(u64::try_from(number).unwrap_or(0));
    Some(Wanted {
        neighbour: ((key, u32::try_from(port.tunnel_key).ok()?), neighbour),
        ends: Ends {
            source: (own.mac, source),
            // To the router itself, which sends it on.
            destination: (own.mac, neighbour),
        },
        source_port: u16::try_from(row.src_port).ok()?,
        number: u32::try_from(row.disc).ok().filter(|number| *number != 0)?,
        settings: Settings {
            min_tx: milliseconds(row.min_tx).max(Duration::from_millis(1)),
            min_rx: milliseconds(row.min_rx),
            detect_mult: u8::try_from(row.detect_mult).unwrap_or(u8::MAX).max(1),
        },
        is_up: &*row.status == "up",
    })
}

/// The address from which a port speaks to a neighbour: the one in its network, else the first of its family.
fn source_towards(own: &MacAndIps, neighbour: IpAddr) -> Option<IpAddr> {
    let link_local = Cidr::new(own.mac.link_local().into(), 10);
    let near = own.ips.iter().copied().chain(link_local);
    let near = near
        .into_iter()
        .find(|cidr| cidr.network().contains(neighbour));
    let same = |cidr: &&Cidr| cidr.is_ipv4() == neighbour.is_ipv4();
    let found = near.or_else(|| own.ips.iter().find(same).copied());
    found.map(Cidr::addr)
}

/// The name of a state, as `BFD.status` has it.
fn name_of(state: State) -> &'static str {
    match state {
        State::AdminDown => "admin_down",
        State::Down => "down",
        State::Init => "init",
        State::Up => "up",
    }
}

#[cfg(test)]
mod tests;
