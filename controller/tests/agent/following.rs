//! What a change costs: what is known already is not asked for, and what is right is not written.

use controller::core::{Event, SwitchEvent};
use controller::vswitch::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::Uuid;
use ovsdb::typed::Table;
use sb_db::tables::{DatapathBinding, PortBinding, SbGlobal};

use super::stage::*;

const SECOND: Uuid = Uuid::from_u128(50);

/// A second port of the switch.
fn add_second(stage: &mut Stage, datapath: Uuid) {
    let port = PortBinding {
        logical_port: "vm2".into(),
        datapath,
        tunnel_key: 2,
        ..PortBinding::default()
    };
    let change = stage.south.put(&port, SECOND);
    stage.change_south(change);
}

/// Its interface.
fn plug_second(stage: &mut Stage) {
    let [interface_uuid, port_uuid] = [51, 52].map(Uuid::from_u128);
    let interface = Interface {
        name: "tap2".into(),
        ofport: Some(6),
        external_ids: [("iface-id".into(), "vm2".into())].into(),
        ..Interface::default()
    };
    let port = Port {
        name: "tap2".into(),
        interfaces: vec![interface_uuid],
        ..Port::default()
    };
    let mut bridge = stage.local.all::<Bridge>().remove(0);
    bridge.ports.push(port_uuid);
    bridge.ports.sort();
    let changes = vec![
        stage.local.put(&interface, interface_uuid),
        stage.local.put(&port, port_uuid),
        stage.local.put(&bridge, bridge.uuid),
    ];
    stage.event(Event::Local(replica::Event::Changes(changes)));
}

fn second(stage: &Stage) -> PortBinding {
    let mut ports = stage.south.all::<PortBinding>();
    ports.retain(|port| port.uuid == SECOND);
    ports.remove(0)
}

#[test]
fn a_port_of_a_local_datapath_is_not_asked_for() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    add_second(&mut stage, DATAPATH);
    stage.plug();
    let (asked, operations) = (stage.conditions, stage.local_operations);
    plug_second(&mut stage);
    assert_eq!(second(&stage).chassis, Some(stage.own()));
    assert_eq!(stage.conditions, asked);
    // Its zone, and that its flows are in place.
    assert_eq!(stage.local_operations - operations, 2);
}

#[test]
fn a_port_that_moves_to_another_datapath_is_sought_there() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    add_second(&mut stage, DATAPATH);
    stage.plug();
    plug_second(&mut stage);
    let asked = stage.conditions;
    let change = stage.south.set(PortBinding::INDEX, SECOND, None);
    stage.change_south(change);
    assert_eq!(stage.conditions, asked + 1, "by name, wherever it is");
    let elsewhere = Uuid::from_u128(60);
    let datapath = DatapathBinding {
        tunnel_key: 9,
        ..DatapathBinding::default()
    };
    let change = stage.south.put(&datapath, elsewhere);
    stage.change_south(change);
    add_second(&mut stage, elsewhere);
    assert_eq!(second(&stage).chassis, Some(stage.own()));
    assert_eq!(stage.conditions, asked + 2, "the datapath brings it now");
}

#[test]
fn zones_are_remembered_and_forgotten_one_by_one() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let zone = |stage: &Stage| {
        let bridge = stage.local.all::<Bridge>().remove(0);
        bridge.external_ids.get("ct-zone-vm1").cloned()
    };
    assert_eq!(zone(&stage).as_deref(), Some("1"));
    stage.unplug();
    assert_eq!(zone(&stage), None);
    // One that was remembered and that nobody has is forgotten at the start.
    let mut bridge = stage.local.all::<Bridge>().remove(0);
    let ids = [
        ("ct-zone-gone".into(), "7".into()),
        ("other".into(), "x".into()),
    ];
    bridge.external_ids = ids.into();
    stage.local.put(&bridge, bridge.uuid);
    let mut stage = stage.restart();
    stage.start();
    let bridge = stage.local.all::<Bridge>().remove(0);
    let keys = bridge.external_ids.keys().map(|key| &**key);
    let keys: Vec<_> = keys.filter(|key| !key.starts_with("ovn-")).collect();
    assert_eq!(keys, ["other"]);
}

#[test]
fn the_bridge_says_how_far_the_controller_is_and_the_interface_since_when() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let told = |stage: &Stage, key: &str| {
        let bridge = stage.local.all::<Bridge>().remove(0);
        let value = bridge.external_ids.get(key)?;
        value.parse::<i64>().ok()
    };
    let started = told(&stage, "ovn-startup-ts").expect("a time");
    let switch = stage.local.all::<OpenVSwitch>().remove(0);
    assert_eq!(
        switch.other_config.get("vlan-limit").map(|of| &**of),
        Some("0")
    );
    assert!(told(&stage, "ovn-nb-cfg").is_some());
    assert!(told(&stage, "ovn-nb-cfg-ts").is_some_and(|at| at >= started));
    let since = |stage: &Stage| {
        let interfaces = stage.local.all::<Interface>().into_iter();
        let mut marked =
            interfaces.filter_map(|of| of.external_ids.get("ovn-installed-ts").cloned());
        marked.next().and_then(|since| since.parse::<i64>().ok())
    };
    assert!(stage.is_marked_installed());
    assert!(since(&stage).is_some_and(|at| at >= started));
    let uuid = stage.south.all::<SbGlobal>()[0].uuid;
    let global = SbGlobal {
        nb_cfg: 7,
        ..SbGlobal::default()
    };
    let change = stage.south.put(&global, uuid);
    stage.change_south(change);
    assert_eq!(told(&stage, "ovn-nb-cfg"), Some(7));
    // The mark goes with the port's claim, and the time with it.
    let port = stage.port().uuid;
    let change = stage.south.set(PortBinding::INDEX, port, None);
    stage.change_south(change);
    assert_eq!((stage.is_marked_installed(), since(&stage)), (false, None));
}

#[test]
fn a_zone_that_somebody_takes_out_of_the_bridge_is_put_back() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let mut bridge = stage.local.all::<Bridge>().remove(0);
    let zones = bridge.external_ids.clone();
    bridge.external_ids = [("ct-zone-vm1".into(), "77".into())].into();
    let change = stage.local.put(&bridge, bridge.uuid);
    stage.event(Event::Local(replica::Event::Changes(vec![change])));
    assert_eq!(stage.local.all::<Bridge>().remove(0).external_ids, zones);
}

#[test]
fn a_switch_that_does_not_keep_up_is_sent_nothing_more() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.event(Event::Switch(SwitchEvent::Full));
    stage.switch.mods.clear();
    stage.plug();
    assert_eq!((stage.switch.mods.len(), stage.port().up), (0, Some(false)));
    stage.event(Event::Switch(SwitchEvent::Drained));
    assert!(!stage.switch.mods.is_empty());
    assert_eq!(stage.port().up, Some(true));
}
