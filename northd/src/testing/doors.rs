//! What a careless operator does with ports that are no guests' and no routers': other switches, gateways, external and virtual
//! ones; and how chassis take virtual ports.

use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

use super::World;
use super::random::{NAMES, Rng};

/// Makes a port one of the types that are neither a guest's nor a router's.
pub fn other_type(world: &World, rng: &mut Rng, port: &mut nb::LogicalSwitchPort) {
    let name = |rng: &mut Rng| format!("p{}", rng.below(NAMES));
    let options = match rng.below(6) {
        0 => {
            port.r#type = "switch".into();
            port.peer = (!rng.once_in(8)).then(|| name(rng).into());
            // Two that lead to each other are rare by chance.
            let ends = world.nb::<nb::LogicalSwitchPort>();
            let back = ends
                .iter()
                .find(|(_, end)| &*end.r#type == "switch" && end.peer.as_ref() == Some(&port.name));
            if let Some((_, end)) = back.filter(|_| !rng.once_in(4)) {
                port.peer = Some(end.name.clone());
            }
            vec![]
        }
        1 => {
            port.r#type = "l2gateway".into();
            port.tag_request = rng.once_in(2).then_some(7);
            vec![
                ("network_name", "physnet".to_owned()),
                ("l2gateway-chassis", ["c0", "c1"][rng.below(2)].to_owned()),
            ]
        }
        2 => {
            port.r#type = "external".into();
            let groups = world.nb::<nb::HaChassisGroup>();
            port.ha_chassis_group = rng.pick(&groups).map(|(uuid, _)| *uuid);
            vec![]
        }
        3 => {
            port.r#type = "virtual".into();
            let ip = ["10.0.0.3", "10.0.0.98", "fd00::3", "10.0.0"][rng.below(4)];
            let parents = format!("{},{}", name(rng), name(rng));
            vec![("virtual-ip", ip.to_owned()), ("virtual-parents", parents)]
        }
        4 => {
            port.r#type = "vtep".into();
            vec![
                ("vtep-physical-switch", "torch".to_owned()),
                ("vtep-logical-switch", "ls".to_owned()),
            ]
        }
        _ => {
            port.r#type = "remote".into();
            vec![]
        }
    };
    for (key, value) in options {
        if !rng.once_in(12) {
            port.options.insert(key.into(), value.into());
        }
    }
}

/// A chassis says which guest has a virtual port, or that none has.
pub fn take_virtual(world: &mut World, rng: &mut Rng) -> String {
    let bindings = world.sb::<sb::PortBinding>();
    let ports: Vec<_> = bindings
        .iter()
        .filter(|(_, row)| &*row.r#type == "virtual")
        .collect();
    let Some((port, row)) = rng.pick(&ports) else {
        return "no virtual port".to_owned();
    };
    let chassis = world.sb::<sb::Chassis>();
    let chassis = rng.pick(&chassis).map(|(uuid, _)| *uuid);
    let parents = row.options.get("virtual-parents").cloned();
    let parents = parents.unwrap_or_default();
    let parents: Vec<&str> = parents.split(',').collect();
    let parent = rng.pick(&parents).filter(|_| !rng.once_in(3));
    let column = sb::PortBinding::COLUMN;
    let columns = vec![
        column.chassis.to(&chassis.filter(|_| parent.is_some())),
        column.virtual_parent.to(&parent.map(|name| (*name).into())),
    ];
    let update = Operation::update_row(sb::PortBinding::INDEX, *port, columns);
    world.south(vec![update]);
    format!("virtual port {port} is {parent:?}'s, on {chassis:?}")
}
