//! A network small enough to look at.

mod common;

use common::{World, insert};
use nb_db::tables as nb;
use ovsdb::Uuid;
use sb_db::tables as sb;

#[test]
fn scratch() {
    let mut world = World::new();
    let port = |n: u128, name: &str| nb::LogicalSwitchPort {
        uuid: Uuid::from_u128(n),
        name: name.into(),
        addresses: vec![format!("02:00:00:00:00:{n:02x} 10.0.0.{n} fd00::{n}").into()],
        dhcpv4_options: Some(Uuid::from_u128(50)),
        ..Default::default()
    };
    let (p1, p2) = (port(1, "p1"), port(2, "p2"));
    let switch = nb::LogicalSwitch { name: "sw".into(), ports: vec![p1.uuid, p2.uuid], ..Default::default() };
    let dhcp = nb::DhcpOptions {
        cidr: "10.0.0.0/24".into(),
        options: [("server_id", "10.0.0.254"), ("server_mac", "02:00:00:00:00:fe"), ("lease_time", "3600"), ("router", "10.0.0.254"), ("dns_server", "{8.8.8.8, 8.8.4.4}")]
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect(),
        ..Default::default()
    };
    world.north(vec![
        insert(p1.uuid, &p1),
        insert(p2.uuid, &p2),
        insert(Uuid::from_u128(9), &switch),
        insert(Uuid::from_u128(50), &dhcp),
    ]);
    let mut flows = world.sb::<sb::LogicalFlow>();
    flows.sort_by_key(|(_, flow)| (flow.pipeline.clone(), flow.table_id, -flow.priority));
    for (_, flow) in flows {
        println!("{} {} {} {:?} {} => {}", flow.pipeline, flow.table_id, flow.priority, flow.logical_datapath.is_some(), flow.r#match, flow.actions);
    }
    for (_, row) in world.sb::<sb::PortBinding>() {
        println!("{row:?}");
    }
    for (_, row) in world.sb::<sb::MulticastGroup>() {
        println!("{row:?}");
    }
    for (_, row) in world.nb::<nb::LogicalSwitchPort>() {
        println!("{row:?}");
    }
    let before = world.written;
    world.restart();
    assert_eq!(world.written, before);
}
