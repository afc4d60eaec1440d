//! Who should hear whom: a model of a switch, from northbound rows alone, without stages, flows or increments.
//!
//! Of the southbound it takes only what northd is free to choose: tunnel keys, which say who had an address first, and
//! whether a container could be given its tag.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use addr::{LspAddress, Mac, MacAndIps, PortSecurity};
use lflow::Base;
use lflow::interp::State;
use nb_db::tables as nb;
use ovsdb::Uuid;
use sb_db::tables as sb;

use super::World;
use super::packet::{Content, Packet, allows};

/// A switch that works.
pub struct Switch {
    pub datapath: u32,
    passes_tags: bool,
    /// The port of a router to which DHCP requests go that are not answered.
    relay: Option<Arc<str>>,
    pub ports: Vec<Port>,
}

/// A port that works.
#[derive(Debug)]
pub struct Port {
    pub name: Arc<str>,
    key: i64,
    is_localnet: bool,
    is_router: bool,
    /// Behind a physical network, whose doors its packets come by.
    is_external: bool,
    /// A switch in hardware.
    is_hardware: bool,
    /// The address of a virtual port.
    moving: Option<IpAddr>,
    is_virtual: bool,
    is_remote: bool,
    is_switch: bool,
    is_enabled: bool,
    is_unknown: bool,
    is_closed: bool,
    is_copied: bool,
    is_learning: bool,
    hears_groups: bool,
    is_answered_for: bool,
    entries: Vec<MacAndIps>,
    /// The addresses of the router's port that it leads to.
    link: Option<MacAndIps>,
    security: Vec<Arc<str>>,
    dhcp: Option<(IpAddr, Mac)>,
}

/// What should happen to a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// These ports get it as it is; it may be nobody.
    Heard(BTreeSet<Arc<str>>),
    /// The sender gets an answer from this MAC.
    Answered(Mac),
}

/// All switches.
pub fn switches(world: &World) -> Vec<Switch> {
    let rows: BTreeMap<Uuid, nb::LogicalSwitchPort> = world.nb().into_iter().collect();
    let bindings: BTreeMap<Arc<str>, sb::PortBinding> = world
        .sb::<sb::PortBinding>()
        .into_iter()
        .map(|(_, row)| (Arc::clone(&row.logical_port), row))
        .collect();
    let datapaths: BTreeMap<Uuid, (u32, Arc<str>)> = world
        .sb::<sb::DatapathBinding>()
        .into_iter()
        .map(|(uuid, row)| {
            (
                uuid,
                (
                    u32::try_from(row.tunnel_key).expect("small"),
                    row.external_ids
                        .get("logical-switch")
                        .cloned()
                        .unwrap_or_default(),
                ),
            )
        })
        .collect();
    let dhcp: BTreeMap<Uuid, nb::DhcpOptions> = world.nb().into_iter().collect();
    let routers = linked(world);
    let mut found = Vec::new();
    for (uuid, row) in world.nb::<nb::LogicalSwitch>() {
        let (datapath_row, (datapath, _)) = datapaths
            .iter()
            .find(|(_, (_, switch))| **switch == *uuid.to_string())
            .expect("every switch has a datapath");
        let ports = row
            .ports
            .iter()
            .filter_map(|port| rows.get(port))
            .filter_map(|row| {
                let binding = bindings
                    .get(&row.name)
                    .filter(|binding| binding.datapath == *datapath_row)?;
                Some(port(row, binding, &dhcp, &routers))
            });
        let ports: Vec<Port> = ports.collect();
        let relay = row.other_config.get("dhcp_relay_port").filter(|name| {
            ports
                .iter()
                .any(|port| port.name == **name && port.link.is_some())
        });
        found.push(Switch {
            datapath: *datapath,
            relay: relay.cloned(),
            passes_tags: row
                .other_config
                .get("vlan-passthru")
                .is_some_and(|value| &**value == "true"),
            ports,
        });
    }
    found
}

fn port(
    row: &nb::LogicalSwitchPort,
    binding: &sb::PortBinding,
    dhcp: &BTreeMap<Uuid, nb::DhcpOptions>,
    routers: &BTreeMap<Arc<str>, MacAndIps>,
) -> Port {
    let option = |key: &str, value: &str| row.options.get(key).is_some_and(|text| &**text == value);
    let mut entries: Vec<MacAndIps> = row
        .addresses
        .iter()
        .filter_map(|text| match text.parse() {
            Ok(LspAddress::Fixed(entry)) if entry.mac.0[0] & 1 == 0 => Some(entry),
            _ => None,
        })
        .collect();
    let asks = |text: &Arc<str>| matches!(text.parse(), Ok(LspAddress::Dynamic { .. }));
    if row.addresses.iter().any(asks)
        && let Some(given) = &row.dynamic_addresses
    {
        entries.push(given.parse().expect("what northd writes is well-made"));
    }
    let link = routers.get(&row.name).cloned();
    if row.addresses.iter().any(|text| &**text == "router") {
        entries.extend(link.clone());
    }
    let is_unknown = row.addresses.iter().any(|text| &**text == "unknown");
    let readable = row
        .port_security
        .iter()
        .filter(|text| text.parse::<PortSecurity>().is_ok())
        .count();
    let is_localnet = &*row.r#type == "localnet";
    let may_learn = match &*row.r#type {
        "localnet" => option("localnet_learn_fdb", "true"),
        "" | "switch" => true,
        _ => false,
    };
    let is_enabled = row.enabled != Some(false);
    Port {
        name: Arc::clone(&row.name),
        key: binding.tunnel_key,
        is_localnet,
        is_router: &*row.r#type == "router",
        is_external: &*row.r#type == "external",
        is_hardware: &*row.r#type == "vtep",
        is_virtual: &*row.r#type == "virtual",
        is_remote: &*row.r#type == "remote",
        is_switch: &*row.r#type == "switch",
        moving: (row.options.get("virtual-ip"))
            .filter(|_| &*row.r#type == "virtual")
            .and_then(|ip| ip.parse().ok()),
        is_enabled,
        is_unknown,
        is_closed: !row.port_security.is_empty() && readable == 0,
        is_learning: may_learn && is_enabled && is_unknown && row.port_security.is_empty(),
        is_copied: option("pkt_clone_type", "mc_unknown")
            && is_enabled
            && !matches!(&*row.r#type, "router" | "switch" | "external"),
        hears_groups: !option("receive_multicast", "false"),
        is_answered_for: !option("disable_arp_nd_rsp", "true"),
        entries,
        link,
        security: row.port_security.clone(),
        dhcp: row
            .dhcpv4_options
            .and_then(|options| dhcp.get(&options))
            .and_then(server),
    }
}

/// The addresses of the router's port that each port of type router leads to. Of several, the one has it that the southbound says,
/// since that depends on what was before; without any such, the first.
fn linked(world: &World) -> BTreeMap<Arc<str>, MacAndIps> {
    // Of several rows, the first by UUID counts.
    let routers: BTreeMap<Uuid, nb::LogicalRouter> = world.nb().into_iter().collect();
    let of_router = |port: Uuid| {
        let first = routers.iter().find(|(_, row)| row.ports.contains(&port));
        first.is_some_and(|(_, row)| row.enabled != Some(false))
    };
    let ends = world.nb::<nb::LogicalRouterPort>();
    let switches = world.nb::<nb::LogicalSwitch>();
    let bindings = world.sb::<sb::PortBinding>().into_iter();
    let held: BTreeMap<Arc<str>, Arc<str>> = bindings
        .filter_map(|(_, row)| Some((row.logical_port, row.options.get("peer")?.clone())))
        .collect();
    let mut linked: BTreeMap<Arc<str>, (Arc<str>, MacAndIps)> = BTreeMap::new();
    let ports: BTreeMap<Uuid, nb::LogicalSwitchPort> = world.nb().into_iter().collect();
    for (uuid, row) in ports {
        let is_somewhere = switches.iter().any(|(_, of)| of.ports.contains(&uuid));
        let end = ends.iter().find(|(end, of)| {
            row.options.get("router-port") == Some(&of.name)
                && of.mac.parse::<Mac>().is_ok_and(|mac| !mac.is_multicast())
                && of_router(*end)
        });
        if let Some((_, end)) = end.filter(|_| &*row.r#type == "router" && is_somewhere)
            && (!linked.contains_key(&end.name) || held.get(&end.name) == Some(&row.name))
        {
            let mac: Mac = end.mac.parse().expect("checked");
            let networks = end.networks.iter();
            let networks = networks.filter_map(|text| text.parse::<addr::Cidr>().ok());
            let ips = networks.filter(|network| !network.addr().is_multicast());
            let link_local = addr::Cidr::host(mac.link_local().into());
            let ips = ips.chain([link_local]).collect();
            linked.insert(end.name.clone(), (row.name, MacAndIps { mac, ips }));
        }
    }
    linked.into_values().collect()
}

/// Who answers DHCP requests, for these options: the network's address and the server's MAC.
fn server(options: &nb::DhcpOptions) -> Option<(IpAddr, Mac)> {
    options
        .cidr
        .parse::<addr::Cidr>()
        .ok()
        .filter(|cidr| cidr.is_ipv4())?;
    let get = |key: &str| options.options.get(key);
    get("lease_time")?;
    get("server_id")?;
    Some((
        get("server_id")?.parse().ok()?,
        get("server_mac")?.parse().ok()?,
    ))
}

impl Switch {
    /// What should happen to a packet that the port sends. `learned` tells where an undeclared address was last seen.
    pub fn fate(
        &self,
        sender: &Port,
        packet: &Packet,
        learned: &dyn Fn(Mac) -> Option<Arc<str>>,
        world: &World,
    ) -> Fate {
        let state = packet.state();
        let nobody = Fate::Heard(BTreeSet::new());
        let is_admitted = sender.is_enabled
            && !sender.is_closed
            && packet.src.0[0] & 1 == 0
            && (!packet.is_tagged || self.passes_tags)
            && (sender.is_hardware || allows(&sender.security, &state, true));
        if !is_admitted {
            return nobody;
        }
        if sender.is_hardware {
            return Fate::Heard(self.receivers(sender, packet, &state, learned));
        }
        let is_answered = !sender.is_localnet && !self.passes_tags && packet.dst.is_multicast();
        if is_answered
            && let Content::Arp(_, target) = packet.content
            && let Some(mac) = self.answer(sender, target.into())
        {
            return Fate::Answered(mac);
        }
        if is_answered
            && let Content::Solicitation(_, target) = packet.content
            && let Some(mac) = self.answer(sender, target.into())
        {
            return Fate::Answered(mac);
        }
        if let Some(mac) = self.dhcp(sender, packet, world) {
            return Fate::Answered(mac);
        }
        Fate::Heard(self.receivers(sender, packet, &state, learned))
    }

    fn answer(&self, sender: &Port, target: IpAddr) -> Option<Mac> {
        let owner = self
            .ports
            .iter()
            .filter(|port| port.has(target))
            .min_by_key(|port| port.key)?;
        let answers_itself = owner.is_localnet || owner.is_external || owner.is_virtual;
        let is_answered =
            owner.is_enabled && !owner.is_unknown && owner.is_answered_for && !answers_itself;
        if !is_answered || owner.name == sender.name {
            return None;
        }
        owner.mac_of(target)
    }

    fn dhcp(&self, sender: &Port, packet: &Packet, world: &World) -> Option<Mac> {
        let is_doorless = sender.is_router || sender.is_virtual || sender.is_external;
        let is_other = sender.is_remote || sender.is_switch;
        if !matches!(packet.content, Content::Dhcp) || is_doorless || is_other {
            return None;
        }
        let sender = match sender.is_localnet {
            // Of those who say that they have it, the first has a MAC.
            true => {
                let has = |port: &&Port| port.entries.iter().any(|entry| entry.mac == packet.src);
                let first = self.ports.iter().filter(has).min_by_key(|port| port.key);
                first.filter(|port| port.is_external && port.is_enabled)?
            }
            false => sender,
        };
        let (_, mac) = sender.dhcp?;
        let row = world
            .nb::<nb::LogicalSwitchPort>()
            .into_iter()
            .find(|(_, row)| row.name == sender.name)?
            .1;
        let options = world
            .nb::<nb::DhcpOptions>()
            .into_iter()
            .find(|(uuid, _)| Some(*uuid) == row.dhcpv4_options)?
            .1;
        let network: addr::Cidr = options.cidr.parse().ok()?;
        let entries = sender
            .entries
            .iter()
            .filter(|entry| entry.mac == packet.src);
        entries
            .flat_map(|entry| &entry.ips)
            .any(|ip| network.network().contains(ip.addr()))
            .then_some(mac)
    }

    fn receivers(
        &self,
        sender: &Port,
        packet: &Packet,
        state: &State,
        learned: &dyn Fn(Mac) -> Option<Arc<str>>,
    ) -> BTreeSet<Arc<str>> {
        let is_group = packet.dst.0[0] & 1 == 1;
        let owner = self
            .ports
            .iter()
            .filter(|port| port.entries.iter().any(|entry| entry.mac == packet.dst))
            .min_by_key(|port| port.key);
        let known = match owner.filter(|owner| !owner.is_external) {
            Some(owner) => Some(Arc::clone(&owner.name)),
            None => learned(packet.dst),
        };
        let is_copied = owner.is_some_and(|owner| owner.is_copied && !owner.is_external);
        let request = self.request(packet, is_group);
        let is_relayed = matches!(packet.content, Content::Dhcp) && !sender.is_localnet;
        let relay = self.relay.as_ref().filter(|_| is_relayed);
        // One that is relayed is for the router alone.
        let mut state = state.clone();
        let router = self.ports.iter().find(|port| Some(&port.name) == relay);
        if let Some(link) = router.and_then(|port| port.link.as_ref()) {
            state = state.with(Base::EthDst, u128::from(link.mac.to_u64()));
        }
        let is_group = is_group && relay.is_none();
        let hears = |port: &&Port| {
            let is_meant = match (&known, &request) {
                _ if relay.is_some() => Some(&port.name) == relay,
                (_, Some(Request::OfRouter)) => port.hears_groups && !port.is_router,
                (_, Some(Request::ForRouter(router))) => {
                    port.name == *router || (port.hears_groups && !port.is_router)
                }
                _ if is_group => port.hears_groups,
                (Some(known), _) => port.name == *known || is_copied && port.is_unknown,
                (None, _) => port.is_unknown,
            };
            is_meant
                && port.is_enabled
                && port.name != sender.name
                && (is_group || allows(&readable(&port.security), &state, false))
        };
        self.ports
            .iter()
            .filter(hears)
            .map(|port| Arc::clone(&port.name))
            .collect()
    }
}

/// A request that does not go to everybody.
enum Request {
    /// A router asks.
    OfRouter,
    /// This port of a router is asked.
    ForRouter(Arc<str>),
}

impl Switch {
    fn request(&self, packet: &Packet, is_group: bool) -> Option<Request> {
        let target: IpAddr = match packet.content {
            Content::Arp(_, target) => target.into(),
            Content::Solicitation(_, target) => target.into(),
            _ => return None,
        };
        if !is_group {
            return None;
        }
        let first = |has: &dyn Fn(&&Port) -> bool| {
            let first = self.ports.iter().filter(has).min_by_key(|port| port.key);
            first.filter(|port| port.is_router && port.is_enabled)
        };
        if let Some(router) = first(&|port| port.has(target)) {
            return Some(Request::ForRouter(Arc::clone(&router.name)));
        }
        let sends = |port: &&Port| port.entries.iter().any(|entry| entry.mac == packet.src);
        let sender = first(&sends);
        sender.map(|_| Request::OfRouter)
    }
}

impl Port {
    /// The MAC of an address that is behind the port.
    fn mac_of(&self, ip: IpAddr) -> Option<Mac> {
        let mut entries = self.entries.iter().chain(&self.link);
        let entry = entries.find(|entry| entry.ips.iter().any(|known| known.addr() == ip))?;
        Some(entry.mac)
    }

    /// Whether the port says that it has an address.
    fn has(&self, ip: IpAddr) -> bool {
        self.mac_of(ip).is_some() || self.moving == Some(ip)
    }

    /// Whether the switch learns what the port sends.
    pub fn is_learning(&self) -> bool {
        self.is_learning
    }
}

fn readable(security: &[Arc<str>]) -> Vec<Arc<str>> {
    security
        .iter()
        .filter(|text| text.parse::<PortSecurity>().is_ok())
        .cloned()
        .collect()
}

/// What the interpreter says, in the same terms: one packet to the sender with another source is an answer.
pub fn observed(sender: &Port, packet: &Packet, heard: Vec<(Arc<str>, State)>) -> Fate {
    if let [(name, state)] = heard.as_slice()
        && *name == sender.name
    {
        let mac = u64::try_from(state.get(Base::EthSrc)).expect("48 bits");
        assert_eq!(
            state.get(Base::EthDst),
            u128::from(packet.src.to_u64()),
            "answers go to who asked"
        );
        return Fate::Answered(Mac::from_u64(mac));
    }
    Fate::Heard(heard.into_iter().map(|(name, _)| name).collect())
}
