//! What the southbound refuses costs itself only.

use std::time::Duration;

use ovsdb::Uuid;
use sb_db::tables::{Chassis, ChassisPrivate, Encap, PortBinding, SbGlobal};

use super::stage::*;

/// A second guest of the switch, at a port.
fn plug_second(stage: &mut Stage) {
    let port = PortBinding {
        logical_port: "vm2".into(),
        datapath: DATAPATH,
        tunnel_key: 2,
        ..PortBinding::default()
    };
    let change = stage.south.put(&port, Uuid::from_u128(50));
    stage.change_south(change);
    stage.plug_as("vm2", 51, 6);
}

fn second(stage: &Stage) -> PortBinding {
    let mut ports = stage.south.all::<PortBinding>();
    ports.retain(|port| &*port.logical_port == "vm2");
    ports.remove(0)
}

#[test]
fn a_claim_that_is_refused_keeps_nothing_else_from_being_told() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.refused_rows = vec![PORT];
    stage.plug();
    plug_second(&mut stage);
    let global = SbGlobal {
        nb_cfg: 7,
        ..SbGlobal::default()
    };
    let change = stage.south.put(&global, GLOBAL);
    stage.change_south(change);
    assert_eq!(stage.port().chassis, None);
    assert_eq!(second(&stage).chassis, Some(stage.own()));
    assert_eq!(second(&stage).up, Some(true));
    assert_eq!(stage.south.all::<ChassisPrivate>()[0].nb_cfg, 7);
    // It is asked for again, more and more rarely.
    let asked = stage.south_transactions;
    stage.pass(Duration::from_secs(200));
    let asked = stage.south_transactions - asked;
    assert!((5..12).contains(&asked), "{asked}");
    stage.refused_rows.clear();
    stage.pass(Duration::from_secs(60));
    assert_eq!(
        (stage.port().chassis, stage.port().up),
        (Some(stage.own()), Some(true))
    );
}

#[test]
fn the_chassis_row_that_is_refused_keeps_no_port_from_coming_up() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.refused_rows = vec![stage.own()];
    stage.change_settings("ovn-bridge-mappings", "phys:br-ex");
    stage.plug();
    assert_eq!(
        (stage.port().chassis, stage.port().up),
        (Some(stage.own()), Some(true))
    );
}

#[test]
fn a_refused_claim_under_way_is_no_failure_of_the_farewell() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.south_is_silent = true;
    stage.plug();
    let id = stage.last_transaction;
    let mut answer = stage.ask("exit", &[]);
    assert_eq!(answer.given(), None);
    stage.south_is_silent = false;
    let error = replica::TransactError::Refused(ovsdb::Error::constraint("no"));
    stage.south_event(replica::Event::TransactReply {
        id,
        result: Err(error),
    });
    assert_eq!(answer.given(), Some(Ok(String::new())));
    assert!(stage.south.all::<ChassisPrivate>().is_empty());
}

#[test]
fn a_port_that_becomes_a_localport_is_nobodys() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    assert_eq!(stage.port().chassis, Some(stage.own()));
    stage.change_port(|port| port.r#type = "localport".into());
    assert_eq!((stage.port().chassis, stage.port().up), (None, Some(false)));
}

#[test]
fn an_additional_chassis_has_one_end_of_tunnels_at_most() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-encap-ip", "10.0.0.1,10.0.1.1");
    stage.start();
    let other = stage.add_chassis(2);
    stage.add_port();
    stage.change_port(|port| {
        port.options = [("requested-chassis".into(), "c2,host".into())].into();
        port.chassis = Some(other);
    });
    stage.plug();
    for ip in ["10.0.1.1", "10.0.0.1"] {
        stage.change_interface(|interface| {
            interface.external_ids.insert("encap-ip".into(), ip.into());
        });
        let encaps = stage.south.all::<Encap>();
        let wanted = encaps.iter().find(|encap| &*encap.ip == ip).expect("there");
        assert_eq!(stage.port().additional_encap, [wanted.uuid]);
    }
    stage.change_interface(|interface| drop(interface.external_ids.remove("encap-ip")));
    assert_eq!(stage.port().additional_encap, [] as [Uuid; 0]);
}

#[test]
fn lists_in_any_order_and_with_repeats_are_sets() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-transport-zones", "tz2,tz1,tz1");
    stage.change_settings("ovn-encap-ip", "10.0.0.1,10.0.0.1");
    stage.start();
    stage.add_port();
    stage.plug();
    assert_eq!(
        (stage.port().chassis, stage.port().up),
        (Some(stage.own()), Some(true))
    );
    assert_eq!(stage.south.all::<Encap>().len(), 1);
    let chassis = stage.south.all::<Chassis>().remove(0);
    assert_eq!(chassis.transport_zones, ["tz1".into(), "tz2".into()]);
}
