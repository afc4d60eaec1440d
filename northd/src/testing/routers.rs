//! What a careless operator does with routers.

use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Datum, Row, Uuid};
use sb_db::tables as sb;

use super::random::{Rng, update};
use super::{World, insert};

const ROUTERS: usize = 3;
const PORTS: usize = 7;
/// The names that router ports may have.
const NAMES: usize = 7;

/// The name of a router's port, which may or may not be there.
pub fn port_name(rng: &mut Rng) -> String {
    format!("lrp{}", rng.below(NAMES))
}

/// A router comes, goes, or changes.
pub fn router(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    if routers.is_empty() || (routers.len() < ROUTERS && rng.once_in(2)) {
        let row = nb::LogicalRouter {
            name: format!("r{}", rng.below(3)).into(),
            ..random_router(rng)
        };
        world.north(vec![insert(rng.uuid(), &row)]);
        return format!("router {row:?}");
    }
    let (uuid, _) = rng.pick(&routers).expect("there is one");
    if rng.once_in(4) {
        world.north(vec![Operation::delete_row(nb::LogicalRouter::INDEX, *uuid)]);
        return format!("router {uuid} deleted");
    }
    let column = nb::LogicalRouter::COLUMN;
    let row = random_router(rng);
    let columns = vec![
        column.enabled.to(&row.enabled),
        column.options.to(&row.options),
    ];
    update::<nb::LogicalRouter>(world, Some(*uuid), columns);
    format!("router {uuid} changed: {row:?}")
}

fn random_router(rng: &mut Rng) -> nb::LogicalRouter {
    let mut row = nb::LogicalRouter {
        enabled: rng.once_in(6).then(|| rng.once_in(2)),
        ..Default::default()
    };
    if rng.once_in(4) {
        let key = ["1", "2", "3", "7", "-1"][rng.below(5)];
        row.options.insert("requested-tnl-key".into(), key.into());
    }
    if rng.once_in(2) {
        let chassis = ["c0", "nobody", ""][rng.below(3)];
        row.options.insert("chassis".into(), chassis.into());
    }
    if rng.once_in(4) {
        let value = ["true", "false", "maybe"][rng.below(3)];
        row.options
            .insert("always_learn_from_arp_request".into(), value.into());
    }
    if rng.once_in(6) {
        let value = ["true", "false", "maybe"][rng.below(3)];
        let key = ["disable_garp_rarp", "dynamic_neigh_routers"][rng.below(2)];
        row.options.insert(key.into(), value.into());
    }
    if rng.once_in(6) {
        let zone = ["0", "7", "65536"][rng.below(3)];
        row.options.insert("snat-ct-zone".into(), zone.into());
    }
    row
}

/// A port comes to a router, goes, moves, or changes.
pub fn port(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, of)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    let ports = world.nb::<nb::LogicalRouterPort>();
    let column = nb::LogicalRouter::COLUMN.ports;
    let set = |ports: &Vec<Uuid>| {
        let columns = vec![column.to(ports)];
        Operation::update_row(nb::LogicalRouter::INDEX, router, columns)
    };
    if ports.is_empty() || (ports.len() < PORTS && rng.once_in(2)) {
        let row = random_port(rng);
        if ports.iter().any(|(_, port)| port.name == row.name) {
            return "a name that is taken".to_owned();
        }
        let uuid = rng.uuid();
        let mut members = of.ports;
        members.push(uuid);
        world.north(vec![insert(uuid, &row), set(&members)]);
        return format!("router port {row:?} in {router}");
    }
    let (uuid, known) = rng.pick(&ports).cloned().expect("there is one");
    match rng.below(4) {
        0 => {
            let mut members = of.ports;
            match members.iter().position(|member| *member == uuid) {
                Some(at) => drop(members.remove(at)),
                None => members.push(uuid),
            }
            world.north(vec![set(&members)]);
            format!("router port {uuid} in or out of {router}")
        }
        _ => {
            let row = nb::LogicalRouterPort {
                name: if rng.once_in(4) {
                    port_name(rng).into()
                } else {
                    known.name.clone()
                },
                ..random_port(rng)
            };
            let is_taken = ports
                .iter()
                .any(|(other, port)| *other != uuid && port.name == row.name);
            if is_taken {
                return "a name that is taken".to_owned();
            }
            let all: Row = row.to_row();
            let column = nb::LogicalRouterPort::COLUMN;
            let columns: Vec<(usize, Datum)> = [
                column.name.index,
                column.mac.index,
                column.networks.index,
                column.peer.index,
                column.enabled.index,
                column.options.index,
                column.ipv6_ra_configs.index,
            ]
            .into_iter()
            .filter(|_| !rng.once_in(3))
            .map(|column| (column, all.get(column).clone()))
            .collect();
            let what = format!("router port {uuid} changed: {columns:?}");
            update::<nb::LogicalRouterPort>(world, Some(uuid), columns);
            what
        }
    }
}

fn random_port(rng: &mut Rng) -> nb::LogicalRouterPort {
    let mut row = nb::LogicalRouterPort {
        name: port_name(rng).into(),
        mac: format!("02:00:00:00:00:{:02x}", 1 + rng.below(11)).into(),
        enabled: rng.once_in(8).then_some(false),
        ..Default::default()
    };
    if rng.once_in(15) {
        row.mac = ["", "01:00:00:00:00:01"][rng.below(2)].into();
    }
    for _ in 0..rng.below(4) {
        let network = match rng.below(6) {
            0 => format!("fd00::{}/64", 1 + rng.below(11)),
            1 => ["10.0.0.1/33", "224.0.0.1/8", "fe80::7/64"][rng.below(3)].to_owned(),
            n => format!("10.0.{}.{}/24", n / 3, 1 + rng.below(11)),
        };
        row.networks.push(network.into());
    }
    row.networks.sort();
    row.networks.dedup();
    if rng.once_in(4) {
        row.peer = Some(port_name(rng).into());
    }
    for (key, values) in [
        ("requested-tnl-key", ["1", "2", "0"]),
        ("route_table", ["blue", "", "red"]),
        ("gateway_mtu", ["1400", "9", "1500"]),
        ("reside-on-redirect-chassis", ["true", "false", "perhaps"]),
        ("redirect-type", ["bridged", "overlay", "sideways"]),
        ("routing-protocol-redirect", ["p1", "p2", "nobody"]),
        ("routing-protocols", ["BGP", "BGP,BFD", "OSPF"]),
    ] {
        if rng.once_in(6) {
            row.options.insert(key.into(), values[rng.below(3)].into());
        }
    }
    if rng.once_in(3) {
        for (key, values) in [
            ("address_mode", ["slaac", "dhcpv6_stateful", "auto"]),
            ("send_periodic", ["true", "false", "maybe"]),
            ("mtu", ["0", "1400", "9"]),
            ("max_interval", ["4", "1", "60"]),
            ("route_info", ["HIGH-fd00:7::/48", "LOW", "LOW-fd01::/64,x"]),
            ("rdnss", ["fd00::53", "53", "fd00::54"]),
        ] {
            if !rng.once_in(3) {
                let value = values[rng.below(3)];
                row.ipv6_ra_configs.insert(key.into(), value.into());
            }
        }
    }
    row
}

/// Somebody declares a neighbour, or takes the declaration back.
pub fn fixed(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.nb::<nb::StaticMacBinding>();
    if let Some((uuid, _)) = rows.first().filter(|_| rows.len() > 2 || rng.once_in(3)) {
        let delete = Operation::delete_row(nb::StaticMacBinding::INDEX, *uuid);
        world.north(vec![delete]);
        return format!("declared neighbour {uuid} deleted");
    }
    let row = nb::StaticMacBinding {
        logical_port: port_name(rng).into(),
        ip: ["10.0.0.77", "fd00::77", "10.0.0"][rng.below(3)].into(),
        mac: ["02:00:00:00:00:77", "77"][rng.below(2)].into(),
        override_dynamic_mac: rng.once_in(2),
        ..Default::default()
    };
    let is_taken = rows
        .iter()
        .any(|(_, known)| (&known.logical_port, &known.ip) == (&row.logical_port, &row.ip));
    if is_taken {
        return "declared already".to_owned();
    }
    world.north(vec![insert(rng.uuid(), &row)]);
    format!("declared neighbour {row:?}")
}

/// A chassis learns a neighbour at a router's port.
pub fn neighbour(world: &mut World, rng: &mut Rng) -> String {
    let names: Vec<Arc<str>> = world
        .nb::<nb::LogicalRouterPort>()
        .into_iter()
        .map(|(_, row)| row.name)
        .collect();
    let bindings = world.sb::<sb::PortBinding>();
    let bindings: Vec<_> = bindings
        .into_iter()
        .filter(|(_, row)| names.contains(&row.logical_port))
        .collect();
    let Some((_, port)) = rng.pick(&bindings) else {
        return "no router port".to_owned();
    };
    let row = sb::MacBinding {
        logical_port: port.logical_port.clone(),
        ip: format!("10.0.{}.{}", rng.below(256), rng.below(256)).into(),
        datapath: port.datapath,
        ..Default::default()
    };
    world.south(vec![insert(rng.uuid(), &row)]);
    format!("neighbour {row:?}")
}

/// A next hop of routes is heard of, with another MAC or no longer, or next hops are monitored.
pub fn next_hop(world: &mut World, rng: &mut Rng) -> String {
    if rng.once_in(4) {
        let rows = world.nb::<nb::NbGlobal>();
        let options = rows.first().map(|(_, row)| row.options.clone());
        let mut options = options.unwrap_or_default();
        let value = ["true", "true", "false", "perhaps"][rng.below(4)];
        options.insert("ecmp_nexthop_monitor_enable".into(), value.into());
        update::<nb::NbGlobal>(world, None, vec![nb::NbGlobal::COLUMN.options.to(&options)]);
        return format!("next hops are monitored: {value}");
    }
    let names: Vec<Arc<str>> = world
        .nb::<nb::LogicalRouterPort>()
        .into_iter()
        .map(|(_, row)| row.name)
        .collect();
    let bindings = world.sb::<sb::PortBinding>().into_iter();
    let bindings: Vec<_> = bindings
        .filter(|(_, row)| names.contains(&row.logical_port))
        .collect();
    let Some((_, port)) = rng.pick(&bindings) else {
        return "no router port".to_owned();
    };
    let ip = ["10.0.0.9", "10.0.1.9", "fd00::9", "10.99.0.1"][rng.below(4)];
    let mac = ["02:00:00:00:00:91", "02:00:00:00:00:92", "", "mac"][rng.below(4)];
    let known = world.sb::<sb::MacBinding>().into_iter();
    let known = known
        .filter(|(_, row)| row.logical_port == port.logical_port && &*row.ip == ip)
        .map(|(uuid, _)| uuid)
        .next();
    let column = sb::MacBinding::COLUMN.mac;
    let operation = match known {
        None => {
            let row = sb::MacBinding {
                logical_port: port.logical_port.clone(),
                ip: ip.into(),
                mac: mac.into(),
                datapath: port.datapath,
                ..Default::default()
            };
            insert(rng.uuid(), &row)
        }
        Some(uuid) if rng.once_in(3) => Operation::delete_row(sb::MacBinding::INDEX, uuid),
        Some(uuid) => {
            let columns = vec![(column.index, Datum::from(mac))];
            Operation::update_row(sb::MacBinding::INDEX, uuid, columns)
        }
    };
    let what = format!("next hop {ip} of {}: {operation:?}", port.logical_port);
    world.south(vec![operation]);
    what
}

/// A router, or a port of one, exchanges other routes, or none.
pub fn dynamic(world: &mut World, rng: &mut Rng) -> String {
    let told = ["connected", "connected-as-host,static", "static", "nat", ""][rng.below(5)];
    let learning = ["true", "false", "perhaps"][rng.below(3)];
    let mut said = vec![("dynamic-routing-redistribute", told)];
    if rng.once_in(3) {
        said.push(("dynamic-routing-no-learning", learning));
    }
    if rng.once_in(2) {
        let ports = world.nb::<nb::LogicalRouterPort>();
        let Some((port, mut row)) = rng.pick(&ports).cloned() else {
            return "no router port".to_owned();
        };
        said.push(("dynamic-routing-maintain-vrf", learning));
        for (key, value) in said {
            row.options.insert(key.into(), value.into());
        }
        let columns = vec![nb::LogicalRouterPort::COLUMN.options.to(&row.options)];
        update::<nb::LogicalRouterPort>(world, Some(port), columns);
        return format!("router port {port} exchanges {:?}", row.options);
    }
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, mut row)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    said.push(("dynamic-routing", ["true", "true", "false"][rng.below(3)]));
    said.push(("dynamic-routing-vrf-id", ["7", "0"][rng.below(2)]));
    for (key, value) in said {
        row.options.insert(key.into(), value.into());
    }
    let columns = vec![nb::LogicalRouter::COLUMN.options.to(&row.options)];
    update::<nb::LogicalRouter>(world, Some(router), columns);
    format!("router {router} exchanges {:?}", row.options)
}

/// A chassis learns a route at a router's port, or forgets one.
pub fn learned_route(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.sb::<sb::LearnedRoute>();
    if let Some((uuid, _)) = rng.pick(&rows).filter(|_| rows.len() > 2 || rng.once_in(3)) {
        let delete = Operation::delete_row(sb::LearnedRoute::INDEX, *uuid);
        world.south(vec![delete]);
        return format!("learned route {uuid} forgotten");
    }
    let bindings = world.sb::<sb::PortBinding>();
    let Some((uuid, port)) = rng.pick(&bindings) else {
        return "no port".to_owned();
    };
    let row = sb::LearnedRoute {
        datapath: port.datapath,
        logical_port: *uuid,
        ip_prefix: ["10.7.0.0/16", "fd07::/64", "10.8.0.0/16", "all"][rng.below(4)].into(),
        nexthop: ["10.0.0.9", "fd00::9", "fe80::9", "there"][rng.below(4)].into(),
        ..Default::default()
    };
    let is_known = rows.iter().any(|(_, known)| {
        (known.logical_port, &known.ip_prefix, &known.nexthop)
            == (row.logical_port, &row.ip_prefix, &row.nexthop)
    });
    if is_known {
        return "learned already".to_owned();
    }
    world.south(vec![insert(rng.uuid(), &row)]);
    format!("learned route {row:?}")
}

/// What is learned at a router stays for another time.
pub fn ages(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, mut row)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    let ages = ["1", "10.0.0.0/9:1;3600", "soon", "0"][rng.below(4)];
    let options = &mut row.options;
    options.insert("mac_binding_age_threshold".into(), ages.into());
    let column = nb::LogicalRouter::COLUMN.options.to(&row.options);
    update::<nb::LogicalRouter>(world, Some(router), vec![column]);
    format!("ages of {router}: {ages}")
}

/// A route comes to a router, or goes.
pub fn route(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, mut row)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    let mut operations = Vec::new();
    let known = world.nb::<nb::LogicalRouterStaticRoute>();
    let shared = rng.pick(&known).map(|(uuid, _)| *uuid);
    if let Some(shared) = shared.filter(|uuid| !row.static_routes.contains(uuid))
        && rng.once_in(4)
    {
        // Another router may have it, too.
        row.static_routes.push(shared);
    } else if row.static_routes.len() < 6 && !rng.once_in(3) {
        let uuid = rng.uuid();
        row.static_routes.push(uuid);
        operations.push(insert(uuid, &random_route(rng)));
    } else if !row.static_routes.is_empty() {
        row.static_routes.remove(rng.below(row.static_routes.len()));
    }
    let columns = vec![
        nb::LogicalRouter::COLUMN
            .static_routes
            .to(&row.static_routes),
    ];
    operations.push(Operation::update_row(
        nb::LogicalRouter::INDEX,
        router,
        columns,
    ));
    let what = format!("routes of {router}: {operations:?}");
    world.north(operations);
    what
}

fn random_route(rng: &mut Rng) -> nb::LogicalRouterStaticRoute {
    let prefixes = [
        "0.0.0.0/0",
        "10.7.0.0/16",
        "10.7.1.9",
        "fd07::/64",
        "::/0",
        "10.7",
    ];
    let hops = [
        "10.0.0.9",
        "10.0.1.9",
        "10.99.0.1",
        "fd00::9",
        "discard",
        "",
        "here",
    ];
    let mut row = nb::LogicalRouterStaticRoute {
        ip_prefix: prefixes[rng.below(prefixes.len())].into(),
        nexthop: hops[rng.below(hops.len())].into(),
        ..Default::default()
    };
    if rng.once_in(4) {
        row.policy = Some(["src-ip", "dst-ip"][rng.below(2)].into());
    }
    if rng.once_in(4) {
        row.output_port = Some(port_name(rng).into());
    }
    if rng.once_in(4) {
        row.route_table = "blue".into();
    }
    if rng.once_in(6) {
        row.selection_fields = vec!["ip_src".into()];
    }
    if rng.once_in(4) {
        let value = ["true", "false", "perhaps"][rng.below(3)];
        row.options
            .insert("ecmp_symmetric_reply".into(), value.into());
    }
    row
}

/// A DHCP relay comes, goes, or changes; ports and switches have requests relayed, or no longer.
pub fn relay(world: &mut World, rng: &mut Rng) -> String {
    let relays = world.nb::<nb::DhcpRelay>();
    if relays.len() < 2 && rng.once_in(2) {
        let row = nb::DhcpRelay {
            name: "relay".into(),
            servers: [None, Some("10.9.0.67"), Some("10.0.0.9"), Some("10.9")][rng.below(4)]
                .map(Arc::from),
            ..Default::default()
        };
        world.north(vec![insert(rng.uuid(), &row)]);
        return format!("dhcp relay {row:?}");
    }
    let relay = rng.pick(&relays).map(|(relay, _)| *relay);
    match rng.below(3) {
        0 => {
            let Some(relay) = relay.filter(|_| rng.once_in(3)) else {
                return "no dhcp relay".to_owned();
            };
            let column = nb::DhcpRelay::COLUMN.servers;
            let server: Option<Arc<str>> = rng.once_in(2).then(|| "10.9.0.68".into());
            update::<nb::DhcpRelay>(world, Some(relay), vec![column.to(&server)]);
            format!("dhcp relay {relay} has {server:?}")
        }
        1 => {
            let ports = world.nb::<nb::LogicalRouterPort>();
            let Some((port, _)) = rng.pick(&ports).cloned() else {
                return "no router port".to_owned();
            };
            let relay = relay.filter(|_| !rng.once_in(4));
            let column = nb::LogicalRouterPort::COLUMN.dhcp_relay;
            update::<nb::LogicalRouterPort>(world, Some(port), vec![column.to(&relay)]);
            format!("router port {port} relays by {relay:?}")
        }
        _ => {
            let switches = world.nb::<nb::LogicalSwitch>();
            let ports = world.nb::<nb::LogicalSwitchPort>();
            let (Some((switch, mut row)), Some((_, port))) =
                (rng.pick(&switches).cloned(), rng.pick(&ports).cloned())
            else {
                return "no switch port".to_owned();
            };
            match rng.once_in(4) {
                true => drop(row.other_config.remove("dhcp_relay_port")),
                false => drop(row.other_config.insert("dhcp_relay_port".into(), port.name)),
            }
            let column = nb::LogicalSwitch::COLUMN.other_config;
            update::<nb::LogicalSwitch>(world, Some(switch), vec![column.to(&row.other_config)]);
            format!("switch {switch} relays by {:?}", row.other_config)
        }
    }
}

/// A BFD session comes, goes, or changes; routes and policies ask for it, or no longer.
pub fn session(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.nb::<nb::Bfd>();
    let hops = ["10.0.0.9", "10.0.1.9", "fd00::9", "10.0.0"];
    let row = nb::Bfd {
        logical_port: port_name(rng).into(),
        dst_ip: hops[rng.below(4)].into(),
        min_tx: rng.once_in(2).then_some(200),
        min_rx: [None, Some(0), Some(-1), Some(i64::MAX)][rng.below(4)],
        detect_mult: [None, Some(3), Some(300)][rng.below(3)],
        ..Default::default()
    };
    let is_taken = rows
        .iter()
        .any(|(_, known)| (&known.logical_port, &known.dst_ip) == (&row.logical_port, &row.dst_ip));
    if !is_taken && rows.len() < 3 {
        world.north(vec![insert(rng.uuid(), &row)]);
        return format!("bfd session {row:?}");
    }
    let Some((uuid, _)) = rng.pick(&rows).cloned() else {
        return "no bfd session".to_owned();
    };
    if rng.once_in(5) {
        world.north(vec![Operation::delete_row(nb::Bfd::INDEX, uuid)]);
        return format!("bfd session {uuid} deleted");
    }
    let sessions = rng.once_in(3).then_some(uuid);
    let routes = world.nb::<nb::LogicalRouterStaticRoute>();
    let policies = world.nb::<nb::LogicalRouterPolicy>();
    if let Some((route, _)) = rng.pick(&routes).filter(|_| rng.once_in(2)) {
        let column = nb::LogicalRouterStaticRoute::COLUMN.bfd;
        let session = (!rng.once_in(4)).then_some(uuid);
        update::<nb::LogicalRouterStaticRoute>(world, Some(*route), vec![column.to(&session)]);
    } else if let Some((policy, _)) = rng.pick(&policies) {
        let column = nb::LogicalRouterPolicy::COLUMN.bfd_sessions;
        let sessions: Vec<Uuid> = sessions.into_iter().collect();
        update::<nb::LogicalRouterPolicy>(world, Some(*policy), vec![column.to(&sessions)]);
    }
    format!("bfd session {uuid} asked for otherwise")
}

/// A chassis says how a session is.
pub fn session_status(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.sb::<sb::Bfd>();
    let Some((uuid, _)) = rng.pick(&rows).cloned() else {
        return "no bfd session southbound".to_owned();
    };
    let status = ["up", "up", "init", "down", "admin_down"][rng.below(5)];
    let column = sb::Bfd::COLUMN.status;
    let columns = vec![column.to(&Arc::from(status))];
    world.south(vec![Operation::update_row(sb::Bfd::INDEX, uuid, columns)]);
    format!("bfd session {uuid} is {status}")
}

/// A policy comes to a router, or goes.
pub fn policy(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, mut row)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    let mut operations = Vec::new();
    if row.policies.len() < 4 && !rng.once_in(3) {
        let uuid = rng.uuid();
        row.policies.push(uuid);
        let mut policy = random_policy(rng);
        if rng.once_in(4) {
            let ports = world.nb::<nb::LogicalRouterPort>();
            policy.output_port = rng.pick(&ports).map(|(port, _)| *port);
        }
        operations.push(insert(uuid, &policy));
    } else if !row.policies.is_empty() {
        row.policies.remove(rng.below(row.policies.len()));
    }
    let columns = vec![nb::LogicalRouter::COLUMN.policies.to(&row.policies)];
    operations.push(Operation::update_row(
        nb::LogicalRouter::INDEX,
        router,
        columns,
    ));
    let what = format!("policies of {router}: {operations:?}");
    world.north(operations);
    what
}

fn random_policy(rng: &mut Rng) -> nb::LogicalRouterPolicy {
    let hops = ["10.0.0.9", "10.0.1.9", "10.99.0.1", "fd00::9", "here"];
    let mut row = nb::LogicalRouterPolicy {
        priority: [0, 1, 32_767][rng.below(3)],
        r#match: ["ip4", "ip4.src ==", "inport == \"lrp1\"", "1"][rng.below(4)].into(),
        action: ["allow", "drop", "reroute", "reroute", "jump"][rng.below(5)].into(),
        ..Default::default()
    };
    for _ in 0..rng.below(3) {
        row.nexthops.push(hops[rng.below(hops.len())].into());
    }
    row.nexthops.sort();
    row.nexthops.dedup();
    if rng.once_in(4) {
        row.nexthop = Some("10.0.0.8".into());
    }
    if rng.once_in(5) {
        row.chain = Some(["c", "d", ""][rng.below(3)].into());
    }
    if rng.once_in(2) {
        row.jump_chain = Some(["c", "d", "nosuch", ""][rng.below(4)].into());
    }
    if rng.once_in(4) {
        row.options
            .insert("pkt_mark".into(), ["7", "x"][rng.below(2)].into());
    }
    row
}

/// A NAT rule comes to a router, or goes.
pub fn nat(world: &mut World, rng: &mut Rng) -> String {
    let routers = world.nb::<nb::LogicalRouter>();
    let Some((router, mut row)) = rng.pick(&routers).cloned() else {
        return "no router".to_owned();
    };
    let mut operations = Vec::new();
    if row.nat.len() < 4 && !rng.once_in(3) {
        let uuid = rng.uuid();
        row.nat.push(uuid);
        let mut rule = random_nat(rng);
        if rng.once_in(4) {
            let ports = world.nb::<nb::LogicalRouterPort>();
            rule.gateway_port = rng.pick(&ports).map(|(port, _)| *port);
        }
        operations.push(insert(uuid, &rule));
    } else if !row.nat.is_empty() {
        row.nat.remove(rng.below(row.nat.len()));
    }
    let columns = vec![nb::LogicalRouter::COLUMN.nat.to(&row.nat)];
    operations.push(Operation::update_row(
        nb::LogicalRouter::INDEX,
        router,
        columns,
    ));
    let what = format!("nat of {router}: {operations:?}");
    world.north(operations);
    what
}

fn random_nat(rng: &mut Rng) -> nb::Nat {
    // None that a guest may ask for: the naive model of switches knows no translation.
    let outside = ["10.0.0.93", "10.9.0.1", "fd00::93", "10.9"];
    let inside = ["10.0.1.0/24", "10.0.1.4", "fd00::/64", "fd00::4"];
    let mut row = nb::Nat {
        external_ip: outside[rng.below(4)].into(),
        logical_ip: inside[rng.below(4)].into(),
        r#type: ["snat", "dnat", "dnat_and_snat"][rng.below(3)].into(),
        ..Default::default()
    };
    if rng.once_in(4) {
        row.r#match = ["tcp", "tcp &&"][rng.below(2)].into();
        row.priority = 7;
    }
    if rng.once_in(5) {
        row.options.insert("stateless".into(), "true".into());
    }
    if rng.once_in(3) {
        let value = ["true", "true", "perhaps"][rng.below(3)];
        row.options.insert("add_route".into(), value.into());
    }
    if rng.once_in(3) {
        row.logical_port = Some(["p1", "nobody", ""][rng.below(3)].into());
        row.external_mac = Some(["02:00:00:00:00:99", "99"][rng.below(2)].into());
    }
    if rng.once_in(5) {
        row.external_port_range = ["1000-2000", "2-1"][rng.below(2)].into();
    }
    row
}
