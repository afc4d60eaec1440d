//! Addresses that are given: what operators do with them, and what always holds of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use addr::{LspAddress, Mac, MacAndIps};
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

use super::random::Rng;
use super::{World, insert};

/// A switch has something else to give, or a port asks for something else.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    if rng.once_in(8) {
        return prefix(world, rng);
    }
    if rng.once_in(3) {
        return give(world, rng);
    }
    let ports = world.nb::<nb::LogicalSwitchPort>();
    let Some((port, row)) = rng.pick(&ports).cloned() else {
        return "no port".to_owned();
    };
    let mut addresses = row.addresses;
    addresses.retain(|text| !text.contains("dynamic"));
    let asks = [
        "dynamic",
        "dynamic",
        "dynamic",
        "02:00:00:00:00:07 dynamic",
        "dynamic 10.0.0.4",
        "dynamic fd00::4",
        "dynamic 10.9.9.9 fd00::5",
        "02:00:00:00:00:08 10.0.0.3",
    ];
    let text: Arc<str> = asks[rng.below(asks.len())].into();
    if !addresses.contains(&text) {
        addresses.push(text.clone());
    }
    let mut columns = vec![nb::LogicalSwitchPort::COLUMN.addresses.to(&addresses)];
    if rng.once_in(5) {
        // Somebody writes what is northd's.
        let given = Some(Arc::from("02:00:00:00:00:01 10.0.0.2"));
        columns.push(nb::LogicalSwitchPort::COLUMN.dynamic_addresses.to(&given));
    }
    world.north(vec![Operation::update_row(
        nb::LogicalSwitchPort::INDEX,
        port,
        columns,
    )]);
    format!("port {port} asks for {text}")
}

/// A prefix that makes no sense.
const MULTICAST: &str = "01:00:00";

fn prefix(world: &mut World, rng: &mut Rng) -> String {
    let (row, global) = world.nb::<nb::NbGlobal>().swap_remove(0);
    let mut options = global.options;
    let prefix = ["02:00:00", "02:00:00", "0a:00:00", MULTICAST][rng.below(4)];
    options.insert("mac_prefix".into(), prefix.into());
    let columns = vec![nb::NbGlobal::COLUMN.options.to(&options)];
    world.north(vec![Operation::update_row(
        nb::NbGlobal::INDEX,
        row,
        columns,
    )]);
    format!("MACs begin with {prefix}")
}

fn give(world: &mut World, rng: &mut Rng) -> String {
    let switches = world.nb::<nb::LogicalSwitch>();
    let Some((switch, row)) = rng.pick(&switches).cloned() else {
        return "no switch".to_owned();
    };
    let mut config = row.other_config;
    for (key, values) in [
        (
            "subnet",
            ["10.0.0.0/29", "10.0.0.9/24", "10.0.0.0/30", "10.0.0.0/31"],
        ),
        (
            "exclude_ips",
            [
                "10.0.0.2",
                "10.0.0.3..10.0.0.5",
                "10.0.0.1..10.0.0.200 x",
                "10.1.0.0",
            ],
        ),
        (
            "ipv6_prefix",
            ["fd00::/64", "fd00::", "fd00::/48", "aef0::"],
        ),
        ("mac_only", ["true", "true", "false", "perhaps"]),
    ] {
        if rng.once_in(3) {
            config.remove(key);
        } else if rng.once_in(2) {
            config.insert(key.into(), values[rng.below(4)].into());
        }
    }
    let columns = vec![nb::LogicalSwitch::COLUMN.other_config.to(&config)];
    world.north(vec![Operation::update_row(
        nb::LogicalSwitch::INDEX,
        switch,
        columns,
    )]);
    format!("switch {switch} gives {config:?}")
}

/// What was given is nobody else's, is there to be given, and everybody has some as long as there is any.
pub fn check(world: &World, place: &dyn Fn() -> String) {
    let rows: BTreeMap<Uuid, nb::LogicalSwitchPort> = world.nb().into_iter().collect();
    let bound: BTreeSet<Arc<str>> = world
        .sb::<sb::PortBinding>()
        .into_iter()
        .map(|(_, row)| row.logical_port)
        .collect();
    let mut macs: BTreeMap<Mac, Vec<&str>> = BTreeMap::new();
    for row in rows.values().filter(|row| bound.contains(&row.name)) {
        for mac in fixed(row)
            .map(|entry| entry.mac)
            .chain(asked(row).and_then(|(mac, _)| mac))
        {
            macs.entry(mac).or_default().push(&row.name);
        }
    }
    // With a prefix that makes no sense nobody new is given a MAC, and so nothing.
    let (_, global) = world.nb::<nb::NbGlobal>().swap_remove(0);
    let prefix = global.options.get("mac_prefix");
    let has_prefix = prefix.is_some_and(|prefix| &**prefix != MULTICAST);
    let mut placed = BTreeSet::new();
    let mut given_macs = BTreeMap::new();
    let switches: BTreeMap<Uuid, nb::LogicalSwitch> = world.nb().into_iter().collect();
    for switch in switches.values() {
        let ports = switch.ports.iter().filter(|port| placed.insert(**port));
        let ports: Vec<&nb::LogicalSwitchPort> = ports.filter_map(|port| rows.get(port)).collect();
        check_switch(switch, &ports, (&bound, has_prefix), place);
        for row in ports {
            let Some((None, _)) = asked(row) else {
                continue;
            };
            let Some(given) = given(row) else { continue };
            let others = macs.get(&given.mac);
            assert_eq!(others, None, "{}: {row:?} has their MAC", place());
            let other = given_macs.insert(given.mac, row.name.clone());
            assert_eq!(other, None, "{}: {row:?} has its MAC", place());
        }
    }
}

fn check_switch(
    switch: &nb::LogicalSwitch,
    ports: &[&nb::LogicalSwitchPort],
    (bound, has_prefix): (&BTreeSet<Arc<str>>, bool),
    place: &dyn Fn() -> String,
) {
    let config = |key: &str| switch.other_config.get(key).map(|text| &**text);
    let free = free(config("subnet"), config("exclude_ips"));
    let gives = !free.is_empty()
        || matches!(
            config("subnet"),
            Some("10.0.0.0/29" | "10.0.0.9/24" | "10.0.0.0/30")
        )
        || matches!(
            config("ipv6_prefix"),
            Some("fd00::/64" | "fd00::" | "aef0::")
        )
        || config("mac_only") == Some("true");
    let mut taken: BTreeSet<IpAddr> = BTreeSet::new();
    for row in ports {
        taken.extend(fixed(row).flat_map(|entry| entry.ips).map(addr::Cidr::addr));
        taken.extend(asked(row).and_then(|(_, ip4)| ip4).map(IpAddr::V4));
    }
    let mut chosen = BTreeSet::new();
    for row in ports {
        let Some((_, ip4)) = asked(row).filter(|_| gives) else {
            let given = &row.dynamic_addresses;
            assert_eq!(*given, None, "{}: {row:?} in {switch:?}", place());
            continue;
        };
        let given = given(row);
        let ips = given.iter().flat_map(|given| &given.ips);
        for ip in ips.map(|ip| ip.addr()).filter(IpAddr::is_ipv4) {
            let is_chosen = ip4.is_none();
            assert!(
                !is_chosen || free.contains(&ip),
                "{}: {row:?} in {switch:?}",
                place()
            );
            // Ports that make no sense have nothing.
            let is_theirs = is_chosen && bound.contains(&row.name) && {
                let of_sensible = |other: &&&nb::LogicalSwitchPort| bound.contains(&other.name);
                let mut others = ports.iter().filter(of_sensible);
                others.any(|other| {
                    fixed(other).any(|entry| entry.ips.iter().any(|of| of.addr() == ip))
                })
            };
            assert!(!is_theirs, "{}: {row:?} in {switch:?}", place());
            assert!(!is_chosen || chosen.insert(ip), "{}: {row:?}", place());
        }
    }
    let is_left = has_prefix
        && free
            .iter()
            .any(|ip| !taken.contains(ip) && !chosen.contains(ip));
    for row in ports.iter().filter(|row| bound.contains(&row.name)) {
        if asked(row).is_some_and(|(_, ip4)| ip4.is_none()) && is_left {
            let given = given(row);
            let has = given.is_some_and(|given| given.ips.iter().any(|ip| ip.addr().is_ipv4()));
            // Addresses of a router that leads here, and those that move, are not looked at: there may be fewer.
            let has_router = ports
                .iter()
                .any(|row| matches!(&*row.r#type, "router" | "virtual"));
            assert!(has || has_router, "{}: {row:?} in {switch:?}", place());
        }
    }
}

/// The addresses that can be given, of the subnets that [`give`] knows.
fn free(subnet: Option<&str>, excluded: Option<&str>) -> BTreeSet<IpAddr> {
    let last = match subnet {
        Some("10.0.0.0/29") => 6,
        Some("10.0.0.9/24") => 254,
        Some("10.0.0.0/30") => 2,
        _ => return BTreeSet::new(),
    };
    let is_excluded = |host: u8| match excluded {
        Some("10.0.0.2") => host == 2,
        Some("10.0.0.3..10.0.0.5") => (3..=5).contains(&host),
        Some("10.0.0.1..10.0.0.200 x") => host <= 200,
        _ => false,
    };
    let hosts = (2..=last).filter(|host| !is_excluded(*host));
    hosts
        .map(|host| Ipv4Addr::new(10, 0, 0, host).into())
        .collect()
}

fn given(row: &nb::LogicalSwitchPort) -> Option<MacAndIps> {
    let text = row.dynamic_addresses.as_ref()?;
    Some(text.parse().expect("what northd writes is well-made"))
}

fn fixed(row: &nb::LogicalSwitchPort) -> impl Iterator<Item = MacAndIps> {
    row.addresses.iter().filter_map(|text| match text.parse() {
        Ok(LspAddress::Fixed(entry)) if !entry.mac.is_multicast() => Some(entry),
        _ => None,
    })
}

/// What the first entry asks for: the MAC and the address that it names.
fn asked(row: &nb::LogicalSwitchPort) -> Option<(Option<Mac>, Option<Ipv4Addr>)> {
    row.addresses.iter().find_map(|text| match text.parse() {
        Ok(LspAddress::Dynamic { mac, ips }) => Some((mac, ips.ip4)),
        _ => None,
    })
}

fn port(number: u128, name: &str, addresses: &str) -> nb::LogicalSwitchPort {
    nb::LogicalSwitchPort {
        uuid: Uuid::from_u128(number),
        name: name.into(),
        addresses: vec![addresses.into()],
        ..Default::default()
    }
}

fn network(config: &[(&str, &str)], ports: &[nb::LogicalSwitchPort]) -> World {
    let mut world = World::new();
    let (row, global) = world.nb::<nb::NbGlobal>().swap_remove(0);
    let mut options = global.options;
    options.insert("mac_prefix".into(), "0a:00:00".into());
    let columns = vec![nb::NbGlobal::COLUMN.options.to(&options)];
    let mut operations = vec![Operation::update_row(nb::NbGlobal::INDEX, row, columns)];
    let config = config.iter();
    let switch = nb::LogicalSwitch {
        name: "s".into(),
        ports: ports.iter().map(|port| port.uuid).collect(),
        other_config: config
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..Default::default()
    };
    operations.extend(ports.iter().map(|port| insert(port.uuid, port)));
    operations.push(insert(Uuid::from_u128(1 << 64), &switch));
    world.north(operations);
    world
}

fn told(world: &World) -> Vec<String> {
    let rows: BTreeMap<Uuid, nb::LogicalSwitchPort> = world.nb().into_iter().collect();
    rows.into_values()
        .map(|row| row.dynamic_addresses.unwrap_or_default().to_string())
        .collect()
}

fn problems(world: &World) -> Vec<String> {
    let rows = world.nb::<nb::WeftProblem>().into_iter();
    rows.map(|(_, row)| format!("{} {}: {}", row.name, row.column, row.why))
        .collect()
}

#[test]
fn ports_are_given_what_the_switch_has() {
    let asks = [
        "dynamic",
        "dynamic 10.0.0.9",
        "0a:11:22:33:44:55 dynamic",
        "dynamic fd00::77",
        "02:00:00:00:00:01 10.0.0.3",
    ];
    let ports: Vec<nb::LogicalSwitchPort> = (1..)
        .zip(asks)
        .map(|(number, asks)| port(number, &format!("p{number}"), asks))
        .collect();
    for (config, expected) in [
        (
            &[("subnet", "10.0.0.0/24")][..],
            [
                "0a:00:00:00:00:03 10.0.0.2",
                "0a:00:00:00:00:0a 10.0.0.9",
                "0a:11:22:33:44:55 10.0.0.4",
                "0a:00:00:00:00:06 10.0.0.5 fd00::77",
                "",
            ],
        ),
        (
            &[
                ("subnet", "10.0.0.0/24"),
                ("exclude_ips", "10.0.0.2 10.0.0.4..10.0.0.20"),
                ("ipv6_prefix", "fd00::"),
            ],
            [
                "0a:00:00:00:00:16 10.0.0.21 fd00::800:ff:fe00:16",
                "0a:00:00:00:00:0a 10.0.0.9 fd00::800:ff:fe00:a",
                "0a:11:22:33:44:55 10.0.0.22 fd00::811:22ff:fe33:4455",
                "0a:00:00:00:00:18 10.0.0.23 fd00::77",
                "",
            ],
        ),
        (
            &[("mac_only", "true")],
            [
                "0a:00:00:00:00:01",
                "0a:00:00:00:00:0a 10.0.0.9",
                "0a:11:22:33:44:55",
                "0a:00:00:00:00:02 fd00::77",
                "",
            ],
        ),
        (&[], ["", "", "", "", ""]),
    ] {
        let mut world = network(config, &ports);
        assert_eq!(told(&world), expected, "{config:?}");
        let before = world.written;
        world.restart();
        assert_eq!((told(&world), world.written), (told(&world), before));
        assert_eq!(
            problems(&world).len(),
            if config.is_empty() { 4 } else { 0 }
        );
    }
}

#[test]
fn what_was_given_stays_until_somebody_has_it_of_its_own() {
    let config = [("subnet", "10.0.0.0/29")];
    let ports: Vec<_> = (1..=3)
        .map(|number| port(number, &format!("p{number}"), "dynamic"))
        .collect();
    let mut world = network(&config, &ports);
    let ips = |world: &World| -> Vec<String> {
        let told = told(world).into_iter();
        told.map(|text| {
            text.split_once(' ')
                .map_or(String::new(), |(_, ip)| ip.to_owned())
        })
        .collect()
    };
    assert_eq!(ips(&world), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    let set = |world: &mut World, number: u128, addresses: &str| {
        let addresses: Vec<Arc<str>> = vec![addresses.into()];
        let columns = vec![nb::LogicalSwitchPort::COLUMN.addresses.to(&addresses)];
        let row = Uuid::from_u128(number);
        world.north(vec![Operation::update_row(
            nb::LogicalSwitchPort::INDEX,
            row,
            columns,
        )]);
    };
    set(&mut world, 1, "02:00:00:00:00:01 10.0.0.4");
    assert_eq!(
        ips(&world),
        ["", "10.0.0.3", "10.0.0.2"],
        "the third gives way"
    );
    set(&mut world, 1, "dynamic");
    assert_eq!(ips(&world), ["10.0.0.4", "10.0.0.3", "10.0.0.2"]);
    world.restart();
    assert_eq!(ips(&world), ["10.0.0.4", "10.0.0.3", "10.0.0.2"]);
    assert_eq!(problems(&world), Vec::<String>::new());
}

#[test]
fn who_finds_nothing_left_is_told_and_served_later() {
    let config = [("subnet", "10.0.0.0/30")];
    let ports = [port(1, "a", "dynamic"), port(2, "b", "dynamic")];
    let mut world = network(&config, &ports);
    assert_eq!(
        told(&world),
        ["0a:00:00:00:00:03 10.0.0.2", "0a:00:00:00:00:01"]
    );
    assert_eq!(
        problems(&world),
        ["b addresses: all 2 of the IPv4 addresses are in use"]
    );
    let rest: Vec<Uuid> = vec![Uuid::from_u128(2)];
    let columns = vec![nb::LogicalSwitch::COLUMN.ports.to(&rest)];
    world.north(vec![Operation::update_row(
        nb::LogicalSwitch::INDEX,
        Uuid::from_u128(1 << 64),
        columns,
    )]);
    assert_eq!(told(&world), ["0a:00:00:00:00:01 10.0.0.2"]);
    assert_eq!(problems(&world), Vec::<String>::new());
}

#[test]
fn who_can_have_no_mac_keeps_no_address_from_others() {
    let config = [("subnet", "10.0.0.0/30")];
    let ports = [port(1, "b", "dynamic"), port(2, "a", "router")];
    let mut world = network(&config, &ports);
    let (row, global) = world.nb::<nb::NbGlobal>().swap_remove(0);
    let mut options = global.options;
    options.insert("mac_prefix".into(), MULTICAST.into());
    let columns = vec![nb::NbGlobal::COLUMN.options.to(&options)];
    let prefix = Operation::update_row(nb::NbGlobal::INDEX, row, columns);
    let addresses = |port, texts: &[&str]| {
        let texts: Vec<Arc<str>> = texts.iter().map(|text| Arc::from(*text)).collect();
        let columns = vec![nb::LogicalSwitchPort::COLUMN.addresses.to(&texts)];
        let row = Uuid::from_u128(port);
        Operation::update_row(nb::LogicalSwitchPort::INDEX, row, columns)
    };
    world.north(vec![addresses(1, &[])]);
    world.north(vec![prefix]);
    world.north(vec![addresses(1, &["dynamic"])]);
    assert_eq!(told(&world), ["", ""], "no MAC begins with 01");
    world.north(vec![addresses(2, &["02:00:00:00:00:07 dynamic"])]);
    let given = ["", "02:00:00:00:00:07 10.0.0.2"];
    assert_eq!(told(&world), given);
    world.restart();
    assert_eq!(told(&world), given);
}

#[test]
fn a_prefix_is_written_once_and_beside_what_others_write() {
    let world = World::new();
    let written = world.nb::<nb::NbGlobal>().swap_remove(0).1.options;
    let prefix = written.get("mac_prefix").expect("written");
    assert_eq!(prefix.len(), 8);
    let row = world.nb::<nb::NbGlobal>()[0].0;
    let mut world = world;
    let other: BTreeMap<Arc<str>, Arc<str>> = [("bfd-mult".into(), "5".into())].into();
    let columns = vec![
        nb::NbGlobal::COLUMN
            .options
            .to(&other.into_iter().collect()),
    ];
    world.north(vec![Operation::update_row(
        nb::NbGlobal::INDEX,
        row,
        columns,
    )]);
    let now = world.nb::<nb::NbGlobal>().swap_remove(0).1.options;
    assert_eq!(now.get("mac_prefix"), Some(prefix), "it is added again");
    assert_eq!(now.get("bfd-mult").map(|value| &**value), Some("5"));
}
