//! `igmp`: switches that snoop (RFC 4541). Who wants which group becomes rows of `IGMP_Group`; reports and queries are passed on;
//! and where nobody else asks, this chassis asks its own ports who wants what.
//!
//! | comes | is remembered | goes to |
//! | --- | --- | --- |
//! | a query | behind this port is a multicast router, for three minutes | every other port that leads to no router |
//! | a report | who wants what, for `idle_timeout` | multicast routers, and ports with `mcast_flood_reports` |
//! | a leave | by a guest's port at once; where more hosts may be, until the next query has been answered | the same |
//!
//! A row is about one group and the ports of this chassis; which ports of all chassis are in a group is northd's to put together.
//! The row `mrouters` has the ports with routers behind them. What rows of this chassis say at the start is taken over: a
//! restart forgets nobody. When `IP_Multicast.seq_no` changes, everything is forgotten, and asked for anew.
//!
//! A switch has no more groups than `table_size`, and a guest no more than a quarter of that; beyond, those who come are refused, so
//! that nobody pushes others out. Groups that no switch filters ([`is_never_filtered`]) are not remembered, and messages of other
//! kinds go to everybody, as on a switch that does not snoop.

mod settings;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::typed::{Table as _, TableDefinition as _};
use ovsdb::{Operation, RowChange, Uuid};
use packet::frame::Frame;
use packet::membership::{self, Message, Protocol};
use packet::userdata::Opcode;
use rustc_hash::FxHashMap;
use sb_db::tables::{IgmpGroup, IpMulticast, PortBinding};

use crate::network::PortKind;
use crate::pinctrl::fields::logical_port;
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use settings::Settings;
use table::{Place, Table};

/// So long a multicast router is remembered after its last query.
const ROUTER_AGE: Duration = Duration::from_secs(180);
/// After so long a row that does not say what it should is written again.
const RETRY: Duration = Duration::from_secs(5);
/// So long a row of a switch that does not snoop may be there: the switch may not be known yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many things that are due are done before others have their turn.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct Multicast {
    /// By datapath.
    switches: FxHashMap<Uuid, Switch>,
    /// The datapaths that rows of `IP_Multicast` are about.
    configured: FxHashMap<Uuid, Uuid>,
    /// The rows of this chassis.
    rows: FxHashMap<Spot, Known>,
    /// Rows that were asked to say something else and have not answered yet.
    asked: BTreeSet<Spot>,
    /// Where each port is remembered.
    of_port: FxHashMap<Uuid, BTreeSet<Spot>>,
    /// Ports that get reports, with their keys, by datapath.
    flooded: FxHashMap<Uuid, BTreeMap<Uuid, u32>>,
    due: BTreeSet<(Instant, Due)>,
    refused: u64,
}

/// A group of a datapath.
type Spot = (Uuid, Place);

/// A switch that snoops.
#[derive(Debug)]
struct Switch {
    settings: Settings,
    table: Table,
    next_query: Option<Instant>,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    uuid: Uuid,
    protocol: Arc<str>,
    ports: BTreeSet<Uuid>,
}

impl Known {
    /// Whether it says this already. Older servers have no room for the protocol.
    fn says(&self, ports: &[Uuid], protocol: &str) -> bool {
        let is_protocol = self.protocol.is_empty() || &*self.protocol == protocol;
        is_protocol && self.ports.iter().eq(ports)
    }
}

/// What there is to do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A port may be forgotten.
    Member(Spot, Uuid),
    /// It is asked who wants what.
    Query(Uuid),
    /// A row should say by now what it was asked to.
    Check(Spot),
}

impl Service for Multicast {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::Igmp]
    }

    fn tables(&self) -> &'static [usize] {
        &[IpMulticast::INDEX, IgmpGroup::INDEX, PortBinding::INDEX]
    }

    fn changed(
        &mut self,
        now: Now,
        change: Change<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        match change {
            Change::Row(row) if row.table == IpMulticast::INDEX => {
                self.configure(now, row, view, effects);
            }
            Change::Row(row) if row.table == IgmpGroup::INDEX => {
                self.row_changed(now, row, view, effects);
            }
            Change::Row(row) => self.port_changed(now, row, view, effects),
            Change::Attachment(uuid) => {
                let is_gone = view
                    .port(uuid)
                    .is_none_or(|port| is_guest(port) && !view.is_here(&port.logical_port));
                if is_gone {
                    self.forget_port(now, uuid, view, effects);
                }
            }
            Change::Settings => {}
        }
    }

    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let (datapath, port) = logical_port(&packet.packet_in.metadata);
        let port = view
            .port_keyed(datapath, port)
            .ok_or(HandleError::Port { datapath, port })?;
        let bytes = &packet.packet_in.packet;
        let message = membership::parse(&Frame::parse(bytes)?)?;
        let datapath = port.datapath;
        let Some(switch) = self.switches.get(&datapath) else {
            return Ok(());
        };
        let ages = (switch.settings.idle_timeout, switch.settings.patience());
        let own = u32::try_from(port.tunnel_key).unwrap_or_default();
        let mut targets = Vec::new();
        match message {
            Message::Query { is_router } => {
                if is_router {
                    let until = now.at + ROUTER_AGE;
                    self.join((datapath, Place::Routers), port, None, until);
                    self.tell(now, (datapath, Place::Routers), view, effects);
                }
                targets.push(u32::from(addr::PortKey::FLOOD_L2.get()));
            }
            Message::Other => targets.push(u32::from(addr::PortKey::FLOOD.get())),
            Message::Report(protocol, changes) => {
                for (group, joins) in changes {
                    if is_never_filtered(group) {
                        continue;
                    }
                    let spot = (datapath, Place::Group(group));
                    if joins {
                        self.join(spot, port, Some(protocol), now.at + ages.0);
                    } else if is_guest(port) {
                        self.leave(spot, port.uuid);
                    } else {
                        self.shorten(spot, port.uuid, now.at + ages.1);
                    }
                    self.tell(now, spot, view, effects);
                }
                targets.push(u32::from(addr::PortKey::MROUTER_FLOOD.get()));
                targets.extend(
                    self.flooded
                        .get(&datapath)
                        .into_iter()
                        .flat_map(BTreeMap::values),
                );
            }
        }
        targets.retain(|target| *target != own);
        let out = view.packet_onward(datapath, own, &targets, bytes.clone());
        effects.extend(out.map(Effect::PacketOut));
        Ok(())
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(at, due)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            self.due.remove(&(at, due));
            match due {
                Due::Member(spot, port) => {
                    self.leave(spot, port);
                    self.tell(now, spot, view, effects);
                }
                Due::Query(datapath) => self.ask(now, datapath, view, effects),
                Due::Check(spot) => {
                    self.asked.remove(&spot);
                    self.tell(now, spot, view, effects);
                }
            }
        }
    }

    fn dropped(&self) -> Option<(&'static str, u64)> {
        (self.refused > 0).then_some(("multicast groups beyond the table's size", self.refused))
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Multicast {
    /// A switch snoops otherwise than before, or no more.
    fn configure(&mut self, now: Now, row: &RowChange, view: &dyn View, effects: &mut Vec<Effect>) {
        let new = row.new.as_ref();
        let new = new.map(|new| IpMulticast::from_row(row.uuid, new));
        let before = self.configured.remove(&row.uuid);
        let settings = new
            .as_ref()
            .filter(|row| row.enabled == Some(true))
            .map(|row| (row.datapath, Settings::of(row)));
        if let Some(before) = before
            && settings.as_ref().is_none_or(|(now, _)| *now != before)
        {
            self.flush(now, before, view, effects);
            if let Some(Switch {
                next_query: Some(at),
                ..
            }) = self.switches.remove(&before)
            {
                self.due.remove(&(at, Due::Query(before)));
            }
        }
        let Some((datapath, settings)) = settings else {
            return;
        };
        self.configured.insert(row.uuid, datapath);
        let known = self.switches.get(&datapath);
        let is_flushed = known.is_some_and(|known| known.settings.sequence != settings.sequence);
        let asks_otherwise = known.is_none_or(|known| {
            is_flushed
                || known.settings.query != settings.query
                || known.settings.interval != settings.interval
        });
        if is_flushed || known.is_some_and(|known| known.table.len() > settings.table_size) {
            self.flush(now, datapath, view, effects);
        }
        let is_new = !self.switches.contains_key(&datapath);
        let switch = self.switches.entry(datapath).or_insert_with(|| Switch {
            settings: settings.clone(),
            table: Table::default(),
            next_query: None,
        });
        switch.settings = settings;
        if asks_otherwise {
            if let Some(at) = switch.next_query.take() {
                self.due.remove(&(at, Due::Query(datapath)));
            }
            if !switch.settings.query.is_empty() {
                switch.next_query = Some(now.at);
                self.due.insert((now.at, Due::Query(datapath)));
            }
        }
        if is_new {
            self.take_over_all(now, datapath, view, effects);
        }
    }

    /// A row is another, or is no more.
    fn row_changed(
        &mut self,
        now: Now,
        change: &RowChange,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        let read = |row| IgmpGroup::from_row(change.uuid, row);
        let own = view.own();
        let is_own = |row: &IgmpGroup| own.is_some() && row.chassis == own;
        let old = change.old.as_ref().map(|row| read(row));
        if let Some(spot) = old.as_ref().and_then(spot_of) {
            let is_this = self
                .rows
                .get(&spot)
                .is_some_and(|known| known.uuid == change.uuid);
            if is_this {
                self.rows.remove(&spot);
            }
            if change.new.is_none() {
                self.asked.remove(&spot);
                self.tell(now, spot, view, effects);
                return;
            }
        }
        let new = change.new.as_ref().map(|row| read(row)).filter(is_own);
        let Some((spot, new)) = new.and_then(|row| Some((spot_of(&row)?, row))) else {
            return;
        };
        let known = Known {
            uuid: change.uuid,
            protocol: new.protocol,
            ports: new.ports.into_iter().collect(),
        };
        self.rows.insert(spot, known);
        if !self.switches.contains_key(&spot.0) {
            self.due.insert((now.at + PATIENCE, Due::Check(spot)));
        } else if self.asked.remove(&spot) {
            self.tell(now, spot, view, effects);
        } else {
            self.take_over(now, spot);
            self.tell(now, spot, view, effects);
        }
    }

    /// What rows say of a switch is so.
    fn take_over_all(
        &mut self,
        now: Now,
        datapath: Uuid,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        let spots = self.rows.keys().copied();
        let spots: Vec<Spot> = spots.filter(|(of, _)| *of == datapath).collect();
        for spot in spots {
            if !self.asked.contains(&spot) {
                self.take_over(now, spot);
            }
            self.tell(now, spot, view, effects);
        }
    }

    /// What a row says is so, if nothing is known of its group: it is of an earlier life.
    fn take_over(&mut self, now: Now, spot: Spot) {
        let Some(known) = self.rows.get(&spot).cloned() else {
            return;
        };
        let Some(switch) = self.switches.get(&spot.0) else {
            return;
        };
        if switch.table.get(spot.1).is_some() {
            return;
        }
        let until = now.at
            + match spot.1 {
                Place::Routers => ROUTER_AGE,
                Place::Group(_) => switch.settings.idle_timeout,
            };
        for port in known.ports {
            self.remember(spot, port, Protocol::named(&known.protocol), until);
        }
    }

    fn port_changed(
        &mut self,
        now: Now,
        change: &RowChange,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        let read = |row| PortBinding::from_row(change.uuid, row);
        if let Some(old) = change.old.as_ref().map(|row| read(row))
            && let Some(ports) = self.flooded.get_mut(&old.datapath)
        {
            ports.remove(&change.uuid);
            if ports.is_empty() {
                self.flooded.remove(&old.datapath);
            }
        }
        match change.new.as_ref().map(|row| read(row)) {
            None => self.forget_port(now, change.uuid, view, effects),
            Some(new) => {
                let option = new.options.get("mcast_flood_reports");
                if ovsdb::truth(option, false)
                    && let Ok(key) = u32::try_from(new.tunnel_key)
                {
                    let ports = self.flooded.entry(new.datapath).or_default();
                    ports.insert(change.uuid, key);
                }
            }
        }
    }

    fn forget_port(&mut self, now: Now, port: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        for spot in self.of_port.get(&port).cloned().into_iter().flatten() {
            self.leave(spot, port);
            self.tell(now, spot, view, effects);
        }
    }

    /// A port wants a group, or has a router behind it, until some time.
    fn join(&mut self, spot: Spot, port: &PortBinding, protocol: Option<Protocol>, until: Instant) {
        let share = self.switches.get(&spot.0).map(|of| of.settings.share());
        let spots = self.of_port.get(&port.uuid);
        let has_its_share = spots.is_some_and(|spots| {
            !spots.contains(&spot) && share.is_some_and(|share| spots.len() >= share)
        });
        if is_guest(port) && has_its_share {
            self.refused += 1;
            return;
        }
        self.remember(spot, port.uuid, protocol, until);
    }

    fn remember(&mut self, spot: Spot, port: Uuid, protocol: Option<Protocol>, until: Instant) {
        let Some(switch) = self.switches.get_mut(&spot.0) else {
            return;
        };
        let size = switch.settings.table_size;
        let Some(before) = switch.table.join(spot.1, port, protocol, until, size) else {
            self.refused += 1;
            return;
        };
        if let Some(before) = before {
            self.due.remove(&(before, Due::Member(spot, port)));
        }
        self.due.insert((until, Due::Member(spot, port)));
        self.of_port.entry(port).or_default().insert(spot);
    }

    fn leave(&mut self, spot: Spot, port: Uuid) {
        let switch = self.switches.get_mut(&spot.0);
        if let Some(until) = switch.and_then(|switch| switch.table.leave(spot.1, port)) {
            self.due.remove(&(until, Due::Member(spot, port)));
        }
        if let Some(spots) = self.of_port.get_mut(&port) {
            spots.remove(&spot);
            if spots.is_empty() {
                self.of_port.remove(&port);
            }
        }
    }

    /// A port is forgotten at this time, if it would not be before.
    fn shorten(&mut self, spot: Spot, port: Uuid, until: Instant) {
        let switch = self.switches.get_mut(&spot.0);
        let shortened = switch.and_then(|switch| switch.table.shorten(spot.1, port, until));
        if let Some(before) = shortened {
            self.due.remove(&(before, Due::Member(spot, port)));
            self.due.insert((until, Due::Member(spot, port)));
        }
    }

    /// Forgets everything about a switch.
    fn flush(&mut self, now: Now, datapath: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let switch = self.switches.get(&datapath);
        let members = switch.map(|switch| switch.table.members().collect::<Vec<_>>());
        for (place, port) in members.into_iter().flatten() {
            self.leave((datapath, place), port);
        }
        let spots = self.rows.keys().copied();
        let spots: Vec<Spot> = spots.filter(|(of, _)| *of == datapath).collect();
        for spot in spots {
            self.tell(now, spot, view, effects);
        }
    }

    /// Has a row say what is so.
    fn tell(&mut self, now: Now, spot: Spot, view: &dyn View, effects: &mut Vec<Effect>) {
        let (datapath, place) = spot;
        let Some(own) = view.own() else {
            return;
        };
        let group = self
            .switches
            .get(&datapath)
            .and_then(|switch| switch.table.get(place));
        let known = self.rows.get(&spot);
        let uuid = known.map_or_else(
            || Uuid::new_v5(&datapath, format!("{own} {place}").as_bytes()),
            |known| known.uuid,
        );
        let column = IgmpGroup::COLUMN;
        let operation = match (group, known) {
            (Some(group), known) => {
                let ports: Vec<Uuid> = group.ports().collect();
                let protocol: Arc<str> = group.protocol.map_or("", Protocol::name).into();
                match known {
                    Some(known) if known.says(&ports, &protocol) => {
                        self.asked.remove(&spot);
                        return;
                    }
                    Some(_) => {
                        let columns = vec![column.ports.to(&ports), column.protocol.to(&protocol)];
                        Operation::update_row(IgmpGroup::INDEX, uuid, columns)
                    }
                    None => {
                        let name = view.settings().map(|settings| settings.system_id.clone());
                        let row = IgmpGroup {
                            address: place.to_string().into(),
                            protocol,
                            datapath: Some(datapath),
                            chassis: Some(own),
                            ports,
                            chassis_name: name.unwrap_or_default(),
                            ..IgmpGroup::default()
                        };
                        Operation::Insert {
                            table: IgmpGroup::INDEX,
                            uuid,
                            row: row.to_row().columns().iter().cloned().enumerate().collect(),
                        }
                    }
                }
            }
            (None, None) if !self.asked.contains(&spot) => return,
            (None, _) => Operation::Delete {
                table: IgmpGroup::INDEX,
                condition: vec![ovsdb::Clause::is_row(uuid)],
            },
        };
        effects.push(Effect::Write(uuid, vec![operation]));
        self.asked.insert(spot);
        self.due.insert((now.at + RETRY, Due::Check(spot)));
    }

    /// Asks the ports of this chassis who wants what.
    fn ask(&mut self, now: Now, datapath: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let Some(switch) = self.switches.get_mut(&datapath) else {
            return;
        };
        let at = now.at + switch.settings.interval;
        switch.next_query = Some(at);
        self.due.insert((at, Due::Query(datapath)));
        if !view.is_local(datapath) {
            return;
        }
        for source in &switch.settings.query {
            let query = membership::query(*source, switch.settings.max_response);
            let out = query
                .ok()
                .and_then(|query| view.packet_to_all(datapath, query));
            effects.extend(out.map(Effect::PacketOut));
        }
    }
}

/// Whether a group is for everybody, whoever has joined it: 224.0.0.0/24 (RFC 4541, section 2.1.2), and the reserved groups of IPv6
/// and those of neighbour discovery (RFC 4291, section 2.7.1), of which every host joins some.
fn is_never_filtered(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => {
            let segments = ip.segments();
            let (first, last) = (segments[0], segments[7]);
            let is_short = segments[1..7] == [0; 6];
            let is_reserved = first & 0xfff0 == 0xff00 && is_short && last == 0;
            let is_well_known =
                is_short && matches!((first, last), (0xff01 | 0xff02, 1 | 2) | (0xff05, 2));
            let is_solicited = segments[..6] == [0xff02, 0, 0, 0, 0, 1] && segments[6] >> 8 == 0xff;
            is_reserved || is_well_known || is_solicited
        }
    }
}

/// Whether one guest is behind a port, and nobody else.
fn is_guest(port: &PortBinding) -> bool {
    matches!(PortKind::of(port), PortKind::Guest | PortKind::Container)
}

/// What a row is about.
fn spot_of(row: &IgmpGroup) -> Option<Spot> {
    Some((row.datapath?, row.address.parse().ok()?))
}

#[cfg(test)]
mod tests;
