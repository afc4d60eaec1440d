//! What is known of next hops, and what becomes of connections by dead ones.

use nb_db::tables::{Bfd, LogicalRouter, LogicalRouterPort, LogicalRouterStaticRoute};
use ovsdb::operation::Operation;
use sb_db::tables::{self as sb, DatapathBinding, LogicalFlow};

use super::*;
use crate::testing::{World, insert};

const MONITORED: Uuid = Uuid::from_u128(9);

/// A router on one chassis with two symmetric routes to a prefix, the second with a session.
fn world() -> World {
    let uuid = Uuid::from_u128;
    let mut world = World::new();
    let port = LogicalRouterPort {
        name: "p".into(),
        mac: "02:00:00:00:00:01".into(),
        networks: vec!["10.0.0.1/24".into(), "fd00::1/64".into()],
        ..Default::default()
    };
    let route = |prefix: &str, hop: &str, bfd| LogicalRouterStaticRoute {
        ip_prefix: prefix.into(),
        nexthop: hop.into(),
        bfd,
        options: [("ecmp_symmetric_reply".into(), "true".into())].into(),
        ..Default::default()
    };
    let session = Bfd {
        logical_port: "p".into(),
        dst_ip: "10.0.0.9".into(),
        ..Default::default()
    };
    let router = LogicalRouter {
        name: "r".into(),
        ports: vec![uuid(1)],
        static_routes: vec![uuid(2), uuid(3), uuid(4)],
        options: [("chassis".into(), "c0".into())].into(),
        ..Default::default()
    };
    let global = NbGlobal {
        options: [(MONITOR.into(), "true".into())].into(),
        ..Default::default()
    };
    let known = world.nb::<NbGlobal>();
    let mut operations: Vec<Operation> = known
        .iter()
        .map(|(uuid, _)| Operation::delete_row(NbGlobal::INDEX, *uuid))
        .collect();
    operations.extend([
        insert(uuid(1), &port),
        insert(uuid(2), &route("10.7.0.0/16", "10.0.0.8", None)),
        insert(uuid(3), &route("10.7.0.0/16", "10.0.0.9", Some(uuid(5)))),
        insert(uuid(4), &route("fd07::/64", "fd00::8", None)),
        insert(uuid(5), &session),
        insert(uuid(6), &router),
        insert(MONITORED, &global),
    ]);
    world.north(operations);
    world
}

fn learn(world: &mut World, row: u128, ip: &str, mac: &str) {
    let (datapath, _) = world.sb::<DatapathBinding>().remove(0);
    let row_of = MacBinding {
        logical_port: "p".into(),
        ip: ip.into(),
        mac: mac.into(),
        datapath,
        ..Default::default()
    };
    world.south(vec![insert(Uuid::from_u128(row), &row_of)]);
}

/// Next hops with their MACs.
fn rows(world: &World) -> Vec<(String, String)> {
    let rows = world.sb::<EcmpNexthop>().into_iter();
    let rows = rows.map(|(_, row)| (row.nexthop.to_string(), row.mac.to_string()));
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

fn flows(world: &World, priority: i64) -> Vec<String> {
    let flows = world.sb::<LogicalFlow>().into_iter();
    let flows = flows.filter(|(_, flow)| flow.priority == priority);
    let mut flows: Vec<_> = flows
        .filter(|(_, flow)| flow.r#match.contains("ecmp_reply_eth"))
        .map(|(_, flow)| format!("{} => {}", flow.r#match, flow.actions))
        .collect();
    flows.sort();
    flows
}

#[test]
fn next_hops_are_told_with_what_is_known_of_their_macs() {
    let mut world = world();
    let said = |hops: &[(&str, &str)]| -> Vec<(String, String)> {
        let hops = hops.iter();
        hops.map(|(hop, mac)| ((*hop).to_owned(), (*mac).to_owned()))
            .collect()
    };
    // That of the session is down, and has no row until it is up.
    assert_eq!(rows(&world), said(&[("10.0.0.8", ""), ("fd00::8", "")]));
    learn(&mut world, 20, "10.0.0.8", "02:00:00:00:00:08");
    learn(&mut world, 21, "fd00::8", "02:00:00:00:00:08");
    learn(&mut world, 22, "10.0.0.77", "02:00:00:00:00:77");
    let mac = "02:00:00:00:00:08";
    assert_eq!(rows(&world), said(&[("10.0.0.8", mac), ("fd00::8", mac)]));
    let known = "inport == \"p\" && eth.src == 02:00:00:00:00:08 && ct.est && !ct.rpl \
                 && ct_mark.ecmp_reply_port == 1 && ct_label.ecmp_reply_eth == 02:00:00:00:00:08 \
                 => reg7 = 0; next;";
    assert_eq!(flows(&world, 210), [known]);

    // It is forgotten, which says nothing of connections.
    let forget = Operation::delete_row(MacBinding::INDEX, Uuid::from_u128(20));
    world.south(vec![forget]);
    assert_eq!(rows(&world), said(&[("10.0.0.8", mac), ("fd00::8", mac)]));
    learn(&mut world, 20, "10.0.0.8", mac);

    // Another MAC is heard of, and then the route is gone.
    let column = MacBinding::COLUMN.mac;
    let columns = vec![(column.index, Datum::from("02:00:00:00:00:18"))];
    let row = Uuid::from_u128(20);
    let update = Operation::update_row(MacBinding::INDEX, row, columns);
    world.south(vec![update]);
    let new = "02:00:00:00:00:18";
    assert_eq!(rows(&world), said(&[("10.0.0.8", new), ("fd00::8", mac)]));
    let column = LogicalRouter::COLUMN.static_routes;
    let columns = vec![column.to(&vec![Uuid::from_u128(4)])];
    let router = Uuid::from_u128(6);
    let update = Operation::update_row(LogicalRouter::INDEX, router, columns);
    world.north(vec![update]);
    assert_eq!(rows(&world), said(&[("fd00::8", mac)]));

    // Nobody is told of next hops that nobody monitors; the flows stay.
    world.north(vec![Operation::delete_row(NbGlobal::INDEX, MONITORED)]);
    assert_eq!(rows(&world), []);
    assert_eq!(flows(&world, 210).len(), 1);
}

#[test]
fn replies_leave_a_next_hop_whose_session_is_down() {
    let mut world = world();
    learn(&mut world, 20, "10.0.0.9", "02:00:00:00:00:09");
    let dead = "ip4 && ct.rpl && reg9[14] == 0 && ct_mark.ecmp_reply_port == 1 \
                && ct_label.ecmp_reply_eth == 02:00:00:00:00:09";
    let [flow] = flows(&world, 10_301)
        .try_into()
        .expect("one next hop is down");
    assert!(flow.starts_with(dead), "{flow}");
    assert!(
        flow.contains("reg9[14] = 1; next(pipeline=ingress"),
        "{flow}"
    );
    assert_eq!(flows(&world, 210).len(), 0);

    // Whoever has the port says that the session is up.
    let encap = sb::Encap {
        r#type: "geneve".into(),
        ip: "192.0.2.1".into(),
        chassis_name: "c0".into(),
        ..Default::default()
    };
    let chassis = sb::Chassis {
        name: "c0".into(),
        encaps: vec![Uuid::from_u128(31)],
        ..Default::default()
    };
    world.south(vec![
        insert(Uuid::from_u128(31), &encap),
        insert(Uuid::from_u128(30), &chassis),
    ]);
    let (binding, _) = world.sb::<PortBinding>().remove(0);
    let (session, _) = world.sb::<sb::Bfd>().remove(0);
    let hosted = vec![PortBinding::COLUMN.chassis.to(&Some(Uuid::from_u128(30)))];
    let up = vec![(sb::Bfd::COLUMN.status.index, Datum::from("up"))];
    world.south(vec![
        Operation::update_row(PortBinding::INDEX, binding, hosted),
        Operation::update_row(sb::Bfd::INDEX, session, up),
    ]);
    assert_eq!(flows(&world, 10_301).len(), 0);
    assert_eq!(flows(&world, 210).len(), 1);
    assert!(rows(&world).contains(&("10.0.0.9".into(), "02:00:00:00:00:09".into())));
}

#[test]
fn whom_a_living_next_hop_has_the_mac_of_is_not_left() {
    let mut world = world();
    learn(&mut world, 20, "10.0.0.9", "02:00:00:00:00:09");
    learn(&mut world, 21, "fd00::8", "02:00:00:00:00:09");
    assert_eq!(flows(&world, 10_301).len(), 1, "IPv6 is another matter");
    learn(&mut world, 22, "10.0.0.8", "02:00:00:00:00:09");
    assert_eq!(flows(&world, 10_301).len(), 0);
}

#[test]
fn a_declared_next_hop_is_known() {
    let mut world = world();
    let declared = StaticMacBinding {
        logical_port: "p".into(),
        ip: "10.0.0.8".into(),
        mac: "02:00:00:00:00:28".into(),
        ..Default::default()
    };
    world.north(vec![insert(Uuid::from_u128(40), &declared)]);
    assert_eq!(flows(&world, 210).len(), 1);
    assert!(rows(&world).contains(&("10.0.0.8".into(), "02:00:00:00:00:28".into())));
}
