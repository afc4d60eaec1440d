//! What careless operators do with load balancers. What they do with packets is tested in `testing/balancing.rs`.

use std::sync::Arc;

use nb_db::tables::{LoadBalancer, LoadBalancerGroup, LogicalRouter, LogicalSwitch, NbGlobal};
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};

use crate::testing::random::Rng;
use crate::testing::{World, insert};

/// A load balancer comes, goes, or says something else; a group, a switch or a router has others than before.
///
/// No virtual address is one that the other tests send to: they hold what becomes of packets without load balancers against a
/// model. Some are addresses of routers.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    let operations = match rng.below(10) {
        0 => setting(world, rng),
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
    let row = random(rng).to_row();
    let columns = row.columns().iter().cloned().enumerate().collect();
    vec![Operation::update_row(LoadBalancer::INDEX, *uuid, columns)]
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
        "nobody",
    ];
    let backends = [
        "10.0.0.1:8080,10.0.0.2:8080",
        "10.0.0.1",
        "[fd00::1]:80",
        "",
        "fd00::1",
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
    if rng.once_in(3) {
        row.selection_fields = vec!["ip_src".into(), "tp_src".into()];
    }
    for key in ["reject", "event", "skip_snat", "ct_flush"] {
        if rng.once_in(4) {
            row.options.insert(key.into(), "true".into());
        }
    }
    if rng.once_in(3) {
        let responder = ["all", "none", "reachable", "some"][rng.below(4)];
        row.options
            .insert("neighbor_responder".into(), responder.into());
    }
    row
}
