//! The whole agent against databases and a switch that are lists in memory: what it does, when, and what it does not.

mod claims;
mod following;
mod gateways;
mod refusals;
mod replay;
mod requests;
mod southbound;
mod stage;
mod traffic;
mod tunnels;

use std::time::Duration;

use controller::core::{Event, SwitchEvent};
use controller::vswitch::{Bridge, Interface};
use ovsdb::Uuid;
use sb_db::tables::{Chassis, ChassisPrivate, LogicalFlow, PortBinding, SbGlobal};

use stage::*;

#[test]
fn it_makes_its_bridge_and_registers_itself() {
    let mut stage = Stage::new();
    stage.start();
    let bridge = stage.local.all::<Bridge>().remove(0);
    assert_eq!(
        (&*bridge.name, bridge.fail_mode.as_deref()),
        ("br-int", Some("secure"))
    );
    let chassis = stage.south.all::<Chassis>().remove(0);
    assert_eq!((&*chassis.name, chassis.encaps.len()), ("c1", 1));
    let private = stage.south.all::<ChassisPrivate>().remove(0);
    assert_eq!(private.chassis, Some(chassis.uuid));
}

#[test]
fn a_port_is_claimed_at_once_and_up_after_the_barrier() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    assert_eq!(stage.port().chassis, None);
    stage.switch.hold_barriers = true;
    stage.plug();
    assert!(stage.port().chassis.is_some());
    assert!(
        stage.switch.flows.iter().any(|f| f.table == 0),
        "{:?}",
        stage.switch.flows
    );
    assert_eq!(
        (stage.port().up, stage.is_marked_installed()),
        (Some(false), false)
    );
    stage.release_barriers();
    assert_eq!(
        (stage.port().up, stage.is_marked_installed()),
        (Some(true), true)
    );
    stage.unplug();
    assert_eq!((stage.port().chassis, stage.port().up), (None, Some(false)));
    assert!(stage.switch.flows.iter().all(|f| f.table != 0));
}

#[test]
fn the_configuration_is_reached_after_the_barrier() {
    let mut stage = Stage::new();
    stage.start();
    let reached = |stage: &Stage| stage.south.all::<ChassisPrivate>()[0].nb_cfg;
    stage.switch.hold_barriers = true;
    let change = stage.south.put(
        &SbGlobal {
            nb_cfg: 7,
            ..SbGlobal::default()
        },
        GLOBAL,
    );
    stage.change_south(change);
    assert_eq!(reached(&stage), 0);
    stage.release_barriers();
    assert_eq!(reached(&stage), 7);
}

#[test]
fn a_restart_with_nothing_changed_changes_nothing() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    let choosing = LogicalFlow {
        logical_datapath: Some(DATAPATH),
        pipeline: "ingress".into(),
        table_id: 1,
        r#match: "ip4".into(),
        actions: "reg8[0..15] = select(1=1, 2=1);".into(),
        ..LogicalFlow::default()
    };
    let learning = LogicalFlow {
        table_id: 2,
        actions: "put_fdb(inport, eth.src);".into(),
        ..choosing.clone()
    };
    for (n, flow) in (30..).zip([choosing, learning]) {
        let change = stage.south.put(&flow, Uuid::from_u128(n));
        stage.change_south(change);
    }
    stage.plug();
    let flows = stage.switch.flows.len();
    assert!(flows > 8);
    assert_eq!(
        (stage.switch.groups.len(), stage.switch.meters.len()),
        (1, 1)
    );
    let mut stage = stage.restart();
    stage.switch.others = 0;
    stage.start();
    assert_eq!(stage.switch.mods, []);
    assert_eq!(stage.switch.others, 0);
    assert_eq!(stage.switch.flows.len(), flows);
    // And it is a living agent.
    stage.unplug();
    assert!(stage.switch.flows.len() < flows);
}

#[test]
fn a_restart_without_the_southbound_leaves_the_switch_alone() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let mut stage = stage.restart();
    stage.south_up = false;
    stage.start();
    assert_eq!(stage.switch.mods, []);
    assert_eq!(stage.port().up, Some(true));
}

#[test]
fn a_lost_southbound_changes_nothing() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    stage.switch.mods.clear();
    let remote = "unix:/nowhere".parse().expect("a remote");
    stage.south_event(replica::Event::Disconnected {
        remote,
        reason: "gone".to_owned(),
    });
    assert_eq!(stage.switch.mods, []);
}

#[test]
fn a_switch_that_starts_empty_gets_all_flows_again() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let flows = stage.switch.flows.len();
    stage.event(Event::Switch(SwitchEvent::Closed("it restarts".to_owned())));
    stage.switch = Switch::default();
    stage.event(Event::Switch(SwitchEvent::Connected));
    assert_eq!(stage.switch.flows.len(), flows);
    assert_eq!(stage.switch.mods.len(), flows);
}

#[test]
fn a_flow_that_makes_no_sense_stops_nothing_else() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    let flow = LogicalFlow {
        logical_datapath: Some(DATAPATH),
        pipeline: "ingress".into(),
        r#match: "inport === 7".into(),
        actions: "next;".into(),
        ..LogicalFlow::default()
    };
    let change = stage.south.put(&flow, Uuid::from_u128(10));
    stage.change_south(change);
    stage.plug();
    assert_eq!(stage.port().up, Some(true));
    assert!(stage.switch.flows.iter().any(|f| f.table == 8));
}

#[test]
fn a_guest_with_a_way_to_a_physical_network_is_announced() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-bridge-mappings", "phys:br-ex");
    let other = Bridge {
        name: "br-ex".into(),
        ..Bridge::default()
    };
    stage.local.put(&other, Uuid::from_u128(u128::MAX));
    stage.start();
    stage.add_port();
    let localnet = PortBinding {
        logical_port: "ln".into(),
        r#type: "localnet".into(),
        datapath: DATAPATH,
        tunnel_key: 2,
        options: [("network_name".into(), "phys".into())].into(),
        ..PortBinding::default()
    };
    let change = stage.south.put(&localnet, Uuid::from_u128(4));
    stage.change_south(change);
    stage.change_port(|port| port.mac = vec!["02:00:00:00:00:01 10.0.0.1".into()]);
    stage.plug();
    stage.pass(Duration::from_secs(100));
    assert_eq!(stage.switch.sent.len(), 0);
    // The switch makes our end of the patch.
    let mut patches = stage.local.all::<Interface>();
    patches.retain(|interface| &*interface.name == "patch-br-int-to-ln");
    let mut patch = patches.remove(0);
    patch.ofport = Some(7);
    let change = stage.local.put(&patch, patch.uuid);
    stage.event(Event::Local(replica::Event::Changes(vec![change])));
    for (seconds, sent) in [(0, 0), (1, 1), (1, 2), (2, 3), (100, 5)] {
        stage.pass(Duration::from_secs(seconds));
        assert_eq!(stage.switch.sent.len(), sent, "{seconds}");
    }
    assert_eq!(stage.switch.sent[0][12..14], [8, 6]);
    assert_eq!(stage.core.deadline(), None);
}
