//! The southbound database as one big chassis would run it: for the interpreter of logical flows.
//!
//! Port security and learned addresses are the chassis' business: they are answered here, from `Port_Binding` and from what
//! packets have taught.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use lflow::action::{Action, Bare, Function, Lookup as Question, Pipeline, Query};
use lflow::expr::Lookup;
use lflow::interp::{Effect, LogicalFlow, Network, State, run};
use lflow::{Actions, Expr, Int};
use ovsdb::Uuid;
use sb_db::tables as sb;

use super::World;
use super::connections::Connections;
use super::packet::{Packet, allows};
use super::translations::{End, Translations, ends};

type Table = (u32, &'static str, u8);

/// All chassis in one.
pub struct Chassis {
    flows: BTreeMap<Table, Vec<LogicalFlow>>,
    datapaths: BTreeMap<u32, Datapath>,
    /// The other ends of ports that lead to other datapaths.
    peers: BTreeMap<(u32, u32), (u32, u32)>,
    /// Which port of a datapath has which learned address.
    pub learned: RefCell<BTreeMap<(u32, u128), u32>>,
    /// Which MAC a neighbour of a router's port has: datapath, port, address.
    pub neighbours: RefCell<BTreeMap<(u32, u32, u128), u128>>,
    /// The connections that have been seen, if connections are tracked; else every packet is of none.
    pub connections: Option<RefCell<Connections>>,
    /// The same with translation.
    pub translations: Option<RefCell<Translations>>,
    /// Virtual addresses and backends by datapath, as the rows of `Load_Balancer` have them.
    balanced: BTreeMap<u32, Vec<(End, End)>>,
}

#[derive(Default)]
struct Datapath {
    names: BTreeMap<Arc<str>, u32>,
    members: BTreeMap<u32, Vec<u32>>,
    port_groups: BTreeMap<Arc<str>, Arc<[u32]>>,
    address_sets: Arc<BTreeMap<Arc<str>, Arc<[Int]>>>,
    security: BTreeMap<u32, Vec<Arc<str>>>,
}

impl Chassis {
    /// Reads everything that northd wrote.
    pub fn new(world: &World) -> Self {
        let mut datapaths: BTreeMap<u32, Datapath> = BTreeMap::new();
        let key = |key: i64| u32::try_from(key).expect("keys are positive and small");
        let keys: BTreeMap<Uuid, u32> = world
            .sb::<sb::DatapathBinding>()
            .into_iter()
            .map(|(uuid, row)| (uuid, key(row.tunnel_key)))
            .collect();
        let mut ports = BTreeMap::new();
        let mut places: BTreeMap<Arc<str>, (u32, u32)> = BTreeMap::new();
        let mut ends = Vec::new();
        let mut redirects = Vec::new();
        for (uuid, row) in world.sb::<sb::PortBinding>() {
            let datapath = datapaths.entry(keys[&row.datapath]).or_default();
            let port = key(row.tunnel_key);
            let place = (keys[&row.datapath], port);
            places.insert(Arc::clone(&row.logical_port), place);
            if matches!(&*row.r#type, "patch" | "l3gateway")
                && let Some(peer) = row.options.get("peer")
            {
                ends.push((place, Arc::clone(peer)));
            }
            if let Some(of) = row.options.get("distributed-port") {
                redirects.push((place, Arc::clone(of)));
            }
            datapath.names.insert(row.logical_port, port);
            datapath.security.insert(port, row.port_security);
            ports.insert(uuid, port);
        }
        // Here, what passes the gateway goes on by its distributed port.
        for ((datapath, port), of) in redirects {
            let Some((_, distributed)) = places.get(&of) else {
                continue;
            };
            let of = datapaths.entry(datapath).or_default();
            of.members.insert(port, vec![*distributed]);
        }
        for (_, row) in world.sb::<sb::MulticastGroup>() {
            let datapath = datapaths.entry(keys[&row.datapath]).or_default();
            datapath.names.insert(row.name, key(row.tunnel_key));
            datapath.members.insert(
                key(row.tunnel_key),
                row.ports.iter().map(|port| ports[port]).collect(),
            );
        }
        name_groups(world, &mut datapaths);
        let groups: BTreeMap<Uuid, Vec<Uuid>> = world
            .sb::<sb::LogicalDpGroup>()
            .into_iter()
            .map(|(uuid, row)| (uuid, row.datapaths))
            .collect();
        let mut flows: BTreeMap<Table, Vec<LogicalFlow>> = BTreeMap::new();
        for (_, row) in world.sb::<sb::LogicalFlow>() {
            // This chassis has no value for any variable, and so leaves such flows out.
            if row.r#match.contains('^') || row.actions.contains('^') {
                continue;
            }
            let flow = LogicalFlow::new(
                u16::try_from(row.priority).expect("checked by the schema"),
                Expr::parse(&row.r#match).expect("northd writes matches that can be read"),
                Actions::parse(&row.actions).expect("northd writes actions that can be read"),
            );
            let pipeline = if &*row.pipeline == "ingress" {
                "ingress"
            } else {
                "egress"
            };
            let table = u8::try_from(row.table_id).expect("checked by the schema");
            let group = row
                .logical_dp_group
                .map(|group| groups[&group].clone())
                .unwrap_or_default();
            for datapath in row.logical_datapath.into_iter().chain(group) {
                flows
                    .entry((keys[&datapath], pipeline, table))
                    .or_default()
                    .push(flow.clone());
            }
        }
        for flows in flows.values_mut() {
            flows.sort_by_key(|flow| std::cmp::Reverse(flow.priority));
        }
        let peers = ends
            .into_iter()
            .filter_map(|(place, peer)| Some((place, *places.get(&peer)?)));
        Self {
            flows,
            datapaths,
            peers: peers.collect(),
            learned: RefCell::default(),
            neighbours: RefCell::default(),
            connections: None,
            translations: None,
            balanced: balanced(world, &keys),
        }
    }

    /// Has packets end at ports that lead to other datapaths, as if these were guests.
    pub fn cut_links(&mut self) {
        self.peers.clear();
    }

    /// The key of a port.
    pub fn port(&self, datapath: u32, name: &str) -> Option<u32> {
        self.datapaths.get(&datapath)?.names.get(name).copied()
    }

    /// Sends a packet; answers who gets what: the names of ports, each with the packet as it leaves. Learns.
    pub fn send(&self, datapath: u32, port: u32, packet: &Packet) -> Vec<(Arc<str>, State)> {
        self.send_state(datapath, port, &packet.state())
    }

    /// The datapath and the key of a port that is there.
    pub fn find(&self, name: &str) -> (u32, u32) {
        let mut datapaths = self.datapaths.iter();
        let found = datapaths.find_map(|(key, of)| Some((*key, *of.names.get(name)?)));
        found.expect("a port of this name")
    }

    /// The same of a packet as a switch sees it.
    pub fn send_state(&self, datapath: u32, port: u32, state: &State) -> Vec<(Arc<str>, State)> {
        let outcome = run(self, datapath, port, state);
        assert!(!outcome.endless, "the packet runs in circles");
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        let mut heard = Vec::new();
        for effect in outcome.effects {
            match effect {
                Effect::Output {
                    datapath,
                    port,
                    state,
                } => {
                    let names = &self.datapaths[&datapath].names;
                    let name = names
                        .iter()
                        .find(|(_, key)| **key == port)
                        .expect("only ports are put out to")
                        .0;
                    heard.push((Arc::clone(name), state));
                }
                Effect::Call {
                    datapath,
                    function,
                    args,
                } => {
                    let port = u32::try_from(args[0]).expect("ports have small keys");
                    if function == Function::PutFdb {
                        self.learned.borrow_mut().insert((datapath, args[1]), port);
                    } else {
                        let place = (datapath, port, args[1]);
                        self.neighbours.borrow_mut().insert(place, args[2]);
                    }
                }
                Effect::Message { .. } => {}
            }
        }
        heard.sort_by(|a, b| a.0.cmp(&b.0));
        heard
    }

    fn balances(&self, datapath: u32, is_it: impl Fn(End, End) -> bool) -> bool {
        let pairs = self.balanced.get(&datapath).into_iter().flatten();
        pairs
            .into_iter()
            .any(|(vip, backend)| is_it(*vip, *backend))
    }

    fn is_allowed(&self, datapath: u32, port: u128, state: &State, is_sender: bool) -> bool {
        let port = u32::try_from(port).expect("ports have small keys");
        let security = &self.datapaths[&datapath].security[&port];
        allows(security, state, is_sender)
    }
}

/// Every pair of virtual address and backend of each switch.
fn balanced(world: &World, keys: &BTreeMap<Uuid, u32>) -> BTreeMap<u32, Vec<(End, End)>> {
    let groups = world.sb::<sb::LogicalDpGroup>().into_iter();
    let groups: BTreeMap<Uuid, Vec<Uuid>> =
        groups.map(|(uuid, row)| (uuid, row.datapaths)).collect();
    let mut balanced: BTreeMap<u32, Vec<(End, End)>> = BTreeMap::new();
    for (_, row) in world.sb::<sb::LoadBalancer>() {
        assert_eq!(row.datapath_group, row.ls_datapath_group);
        let datapaths = row.ls_datapath_group.map(|group| &groups[&group]);
        for datapath in datapaths.into_iter().flatten() {
            for (vip, backends) in &row.vips {
                let backends = backends.split(',').filter_map(end);
                let pairs = backends.filter_map(|backend| Some((end(vip)?, backend)));
                balanced.entry(keys[datapath]).or_default().extend(pairs);
            }
        }
    }
    balanced
}

fn end(text: &str) -> Option<End> {
    let address: std::net::SocketAddr = text.parse().ok()?;
    Some((address.ip(), address.port().into()))
}

/// What matches may name. What does not exist has no members.
fn name_groups(world: &World, datapaths: &mut BTreeMap<u32, Datapath>) {
    let sets = world.sb::<sb::AddressSet>().into_iter().map(|(_, row)| {
        let members = row.addresses.iter();
        let members = members.filter_map(|text| Int::parse_address(text).ok());
        (row.name, members.collect())
    });
    let sets = Arc::new(sets.collect());
    for datapath in datapaths.values_mut() {
        datapath.address_sets = Arc::clone(&sets);
    }
    for (_, row) in world.sb::<sb::PortGroup>() {
        let (key, name) = row.name.split_once('_').expect("a key and a name");
        let key: u32 = key.parse().expect("a key");
        if let Some(datapath) = datapaths.get_mut(&key) {
            let ports = row.ports.iter();
            let ports = ports.filter_map(|port| datapath.names.get(port).copied());
            let ports = ports.collect();
            datapath.port_groups.insert(name.into(), ports);
        }
    }
}

impl Network for Chassis {
    fn flows(&self, datapath: u32, pipeline: Pipeline, table: u8) -> &[LogicalFlow] {
        self.flows
            .get(&(datapath, pipeline.name(), table))
            .map_or(&[], Vec::as_slice)
    }

    fn lookup(&self, datapath: u32) -> &dyn Lookup {
        &self.datapaths[&datapath]
    }

    fn members(&self, datapath: u32, key: u32) -> Option<&[u32]> {
        self.datapaths[&datapath]
            .members
            .get(&key)
            .map(Vec::as_slice)
    }

    fn peer(&self, datapath: u32, port: u32) -> Option<(u32, u32)> {
        self.peers.get(&(datapath, port)).copied()
    }

    fn query(&self, datapath: u32, state: &State, query: &Query, args: &[u128]) -> u128 {
        use lflow::Base;
        match query {
            Query::Bare(Bare::CheckInPortSec) => {
                u128::from(!self.is_allowed(datapath, state.get(Base::Inport), state, true))
            }
            Query::Bare(Bare::CheckOutPortSec) => {
                u128::from(!self.is_allowed(datapath, state.get(Base::Outport), state, false))
            }
            Query::Lookup(Question::LookupFdb, _) => {
                let port = u32::try_from(args[0]).expect("ports have small keys");
                u128::from(self.learned.borrow().get(&(datapath, args[1])) == Some(&port))
            }
            Query::Lookup(Question::GetFdb, _) => self
                .learned
                .borrow()
                .get(&(datapath, args[0]))
                .map_or(0, |port| u128::from(*port)),
            Query::Lookup(Question::LookupArp | Question::LookupNd, _) => {
                let port = u32::try_from(args[0]).expect("ports have small keys");
                u128::from(self.neighbour(datapath, port, args[1]) == args[2])
            }
            Query::Lookup(Question::LookupArpIp | Question::LookupNdIp, _) => {
                let port = u32::try_from(args[0]).expect("ports have small keys");
                u128::from(self.neighbour(datapath, port, args[1]) != 0)
            }
            Query::Bare(Bare::ChkLbHairpin) => {
                let (from, to) = ends(state);
                let is_backend = self.balances(datapath, |_, backend| backend == to);
                u128::from(from.0 == to.0 && is_backend)
            }
            Query::Bare(Bare::ChkLbHairpinReply) => {
                let translations = self.translations.as_ref().map(RefCell::borrow);
                let learned = translations.is_some_and(|of| of.answers_hairpin(datapath, state));
                u128::from(learned)
            }
            Query::PacketLarger(_) => 0,
            // Nobody has a name.
            Query::Bare(Bare::DnsLookup) => 0,
            Query::PutOptions(..) => 1,
            other => panic!("northd's flows do not ask for {other:?}"),
        }
    }

    fn neighbour(&self, datapath: u32, port: u32, ip: u128) -> u128 {
        let known = self.neighbours.borrow();
        known.get(&(datapath, port, ip)).copied().unwrap_or(0)
    }

    fn track(&self, datapath: u32, state: &mut State, action: &Action) {
        if let Some(translations) = &self.translations {
            translations.borrow_mut().track(datapath, state, action);
        }
        if let Some(connections) = &self.connections {
            connections.borrow_mut().track(datapath, state, action);
        }
    }
}

impl Lookup for Datapath {
    fn port(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let known = self.address_sets.get(name).cloned();
        Some(known.unwrap_or_default())
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        let known = self.port_groups.get(name).cloned();
        Some(known.unwrap_or_default())
    }

    fn is_resident(&self, _: &str) -> bool {
        true
    }
}
