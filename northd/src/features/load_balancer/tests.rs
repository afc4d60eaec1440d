//! What careless operators do with load balancers. What they do with packets is tested in `testing/balancing.rs`.

use std::sync::Arc;

use nb_db::tables::{
    LoadBalancer, LoadBalancerGroup, LoadBalancerHealthCheck, LogicalRouter, LogicalSwitch,
    LogicalSwitchPort, NbGlobal,
};
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};
use sb_db::tables as sb;

use crate::testing::random::Rng;
use crate::testing::{World, insert};

/// A load balancer comes, goes, or says something else; a group, a switch or a router has others than before.
///
/// No virtual address is one that the other tests send to: they hold what becomes of packets without load balancers against a
/// model. Some are addresses of routers.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    if rng.once_in(8) {
        return status(world, rng);
    }
    let operations = match rng.below(11) {
        0 => setting(world, rng),
        10 => untracking(world, rng),
        1 | 2 => another(world, rng),
        3 => group(world, rng),
        4 => removal(world, rng),
        5 => force(world, rng),
        _ => carrier(world, rng),
    };
    if operations.is_empty() {
        return "nobody to have load balancers".to_owned();
    }
    let what = format!("load balancers: {operations:?}");
    world.north(operations);
    what
}

/// Some of all of a table, and now and then one that comes with them.
fn some<T: Table>(
    world: &World,
    rng: &mut Rng,
    operations: &mut Vec<Operation>,
    new: impl FnOnce(&mut Rng) -> T,
) -> Vec<Uuid> {
    let mut all: Vec<Uuid> = world.nb::<T>().into_iter().map(|(uuid, _)| uuid).collect();
    if all.len() < 5 && rng.once_in(2) {
        let uuid = rng.uuid();
        operations.push(insert(uuid, &new(rng)));
        all.push(uuid);
    }
    all.retain(|_| rng.once_in(2));
    all.sort();
    all
}

fn carrier(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let mut operations = Vec::new();
    let is_direct = rng.once_in(2);
    let chosen = match is_direct {
        true => some::<LoadBalancer>(world, rng, &mut operations, random),
        false => {
            let name = format!("g{}", world.nb::<LoadBalancerGroup>().len());
            let taken = world.nb::<LoadBalancerGroup>();
            let is_taken = taken.iter().any(|(_, group)| *group.name == *name);
            match is_taken {
                true => taken.iter().map(|(uuid, _)| *uuid).collect(),
                false => {
                    some::<LoadBalancerGroup>(world, rng, &mut operations, |_| LoadBalancerGroup {
                        name: name.into(),
                        ..Default::default()
                    })
                }
            }
        }
    };
    let (table, uuid, column) = if rng.once_in(2) {
        let column = LogicalSwitch::COLUMN;
        let column = match is_direct {
            true => column.load_balancer.to(&chosen),
            false => column.load_balancer_group.to(&chosen),
        };
        let all = world.nb::<LogicalSwitch>();
        (
            LogicalSwitch::INDEX,
            rng.pick(&all).map(|(uuid, _)| *uuid),
            column,
        )
    } else {
        let column = LogicalRouter::COLUMN;
        let column = match is_direct {
            true => column.load_balancer.to(&chosen),
            false => column.load_balancer_group.to(&chosen),
        };
        let all = world.nb::<LogicalRouter>();
        (
            LogicalRouter::INDEX,
            rng.pick(&all).map(|(uuid, _)| *uuid),
            column,
        )
    };
    let Some(uuid) = uuid else {
        return operations;
    };
    operations.push(Operation::update_row(table, uuid, vec![column]));
    operations
}

fn group(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let groups = world.nb::<LoadBalancerGroup>();
    let Some((uuid, _)) = rng.pick(&groups).cloned() else {
        return Vec::new();
    };
    let mut operations = Vec::new();
    let members = some::<LoadBalancer>(world, rng, &mut operations, random);
    let columns = vec![LoadBalancerGroup::COLUMN.load_balancer.to(&members)];
    operations.push(Operation::update_row(
        LoadBalancerGroup::INDEX,
        uuid,
        columns,
    ));
    operations
}

fn another(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let all = world.nb::<LoadBalancer>();
    let Some((uuid, _)) = rng.pick(&all) else {
        return Vec::new();
    };
    let mut operations = Vec::new();
    let mut row = random(rng);
    if rng.once_in(2) {
        let check = rng.uuid();
        let vip = ["172.30.0.1:80", "[fd30::1]:80", "172.30.0.9"][rng.below(3)];
        let mut of = LoadBalancerHealthCheck {
            vip: vip.into(),
            ..Default::default()
        };
        of.options
            .insert("interval".into(), ["7", "0"][rng.below(2)].into());
        operations.push(insert(check, &of));
        row.health_check.push(check);
    }
    let row = row.to_row();
    let columns = row.columns().iter().cloned().enumerate().collect();
    operations.push(Operation::update_row(LoadBalancer::INDEX, *uuid, columns));
    operations
}

/// A chassis says whether a backend answers.
fn status(world: &mut World, rng: &mut Rng) -> String {
    let all = world.sb::<sb::ServiceMonitor>();
    let Some((uuid, row)) = rng.pick(&all) else {
        return "nobody to be probed".to_owned();
    };
    let said: Option<Arc<str>> = Some(["online", "offline", "error"][rng.below(3)].into());
    let what = format!("{} of {}: {said:?}", row.ip, row.logical_port);
    let columns = vec![sb::ServiceMonitor::COLUMN.status.to(&said)];
    world.south(vec![Operation::update_row(
        sb::ServiceMonitor::INDEX,
        *uuid,
        columns,
    )]);
    what
}

fn removal(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let all = world.nb::<LoadBalancer>();
    let gone = rng.pick(&all).map(|(uuid, _)| *uuid);
    gone.map(|uuid| Operation::delete_row(LoadBalancer::INDEX, uuid))
        .into_iter()
        .collect()
}

fn setting(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let Some((uuid, mut row)) = world.nb::<NbGlobal>().pop() else {
        return Vec::new();
    };
    let value = ["true", "false", "perhaps"][rng.below(3)];
    row.options
        .insert("install_ls_lb_from_router".into(), value.into());
    let columns = vec![NbGlobal::COLUMN.options.to(&row.options)];
    vec![Operation::update_row(NbGlobal::INDEX, uuid, columns)]
}

/// A switch has rules allow-stateless leave load balancers their packets, or not.
fn untracking(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let all = world.nb::<LogicalSwitch>();
    let Some((uuid, row)) = rng.pick(&all) else {
        return Vec::new();
    };
    let mut settings = row.other_config.clone();
    let value = ["true", "false", "perhaps"][rng.below(3)];
    settings.insert("enable-stateless-acl-with-lb".into(), value.into());
    let columns = vec![LogicalSwitch::COLUMN.other_config.to(&settings)];
    vec![Operation::update_row(LogicalSwitch::INDEX, *uuid, columns)]
}

fn force(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let all = world.nb::<LogicalRouter>();
    let Some((uuid, row)) = rng.pick(&all) else {
        return Vec::new();
    };
    let mut options = row.options.clone();
    let key = ["lb_force_snat_ip", "dnat_force_snat_ip"][rng.below(2)];
    match [
        "",
        "router_ip",
        "172.31.0.9 fd31::9",
        "172.31.0.9 172.31.0.8",
        "x",
    ][rng.below(5)]
    {
        "" => options.remove(key),
        value => options.insert(key.into(), value.into()),
    };
    let columns = vec![LogicalRouter::COLUMN.options.to(&options)];
    vec![Operation::update_row(LogicalRouter::INDEX, *uuid, columns)]
}

fn random(rng: &mut Rng) -> LoadBalancer {
    let vips = [
        "172.30.0.1:80",
        "172.30.0.1:81",
        "172.30.0.2",
        "[fd30::1]:80",
        "fd30::2",
        "^vip:^port",
        "nobody",
    ];
    let backends = [
        "10.0.0.1:8080,10.0.0.2:8080",
        "10.0.0.1",
        "[fd00::1]:80",
        "",
        "fd00::1",
        "^backends",
    ];
    let count = 1 + rng.below(2);
    let vips = (0..count).map(|_| {
        let vip: Arc<str> = vips[rng.below(vips.len())].into();
        (vip, Arc::from(backends[rng.below(backends.len())]))
    });
    let vips = vips.collect();
    let mut row = LoadBalancer {
        name: format!("lb{}", rng.below(3)).into(),
        vips,
        protocol: rng
            .once_in(2)
            .then(|| ["tcp", "udp", "sctp"][rng.below(3)].into()),
        ..Default::default()
    };
    if rng.once_in(4) {
        let ips = ["172.30.0.99", "172.30.0.99 fd30::99", "nobody"];
        let value = ips[rng.below(ips.len())];
        row.options.insert("hairpin_snat_ip".into(), value.into());
    }
    if rng.once_in(3) {
        row.selection_fields = vec!["ip_src".into(), "tp_src".into()];
    }
    for (ip, mapping) in [
        ("10.0.0.1", "p1:10.0.0.200"),
        ("10.0.0.1", "p2:fd00::1"),
        ("10.0.0.2", "p2:10.0.0.1"),
        ("[fd00::1]", "p1:[fd00::99]"),
    ] {
        if rng.once_in(2) {
            row.ip_port_mappings.insert(ip.into(), mapping.into());
        }
    }
    for key in [
        "reject",
        "event",
        "skip_snat",
        "ct_flush",
        "add_route",
        "distributed",
        "use_stateless_nat",
    ] {
        if rng.once_in(4) {
            row.options.insert(key.into(), "true".into());
        }
    }
    if rng.once_in(3) {
        row.options.insert("template".into(), "true".into());
        let family = ["ipv4", "ipv6", "both"][rng.below(3)];
        row.options.insert("address-family".into(), family.into());
    }
    if rng.once_in(4) {
        let seconds = ["0", "60", "70000"][rng.below(3)];
        row.options
            .insert("affinity_timeout".into(), seconds.into());
    }
    if rng.once_in(3) {
        let responder = ["all", "none", "reachable", "some"][rng.below(4)];
        row.options
            .insert("neighbor_responder".into(), responder.into());
    }
    row
}

/// What the flows of the stage do, by what they match.
fn spread(world: &World) -> Vec<(String, String)> {
    let flows = world.sb::<sb::LogicalFlow>().into_iter();
    let flows = flows
        .filter(|(_, flow)| *flow.external_ids["stage-name"] == *"ls_in_lb" && flow.priority > 0);
    let mut flows: Vec<(String, String)> = flows
        .map(|(_, flow)| (flow.r#match.to_string(), flow.actions.to_string()))
        .collect();
    flows.sort();
    flows
}

fn balancer(vip: &str, backends: &str) -> LoadBalancer {
    LoadBalancer {
        name: vip.into(),
        vips: [(vip.into(), backends.into())].into(),
        ..Default::default()
    }
}

#[test]
fn who_does_not_answer_leaves_and_comes_back() {
    let mut world = World::new();
    let uuid = Uuid::from_u128;
    let ports = [uuid(11), uuid(12)];
    let mut row = balancer("172.30.0.1:80", "10.0.0.1:80,10.0.0.2:80");
    row.health_check = vec![uuid(2)];
    row.options.insert("reject".into(), "true".into());
    for (ip, mapping) in [("10.0.0.1", "p1:10.0.0.9"), ("10.0.0.2", "p2:10.0.0.9")] {
        row.ip_port_mappings.insert(ip.into(), mapping.into());
    }
    let check = LoadBalancerHealthCheck {
        vip: "172.30.0.1:80".into(),
        options: [("interval".into(), "7".into())].into(),
        ..Default::default()
    };
    let switch = LogicalSwitch {
        name: "s".into(),
        ports: ports.to_vec(),
        load_balancer: vec![uuid(1)],
        ..Default::default()
    };
    let mut operations = vec![
        insert(uuid(1), &row),
        insert(uuid(2), &check),
        insert(uuid(3), &switch),
    ];
    for (number, port) in (1..).zip(ports) {
        let row = LogicalSwitchPort {
            name: format!("p{number}").into(),
            addresses: vec![format!("02:00:00:00:00:0{number} 10.0.0.{number}").into()],
            ..Default::default()
        };
        operations.push(insert(port, &row));
    }
    world.north(operations);
    let both = "ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:80);";
    assert_eq!(spread(&world)[0].1, both);
    let probed = world.sb::<sb::ServiceMonitor>();
    assert_eq!(probed.len(), 2);
    assert!(probed.iter().all(|(_, row)| {
        (&*row.src_ip, row.port, &*row.options["interval"]) == ("10.0.0.9", 80, "7")
    }));
    let say = |world: &mut World, ip: &str, status: &str| {
        let (uuid, _) = probed
            .iter()
            .find(|(_, row)| *row.ip == *ip)
            .expect("it is probed");
        let status: Option<Arc<str>> = Some(status.into());
        let columns = vec![sb::ServiceMonitor::COLUMN.status.to(&status)];
        world.south(vec![Operation::update_row(
            sb::ServiceMonitor::INDEX,
            *uuid,
            columns,
        )]);
        spread(world)[0].1.clone()
    };
    let one = "ct_lb_mark(backends=10.0.0.2:80);";
    assert_eq!(say(&mut world, "10.0.0.1", "offline"), one);
    assert!(say(&mut world, "10.0.0.2", "error").starts_with("reject"));
    assert_eq!(say(&mut world, "10.0.0.2", "online"), one);
    let before = world.written;
    world.restart();
    assert_eq!(world.written, before, "a restart writes nothing");
    assert_eq!(say(&mut world, "10.0.0.1", "online"), both);
}

#[test]
fn a_virtual_address_is_one_flow_wherever_it_acts() {
    const DATAPATHS: usize = 30;
    let mut world = World::new();
    let mut rng = Rng::new(1);
    let group = rng.uuid();
    let mut operations = Vec::new();
    for number in 0..DATAPATHS {
        let switch = LogicalSwitch {
            name: format!("s{number}").into(),
            load_balancer_group: vec![group],
            ..Default::default()
        };
        let router = LogicalRouter {
            name: format!("r{number}").into(),
            load_balancer_group: vec![group],
            options: [("chassis".into(), format!("c{number}").into())].into(),
            ..Default::default()
        };
        operations.push(insert(rng.uuid(), &switch));
        operations.push(insert(rng.uuid(), &router));
    }
    let first = rng.uuid();
    let row = LoadBalancerGroup {
        name: "g".into(),
        load_balancer: vec![first],
        ..Default::default()
    };
    operations.push(insert(group, &row));
    operations.push(insert(first, &balancer("172.30.0.1:80", "10.0.0.1:80")));
    world.north(operations);
    let count = |world: &World| {
        let groups = world.sb::<sb::LogicalDpGroup>().len();
        (world.sb::<sb::LogicalFlow>().len(), groups)
    };
    let (flows, groups) = count(&world);
    let second = rng.uuid();
    let columns = vec![
        LoadBalancerGroup::COLUMN
            .load_balancer
            .to(&vec![first, second]),
    ];
    world.north(vec![
        insert(
            second,
            &balancer("172.30.0.2:80", "10.0.0.1:80,10.0.0.2:80"),
        ),
        Operation::update_row(LoadBalancerGroup::INDEX, group, columns),
    ]);
    assert_eq!(count(&world), (flows + 1, groups));
    let before: Vec<Uuid> = uuids(&world);
    let vips = balancer("172.30.0.2:80", "10.0.0.1:80").vips;
    let columns = vec![LoadBalancer::COLUMN.vips.to(&vips)];
    world.north(vec![Operation::update_row(
        LoadBalancer::INDEX,
        second,
        columns,
    )]);
    let after: Vec<Uuid> = uuids(&world);
    let others = after.iter().filter(|uuid| !before.contains(uuid));
    assert_eq!(others.count(), 1, "a backend that goes is one flow");
}

fn uuids(world: &World) -> Vec<Uuid> {
    let flows = world.sb::<sb::LogicalFlow>().into_iter();
    flows.map(|(uuid, _)| uuid).collect()
}

#[test]
fn a_row_stays_whatever_carries_the_load_balancer() {
    let mut world = World::new();
    let uuid = Uuid::from_u128;
    let mut row = balancer("172.30.0.1:80", "10.0.0.1:80");
    let registers = Arc::from("hairpin_orig_tuple");
    row.options.insert(registers, "true".into());
    row.options.insert("ct_flush".into(), "true".into());
    let group = LoadBalancerGroup {
        name: "g".into(),
        load_balancer: vec![uuid(1)],
        ..Default::default()
    };
    let named = |name: &str, direct: &[Uuid], groups: &[Uuid]| LogicalSwitch {
        name: name.into(),
        load_balancer: direct.to_vec(),
        load_balancer_group: groups.to_vec(),
        ..Default::default()
    };
    world.north(vec![
        insert(uuid(1), &row),
        insert(uuid(2), &group),
        insert(uuid(3), &named("direct", &[uuid(1)], &[])),
        insert(uuid(4), &named("by group", &[], &[uuid(2)])),
    ]);
    let south = |world: &World| {
        let rows = world.sb::<sb::LoadBalancer>();
        let [(uuid, row)] = rows.as_slice() else {
            panic!("one row: {rows:?}");
        };
        let groups = world.sb::<sb::LogicalDpGroup>().into_iter();
        let mut own = groups.filter(|(uuid, _)| Some(*uuid) == row.ls_datapath_group);
        let datapaths = own.next().expect("it has datapaths").1.datapaths.len();
        let options: Vec<Arc<str>> = row.options.keys().cloned().collect();
        assert_eq!(
            options,
            ["ct_flush".into()],
            "no original destination in registers"
        );
        (*uuid, datapaths)
    };
    let (before, datapaths) = south(&world);
    assert_eq!(datapaths, 2);
    let columns = vec![LogicalSwitch::COLUMN.load_balancer.to(&Vec::new())];
    let operation = Operation::update_row(LogicalSwitch::INDEX, uuid(3), columns);
    world.north(vec![operation]);
    assert_eq!(south(&world), (before, 1));
    let written = world.written;
    world.restart();
    assert_eq!(world.written, written, "a restart writes nothing");
}
