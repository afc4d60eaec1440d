//! Another southbound while the agent runs: other members, other keys for TLS, another name there.

use std::sync::Arc;

use controller::core::Event;
use controller::vswitch::{Bridge, Ssl};
use ovsdb::Uuid;
use ovsdb::typed::Table;
use sb_db::tables::{
    Chassis, ChassisPrivate, DatapathBinding, Encap, LogicalFlow, PortBinding, SbGlobal,
};

use super::stage::*;

/// The switch's database has other keys for TLS.
fn change_keys(stage: &mut Stage, file: &str) {
    let keys = Ssl {
        private_key: file.into(),
        certificate: file.into(),
        ca_cert: file.into(),
        ..Ssl::default()
    };
    let change = stage.local.put(&keys, Uuid::from_u128(70));
    stage.event(Event::Local(replica::Event::Changes(vec![change])));
}

/// A second guest, at a port of the switch.
fn plug_another(stage: &mut Stage) -> Uuid {
    let uuid = Uuid::from_u128(50);
    let datapath = stage.port().datapath;
    let port = PortBinding {
        logical_port: "vm2".into(),
        datapath,
        tunnel_key: 2,
        ..PortBinding::default()
    };
    let change = stage.south.put(&port, uuid);
    stage.change_south(change);
    stage.plug_as("vm2", 51, 6);
    uuid
}

fn named(stage: &Stage, name: &str) -> PortBinding {
    let mut ports = stage.south.all::<PortBinding>();
    ports.retain(|port| &*port.logical_port == name);
    ports.remove(0)
}

#[test]
fn other_members_are_given_to_the_replica_that_there_is() {
    let mut stage = Stage::new();
    stage.start();
    let epoch = stage.epoch;
    stage.change_settings("ovn-remote", "unix:/nowhere,unix:/elsewhere");
    assert_eq!((stage.epoch, stage.remotes.len()), (epoch, 1));
    assert_eq!(stage.remotes[0].len(), 2);
    // What makes no sense is nowhere.
    stage.change_settings("ovn-remote", "sideways:7");
    assert_eq!((stage.epoch, &stage.remotes[1][..]), (epoch, &[][..]));
}

#[test]
fn what_is_under_way_when_the_keys_change_is_asked_again() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.south_is_silent = true;
    stage.plug();
    assert_eq!(stage.port().chassis, None, "nobody has answered");
    let (old, flows) = (stage.epoch, stage.switch.flows.clone());
    stage.switch.mods.clear();
    stage.south_is_silent = false;
    change_keys(&mut stage, "/new");
    assert!(stage.epoch > old);
    assert_eq!(stage.port().chassis, Some(stage.own()));
    assert_eq!(stage.port().up, Some(true));
    assert_eq!((stage.switch.mods.len(), &stage.switch.flows), (0, &flows));
    // And it goes on.
    let second = plug_another(&mut stage);
    assert_eq!(named(&stage, "vm2").uuid, second);
    assert_eq!(named(&stage, "vm2").up, Some(true));
}

#[test]
fn an_earlier_replica_is_not_heard_any_more() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let old = stage.epoch;
    change_keys(&mut stage, "/new");
    let gone = stage.south.rows[&(PortBinding::INDEX, PORT)].clone();
    let change = ovsdb::RowChange {
        table: PortBinding::INDEX,
        uuid: PORT,
        old: Some(gone),
        new: None,
    };
    stage.switch.mods.clear();
    for event in [
        replica::Event::Changes(vec![change]),
        replica::Event::Synced,
        replica::Event::ConditionsInEffect(99),
    ] {
        stage.event(Event::South(old, event));
    }
    assert_eq!(stage.switch.mods, []);
}

#[test]
fn rows_that_the_new_one_does_not_have_are_gone() {
    let mut stage = Stage::new();
    stage.start();
    let other = stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    assert_eq!(stage.tunnels().len(), 1);
    // Meanwhile, unseen.
    stage.south.set(PortBinding::INDEX, PORT, None);
    stage.south.set(Chassis::INDEX, other, None);
    change_keys(&mut stage, "/new");
    assert!(stage.switch.flows.iter().all(|flow| flow.table != 0));
    assert_eq!(stage.tunnels(), [] as [String; 0]);
}

#[test]
fn the_same_network_under_other_identities_changes_nothing_in_the_switch() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let flows = |stage: &Stage| {
        let flows = stage.switch.flows.iter();
        let mut flows: Vec<String> = flows
            .map(|f| format!("{} {} {:?} {:?}", f.table, f.priority, f.matches, f.actions))
            .collect();
        flows.sort();
        flows
    };
    let zone = |stage: &Stage| {
        let bridge = stage.local.all::<Bridge>().remove(0);
        bridge.external_ids.get("ct-zone-vm1").cloned()
    };
    let (before, number) = (flows(&stage), zone(&stage));
    let local_operations = stage.local_operations;

    // Another southbound, which another northd has filled.
    let [datapath, port, flow] = [80, 81, 82].map(Uuid::from_u128);
    let old = [
        (DatapathBinding::INDEX, DATAPATH, datapath),
        (PortBinding::INDEX, PORT, port),
        (LogicalFlow::INDEX, Uuid::from_u128(9), flow),
    ];
    for (table, uuid, new) in old {
        let row = stage.south.set(table, uuid, None).old.expect("there");
        let mut row = (*row).clone();
        if table == PortBinding::INDEX {
            row.set(
                PortBinding::COLUMN.datapath.index,
                ovsdb::Datum::One(ovsdb::Atom::Uuid(datapath)),
            );
            row.set(PortBinding::COLUMN.chassis.index, ovsdb::Datum::empty_set());
        }
        if table == LogicalFlow::INDEX {
            let column = LogicalFlow::COLUMN.logical_datapath.index;
            row.set(column, ovsdb::Datum::One(ovsdb::Atom::Uuid(datapath)));
        }
        stage.south.set(table, new, Some(Arc::new(row)));
    }
    let chassis = stage.own();
    stage.south.set(Chassis::INDEX, chassis, None);
    let private = stage.south.all::<ChassisPrivate>().remove(0).uuid;
    stage.south.set(ChassisPrivate::INDEX, private, None);
    stage.watch_flows = true;
    stage.conditions_held = true;
    change_keys(&mut stage, "/new");
    stage.release_conditions();
    assert_eq!(
        stage.fewest_flows,
        before.len(),
        "none was gone for a moment"
    );
    assert_eq!(flows(&stage), before);
    assert_eq!(zone(&stage), number);
    assert_eq!(stage.switch.flushed, [1], "as when the port came");
    assert_eq!(stage.local_operations, local_operations);
    assert_eq!(named(&stage, "vm1").chassis, Some(stage.own()));
    assert_eq!(named(&stage, "vm1").up, Some(true));
}

#[test]
fn under_another_name_the_chassis_takes_its_ports_along() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let old = stage.own();
    let flows = stage.switch.flows.len();
    stage.switch.mods.clear();
    stage.change_settings("system-id", "c9");
    let chassis = stage.south.all::<Chassis>();
    assert_eq!(chassis.len(), 1);
    assert_eq!(&*chassis[0].name, "c9");
    assert_ne!(chassis[0].uuid, old);
    let private = stage.south.all::<ChassisPrivate>();
    assert_eq!(private.len(), 1);
    assert_eq!(
        (&*private[0].name, private[0].chassis),
        ("c9", Some(chassis[0].uuid))
    );
    let port = stage.port();
    assert_eq!((port.chassis, port.up), (Some(chassis[0].uuid), Some(true)));
    let encaps = stage.south.all::<Encap>();
    assert!(chassis[0].encaps.iter().all(|uuid| {
        encaps
            .iter()
            .any(|encap| encap.uuid == *uuid && &*encap.chassis_name == "c9")
    }));
    assert_eq!(
        (stage.switch.mods.len(), stage.switch.flows.len()),
        (0, flows)
    );
    assert_eq!(stage.tunnels(), [] as [String; 0]);
}

#[test]
fn another_host_of_the_same_name_keeps_its_chassis() {
    let mut stage = Stage::new();
    stage.start();
    // Both come from one image; the other has registered last.
    let encap = stage.south.all::<Encap>().remove(0);
    let theirs = Encap {
        ip: "10.0.0.77".into(),
        ..encap.clone()
    };
    stage.south.put(&theirs, encap.uuid);
    stage.south_is_silent = true;
    let row = stage.south.rows[&(Encap::INDEX, encap.uuid)].clone();
    stage.change_south(ovsdb::RowChange {
        table: Encap::INDEX,
        uuid: encap.uuid,
        old: None,
        new: Some(row),
    });
    let id = stage.last_transaction;
    stage.south_is_silent = false;
    stage.change_settings("system-id", "c9");
    stage.south_event(replied(id));
    let mut names: Vec<String> = stage
        .south
        .all::<Chassis>()
        .iter()
        .map(|chassis| chassis.name.to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["c1", "c9"]);
}

#[test]
fn another_southbound_is_told_only_of_what_is_in_place_there() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-monitor-all", "true");
    stage.start();
    let configuration = |stage: &mut Stage, nb_cfg| {
        let global = SbGlobal {
            nb_cfg,
            ..SbGlobal::default()
        };
        stage.south.put(&global, GLOBAL)
    };
    let change = configuration(&mut stage, 9);
    stage.change_south(change);
    let reached = |stage: &Stage| stage.south.all::<ChassisPrivate>()[0].nb_cfg;
    assert_eq!(reached(&stage), 9);
    stage.change_settings("ovn-remote", "unix:/elsewhere");
    // It has the chassis already, and has counted less.
    let mut private = stage.south.all::<ChassisPrivate>().remove(0);
    private.nb_cfg = 0;
    let changes = vec![
        stage.south.put(&private, private.uuid),
        configuration(&mut stage, 5),
    ];
    stage.switch.hold_barriers = true;
    stage.south_event(replica::Event::Changes(changes));
    stage.south_event(replica::Event::Synced);
    assert_eq!(reached(&stage), 0, "nothing is confirmed yet");
    stage.release_barriers();
    assert_eq!(reached(&stage), 5);
}

#[test]
fn what_nobody_wants_to_know_is_not_told() {
    let mut stage = Stage::new();
    stage.start();
    let reached = |stage: &Stage| stage.south.all::<ChassisPrivate>()[0].nb_cfg;
    for (nb_cfg, is_told) in [(3, "true"), (4, "false")] {
        let global = SbGlobal {
            nb_cfg,
            options: [("enable_chassis_nb_cfg_update".into(), is_told.into())].into(),
            ..SbGlobal::default()
        };
        let change = stage.south.put(&global, GLOBAL);
        stage.change_south(change);
        assert_eq!(reached(&stage), 3, "{is_told}");
    }
}
