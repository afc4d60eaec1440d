//! What a careless operator does with gateway ports.

use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

use super::random::{Rng, update};
use super::{World, insert};

/// The names that chassis may have.
const CHASSIS: [&str; 4] = ["c0", "c1", "nobody", "c0"];

/// The chassis of a router's port become others: a list of its own, a group, or none.
pub fn chassis_of_port(world: &mut World, rng: &mut Rng) -> String {
    let ports = world.nb::<nb::LogicalRouterPort>();
    let Some((port, _)) = rng.pick(&ports).cloned() else {
        return "no router port".to_owned();
    };
    let column = nb::LogicalRouterPort::COLUMN;
    match rng.below(5) {
        0 => {
            let none: Vec<Uuid> = Vec::new();
            let columns = vec![
                column.gateway_chassis.to(&none),
                column.ha_chassis_group.to(&None),
            ];
            update::<nb::LogicalRouterPort>(world, Some(port), columns);
            format!("router port {port} has no chassis")
        }
        1 | 2 => own_list(world, rng, port),
        3 => shared_group(world, rng, port),
        _ => claim(world, rng),
    }
}

/// `gateway_chassis` of a port.
fn own_list(world: &mut World, rng: &mut Rng, port: Uuid) -> String {
    let mut operations = Vec::new();
    let mut rows = Vec::new();
    for place in 0..1 + rng.below(2) {
        let uuid = rng.uuid();
        let row = nb::GatewayChassis {
            name: format!("{uuid}-{place}").into(),
            chassis_name: CHASSIS[rng.below(CHASSIS.len())].into(),
            priority: [0, 10, 20][rng.below(3)],
            ..Default::default()
        };
        operations.push(insert(uuid, &row));
        rows.push(uuid);
    }
    let columns = vec![nb::LogicalRouterPort::COLUMN.gateway_chassis.to(&rows)];
    operations.push(Operation::update_row(
        nb::LogicalRouterPort::INDEX,
        port,
        columns,
    ));
    let what = format!("chassis of router port {port}: {operations:?}");
    world.north(operations);
    what
}

/// `ha_chassis_group` of a port, which may be one that others use, and may have the name of a port.
fn shared_group(world: &mut World, rng: &mut Rng, port: Uuid) -> String {
    let groups = world.nb::<nb::HaChassisGroup>();
    let mut operations = Vec::new();
    let known = rng.pick(&groups).map(|(uuid, _)| *uuid);
    let group = match known.filter(|_| groups.len() > 1 || rng.once_in(2)) {
        Some(group) => group,
        None => {
            let name = ["lrp1", "ha"][rng.below(2)];
            if groups.iter().any(|(_, row)| *row.name == *name) {
                return "a name that is taken".to_owned();
            }
            let (member, group) = (rng.uuid(), rng.uuid());
            let row = nb::HaChassis {
                chassis_name: CHASSIS[rng.below(CHASSIS.len())].into(),
                priority: 7,
                ..Default::default()
            };
            operations.push(insert(member, &row));
            let row = nb::HaChassisGroup {
                name: name.into(),
                ha_chassis: vec![member],
                ..Default::default()
            };
            operations.push(insert(group, &row));
            group
        }
    };
    let columns = vec![
        nb::LogicalRouterPort::COLUMN
            .ha_chassis_group
            .to(&Some(group)),
    ];
    operations.push(Operation::update_row(
        nb::LogicalRouterPort::INDEX,
        port,
        columns,
    ));
    let what = format!("group of router port {port}: {operations:?}");
    world.north(operations);
    what
}

/// A chassis claims a gateway port.
fn claim(world: &mut World, rng: &mut Rng) -> String {
    let chassis = world.sb::<sb::Chassis>();
    let bindings = world.sb::<sb::PortBinding>();
    let ports: Vec<_> = bindings
        .iter()
        .filter(|(_, row)| &*row.r#type == "chassisredirect")
        .collect();
    let Some((port, _)) = rng.pick(&ports) else {
        return "no gateway port".to_owned();
    };
    let chassis = rng.pick(&chassis).map(|(uuid, _)| *uuid);
    let columns = vec![sb::PortBinding::COLUMN.chassis.to(&chassis)];
    let update = Operation::update_row(sb::PortBinding::INDEX, *port, columns);
    world.south(vec![update]);
    format!("gateway port {port} is on {chassis:?}")
}
