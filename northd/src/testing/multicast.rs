//! What a careless operator does with multicast, and what controllers learn.

use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Clause, Uuid};
use sb_db::tables as sb;

use super::random::{Rng, update};
use super::{World, insert};

/// Addresses that rows of `IGMP_Group` have, good and bad.
const GROUPS: [&str; 7] = [
    "239.1.1.1",
    "239.1.1.2",
    "ff1e::1",
    "ff02::99",
    "224.0.0.9",
    "mrouters",
    "10.0.0.1",
];

/// Switches snoop, routers relay, ports get everything; or not.
pub fn snoop(world: &mut World, rng: &mut Rng) -> String {
    let truth = ["true", "false", "maybe"][rng.below(3)];
    match rng.below(4) {
        0 | 1 => {
            let rows = world.nb::<nb::LogicalSwitch>();
            let Some((uuid, row)) = rng.pick(&rows).cloned() else {
                return "no switch".to_owned();
            };
            let mut config = row.other_config;
            let (key, value) = [
                ("mcast_snoop", "true"),
                ("mcast_snoop", truth),
                ("mcast_flood_unregistered", truth),
                ("mcast_table_size", "1"),
                ("mcast_table_size", "2000"),
                ("mcast_querier", truth),
                ("mcast_eth_src", "02:00:00:00:00:77"),
                ("mcast_ip4_src", "10.0.0.77"),
            ][rng.below(8)];
            config.insert(key.into(), value.into());
            let columns = vec![nb::LogicalSwitch::COLUMN.other_config.to(&config)];
            update::<nb::LogicalSwitch>(world, Some(uuid), columns);
            format!("switch {uuid} has {config:?}")
        }
        2 => {
            let rows = world.nb::<nb::LogicalSwitchPort>();
            let Some((uuid, row)) = rng.pick(&rows).cloned() else {
                return "no port".to_owned();
            };
            let mut options = row.options;
            options.insert("mcast_flood".into(), truth.into());
            let columns = vec![nb::LogicalSwitchPort::COLUMN.options.to(&options)];
            update::<nb::LogicalSwitchPort>(world, Some(uuid), columns);
            format!("port {uuid} floods: {truth}")
        }
        _ => relay(world, rng, truth),
    }
}

fn relay(world: &mut World, rng: &mut Rng, truth: &str) -> String {
    if rng.once_in(2) {
        let rows = world.nb::<nb::LogicalRouter>();
        let Some((uuid, row)) = rng.pick(&rows).cloned() else {
            return "no router".to_owned();
        };
        let mut options = row.options;
        options.insert("mcast_relay".into(), truth.into());
        let columns = vec![nb::LogicalRouter::COLUMN.options.to(&options)];
        update::<nb::LogicalRouter>(world, Some(uuid), columns);
        return format!("router {uuid} relays: {truth}");
    }
    let rows = world.nb::<nb::LogicalRouterPort>();
    let Some((uuid, row)) = rng.pick(&rows).cloned() else {
        return "no router port".to_owned();
    };
    let mut options = row.options;
    options.insert("mcast_flood".into(), truth.into());
    let columns = vec![nb::LogicalRouterPort::COLUMN.options.to(&options)];
    update::<nb::LogicalRouterPort>(world, Some(uuid), columns);
    format!("router port {uuid} floods: {truth}")
}

/// A chassis learns who has joined a group, or forgets it.
pub fn join(world: &mut World, rng: &mut Rng) -> String {
    let rows = world.sb::<sb::IgmpGroup>();
    if !rows.is_empty() && rng.once_in(3) {
        let (uuid, _) = rng.pick(&rows).expect("not empty");
        world.south(vec![Operation::Delete {
            table: sb::IgmpGroup::INDEX,
            condition: vec![Clause::is_row(*uuid)],
        }]);
        return format!("group {uuid} is forgotten");
    }
    let chassis = world.sb::<sb::Chassis>();
    let bindings = world.sb::<sb::PortBinding>();
    let (Some((chassis, of)), Some((_, binding))) = (rng.pick(&chassis), rng.pick(&bindings))
    else {
        return "no chassis or no port".to_owned();
    };
    // Some ports are of other datapaths than they should be.
    let ports: Vec<Uuid> = (0..=rng.below(3))
        .filter_map(|_| rng.pick(&bindings))
        .map(|(uuid, _)| *uuid)
        .collect();
    let group = sb::IgmpGroup {
        address: GROUPS[rng.below(GROUPS.len())].into(),
        protocol: "IGMPv2".into(),
        datapath: Some(binding.datapath),
        chassis: (!rng.once_in(8)).then_some(*chassis),
        ports,
        chassis_name: of.name.clone(),
        ..Default::default()
    };
    let known = rows.iter().find(|(_, row)| {
        (&row.address, row.datapath, row.chassis) == (&group.address, group.datapath, group.chassis)
    });
    let operation = match known {
        Some((uuid, _)) => {
            let columns = vec![sb::IgmpGroup::COLUMN.ports.to(&group.ports)];
            Operation::update_row(sb::IgmpGroup::INDEX, *uuid, columns)
        }
        None => insert(rng.uuid(), &group),
    };
    world.south(vec![operation]);
    format!("{group:?}")
}
