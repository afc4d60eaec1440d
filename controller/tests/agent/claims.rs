//! Which ports are claimed, as what, when.

use std::time::Duration;

use controller::core::{Event, HOLD};
use controller::vswitch::Interface;
use sb_db::tables::Encap;

use super::stage::*;

#[test]
fn who_fights_for_a_port_waits() {
    let mut stage = Stage::new();
    stage.start();
    let other = stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    let own = stage.own();
    assert_eq!(stage.port().chassis, Some(own));
    for _ in 0..3 {
        stage.change_port(|port| port.chassis = Some(other));
        assert_eq!(stage.port().chassis, Some(other));
        stage.pass(HOLD - Duration::from_millis(1));
        assert_eq!(stage.port().chassis, Some(other));
        stage.pass(Duration::from_millis(1));
        assert_eq!(stage.port().chassis, Some(own));
    }
    // Who has not claimed for a while need not wait.
    stage.pass(HOLD);
    stage.change_port(|port| port.chassis = Some(other));
    assert_eq!(stage.port().chassis, Some(own));
}

#[test]
fn the_first_requested_chassis_is_the_main_one() {
    let mut stage = Stage::new();
    stage.start();
    let other = stage.add_chassis(2);
    stage.add_port();
    stage.change_port(|port| {
        port.options = [("requested-chassis".into(), "c2,host".into())].into();
        port.chassis = Some(other);
        port.up = Some(true);
    });
    stage.plug();
    let own = stage.own();
    let port = stage.port();
    assert_eq!(
        (port.chassis, port.additional_chassis),
        (Some(other), vec![own])
    );
    assert_eq!(port.up, Some(true));
    // The guest has moved.
    stage.change_port(|port| {
        port.options = [("requested-chassis".into(), "c1".into())].into();
    });
    let port = stage.port();
    assert_eq!((port.chassis, port.additional_chassis), (Some(own), vec![]));
    stage.change_port(|port| {
        port.options = [("requested-chassis".into(), "c2".into())].into();
    });
    assert_eq!(stage.port().chassis, None);
}

#[test]
fn a_port_says_by_which_address_it_is_reached() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-encap-ip", "10.0.0.1,10.0.1.1");
    stage.change_settings("ovn-encap-type", "vxlan,geneve");
    stage.start();
    stage.add_port();
    stage.plug();
    assert_eq!(stage.port().encap, None);
    for (ip, found) in [("10.0.1.1", true), ("10.0.9.9", false), ("10.0.0.1", true)] {
        let mut interface = stage.local.all::<Interface>();
        interface.retain(|interface| interface.uuid == INTERFACE);
        let mut interface = interface.remove(0);
        interface.external_ids.insert("encap-ip".into(), ip.into());
        let change = stage.local.put(&interface, INTERFACE);
        stage.event(Event::Local(replica::Event::Changes(vec![change])));
        let encaps = stage.south.all::<Encap>();
        let geneve = encaps
            .iter()
            .find(|e| &*e.ip == ip && &*e.r#type == "geneve");
        assert_eq!(
            (stage.port().encap, geneve.is_some()),
            (geneve.map(|e| e.uuid), found)
        );
    }
}

#[test]
fn an_interface_of_another_version_is_not_the_ports() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    let ask = |stage: &mut Stage, version: Option<&str>| {
        stage.change_port(|port| {
            port.options.remove("iface-id-ver");
            let asked = version.map(|version| ("iface-id-ver".into(), version.into()));
            port.options.extend(asked);
        });
    };
    ask(&mut stage, Some("v2"));
    stage.plug();
    assert_eq!(stage.port().chassis, None, "it says no version");
    let be = |stage: &mut Stage, version: &str| {
        stage.change_interface(|interface| {
            let key = "iface-id-ver".into();
            interface.external_ids.insert(key, version.into());
        });
    };
    be(&mut stage, "v1");
    assert_eq!(stage.port().chassis, None, "it is an earlier port's");
    be(&mut stage, "v2");
    assert_eq!(stage.port().chassis, Some(stage.own()));
    assert_eq!(stage.port().up, Some(true));
    // A later port of the name.
    ask(&mut stage, Some("v3"));
    assert_eq!(stage.port().chassis, None);
    ask(&mut stage, None);
    assert_eq!(stage.port().chassis, Some(stage.own()), "any will do");
}

#[test]
fn of_several_interfaces_of_a_name_the_one_of_the_version_is_the_ports() {
    for (old, new) in [(5, 9), (9, 5)] {
        let mut stage = Stage::new();
        stage.start();
        stage.add_port();
        stage.change_port(|port| {
            port.options.insert("iface-id-ver".into(), "v2".into());
        });
        for (n, ofport, version) in [(60, old, "v1"), (70, new, "v2")] {
            let ids = [("iface-id", "vm1"), ("iface-id-ver", version)];
            let interface = Interface {
                name: format!("tap{ofport}").into(),
                ofport: Some(ofport),
                external_ids: ids.map(|(k, v)| (k.into(), v.into())).into(),
                ..Interface::default()
            };
            stage.add_interface("br-int", &interface, n);
        }
        assert_eq!(stage.port().chassis, Some(stage.own()));
        assert!(stage.is_marked_installed());
        let marked = stage.local.all::<Interface>().into_iter();
        let marked = marked.filter(|of| of.external_ids.contains_key("ovn-installed"));
        let numbers: Vec<_> = marked.filter_map(|of| of.ofport).collect();
        assert_eq!(numbers, [new]);
    }
}
