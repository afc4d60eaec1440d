//! DHCPv4: guests get their addresses from the switch.
//!
//! Arrives: admitted packets. Guarantees that a DHCP request of a port with `dhcpv4_options`, from a MAC of that port, is
//! answered with the first of the MAC's addresses that lies in the options' network. The encoding is the controller's
//! (`put_dhcp_opts`), which also tells whether the packet was a request at all: what was not goes on unchanged.
//!
//! The request is recognised for each port; the reply needs no port, only the server's addresses, and is one flow for all
//! ports of a switch with the same server. The server's address travels in `reg1` between the two stages.

mod model;

use std::net::IpAddr;
use std::sync::Arc;

use lflow::Symbol;
use lflow::action::OptionsKind;
use lflow::{Constant, Int};
use lflow::{a, m};
use nb_db::tables::{DhcpOptions, LogicalSwitchPort};
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Relation, Small};

use super::acl;
use super::ports::{self, LOCALNETS, MACS, PORT, PortView};
use super::switch::{SWITCH, SWITCHES, SWITCHES_NAME};
use super::underlay::{self, EVERYWHERE, GUEST_MTU};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::flow::Flows;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};
use model::Dhcp4;
pub use model::{elements, quoted};

/// DHCPv4 options that make sense.
static OPTIONS: Relation<Handle, Arc<Dhcp4>> = Relation::new("dhcpv4 options");

/// Of DHCPv6, too.
pub const IS_REPLY: Bits = Bits::bit(
    "the packet has become a DHCP reply",
    Symbol::Reg0,
    3,
    Stage::InDhcpOptions,
    Stage::InDhcpResponse,
);
/// Of a DHCPv6 server, the last four bytes of its MAC.
pub const SERVER: Bits = Bits::whole(
    "the DHCP server's address",
    Symbol::Reg1,
    Stage::InDhcpOptions,
    Stage::InDhcpResponse,
);

const REQUEST: Rule = Rule::new(
    Stage::InDhcpOptions,
    100,
    "a DHCP request of a port with options: make it a reply",
);
const NO_REQUEST: Rule = Rule::new(Stage::InDhcpOptions, 0, "the rest: next");
const REPLY: Rule = Rule::new(
    Stage::InDhcpResponse,
    100,
    "a reply: back to the asker, from the server's addresses",
);
const NO_REPLY: Rule = Rule::new(Stage::InDhcpResponse, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<DhcpOptions>(&[
            DhcpOptions::COLUMN.cidr.index,
            DhcpOptions::COLUMN.options.index,
        ]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.dhcpv4_options.index]),
    ],
    relations: &[&OPTIONS],
    kinds: &[&MODEL, &SHARED, &PAST_RULES, &OF_PORT],
    rules: &[REQUEST, NO_REQUEST, REPLY, NO_REPLY],
    bits: &[IS_REPLY, SERVER],
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: random::dhcp,
    }],
    ..Feature::new("dhcp")
};

static MODEL: Kind = Kind {
    name: "model/dhcp",
    over: Over::North(DhcpOptions::INDEX),
    reads: &[],
    says: &[&OPTIONS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (options, problems) = Dhcp4::parse(unit.uuid(row), columns);
        if let Some(options) = options {
            unit.say(&OPTIONS, row, Arc::new(options));
        }
        unit.problems(problems);
    },
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(NO_REQUEST, &m::any(), [a::next()]);
        flows.add(NO_REPLY, &m::any(), [a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!(
    [
        &OPTIONS,
        &LOCALNETS,
        &PORT,
        &MACS,
        &SWITCH,
        &GUEST_MTU,
        &EVERYWHERE
    ],
    [],
    |unit, view| {
        let Some(dhcp) = options(unit, view) else {
            return;
        };
        let port = view.port;
        let doors = ports::doors(unit, view);
        if !port.is_enabled || doors.is_empty() {
            return;
        }
        let entries = view.own_addresses();
        let entries = entries.filter(|entry| ports::is_told_apart(unit, view, entry.mac));
        let entries: Vec<_> = entries.collect();
        let mtu = dhcp.tells_mtu.then(|| underlay::mtu_of(unit, view.switch));
        let told = dhcp.told(mtu.flatten());
        let mut flows = view.flows(unit);
        let mut answers = false;
        for entry in entries {
            let in_network = |ip: &IpAddr| ip.is_ipv4() && dhcp.network.contains(*ip);
            let Some(ip) = entry.ips.iter().map(|cidr| cidr.addr()).find(in_network) else {
                continue;
            };
            answers = true;
            let from = m::one_of(Symbol::Ip4Src, [ip, UNSPECIFIED]);
            let to = m::one_of(Symbol::Ip4Dst, [dhcp.server, std::net::Ipv4Addr::BROADCAST]);
            let request = m::eth_src(entry.mac)
                & from
                & to
                & m::udp_src(CLIENT_PORT)
                & m::udp_dst(SERVER_PORT);
            let mut options = vec![a::option("offerip", ip)];
            let told = told
                .iter()
                .filter(|(name, _)| port.hostname.is_none() || &**name != "hostname");
            options.extend(told.cloned());
            if let Some(hostname) = &port.hostname {
                options.push(a::option("hostname", Constant::Str(hostname.clone())));
            }
            let put = a::put_options(IS_REPLY.field(), OptionsKind::Dhcp4, options);
            for (_, from) in &doors {
                let reply = [put.clone(), a::set(SERVER.field(), dhcp.server), a::next()];
                flows.add(REQUEST, &(from.clone() & request.clone()), reply);
            }
        }
        if answers {
            reply(dhcp, &mut flows);
        }
    }
);

/// Rules of the switch do not keep replies from clients.
static PAST_RULES: Kind = Kind {
    name: acl::PART,
    over: Over::Keys(&ports::PAST_RULES),
    ..ports::kind!(
        [&OPTIONS, &acl::HAS_RULES, &LOCALNETS, &PORT],
        [],
        |unit, view| {
            let row = view
                .port
                .dhcp4
                .and_then(|row| unit.find_north::<DhcpOptions>(row));
            let dhcp = row.and_then(|row| unit.get(&OPTIONS, row));
            let (Some(dhcp), Some(())) = (dhcp, unit.get(&acl::HAS_RULES, view.switch)) else {
                return;
            };
            for (door, _) in ports::doors(unit, view) {
                let is_own = door == view.port.name;
                let reply = m::outport(door)
                    & m::eth_src(dhcp.server_mac)
                    & m::ip_src(dhcp.server.into())
                    & m::udp_src(SERVER_PORT)
                    & m::udp_dst(CLIENT_PORT);
                let mut flows = view.flows(unit);
                match is_own {
                    true => flows.add(acl::ANSWER, &reply, acl::pass_answer()),
                    // Other external ports have the same door.
                    false => flows.add_common(acl::ANSWER, &reply, acl::pass_answer()),
                }
            }
        }
    )
};

/// What the port's clients are told.
fn options<'a>(unit: &mut Unit<'a>, view: &PortView<'_>) -> Option<&'a Arc<Dhcp4>> {
    let port = view.port;
    let row = unit.find_north::<DhcpOptions>(port.dhcp4?)?;
    let Some(dhcp) = unit.get(&OPTIONS, row) else {
        let columns = unit.north(row)?;
        let cidr: Arc<str> = DhcpOptions::COLUMN.cidr.get(columns);
        if cidr.parse().is_ok_and(|cidr: addr::Cidr| !cidr.is_ipv4()) {
            let column = LogicalSwitchPort::COLUMN.dhcpv4_options.name;
            let why = format!("these are options of a network of the other family, {cidr}");
            let name = Arc::clone(&port.name);
            let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
            complaints.column(column, why, "its clients are not answered: name others");
            unit.problems(complaints.into_problems());
        }
        return None;
    };
    let offers = |ip: &addr::Cidr| dhcp.network.contains(ip.addr());
    if view.own_addresses().next().is_some() && !view.neighbours().any(|(_, ip)| offers(&ip)) {
        let why = format!(
            "no address of the port is in the network of its {}, {}",
            DhcpOptions::NAME,
            dhcp.network
        );
        let remedy = "its clients are not answered: add an address, or choose other options";
        let column = LogicalSwitchPort::COLUMN.dhcpv4_options.name;
        let name = Arc::clone(&port.name);
        let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
        complaints.column(column, why, remedy);
        unit.problems(complaints.into_problems());
    }
    Some(dhcp)
}

const UNSPECIFIED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// Where the reply goes (`ip4.dst`) is already in it.
fn reply(dhcp: &Dhcp4, flows: &mut Flows<'_>) {
    let is_reply = IS_REPLY.is_set()
        & m::eq(SERVER.field(), dhcp.server)
        & m::udp_src(CLIENT_PORT)
        & m::udp_dst(SERVER_PORT)
        & m::ip4();
    flows.add_common(
        REPLY,
        &is_reply,
        [
            a::copy(Symbol::EthDst, Symbol::EthSrc),
            a::set(Symbol::EthSrc, dhcp.server_mac),
            a::set(Symbol::Ip4Src, dhcp.server),
            a::set(Symbol::UdpSrc, Int::new(SERVER_PORT.into())),
            a::set(Symbol::UdpDst, Int::new(CLIENT_PORT.into())),
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ],
    );
}
