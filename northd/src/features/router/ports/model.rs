//! `Logical_Router_Port`: an end of a router.
//!
//! A bad network costs itself alone. A port without a MAC is no port at all.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addr::{Cidr, Mac, MacAndIps, PortKey};
use nb_db::tables::LogicalRouterPort;
use ovsdb::typed::TableDefinition;
use ovsdb::{Datum, Row};
use uuid::Uuid;

use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};

/// More networks than these are refused.
const MAX_NETWORKS: usize = 256;
/// The smallest MTU that a port may say (RFC 791: every module must be able to forward 68 bytes).
const MIN_MTU: u16 = 68;

/// A router's port that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterPort {
    /// `name`.
    pub name: Arc<str>,
    /// `mac`.
    pub mac: Mac,
    /// `networks`: its addresses, each with the length of its network's prefix.
    pub networks: Vec<Cidr>,
    /// `peer`: the port of another router at the other end.
    pub peer: Option<Arc<str>>,
    /// Whether it takes part at all (`enabled`).
    pub is_enabled: bool,
    /// `options:requested-tnl-key`.
    pub requested_key: Option<u16>,
    /// `options:route_table`: the table of routes for what comes in here, if not the main one.
    pub route_table: Option<Arc<str>>,
    /// `options:gateway_mtu`: the most bytes of an IP packet that pass.
    pub mtu: Option<u16>,
    /// `options:reside-on-redirect-chassis`: the port is on the chassis of the router's gateway port alone.
    pub resides_on_redirect: bool,
    /// `options:redirect-type` is `bridged`: what is to leave by a gateway port of another chassis gets there by the physical
    /// network, and not by a tunnel.
    pub is_bridged: bool,
    /// `external_ids`.
    pub external_ids: Datum,
}

impl RouterPort {
    /// Reads a row. Nothing comes of a row that cannot be a port at all; the problems say why.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let name: Arc<str> = LogicalRouterPort::COLUMN.name.get(row);
        let mut complaints = Complaints::about(LogicalRouterPort::NAME, uuid, Arc::clone(&name));
        let port = Self::parse_with(name, row, &mut complaints);
        (port, complaints.into_problems())
    }

    fn parse_with(name: Arc<str>, row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalRouterPort::COLUMN;
        if name.is_empty() {
            let remedy = "give the port a name";
            complaints.column(column.name.name, "the name is empty", remedy);
            return None;
        }
        let mac = parse_mac(row, complaints)?;
        let options = Options::read(column.options.name, row.get(column.options.index));
        let route_table = options.text("route_table").filter(|name| !name.is_empty());
        Some(Self {
            name,
            mac,
            networks: parse_networks(row, complaints),
            peer: column.peer.get(row).filter(|peer| !peer.is_empty()),
            is_enabled: column.enabled.get(row).unwrap_or(true),
            requested_key: options.number("requested-tnl-key", 1..=PortKey::MAX_PORT, complaints),
            route_table: route_table.map(Arc::from),
            mtu: options.number("gateway_mtu", MIN_MTU..=u16::MAX, complaints),
            resides_on_redirect: options.truth("reside-on-redirect-chassis", false, complaints),
            is_bridged: is_bridged(&options, complaints),
            external_ids: row.get(column.external_ids.index).clone(),
        })
    }

    /// The link-local address that follows from the MAC.
    pub fn link_local(&self) -> Ipv6Addr {
        self.mac.link_local()
    }

    /// All its addresses, the link-local one last.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let link_local = IpAddr::V6(self.link_local());
        let others = self.networks.iter().map(|network| network.addr());
        let others = others.filter(move |ip| *ip != link_local);
        others.chain([link_local])
    }

    /// The address from which it speaks to hosts of this family elsewhere: the first that is not link-local.
    pub fn source(&self, is_ip4: bool) -> Option<IpAddr> {
        let mut ips = self.networks.iter().map(|network| network.addr());
        ips.find(|ip| ip.is_ipv4() == is_ip4 && !is_link_local(*ip))
    }

    /// The address from which it speaks to a neighbour: that of the neighbour's network, else the first of its family, else
    /// for IPv6 the link-local one.
    pub fn source_towards(&self, neighbour: IpAddr) -> Option<IpAddr> {
        let on_link = self
            .networks
            .iter()
            .find(|network| network.network().contains(neighbour))
            .map(|network| network.addr());
        let is_near = is_link_local(neighbour);
        let fallback = (!neighbour.is_ipv4()).then(|| IpAddr::V6(self.link_local()));
        match on_link {
            Some(ip) => Some(ip),
            None if is_near => fallback,
            None => self.source(neighbour.is_ipv4()).or(fallback),
        }
    }

    /// Whether a neighbour can be spoken to without a router between.
    pub fn reaches(&self, neighbour: IpAddr) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.network().contains(neighbour))
    }

    /// Its MAC with all its addresses.
    pub fn addresses(&self) -> MacAndIps {
        MacAndIps {
            mac: self.mac,
            ips: self.ips().map(Cidr::host).collect(),
        }
    }

    /// The column `Port_Binding.mac`.
    pub fn mac_text(&self) -> String {
        let networks = self.networks.iter().map(ToString::to_string);
        let words = std::iter::once(self.mac.to_string()).chain(networks);
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Whether an address is of the link alone (RFC 4291, section 2.5.6).
pub fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

fn parse_mac(row: &Row, complaints: &mut Complaints) -> Option<Mac> {
    let column = LogicalRouterPort::COLUMN.mac;
    let text: Arc<str> = column.get(row);
    match text.parse::<Mac>() {
        Ok(mac) if mac.is_multicast() || mac.is_zero() => {
            let why = format!("{mac} cannot be the address of one port");
            complaints.text(column.name, &text, 0, why, "write a unicast MAC");
            None
        }
        Ok(mac) => Some(mac),
        Err(error) => {
            complaints.address(column.name, &text, &error);
            None
        }
    }
}

fn is_bridged(options: &Options<'_>, complaints: &mut Complaints) -> bool {
    let text = options.text("redirect-type").unwrap_or("overlay");
    match text {
        "bridged" => return true,
        "overlay" => {}
        _ => {
            let column = LogicalRouterPort::COLUMN.options.name;
            let why = "redirect-type is overlay or bridged";
            complaints.text(column, text, 0, why, "it is taken to be overlay");
        }
    }
    false
}

fn parse_networks(row: &Row, complaints: &mut Complaints) -> Vec<Cidr> {
    let column = LogicalRouterPort::COLUMN.networks;
    let datum = row.get(column.index);
    if datum.len() > MAX_NETWORKS {
        let why = format!("{} networks are more than {MAX_NETWORKS}", datum.len());
        complaints.column(
            column.name,
            why,
            "those beyond are ignored: use several ports",
        );
    }
    let mut networks: Vec<Cidr> = Vec::new();
    for atom in datum.atoms().iter().take(MAX_NETWORKS) {
        let text = atom.as_str().unwrap_or_default();
        match text.parse::<Cidr>() {
            Ok(network) if !is_host(network.addr()) || network.prefix_len() == 0 => {
                let why = format!("{network} cannot be the address of a port");
                let remedy = "write ADDRESS/LENGTH with the router's own address";
                complaints.text(column.name, text, 0, why, remedy);
            }
            Ok(network) if networks.iter().any(|known| known.addr() == network.addr()) => {
                let why = format!("{} is there twice", network.addr());
                complaints.text(column.name, text, 0, why, "write it once");
            }
            Ok(network) => networks.push(network),
            Err(error) => complaints.address(column.name, text, &error),
        }
    }
    networks
}

/// Whether one host can have this address.
fn is_host(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() || is_broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(mac: &str, networks: &[&str]) -> (Option<RouterPort>, Vec<String>) {
        let row = LogicalRouterPort {
            name: "lrp".into(),
            mac: mac.into(),
            networks: networks.iter().map(|text| Arc::from(*text)).collect(),
            ..Default::default()
        };
        let (port, problems) = RouterPort::parse(Uuid::nil(), &row.to_row());
        let texts = problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.column, problem.why));
        (port, texts.collect())
    }

    #[test]
    fn what_is_no_port_says_why() {
        for mac in ["", "01:00:00:00:00:01", "00:00:00:00:00:00"] {
            let (port, problems) = parse(mac, &[]);
            assert_eq!((port, problems.len()), (None, 1), "{mac}");
        }
    }

    #[test]
    fn a_bad_network_costs_itself_alone() {
        let networks = [
            "10.0.0.1/24",
            "10.0.1.1/33",
            "224.0.0.1/24",
            "10.0.2.1/0",
            "fd00::1/64",
        ];
        let (port, problems) = parse("02:00:00:00:00:01", &networks);
        let networks = port.unwrap().networks;
        assert_eq!(networks.len(), 2, "{networks:?}");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn a_neighbour_is_spoken_to_from_its_network() {
        let networks = ["10.0.0.1/24", "10.0.1.1/24", "fd00::1/64"];
        let (port, _) = parse("02:00:00:00:00:01", &networks);
        let port = port.unwrap();
        for (neighbour, source) in [
            ("10.0.1.7", Some("10.0.1.1")),
            ("10.9.9.9", Some("10.0.0.1")),
            ("fd00::7", Some("fd00::1")),
            ("fe80::7", Some("fe80::ff:fe00:1")),
        ] {
            let found = port.source_towards(neighbour.parse().unwrap());
            assert_eq!(found, source.map(|ip| ip.parse().unwrap()), "{neighbour}");
        }
    }
}
