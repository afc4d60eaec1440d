//! Tunnels to other chassis.

use controller::core::Event;
use controller::vswitch::{Interface, Port};
use ovsdb::typed::Table;
use sb_db::tables::{Chassis, Encap, SbGlobal};

use super::stage::*;

#[test]
fn there_is_a_tunnel_for_each_pair_of_addresses() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-encap-ip", "10.0.0.1,10.0.1.1");
    stage.change_settings("ovn-encap-ip-default", "10.0.1.1");
    stage.start();
    let defaults: Vec<(String, bool)> = stage
        .south
        .all::<Encap>()
        .iter()
        .map(|e| (e.ip.to_string(), e.options.contains_key("is_default")))
        .collect();
    assert!(
        defaults.contains(&("10.0.0.1".to_owned(), false)),
        "{defaults:?}"
    );
    assert!(
        defaults.contains(&("10.0.1.1".to_owned(), true)),
        "{defaults:?}"
    );
    stage.add_chassis(2);
    assert_eq!(
        stage.tunnels(),
        ["c2@10.0.0.2%10.0.0.1", "c2@10.0.0.2%10.0.1.1"]
    );
    stage.change_settings("ovn-encap-ip", "10.0.1.1");
    assert_eq!(stage.tunnels(), ["c2@10.0.0.2%10.0.1.1"]);
    stage.change_settings("ovn-enable-flow-based-tunnels", "true");
    assert_eq!(stage.tunnels(), ["flow"]);
    stage.add_chassis(3);
    assert_eq!(stage.tunnels(), ["flow"]);
    stage.change_settings("ovn-enable-flow-based-tunnels", "false");
    assert_eq!(stage.tunnels().len(), 2);
}

#[test]
fn a_tunnel_of_an_older_controller_is_taken_over() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    let mut port = stage.local.all::<Port>();
    port.retain(|port| port.external_ids.contains_key("ovn-chassis-id"));
    let mut port = port.remove(0);
    let interface = port.interfaces.clone();
    let ids = [("ovn-chassis-id".into(), "c2@10.0.0.2".into())];
    port.external_ids = ids.into();
    let change = stage.local.put(&port, port.uuid);
    let operations = stage.local_operations;
    stage.event(Event::Local(replica::Event::Changes(vec![change])));
    assert_eq!(stage.local_operations - operations, 1);
    assert_eq!(stage.tunnels(), ["c2@10.0.0.2%10.0.0.1"]);
    let ports = stage.local.all::<Port>();
    assert!(ports.iter().any(|port| port.interfaces == interface));
}

#[test]
fn tunnels_say_whom_they_are_encrypted_for() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    let names = |stage: &Stage| -> Vec<String> {
        let interfaces = stage.local.all::<Interface>().into_iter();
        let options = interfaces.filter(|row| row.options.contains_key("remote_ip"));
        let names = options.map(|row| row.options.get("remote_name").cloned());
        names
            .map(|name| name.unwrap_or_default().to_string())
            .collect()
    };
    assert_eq!(names(&stage), [""]);
    for (ipsec, name) in [(true, "c2"), (false, "")] {
        let mut global = stage.south.all::<SbGlobal>().remove(0);
        global.ipsec = ipsec;
        let change = stage.south.put(&global, global.uuid);
        stage.change_south(change);
        assert_eq!(names(&stage), [name]);
    }
}

#[test]
fn a_chassis_that_comes_or_goes_is_one_tunnels_work() {
    let mut stage = Stage::new();
    stage.start();
    for n in 2..30 {
        stage.add_chassis(n);
    }
    assert_eq!(stage.tunnels().len(), 28);
    let before = stage.local_operations;
    let new = stage.add_chassis(30);
    // Interface, port, and the bridge's list.
    assert_eq!(stage.local_operations - before, 3);
    let change = stage.south.set(Chassis::INDEX, new, None);
    stage.change_south(change);
    assert_eq!(stage.local_operations - before, 4);
    assert_eq!(stage.tunnels().len(), 28);
}

#[test]
fn another_integration_bridge_gets_the_tunnels() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    stage.change_settings("ovn-bridge", "br-other");
    assert_eq!(stage.tunnels_on("br-other"), ["c2@10.0.0.2%10.0.0.1"]);
    assert_eq!(stage.tunnels_on("br-int"), [] as [String; 0]);
}

#[test]
fn what_the_old_bridge_was_sent_promises_nothing_of_the_new_one() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.switch.hold_barriers = true;
    stage.plug();
    assert_eq!(stage.port().up, Some(false));
    assert_eq!(stage.switch.held.len(), 1);
    stage.change_settings("ovn-bridge", "br-other");
    stage.plug_into("br-other", "vm1", 60, 9);
    // The first barrier of the new connection is no answer to the last of the old one.
    assert!(!stage.switch.flows.is_empty());
    assert_eq!(stage.port().up, Some(false));
    stage.release_barriers();
    assert_eq!(stage.port().up, Some(true));
}

#[test]
fn a_port_of_somebody_else_may_have_the_name_of_a_tunnel() {
    let mut stage = Stage::new();
    stage.start();
    stage.plug_device("ovn-geneve", 70);
    stage.change_settings("ovn-enable-flow-based-tunnels", "true");
    assert_eq!(stage.tunnels(), ["flow"]);
    let ports = stage.local.all::<Port>();
    let tunnel = ports
        .iter()
        .find(|port| port.external_ids.contains_key("ovn-chassis-id"));
    assert_eq!(tunnel.map(|port| &*port.name), Some("ovn-flow-0"));
}
