//! DNS: what operators do, and what controllers are told.

use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition as _};
use sb_db::tables as sb;

use super::random::Rng;
use super::{World, insert};

/// A row comes, goes or has other names; a switch has other rows.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    let rows: Vec<Uuid> = world
        .nb::<nb::Dns>()
        .into_iter()
        .map(|(uuid, _)| uuid)
        .collect();
    if rng.once_in(2) {
        let switches = world.nb::<nb::LogicalSwitch>();
        let Some((switch, _)) = rng.pick(&switches) else {
            return "no switch".to_owned();
        };
        let has: Vec<Uuid> = rows.into_iter().filter(|_| rng.once_in(2)).collect();
        let columns = vec![nb::LogicalSwitch::COLUMN.dns_records.to(&has)];
        let operation = Operation::update_row(nb::LogicalSwitch::INDEX, *switch, columns);
        world.north(vec![operation]);
        return format!("switch {switch} knows {has:?}");
    }
    if rows.len() >= 3 {
        let row = *rng.pick(&rows).expect("not empty");
        world.north(vec![Operation::delete_row(nb::Dns::INDEX, row)]);
        return format!("names {row} gone");
    }
    let mut names = nb::Dns::default();
    for (name, value) in [
        ("vm1.ovn.org", "10.0.0.4 fd00::4"),
        ("VM1.ovn.org", "10.0.0.5"),
        ("4.0.0.10.in-addr.arpa", "vm1.ovn.org"),
        ("bad", "10.0.0"),
    ] {
        if rng.once_in(2) {
            names.records.insert(name.into(), value.into());
        }
    }
    if rng.once_in(2) {
        names.options.insert("ovn-owned".into(), "true".into());
    }
    if let Some(row) = rng.pick(&rows).copied() {
        let columns = vec![
            nb::Dns::COLUMN.records.to(&names.records),
            nb::Dns::COLUMN.options.to(&names.options),
        ];
        world.north(vec![Operation::update_row(nb::Dns::INDEX, row, columns)]);
        return format!("names {row}: {names:?}");
    }
    let row = rng.uuid();
    world.north(vec![insert(row, &names)]);
    format!("new names {row}: {names:?}")
}

/// A port has other DHCPv6 options, or those have other values.
pub fn dhcp6(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.nb::<nb::DhcpOptions>();
    if rng.once_in(3) {
        let Some((row, _)) = rng.pick(&rows) else {
            return "no options".to_owned();
        };
        let mut options = nb::DhcpOptions::default().options;
        for (key, value) in [
            ("server_id", "02:00:00:00:00:fe"),
            ("dns_server", "fd00::53"),
            ("dhcpv6_stateless", "true"),
            ("domain_search", "ovn.org"),
            ("fqdn", ""),
        ] {
            if !rng.once_in(3) {
                options.insert(key.into(), value.into());
            }
        }
        let columns = vec![
            nb::DhcpOptions::COLUMN.cidr.to(&"fd00::/64".into()),
            nb::DhcpOptions::COLUMN.options.to(&options),
        ];
        world.north(vec![Operation::update_row(
            nb::DhcpOptions::INDEX,
            *row,
            columns,
        )]);
        return format!("DHCPv6 {row} {options:?}");
    }
    let ports = world.nb::<nb::LogicalSwitchPort>();
    let Some((port, _)) = rng.pick(&ports) else {
        return "no port".to_owned();
    };
    let options = rng.pick(&rows).map(|(row, _)| *row);
    let columns = vec![nb::LogicalSwitchPort::COLUMN.dhcpv6_options.to(&options)];
    world.north(vec![Operation::update_row(
        nb::LogicalSwitchPort::INDEX,
        *port,
        columns,
    )]);
    format!("port {port} has DHCPv6 {options:?}")
}

#[test]
fn controllers_are_told_names_in_lower_case_and_where() {
    let mut world = World::new();
    let [row, first, second] = [1, 2, 3].map(Uuid::from_u128);
    let mut names = nb::Dns::default();
    names
        .records
        .insert("Vm1.OVN.org".into(), "10.0.0.4".into());
    names.options.insert("ovn-owned".into(), "true".into());
    let switch = |name: &str, dns_records: Vec<Uuid>| nb::LogicalSwitch {
        name: name.into(),
        dns_records,
        ..Default::default()
    };
    world.north(vec![
        insert(row, &names),
        insert(first, &switch("a", vec![row])),
        insert(second, &switch("b", vec![])),
    ]);
    let told = |world: &World| -> Vec<sb::Dns> {
        world
            .sb::<sb::Dns>()
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    };
    let [before] = &told(&world)[..] else {
        panic!("one row")
    };
    assert_eq!(
        before.records.get("vm1.ovn.org").map(|of| &**of),
        Some("10.0.0.4")
    );
    assert_eq!(before.options, names.options);
    assert_eq!(before.external_ids["dns_id"].to_string(), row.to_string());
    assert_eq!(before.datapaths.len(), 1);
    let columns = vec![nb::LogicalSwitch::COLUMN.dns_records.to(&vec![row])];
    world.north(vec![Operation::update_row(
        nb::LogicalSwitch::INDEX,
        second,
        columns,
    )]);
    assert_eq!(told(&world)[0].datapaths.len(), 2);
    let before = world.written;
    world.restart();
    assert_eq!((told(&world).len(), world.written), (1, before));
    // A row that moves is never nowhere: the server would not have it.
    let has = |switch: Uuid, rows: Vec<Uuid>| {
        let columns = vec![nb::LogicalSwitch::COLUMN.dns_records.to(&rows)];
        Operation::update_row(nb::LogicalSwitch::INDEX, switch, columns)
    };
    world.north(vec![has(first, vec![row]), has(second, vec![])]);
    world.north(vec![has(first, vec![]), has(second, vec![row])]);
    let datapaths = &told(&world)[0].datapaths;
    let place = world.south.row(sb::DatapathBinding::INDEX, datapaths[0]);
    let place = sb::DatapathBinding::from_row(datapaths[0], place.expect("there"));
    assert_eq!((datapaths.len(), &*place.external_ids["name"]), (1, "b"));
    world.north(vec![Operation::delete_row(nb::Dns::INDEX, row)]);
    assert_eq!(told(&world), []);
}

#[test]
fn guests_are_told_what_tunnels_leave() {
    let mut world = World::new();
    tells_mtu(&mut world, &[]);
    assert_eq!(
        told_mtu(&world),
        ["1442"],
        "nobody has said how tunnels are"
    );
    for (number, kind, ip, mtu) in [
        (4, "gre", "192.0.2.1", "1458"),
        (5, "vxlan", "192.0.2.2", "1450"),
        (6, "geneve", "2001:db8::3", "1422"),
    ] {
        add_chassis(&mut world, number, (kind, ip), "");
        assert_eq!(told_mtu(&world), [mtu]);
    }
    set_global(&mut world, ("underlay_mtu", "9000"));
    assert_eq!(told_mtu(&world), ["8922"]);
}

#[test]
fn guests_of_a_physical_network_are_told_what_it_carries_if_all_chassis_lead_there() {
    let mut world = World::new();
    let door = nb::LogicalSwitchPort {
        name: "door".into(),
        r#type: "localnet".into(),
        addresses: vec!["unknown".into()],
        options: [("network_name".into(), "phys".into())].into(),
        ..Default::default()
    };
    tells_mtu(&mut world, &[door]);
    assert_eq!(told_mtu(&world), ["1442"], "no chassis leads there");
    let geneve = |n| ("geneve", format!("192.0.2.{n}"));
    for (number, mappings, mtu) in [
        (5, "other:br-a,phys:br-b", "1500"),
        (6, "phys:br-c", "1500"),
        (7, "other:br-a", "1442"),
    ] {
        let (kind, ip) = geneve(number);
        add_chassis(&mut world, number, (kind, &ip), mappings);
        assert_eq!(told_mtu(&world), [mtu], "{mappings}");
    }
    let gone = Operation::delete_row(sb::Chassis::INDEX, Uuid::from_u128(17));
    world.south(vec![gone]);
    assert_eq!(told_mtu(&world), ["1500"]);
    set_global(&mut world, ("always_tunnel", "true"));
    assert_eq!(told_mtu(&world), ["1442"]);
}

#[test]
fn all_chassis_offer_gre_or_none() {
    let mut world = World::new();
    let told = |world: &World| -> Vec<String> {
        let problems = world.nb::<nb::WeftProblem>().into_iter();
        let of_gre = problems.filter(|(_, problem)| problem.why.contains("GRE"));
        of_gre.map(|(_, problem)| problem.why.to_string()).collect()
    };
    set_global(&mut world, ("underlay_mtu", "1500"));
    add_chassis(&mut world, 4, ("gre", "192.0.2.1"), "");
    add_chassis(&mut world, 5, ("gre", "192.0.2.2"), "");
    assert_eq!(told(&world), [""; 0]);
    add_chassis(&mut world, 6, ("geneve", "192.0.2.3"), "");
    assert_eq!(
        told(&world),
        [
            "chassis c4 offers GRE tunnels and chassis c6 does not, 2 and 1 in all: packets between them may find no way"
        ]
    );
    world.south(vec![Operation::delete_row(
        sb::Chassis::INDEX,
        Uuid::from_u128(16),
    )]);
    assert_eq!(told(&world), [""; 0]);
}

#[test]
fn one_chassis_with_gre_does_not_shorten_the_keys_of_all() {
    const LONG: i64 = 5000;
    let key = |world: &World| world.sb::<sb::DatapathBinding>()[0].1.tunnel_key;
    let ask = nb::LogicalSwitch {
        name: "s".into(),
        other_config: [("requested-tnl-key".into(), LONG.to_string().into())].into(),
        ..Default::default()
    };
    for (kinds, has_room) in [
        (["geneve", "gre"], true),
        (["gre", "gre"], false),
        (["geneve", "vxlan"], false),
    ] {
        let mut world = World::new();
        for (number, kind) in (4..).zip(kinds) {
            add_chassis(&mut world, number, (kind, &format!("192.0.2.{number}")), "");
        }
        world.north(vec![insert(Uuid::from_u128(1), &ask)]);
        assert_eq!(key(&world) == LONG, has_room, "{kinds:?}");
    }
}

/// Sets a key of `NB_Global.options`, and no other.
fn set_global(world: &mut World, (key, value): (&str, &str)) {
    let row = world.nb::<nb::NbGlobal>()[0].0;
    let mut set = nb::NbGlobal::default().options;
    set.insert(key.into(), value.into());
    let columns = vec![nb::NbGlobal::COLUMN.options.to(&set)];
    world.north(vec![Operation::update_row(
        nb::NbGlobal::INDEX,
        row,
        columns,
    )]);
}

/// The chassis with this number, the row of which is that of its tunnel end and ten more.
fn add_chassis(world: &mut World, number: u128, (kind, ip): (&str, &str), mappings: &str) {
    let name: std::sync::Arc<str> = format!("c{number}").into();
    let encap = sb::Encap {
        r#type: kind.into(),
        ip: ip.into(),
        chassis_name: name.clone(),
        ..Default::default()
    };
    let chassis = sb::Chassis {
        name,
        encaps: vec![Uuid::from_u128(number)],
        other_config: [("ovn-bridge-mappings".into(), mappings.into())].into(),
        ..Default::default()
    };
    world.south(vec![
        insert(Uuid::from_u128(number), &encap),
        insert(Uuid::from_u128(number + 10), &chassis),
    ]);
}

/// A switch with a guest that is told an MTU by DHCP, and these ports.
fn tells_mtu(world: &mut World, more: &[nb::LogicalSwitchPort]) {
    let [switch, port, options] = [1, 2, 3].map(Uuid::from_u128);
    let mut dhcp = nb::DhcpOptions {
        cidr: "10.0.0.0/24".into(),
        ..Default::default()
    };
    for (key, value) in [
        ("server_id", "10.0.0.1"),
        ("server_mac", "02:00:00:00:00:fe"),
        ("lease_time", "3600"),
        ("mtu", "auto"),
    ] {
        dhcp.options.insert(key.into(), value.into());
    }
    let more_rows = (10..).zip(more);
    let mut rows: Vec<_> = more_rows
        .map(|(number, row)| insert(Uuid::from_u128(number), row))
        .collect();
    rows.extend([
        insert(options, &dhcp),
        insert(
            port,
            &nb::LogicalSwitchPort {
                name: "p".into(),
                addresses: vec!["02:00:00:00:00:01 10.0.0.2".into()],
                dhcpv4_options: Some(options),
                ..Default::default()
            },
        ),
        insert(
            switch,
            &nb::LogicalSwitch {
                name: "s".into(),
                ports: (10..)
                    .take(more.len())
                    .map(Uuid::from_u128)
                    .chain([port])
                    .collect(),
                ..Default::default()
            },
        ),
    ]);
    world.north(rows);
}

/// The MTUs that guests are told.
fn told_mtu(world: &World) -> Vec<String> {
    let flows = world.sb::<sb::LogicalFlow>().into_iter();
    flows
        .filter_map(|(_, flow)| {
            let (_, mtu) = flow.actions.split_once(", mtu = ")?;
            Some(mtu.split_once(',')?.0.to_owned())
        })
        .collect()
}
