//! The southbound database, indexed by what a packet on its way asks for.
//!
//! Rows come and go one by one, so that a daemon's world follows the database at the cost of what changes. Flows stay
//! as they were read until a packet comes by their table: only then are the table's flows parsed and put in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use addr::{Mac, PortSecurity};
use lflow::Int;
use ovsdb::{Row, RowChange, Table, TableDefinition, Uuid};
use sb_db::tables as sb;

use super::names::shortened;

/// The tables of the southbound that a trace reads.
pub const TABLES: [usize; 11] = [
    sb::DatapathBinding::INDEX,
    sb::PortBinding::INDEX,
    sb::MulticastGroup::INDEX,
    sb::AddressSet::INDEX,
    sb::PortGroup::INDEX,
    sb::LogicalDpGroup::INDEX,
    sb::LogicalFlow::INDEX,
    sb::MacBinding::INDEX,
    sb::StaticMacBinding::INDEX,
    sb::Fdb::INDEX,
    sb::LoadBalancer::INDEX,
];

/// A datapath.
#[derive(Clone, Debug)]
pub struct Datapath {
    /// Its tunnel key.
    pub key: u32,
    /// The UUID of its switch or router, else its own.
    pub northbound: Uuid,
    /// The name, or that UUID.
    pub name: String,
    /// Another name, given by who manages the network.
    pub name2: Option<String>,
}

impl Datapath {
    /// The name to show.
    pub fn shown(&self, friendly: bool) -> String {
        match friendly {
            true => shortened(self.name2.as_deref().unwrap_or(&self.name)),
            false => self.northbound.hyphenated().to_string(),
        }
    }
}

/// A logical port.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its datapath.
    pub datapath: Uuid,
    /// Its tunnel key.
    pub key: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Another name, given by who manages the network.
    pub name2: Option<String>,
    /// Its type.
    pub kind: Arc<str>,
    /// The name of the port at the other end of the link, if there is a link.
    pub peer: Option<Arc<str>>,
    /// For `chassisredirect`: the port that it stands for.
    pub distributed: Option<Arc<str>>,
    /// What it may send and get; nothing, everything.
    pub security: Vec<PortSecurity>,
}

impl Port {
    /// The name to show.
    pub fn shown(&self, friendly: bool) -> String {
        match friendly {
            true => shortened(self.name2.as_deref().unwrap_or(&self.name)),
            false => self.name.to_string(),
        }
    }
}

/// A virtual address of a load balancer, with its port, or 0.
pub type Vip = (IpAddr, u16);

/// Flows of a datapath or of a group of datapaths: whose, whether of the egress pipeline, and of which table.
pub type Place = (Uuid, bool, u8);

/// The southbound database.
#[derive(Debug, Default)]
pub struct World {
    datapaths: HashMap<Uuid, Datapath>,
    datapaths_by_key: HashMap<u32, Uuid>,
    ports: HashMap<Uuid, Port>,
    ports_by_name: HashMap<Arc<str>, Uuid>,
    ports_by_key: HashMap<(Uuid, u32), Uuid>,
    /// By datapath and key: name and members.
    multicast: HashMap<(Uuid, u32), (Arc<str>, Vec<Uuid>)>,
    multicast_by_name: HashMap<(Uuid, Arc<str>), u32>,
    address_sets: HashMap<Arc<str>, Arc<[Int]>>,
    port_groups: HashMap<Arc<str>, Vec<Arc<str>>>,
    groups_of: HashMap<Uuid, BTreeSet<Uuid>>,
    /// How many ports of type `l3gateway` a datapath has.
    gateway_ports: HashMap<Uuid, usize>,
    flows: HashMap<Place, BTreeSet<Uuid>>,
    rows: HashMap<Uuid, Arc<Row>>,
    /// By router port and address.
    neighbours: HashMap<(Arc<str>, IpAddr), Mac>,
    fixed_neighbours: HashMap<(Arc<str>, IpAddr), (Mac, bool)>,
    stations: HashMap<(u32, u64), u32>,
    vips: BTreeMap<Uuid, Vec<Vip>>,
}

/// What a change means for flows that were put in order before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Those of one place.
    Place(Place),
    /// Those of one datapath.
    Datapath(Uuid),
}

/// A row as a struct.
fn typed<T: TableDefinition>(uuid: Uuid, row: Option<&Arc<Row>>) -> Option<T> {
    row.map(|row| T::from_row(uuid, row))
}

fn key(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

impl World {
    /// Takes over what changed in one transaction. What it makes stale is told one by one, with the row that changed.
    ///
    /// Rows that are found by a name go before others come: a name may pass from one row to another.
    pub fn apply_all(&mut self, changes: &[RowChange], stale: &mut dyn FnMut(&Self, Stale, Uuid)) {
        let mut told = Vec::new();
        let is_named = |change: &&RowChange| {
            let by_uuid = [
                sb::PortBinding::INDEX,
                sb::LogicalFlow::INDEX,
                sb::LogicalDpGroup::INDEX,
            ];
            !by_uuid.contains(&change.table)
        };
        for change in changes.iter().filter(is_named) {
            let gone = RowChange {
                new: None,
                ..change.clone()
            };
            self.apply(&gone, &mut |stale| told.push((stale, change.uuid)));
        }
        for change in changes {
            let old = change.old.clone().filter(|_| !is_named(&change));
            let come = RowChange {
                old,
                ..change.clone()
            };
            self.apply(&come, &mut |stale| told.push((stale, change.uuid)));
        }
        for (what, uuid) in told {
            stale(self, what, uuid);
        }
    }

    /// Takes over a change. What it makes stale is told one by one.
    pub fn apply(&mut self, change: &RowChange, stale: &mut dyn FnMut(Stale)) {
        let RowChange {
            table,
            uuid,
            old,
            new,
        } = change;
        let (old, new) = (old.as_ref(), new.as_ref());
        match *table {
            sb::DatapathBinding::INDEX => self.take_datapath(*uuid, new),
            sb::PortBinding::INDEX => self.take_port_binding(*uuid, new, stale),
            sb::MulticastGroup::INDEX => {
                self.take_multicast_group(typed(*uuid, old), typed(*uuid, new), stale);
            }
            sb::AddressSet::INDEX => self.take_address_set(typed(*uuid, old), typed(*uuid, new)),
            sb::PortGroup::INDEX => self.take_port_group(typed(*uuid, old), typed(*uuid, new)),
            sb::LogicalDpGroup::INDEX => {
                self.take_datapath_group(*uuid, typed(*uuid, old), typed(*uuid, new), stale);
            }
            sb::LogicalFlow::INDEX => self.take_flow(*uuid, old, new, stale),
            sb::MacBinding::INDEX => {
                self.take_neighbour(typed(*uuid, old).as_ref(), typed(*uuid, new).as_ref());
            }
            sb::StaticMacBinding::INDEX => {
                self.take_fixed_neighbour(typed(*uuid, old).as_ref(), typed(*uuid, new).as_ref());
            }
            sb::Fdb::INDEX => {
                self.take_station(typed(*uuid, old).as_ref(), typed(*uuid, new).as_ref());
            }
            sb::LoadBalancer::INDEX => self.take_load_balancer(*uuid, typed(*uuid, new)),
            _ => {}
        }
    }

    fn take_datapath(&mut self, uuid: Uuid, new: Option<&Arc<Row>>) {
        if let Some(old) = self.datapaths.get(&uuid) {
            self.datapaths_by_key.remove(&old.key);
        }
        let Some(row) = typed::<sb::DatapathBinding>(uuid, new) else {
            self.datapaths.remove(&uuid);
            return;
        };
        let text = |name| row.external_ids.get(name).map(ToString::to_string);
        let of_northbound = ["logical-switch", "logical-router"]
            .into_iter()
            .find_map(|name| text(name)?.parse().ok());
        let northbound: Uuid = of_northbound.unwrap_or(uuid);
        let datapath = Datapath {
            key: key(row.tunnel_key),
            northbound,
            name: text("name").unwrap_or_else(|| northbound.hyphenated().to_string()),
            name2: text("name2"),
        };
        self.datapaths_by_key.insert(datapath.key, uuid);
        self.datapaths.insert(uuid, datapath);
    }

    fn take_port_binding(
        &mut self,
        uuid: Uuid,
        new: Option<&Arc<Row>>,
        stale: &mut dyn FnMut(Stale),
    ) {
        let old = self.ports.remove(&uuid);
        let named = |port: &Port| (port.datapath, port.key, Arc::clone(&port.name));
        let before = old.as_ref().map(named);
        if let Some(old) = old {
            if self.ports_by_name.get(&old.name) == Some(&uuid) {
                self.ports_by_name.remove(&old.name);
            }
            if self.ports_by_key.get(&(old.datapath, old.key)) == Some(&uuid) {
                self.ports_by_key.remove(&(old.datapath, old.key));
            }
            if is_gateway(&old)
                && let Some(count) = self.gateway_ports.get_mut(&old.datapath)
            {
                *count = count.saturating_sub(1);
            }
        }
        let Some(row) = typed::<sb::PortBinding>(uuid, new) else {
            before
                .iter()
                .for_each(|(datapath, ..)| stale(Stale::Datapath(*datapath)));
            return;
        };
        let is_link = matches!(&*row.r#type, "patch" | "l3gateway");
        let peer = row.options.get("peer").filter(|_| is_link).cloned();
        let security = row.port_security.iter();
        let port = Port {
            datapath: row.datapath,
            key: key(row.tunnel_key),
            name2: row.external_ids.get("name").map(ToString::to_string),
            peer,
            distributed: row.options.get("distributed-port").cloned(),
            security: security.filter_map(|text| text.parse().ok()).collect(),
            name: row.logical_port,
            kind: row.r#type,
        };
        if is_gateway(&port) {
            *self.gateway_ports.entry(port.datapath).or_default() += 1;
        }
        // Flows are found by the keys of the ports that they name.
        if before.as_ref() != Some(&named(&port)) {
            before
                .iter()
                .for_each(|(datapath, ..)| stale(Stale::Datapath(*datapath)));
            stale(Stale::Datapath(port.datapath));
        }
        self.ports_by_name.insert(Arc::clone(&port.name), uuid);
        self.ports_by_key.insert((port.datapath, port.key), uuid);
        self.ports.insert(uuid, port);
    }

    fn take_multicast_group(
        &mut self,
        old: Option<sb::MulticastGroup>,
        new: Option<sb::MulticastGroup>,
        stale: &mut dyn FnMut(Stale),
    ) {
        let named =
            |row: &sb::MulticastGroup| (row.datapath, row.tunnel_key, Arc::clone(&row.name));
        if old.as_ref().map(named) != new.as_ref().map(named) {
            let rows = old.iter().chain(&new);
            rows.for_each(|row| stale(Stale::Datapath(row.datapath)));
        }
        if let Some(old) = old {
            self.multicast.remove(&(old.datapath, key(old.tunnel_key)));
            self.multicast_by_name.remove(&(old.datapath, old.name));
        }
        if let Some(new) = new {
            let number = key(new.tunnel_key);
            let name = (new.datapath, Arc::clone(&new.name));
            self.multicast_by_name.insert(name, number);
            let of = (new.name, new.ports);
            self.multicast.insert((new.datapath, number), of);
        }
    }

    fn take_address_set(&mut self, old: Option<sb::AddressSet>, new: Option<sb::AddressSet>) {
        if let Some(old) = old {
            self.address_sets.remove(&old.name);
        }
        if let Some(new) = new {
            let members = new.addresses.iter();
            let members = members.filter_map(|text| Int::parse_address(text).ok());
            self.address_sets.insert(new.name, members.collect());
        }
    }

    fn take_port_group(&mut self, old: Option<sb::PortGroup>, new: Option<sb::PortGroup>) {
        if let Some(old) = old {
            self.port_groups.remove(&old.name);
        }
        if let Some(new) = new {
            self.port_groups.insert(new.name, new.ports);
        }
    }

    fn take_datapath_group(
        &mut self,
        uuid: Uuid,
        old: Option<sb::LogicalDpGroup>,
        new: Option<sb::LogicalDpGroup>,
        stale: &mut dyn FnMut(Stale),
    ) {
        let members = |row: Option<sb::LogicalDpGroup>| -> BTreeSet<Uuid> {
            row.into_iter().flat_map(|row| row.datapaths).collect()
        };
        let (old, new) = (members(old), members(new));
        for gone in old.difference(&new) {
            if let Some(groups) = self.groups_of.get_mut(gone) {
                groups.remove(&uuid);
            }
            stale(Stale::Datapath(*gone));
        }
        for come in new.difference(&old) {
            self.groups_of.entry(*come).or_default().insert(uuid);
            stale(Stale::Datapath(*come));
        }
    }

    fn take_flow(
        &mut self,
        uuid: Uuid,
        old: Option<&Arc<Row>>,
        new: Option<&Arc<Row>>,
        stale: &mut dyn FnMut(Stale),
    ) {
        for place in typed(uuid, old).iter().flat_map(places) {
            if let Some(flows) = self.flows.get_mut(&place) {
                flows.remove(&uuid);
            }
            stale(Stale::Place(place));
        }
        for place in typed(uuid, new).iter().flat_map(places) {
            self.flows.entry(place).or_default().insert(uuid);
            stale(Stale::Place(place));
        }
        match new {
            Some(row) => self.rows.insert(uuid, Arc::clone(row)),
            None => self.rows.remove(&uuid),
        };
    }

    fn take_neighbour(&mut self, old: Option<&sb::MacBinding>, new: Option<&sb::MacBinding>) {
        let place = |row: &sb::MacBinding| {
            Some((
                Arc::clone(&row.logical_port),
                row.ip.parse::<IpAddr>().ok()?,
            ))
        };
        if let Some(place) = old.and_then(place) {
            self.neighbours.remove(&place);
        }
        if let Some(new) = new
            && let (Some(place), Ok(mac)) = (place(new), new.mac.parse())
        {
            self.neighbours.insert(place, mac);
        }
    }

    fn take_fixed_neighbour(
        &mut self,
        old: Option<&sb::StaticMacBinding>,
        new: Option<&sb::StaticMacBinding>,
    ) {
        let place = |row: &sb::StaticMacBinding| {
            Some((
                Arc::clone(&row.logical_port),
                row.ip.parse::<IpAddr>().ok()?,
            ))
        };
        if let Some(place) = old.and_then(place) {
            self.fixed_neighbours.remove(&place);
        }
        if let Some(new) = new
            && let (Some(place), Ok(mac)) = (place(new), new.mac.parse())
        {
            let overrides = new.override_dynamic_mac;
            self.fixed_neighbours.insert(place, (mac, overrides));
        }
    }

    fn take_station(&mut self, old: Option<&sb::Fdb>, new: Option<&sb::Fdb>) {
        let place = |row: &sb::Fdb| Some((key(row.dp_key), row.mac.parse::<Mac>().ok()?.to_u64()));
        if let Some(place) = old.and_then(place) {
            self.stations.remove(&place);
        }
        if let Some(new) = new
            && let Some(place) = place(new)
        {
            self.stations.insert(place, key(new.port_key));
        }
    }

    fn take_load_balancer(&mut self, uuid: Uuid, new: Option<sb::LoadBalancer>) {
        let Some(new) = new else {
            self.vips.remove(&uuid);
            return;
        };
        let vips = new.vips.keys().filter_map(|text| vip(text));
        self.vips.insert(uuid, vips.collect());
    }
}

fn is_gateway(port: &Port) -> bool {
    &*port.kind == "l3gateway"
}

/// Where a flow is.
fn places(row: &sb::LogicalFlow) -> Vec<Place> {
    let is_egress = &*row.pipeline == "egress";
    let table = u8::try_from(row.table_id).unwrap_or_default();
    let of = row.logical_datapath.into_iter().chain(row.logical_dp_group);
    of.map(|of| (of, is_egress, table)).collect()
}

/// `10.0.0.1:80`, `10.0.0.1`, `[fd00::1]:80`, `fd00::1`.
fn vip(text: &str) -> Option<Vip> {
    if let Ok(both) = text.parse::<std::net::SocketAddr>() {
        return Some((both.ip(), both.port()));
    }
    Some((text.trim_matches(['[', ']']).parse().ok()?, 0))
}

/// Questions.
impl World {
    /// A datapath by its UUID.
    pub fn datapath_by_uuid(&self, uuid: Uuid) -> Option<&Datapath> {
        self.datapaths.get(&uuid)
    }

    /// A port by its name.
    pub fn port_by_name(&self, name: &str) -> Option<&Port> {
        self.ports.get(self.ports_by_name.get(name)?)
    }

    /// A port of a datapath by its key.
    pub fn port_by_key(&self, datapath: Uuid, key: u32) -> Option<&Port> {
        self.ports.get(self.ports_by_key.get(&(datapath, key))?)
    }

    /// Whether a datapath is in a group of datapaths.
    pub fn is_in_group(&self, datapath: Uuid, group: Uuid) -> bool {
        let groups = self.groups_of.get(&datapath);
        groups.is_some_and(|groups| groups.contains(&group))
    }

    /// Whether a datapath is a router that is on one chassis.
    pub fn is_gateway_router(&self, datapath: Uuid) -> bool {
        self.gateway_ports
            .get(&datapath)
            .is_some_and(|count| *count > 0)
    }

    /// How many ports there are.
    pub fn port_count(&self) -> usize {
        self.ports.len()
    }

    /// All ports with their UUIDs, in no order.
    pub fn ports(&self) -> impl Iterator<Item = (Uuid, &Port)> {
        self.ports.iter().map(|(uuid, port)| (*uuid, port))
    }

    /// The name of a multicast group, and its members by name.
    pub fn multicast_by_key(&self, datapath: Uuid, key: u32) -> Option<(&Arc<str>, Vec<&Port>)> {
        let (name, members) = self.multicast.get(&(datapath, key))?;
        let of_datapath = |port: &&Port| port.datapath == datapath;
        let mut members: Vec<&Port> = members
            .iter()
            .filter_map(|port| self.ports.get(port))
            .filter(of_datapath)
            .collect();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some((name, members))
    }

    /// The key of a multicast group.
    pub fn multicast_key(&self, datapath: Uuid, name: &str) -> Option<u32> {
        self.multicast_by_name
            .get(&(datapath, Arc::from(name)))
            .copied()
    }

    /// The members of an address set.
    pub fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        self.address_sets.get(name).cloned()
    }

    /// The names of the ports of a port group on a datapath; all of the group's if it is not split by datapaths.
    pub fn port_group(&self, datapath: u32, name: &str) -> Option<&[Arc<str>]> {
        let split = self.port_groups.get(format!("{datapath}_{name}").as_str());
        split
            .or_else(|| self.port_groups.get(name))
            .map(Vec::as_slice)
    }

    /// The learned or given MAC of a router port's neighbour.
    pub fn neighbour_of(&self, port: &str, ip: IpAddr) -> Option<Mac> {
        let place = (Arc::from(port), ip);
        let learned = self.neighbours.get(&place).copied();
        match self.fixed_neighbours.get(&place) {
            Some((mac, overrides)) if *overrides || learned.is_none() => Some(*mac),
            _ => learned,
        }
    }

    /// The key of the port that a MAC was learned on.
    pub fn station_port(&self, datapath: u32, mac: u64) -> Option<u32> {
        self.stations.get(&(datapath, mac)).copied()
    }

    /// The first virtual address, in the order of their load balancers' UUIDs, that is this.
    pub fn vip(&self, ip: IpAddr) -> Option<Vip> {
        let vips = self.vips.values().flatten();
        vips.copied().find(|(address, _)| *address == ip)
    }

    /// The flows of a table of a datapath, and of the groups that it is in.
    pub fn flows_of(&self, (datapath, is_egress, table): Place) -> Vec<sb::LogicalFlow> {
        let groups = self.groups_of.get(&datapath).into_iter().flatten();
        let scopes = std::iter::once(&datapath).chain(groups);
        let uuids = scopes
            .filter_map(|scope| self.flows.get(&(*scope, is_egress, table)))
            .flatten();
        uuids
            .filter_map(|uuid| typed(*uuid, self.rows.get(uuid)))
            .collect()
    }

    /// The name of the stage that a table of a datapath is.
    pub fn stage_name(&self, (datapath, is_egress, table): Place) -> Option<Arc<str>> {
        let groups = self.groups_of.get(&datapath).into_iter().flatten();
        let scopes = std::iter::once(&datapath).chain(groups);
        let flows = scopes.filter_map(|scope| self.flows.get(&(*scope, is_egress, table)));
        let first = flows.flatten().next()?;
        let row: sb::LogicalFlow = typed(*first, self.rows.get(first))?;
        row.external_ids.get("stage-name").cloned()
    }

    /// The datapath that a name means: the name itself, or the start of a UUID of four digits and more.
    ///
    /// # Errors
    /// `Ok(None)` if there is none; `Err` if the start of a UUID could mean several.
    pub fn find_datapath(&self, text: &str) -> Result<Option<Uuid>, String> {
        let is_named =
            |datapath: &Datapath| datapath.name == text || datapath.name2.as_deref() == Some(text);
        let named = self
            .datapaths
            .iter()
            .find(|(_, datapath)| is_named(datapath));
        if let Some((uuid, _)) = named {
            return Ok(Some(*uuid));
        }
        let mut found = None;
        for (uuid, datapath) in &self.datapaths {
            if starts(*uuid, text) || starts(datapath.northbound, text) {
                if found.is_some() {
                    return Err(format!("name \"{text}\" matches multiple datapaths"));
                }
                found = Some(*uuid);
            }
        }
        Ok(found)
    }

    /// The port that a name means: the name itself, else the one port with this other name or the start of this UUID.
    pub fn find_port(&self, text: &str) -> Option<&Port> {
        if let Some(port) = self.port_by_name(text) {
            return Some(port);
        }
        let is_meant = |uuid: Uuid, port: &Port| {
            let of_name = port.name.parse::<Uuid>();
            port.name2.as_deref() == Some(text)
                || starts(uuid, text)
                || of_name.is_ok_and(|uuid| starts(uuid, text))
        };
        let mut found = self.ports().filter(|(uuid, port)| is_meant(*uuid, port));
        match (found.next(), found.next()) {
            (Some((_, port)), None) => Some(port),
            _ => None,
        }
    }
}

fn starts(uuid: Uuid, text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    text.len() >= 4
        && text.bytes().all(is_digit)
        && uuid
            .hyphenated()
            .to_string()
            .starts_with(&text.to_ascii_lowercase())
}
