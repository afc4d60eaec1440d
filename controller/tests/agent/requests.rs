//! What is asked over the control socket, and what holds everything up.

use controller::core::VERSION;
use ovsdb::Uuid;
use sb_db::tables::{Chassis, ChassisPrivate, DatapathBinding, Fdb, LogicalFlow, SbGlobal};

use super::stage::*;

#[test]
fn exit_takes_leave_of_both_databases_before_it_is_answered() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    assert_eq!(stage.tunnels().len(), 1);
    let flows = stage.switch.flows.len();
    let remote = "unix:/nowhere".parse().expect("a remote");
    stage.south_event(replica::Event::Disconnected {
        remote,
        reason: "gone".to_owned(),
    });
    let mut answer = stage.ask("exit", &[]);
    assert_eq!((answer.given(), stage.exited), (None, false));
    stage.south_event(replica::Event::Synced);
    assert_eq!(
        (answer.given(), stage.exited),
        (Some(Ok(String::new())), true)
    );
    let names: Vec<_> = stage.south.all::<Chassis>();
    assert!(names.iter().all(|chassis| &*chassis.name == "c2"));
    assert!(stage.south.all::<ChassisPrivate>().is_empty());
    assert_eq!((stage.port().chassis, stage.port().up), (None, Some(false)));
    assert_eq!(stage.tunnels(), [] as [String; 0]);
    assert_eq!(stage.switch.flows.len(), flows);
}

#[test]
fn exit_for_a_restart_leaves_everything() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    let mut answer = stage.ask("exit", &["--restart"]);
    assert_eq!(
        (answer.given(), stage.exited),
        (Some(Ok(String::new())), true)
    );
    assert_eq!(stage.port().chassis, Some(stage.own()));
    assert_eq!(stage.tunnels().len(), 1);
    let mut answer = stage.ask("exit", &["--now"]);
    assert!(answer.given().is_some_and(|answer| answer.is_err()));
}

#[test]
fn exit_leaves_everything_where_nothing_is_to_be_cleaned_up() {
    let mut stage = Stage::new();
    stage.change_settings("ovn-cleanup-on-exit", "false");
    stage.start();
    stage.add_port();
    stage.plug();
    let mut answer = stage.ask("exit", &[]);
    assert_eq!(
        (answer.given(), stage.exited),
        (Some(Ok(String::new())), true)
    );
    assert_eq!(stage.port().chassis, Some(stage.own()));
}

#[test]
fn a_farewell_that_the_southbound_refuses_is_told() {
    let mut stage = Stage::new();
    stage.start();
    stage.south_refuses = true;
    let mut answer = stage.ask("exit", &[]);
    let text = answer.given().expect("answered").expect_err("refused");
    assert!(
        text.starts_with("the southbound keeps what it says"),
        "{text}"
    );
    assert!(stage.exited);
}

#[test]
fn it_holds_still_while_northd_is_of_another_version() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.change_settings("ovn-match-northd-version", "true");
    let flows = stage.switch.flows.len();
    stage.plug();
    assert_eq!(
        (stage.port().chassis, stage.switch.flows.len()),
        (None, flows)
    );
    for (version, holds) in [("other", true), (VERSION, false)] {
        let global = SbGlobal {
            options: [("northd_internal_version".into(), version.into())].into(),
            ..SbGlobal::default()
        };
        let change = stage.south.put(&global, GLOBAL);
        stage.change_south(change);
        assert_eq!(stage.port().chassis.is_none(), holds, "{version}");
    }
    assert!(stage.switch.flows.len() > flows);
}

#[test]
fn recomputing_says_nothing_when_nothing_differed() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    for command in ["recompute", "inc-engine/recompute"] {
        assert_eq!(stage.ask(command, &[]).given(), Some(Ok(String::new())));
    }
    assert_eq!(stage.port().up, Some(true));
}

/// An address of which nobody has heard for half of its age is to be heard of again: no row says so.
#[test]
fn recomputing_remembers_who_is_to_be_heard_of_again() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let mut switch: DatapathBinding = stage.south.all().remove(0);
    switch
        .external_ids
        .insert("fdb_age_threshold".into(), "60".into());
    let address = Fdb {
        mac: "02:00:00:00:00:09".into(),
        dp_key: switch.tunnel_key,
        port_key: stage.port().tunnel_key,
        timestamp: stage.now.unix_ms,
        ..Fdb::default()
    };
    let changes = vec![
        stage.south.put(&switch, DATAPATH),
        stage.south.put(&address, Uuid::from_u128(77)),
    ];
    stage.south_event(replica::Event::Changes(changes));
    let known = stage.switch.flows.len();
    stage.pass(std::time::Duration::from_secs(40));
    assert_eq!(
        stage.switch.flows.len(),
        known - 1,
        "it is not known any more"
    );
    assert_eq!(stage.ask("recompute", &[]).given(), Some(Ok(String::new())));
    assert_eq!(stage.switch.flows.len(), known - 1);
}

#[test]
fn recomputing_finds_nothing_missing_that_is_not_computed_yet() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let flow = |n: u16| LogicalFlow {
        logical_datapath: Some(DATAPATH),
        pipeline: "ingress".into(),
        priority: i64::from(n),
        r#match: "ip4".into(),
        actions: "next;".into(),
        ..LogicalFlow::default()
    };
    // More than are computed at once.
    let changes = (0..3_000).map(|n| {
        let uuid = Uuid::from_u128(1_000 + u128::from(n));
        stage.south.put(&flow(n), uuid)
    });
    let changes: Vec<_> = changes.collect();
    stage.south_event(replica::Event::Changes(changes));
    let mut answer = stage.ask("recompute", &[]);
    assert_eq!(answer.given(), Some(Ok(String::new())));
}
