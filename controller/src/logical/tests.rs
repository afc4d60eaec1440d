//! Logical flows of a small southbound, as flows of the switch: what is installed, and what changes when rows change.

use std::sync::Arc;

use openflow::action::Actions;
use openflow::message::FlowCommand;
use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use sb_db::tables::{
    AddressSet, DatapathBinding, DhcpOptions, LogicalFlow, MulticastGroup, PortBinding, PortGroup,
};

use super::*;
use crate::network::{Engine, LocalInterface, LocalPorts};

/// A switch (key 5) with the guest `here` (1), attached, the guest `there` (2), elsewhere, and a group of both.
struct World {
    network: Network,
    engine: Engine,
}

const SWITCH: Uuid = Uuid::from_u128(1);

impl World {
    fn new() -> World {
        let mut world = World {
            network: Network::default(),
            engine: Engine::new(),
        };
        let datapath = DatapathBinding {
            tunnel_key: 5,
            ..DatapathBinding::default()
        };
        world.set(1, None, Some(&datapath));
        for (key, name) in [(1, "here"), (2, "there")] {
            let port = PortBinding {
                logical_port: name.into(),
                datapath: SWITCH,
                tunnel_key: key,
                ..PortBinding::default()
            };
            world.set(10 + u128::from(key.unsigned_abs()), None, Some(&port));
        }
        let group = MulticastGroup {
            name: "_MC_flood".into(),
            datapath: SWITCH,
            tunnel_key: 32_768,
            ports: vec![Uuid::from_u128(11), Uuid::from_u128(12)],
            ..MulticastGroup::default()
        };
        world.set(20, None, Some(&group));
        let option = DhcpOptions {
            name: "router".into(),
            code: 3,
            r#type: "ipv4".into(),
            ..DhcpOptions::default()
        };
        world.set(21, None, Some(&option));
        let mut ports = LocalPorts::default();
        ports.interfaces.insert(
            "here".into(),
            LocalInterface {
                uuid: Uuid::from_u128(99),
                ofport: 7,
            },
        );
        world.engine.input(&mut world.network, |network, changes| {
            network.set_local_ports(changes, &LocalPorts::default(), &ports);
        });
        world.changes();
        world
    }

    fn set<T: Table>(&mut self, uuid: u128, old: Option<&T>, new: Option<&T>) {
        let change = RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: old.map(|row| Arc::new(row.to_row())),
            new: new.map(|row| Arc::new(row.to_row())),
        };
        self.engine.input(&mut self.network, |network, changes| {
            network.apply(changes, &change);
        });
    }

    /// What changes in the pipelines' tables, one flow a line, in order.
    fn changes(&mut self) -> String {
        let progress = self.engine.step(&mut self.network, 10_000);
        assert!(progress.done);
        let pipelines = |table: u8| {
            (layout::INGRESS..layout::REMOTE_OUTPUT).contains(&table)
                || (layout::EGRESS..layout::SAVE_IN_PORT).contains(&table)
        };
        let mut lines: Vec<_> = self
            .network
            .desired
            .changes()
            .into_iter()
            .filter(|(key, _)| pipelines(key.table))
            .map(|(key, flow)| {
                let sign = if flow.command == FlowCommand::Add {
                    '+'
                } else {
                    '-'
                };
                let actions = Actions(&flow.actions);
                format!(
                    "{sign} {} {} {} -> {actions}\n",
                    key.table, key.priority, key.matches
                )
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// The flows of one logical flow, or the first line of what is wrong with it.
    fn flows_of(&mut self, row: &LogicalFlow) -> String {
        self.set(1000, None, Some(row));
        let flows = self.changes();
        let problem = self.network.problems.get(&Uuid::from_u128(1000)).cloned();
        self.set(1000, Some(row), None);
        self.changes();
        problem.map_or(flows, |problem| {
            problem
                .split_once("): ")
                .map_or("", |(_, what)| what)
                .to_owned()
        })
    }
}

fn logical(pipeline: &str, table: i64, matches: &str, actions: &str) -> LogicalFlow {
    LogicalFlow {
        logical_datapath: Some(SWITCH),
        pipeline: pipeline.into(),
        table_id: table,
        priority: 50,
        r#match: matches.into(),
        actions: actions.into(),
        ..LogicalFlow::default()
    }
}

#[test]
fn flows_are_translated() {
    let mut world = World::new();
    for (row, expected) in [
        (
            logical(
                "ingress",
                0,
                "inport == \"here\" && eth.src == 02:00:00:00:00:01",
                "next;",
            ),
            "+ 8 50 metadata=0x5,reg14=0x1,dl_src=02:00:00:00:00:01 -> resubmit(,9)\n",
        ),
        (
            logical(
                "ingress",
                22,
                "eth.mcast",
                "outport = \"_MC_flood\"; output;",
            ),
            "+ 30 50 metadata=0x5,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 -> set_field:0x8000->reg15,resubmit(,44)\n",
        ),
        (
            logical("egress", 9, "1", "output;"),
            "+ 57 50 metadata=0x5 -> resubmit(,64)\n",
        ),
        (logical("ingress", 0, "inport == \"nowhere\"", "next;"), ""),
        (
            logical("ingress", 0, "is_chassis_resident(\"there\")", "next;"),
            "",
        ),
        (
            logical("ingress", 0, "is_chassis_resident(\"here\")", "drop;"),
            "+ 8 50 metadata=0x5 -> drop\n",
        ),
        (
            logical("ingress", 0, "ip", "next;"),
            "+ 8 50 ip,metadata=0x5 -> resubmit(,9)\n+ 8 50 ipv6,metadata=0x5 -> resubmit(,9)\n",
        ),
        (
            logical(
                "ingress",
                0,
                "1",
                "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, router = 10.0.0.1); next;",
            ),
            "+ 8 50 metadata=0x5 -> controller(reason=action,max_len=65535,id=0,userdata=\
             00.00.00.02.00.00.00.00.00.01.00.04.00.00.00.03.0a.00.00.02.03.00.04.0a.00.00.01,pause),resubmit(,9)\n",
        ),
        (
            logical("ingress", 0, "ip4.src == $nobody", "next;"),
            "match: there is no address set $nobody",
        ),
        (
            logical("ingress", 0, "ip4.sorce == 1", "next;"),
            "match: unknown field \"ip4.sorce\"; perhaps ip4.src is meant\n  ip4.sorce == 1\n  ^^^^^^^^^",
        ),
        (
            logical("ingress", 0, "1", "nxet;"),
            "actions: unknown action \"nxet\"\n  nxet;\n  ^^^^",
        ),
        (
            logical("ingress", 33, "1", "next;"),
            "actions: there is no table 34 in the ingress pipeline, which has 34",
        ),
    ] {
        assert_eq!(
            world.flows_of(&row),
            expected,
            "{} -> {}",
            row.r#match,
            row.actions
        );
    }
}

#[test]
fn flows_about_absent_guests_are_skipped() {
    let mut world = World::new();
    let ingress = |name: &str| {
        logical(
            "ingress",
            0,
            &format!("inport == \"{name}\" && ip4"),
            "next;",
        )
    };
    let egress = |name: &str| logical("egress", 0, &format!("outport == \"{name}\""), "next;");
    let tagged = |name: &str| {
        let mut row = logical("ingress", 0, "ip4", "next;");
        row.tags.insert("in_out_port".into(), name.into());
        row
    };
    for (rows, expected) in [
        (
            ingress as fn(&str) -> LogicalFlow,
            "+ 8 50 ip,metadata=0x5,reg14=0x1 -> resubmit(,9)\n",
        ),
        (egress, "+ 48 50 metadata=0x5,reg15=0x1 -> resubmit(,49)\n"),
        (tagged, "+ 8 50 ip,metadata=0x5 -> resubmit(,9)\n"),
    ] {
        assert_eq!(world.flows_of(&rows("there")), "");
        assert_eq!(world.flows_of(&rows("here")), expected);
    }
    // A packet on its way to a guest elsewhere does pass through the ingress pipeline here.
    let towards = logical("ingress", 0, "outport == \"there\"", "next;");
    assert_eq!(
        world.flows_of(&towards),
        "+ 8 50 metadata=0x5,reg15=0x2 -> resubmit(,9)\n"
    );
}

#[test]
fn what_a_flow_names_changes_it() {
    let mut world = World::new();
    let row = logical("ingress", 0, "inport == @pg && ip4.src == $as", "next;");
    world.set(1000, None, Some(&row));
    assert_eq!(world.changes(), "");
    let set = |addresses: &[&str]| AddressSet {
        name: "as".into(),
        addresses: addresses.iter().map(|a| (*a).into()).collect(),
        ..AddressSet::default()
    };
    let group = |name: &str, ports: &[&str]| PortGroup {
        name: name.into(),
        ports: ports.iter().map(|p| (*p).into()).collect(),
        ..PortGroup::default()
    };
    let first = set(&["10.0.0.1"]);
    world.set(30, None, Some(&first));
    world.set(31, None, Some(&group("5_pg", &["here"])));
    let line = |ip: &str| format!("8 50 ip,metadata=0x5,reg14=0x1,nw_src={ip} -> ");
    assert_eq!(
        world.changes(),
        format!("+ {}resubmit(,9)\n", line("10.0.0.1"))
    );
    let second = set(&["10.0.0.1", "10.1.2.3/16", "nonsense", "fd00::1"]);
    world.set(30, Some(&first), Some(&second));
    assert_eq!(
        world.changes(),
        format!("+ {}resubmit(,9)\n", line("10.1.0.0/16"))
    );
    world.set(30, Some(&second), None);
    let gone = format!(
        "- {}drop\n- {}drop\n",
        line("10.0.0.1"),
        line("10.1.0.0/16")
    );
    assert_eq!(world.changes(), gone);
}

#[test]
fn products_become_conjunctions() {
    let mut world = World::new();
    let row = logical(
        "ingress",
        0,
        "ip4.src == {10.0.0.1, 10.0.0.2, 10.0.0.3} && tcp.dst == {1, 2, 3}",
        "next;",
    );
    let flows = world.flows_of(&row);
    let lines: Vec<_> = flows.lines().collect();
    assert_eq!(lines.len(), 7, "{flows}");
    let clauses = lines
        .iter()
        .filter(|line| line.contains("conjunction("))
        .count();
    assert_eq!(clauses, 6, "{flows}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("metadata=0x5") && line.contains("tcp,")),
        "{flows}"
    );
}
