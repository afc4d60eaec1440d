//! What routers exchange with chassis.

use nb_db::tables::{GatewayChassis, LoadBalancer, LogicalRouterStaticRoute, LogicalSwitch, Nat};
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables::{DatapathBinding, LogicalFlow};

use super::*;
use crate::testing::{World, insert};

const ROUTER_ROW: Uuid = Uuid::from_u128(1);
const OUTSIDE: Uuid = Uuid::from_u128(3);

fn options(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<Arc<str>, Arc<str>> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (Arc::from(*key), Arc::from(*value)))
        .collect()
}

/// A router with a switch of two guests inside, a port outside, and a static route there.
fn world(of_router: &[(&str, &str)], of_inside: &[(&str, &str)]) -> World {
    let uuid = Uuid::from_u128;
    let mut world = World::new();
    let mut on = vec![("dynamic-routing", "true")];
    on.extend(of_router);
    let router = LogicalRouter {
        name: "r".into(),
        ports: vec![uuid(2), OUTSIDE],
        static_routes: vec![uuid(4)],
        options: options(&on),
        ..Default::default()
    };
    let port = |name: &str, mac: &str, networks: &[&str]| LogicalRouterPort {
        name: name.into(),
        mac: mac.into(),
        networks: networks.iter().map(|network| (*network).into()).collect(),
        ..Default::default()
    };
    let inside = LogicalRouterPort {
        options: options(of_inside),
        ..port(
            "inside",
            "02:00:00:00:00:02",
            &["10.0.1.1/24", "fd01::1/64"],
        )
    };
    let outside = port("outside", "02:00:00:00:00:03", &["10.0.9.1/24"]);
    let route = LogicalRouterStaticRoute {
        ip_prefix: "10.7.0.0/16".into(),
        nexthop: "10.0.9.7".into(),
        ..Default::default()
    };
    let switch = LogicalSwitch {
        name: "s".into(),
        ports: vec![uuid(6), uuid(7)],
        ..Default::default()
    };
    let end = LogicalSwitchPort {
        name: "s-r".into(),
        r#type: "router".into(),
        addresses: vec!["router".into()],
        options: options(&[("router-port", "inside")]),
        ..Default::default()
    };
    let guest = LogicalSwitchPort {
        name: "guest".into(),
        addresses: vec!["02:00:00:00:01:11 10.0.1.11 fd01::11".into()],
        ..Default::default()
    };
    world.north(vec![
        insert(ROUTER_ROW, &router),
        insert(uuid(2), &inside),
        insert(OUTSIDE, &outside),
        insert(uuid(4), &route),
        insert(uuid(5), &switch),
        insert(uuid(6), &end),
        insert(uuid(7), &guest),
    ]);
    world
}

/// Port, prefix, and the port that is where the prefix is.
fn told(world: &World) -> Vec<String> {
    let names: std::collections::BTreeMap<Uuid, Arc<str>> = world
        .sb::<PortBinding>()
        .into_iter()
        .map(|(uuid, row)| (uuid, row.logical_port))
        .collect();
    let rows = world.sb::<AdvertisedRoute>().into_iter();
    let mut told: Vec<String> = rows
        .map(|(_, row)| {
            let place = row.tracked_port.map(|port| format!(" at {}", names[&port]));
            let (by, place) = (&names[&row.logical_port], place.unwrap_or_default());
            format!("{by} {}{place}", row.ip_prefix)
        })
        .collect();
    told.sort();
    told
}

fn binding(world: &World, name: &str) -> (Uuid, PortBinding) {
    let mut rows = world.sb::<PortBinding>().into_iter();
    rows.find(|(_, row)| &*row.logical_port == name)
        .expect("the port has a binding")
}

#[test]
fn networks_and_static_routes_are_told() {
    let mut world = world(
        &[
            ("dynamic-routing-redistribute", "connected,static"),
            ("dynamic-routing-vrf-id", "77"),
            ("dynamic-routing-vrf-name", "red"),
        ],
        &[("dynamic-routing-maintain-vrf", "true")],
    );
    let all = [
        "inside 10.0.1.0/24",
        "inside fd01::/64",
        "outside 10.0.9.0/24",
        "outside 10.7.0.0/16",
    ];
    assert_eq!(told(&world), all);
    let (_, inside) = binding(&world, "inside");
    for (key, value) in [
        ("dynamic-routing", "true"),
        ("dynamic-routing-maintain-vrf", "true"),
        ("dynamic-routing-vrf-name", "red"),
    ] {
        let said = inside.options.get(key).map(|value| &**value);
        assert_eq!(said, Some(value), "{key}");
    }
    let routers = world.sb::<DatapathBinding>().into_iter();
    let ids = routers.map(|(_, row)| row.external_ids);
    let ids: Vec<_> = ids
        .filter_map(|ids| ids.get("dynamic-routing-vrf-id").cloned())
        .collect();
    assert_eq!(ids, ["77".into()]);

    // A port says it for itself.
    let column = LogicalRouterPort::COLUMN.options;
    let own = options(&[("dynamic-routing-redistribute", "connected")]);
    let columns = vec![column.to(&own)];
    let update = Operation::update_row(LogicalRouterPort::INDEX, OUTSIDE, columns);
    world.north(vec![update]);
    assert_eq!(told(&world), all[..3]);

    // The router exchanges nothing any more.
    let column = LogicalRouter::COLUMN.options;
    let columns = vec![column.to(&options(&[]))];
    let update = Operation::update_row(LogicalRouter::INDEX, ROUTER_ROW, columns);
    world.north(vec![update]);
    assert!(told(&world).is_empty());
    let (_, inside) = binding(&world, "inside");
    let mut keys = inside.options.keys();
    assert!(!keys.any(|key| key.starts_with("dynamic-routing")));
}

#[test]
fn addresses_are_told_one_by_one_with_their_places() {
    let mut world = world(
        &[],
        &[("dynamic-routing-redistribute", "connected-as-host")],
    );
    let own = ["inside 10.0.1.1 at inside", "inside fd01::1 at inside"];
    let guest = ["inside 10.0.1.11 at guest", "inside fd01::11 at guest"];
    let mut all = [own, guest].concat();
    all.sort_unstable();
    assert_eq!(told(&world), all);
    let row = Uuid::from_u128(7);
    let column = LogicalSwitchPort::COLUMN.enabled;
    let columns = vec![column.to(&Some(false))];
    let update = Operation::update_row(LogicalSwitchPort::INDEX, row, columns);
    world.north(vec![update]);
    assert_eq!(told(&world), own);
}

#[test]
fn what_a_router_and_its_neighbour_translate_and_balance_is_told() {
    let uuid = Uuid::from_u128;
    let mut world = world(&[("chassis", "c0")], &[]);
    let rule = Nat {
        r#type: "snat".into(),
        external_ip: "10.0.9.50".into(),
        logical_ip: "10.0.1.0/24".into(),
        ..Default::default()
    };
    let balancer = LoadBalancer {
        name: "web".into(),
        vips: options(&[("10.0.8.8:80", "10.0.1.11:80"), ("10.0.8.8:81", "")]),
        ..Default::default()
    };
    // Another router on the switch, which tells what its neighbours have.
    let beside = LogicalRouterPort {
        name: "beside".into(),
        mac: "02:00:00:00:00:04".into(),
        networks: vec!["10.0.1.2/24".into()],
        ..Default::default()
    };
    let on = [
        ("dynamic-routing", "true"),
        ("dynamic-routing-redistribute", "nat,lb"),
    ];
    let second = LogicalRouter {
        name: "r2".into(),
        ports: vec![uuid(20)],
        options: options(&on),
        ..Default::default()
    };
    let end = LogicalSwitchPort {
        name: "s-r2".into(),
        r#type: "router".into(),
        addresses: vec!["router".into()],
        options: options(&[("router-port", "beside")]),
        ..Default::default()
    };
    let router = LogicalRouter::COLUMN;
    let columns = vec![
        router.nat.to(&vec![uuid(22)]),
        router.load_balancer.to(&vec![uuid(23)]),
    ];
    let ports = LogicalSwitch::COLUMN.ports;
    world.north(vec![
        insert(uuid(20), &beside),
        insert(uuid(21), &second),
        insert(uuid(22), &rule),
        insert(uuid(23), &balancer),
        insert(uuid(24), &end),
        Operation::update_row(LogicalRouter::INDEX, ROUTER_ROW, columns),
        Operation::update_row(
            LogicalSwitch::INDEX,
            uuid(5),
            vec![ports.to(&vec![uuid(6), uuid(7), uuid(24)])],
        ),
    ]);
    assert_eq!(told(&world), ["beside 10.0.8.8", "beside 10.0.9.50"]);

    // The router tells it itself, and is on all chassis, with a gateway port.
    let group = GatewayChassis {
        name: "outside-c0".into(),
        chassis_name: "c0".into(),
        ..Default::default()
    };
    let gateway = vec![
        LogicalRouterPort::COLUMN
            .gateway_chassis
            .to(&vec![uuid(25)]),
    ];
    world.north(vec![
        insert(uuid(25), &group),
        Operation::update_row(LogicalRouterPort::INDEX, OUTSIDE, gateway),
        Operation::update_row(
            LogicalRouter::INDEX,
            ROUTER_ROW,
            vec![router.options.to(&options(&on))],
        ),
        Operation::delete_row(LogicalRouter::INDEX, uuid(21)),
    ]);
    let all = [
        "inside 10.0.8.8 at cr-outside",
        "inside 10.0.9.50 at cr-outside",
        "outside 10.0.8.8 at cr-outside",
        "outside 10.0.9.50 at cr-outside",
    ];
    assert_eq!(told(&world), all);

    // Nobody tells it any more.
    let only = options(&[("dynamic-routing", "true")]);
    let columns = vec![router.options.to(&only)];
    let update = Operation::update_row(LogicalRouter::INDEX, ROUTER_ROW, columns);
    world.north(vec![update]);
    assert!(told(&world).is_empty());
}

fn learn(world: &mut World, row: u128, port: &str, prefix: &str, hop: &str) {
    let (uuid, port) = binding(world, port);
    let learned = LearnedRoute {
        datapath: port.datapath,
        logical_port: uuid,
        ip_prefix: prefix.into(),
        nexthop: hop.into(),
        ..Default::default()
    };
    world.south(vec![insert(Uuid::from_u128(row), &learned)]);
}

/// Priorities and next hops of routes to a prefix.
fn routes(world: &World, prefix: &str) -> Vec<(i64, String)> {
    let flows = world.sb::<LogicalFlow>().into_iter();
    let flows = flows.filter(|(_, flow)| flow.r#match.ends_with(&format!("== {prefix}")));
    let mut routes: Vec<_> = flows
        .map(|(_, flow)| {
            let hop = flow.actions.split("reg0 = ").nth(1).unwrap_or("several");
            let hop = hop.split(';').next().unwrap_or_default();
            (flow.priority, hop.to_owned())
        })
        .collect();
    routes.sort();
    routes
}

#[test]
fn what_chassis_have_learned_is_followed_below_static_routes() {
    let mut world = world(&[], &[]);
    learn(&mut world, 50, "outside", "10.7.0.0/16", "10.0.9.8");
    learn(&mut world, 51, "outside", "10.8.0.0/16", "10.0.9.8");
    let hop = |hop: &str| hop.to_owned();
    let both = [(130, hop("10.0.9.8")), (132, hop("10.0.9.7"))];
    assert_eq!(routes(&world, "10.7.0.0/16"), both);
    assert_eq!(routes(&world, "10.8.0.0/16"), [(130, hop("10.0.9.8"))]);

    // A second way to one of them; and one that makes no sense costs itself.
    learn(&mut world, 52, "outside", "10.8.0.0/16", "10.0.9.9");
    learn(&mut world, 53, "outside", "10.8.0.0/16", "nowhere");
    let several = routes(&world, "10.8.0.0/16");
    let hops: Vec<&str> = several.iter().map(|(_, hop)| hop.as_str()).collect();
    assert_eq!(hops, ["10.0.9.8", "10.0.9.9", "several"]);
    world.south(vec![Operation::delete_row(
        LearnedRoute::INDEX,
        Uuid::from_u128(50),
    )]);
    assert_eq!(routes(&world, "10.7.0.0/16"), both[1..]);

    // The port learns nothing any more.
    let column = LogicalRouterPort::COLUMN.options;
    let columns = vec![column.to(&options(&[("dynamic-routing-no-learning", "true")]))];
    let update = Operation::update_row(LogicalRouterPort::INDEX, OUTSIDE, columns);
    world.north(vec![update]);
    assert!(world.sb::<LearnedRoute>().is_empty());
    assert!(routes(&world, "10.8.0.0/16").is_empty());
}
