//! `Logical_Switch_Port`: a guest, a container, or a door to a physical network.
//!
//! A bad entry of a list (`addresses`, `port_security`) costs that entry alone. Two exceptions keep a mistake from opening
//! a door: when entries of `port_security` were written and none can be read, the port may send nothing; and a container
//! without a usable tag is no port at all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use addr::{DynamicIps, LspAddress, Mac, MacAndIps, PortKey, PortSecurity};
use nb_db::tables::LogicalSwitchPort;
use ovsdb::typed::TableDefinition;
use ovsdb::{Datum, Row};
use uuid::Uuid;

use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};

/// More entries than this in a list of addresses are refused.
const MAX_ENTRIES: usize = 4096;

/// A logical switch port that makes sense by itself. Whether its parent exists, and which tag it gets, is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `name`: the interface's `iface-id`.
    pub name: Arc<str>,
    /// What kind of port it is, with what only that kind has.
    pub kind: PortKind,
    /// Whether it takes part at all (`enabled`).
    pub is_enabled: bool,
    /// The MACs behind it, each with its IP addresses.
    pub addresses: Vec<MacAndIps>,
    /// What it asks to be given (`dynamic`).
    pub dynamic: Option<Dynamic>,
    /// Whether it also takes frames for addresses that nobody has (`unknown`).
    pub is_unknown: bool,
    /// What it may send.
    pub security: Security,
    /// `dhcpv4_options`.
    pub dhcp4: Option<Uuid>,
    /// `dhcpv6_options`.
    pub dhcp6: Option<Uuid>,
    /// `options:hostname`, told to DHCP clients.
    pub hostname: Option<Arc<str>>,
    /// `options:requested-tnl-key`.
    pub requested_key: Option<u16>,
    /// `options:requested-chassis`: names or host names; the first is the main one.
    pub requested_chassis: Vec<Arc<str>>,
    /// Whether others' ARP and ND requests for its addresses are answered on its behalf.
    pub is_answered_for: bool,
    /// Whether it gets copies of what is sent to groups.
    pub takes_multicast: bool,
    /// `mirror_rules`: rows of `Mirror`.
    pub mirrors: Vec<Uuid>,
    /// Whether addresses that nobody has declared are learned at it (`options:lsp_learn_mac`).
    pub is_learned_from: bool,
    /// Whether its own addresses, too, are looked for where they were learned (`options:force_fdb_lookup`).
    pub is_looked_up: bool,
    /// Whether what is sent to it goes to all ports with `unknown` addresses, too (`options:pkt_clone_type`).
    pub is_copied: bool,
    /// Columns that go southbound as they are.
    pub verbatim: Verbatim,
}

/// What a port asks to be given: a MAC and addresses, but for those that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    /// The port's name.
    pub name: Arc<str>,
    /// The MAC that it has anyway.
    pub mac: Option<Mac>,
    /// The addresses that it has anyway.
    pub ips: DynamicIps,
}

/// The type of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortKind {
    /// A guest with an interface of its own, or a container.
    Vif {
        /// For a container: where it lives.
        nested: Option<Nested>,
    },
    /// A door to the physical network that each chassis' bridge mappings know by this name.
    Localnet {
        /// `options:network_name`.
        network: Arc<str>,
        /// The VLAN on that network.
        tag: Option<u16>,
        /// Whether addresses seen there are learned.
        learns: bool,
    },
    /// A port that exists on every chassis and never crosses between them.
    Localport,
    /// The end of a link to a router, on the switch.
    Router {
        /// `options:router-port`: the router's end.
        peer: Option<Arc<str>>,
        /// Whether the router's port says which addresses are here (`router` among `addresses`).
        takes_addresses: bool,
        /// Which addresses beside the router's own the router's chassis announces here (`options:nat-addresses`).
        announced: Announced,
        /// Whether it announces the router's own (`options:exclude-router-ips-from-garp`).
        announces_router: bool,
        /// Whether it announces virtual addresses (`options:exclude-lb-vips-from-garp`).
        announces_vips: bool,
        /// Whether it is to have a connection tracking zone, and rules asked as of guests (`options:enable_router_port_acl`).
        has_acls: bool,
    },
    /// The end of a link to another switch.
    Switch {
        /// `peer`: the other switch's end.
        peer: Option<Arc<str>>,
    },
    /// A door to the physical network of this name, on one chassis (`options:l2gateway-chassis`).
    L2Gateway {
        /// The VLAN on that network.
        tag: Option<u16>,
    },
    /// A guest behind a physical network, without an interface of any chassis; one chassis answers it.
    External {
        /// `ha_chassis_group`: a northbound row.
        group: Option<Uuid>,
    },
    /// An address that belongs to one of several guests, whichever announces it.
    Virtual {
        /// `options:virtual-ip`.
        ip: Option<IpAddr>,
        /// `options:virtual-parents`: the guests' ports.
        parents: BTreeSet<Arc<str>>,
    },
    /// A port of another deployment, in a switch that both share.
    Remote,
    /// The port of a switch in hardware.
    Vtep,
}

/// Addresses that the chassis of a router announces in a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announced {
    /// None.
    None,
    /// The outside addresses of its NAT rules.
    Router,
    /// These.
    These(MacAndIps),
}

/// A container's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// `parent_name`.
    pub parent: Arc<str>,
    /// The VLAN that it must have; nothing lets northd choose.
    pub tag: Option<u16>,
    /// The VLAN that northd chose before, kept if it is still free.
    pub previous_tag: Option<u16>,
}

/// What a port may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Anything.
    Open,
    /// What `port_security` says.
    Restricted,
    /// Nothing: what `port_security` says cannot be understood.
    Closed,
}

/// Columns that are copied to the southbound database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verbatim {
    /// The readable entries of `addresses`.
    pub mac: Datum,
    /// The readable entries of `port_security`.
    pub port_security: Datum,
    /// `options`.
    pub options: Datum,
    /// `external_ids`.
    pub external_ids: Datum,
}

impl Port {
    /// Reads a row. Nothing comes of a row that cannot be a port at all; the problems say why.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let name: Arc<str> = LogicalSwitchPort::COLUMN.name.get(row);
        let mut complaints = Complaints::about(LogicalSwitchPort::NAME, uuid, Arc::clone(&name));
        let port = Self::parse_with(name, row, &mut complaints);
        (port, complaints.into_problems())
    }

    /// The container's place, if it is one.
    pub fn nested(&self) -> Option<&Nested> {
        match &self.kind {
            PortKind::Vif { nested } => nested.as_ref(),
            _ => None,
        }
    }

    fn parse_with(name: Arc<str>, row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalSwitchPort::COLUMN;
        let options_datum = row.get(column.options.index);
        let options = Options::read(column.options.name, options_datum);
        if name.is_empty() {
            complaints.column(
                column.name.name,
                "the name is empty",
                "give the port a name",
            );
            return None;
        }
        let kind = parse_kind(row, &options, complaints)?;
        let Addresses {
            fixed,
            dynamic,
            is_unknown,
            mac,
        } = parse_addresses(row, &kind, complaints);
        let dynamic = dynamic.map(|(mac, ips)| Dynamic {
            name: Arc::clone(&name),
            mac,
            ips,
        });
        let (security, port_security) = parse_security(row, complaints);
        check_strategy(&options, complaints);
        let is_link = matches!(kind, PortKind::Router { .. } | PortKind::Switch { .. });
        let may_be_copied = !is_link && !matches!(kind, PortKind::External { .. });
        let requested = options.text("requested-chassis").unwrap_or_default();
        let requested_chassis = requested
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(Arc::from)
            .collect();
        Some(Self {
            name,
            kind,
            is_enabled: column.enabled.get(row).unwrap_or(true),
            addresses: fixed,
            dynamic,
            is_unknown,
            security,
            dhcp4: column.dhcpv4_options.get(row),
            dhcp6: column.dhcpv6_options.get(row),
            hostname: options.text("hostname").map(Arc::from),
            requested_key: options.number("requested-tnl-key", 1..=PortKey::MAX_PORT, complaints),
            requested_chassis,
            is_answered_for: !options.truth("disable_arp_nd_rsp", false, complaints),
            takes_multicast: options.truth("receive_multicast", true, complaints),
            mirrors: column.mirror_rules.get(row),
            is_learned_from: options.truth("lsp_learn_mac", true, complaints),
            is_looked_up: options.truth("force_fdb_lookup", false, complaints) && is_unknown,
            is_copied: parse_copies(&options, complaints) && may_be_copied,
            verbatim: Verbatim {
                mac,
                port_security,
                options: options_datum.clone(),
                external_ids: row.get(column.external_ids.index).clone(),
            },
        })
    }
}

fn parse_kind(row: &Row, options: &Options<'_>, complaints: &mut Complaints) -> Option<PortKind> {
    let column = LogicalSwitchPort::COLUMN;
    let kind: Arc<str> = column.r#type.get(row);
    match &*kind {
        "" => Some(PortKind::Vif {
            nested: parse_nested(row, complaints)?,
        }),
        "localnet" => {
            let Some(network) = options.text("network_name").filter(|name| !name.is_empty()) else {
                let remedy = "set options:network_name to a name of the chassis' bridge mappings";
                complaints.column(
                    column.options.name,
                    "a localnet port has no network_name",
                    remedy,
                );
                return None;
            };
            Some(PortKind::Localnet {
                network: Arc::from(network),
                tag: fixed_tag(row),
                learns: options.truth("localnet_learn_fdb", false, complaints),
            })
        }
        "localport" => Some(PortKind::Localport),
        "router" => Some(parse_router(row, options, complaints)),
        "switch" => Some(parse_switch(row, complaints)),
        "l2gateway" => parse_l2gateway(row, options, complaints),
        "external" => Some(parse_external(row, complaints)),
        "virtual" => Some(parse_virtual(options, complaints)),
        "remote" => Some(PortKind::Remote),
        "vtep" => Some(parse_vtep(options, complaints)),
        other => {
            let why = "there is no such type of port";
            let remedy = "leave it empty for a guest, or write router, switch, localnet, localport, l2gateway, external, virtual, vtep or remote";
            complaints.text(column.r#type.name, other, 0, why, remedy);
            None
        }
    }
}

/// What chassis do not understand does not hold a guest back that comes by migration.
fn check_strategy(options: &Options<'_>, complaints: &mut Complaints) {
    let text = options.text("activation-strategy").unwrap_or_default();
    let mut place = 0;
    for word in text.split(',') {
        let at = place + word.len() - word.trim_start().len();
        place += word.len() + 1;
        if ["", "rarp", "garp", "na"].contains(&word.trim()) {
            continue;
        }
        let why = "activation-strategy has rarp, garp and na";
        let remedy = "this one is ignored: correct it";
        complaints.text(
            LogicalSwitchPort::COLUMN.options.name,
            text,
            at,
            why,
            remedy,
        );
    }
}

fn parse_copies(options: &Options<'_>, complaints: &mut Complaints) -> bool {
    match options.text("pkt_clone_type") {
        None | Some("") => false,
        Some("mc_unknown") => true,
        Some(text) => {
            let why = "pkt_clone_type is mc_unknown or nothing";
            let remedy = "nothing is copied: correct it";
            complaints.text(LogicalSwitchPort::COLUMN.options.name, text, 0, why, remedy);
            false
        }
    }
}

fn parse_switch(row: &Row, complaints: &mut Complaints) -> PortKind {
    let column = LogicalSwitchPort::COLUMN.peer;
    let peer = column.get(row).filter(|peer| !peer.is_empty());
    if peer.is_none() {
        let why = "a port of type switch has no peer and leads nowhere";
        let remedy = "write the name of the other switch's port of type switch";
        complaints.column(column.name, why, remedy);
    }
    PortKind::Switch { peer }
}

fn parse_l2gateway(
    row: &Row,
    options: &Options<'_>,
    complaints: &mut Complaints,
) -> Option<PortKind> {
    let column = LogicalSwitchPort::COLUMN.options.name;
    let mut is_whole = true;
    for (key, what) in [
        ("network_name", "a name of the chassis' bridge mappings"),
        (
            "l2gateway-chassis",
            "the name of the chassis that is the gateway",
        ),
    ] {
        if options.text(key).is_none_or(str::is_empty) {
            is_whole = false;
            let why = format!("a port of type l2gateway has no {key}");
            complaints.column(column, why, format!("set options:{key} to {what}"));
        }
    }
    let tag = fixed_tag(row);
    is_whole.then_some(PortKind::L2Gateway { tag })
}

fn parse_external(row: &Row, complaints: &mut Complaints) -> PortKind {
    let column = LogicalSwitchPort::COLUMN.ha_chassis_group;
    let group = column.get(row);
    if group.is_none() {
        let why = "no chassis answers an external port without an HA_Chassis_Group";
        let remedy = "set ha_chassis_group to the group of those that may";
        complaints.column(column.name, why, remedy);
    }
    PortKind::External { group }
}

fn parse_virtual(options: &Options<'_>, complaints: &mut Complaints) -> PortKind {
    let column = LogicalSwitchPort::COLUMN.options.name;
    let text = options.text("virtual-ip").unwrap_or_default();
    let ip = text.parse().ok();
    if ip.is_none() {
        let why = "virtual-ip is not an IP address: nobody can have it";
        let remedy = "set options:virtual-ip to the address that moves";
        complaints.text(column, text, 0, why, remedy);
    }
    let parents = options.text("virtual-parents").unwrap_or_default();
    let parents = parents.split(',').map(str::trim);
    let parents: BTreeSet<Arc<str>> = parents
        .filter(|name| !name.is_empty())
        .map(Arc::from)
        .collect();
    if parents.is_empty() {
        let why = "a virtual port has no virtual-parents: nobody can have its address";
        let remedy = "set options:virtual-parents to the names of the guests' ports";
        complaints.column(column, why, remedy);
    }
    PortKind::Virtual { ip, parents }
}

fn parse_vtep(options: &Options<'_>, complaints: &mut Complaints) -> PortKind {
    for key in ["vtep-physical-switch", "vtep-logical-switch"] {
        if options.text(key).is_none_or(str::is_empty) {
            let column = LogicalSwitchPort::COLUMN.options.name;
            let why = format!("a port of type vtep has no {key}: no gateway takes it");
            let remedy = format!("set options:{key} to the name that the gateway's database has");
            complaints.column(column, why, remedy);
        }
    }
    PortKind::Vtep
}

fn parse_router(row: &Row, options: &Options<'_>, complaints: &mut Complaints) -> PortKind {
    let column = LogicalSwitchPort::COLUMN;
    let peer = options
        .text("router-port")
        .filter(|name| !name.is_empty())
        .map(Arc::from);
    if peer.is_none() {
        let remedy = "set options:router-port to the name of the router's port";
        let why = "a port of type router has no router-port and leads nowhere";
        complaints.column(column.options.name, why, remedy);
    }
    let mut addresses = row.get(column.addresses.index).atoms().iter();
    let announced = match options.text("nat-addresses") {
        None | Some("") => Announced::None,
        Some("router") => Announced::Router,
        Some(text) => match text.parse::<MacAndIps>() {
            Ok(these) => Announced::These(these),
            Err(error) => {
                complaints.address(column.options.name, text, &error);
                Announced::None
            }
        },
    };
    PortKind::Router {
        peer,
        announced,
        announces_router: !options.truth("exclude-router-ips-from-garp", false, complaints),
        has_acls: options.truth("enable_router_port_acl", false, complaints),
        announces_vips: !options.truth("exclude-lb-vips-from-garp", false, complaints),
        takes_addresses: addresses.any(|atom| atom.as_str().map(str::trim) == Some("router")),
    }
}

/// The outer `None` is a container that cannot be one.
#[expect(
    clippy::option_option,
    reason = "no port, a port that is no container, and a container are three answers"
)]
fn parse_nested(row: &Row, complaints: &mut Complaints) -> Option<Option<Nested>> {
    let column = LogicalSwitchPort::COLUMN;
    let Some(parent) = column
        .parent_name
        .get(row)
        .filter(|parent| !parent.is_empty())
    else {
        return Some(None);
    };
    let previous_tag = column.tag.get(row).and_then(vlan);
    let tag = match column.tag_request.get(row) {
        Some(0) => None,
        Some(requested) => vlan(requested),
        None if previous_tag.is_some() => previous_tag,
        None => {
            let remedy = "set tag_request to a VLAN, or to 0 to have one chosen";
            complaints.column(
                column.tag_request.name,
                "a container has neither tag_request nor tag",
                remedy,
            );
            return None;
        }
    };
    Some(Some(Nested {
        parent,
        tag,
        previous_tag,
    }))
}

/// The VLAN of a localnet port: what is requested, else what is written.
fn fixed_tag(row: &Row) -> Option<u16> {
    let column = LogicalSwitchPort::COLUMN;
    let requested = column.tag_request.get(row).and_then(vlan);
    requested.or_else(|| column.tag.get(row).and_then(vlan))
}

fn vlan(tag: i64) -> Option<u16> {
    u16::try_from(tag)
        .ok()
        .filter(|tag| (1..=4095).contains(tag))
}

struct Addresses {
    fixed: Vec<MacAndIps>,
    dynamic: Option<(Option<Mac>, DynamicIps)>,
    is_unknown: bool,
    mac: Datum,
}

fn parse_addresses(row: &Row, kind: &PortKind, complaints: &mut Complaints) -> Addresses {
    let column = LogicalSwitchPort::COLUMN.addresses;
    let datum = row.get(column.index);
    let mut fixed = Vec::new();
    let mut dynamic = None;
    let mut is_unknown = false;
    let mut good = Vec::with_capacity(datum.len());
    if datum.len() > MAX_ENTRIES {
        let why = format!("{} entries are more than {MAX_ENTRIES}", datum.len());
        complaints.column(column.name, why, "those beyond are ignored: split the port");
    }
    for atom in datum.atoms().iter().take(MAX_ENTRIES) {
        let text = atom.as_str().unwrap_or_default();
        match text.parse::<LspAddress>() {
            Ok(LspAddress::Fixed(entry)) if entry.mac.is_multicast() || entry.mac.is_zero() => {
                let why = format!("{} cannot be the address of one port", entry.mac);
                complaints.text(column.name, text, 0, why, "write a unicast MAC");
                continue;
            }
            Ok(LspAddress::Fixed(entry)) => fixed.push(entry),
            Ok(LspAddress::Unknown) => is_unknown = true,
            Ok(LspAddress::Router) if matches!(kind, PortKind::Router { .. }) => {}
            Ok(LspAddress::Router) => {
                let why = "only a port of type router takes its router's addresses";
                complaints.text(column.name, text, 0, why, "write MAC [IP..]");
                continue;
            }
            Ok(LspAddress::Dynamic { mac, .. })
                if mac.is_some_and(|mac| mac.is_multicast() || mac.is_zero()) =>
            {
                let why = "this cannot be the MAC of one port";
                complaints.text(column.name, text, 0, why, "write a unicast MAC");
                continue;
            }
            Ok(LspAddress::Dynamic { mac, ips }) => {
                if dynamic.is_none() {
                    dynamic = Some((mac, ips));
                } else {
                    let why = "a port is given addresses once";
                    complaints.text(column.name, text, 0, why, "remove one of the two");
                }
                continue;
            }
            Err(error) => {
                complaints.address(column.name, text, &error);
                continue;
            }
        }
        good.push(atom.clone());
    }
    let mac = if good.len() == datum.len() {
        datum.clone()
    } else {
        Datum::set(good)
    };
    Addresses {
        fixed,
        dynamic,
        is_unknown,
        mac,
    }
}

fn parse_security(row: &Row, complaints: &mut Complaints) -> (Security, Datum) {
    let column = LogicalSwitchPort::COLUMN.port_security;
    let datum = row.get(column.index);
    let mut good = Vec::with_capacity(datum.len());
    for atom in datum.atoms().iter().take(MAX_ENTRIES) {
        let text = atom.as_str().unwrap_or_default();
        match text.parse::<PortSecurity>() {
            Ok(_) => good.push(atom.clone()),
            Err(error) => complaints.address(column.name, text, &error),
        }
    }
    let security = match (datum.len(), good.len()) {
        (0, _) => Security::Open,
        (_, 0) => {
            let remedy =
                "the port may send nothing until one is; an empty column lets it send everything";
            complaints.column(column.name, "no entry can be read", remedy);
            Security::Closed
        }
        _ => Security::Restricted,
    };
    let datum = if good.len() == datum.len() {
        datum.clone()
    } else {
        Datum::set(good)
    };
    (security, datum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: impl FnOnce(&mut LogicalSwitchPort)) -> (Option<Port>, Vec<String>) {
        let mut row = LogicalSwitchPort {
            name: "p".into(),
            ..Default::default()
        };
        change(&mut row);
        let (port, problems) = Port::parse(Uuid::nil(), &row.to_row());
        let texts = problems.iter().map(|problem| {
            let place = problem
                .place
                .as_ref()
                .map_or(String::new(), |(text, offset)| {
                    format!(" {text:?}@{offset}")
                });
            format!("{}{place}: {}", problem.column, problem.why)
        });
        (port, texts.collect())
    }

    #[test]
    fn a_bad_entry_costs_itself_alone() {
        let (port, problems) = parse(|row| {
            row.addresses = vec![
                "02:00:00:00:00:01 10.0.0.1".into(),
                "02:00:00:00:00:02 10.0.0.256".into(),
            ];
        });
        let port = port.unwrap();
        assert_eq!(port.addresses.len(), 1);
        assert_eq!(port.verbatim.mac.atoms().len(), 1);
        assert_eq!(
            problems,
            [r#"addresses "02:00:00:00:00:02 10.0.0.256"@18: "10.0.0.256" is not an IP address"#]
        );
    }

    #[test]
    fn security_that_cannot_be_read_opens_no_door() {
        for (entries, security) in [
            (vec![], Security::Open),
            (vec!["02:00:00:00:00:01"], Security::Restricted),
            (vec!["02:00:00:00:00:01", "nonsense"], Security::Restricted),
            (vec!["nonsense"], Security::Closed),
        ] {
            let entries: Vec<Arc<str>> = entries.into_iter().map(Arc::from).collect();
            let (port, _) = parse(|row| row.port_security = entries);
            assert_eq!(port.unwrap().security, security);
        }
    }

    #[test]
    fn containers_have_a_tag_or_ask_for_one() {
        for (request, tag, expected) in [
            (Some(51), None, Some((Some(51), None))),
            (Some(0), Some(7), Some((None, Some(7)))),
            (None, Some(7), Some((Some(7), Some(7)))),
            (None, None, None),
        ] {
            let (port, problems) = parse(|row| {
                row.parent_name = Some("vm".into());
                row.tag_request = request;
                row.tag = tag;
            });
            let nested = port.as_ref().and_then(Port::nested);
            assert_eq!(
                nested.map(|nested| (nested.tag, nested.previous_tag)),
                expected
            );
            assert_eq!(problems.is_empty(), expected.is_some());
        }
    }

    #[test]
    fn what_is_no_port_says_why() {
        for (kind, problem) in [
            (
                "lokalnet",
                r#"type "lokalnet"@0: there is no such type of port"#,
            ),
            ("localnet", "options: a localnet port has no network_name"),
        ] {
            let (port, problems) = parse(|row| row.r#type = kind.into());
            assert_eq!((port, problems), (None, vec![problem.to_owned()]));
        }
    }

    #[test]
    fn ports_of_every_type_say_what_they_lack() {
        for (kind, is_port, wanted) in [
            (
                "l2gateway",
                false,
                &[
                    "options: a port of type l2gateway has no network_name",
                    "options: a port of type l2gateway has no l2gateway-chassis",
                ][..],
            ),
            (
                "switch",
                true,
                &["peer: a port of type switch has no peer and leads nowhere"],
            ),
            (
                "external",
                true,
                &[
                    "ha_chassis_group: no chassis answers an external port without an HA_Chassis_Group",
                ],
            ),
            (
                "virtual",
                true,
                &[
                    r#"options ""@0: virtual-ip is not an IP address: nobody can have it"#,
                    "options: a virtual port has no virtual-parents: nobody can have its address",
                ],
            ),
            (
                "vtep",
                true,
                &[
                    "options: a port of type vtep has no vtep-physical-switch: no gateway takes it",
                    "options: a port of type vtep has no vtep-logical-switch: no gateway takes it",
                ],
            ),
            ("remote", true, &[]),
        ] {
            let (port, problems) = parse(|row| row.r#type = kind.into());
            assert_eq!(
                (port.is_some(), &problems[..]),
                (
                    is_port,
                    wanted
                        .iter()
                        .map(|text| (*text).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice()
                ),
                "{kind}"
            );
        }
    }

    #[test]
    fn options_are_read_or_complained_about() {
        let (port, problems) = parse(|row| {
            for (key, value) in [
                ("requested-tnl-key", "99999"),
                ("requested-chassis", "hv1, hv2"),
                ("receive_multicast", "no"),
                ("activation-strategy", "rarp,arp"),
                ("pkt_clone_type", "all"),
                ("vif-plug:representor:pf-mac", "x"),
            ] {
                row.options.insert(key.into(), value.into());
            }
        });
        let port = port.unwrap();
        assert_eq!(port.requested_chassis, [Arc::from("hv1"), Arc::from("hv2")]);
        assert!(port.takes_multicast && port.requested_key.is_none());
        assert_eq!(
            problems,
            [
                r#"options "rarp,arp"@5: activation-strategy has rarp, garp and na"#,
                r#"options "99999"@0: requested-tnl-key is not a number from 1 to 32767"#,
                r#"options "no"@0: receive_multicast is neither true nor false"#,
                r#"options "all"@0: pkt_clone_type is mc_unknown or nothing"#,
            ]
        );
    }
}
