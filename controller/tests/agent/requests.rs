//! What is asked over the control socket, and what holds everything up.

use controller::core::{CONSIDERED, VERSION};
use controller::vswitch::{Interface, OpenVSwitch};
use ovsdb::Uuid;
use sb_db::tables::{
    Chassis, ChassisPrivate, DatapathBinding, Fdb, LogicalFlow, PortBinding, SbGlobal,
};

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

/// The forms are those of OVN's controller: scripts compare them whole.
#[test]
fn local_bindings_are_told_as_ovn_does() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let ports = [
        ("lp", "localport", None, None),
        ("c2", "", Some("vm1"), None),
        ("c1", "", Some("elsewhere"), None),
        ("v1", "virtual", None, Some("vm1")),
        ("v2", "virtual", None, None),
    ];
    for (n, (name, kind, parent, virtual_parent)) in (40..).zip(ports) {
        let port = PortBinding {
            logical_port: name.into(),
            r#type: kind.into(),
            parent_port: parent.map(Into::into),
            virtual_parent: virtual_parent.map(Into::into),
            tag: parent.map(|_| 5),
            datapath: DATAPATH,
            tunnel_key: n,
            ..PortBinding::default()
        };
        let change = stage.south.put(&port, Uuid::from_u128(n as u128));
        stage.change_south(change);
    }
    for (n, name) in [(90, "lp"), (91, "nobody")] {
        let interface = Interface {
            name: format!("if-{name}").into(),
            ofport: Some(n),
            external_ids: [("iface-id".into(), name.into())].into(),
            ..Interface::default()
        };
        stage.add_interface("br-int", &interface, n as u128 * 10);
    }
    let answer = stage.ask("debug/dump-local-bindings", &[]).given();
    let expected = "Local bindings:
name: [elsewhere], OVS interface name : [NULL], num binding lports : [1]
no primary lport
child lport[1] : [c1], type : [CONTAINER]
----------------------------------------
name: [lp], OVS interface name : [if-lp], num binding lports : [1]
localport lport : [lp]
----------------------------------------
name: [nobody], OVS interface name : [if-nobody], num binding lports : [0]
----------------------------------------
name: [vm1], OVS interface name : [tap5], num binding lports : [3]
primary lport : [vm1]
child lport[1] : [c2], type : [CONTAINER]
child lport[2] : [v1], type : [VIRTUAL]
----------------------------------------
";
    assert_eq!(answer, Some(Ok(expected.to_owned())));
}

#[test]
fn a_cache_is_told_to_be_enabled_unless_it_is_not_wanted() {
    let mut stage = Stage::new();
    stage.start();
    for (wish, begins) in [
        ("", "Enabled: true\nhigh-watermark  : 0\n"),
        (
            "false",
            "Enabled: false\nhigh-watermark  : 0\ntotal           : 0\n",
        ),
    ] {
        stage.change_settings("ovn-enable-lflow-cache", wish);
        let answer = stage.ask("lflow-cache/show-stats", &[]).given();
        let text = answer.expect("answered").expect("it is known");
        assert!(text.starts_with(begins), "{text}");
    }
}

#[test]
fn each_translation_of_a_logical_flow_is_counted() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    stage.plug();
    let before = CONSIDERED.total();
    let flow = LogicalFlow {
        logical_datapath: Some(DATAPATH),
        pipeline: "ingress".into(),
        r#match: "ip4".into(),
        actions: "next;".into(),
        ..LogicalFlow::default()
    };
    let change = stage.south.put(&flow, Uuid::from_u128(1_000));
    stage.change_south(change);
    // Other tests of this process count, too.
    assert!(CONSIDERED.total() > before);
}

/// The index by which tunnels of several controllers on one host have names of their own.
#[test]
fn a_chassis_has_an_index_while_it_is_here() {
    let mut stage = Stage::new();
    stage.change_root(|root| {
        let other = ("ovn-chassis-idx-c9".into(), "".into());
        root.other_config.extend([other]);
    });
    stage.start();
    let index = |stage: &Stage| {
        let root: OpenVSwitch = stage.local.all().remove(0);
        let index = root.other_config.get("ovn-chassis-idx-c1").cloned();
        index.map(|index| index.to_string())
    };
    assert_eq!(index(&stage), Some("0".to_owned()));
    stage.add_chassis(2);
    let interfaces = stage.local.all::<Interface>();
    let names = interfaces.iter().map(|interface| &*interface.name);
    assert!(names.into_iter().any(|name| name == "ovn0-c2-0"));
    stage.ask("exit", &[]);
    assert!(stage.exited);
    assert_eq!(index(&stage), None);
}

/// A gateway that was an OVN controller's waits for flows when its host starts again; what `ovs-ctl` writes is its own.
#[test]
fn a_switch_that_waits_for_flows_is_let_go_when_it_has_them() {
    for (managed, stays) in [(Some("true"), false), (Some("false"), true), (None, true)] {
        let mut stage = Stage::new();
        stage.change_root(|root| {
            let wait = ("flow-restore-wait".into(), "true".into());
            root.other_config.extend([wait]);
            let whose = managed.map(|value| ("ovn-managed-flow-restore-wait".into(), value.into()));
            root.external_ids.extend(whose);
        });
        let waits = |stage: &Stage| {
            let root: OpenVSwitch = stage.local.all().remove(0);
            let ids = root.external_ids.get("ovn-managed-flow-restore-wait");
            let is_managed = ids.is_some_and(|value| &**value == "true");
            (
                root.other_config.contains_key("flow-restore-wait"),
                is_managed,
            )
        };
        stage.switch.hold_barriers = true;
        stage.start();
        assert!(waits(&stage).0, "it has no flows yet");
        stage.release_barriers();
        assert_eq!(waits(&stage), (stays, false), "{managed:?}");
    }
}
