//! Who uses a group of chassis: `HA_Chassis_Group.ref_chassis`.
//!
//! A chassis that has a guest whose packets may have to pass a gateway port runs BFD sessions with the chassis of its group,
//! and they with it, so that each knows whom to send to. Such guests are in the switches of the port's router, and in those
//! of routers behind it: as far as three routers in a row, and never beyond another gateway port, where the chassis of that
//! one send. Where no physical network leads to the gateway port's own switch, guests there send to it as well, and those of
//! other routers on it. A chassis farther away sends to the best of the group without knowing whether it lives.
//!
//! Each port says for itself what it is near to, from one router to the next; each guest where it is. One guest more costs
//! itself alone.

use relations::{Bucket, Handle, Key, Small};

use super::GATEWAY;
use super::groups::{GroupKey, USERS};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::ports::{self as switch_ports, ENTRANCE, HOSTS};
use crate::features::router::ROUTER;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{self, PORT};

/// Groups that are near a switch or a router, each with the port by which they are.
pub(super) type Near = Bucket<Handle, By>;

/// A group, and the port by which it is near: of the router, or, of a switch's own gateway, of the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct By {
    group: GroupKey,
    port: Handle,
    /// It is near by its own switch, where guests send to it through tunnels: the port may become or cease to be one that says
    /// the same as a link.
    is_beyond: bool,
}

impl Small for By {
    fn pack(self) -> Key {
        let [row, is_shared, ..] = self.group.pack().words();
        let [port, ..] = self.port.pack().words();
        Key::new([row, is_shared, port, self.is_beyond.into(), 0])
    }

    fn unpack(key: Key) -> Self {
        let [row, is_shared, port, is_beyond, _] = key.words();
        Self {
            is_beyond: is_beyond != 0,
            group: GroupKey::unpack(Key::new([row, is_shared, 0, 0, 0])),
            port: Handle::unpack(Key::new([port, 0, 0, 0, 0])),
        }
    }
}

/// Groups of a router's own gateway ports.
pub(super) static OF_ROUTER: Near = Bucket::new("gateway groups of a router");
/// Groups near a switch, and near a router behind it, by how many routers are between.
pub(super) static SWITCH_1: Near = Bucket::new("gateway groups one router away");
pub(super) static ROUTER_1: Near = Bucket::new("gateway groups of the next router");
pub(super) static SWITCH_2: Near = Bucket::new("gateway groups two routers away");
pub(super) static ROUTER_2: Near = Bucket::new("gateway groups of the router behind");
pub(super) static SWITCH_3: Near = Bucket::new("gateway groups three routers away");

/// From a router to the switches that its ports lead to.
macro_rules! out {
    ($name:literal, $from:ident => $to:ident) => {
        Kind {
            name: $name,
            over: Over::Keys(&PORT),
            reads: &[&ROUTER, &GATEWAY, &PEER, &$from],
            says: &[&$to],
            wants: &[],
            run: |unit, key| {
                let row = Handle::unpack(key);
                if let Some((router, Peer::Switch { switch, .. })) = link(unit, row) {
                    let groups = groups(unit, &$from, router);
                    tell(unit, &$to, *switch, groups, row);
                }
            },
        }
    };
}

/// From a switch, or by a direct link, to the router that a port belongs to.
macro_rules! into {
    ($name:literal, $switch:ident | $router:ident => $to:ident) => {
        Kind {
            name: $name,
            over: Over::Keys(&PORT),
            reads: &[&ROUTER, &PORT, &GATEWAY, &PEER, &$switch, &$router],
            says: &[&$to],
            wants: &[],
            run: |unit, key| {
                let row = Handle::unpack(key);
                let Some((router, peer)) = link(unit, row) else {
                    return;
                };
                let mut near = match peer {
                    Peer::Switch { switch, .. } => groups(unit, &$switch, *switch),
                    Peer::Router { name, .. } => {
                        let other = ports::named(unit, name).map(|(_, router)| router);
                        other.map_or_else(Vec::new, |other| groups(unit, &$router, other))
                    }
                };
                let known = groups(unit, &$router, router);
                near.retain(|group| !known.contains(group));
                tell(unit, &$to, router, near, row);
            },
        }
    };
}

pub(super) static OUT_1: Kind = out!("gateway-users/1", OF_ROUTER => SWITCH_1);
/// From a gateway port to its own switch, where guests send to it through tunnels.
pub(super) static BEYOND: Kind = Kind {
    name: "gateway-users/beyond",
    over: Over::Keys(&ENTRANCE),
    reads: &[&GATEWAY],
    says: &[&SWITCH_1],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(entrance), Some(switch)) =
            (unit.get(&ENTRANCE, row), switch_ports::owner(unit, row))
        else {
            return;
        };
        if let Some(gateway) = unit.get(&GATEWAY, entrance.gateway) {
            let by = By {
                is_beyond: true,
                ..By::own(gateway.group, row)
            };
            unit.join(&SWITCH_1, switch, by);
        }
    },
};
pub(super) static INTO_1: Kind = into!("gateway-users/1-router", SWITCH_1 | OF_ROUTER => ROUTER_1);
pub(super) static OUT_2: Kind = out!("gateway-users/2", ROUTER_1 => SWITCH_2);
pub(super) static INTO_2: Kind = into!("gateway-users/2-router", SWITCH_2 | ROUTER_1 => ROUTER_2);
pub(super) static OUT_3: Kind = out!("gateway-users/3", ROUTER_2 => SWITCH_3);

/// A chassis with guests in a switch uses what is near.
pub(super) static CHASSIS: Kind = Kind {
    name: "gateway-users/chassis",
    over: Over::Keys(&HOSTS),
    reads: &[&SWITCH_1, &SWITCH_2, &SWITCH_3],
    says: &[&USERS],
    wants: &[],
    run: |unit, key| {
        let (switch, chassis) = <(Handle, Handle)>::unpack(key);
        let uuid = unit.south_uuid(chassis);
        let near = [&SWITCH_1, &SWITCH_2, &SWITCH_3];
        let mut near: Vec<GroupKey> = near
            .into_iter()
            .flat_map(|of| groups(unit, of, switch))
            .collect();
        near.sort_unstable();
        near.dedup();
        for group in near {
            unit.member(&USERS, group, uuid);
        }
    },
};

/// The router of a port that is no gateway port, and what the port leads to: what is beyond a gateway port is the business of
/// its chassis.
fn link<'a>(unit: &Unit<'a>, row: Handle) -> Option<(Handle, &'a Peer)> {
    if unit.get(&GATEWAY, row).is_some() {
        return None;
    }
    Some((ports::owner(unit, row)?, unit.get(&PEER, row)?))
}

/// The groups near a switch or a router, each once.
fn groups(unit: &Unit<'_>, of: &'static Near, key: Handle) -> Vec<GroupKey> {
    let members = unit.members(of, key).iter();
    let mut groups: Vec<GroupKey> = members.map(|by| by.group).collect();
    groups.dedup();
    groups
}

/// They are near this one, too, by that port.
fn tell(unit: &mut Unit<'_>, of: &'static Near, to: Handle, groups: Vec<GroupKey>, port: Handle) {
    for group in groups {
        unit.join(of, to, By::own(group, port));
    }
}

impl By {
    /// A group of the port's own.
    pub(super) const fn own(group: GroupKey, port: Handle) -> Self {
        let is_beyond = false;
        Self {
            group,
            port,
            is_beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use nb_db::tables as nb;
    use ovsdb::operation::Operation;
    use ovsdb::typed::Table;
    use sb_db::tables as sb;
    use uuid::Uuid;

    use crate::testing::{World, insert};

    /// A router with a guest's switch `red`, and a gateway port on the switch `public` with a guest, too, and perhaps a door to a
    /// physical network. Who uses the gateway when each of the guests is on a chassis of its own.
    fn users(has_door: bool) -> Vec<Uuid> {
        let mut world = World::new();
        let id = Uuid::from_u128;
        let port = |name: &str, kind: &str, router_port: &str| nb::LogicalSwitchPort {
            name: name.into(),
            r#type: kind.into(),
            addresses: vec![
                if kind == "router" {
                    "router"
                } else {
                    "unknown"
                }
                .into(),
            ],
            options: match kind {
                "router" => [("router-port".into(), router_port.into())].into(),
                "localnet" => [("network_name".into(), "phys".into())].into(),
                _ => Default::default(),
            },
            ..Default::default()
        };
        let ports = [
            (10, port("red-r", "router", "r-red")),
            (11, port("red1", "", "")),
            (12, port("public-r", "router", "r-public")),
            (13, port("public1", "", "")),
            (14, port("door", "localnet", "")),
        ];
        let mut operations: Vec<Operation> = Vec::new();
        for (n, row) in &ports {
            if has_door || *n != 14 {
                operations.push(insert(id(*n), row));
            }
        }
        let doors = if has_door { vec![id(14)] } else { Vec::new() };
        for (n, name, ports) in [
            (20, "red", vec![id(10), id(11)]),
            (21, "public", [vec![id(12), id(13)], doors].concat()),
        ] {
            let row = nb::LogicalSwitch {
                name: name.into(),
                ports,
                ..Default::default()
            };
            operations.push(insert(id(n), &row));
        }
        let gateway = nb::GatewayChassis {
            name: "g".into(),
            chassis_name: "gw".into(),
            priority: 1,
            ..Default::default()
        };
        operations.push(insert(id(30), &gateway));
        for (n, name, network, gateways) in [
            (31, "r-red", "10.0.0.1/24", vec![]),
            (32, "r-public", "10.1.0.1/24", vec![id(30)]),
        ] {
            let row = nb::LogicalRouterPort {
                name: name.into(),
                mac: format!("02:00:00:00:00:{n}").into(),
                networks: vec![network.into()],
                gateway_chassis: gateways,
                ..Default::default()
            };
            operations.push(insert(id(n), &row));
        }
        let router = nb::LogicalRouter {
            name: "r".into(),
            ports: vec![id(31), id(32)],
            ..Default::default()
        };
        operations.push(insert(id(33), &router));
        world.north(operations);
        let rows = [1, 2].map(|n| {
            let encap = sb::Encap {
                r#type: "geneve".into(),
                ip: format!("192.0.2.{n}").into(),
                chassis_name: format!("c{n}").into(),
                ..Default::default()
            };
            let chassis = sb::Chassis {
                name: format!("c{n}").into(),
                encaps: vec![id(100 + n)],
                ..Default::default()
            };
            [insert(id(100 + n), &encap), insert(id(n), &chassis)]
        });
        world.south(rows.concat());
        let column = sb::PortBinding::COLUMN;
        let bindings = world.sb::<sb::PortBinding>();
        for (name, n) in [("red1", 1), ("public1", 2)] {
            let port = bindings.iter().find(|(_, row)| *row.logical_port == *name);
            let (port, _) = port.expect("the guest's binding");
            let columns = vec![column.chassis.to(&Some(id(n)))];
            world.south(vec![Operation::update_row(
                sb::PortBinding::INDEX,
                *port,
                columns,
            )]);
        }
        let (_, group) = world.sb::<sb::HaChassisGroup>().remove(0);
        let mut users = group.ref_chassis;
        users.sort();
        users
    }

    #[test]
    fn guests_beyond_a_gateway_use_it_where_they_send_to_it_through_tunnels() {
        assert_eq!(users(true), [Uuid::from_u128(1)]);
        assert_eq!(users(false), [1, 2].map(Uuid::from_u128));
    }
}
