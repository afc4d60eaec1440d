//! A small southbound and switch for tests of flows.

use std::sync::Arc;

use openflow::action::Actions;
use openflow::message::FlowCommand;
use openflow::{Action, Port};
use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use sb_db::tables::{DatapathBinding, DhcpOptions, LogicalFlow, MulticastGroup, PortBinding};

use crate::layout;
use crate::network::{Engine, LocalInterface, LocalPorts, Network, Own};

/// A switch (key 5) with the guest `here` (1), attached, the guest `there` (2), elsewhere, and a group of both.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) engine: Engine,
    ports: LocalPorts,
}

pub(crate) const SWITCH: Uuid = Uuid::from_u128(1);

impl World {
    /// The world, with what it starts with installed.
    pub(crate) fn new() -> World {
        let mut world = World {
            network: Network::default(),
            engine: Engine::new(),
            ports: LocalPorts::default(),
        };
        world.engine.input(&mut world.network, |network, changes| {
            network.set_own(changes, Own::default());
        });
        world.set(1, None, Some(&datapath(5)));
        for (key, name) in [(1, "here"), (2, "there")] {
            world.set(10 + key, None, Some(&port(name, SWITCH, key)));
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
        world.plug("here", 7);
        world.changes();
        world
    }

    /// An interface of this name is at a port of the switch.
    pub(crate) fn plug(&mut self, name: &str, ofport: u32) {
        let uuid = Uuid::from_u128(90 + u128::from(ofport));
        self.change_ports(|ports| {
            let interface = LocalInterface {
                uuid,
                ofport,
                version: None,
            };
            ports.interfaces.insert(name.into(), [interface].into());
        });
    }

    /// Changes what the local switch has.
    pub(crate) fn change_ports(&mut self, change: impl FnOnce(&mut LocalPorts)) {
        let old = self.ports.clone();
        change(&mut self.ports);
        let new = &self.ports;
        self.engine.input(&mut self.network, |network, changes| {
            network.set_local_ports(changes, &old, new);
        });
    }

    /// Changes who this chassis is.
    pub(crate) fn change_own(&mut self, change: impl FnOnce(&mut Own)) {
        self.engine.input(&mut self.network, |network, changes| {
            network.change_own(changes, change);
        });
    }

    /// A row is there, or no more.
    pub(crate) fn set<T: Table>(&mut self, uuid: u128, old: Option<&T>, new: Option<&T>) {
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
    pub(crate) fn changes(&mut self) -> String {
        self.changes_in(|table| {
            (layout::INGRESS..layout::REMOTE_OUTPUT).contains(&table)
                || (layout::EGRESS..layout::SAVE_IN_PORT).contains(&table)
        })
    }

    /// What changes in some tables, one flow a line, in order.
    pub(crate) fn changes_in(&mut self, tables: impl Fn(u8) -> bool) -> String {
        let progress = self.engine.step(&mut self.network, 10_000);
        assert!(progress.done);
        let changes = self.network.desired.changes();
        for (key, flow) in &changes.flows {
            assert!(
                is_all_metered(&flow.actions),
                "what goes to the controller has no limit: {key:?} {flow:?}"
            );
        }
        let mut lines: Vec<_> = changes
            .flows
            .into_iter()
            .filter(|(key, _)| tables(key.table))
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
    pub(crate) fn flows_of(&mut self, row: &LogicalFlow) -> String {
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

/// Whether all that goes to the controller has a meter, and nothing goes there as to a port.
fn is_all_metered(actions: &[Action]) -> bool {
    actions.iter().all(|action| match action {
        Action::Controller(controller) => controller.meter_id.is_some(),
        Action::Output { port, .. } => *port != Port::CONTROLLER,
        Action::Clone(inner) => is_all_metered(inner),
        _ => true,
    })
}

/// A switch with this key.
pub(crate) fn datapath(key: i64) -> DatapathBinding {
    DatapathBinding {
        tunnel_key: key,
        ..DatapathBinding::default()
    }
}

/// A guest's port.
pub(crate) fn port(name: &str, datapath: Uuid, key: u128) -> PortBinding {
    PortBinding {
        logical_port: name.into(),
        datapath,
        tunnel_key: i64::try_from(key).expect("keys are small"),
        ..PortBinding::default()
    }
}

/// Some options of a row.
pub(crate) fn options<const N: usize>(
    pairs: [(&str, &str); N],
) -> std::collections::BTreeMap<Arc<str>, Arc<str>> {
    pairs.map(|(key, value)| (key.into(), value.into())).into()
}
