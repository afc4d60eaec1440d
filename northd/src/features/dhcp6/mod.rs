//! DHCPv6: guests get their IPv6 addresses, or only the other settings, from the switch.
//!
//! Arrives: admitted packets. Guarantees that a DHCPv6 request of a port with `dhcpv6_options`, from a MAC of that port, is
//! answered with the first of the MAC's addresses that lies in the options' network, or without an address if the options are
//! `dhcpv6_stateless`. The encoding is the controller's (`put_dhcpv6_opts`), which also tells whether the packet was a request
//! at all: what was not goes on unchanged.
//!
//! As for DHCPv4, the request is recognised for each port, and the reply is one flow for all ports of a switch with the same
//! server. Its MAC travels in two registers between the two stages, and its address follows from it.

mod model;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addr::Mac;
use lflow::action::OptionsKind;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{DhcpOptions, LogicalSwitchPort};
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Relation, Small};

use super::acl;
use super::dhcp4::{IS_REPLY, SERVER};
use super::ports::{self, LOCALNETS, MACS, PORT, PortView};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::flow::Flows;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, names};
use model::Dhcp6;

/// DHCPv6 options that make sense.
static OPTIONS: Relation<Handle, Arc<Dhcp6>> = Relation::new("dhcpv6 options");

/// Beside [`SERVER`], which has the rest of it.
const SERVER_START: Bits = Bits::whole(
    "the first two bytes of the DHCPv6 server's MAC",
    Symbol::Reg2,
    Stage::InDhcpOptions,
    Stage::InDhcpResponse,
);

const REQUEST: Rule = Rule::new(
    Stage::InDhcpOptions,
    100,
    "a DHCPv6 request of a port with options: make it a reply",
);
const REPLY: Rule = Rule::new(
    Stage::InDhcpResponse,
    100,
    "a DHCPv6 reply: back to the asker, from the server's addresses",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<DhcpOptions>(&[
            DhcpOptions::COLUMN.cidr.index,
            DhcpOptions::COLUMN.options.index,
        ]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.dhcpv6_options.index]),
    ],
    relations: &[&OPTIONS],
    kinds: &[&MODEL, &PAST_RULES, &OF_PORT],
    rules: &[REQUEST, REPLY],
    bits: &[SERVER_START],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: names::dhcp6,
    }],
    ..Feature::new("dhcpv6")
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
        let (options, problems) = Dhcp6::parse(unit.uuid(row), columns);
        if let Some(options) = options {
            unit.say(&OPTIONS, row, Arc::new(options));
        }
        unit.problems(problems);
    },
};

static OF_PORT: Kind = ports::kind!([&OPTIONS, &LOCALNETS, &PORT, &MACS], [], |unit, view| {
    let Some(dhcp) = options(unit, view) else {
        return;
    };
    let port = view.port;
    let doors = ports::doors(unit, view);
    if !port.is_enabled || doors.is_empty() {
        return;
    }
    let offered: Vec<(Mac, Option<Ipv6Addr>)> = view
        .own_addresses()
        .filter(|entry| ports::is_told_apart(unit, view, entry.mac))
        .filter_map(|entry| {
            let ips = entry.ips.iter().map(|ip| ip.addr());
            let mut ips = ips.filter_map(|ip| match ip {
                IpAddr::V6(ip) if dhcp.network.contains(ip.into()) => Some(ip),
                _ => None,
            });
            let ip = ips.next();
            (dhcp.is_stateless || ip.is_some()).then_some((entry.mac, ip))
        })
        .collect();
    let mut flows = view.flows(unit);
    for (mac, ip) in &offered {
        let request = m::eth_src(*mac)
            & m::ip_dst(SERVERS.into())
            & m::udp_src(CLIENT_PORT)
            & m::udp_dst(SERVER_PORT);
        let ip = ip.filter(|_| !dhcp.is_stateless);
        let address = ip.map(|ip| a::option("ia_addr", IpAddr::V6(ip)));
        let options = address.into_iter().chain(dhcp.options.iter().cloned());
        let put = a::put_options(IS_REPLY.field(), OptionsKind::Dhcp6, options.collect());
        let [start, rest] = halves(dhcp.server_mac);
        for (_, from) in &doors {
            flows.add(
                REQUEST,
                &(from.clone() & request.clone()),
                [
                    put.clone(),
                    a::set(SERVER.field(), Int::new(rest)),
                    a::set(SERVER_START.field(), Int::new(start)),
                    a::next(),
                ],
            );
        }
    }
    if !offered.is_empty() {
        reply(dhcp, &mut flows);
    }
});

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
                .dhcp6
                .and_then(|row| unit.find_north::<DhcpOptions>(row));
            let dhcp = row.and_then(|row| unit.get(&OPTIONS, row));
            let (Some(dhcp), Some(())) = (dhcp, unit.get(&acl::HAS_RULES, view.switch)) else {
                return;
            };
            for (door, _) in ports::doors(unit, view) {
                let is_own = door == view.port.name;
                let reply = m::outport(door)
                    & m::eth_src(dhcp.server_mac)
                    & m::ip_src(dhcp.server_mac.link_local().into())
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
fn options<'a>(unit: &mut Unit<'a>, view: &PortView<'_>) -> Option<&'a Arc<Dhcp6>> {
    let port = view.port;
    let row = unit.find_north::<DhcpOptions>(port.dhcp6?)?;
    let Some(dhcp) = unit.get(&OPTIONS, row) else {
        let columns = unit.north(row)?;
        let cidr: Arc<str> = DhcpOptions::COLUMN.cidr.get(columns);
        if cidr.parse().is_ok_and(|cidr: addr::Cidr| cidr.is_ipv4()) {
            let column = LogicalSwitchPort::COLUMN.dhcpv6_options.name;
            let why = format!("these are options of a network of the other family, {cidr}");
            let name = Arc::clone(&port.name);
            let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
            complaints.column(column, why, "its clients are not answered: name others");
            unit.problems(complaints.into_problems());
        }
        return None;
    };
    let offers = |ip: &addr::Cidr| dhcp.network.contains(ip.addr());
    let has_some = view.own_addresses().next().is_some();
    if has_some && !dhcp.is_stateless && !view.neighbours().any(|(_, ip)| offers(&ip)) {
        let why = format!(
            "no address of the port is in the network of its {}, {}",
            DhcpOptions::NAME,
            dhcp.network
        );
        let remedy = "its clients are not answered: add an address, or choose other options";
        let column = LogicalSwitchPort::COLUMN.dhcpv6_options.name;
        let name = Arc::clone(&port.name);
        let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
        complaints.column(column, why, remedy);
        unit.problems(complaints.into_problems());
    }
    Some(dhcp)
}

/// All servers and relays of a link (RFC 8415, section 7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;

fn reply(dhcp: &Dhcp6, flows: &mut Flows<'_>) {
    flows.add_common(
        REPLY,
        &is_reply(dhcp.server_mac),
        [
            a::copy(Symbol::EthDst, Symbol::EthSrc),
            a::set(Symbol::EthSrc, dhcp.server_mac),
            a::copy(Symbol::Ip6Dst, Symbol::Ip6Src),
            a::set(Symbol::Ip6Src, IpAddr::V6(dhcp.server_mac.link_local())),
            a::set(Symbol::UdpSrc, Int::new(SERVER_PORT.into())),
            a::set(Symbol::UdpDst, Int::new(CLIENT_PORT.into())),
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ],
    );
}

fn is_reply(server: Mac) -> Expr {
    let [start, rest] = halves(server);
    IS_REPLY.is_set()
        & m::eq(SERVER.field(), Int::new(rest))
        & m::eq(SERVER_START.field(), Int::new(start))
        & m::udp_src(CLIENT_PORT)
        & m::udp_dst(SERVER_PORT)
        & m::ip6()
}

/// The first two bytes and the other four.
fn halves(mac: Mac) -> [u128; 2] {
    let [a, b, c, d, e, f] = mac.0;
    let numbers = [
        u32::from_be_bytes([0, 0, a, b]),
        u32::from_be_bytes([c, d, e, f]),
    ];
    numbers.map(u128::from)
}
