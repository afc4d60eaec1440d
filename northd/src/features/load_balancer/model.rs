//! From a row of `Load_Balancer` to virtual addresses and backends that make sense.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use lflow::{Expr, m};
use nb_db::tables::LoadBalancer;
use ovsdb::Row;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::compiler::feature::{Kind, Over};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::features::load_balancer::endpoint::{self, Endpoint, Protocol};
use crate::features::load_balancer::mappings::{self, Mapping};
use crate::features::load_balancer::settings::SETTINGS;
use crate::features::load_balancer::templates::Template;

/// So many backends fit into a group of OpenFlow, of which a switch can tell 60,000 bytes: one of IPv4 takes up to 88 bytes, one of
/// IPv6 104.
const MAX_4: usize = 650;
const MAX_6: usize = 550;

/// Load balancers with an address that makes sense.
pub(super) static BALANCER: Relation<Handle, Arc<Balancer>> = Relation::new("load balancer");

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Balancer {
    /// `name`, which need not be unique.
    pub(super) name: Arc<str>,
    /// The protocol of addresses with a port.
    pub(super) protocol: Protocol,
    /// The virtual addresses.
    pub(super) vips: Vec<Vip>,
    /// Those with template variables.
    pub(super) templates: Vec<Template>,
    /// `ip_port_mappings`: where backends are.
    pub(super) mappings: BTreeMap<IpAddr, Mapping>,
    /// The fields that choose the backend, if not the switch's own choice.
    pub(super) hash_fields: Option<Arc<str>>,
    /// `options:reject`: who comes to an address without backends is told.
    pub(super) rejects: bool,
    /// `options:event`: the management system is told of it.
    pub(super) tells: bool,
    /// `options:skip_snat`: routers leave the client's address alone.
    pub(super) skips_snat: bool,
    /// `options:affinity_timeout`: so many seconds after a client's last new connection, it keeps its backend.
    pub(super) affinity: Option<u16>,
    /// `options:neighbor_responder`.
    pub(super) responder: Responder,
    /// `options:add_route`: other routers have routes to the virtual addresses.
    pub(super) adds_routes: bool,
    /// `options:distributed`: each chassis chooses among the backends that it has, of which `mappings` tells the ports.
    pub(super) is_distributed: bool,
    /// `options:use_stateless_nat`: routers with several gateway ports translate each packet by itself.
    pub(super) is_stateless: bool,
    /// `options:hairpin_snat_ip`: from where a client that is its own backend hears.
    pub(super) hairpin_ips: Vec<IpAddr>,
}

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vip {
    /// As it is written.
    pub(super) text: Arc<str>,
    /// The address.
    pub(super) ip: IpAddr,
    /// The port; without one, everything for the address is balanced.
    pub(super) port: Option<u16>,
    /// The backends.
    pub(super) backends: Vec<Endpoint>,
    /// Whether any are written, whatever became of them.
    pub(super) has_backends: bool,
}

/// For which virtual addresses routers answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Responder {
    /// For all.
    All,
    /// For those in the network of one of their ports.
    Reachable,
    /// For none.
    Nobody,
}

impl Vip {
    /// To the address, and to the port if it has one.
    pub(super) fn is_meant(&self, protocol: Protocol) -> Expr {
        let to = m::ip_dst(self.ip);
        match self.port {
            Some(port) => to & m::eq(protocol.dst(), port),
            None => to,
        }
    }

    /// The port of a backend: its own, or that of the virtual address.
    pub(super) fn port_of(&self, backend: Endpoint) -> Option<u16> {
        backend.port.or(self.port)
    }

    /// From where a backend replies.
    pub(super) fn speaker(&self, backend: Endpoint) -> Endpoint {
        Endpoint {
            ip: backend.ip,
            port: self.port_of(backend),
        }
    }
}

impl Balancer {
    /// The virtual addresses without their ports, each once.
    pub(super) fn ips(&self) -> Vec<IpAddr> {
        unique(self.vips.iter().map(|vip| vip.ip))
    }

    /// The addresses of all backends, each once.
    pub(super) fn backend_ips(&self) -> Vec<IpAddr> {
        let backends = self.vips.iter().flat_map(|vip| &vip.backends);
        unique(backends.map(|backend| backend.ip))
    }

    /// The port of a backend, if it matters where backends are.
    pub(super) fn place_of(&self, backend: IpAddr) -> Option<&Arc<str>> {
        let mapping = self.mappings.get(&backend);
        mapping.filter(|_| self.is_distributed).map(|of| &of.port)
    }

    /// The addresses that clients speak to, and those that backends answer to which are their own clients.
    pub(super) fn outer_ips(&self) -> Vec<IpAddr> {
        unique(
            self.ips()
                .into_iter()
                .chain(self.hairpin_ips.iter().copied()),
        )
    }

    /// Leaves backends out of which nobody knows where they are.
    fn keep_placed(&mut self, complaints: &mut Complaints) {
        let column = LoadBalancer::COLUMN.vips.name;
        for vip in &mut self.vips {
            let mappings = &self.mappings;
            vip.backends.retain(|backend| {
                let is_placed = mappings.contains_key(&backend.ip);
                if !is_placed {
                    let why = format!(
                        "with options:distributed, it has to be known where the backend {} is",
                        backend.ip
                    );
                    let remedy = "it is left out: add it to ip_port_mappings";
                    complaints.text(column, &vip.text, 0, why, remedy);
                }
                is_placed
            });
        }
        if !self.templates.is_empty() {
            let why = "virtual addresses with template variables have backends on any chassis";
            let remedy = "distributed has no effect on those: remove it, or write addresses";
            complaints.column(LoadBalancer::COLUMN.options.name, why, remedy);
        }
    }

    /// Reads a row. Nothing comes of one without an address that can be read. `tells_all`: whoever manages the network is told of all
    /// addresses without backends.
    fn parse(row: &Row, tells_all: bool, complaints: &mut Complaints) -> Option<Self> {
        let column = LoadBalancer::COLUMN;
        let options = Options::read(column.options.name, row.get(column.options.index));
        let has_variables = options.truth("template", false, complaints);
        let is_ip4 = family(&options, complaints);
        let (mut vips, mut templates) = (Vec::new(), Vec::new());
        let mut empty: Vec<&str> = Vec::new();
        // The text of each address as it is written first.
        let mut written_as: FxHashMap<(IpAddr, Option<u16>), Arc<str>> = FxHashMap::default();
        for (key, value) in row.get(column.vips.index).pairs() {
            let (Some(vip), Some(backends)) = (key.as_str(), value.as_str()) else {
                continue;
            };
            let known = vips.len() + templates.len();
            if has_variables && (vip.contains('^') || backends.contains('^')) {
                templates.extend(Template::parse(vip, backends, is_ip4, complaints));
            } else if let Some(of) = parse_vip(vip, backends, complaints) {
                match written_as.entry((of.ip, of.port)) {
                    Entry::Occupied(other) => tell_twice(vip, other.get(), complaints),
                    Entry::Vacant(new) => {
                        new.insert(Arc::clone(&of.text));
                        vips.push(of);
                    }
                }
            }
            if backends.trim().is_empty() && vips.len() + templates.len() > known {
                empty.push(vip);
            }
        }
        let written: Option<Arc<str>> = column.protocol.get(row);
        let has_port = vips.iter().any(|vip| vip.port.is_some())
            || templates.iter().any(|vip| vip.port.is_some());
        // OVN's tools write `tcp` whatever the address has.
        let is_chosen = written.as_deref().is_some_and(|protocol| protocol != "tcp");
        if is_chosen && !(vips.is_empty() && templates.is_empty()) && !has_port {
            let why = "no virtual address has a port, so all protocols are balanced";
            let remedy = "it is ignored: remove it, or write addresses with a port";
            complaints.column(column.protocol.name, why, remedy);
        }
        let protocol = match written.as_deref() {
            Some("udp") => Protocol::Udp,
            Some("sctp") => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let fields: Vec<Arc<str>> = column.selection_fields.get(row);
        let mappings = mappings::parse(row.get(column.ip_port_mappings.index), complaints);
        let affinity = options.number("affinity_timeout", 0..=u16::MAX, complaints);
        if affinity.is_some() && !templates.is_empty() {
            let why = "virtual addresses with template variables have no affinity";
            let remedy = "those are balanced without: remove it, or write addresses";
            complaints.column(column.options.name, why, remedy);
        }
        let mut truth = |key| options.truth(key, false, complaints);
        let adds_routes = truth("add_route");
        let is_distributed = truth("distributed");
        let is_stateless = truth("use_stateless_nat");
        let mut balancer = Self {
            name: column.name.get(row),
            protocol,
            mappings,
            hash_fields: hash_fields(&fields, has_port.then_some(protocol)),
            rejects: truth("reject"),
            tells: truth("event"),
            skips_snat: truth("skip_snat"),
            affinity: affinity.filter(|seconds| *seconds > 0),
            responder: responder(&options, complaints),
            adds_routes,
            is_distributed,
            is_stateless,
            hairpin_ips: hairpin_ips(&options, complaints),
            vips,
            templates,
        };
        if is_distributed {
            balancer.keep_placed(complaints);
        }
        if adds_routes && !balancer.templates.is_empty() {
            let why = "virtual addresses with template variables get no routes";
            let remedy = "routers need routes of their own to those: remove it, or write addresses";
            complaints.warning(column.options.name, "add_route", 0, why, remedy);
        }
        for vip in empty {
            // Who wants to be told, or have senders told, means it.
            if !(balancer.rejects || balancer.tells || tells_all) {
                let why = format!("{vip} has no backends");
                let remedy = "what comes there is dropped: write backends, or set reject or event";
                complaints.warning(column.vips.name, vip, 0, why, remedy);
            }
        }
        if balancer.rejects && balancer.tells {
            let why = "who is told by a reject needs no event (ovn-nb, reject)";
            let remedy = "no event is told: set one of the two";
            complaints.warning(column.options.name, "event", 0, why, remedy);
        }
        let has_some = !balancer.vips.is_empty() || !balancer.templates.is_empty();
        has_some.then_some(balancer)
    }
}

pub(super) static MODEL: Kind = Kind {
    name: "model/load-balancer",
    over: Over::North(LoadBalancer::INDEX),
    reads: &[&SETTINGS],
    says: &[&BALANCER],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Arc<str> = LoadBalancer::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<LoadBalancer>(row, name);
        let tells_all = unit.get(&SETTINGS, ()).is_some_and(|of| of.tells);
        if let Some(balancer) = Balancer::parse(columns, tells_all, &mut complaints) {
            unit.say(&BALANCER, row, Arc::new(balancer));
        }
        unit.problems(complaints.into_problems());
    },
};

fn parse_vip(text: &str, backends: &str, complaints: &mut Complaints) -> Option<Vip> {
    let column = LoadBalancer::COLUMN.vips.name;
    let Some(vip) = endpoint::parse(text) else {
        let why = "it is no IP address, nor one with : and a port number";
        let remedy = "it is left out: write IP, IPV4:PORT or [IPV6]:PORT";
        complaints.text(column, text, 0, why, remedy);
        return None;
    };
    if !is_host(vip.ip) {
        let why = format!("{} is not the address of one host", vip.ip);
        complaints.text(
            column,
            text,
            0,
            why,
            "it is left out: write a unicast address",
        );
        return None;
    }
    let backends = parse_backends(vip, backends, complaints);
    Some(Vip {
        text: text.into(),
        ip: vip.ip,
        port: vip.port,
        has_backends: !backends.is_empty(),
        backends,
    })
}

fn tell_twice(vip: &str, other: &str, complaints: &mut Complaints) {
    let why = format!("it is the same address as {other}");
    let remedy = "it is left out: write all backends to one of them";
    complaints.text(LoadBalancer::COLUMN.vips.name, vip, 0, why, remedy);
}

/// The backends that fit the virtual address, each once.
fn parse_backends(vip: Endpoint, text: &str, complaints: &mut Complaints) -> Vec<Endpoint> {
    let column = LoadBalancer::COLUMN.vips.name;
    let mut backends: Vec<Endpoint> = Vec::new();
    let mut seen = FxHashSet::default();
    let mut at = 0;
    for word in text.split(',') {
        let begins = at;
        at += word.len() + 1;
        if word.trim().is_empty() {
            continue;
        }
        let why = match endpoint::parse(word.trim()) {
            None => "the backend is no IP address, nor one with : and a port number",
            Some(backend) if backend.ip.is_ipv4() != vip.ip.is_ipv4() => {
                "the backend is not of the virtual address' family"
            }
            Some(backend) if backend.port.is_some() && vip.port.is_none() => {
                "the backend has a port, and the virtual address has none"
            }
            Some(backend) if !is_host(backend.ip) => "the backend is not one host",
            Some(backend) => {
                if seen.insert(backend) {
                    backends.push(backend);
                }
                continue;
            }
        };
        complaints.text(column, text, begins, why, "it is left out: correct it");
    }
    let most = if vip.ip.is_ipv4() { MAX_4 } else { MAX_6 };
    if backends.len() > most {
        let why = format!(
            "{vip} has {} backends, and a group of OpenFlow has room for {most}",
            backends.len()
        );
        let remedy = "the first of them are used: give the others a virtual address of their own";
        complaints.column(column, why, remedy);
        backends.truncate(most);
    }
    backends
}

fn is_host(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() && !is_broadcast
}

/// The fields by the names that the switch knows: ports are those of a protocol.
fn hash_fields(fields: &[Arc<str>], protocol: Option<Protocol>) -> Option<Arc<str>> {
    let fields = fields.iter().filter_map(|field| {
        let side = match &**field {
            "tp_src" => "src",
            "tp_dst" => "dst",
            other => return Some(other.to_owned()),
        };
        // Who balances all protocols alike has no ports to choose by.
        Some(format!("{}_{side}", protocol?.name()))
    });
    let fields: Vec<String> = fields.collect();
    (!fields.is_empty()).then(|| fields.join(",").into())
}

/// Whether variables stand for addresses of IPv4 (`options:address-family`).
fn family(options: &Options<'_>, complaints: &mut Complaints) -> bool {
    match options.text("address-family") {
        None | Some("ipv4") => true,
        Some("ipv6") => false,
        Some(other) => {
            let why = "address-family is neither ipv4 nor ipv6";
            let column = LoadBalancer::COLUMN.options.name;
            complaints.text(column, other, 0, why, "ipv4 is assumed: write one of them");
            true
        }
    }
}

fn responder(options: &Options<'_>, complaints: &mut Complaints) -> Responder {
    match options.text("neighbor_responder") {
        Some("all") => Responder::All,
        Some("none") => Responder::Nobody,
        None | Some("reachable") => Responder::Reachable,
        Some(other) => {
            let why = "neighbor_responder is none of all, reachable and none";
            let column = LoadBalancer::COLUMN.options.name;
            complaints.text(
                column,
                other,
                0,
                why,
                "reachable is assumed: write one of them",
            );
            Responder::Reachable
        }
    }
}

/// The addresses of `hairpin_snat_ip`, one of each family at most.
fn hairpin_ips(options: &Options<'_>, complaints: &mut Complaints) -> Vec<IpAddr> {
    let words = options.text("hairpin_snat_ip").unwrap_or_default();
    let ips = words.split_whitespace().filter_map(|word| {
        let ip = word.parse().ok();
        if ip.is_none() {
            let why = "hairpin_snat_ip is no IP address, nor one of each family";
            let remedy = "backends hear of themselves from the virtual address: correct it";
            complaints.text(LoadBalancer::COLUMN.options.name, word, 0, why, remedy);
        }
        ip
    });
    ips.collect()
}

fn unique(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = ips.collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use ovsdb::Uuid;
    use ovsdb::typed::TableDefinition;

    use super::*;

    fn parse(row: &LoadBalancer) -> (Option<Balancer>, Vec<String>) {
        let mut complaints = Complaints::about(LoadBalancer::NAME, Uuid::nil(), "".into());
        let balancer = Balancer::parse(&row.to_row(), false, &mut complaints);
        let problems = complaints.into_problems();
        let whys = problems.into_iter().map(|problem| problem.why);
        (balancer, whys.collect())
    }

    fn row(vips: &[(&str, &str)]) -> LoadBalancer {
        LoadBalancer {
            vips: vips
                .iter()
                .map(|(vip, backends)| ((*vip).into(), (*backends).into()))
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_and_the_rest_is_done() {
        for (vip, backends, left, why) in [
            (
                "10.0.0.1:80",
                "10.0.0.2:80,fd00::1,10.0.0.3:81",
                2,
                "family",
            ),
            ("10.0.0.1:80", "10.0.0.2:80,nobody", 1, "no IP address"),
            ("10.0.0.1", "10.0.0.2:80,10.0.0.3", 1, "has none"),
            ("10.0.0.1:80", "224.0.0.1:80", 0, "not one host"),
            ("[fd00::1]:80", "[fd00::2]:8080,[fd00::2]:8080", 1, ""),
            ("10.0.0.1:80", "", 0, "has no backends"),
            ("10.0.0.1:80", " ", 0, "has no backends"),
        ] {
            let (balancer, problems) = parse(&row(&[(vip, backends)]));
            let balancer = balancer.expect("the address makes sense");
            assert_eq!(balancer.vips[0].backends.len(), left, "{vip} {backends}");
            let told = problems.first().map_or("", String::as_str);
            assert!(
                told.contains(why) && told.is_empty() == why.is_empty(),
                "{told}"
            );
        }
        let twice = row(&[
            ("10.0.0.1:080", "10.0.0.3:80"),
            ("10.0.0.1:80", "10.0.0.2:80"),
        ]);
        let (balancer, problems) = parse(&twice);
        let vips = balancer.expect("one makes sense").vips;
        let told = "it is the same address as 10.0.0.1:080";
        assert_eq!((vips.len(), problems), (1, vec![told.to_owned()]));
        for vip in [
            "10.0.0",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "224.0.0.1:80",
            "0.0.0.0",
            "::",
        ] {
            let (balancer, problems) = parse(&row(&[(vip, "10.0.0.2:80")]));
            assert_eq!((balancer, problems.len()), (None, 1), "{vip}");
        }
    }

    #[test]
    fn no_more_backends_than_a_group_holds() {
        let backends: Vec<String> = (0..5000)
            .map(|number| format!("10.1.{}.{}:80", number / 250, 1 + number % 250))
            .collect();
        let (balancer, problems) = parse(&row(&[("10.0.0.1:80", &backends.join(","))]));
        assert_eq!(
            balancer.expect("it makes sense").vips[0].backends.len(),
            MAX_4
        );
        let why = "10.0.0.1:80 has 5000 backends, and a group of OpenFlow has room for 650";
        assert_eq!(problems, [why]);
    }

    #[test]
    fn a_protocol_and_ports_belong_together() {
        let mut udp = row(&[("10.0.0.1", "10.0.0.2")]);
        udp.protocol = Some("udp".into());
        udp.selection_fields = vec!["ip_src".into(), "tp_dst".into()];
        let (balancer, problems) = parse(&udp);
        let fields = balancer.expect("it makes sense").hash_fields;
        assert_eq!((fields.as_deref(), problems.len()), (Some("ip_src"), 1));
        udp.vips = row(&[("10.0.0.1:53", "10.0.0.2:53")]).vips;
        let (balancer, problems) = parse(&udp);
        let fields = balancer.expect("it makes sense").hash_fields;
        assert_eq!(fields.as_deref(), Some("ip_src,udp_dst"));
        assert_eq!(problems, Vec::<String>::new());
    }
}
