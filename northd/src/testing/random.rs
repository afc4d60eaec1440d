//! A careless operator: random changes to a northbound database, and to what chassis write southbound.

use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Datum, Row, Uuid};
use sb_db::tables as sb;

use super::{Change, World, insert};
use crate::features;

/// A small generator of numbers that only has to be the same everywhere (xorshift64*).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            Some(&from[self.below(from.len())])
        }
    }

    pub fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes([(); 16].map(|()| self.next().to_le_bytes()[3]))
            .into_uuid()
    }
}

/// Few of everything, so that there are collisions.
const SWITCHES: usize = 4;
const PORTS: usize = 14;
/// So many names of ports.
pub const NAMES: usize = 18;

/// Does something with one of the features; says what.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    if world.nb::<nb::LogicalSwitch>().is_empty() {
        return add_switch(world, rng);
    }
    let changes: Vec<&Change> = features::ALL
        .iter()
        .flat_map(|feature| feature.operator)
        .collect();
    let mut roll = rng.below(changes.iter().map(|change| change.weight).sum());
    for change in changes {
        if roll < change.weight {
            return (change.run)(world, rng);
        }
        roll -= change.weight;
    }
    "nothing".to_owned()
}

fn switches(world: &World) -> Vec<Uuid> {
    uuids(world.nb::<nb::LogicalSwitch>())
}

fn ports(world: &World) -> Vec<Uuid> {
    uuids(world.nb::<nb::LogicalSwitchPort>())
}

fn bindings(world: &World) -> Vec<Uuid> {
    uuids(world.sb::<sb::PortBinding>())
}

fn uuids<T>(rows: Vec<(Uuid, T)>) -> Vec<Uuid> {
    rows.into_iter().map(|(uuid, _)| uuid).collect()
}

/// Asks for the next configuration.
pub fn next_cfg(world: &mut World, _: &mut Rng) -> String {
    let rows = world.nb::<nb::NbGlobal>();
    let cfg = rows.first().map_or(0, |(_, row)| row.nb_cfg) + 1;
    update::<nb::NbGlobal>(world, None, vec![nb::NbGlobal::COLUMN.nb_cfg.to(&cfg)]);
    assert_eq!(
        world.nb::<nb::NbGlobal>()[0].1.sb_cfg,
        cfg,
        "what is compiled is told"
    );
    format!("nb_cfg {cfg}")
}

/// A chassis leads to other physical networks.
fn lead(world: &mut World, rng: &mut Rng) -> String {
    let Some(chassis) = rng.pick(&uuids(world.sb::<sb::Chassis>())).copied() else {
        return "no chassis".to_owned();
    };
    let mappings = ["", "physnet:br-a", "other:br-b, physnet:br-a"][rng.below(3)];
    let config = [("ovn-bridge-mappings".into(), mappings.into())].into();
    let columns = vec![sb::Chassis::COLUMN.other_config.to(&config)];
    let update = Operation::update_row(sb::Chassis::INDEX, chassis, columns);
    world.south(vec![update]);
    format!("chassis {chassis} leads to {mappings:?}")
}

/// A chassis comes, starts or ceases to speak VXLAN or GRE, or leads to other physical networks.
pub fn chassis(world: &mut World, rng: &mut Rng) -> String {
    let all = world.sb::<sb::Encap>();
    if all.len() >= 3 {
        let (encap, row) = rng.pick(&all).expect("not empty");
        if rng.once_in(3) {
            return lead(world, rng);
        }
        let kind = if &*row.r#type != "geneve" || !rng.once_in(3) {
            "geneve"
        } else {
            ["vxlan", "gre"][rng.below(2)]
        };
        let column = sb::Encap::COLUMN.r#type;
        let columns = vec![(column.index, Datum::from(kind))];
        world.south(vec![Operation::update_row(
            sb::Encap::INDEX,
            *encap,
            columns,
        )]);
        return format!("encap {encap} is {kind}");
    }
    let (chassis, encap) = (rng.uuid(), rng.uuid());
    let name = format!("c{}", all.len());
    world.south(vec![
        insert(
            encap,
            &sb::Encap {
                r#type: "geneve".into(),
                ip: format!("10.9.0.{}", all.len()).into(),
                chassis_name: name.as_str().into(),
                ..Default::default()
            },
        ),
        insert(
            chassis,
            &sb::Chassis {
                name: name.as_str().into(),
                hostname: format!("host-{name}").into(),
                encaps: vec![encap],
                ..Default::default()
            },
        ),
    ]);
    format!("chassis {name}")
}

/// A chassis takes a port, or lets it go.
pub fn bind(world: &mut World, rng: &mut Rng) -> String {
    let Some(binding) = rng.pick(&bindings(world)).copied() else {
        return "no binding".to_owned();
    };
    let all = uuids(world.sb::<sb::Chassis>());
    let chassis = if rng.once_in(3) {
        None
    } else {
        rng.pick(&all).copied()
    };
    let up = Some(chassis.is_some() && !rng.once_in(3));
    let column = sb::PortBinding::COLUMN;
    let columns = vec![column.chassis.to(&chassis), column.up.to(&up)];
    let update = Operation::update_row(sb::PortBinding::INDEX, binding, columns);
    world.south(vec![update]);
    format!("binding {binding} on {chassis:?} up {up:?}")
}

/// Somebody deletes or alters what is northd's.
pub fn vandal(world: &mut World, rng: &mut Rng) -> String {
    if rng.once_in(2) {
        let flows = uuids(world.sb::<sb::LogicalFlow>());
        let Some(flow) = rng.pick(&flows).copied() else {
            return "no flow".to_owned();
        };
        world.south(vec![Operation::delete_row(sb::LogicalFlow::INDEX, flow)]);
        assert!(
            world.south.row(sb::LogicalFlow::INDEX, flow).is_some(),
            "a vandal's deletion is mended"
        );
        return format!("flow {flow} deleted by a vandal");
    }
    let Some(binding) = rng.pick(&bindings(world)).copied() else {
        return "no binding".to_owned();
    };
    let columns = vec![sb::PortBinding::COLUMN.tunnel_key.to(&31_000)];
    let update = Operation::update_row(sb::PortBinding::INDEX, binding, columns);
    world.south(vec![update]);
    format!("binding {binding} altered by a vandal")
}

/// A port gets another name, and sometimes a new one gets its former name, in one transaction.
pub fn rename(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.nb::<nb::LogicalSwitchPort>();
    let Some((port, row)) = rng.pick(&rows).cloned() else {
        return "no port".to_owned();
    };
    let name = format!("p{}", rng.below(NAMES));
    let column = nb::LogicalSwitchPort::COLUMN.name;
    let mut operations = Vec::new();
    let set = |row: Uuid, name: &str| {
        let columns = vec![(column.index, Datum::from(name))];
        Operation::update_row(nb::LogicalSwitchPort::INDEX, row, columns)
    };
    if let Some((other, _)) = rows.iter().find(|(_, other)| *other.name == *name) {
        // They swap names.
        operations.push(set(*other, &row.name));
    } else if rng.once_in(2) && rows.len() < PORTS {
        let switches = world.nb::<nb::LogicalSwitch>();
        let (switch, mut of) = rng.pick(&switches).cloned().expect("there is one");
        let uuid = rng.uuid();
        let new = nb::LogicalSwitchPort {
            name: row.name.clone(),
            ..random_port(world, rng)
        };
        of.ports.push(uuid);
        let columns = vec![nb::LogicalSwitch::COLUMN.ports.to(&of.ports)];
        operations.push(insert(uuid, &new));
        operations.push(Operation::update_row(
            nb::LogicalSwitch::INDEX,
            switch,
            columns,
        ));
    }
    operations.push(set(port, &name));
    world.north(operations);
    format!("port {port} renamed from {} to {name}", row.name)
}

/// A port, a switch or a group is deleted and made anew under its name, in one transaction.
pub fn replace(world: &mut World, rng: &mut Rng) -> String {
    let Some(port) = rng.pick(&ports(world)).copied() else {
        return "no port".to_owned();
    };
    let rows = world.nb::<nb::LogicalSwitchPort>();
    let name = rows
        .into_iter()
        .find(|(uuid, _)| *uuid == port)
        .expect("picked")
        .1
        .name;
    let switch = rng.pick(&switches(world)).copied().expect("there is one");
    let new = nb::LogicalSwitchPort {
        name: name.clone(),
        ..random_port(world, rng)
    };
    let uuid = rng.uuid();
    let mut operations = vec![insert(uuid, &new)];
    for (row, mut of) in world.nb::<nb::LogicalSwitch>() {
        let before = of.ports.clone();
        of.ports.retain(|member| *member != port);
        if row == switch {
            of.ports.push(uuid);
        }
        if of.ports != before {
            let columns = vec![nb::LogicalSwitch::COLUMN.ports.to(&of.ports)];
            operations.push(Operation::update_row(
                nb::LogicalSwitch::INDEX,
                row,
                columns,
            ));
        }
    }
    world.north(operations);
    format!("port {name} made anew in {switch}: {new:?}")
}

/// A controller learns an address at a port.
pub fn learn(world: &mut World, rng: &mut Rng) -> String {
    let Some(binding) = rng.pick(&bindings(world)).copied() else {
        return "no binding".to_owned();
    };
    let row = world
        .south
        .row(sb::PortBinding::INDEX, binding)
        .expect("picked");
    let row = sb::PortBinding::from_row(binding, row);
    let datapath = world
        .south
        .row(sb::DatapathBinding::INDEX, row.datapath)
        .expect("a strong reference");
    let mac = format!("02:00:00:00:01:{:02x}", rng.below(256));
    let fdb = sb::Fdb {
        timestamp: world.now_ms - i64::try_from(rng.below(2_000)).expect("small"),
        mac: mac.as_str().into(),
        dp_key: sb::DatapathBinding::COLUMN.tunnel_key.get(datapath),
        port_key: row.tunnel_key,
        ..Default::default()
    };
    let taken = world
        .sb::<sb::Fdb>()
        .iter()
        .any(|(_, other)| other.mac == fdb.mac && other.dp_key == fdb.dp_key);
    if !taken {
        world.south(vec![insert(rng.uuid(), &fdb)]);
    }
    format!("{mac} learned at {binding}")
}

/// How long learned addresses are remembered, and how many are forgotten at once.
pub fn forget(world: &mut World, rng: &mut Rng) -> String {
    let Some(switch) = rng.pick(&switches(world)).copied() else {
        return "no switch".to_owned();
    };
    if rng.once_in(3) {
        let rows = world.nb::<nb::NbGlobal>();
        let mut options = rows
            .first()
            .map_or_else(Default::default, |(_, row)| row.options.clone());
        let limit = ["0", "1", "few"][rng.below(3)];
        options.insert("fdb_removal_limit".into(), limit.into());
        update::<nb::NbGlobal>(world, None, vec![nb::NbGlobal::COLUMN.options.to(&options)]);
        return format!("fdb_removal_limit {limit}");
    }
    let rows = world.nb::<nb::LogicalSwitch>();
    let (_, row) = rows
        .into_iter()
        .find(|(uuid, _)| *uuid == switch)
        .expect("picked");
    let mut config = row.other_config;
    let age = ["0", "1", "1000000", "soon"][rng.below(4)];
    config.insert("fdb_age_threshold".into(), age.into());
    let columns = vec![nb::LogicalSwitch::COLUMN.other_config.to(&config)];
    update::<nb::LogicalSwitch>(world, Some(switch), columns);
    format!("switch {switch} forgets after {age}")
}

pub fn add_switch(world: &mut World, rng: &mut Rng) -> String {
    if switches(world).len() >= SWITCHES {
        return "enough switches".to_owned();
    }
    let switch = random_switch(rng);
    let uuid = rng.uuid();
    world.north(vec![insert(uuid, &switch)]);
    format!("switch {uuid} {switch:?}")
}

pub fn del_switch(world: &mut World, rng: &mut Rng) -> String {
    let switches = switches(world);
    let Some(switch) = rng.pick(&switches) else {
        return "no switch".to_owned();
    };
    world.north(vec![Operation::delete_row(
        nb::LogicalSwitch::INDEX,
        *switch,
    )]);
    format!("switch {switch} deleted")
}

pub fn change_switch(world: &mut World, rng: &mut Rng) -> String {
    let Some(switch) = rng.pick(&switches(world)).copied() else {
        return "no switch".to_owned();
    };
    let config = random_switch(rng).other_config;
    update::<nb::LogicalSwitch>(
        world,
        Some(switch),
        vec![nb::LogicalSwitch::COLUMN.other_config.to(&config)],
    );
    format!("switch {switch} with {config:?}")
}

fn random_switch(rng: &mut Rng) -> nb::LogicalSwitch {
    let mut switch = nb::LogicalSwitch {
        name: format!("s{}", rng.below(5)).into(),
        ..Default::default()
    };
    if rng.once_in(3) {
        let key = ["1", "2", "3", "x", "0", "99999999"][rng.below(6)];
        switch
            .other_config
            .insert("requested-tnl-key".into(), key.into());
    }
    if rng.once_in(4) {
        let truth = ["true", "false", "maybe"][rng.below(3)];
        switch
            .other_config
            .insert("vlan-passthru".into(), truth.into());
    }
    if rng.once_in(6) {
        let mtu = ["9000", "1500", "12"][rng.below(3)];
        switch.other_config.insert("mtu".into(), mtu.into());
    }
    if rng.once_in(10) {
        switch
            .other_config
            .insert("vlan-pasthru".into(), "true".into());
    }
    switch
}

pub fn add_port(world: &mut World, rng: &mut Rng) -> String {
    if ports(world).len() >= PORTS {
        return del_port(world, rng);
    }
    let Some(switch) = rng.pick(&switches(world)).copied() else {
        return "no switch".to_owned();
    };
    let port = random_port(world, rng);
    if world
        .nb::<nb::LogicalSwitchPort>()
        .iter()
        .any(|(_, other)| other.name == port.name)
    {
        return change_port(world, rng);
    }
    let uuid = rng.uuid();
    let mut members = world
        .nb::<nb::LogicalSwitch>()
        .into_iter()
        .find(|(row, _)| *row == switch)
        .expect("picked")
        .1
        .ports;
    members.push(uuid);
    let column = nb::LogicalSwitch::COLUMN.ports;
    world.north(vec![
        insert(uuid, &port),
        Operation::update_row(nb::LogicalSwitch::INDEX, switch, vec![column.to(&members)]),
    ]);
    format!("port {uuid} in {switch}: {port:?}")
}

pub fn del_port(world: &mut World, rng: &mut Rng) -> String {
    let Some(port) = rng.pick(&ports(world)).copied() else {
        return "no port".to_owned();
    };
    let operations = without(world, port);
    world.north(operations);
    format!("port {port} deleted")
}

/// Operations that take a port out of all its switches.
fn without(world: &World, port: Uuid) -> Vec<Operation> {
    let column = nb::LogicalSwitch::COLUMN.ports;
    let holders = world
        .nb::<nb::LogicalSwitch>()
        .into_iter()
        .filter(|(_, row)| row.ports.contains(&port));
    holders
        .map(|(switch, mut row)| {
            row.ports.retain(|member| *member != port);
            Operation::update_row(
                nb::LogicalSwitch::INDEX,
                switch,
                vec![column.to(&row.ports)],
            )
        })
        .collect()
}

/// To another switch; sometimes it stays in the old one, too, which is a mistake.
pub fn move_port(world: &mut World, rng: &mut Rng) -> String {
    let (switches, ports) = (switches(world), ports(world));
    let (Some(switch), Some(port)) = (rng.pick(&switches).copied(), rng.pick(&ports).copied())
    else {
        return "nothing to move".to_owned();
    };
    let mut operations = if rng.once_in(3) {
        Vec::new()
    } else {
        without(world, port)
    };
    operations.retain(|operation| {
        !matches!(operation, Operation::Update { condition, .. }
        if *condition == vec![ovsdb::condition::Clause::is_row(switch)])
    });
    let mut members = world
        .nb::<nb::LogicalSwitch>()
        .into_iter()
        .find(|(row, _)| *row == switch)
        .expect("picked")
        .1
        .ports;
    if !members.contains(&port) {
        members.push(port);
    }
    operations.push(Operation::update_row(
        nb::LogicalSwitch::INDEX,
        switch,
        vec![nb::LogicalSwitch::COLUMN.ports.to(&members)],
    ));
    world.north(operations);
    format!("port {port} to {switch}")
}

/// All columns anew, but the name and what northd writes.
pub fn change_port(world: &mut World, rng: &mut Rng) -> String {
    let Some(port) = rng.pick(&ports(world)).copied() else {
        return "no port".to_owned();
    };
    let new = random_port(world, rng);
    let row: Row = new.to_row();
    let column = nb::LogicalSwitchPort::COLUMN;
    let all = [
        column.r#type.index,
        column.options.index,
        column.parent_name.index,
        column.tag_request.index,
        column.addresses.index,
        column.port_security.index,
        column.enabled.index,
        column.dhcpv4_options.index,
        column.external_ids.index,
        column.peer.index,
        column.ha_chassis_group.index,
    ];
    let few = rng.once_in(2);
    let columns: Vec<(usize, Datum)> = all
        .into_iter()
        .filter(|_| !few || rng.once_in(3))
        .map(|column| (column, row.get(column).clone()))
        .collect();
    let what = format!("port {port} changed in {columns:?}");
    update::<nb::LogicalSwitchPort>(world, Some(port), columns);
    what
}

fn random_port(world: &World, rng: &mut Rng) -> nb::LogicalSwitchPort {
    let mut port = nb::LogicalSwitchPort {
        name: format!("p{}", rng.below(NAMES)).into(),
        ..Default::default()
    };
    for _ in 0..rng.below(3) {
        port.addresses.push(random_address(rng).into());
    }
    if rng.once_in(4) {
        port.addresses.push("unknown".into());
    }
    port.addresses.sort();
    port.addresses.dedup();
    if rng.once_in(3) {
        port.port_security.push(random_address(rng).into());
    }
    if rng.once_in(6) {
        port.enabled = Some(rng.once_in(3));
    }
    match rng.below(18) {
        14.. => super::doors::other_type(world, rng, &mut port),
        0 => {
            port.r#type = "localnet".into();
            if !rng.once_in(4) {
                port.options.insert("network_name".into(), "physnet".into());
            }
            port.tag_request = (!rng.once_in(2)).then_some(100);
            if rng.once_in(3) {
                port.options
                    .insert("localnet_learn_fdb".into(), "true".into());
            }
        }
        1 => port.r#type = "localport".into(),
        2 => port.r#type = "lokalnet".into(),
        6..8 => {
            port.r#type = "router".into();
            let peer = super::routers::port_name(rng);
            port.options.insert("router-port".into(), peer.into());
            if rng.once_in(3) {
                let announced = ["router", "02:00:00:00:00:98 10.0.0.98", "10.0.0"][rng.below(3)];
                let key = "nat-addresses";
                port.options.insert(key.into(), announced.into());
            }
            if !rng.once_in(3) {
                port.addresses.push("router".into());
            }
        }
        3..6 => {
            port.parent_name = Some(format!("p{}", rng.below(NAMES)).into());
            port.tag_request = [Some(0), Some(0), Some(1), Some(2), Some(7), None][rng.below(6)];
        }
        _ => {}
    }
    if rng.once_in(4) {
        let key = ["1", "2", "3", "7", "-1", "40000"][rng.below(6)];
        port.options.insert("requested-tnl-key".into(), key.into());
    }
    if rng.once_in(5) {
        let chassis = ["c0", "c1", "host-c0", "c1,c2", "nobody"][rng.below(5)];
        port.options
            .insert("requested-chassis".into(), chassis.into());
    }
    if rng.once_in(10) {
        port.options.insert("hostname".into(), "guest".into());
    }
    for key in ["qos_min_rate", "qos_max_rate", "qos_burst"] {
        if rng.once_in(10) {
            let value = ["100", "2000000", "much"][rng.below(3)];
            port.options.insert(key.into(), value.into());
        }
    }
    if rng.once_in(12) {
        port.options
            .insert("receive_multicast".into(), "false".into());
    }
    if rng.once_in(12) {
        port.options
            .insert("pkt_clone_type".into(), "mc_unknown".into());
    }
    if rng.once_in(12) {
        port.options
            .insert("disable_arp_nd_rsp".into(), "true".into());
    }
    if rng.once_in(10) {
        port.external_ids
            .insert("neutron:port_name".into(), "a name".into());
    }
    let dhcp: Vec<Uuid> = world
        .north
        .rows(nb::DhcpOptions::INDEX)
        .map(|(uuid, _)| uuid)
        .collect();
    if rng.once_in(2) {
        port.dhcpv4_options = rng.pick(&dhcp).copied();
    }
    port
}

/// Few MACs and addresses; one in ten is none.
pub fn random_address(rng: &mut Rng) -> String {
    if rng.once_in(10) {
        let bad = [
            "02:00:00:00:00",
            "02:00:00:00:00:01 10.0.0.256",
            "hello",
            "01:00:00:00:00:01",
            "",
            "dynamic",
        ];
        return bad[rng.below(bad.len())].to_owned();
    }
    let mut text = format!("02:00:00:00:00:{:02x}", 1 + rng.below(10));
    for _ in 0..rng.below(3) {
        let host = 1 + rng.below(10);
        text += &if rng.once_in(3) {
            format!(" fd00::{host}")
        } else {
            format!(" 10.0.0.{host}")
        };
    }
    text
}

pub fn dhcp(world: &mut World, rng: &mut Rng) -> String {
    let rows: Vec<Uuid> = world
        .north
        .rows(nb::DhcpOptions::INDEX)
        .map(|(uuid, _)| uuid)
        .collect();
    if rows.len() >= 3 || (!rows.is_empty() && rng.once_in(4)) {
        let row = *rng.pick(&rows).expect("not empty");
        world.north(vec![Operation::delete_row(nb::DhcpOptions::INDEX, row)]);
        return format!("dhcp {row} deleted");
    }
    let mut options = nb::DhcpOptions {
        cidr: ["10.0.0.0/24", "10.0.0.0/29", "fd00::/64", "10.0.0.0/99"][rng.below(4)].into(),
        ..Default::default()
    };
    for (key, value) in [
        ("server_id", "10.0.0.254"),
        ("server_mac", "02:00:00:00:00:fe"),
        ("lease_time", "3600"),
        ("router", "10.0.0.254"),
        ("dns_server", "{8.8.8.8, 8.8.4.4}"),
        ("mtu", ["70000", "auto"][rng.below(2)]),
        ("domain_name", "\"example.org\""),
        ("no_such_option", "1"),
    ] {
        if !rng.once_in(6) {
            options.options.insert(key.into(), value.into());
        }
    }
    if let Some(row) = rng.pick(&rows).copied().filter(|_| rng.once_in(2)) {
        update::<nb::DhcpOptions>(
            world,
            Some(row),
            vec![nb::DhcpOptions::COLUMN.options.to(&options.options)],
        );
        return format!("dhcp {row} changed: {:?}", options.options);
    }
    let uuid = rng.uuid();
    world.north(vec![insert(uuid, &options)]);
    format!("dhcp {uuid}: {options:?}")
}

/// An address set comes, goes, or has other addresses.
pub fn address_sets(world: &mut World, rng: &mut Rng) -> String {
    let addresses: Vec<std::sync::Arc<str>> = (0..20)
        .filter(|_| rng.once_in(2))
        .map(|n| format!("10.1.0.{n}").into())
        .collect();
    if let Some((uuid, _)) = world.nb::<nb::AddressSet>().first() {
        if rng.once_in(3) {
            world.north(vec![Operation::delete_row(nb::AddressSet::INDEX, *uuid)]);
            return "address set deleted".to_owned();
        }
        let columns = vec![nb::AddressSet::COLUMN.addresses.to(&addresses)];
        update::<nb::AddressSet>(world, Some(*uuid), columns);
        return format!("address set of {addresses:?}");
    }
    let set = nb::AddressSet {
        name: ["as", "pg_ip4"][rng.below(2)].into(),
        addresses,
        ..Default::default()
    };
    world.north(vec![insert(rng.uuid(), &set)]);
    format!("address set {set:?}")
}

/// A port group comes, goes, has other members, or is made anew under its name in one transaction.
pub fn port_groups(world: &mut World, rng: &mut Rng) -> String {
    let ports = ports(world);
    let members: Vec<Uuid> = ports.into_iter().filter(|_| rng.once_in(2)).collect();
    let group = nb::PortGroup {
        name: "pg".into(),
        ports: members.clone(),
        ..Default::default()
    };
    let Some((uuid, _)) = world.nb::<nb::PortGroup>().first().cloned() else {
        world.north(vec![insert(rng.uuid(), &group)]);
        return format!("port group {group:?}");
    };
    match rng.below(4) {
        0 => {
            world.north(vec![Operation::delete_row(nb::PortGroup::INDEX, uuid)]);
            "port group deleted".to_owned()
        }
        1 => {
            let delete = Operation::delete_row(nb::PortGroup::INDEX, uuid);
            world.north(vec![delete, insert(rng.uuid(), &group)]);
            format!("port group made anew: {members:?}")
        }
        _ => {
            let columns = vec![nb::PortGroup::COLUMN.ports.to(&members)];
            update::<nb::PortGroup>(world, Some(uuid), columns);
            format!("port group of {members:?}")
        }
    }
}

/// Something that no feature reads is set, or not any more.
pub fn unread(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.nb::<nb::NetworkFunctionHealthCheck>();
    if let Some((uuid, _)) = rows.first() {
        world.north(vec![Operation::delete_row(
            nb::NetworkFunctionHealthCheck::INDEX,
            *uuid,
        )]);
        return "health check of a network function deleted".to_owned();
    }
    let row = nb::NetworkFunctionHealthCheck {
        name: "c".into(),
        ..Default::default()
    };
    world.north(vec![insert(rng.uuid(), &row)]);
    "health check of a network function".to_owned()
}

/// Writes columns of a row, or of the only one.
pub fn update<T: Table>(world: &mut World, row: Option<Uuid>, columns: Vec<(usize, Datum)>) {
    let Some(row) = row.or_else(|| world.north.rows(T::INDEX).next().map(|(uuid, _)| uuid)) else {
        return;
    };
    world.north(vec![Operation::update_row(T::INDEX, row, columns)]);
}
