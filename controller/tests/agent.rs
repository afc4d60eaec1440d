//! The whole agent against databases and a switch that are lists in memory: what it does, when, and what it does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::core::{Core, Effects, Event, HOLD, Now, SwitchEvent, VERSION};
use controller::vswitch::{self, Bridge, Interface, OpenVSwitch, Port};
use daemon::unixctl::Request;
use openflow::message::{
    FlowCommand, FlowDesc, FlowFlags, FlowMod, Group, GroupCommand, GroupMod, Meter, MeterCommand,
    MultipartReply, MultipartRequest, TlvMap, TlvTable,
};
use openflow::{Message, Xid};
use ovsdb::operation::{OpResult, Operation};
use ovsdb::schema::DatabaseSchema;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Row, RowChange, Uuid};
use replica::TransactError;
use sb_db::tables::{
    Chassis, ChassisPrivate, DatapathBinding, Encap, LogicalFlow, PortBinding, SbGlobal,
};

/// A database that does what it is told at once.
struct Database {
    schema: Arc<DatabaseSchema>,
    rows: BTreeMap<(usize, Uuid), Arc<Row>>,
}

impl Database {
    fn new(schema: &Arc<DatabaseSchema>) -> Self {
        Database {
            schema: schema.clone(),
            rows: BTreeMap::new(),
        }
    }

    fn put<T: Table + TableDefinition>(&mut self, row: &T, uuid: Uuid) -> RowChange {
        self.set(T::INDEX, uuid, Some(Arc::new(row.to_row())))
    }

    fn set(&mut self, table: usize, uuid: Uuid, new: Option<Arc<Row>>) -> RowChange {
        let old = match &new {
            Some(new) => self.rows.insert((table, uuid), new.clone()),
            None => self.rows.remove(&(table, uuid)),
        };
        RowChange {
            table,
            uuid,
            old,
            new,
        }
    }

    fn all<T: Table + TableDefinition>(&self) -> Vec<T> {
        let of_table = self
            .rows
            .iter()
            .filter(|((table, _), _)| *table == T::INDEX);
        of_table
            .map(|((_, uuid), row)| T::from_row(*uuid, row))
            .collect()
    }

    /// Everything, as a replica tells it first.
    fn snapshot(&self) -> Vec<RowChange> {
        let rows = self.rows.iter();
        rows.map(|(&(table, uuid), row)| RowChange {
            table,
            uuid,
            old: None,
            new: Some(row.clone()),
        })
        .collect()
    }

    fn transact(&mut self, operations: &[Operation]) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for operation in operations {
            match operation {
                Operation::Insert { table, uuid, row } => {
                    let mut new = Row::default_for(&self.schema.tables[*table]);
                    row.iter()
                        .for_each(|(column, datum)| new.set(*column, datum.clone()));
                    changes.push(self.set(*table, *uuid, Some(Arc::new(new))));
                }
                Operation::Update {
                    table,
                    condition,
                    row,
                } => {
                    let uuid = condition[0].as_row().expect("updates name a row");
                    let mut new = (*self.rows[&(*table, uuid)]).clone();
                    row.iter()
                        .for_each(|(column, datum)| new.set(*column, datum.clone()));
                    changes.push(self.set(*table, uuid, Some(Arc::new(new))));
                }
                Operation::Mutate {
                    table,
                    condition,
                    mutations,
                } => {
                    let uuid = condition[0].as_row().expect("mutations name a row");
                    let mut new = (*self.rows[&(*table, uuid)]).clone();
                    for mutation in mutations {
                        let ty = &self.schema.tables[*table].columns[mutation.column].ty;
                        let datum = mutation
                            .apply(ty, new.get(mutation.column))
                            .expect("a mutation that fits");
                        new.set(mutation.column, datum);
                    }
                    changes.push(self.set(*table, uuid, Some(Arc::new(new))));
                }
                Operation::Delete { table, condition } => {
                    let uuid = condition[0].as_row().expect("deletions name a row");
                    changes.push(self.set(*table, uuid, None));
                }
                other => panic!("the agent has no use for {other:?}"),
            }
        }
        changes
    }
}

/// A switch that answers at once, or holds its barriers back.
#[derive(Default)]
struct Switch {
    flows: Vec<FlowDesc>,
    input: Vec<u8>,
    bundle: Vec<Message>,
    groups: BTreeMap<u32, Group>,
    meters: BTreeMap<u32, Meter>,
    /// How many changes of groups and meters there were.
    others: usize,
    /// Flow changes since this was last taken.
    mods: Vec<FlowMod>,
    hold_barriers: bool,
    held: Vec<Xid>,
}

impl Switch {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut output = Vec::new();
        while self.input.len() >= 8 {
            let length = usize::from(u16::from_be_bytes([self.input[2], self.input[3]]));
            let frame: Vec<u8> = self.input.drain(..length).collect();
            let (xid, message) = Message::decode(&frame).expect("the agent speaks OpenFlow");
            if let Some(answer) = self.answer(xid, message) {
                answer.encode(xid, &mut output);
            }
        }
        output
    }

    fn answer(&mut self, xid: Xid, message: Message) -> Option<Message> {
        match message {
            Message::Hello { versions } => Some(Message::Hello { versions }),
            Message::TlvTableRequest => Some(Message::TlvTableReply(TlvTable {
                max_option_space: 256,
                max_fields: 64,
                maps: vec![TlvMap {
                    option_class: 0x102,
                    option_type: 0x80,
                    option_len: 4,
                    index: 0,
                }],
            })),
            Message::MultipartRequest(MultipartRequest::Flows(_)) => {
                let flows = self.flows.clone();
                Some(Message::MultipartReply(MultipartReply::Flows {
                    more: false,
                    flows,
                    unreadable: vec![],
                }))
            }
            Message::MultipartRequest(MultipartRequest::Groups) => {
                Some(Message::MultipartReply(MultipartReply::Groups {
                    more: false,
                    groups: self.groups.values().cloned().collect(),
                }))
            }
            Message::MultipartRequest(MultipartRequest::Meters) => {
                Some(Message::MultipartReply(MultipartReply::Meters {
                    more: false,
                    meters: self.meters.values().copied().collect(),
                }))
            }
            Message::BundleAdd(add) => {
                self.bundle.push(*add.message);
                None
            }
            Message::MeterMod(meter) => {
                self.others += 1;
                match meter.command {
                    MeterCommand::Delete => drop(self.meters.remove(&meter.meter.id)),
                    _ => drop(self.meters.insert(meter.meter.id, meter.meter)),
                }
                None
            }
            Message::BundleControl(control) => {
                if control.op == openflow::message::BundleOp::Commit {
                    for message in std::mem::take(&mut self.bundle) {
                        match message {
                            Message::FlowMod(flow) => {
                                self.change(&flow);
                                self.mods.push(flow);
                            }
                            Message::GroupMod(group) => self.change_group(group),
                            other => panic!("{other:?} cannot be bundled"),
                        }
                    }
                }
                Some(Message::BundleControl(openflow::message::BundleControl {
                    reply: true,
                    ..control
                }))
            }
            Message::BarrierRequest if self.hold_barriers => {
                self.held.push(xid);
                None
            }
            Message::BarrierRequest => Some(Message::BarrierReply),
            Message::FlowMod(_) => panic!("flows are changed in bundles"),
            _ => None,
        }
    }

    fn change_group(&mut self, m: GroupMod) {
        self.others += 1;
        match m.command {
            GroupCommand::Delete => drop(self.groups.remove(&m.group.id)),
            _ => drop(self.groups.insert(m.group.id, m.group)),
        }
    }

    fn change(&mut self, m: &FlowMod) {
        let same =
            |f: &FlowDesc| (f.table, f.priority, &f.matches) == (m.table, m.priority, &m.matches);
        self.flows.retain(|f| !same(f));
        if m.command == FlowCommand::Add {
            self.flows.push(FlowDesc {
                table: m.table,
                priority: m.priority,
                cookie: m.cookie,
                idle_timeout: 0,
                hard_timeout: 0,
                flags: FlowFlags::default(),
                matches: m.matches.clone(),
                actions: m.actions.clone(),
            });
        }
    }
}

/// The agent in its surroundings.
struct Stage {
    core: Core,
    now: Now,
    local: Database,
    south: Database,
    switch: Switch,
    south_up: bool,
    conditions: u64,
    exited: bool,
    /// The southbound takes no more transactions.
    south_refuses: bool,
    /// How many operations the local database was asked for.
    local_operations: usize,
}

impl Stage {
    fn new() -> Self {
        let mut local = Database::new(vswitch::schema());
        let ids = [
            ("system-id", "c1"),
            ("ovn-remote", "unix:/nowhere"),
            ("ovn-encap-type", "geneve"),
            ("ovn-encap-ip", "10.0.0.1"),
        ];
        let root = OpenVSwitch {
            external_ids: ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..OpenVSwitch::default()
        };
        local.put(&root, Uuid::new_v4());
        let mut south = Database::new(sb_db::schema());
        south.put(&SbGlobal::default(), GLOBAL);
        let now = Now {
            at: Instant::now(),
            unix_ms: 1,
        };
        let core = Core::new("host".to_owned());
        Stage {
            core,
            now,
            local,
            south,
            switch: Switch::default(),
            south_up: true,
            conditions: 0,
            exited: false,
            south_refuses: false,
            local_operations: 0,
        }
    }

    /// The same surroundings, a new agent.
    fn restart(mut self) -> Self {
        self.core = Core::new("host".to_owned());
        self.conditions = 0;
        self.switch.input.clear();
        self.switch.mods.clear();
        self
    }

    fn start(&mut self) {
        let snapshot = self.local.snapshot();
        self.event(Event::Local(replica::Event::Changes(snapshot)));
        self.event(Event::Local(replica::Event::Synced));
    }

    fn event(&mut self, event: Event) {
        let effects = self.core.step(self.now, event);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Effects) {
        self.exited |= effects.exit;
        if !effects.to_switch.is_empty() {
            let answer = self.switch.receive(&effects.to_switch);
            if !answer.is_empty() {
                self.event(Event::Switch(SwitchEvent::Data(answer)));
            }
        }
        if effects.connect_switch.is_some() || effects.reconnect_switch {
            self.event(Event::Switch(SwitchEvent::Connected));
        }
        if effects.connect_south.is_some() && self.south_up {
            let snapshot = self.south.snapshot();
            self.event(Event::South(replica::Event::Changes(snapshot)));
            self.event(Event::South(replica::Event::Synced));
        }
        if !effects.conditions.is_empty() {
            self.conditions += 1;
            let number = self.conditions;
            self.event(Event::South(replica::Event::ConditionsInEffect(number)));
        }
        for (id, operations) in effects.local {
            self.local_operations += operations.len();
            let changes = self.local.transact(&operations);
            self.event(Event::Local(replica::Event::Changes(changes)));
            self.event(Event::Local(replied(id)));
        }
        for (id, operations) in effects.south {
            if self.south_refuses {
                let result = Err(TransactError::Refused(ovsdb::Error::constraint("no")));
                self.event(Event::South(replica::Event::TransactReply { id, result }));
                continue;
            }
            let changes = self.south.transact(&operations);
            self.event(Event::South(replica::Event::Changes(changes)));
            self.event(Event::South(replied(id)));
        }
    }

    /// Time passes; the agent is woken when it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(due) = self.core.deadline().filter(|due| *due <= end) {
            self.advance_to(due.max(self.now.at));
            self.event(Event::Tick);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, at: Instant) {
        self.now.unix_ms += i64::try_from((at - self.now.at).as_millis()).expect("short");
        self.now.at = at;
    }

    /// What the control socket answers; `None` while it has not.
    fn ask(&mut self, command: &'static str, args: &[&str]) -> Answer {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let (request, answer) = Request::local(command, args);
        self.event(Event::Request(request));
        Answer(answer)
    }

    /// Another chassis with a tunnel end.
    fn add_chassis(&mut self, n: u8) -> Uuid {
        let [chassis, encap] = [100, 200].map(|base| Uuid::from_u128(base + u128::from(n)));
        let encap_row = Encap {
            r#type: "geneve".into(),
            ip: format!("10.0.0.{n}").into(),
            chassis_name: format!("c{n}").into(),
            ..Encap::default()
        };
        let row = Chassis {
            name: format!("c{n}").into(),
            encaps: vec![encap],
            ..Chassis::default()
        };
        let changes = vec![
            self.south.put(&encap_row, encap),
            self.south.put(&row, chassis),
        ];
        self.event(Event::South(replica::Event::Changes(changes)));
        chassis
    }

    /// The port's row, changed.
    fn change_port(&mut self, change: impl FnOnce(&mut PortBinding)) {
        let mut port = self.port();
        change(&mut port);
        let change = self.south.put(&port, PORT);
        self.change_south(change);
    }

    fn change_settings(&mut self, key: &str, value: &str) {
        let mut root = self.local.all::<OpenVSwitch>().remove(0);
        root.external_ids.insert(key.into(), value.into());
        let change = self.local.put(&root, root.uuid);
        self.event(Event::Local(replica::Event::Changes(vec![change])));
    }

    fn own(&self) -> Uuid {
        let own = self.south.all::<Chassis>();
        own.iter()
            .find(|c| &*c.name == "c1")
            .expect("registered")
            .uuid
    }

    /// The tunnels of a bridge: whose they are.
    fn tunnels_on(&self, bridge: &str) -> Vec<String> {
        let ports = self.local.all::<Port>();
        let bridges = self.local.all::<Bridge>();
        let bridge = bridges.iter().find(|b| &*b.name == bridge).expect("there");
        let on_bridge = ports
            .iter()
            .filter(|port| bridge.ports.contains(&port.uuid));
        let mut owners: Vec<String> = on_bridge
            .filter_map(|port| port.external_ids.get("ovn-chassis-id"))
            .map(ToString::to_string)
            .collect();
        owners.sort();
        owners
    }

    fn tunnels(&self) -> Vec<String> {
        self.tunnels_on("br-int")
    }

    fn change_south(&mut self, change: RowChange) {
        self.event(Event::South(replica::Event::Changes(vec![change])));
    }

    /// A logical switch with one port and one flow.
    fn add_port(&mut self) {
        let datapath = DatapathBinding {
            tunnel_key: 1,
            ..DatapathBinding::default()
        };
        let port = PortBinding {
            logical_port: "vm1".into(),
            datapath: DATAPATH,
            tunnel_key: 1,
            up: Some(false),
            ..PortBinding::default()
        };
        let flow = LogicalFlow {
            logical_datapath: Some(DATAPATH),
            pipeline: "ingress".into(),
            r#match: "inport == \"vm1\"".into(),
            actions: "outport = \"vm1\"; output;".into(),
            ..LogicalFlow::default()
        };
        let changes = [
            self.south.put(&datapath, DATAPATH),
            self.south.put(&port, PORT),
            self.south.put(&flow, Uuid::from_u128(9)),
        ];
        self.event(Event::South(replica::Event::Changes(changes.to_vec())));
    }

    /// An interface of the integration bridge with the port's name.
    fn plug(&mut self) {
        let interface = Interface {
            name: "tap1".into(),
            ofport: Some(5),
            external_ids: [("iface-id".into(), "vm1".into())].into(),
            ..Interface::default()
        };
        let port = Port {
            name: "tap1".into(),
            interfaces: vec![INTERFACE],
            ..Port::default()
        };
        let mut bridge = self.local.all::<Bridge>().remove(0);
        bridge.ports.push(Uuid::from_u128(21));
        bridge.ports.sort();
        let changes = vec![
            self.local.put(&interface, INTERFACE),
            self.local.put(&port, Uuid::from_u128(21)),
            self.local.put(&bridge, bridge.uuid),
        ];
        self.event(Event::Local(replica::Event::Changes(changes)));
    }

    fn unplug(&mut self) {
        let change = self.local.set(Interface::INDEX, INTERFACE, None);
        self.event(Event::Local(replica::Event::Changes(vec![change])));
    }

    fn port(&self) -> PortBinding {
        self.south.all::<PortBinding>().remove(0)
    }

    fn is_marked_installed(&self) -> bool {
        let interfaces = self.local.all::<Interface>();
        interfaces.iter().any(|i| {
            i.external_ids
                .get("ovn-installed")
                .is_some_and(|v| &**v == "true")
        })
    }

    fn release_barriers(&mut self) {
        self.switch.hold_barriers = false;
        let mut answer = Vec::new();
        std::mem::take(&mut self.switch.held)
            .iter()
            .for_each(|xid| Message::BarrierReply.encode(*xid, &mut answer));
        self.event(Event::Switch(SwitchEvent::Data(answer)));
    }
}

/// The answer of the control socket.
struct Answer(tokio::sync::oneshot::Receiver<Result<String, String>>);

impl Answer {
    fn given(&mut self) -> Option<Result<String, String>> {
        self.0.try_recv().ok()
    }
}

const GLOBAL: Uuid = Uuid::from_u128(1);
const DATAPATH: Uuid = Uuid::from_u128(2);
const PORT: Uuid = Uuid::from_u128(3);
const INTERFACE: Uuid = Uuid::from_u128(20);

fn replied(id: u64) -> replica::Event {
    replica::Event::TransactReply {
        id,
        result: Ok(Vec::<OpResult>::new()),
    }
}

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
    stage.event(Event::South(replica::Event::Disconnected {
        remote,
        reason: "gone".to_owned(),
    }));
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
fn exit_takes_leave_of_both_databases_before_it_is_answered() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    assert_eq!(stage.tunnels().len(), 1);
    let flows = stage.switch.flows.len();
    let remote = "unix:/nowhere".parse().expect("a remote");
    stage.event(Event::South(replica::Event::Disconnected {
        remote,
        reason: "gone".to_owned(),
    }));
    let mut answer = stage.ask("exit", &[]);
    assert_eq!((answer.given(), stage.exited), (None, false));
    stage.event(Event::South(replica::Event::Synced));
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
