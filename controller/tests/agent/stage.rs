//! The agent's surroundings: two databases and a switch that are lists in memory, and a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::core::{Core, Effects, Event, Now, SwitchEvent};
use controller::vswitch::{self, Bridge, Interface, OpenVSwitch, Port};
use daemon::unixctl::Request;
use openflow::message::{
    FlowCommand, FlowDesc, FlowFlags, FlowMod, Group, GroupCommand, GroupMod, Meter, MeterCommand,
    MultipartReply, MultipartRequest, TlvMap, TlvTable,
};
use openflow::{Message, Xid};
use ovsdb::operation::{Failure, OpResult, Operation};
use ovsdb::schema::DatabaseSchema;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Row, RowChange, Uuid};
use replica::TransactError;
use sb_db::tables::{Chassis, DatapathBinding, Encap, LogicalFlow, PortBinding, SbGlobal};

/// A database that does what it is told at once.
pub struct Database {
    pub schema: Arc<DatabaseSchema>,
    pub rows: BTreeMap<(usize, Uuid), Arc<Row>>,
}

impl Database {
    pub fn new(schema: &Arc<DatabaseSchema>) -> Self {
        Database {
            schema: schema.clone(),
            rows: BTreeMap::new(),
        }
    }

    pub fn put<T: Table + TableDefinition>(&mut self, row: &T, uuid: Uuid) -> RowChange {
        self.set(T::INDEX, uuid, Some(Arc::new(row.to_row())))
    }

    pub fn set(&mut self, table: usize, uuid: Uuid, new: Option<Arc<Row>>) -> RowChange {
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

    pub fn all<T: Table + TableDefinition>(&self) -> Vec<T> {
        let of_table = self
            .rows
            .iter()
            .filter(|((table, _), _)| *table == T::INDEX);
        of_table
            .map(|((_, uuid), row)| T::from_row(*uuid, row))
            .collect()
    }

    /// Everything, as a replica tells it first.
    pub fn snapshot(&self) -> Vec<RowChange> {
        let rows = self.rows.iter();
        rows.map(|(&(table, uuid), row)| RowChange {
            table,
            uuid,
            old: None,
            new: Some(row.clone()),
        })
        .collect()
    }

    pub fn transact(&mut self, operations: &[Operation]) -> Vec<RowChange> {
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
                    if !condition.iter().all(|clause| clause.holds(uuid, &new)) {
                        continue;
                    }
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
                    if !condition.iter().all(|clause| clause.holds(uuid, &new)) {
                        continue;
                    }
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
                Operation::Comment { .. } => {}
                other => panic!("the agent has no use for {other:?}"),
            }
        }
        changes
    }
}

/// A switch that answers at once, or holds its barriers back.
#[derive(Default)]
pub struct Switch {
    pub flows: Vec<FlowDesc>,
    pub input: Vec<u8>,
    pub bundle: Vec<Message>,
    pub groups: BTreeMap<u32, Group>,
    pub meters: BTreeMap<u32, Meter>,
    /// How many changes of groups and meters there were.
    pub others: usize,
    /// Flow changes since this was last taken.
    pub mods: Vec<FlowMod>,
    pub hold_barriers: bool,
    pub held: Vec<Xid>,
    /// Packets that were to be sent through actions.
    pub sent: Vec<Vec<u8>>,
    /// Connection tracking zones that were flushed.
    pub flushed: Vec<u16>,
}

impl Switch {
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
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

    pub fn answer(&mut self, xid: Xid, message: Message) -> Option<Message> {
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
            Message::CtFlushZone(zone) => {
                self.flushed.push(zone);
                None
            }
            Message::PacketOut(out) => {
                self.sent.push(out.packet);
                None
            }
            _ => None,
        }
    }

    pub fn change_group(&mut self, m: GroupMod) {
        self.others += 1;
        match m.command {
            GroupCommand::Delete => drop(self.groups.remove(&m.group.id)),
            _ => drop(self.groups.insert(m.group.id, m.group)),
        }
    }

    pub fn change(&mut self, m: &FlowMod) {
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
pub struct Stage {
    pub core: Core,
    pub now: Now,
    pub local: Database,
    pub south: Database,
    pub switch: Switch,
    pub south_up: bool,
    /// The agent was told that it has a connection to the switch.
    is_connected: bool,
    pub conditions: u64,
    pub exited: bool,
    /// All that has happened to the agent.
    pub recorded: Vec<(Now, serde_json::Value)>,
    /// The southbound takes no more transactions.
    pub south_refuses: bool,
    /// It refuses changes of these rows.
    pub refused_rows: Vec<Uuid>,
    /// It takes transactions and does not answer.
    pub south_is_silent: bool,
    /// How many transactions the southbound was asked for.
    pub south_transactions: usize,
    /// The number of the last of them.
    pub last_transaction: u64,
    /// Conditions do not take effect.
    pub conditions_held: bool,
    /// The fewest flows that the switch had since `watch_flows` is set.
    pub fewest_flows: usize,
    pub watch_flows: bool,
    /// The number of the southbound's newest replica.
    pub epoch: u64,
    /// The lists of members that this replica was given later.
    pub remotes: Vec<Vec<ovsdb::Remote>>,
    /// How many operations the local database was asked for.
    pub local_operations: usize,
}

impl Stage {
    pub fn new() -> Self {
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
            is_connected: false,
            conditions: 0,
            exited: false,
            recorded: Vec::new(),
            south_refuses: false,
            refused_rows: Vec::new(),
            south_is_silent: false,
            south_transactions: 0,
            last_transaction: 0,
            conditions_held: false,
            fewest_flows: usize::MAX,
            watch_flows: false,
            epoch: 0,
            remotes: Vec::new(),
            local_operations: 0,
        }
    }

    /// The same surroundings, a new agent.
    pub fn restart(mut self) -> Self {
        self.core = Core::new("host".to_owned());
        self.conditions = 0;
        self.is_connected = false;
        self.recorded.clear();
        self.switch.input.clear();
        self.switch.mods.clear();
        self
    }

    pub fn start(&mut self) {
        let snapshot = self.local.snapshot();
        self.event(Event::Local(replica::Event::Changes(snapshot)));
        self.event(Event::Local(replica::Event::Synced));
    }

    pub fn event(&mut self, event: Event) {
        let event_json = controller::record::to_json(&event);
        self.recorded.push((self.now, event_json));
        let effects = self.core.step(self.now, event);
        self.perform(effects);
    }

    pub fn perform(&mut self, effects: Effects) {
        self.exited |= effects.exit;
        if !effects.to_switch.is_empty() {
            let answer = self.switch.receive(&effects.to_switch);
            if self.watch_flows {
                self.fewest_flows = self.fewest_flows.min(self.switch.flows.len());
            }
            if !answer.is_empty() {
                self.event(Event::Switch(SwitchEvent::Data(answer)));
            }
        }
        if effects.connect_switch.is_some() && self.is_connected {
            // Another bridge, and nothing of the connection to the old one.
            self.switch = Switch {
                hold_barriers: self.switch.hold_barriers,
                ..Switch::default()
            };
        }
        if effects.connect_switch.is_some() || effects.reconnect_switch {
            self.is_connected = true;
            self.event(Event::Switch(SwitchEvent::Connected));
        }
        if let Some(connection) = effects.connect_south {
            self.epoch = connection.epoch;
            self.conditions = 0;
            if self.south_up {
                self.tell_all_of_south();
            }
        }
        self.remotes.extend(effects.south_remotes);
        if !effects.conditions.is_empty() {
            self.conditions += 1;
        }
        if !effects.conditions.is_empty() && !self.conditions_held {
            let number = self.conditions;
            self.south_event(replica::Event::ConditionsInEffect(number));
        }
        for (id, operations) in effects.local {
            self.local_operations += operations.len();
            let changes = self.local.transact(&operations);
            self.event(Event::Local(replica::Event::Changes(changes)));
            self.event(Event::Local(replied(id)));
        }
        for (id, operations) in effects.south {
            self.south_transactions += 1;
            self.last_transaction = id;
            if self.south_is_silent {
                continue;
            }
            let refused = operations.iter().position(|o| self.refuses(o));
            if let Some(place) = refused {
                let failure = Failure {
                    done: vec![OpResult::Empty; place],
                    error: ovsdb::Error::constraint("no"),
                };
                let result = Err(TransactError::Failed(failure));
                self.south_event(replica::Event::TransactReply { id, result });
                continue;
            }
            let changes = self.south.transact(&operations);
            self.south_event(replica::Event::Changes(changes));
            self.south_event(replied(id));
        }
    }

    /// From the southbound's newest replica.
    pub fn south_event(&mut self, event: replica::Event) {
        self.event(Event::South(self.epoch, event));
    }

    /// The conditions are in effect that were held.
    pub fn release_conditions(&mut self) {
        self.conditions_held = false;
        let number = self.conditions;
        self.south_event(replica::Event::ConditionsInEffect(number));
    }

    /// As a new replica does.
    pub fn tell_all_of_south(&mut self) {
        let snapshot = self.south.snapshot();
        self.south_event(replica::Event::Changes(snapshot));
        self.south_event(replica::Event::Synced);
    }

    fn refuses(&self, operation: &Operation) -> bool {
        let row = match operation {
            Operation::Update { condition, .. } | Operation::Mutate { condition, .. } => {
                condition[0].as_row()
            }
            _ => None,
        };
        self.south_refuses || row.is_some_and(|row| self.refused_rows.contains(&row))
    }

    /// Time passes; the agent is woken when it wants to be.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(due) = self.core.deadline().filter(|due| *due <= end) {
            self.advance_to(due.max(self.now.at));
            self.event(Event::Tick);
        }
        self.advance_to(end);
    }

    pub fn advance_to(&mut self, at: Instant) {
        self.now.unix_ms += i64::try_from((at - self.now.at).as_millis()).expect("short");
        self.now.at = at;
    }

    /// What the control socket answers; `None` while it has not.
    pub fn ask(&mut self, command: &'static str, args: &[&str]) -> Answer {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let (request, answer) = Request::local(command, args);
        self.event(Event::Request(request));
        Answer(answer)
    }

    /// Another chassis with a tunnel end.
    pub fn add_chassis(&mut self, n: u8) -> Uuid {
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
        self.south_event(replica::Event::Changes(changes));
        chassis
    }

    /// The port's row, changed.
    pub fn change_port(&mut self, change: impl FnOnce(&mut PortBinding)) {
        let mut port = self.port();
        change(&mut port);
        let change = self.south.put(&port, PORT);
        self.change_south(change);
    }

    pub fn change_settings(&mut self, key: &str, value: &str) {
        self.change_root(|root| drop(root.external_ids.insert(key.into(), value.into())));
    }

    /// The row of the local switch changes.
    pub fn change_root(&mut self, change: impl FnOnce(&mut OpenVSwitch)) {
        let mut root = self.local.all::<OpenVSwitch>().remove(0);
        change(&mut root);
        let change = self.local.put(&root, root.uuid);
        self.event(Event::Local(replica::Event::Changes(vec![change])));
    }

    pub fn own(&self) -> Uuid {
        let own = self.south.all::<Chassis>();
        own.iter()
            .find(|c| &*c.name == "c1")
            .expect("registered")
            .uuid
    }

    /// The tunnels of a bridge: whose they are.
    pub fn tunnels_on(&self, bridge: &str) -> Vec<String> {
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

    pub fn tunnels(&self) -> Vec<String> {
        self.tunnels_on("br-int")
    }

    pub fn change_south(&mut self, change: RowChange) {
        self.south_event(replica::Event::Changes(vec![change]));
    }

    /// A logical switch with one port and one flow.
    pub fn add_port(&mut self) {
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
        self.south_event(replica::Event::Changes(changes.to_vec()));
    }

    /// An interface of the integration bridge with the port's name.
    pub fn plug(&mut self) {
        self.plug_as("vm1", 20, 5);
    }

    /// An interface for a logical port, at a port of the switch; its rows have the identities `n` and `n + 1`.
    pub fn plug_as(&mut self, name: &str, n: u128, ofport: i64) {
        self.plug_into("br-int", name, n, ofport);
    }

    /// The same on another bridge.
    pub fn plug_into(&mut self, bridge: &str, name: &str, n: u128, ofport: i64) {
        let interface = Interface {
            name: format!("tap{ofport}").into(),
            ofport: Some(ofport),
            external_ids: [("iface-id".into(), name.into())].into(),
            ..Interface::default()
        };
        self.add_interface(bridge, &interface, n);
    }

    /// An interface that is no logical port's.
    pub fn plug_device(&mut self, name: &str, n: u128) {
        let interface = Interface {
            name: name.into(),
            ..Interface::default()
        };
        self.add_interface("br-int", &interface, n);
    }

    /// An interface of a bridge; its row and that of its port have the identities `n` and `n + 1`.
    pub fn add_interface(&mut self, bridge: &str, interface: &Interface, n: u128) {
        let [interface_uuid, port_uuid] = [n, n + 1].map(Uuid::from_u128);
        let port = Port {
            name: interface.name.clone(),
            interfaces: vec![interface_uuid],
            ..Port::default()
        };
        let mut bridges = self.local.all::<Bridge>();
        bridges.retain(|known| &*known.name == bridge);
        let mut bridge = bridges.remove(0);
        bridge.ports.push(port_uuid);
        bridge.ports.sort();
        let changes = vec![
            self.local.put(interface, interface_uuid),
            self.local.put(&port, port_uuid),
            self.local.put(&bridge, bridge.uuid),
        ];
        self.event(Event::Local(replica::Event::Changes(changes)));
    }

    /// The interface of the port changes.
    pub fn change_interface(&mut self, change: impl FnOnce(&mut Interface)) {
        let mut interfaces = self.local.all::<Interface>();
        interfaces.retain(|interface| interface.uuid == INTERFACE);
        let mut interface = interfaces.remove(0);
        change(&mut interface);
        let change = self.local.put(&interface, INTERFACE);
        self.event(Event::Local(replica::Event::Changes(vec![change])));
    }

    pub fn unplug(&mut self) {
        let change = self.local.set(Interface::INDEX, INTERFACE, None);
        self.event(Event::Local(replica::Event::Changes(vec![change])));
    }

    pub fn port(&self) -> PortBinding {
        self.south.all::<PortBinding>().remove(0)
    }

    pub fn is_marked_installed(&self) -> bool {
        let interfaces = self.local.all::<Interface>();
        interfaces.iter().any(|i| {
            i.external_ids
                .get("ovn-installed")
                .is_some_and(|v| &**v == "true")
        })
    }

    pub fn release_barriers(&mut self) {
        self.switch.hold_barriers = false;
        let mut answer = Vec::new();
        std::mem::take(&mut self.switch.held)
            .iter()
            .for_each(|xid| Message::BarrierReply.encode(*xid, &mut answer));
        self.event(Event::Switch(SwitchEvent::Data(answer)));
    }
}

/// The answer of the control socket.
pub struct Answer(tokio::sync::oneshot::Receiver<Result<String, String>>);

impl Answer {
    pub fn given(&mut self) -> Option<Result<String, String>> {
        self.0.try_recv().ok()
    }
}

pub const GLOBAL: Uuid = Uuid::from_u128(1);
pub const DATAPATH: Uuid = Uuid::from_u128(2);
pub const PORT: Uuid = Uuid::from_u128(3);
pub const INTERFACE: Uuid = Uuid::from_u128(20);

pub fn replied(id: u64) -> replica::Event {
    replica::Event::TransactReply {
        id,
        result: Ok(Vec::<OpResult>::new()),
    }
}
