//! A packet's way through the logical network, followed through everything that could become of it.
//!
//! It is the interpreter's way (`lflow::interp`), told as a tree. Where nobody can say what would happen, since conntrack
//! decides, both is followed: what conntrack gives back, and the packet as it was.
//!
//! **Work is bounded.** A packet may run in circles, and each fork doubles it: after [`MAX_LOOKUPS`] or within
//! [`MAX_DEPTH`] nested look-ups, the way ends with a remark.

use std::collections::BTreeSet;
use std::rc::Rc;

use lflow::action::{Action, Actions, Function, Pipeline, Plain, Query, Select, Transform};
use lflow::interp::transformed;
use lflow::{Base, Constant, Field, Kind as FieldKind, Name};
use ovsdb::Uuid;

use super::answer::{answer, neighbour};
use super::header::describe;
use super::lookup::Names;
use super::packet::Packet;
use super::stage::{Flow, Stages, is_egress};
use super::text;
use super::track::{Answers, is_of_destination, track};
use super::tree::{Kind, Node};
use super::world::World;

/// The most look-ups for one packet, or [`LOOKUPS_A_PORT`] for each port there is, if that is more.
const MAX_LOOKUPS: usize = 20_000;
/// So many look-ups for each port, for packets to everybody.
const LOOKUPS_A_PORT: usize = 64;
/// The most look-ups within each other.
const MAX_DEPTH: usize = 3_000;

/// In whose manner a packet is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As chassis forward it.
    #[default]
    Chassis,
    /// As ovn-trace does, which takes some things more simply: flags end with the ingress pipeline; registers and what is
    /// known of the connection go through links between datapaths, and from a packet to one that is made of it; where a
    /// connection was first sent to is known only after load balancing; a gateway router's `ct_snat` without an address
    /// ends the way; `fwd_group` has no effect.
    OvnTrace,
}

/// What a trace is made with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What conntrack answers.
    pub answers: Answers,
    /// `--select-id`: what `select` selects.
    pub selected: Option<u16>,
    /// Whether ports and datapaths are shown by their other names.
    pub friendly: bool,
    /// In whose manner.
    pub manner: Manner,
}

/// A table of a datapath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The datapath.
    pub datapath: Uuid,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The table.
    pub table: u8,
}

impl Place {
    fn next(self) -> Self {
        Self {
            table: self.table.saturating_add(1),
            ..self
        }
    }
}

/// How a packet's way ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A flow dropped it.
    Dropped,
    /// No flow of the table matched.
    Unmatched,
    /// It came out of a port: its name and type.
    Delivered(String, String),
    /// It was to go out by the port that it had come in by.
    Returned,
    /// The flow has given it to the chassis, or only looked at it: nothing else was done.
    Consumed,
}

/// Where a packet's way ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The table.
    pub place: Place,
    /// The flow that decided, if one did.
    pub flow: Option<Rc<Flow>>,
    /// How.
    pub end: End,
    /// The packet as it was there.
    pub packet: Packet,
    /// What it is, if it was made of the one that was sent: `icmp4`, `tcp_reset`, …
    pub made: Option<&'static str>,
    /// The flows that did more than pass it on, on the way there, with their tables.
    pub way: Vec<(Place, Rc<Flow>)>,
}

/// The OpenFlow flows that are there for a logical flow, by the start of its UUID.
pub type OpenFlow<'a> = &'a dyn Fn(u32) -> Vec<Node>;

/// Follows a packet.
pub struct Walker<'a> {
    world: &'a World,
    stages: &'a Stages,
    settings: Settings,
    openflow: Option<OpenFlow<'a>>,
    lookups: usize,
    depth: usize,
    way: Vec<(Place, Rc<Flow>)>,
    made: Option<&'static str>,
    /// How the ways ended, in order.
    pub endings: Vec<Ending>,
    /// Flows that could not be read or evaluated, and why.
    pub warnings: BTreeSet<String>,
}

impl<'a> Walker<'a> {
    /// One that has not begun.
    pub fn new(
        world: &'a World,
        stages: &'a Stages,
        settings: Settings,
        openflow: Option<OpenFlow<'a>>,
    ) -> Self {
        Self {
            world,
            stages,
            settings,
            openflow,
            lookups: 0,
            depth: 0,
            way: Vec::new(),
            made: None,
            endings: Vec::new(),
            warnings: BTreeSet::new(),
        }
    }

    /// Sends a packet into the ingress pipeline of a datapath.
    pub fn enter(&mut self, datapath: Uuid, packet: &Packet) -> Vec<Node> {
        let mut packet = packet.clone();
        if self.is_chassis() {
            packet.hide_ports_of_whole();
        }
        let inport = self.port_text(datapath, packet.state.get(Base::Inport));
        let inport = match inport.as_str() {
            "" => "(none)",
            name => name,
        };
        let text = format!(
            "ingress(dp=\"{}\", inport=\"{inport}\")",
            self.datapath_text(datapath)
        );
        let mut node = Node::new(Kind::Pipeline, text);
        let place = Place {
            datapath,
            pipeline: Pipeline::Ingress,
            table: 0,
        };
        self.table(place, &mut packet, &mut node.children);
        vec![node]
    }

    fn is_chassis(&self) -> bool {
        self.settings.manner == Manner::Chassis
    }

    fn datapath_text(&self, datapath: Uuid) -> String {
        let datapath = self.world.datapath_by_uuid(datapath);
        datapath.map_or_else(String::new, |datapath| {
            datapath.shown(self.settings.friendly)
        })
    }

    /// The name of the port with this key; empty for none.
    fn port_text(&self, datapath: Uuid, key: u128) -> String {
        let key = u32::try_from(key).unwrap_or_default();
        match self.world.port_by_key(datapath, key) {
            Some(port) => port.shown(self.settings.friendly),
            None if key == 0 => String::new(),
            None => "(unnamed)".to_owned(),
        }
    }

    fn names(&self, datapath: Uuid) -> Names<'a> {
        Names {
            world: self.world,
            datapath,
            lenient: false,
        }
    }

    fn end(&mut self, place: Place, flow: Option<&Rc<Flow>>, end: End, packet: &Packet) {
        self.endings.push(Ending {
            place,
            flow: flow.cloned(),
            end,
            packet: packet.clone(),
            made: self.made,
            way: self.way.clone(),
        });
    }

    /// Looks the packet up, and does what the flow says.
    fn table(&mut self, mut place: Place, packet: &mut Packet, nodes: &mut Vec<Node>) {
        let most = MAX_LOOKUPS.max(LOOKUPS_A_PORT.saturating_mul(self.world.port_count()));
        if self.lookups >= most || self.depth >= MAX_DEPTH {
            let text = format!(
                "*** after {} look-ups, {} of them within each other, the packet is given up",
                self.lookups, self.depth
            );
            nodes.push(Node::new(Kind::Remark, text));
            return;
        }
        let flow = loop {
            self.lookups += 1;
            let flow = self.find(place, packet);
            match &flow {
                Some(flow) if passes_everything_on(flow, place) => place = place.next(),
                _ => break flow,
            }
        };
        let number = place.table;
        let Some(flow) = flow else {
            let stage = self.world.stage_name(self.place(place));
            let stage = stage.map_or_else(String::new, |stage| format!("{stage}: "));
            let text = format!("{number:2}. {stage}no match (implicit drop)");
            nodes.push(Node::new(Kind::Table, text));
            self.end(place, None, End::Unmatched, packet);
            return;
        };
        let mut node = Node::new(Kind::Table, self.heading(&flow, number));
        if let Some(openflow) = self.openflow {
            node.children = openflow(flow.uuid.as_fields().0);
        }
        self.depth += 1;
        self.way.push((place, Rc::clone(&flow)));
        let endings = self.endings.len();
        let before = self.lookups;
        self.actions(&flow.flow.actions, place, packet, &mut node.children);
        let goes_on = flow.flow.actions.0.iter().any(passes_on);
        if !goes_on || (self.endings.len() == endings && self.lookups == before) {
            let end = match is_drop(&flow.flow.actions) {
                true => End::Dropped,
                false => End::Consumed,
            };
            self.end(place, Some(&flow), end, packet);
        }
        self.way.pop();
        self.depth -= 1;
        nodes.push(node);
    }

    fn place(&self, place: Place) -> super::world::Place {
        (place.datapath, is_egress(place.pipeline), place.table)
    }

    fn find(&mut self, place: Place, packet: &Packet) -> Option<Rc<Flow>> {
        let names = self.names(place.datapath);
        let mut wrong = Vec::new();
        let stage: Rc<_> = self
            .stages
            .at(self.world, self.place(place), &names, &mut |text| {
                wrong.push(text);
            });
        let by_tags = self.is_chassis();
        let flow = stage.find(&packet.state, &names, by_tags, &mut |flow, error| {
            wrong.push(format!("{}: {error}", flow.text));
        });
        self.warnings.extend(wrong);
        flow.cloned()
    }

    fn heading(&self, flow: &Flow, number: u8) -> String {
        let place = match (&flow.stage, &flow.source) {
            (Some(stage), Some(source)) => format!("{stage} ({source}): "),
            (Some(stage), None) => format!("{stage}: "),
            (None, Some(source)) => format!("({source}): "),
            (None, None) => String::new(),
        };
        format!(
            "{number:2}. {place}{}, priority {}, uuid {:08x}",
            self.friendly(&flow.text),
            flow.flow.priority,
            flow.uuid.as_fields().0
        )
    }

    fn friendly(&self, text: &str) -> String {
        match self.settings.friendly {
            true => text::friendly(text, self.world),
            false => text.to_owned(),
        }
    }

    fn actions(
        &mut self,
        actions: &Actions,
        place: Place,
        packet: &mut Packet,
        nodes: &mut Vec<Node>,
    ) {
        if actions.0.is_empty() {
            nodes.push(Node::new(Kind::Action, "drop;"));
        }
        let mut stack = Vec::new();
        for action in &actions.0 {
            let text = text::action(action, place.pipeline, place.table);
            nodes.push(Node::new(Kind::Action, self.friendly(&text)));
            if !self.action(action, place, packet, &mut stack, nodes) {
                return;
            }
        }
    }

    /// Does one action. False when the packet ends here.
    fn action(
        &mut self,
        action: &Action,
        place: Place,
        packet: &mut Packet,
        stack: &mut Vec<u128>,
        nodes: &mut Vec<Node>,
    ) -> bool {
        let mut tell = |kind, text: String| nodes.push(Node::new(kind, text));
        let state = &mut packet.state;
        match action {
            Action::Drop => return false,
            Action::Output => self.output(place, packet, nodes),
            Action::Next { pipeline, table } => {
                let next = Place {
                    pipeline: pipeline.unwrap_or(place.pipeline),
                    table: table.unwrap_or(place.table.saturating_add(1)),
                    ..place
                };
                self.next(place, next, packet, nodes);
            }
            Action::Assign(field, constant) => {
                if !text::is_register(*field) {
                    tell(Kind::Modify, format!("{field} = {constant}"));
                }
                self.assign(*field, constant, place, packet);
            }
            Action::Copy { to, from } => {
                if !text::is_register(*to) {
                    tell(
                        Kind::Modify,
                        format!("{to} = {}", text::value(*from, state)),
                    );
                }
                state.write(*to, state.read(*from), u128::MAX);
            }
            Action::Exchange(a, b) => {
                for (to, from) in [(*a, *b), (*b, *a)] {
                    if !text::is_register(to) {
                        tell(Kind::Modify, format!("{to} = {}", text::value(from, state)));
                    }
                }
                let (old_a, old_b) = (state.read(*a), state.read(*b));
                state.write(*a, old_b, u128::MAX);
                state.write(*b, old_a, u128::MAX);
            }
            Action::Push(field) => {
                let value = state.read(*field);
                tell(Kind::Modify, format!("push({field}) -> {value:#x}"));
                stack.push(value);
            }
            Action::Pop(field) => match stack.pop() {
                Some(value) => {
                    state.write(*field, value, u128::MAX);
                    tell(Kind::Modify, format!("pop({field}) <- {value:#x}"));
                }
                None => tell(Kind::Modify, format!("pop({field}) <- /* empty stack */")),
            },
            Action::DecrementTtl => match state.get(Base::IpTtl) {
                0 => tell(Kind::Remark, "*** TTL underflow".to_owned()),
                ttl => {
                    state.set(Base::IpTtl, ttl - 1);
                    tell(Kind::Modify, "ip.ttl--".to_owned());
                }
            },
            Action::Within(transform, actions) => {
                self.within(*transform, actions, place, packet, nodes);
            }
            Action::Call(function, args) => call(self.world, *function, args, place, packet, nodes),
            Action::Query(to, Query::Select(select)) => {
                self.select(*to, select, place, packet, nodes);
            }
            Action::Query(to, query) => {
                let is_chassis = self.is_chassis();
                let answer = answer(self.world, place.datapath, packet, *to, query, is_chassis);
                if let Some(value) = answer.value {
                    packet.state.write(*to, value, u128::MAX);
                }
                nodes.extend(answer.notes);
            }
            Action::CtNext(_)
            | Action::CtCommitNat(_)
            | Action::CtCommitToZone(_)
            | Action::Nat { .. }
            | Action::Balance(_) => self.track(action, place, packet, nodes),
            Action::Plain(Plain::CtClear) => packet.forget_connection(),
            Action::Plain(Plain::CtSnatToVip) => {
                let vip = packet.original.and_then(|to| {
                    let (ip, port) = self.world.vip(to.address)?;
                    (port == to.port).then_some(ip)
                });
                if let Some(vip) = vip {
                    tell(Kind::Action, format!("/* nat(src={vip}) */"));
                    if self.is_chassis() {
                        packet.set_source(vip);
                    }
                }
            }
            Action::Plain(Plain::FloodRemote) => {
                tell(Kind::Output, "/* Flood to all remote chassis */".to_owned());
            }
            Action::ForwardGroup { children, .. } if self.is_chassis() => {
                self.forward(children, place, packet, nodes);
            }
            Action::Log(log) => {
                let direction = match place.pipeline {
                    Pipeline::Ingress => "IN",
                    Pipeline::Egress => "OUT",
                };
                let or = |text: &Name, other: &str| match text.is_empty() {
                    true => other.to_owned(),
                    false => text.to_string(),
                };
                let text = format!(
                    "LOG: ACL name={}, direction={direction}, verdict={}, severity={}, packet=\"{}\"",
                    or(&log.name, "<unnamed>"),
                    or(&log.verdict, "allow"),
                    or(&log.severity, "info"),
                    describe(state)
                );
                tell(Kind::Transformation, text);
            }
            Action::CtCommit(_)
            | Action::Plain(_)
            | Action::BindVport { .. }
            | Action::CommitEcmpNextHop { .. }
            | Action::CommitAffinity(_)
            | Action::ForwardGroup { .. }
            | Action::Sample(_)
            | Action::SetQueue(_)
            | Action::SetMeter { .. }
            | Action::Mirror(_)
            | Action::Event(_) => {}
        }
        true
    }

    fn assign(&mut self, field: Field, constant: &Constant, place: Place, packet: &mut Packet) {
        use lflow::expr::Lookup as _;
        match constant {
            Constant::Int(int) => packet.state.write(field, int.value, int.mask),
            Constant::Str(name) if &**name == "none" => packet.state.write(field, 0, u128::MAX),
            Constant::Str(name) => match self.names(place.datapath).port(name) {
                Some(key) => packet.state.write(field, key.into(), u128::MAX),
                None => {
                    self.warnings
                        .insert(format!("{name}: unknown logical port"));
                }
            },
            Constant::Template(_) | Constant::AddressSet(_) | Constant::PortGroup(_) => {}
        }
        if let FieldKind::MtuOfError = field.symbol().kind()
            && let Constant::Int(int) = constant
        {
            packet.state.frag_mtu = u32::try_from(int.value).ok();
        }
    }

    fn next(&mut self, from: Place, to: Place, packet: &mut Packet, nodes: &mut Vec<Node>) {
        if from.pipeline == to.pipeline {
            return self.table(to, packet, nodes);
        }
        let (side, base) = match to.pipeline {
            Pipeline::Ingress => ("inport", Base::Inport),
            Pipeline::Egress => ("outport", Base::Outport),
        };
        let text = format!(
            "{}(dp=\"{}\", {side}=\"{}\")",
            to.pipeline.name(),
            self.datapath_text(to.datapath),
            self.port_text(to.datapath, packet.state.get(base))
        );
        let mut node = Node::new(Kind::Pipeline, text);
        self.table(to, packet, &mut node.children);
        nodes.push(node);
    }

    /// The actions in braces, on a packet made of this one.
    fn within(
        &mut self,
        transform: Transform,
        actions: &Actions,
        place: Place,
        packet: &Packet,
        nodes: &mut Vec<Node>,
    ) {
        let Some(name) = made(transform, packet) else {
            return;
        };
        let mut new = Packet {
            state: transformed(&packet.state, transform),
            ..packet.clone()
        };
        if transform != Transform::Clone {
            new.ports_of_whole = None;
            match self.is_chassis() {
                true => new.forget_connection(),
                false => {
                    for base in [Base::CtState, Base::CtMark, Base::CtLabel] {
                        new.state.set(base, packet.state.get(base));
                    }
                }
            }
        }
        let mut node = Node::new(Kind::Transformation, name);
        let before = self.made;
        if transform != Transform::Clone {
            self.made = Some(name);
        }
        self.actions(actions, place, &mut new, &mut node.children);
        self.made = before;
        nodes.push(node);
    }

    fn select(
        &mut self,
        to: Field,
        select: &Select,
        place: Place,
        packet: &Packet,
        nodes: &mut Vec<Node>,
    ) {
        let values = &select.values;
        let asked = self.settings.selected;
        let asked = asked.filter(|id| values.iter().any(|(value, _)| value == id));
        let (value, comment) = match (asked, values.get(packet.choice(values.len()))) {
            (Some(value), _) => (value, ""),
            (None, Some((value, _))) => (
                *value,
                " /* Randomly selected. Use --select-id to specify. */",
            ),
            (None, None) => return,
        };
        let mut new = packet.clone();
        new.state.write(to, value.into(), u128::MAX);
        let text = format!("select: {to} = {value}{comment}");
        let mut node = Node::new(Kind::Transformation, text);
        self.table(place.next(), &mut new, &mut node.children);
        nodes.push(node);
    }

    fn track(&mut self, action: &Action, place: Place, packet: &Packet, nodes: &mut Vec<Node>) {
        if let Action::Nat { kind, ip: None, .. } = action
            && !is_of_destination(*kind)
            && !self.is_chassis()
            && self.world.is_gateway_router(place.datapath)
        {
            return;
        }
        let remembers = self.is_chassis();
        let answers = &mut self.settings.answers;
        let Some(mut tracked) = track(action, packet, answers, remembers) else {
            return;
        };
        if remembers {
            tracked.packet.remember_connection(packet);
        }
        let remark = tracked.remark.map(|text| Node::new(Kind::Remark, text));
        nodes.extend(remark);
        let mut node = Node::new(Kind::Transformation, tracked.text);
        self.table(place.next(), &mut tracked.packet, &mut node.children);
        nodes.push(node);
    }

    /// `fwd_group(…);`: one of the ports.
    fn forward(
        &mut self,
        children: &[Name],
        place: Place,
        packet: &mut Packet,
        nodes: &mut Vec<Node>,
    ) {
        use lflow::expr::Lookup as _;
        let names = self.names(place.datapath);
        let Some(child) = children.get(packet.choice(children.len())) else {
            return;
        };
        let text = format!("/* \"{child}\" of {} is chosen */", children.len());
        nodes.push(Node::new(Kind::Action, text));
        let key = names.port(child).unwrap_or_default();
        packet.state.set(Base::Outport, key.into());
        self.output(place, packet, nodes);
    }

    /// `output;`
    fn output(&mut self, place: Place, packet: &Packet, nodes: &mut Vec<Node>) {
        let key = u32::try_from(packet.state.get(Base::Outport)).unwrap_or_default();
        if key == 0 {
            nodes.push(Node::new(Kind::Remark, "*** output to null logical port"));
            return;
        }
        let port = self.world.port_by_key(place.datapath, key);
        let group = self.world.multicast_by_key(place.datapath, key);
        if port.is_none() && group.is_none() {
            let text = format!("*** unknown port or multicast group {key}");
            nodes.push(Node::new(Kind::Remark, text));
        }
        if place.pipeline == Pipeline::Egress {
            let name = match (&port, &group) {
                (Some(port), _) => port.shown(self.settings.friendly),
                (None, Some((name, _))) => name.to_string(),
                (None, None) => "(unnamed)".to_owned(),
            };
            return self.leave(place, port, &name, packet, nodes);
        }
        if let Some((name, members)) = group {
            let text = format!(
                "multicast(dp=\"{}\", mcgroup=\"{name}\")",
                self.datapath_text(place.datapath)
            );
            let mut node = Node::new(Kind::Pipeline, text);
            for member in members {
                let name = member.shown(self.settings.friendly);
                let mut egress = self.egress_node(place, packet, &name);
                match self.may_go_to(member.key, packet) {
                    true => {
                        egress.is_set_apart = true;
                        self.egress(place, member.key, packet, &mut egress.children);
                    }
                    false => self.returned(place, packet, &mut egress.children),
                }
                node.children.push(egress);
            }
            nodes.push(node);
            return;
        }
        let mut key = key;
        let mut name = self.port_text(place.datapath, key.into());
        if let Some(port) = port.filter(|port| &*port.kind == "chassisredirect") {
            let distributed = port
                .distributed
                .as_deref()
                .and_then(|name| self.world.port_by_name(name))
                .filter(|distributed| distributed.datapath == port.datapath);
            let Some(distributed) = distributed else {
                let text = format!(
                    "*** output to type \"{}\" port \"{name}\" with no or invalid distributed port",
                    port.kind
                );
                nodes.push(Node::new(Kind::Remark, text));
                return;
            };
            let other = distributed.shown(self.settings.friendly);
            let text = format!(
                "/* Replacing type \"{}\" outport \"{name}\" with distributed port \"{other}\". */",
                port.kind
            );
            nodes.push(Node::new(Kind::Output, text));
            (key, name) = (distributed.key, other);
        }
        let is_known = port.is_some() || packet.state.get(Base::Flags) & 1 == 1;
        if is_known && self.may_go_to(key, packet) {
            let mut node = self.egress_node(place, packet, &name);
            self.egress(place, key, packet, &mut node.children);
            nodes.push(node);
        } else {
            self.returned(place, packet, nodes);
        }
    }

    /// A packet does not leave by the port that it came in by, unless `flags.loopback` says so.
    fn may_go_to(&self, key: u32, packet: &Packet) -> bool {
        let is_loopback = packet.state.get(Base::Flags) & 1 == 1;
        u128::from(key) != packet.state.get(Base::Inport) || is_loopback
    }

    fn returned(&mut self, place: Place, packet: &Packet, nodes: &mut Vec<Node>) {
        let text = "/* omitting output because inport == outport && !flags.loopback */";
        nodes.push(Node::new(Kind::Output, text));
        let flow = self.way.last().map(|(_, flow)| Rc::clone(flow));
        self.end(place, flow.as_ref(), End::Returned, packet);
    }

    fn egress_node(&self, place: Place, packet: &Packet, outport: &str) -> Node {
        let text = format!(
            "egress(dp=\"{}\", inport=\"{}\", outport=\"{outport}\")",
            self.datapath_text(place.datapath),
            self.port_text(place.datapath, packet.state.get(Base::Inport))
        );
        Node::new(Kind::Pipeline, text)
    }

    /// Runs the egress pipeline on a copy of the packet, without registers.
    fn egress(&mut self, place: Place, key: u32, packet: &Packet, nodes: &mut Vec<Node>) {
        let mut copy = packet.clone();
        clear_registers(&mut copy);
        if !self.is_chassis() {
            copy.state.set(Base::Flags, 0);
        }
        copy.state.set(Base::Outport, key.into());
        let egress = Place {
            pipeline: Pipeline::Egress,
            table: 0,
            ..place
        };
        self.table(egress, &mut copy, nodes);
    }

    /// The packet leaves the datapath: into the world, or into the datapath at the other end of a link.
    fn leave(
        &mut self,
        place: Place,
        port: Option<&super::world::Port>,
        name: &str,
        packet: &Packet,
        nodes: &mut Vec<Node>,
    ) {
        let kind = port.map_or("", |port| &*port.kind);
        let text = format!("/* output to \"{name}\", type \"{kind}\" */");
        nodes.push(Node::new(Kind::Output, text));
        let peer = port.and_then(|port| port.peer.as_deref());
        let Some(peer) = peer.and_then(|peer| self.world.port_by_name(peer)) else {
            nodes.push(Node::new(Kind::Modify, format!("output(\"{name}\")")));
            let flow = self.way.last().map(|(_, flow)| Rc::clone(flow));
            let end = End::Delivered(name.to_owned(), kind.to_owned());
            self.end(place, flow.as_ref(), end, packet);
            return;
        };
        let mut new = packet.clone();
        if self.is_chassis() {
            clear_registers(&mut new);
            new.state.set(Base::Flags, 0);
            new.forget_connection();
        }
        new.state.set(Base::Inport, peer.key.into());
        new.state.set(Base::Outport, 0);
        let text = format!(
            "ingress(dp=\"{}\", inport=\"{}\")",
            self.datapath_text(peer.datapath),
            peer.shown(self.settings.friendly)
        );
        let mut node = Node::new(Kind::Pipeline, text);
        let place = Place {
            datapath: peer.datapath,
            pipeline: Pipeline::Ingress,
            table: 0,
        };
        self.table(place, &mut new, &mut node.children);
        nodes.push(node);
    }
}

fn clear_registers(packet: &mut Packet) {
    for number in 0..10 {
        packet.state.set(Base::reg(number), 0);
    }
}

/// True for what every table without a feature has: all packets go on with the next table.
fn passes_everything_on(flow: &Flow, place: Place) -> bool {
    let next = place.table.saturating_add(1);
    match &flow.flow.actions.0[..] {
        [Action::Next { pipeline, table }] => {
            flow.is_for_all
                && pipeline.is_none_or(|pipeline| pipeline == place.pipeline)
                && table.is_none_or(|table| table == next)
        }
        _ => false,
    }
}

/// Whether actions drop the packet: in so many words, or by making another of it and doing nothing else with it.
fn is_drop(actions: &Actions) -> bool {
    let makes = |action: &Action| matches!(action, Action::Within(transform, _) if *transform != Transform::Clone);
    matches!(actions.0.last(), None | Some(Action::Drop)) || actions.0.iter().any(makes)
}

/// Whether an action sends the packet itself somewhere.
fn passes_on(action: &Action) -> bool {
    matches!(
        action,
        Action::Next { .. }
            | Action::Output
            | Action::CtNext(_)
            | Action::CtCommitNat(_)
            | Action::CtCommitToZone(_)
            | Action::Nat { .. }
            | Action::Balance(_)
            | Action::ForwardGroup { .. }
            | Action::Query(_, Query::Select(_))
    )
}

/// What the packet that an action makes is called; nothing where it makes none of what it has made itself.
fn made(transform: Transform, packet: &Packet) -> Option<&'static str> {
    const RST: u128 = 4;
    let state = &packet.state;
    let is_reset = state.get(Base::TcpFlags) == RST;
    Some(match transform {
        Transform::Icmp4 | Transform::Icmp4Error => "icmp4",
        Transform::Icmp6 | Transform::Icmp6Error => "icmp6",
        Transform::NdNa | Transform::NdNaRouter => "nd_na",
        Transform::Reject => {
            let is_ip4 = state.get(Base::EthType) == super::packet::IP4;
            match state.get(Base::IpProto) {
                6 if is_reset => return None,
                6 => "tcp_reset",
                132 => "sctp_abort",
                1 if state.get(Base::Icmp4Type) == 3 => return None,
                58 if state.get(Base::Icmp6Type) == 1 => return None,
                _ if is_ip4 => "icmp4",
                _ => "icmp6",
            }
        }
        other => other.name(),
    })
}

/// `get_arp(…);` and its kin. What only teaches chassis changes nothing.
fn call(
    world: &World,
    function: Function,
    args: &[Field],
    place: Place,
    packet: &mut Packet,
    nodes: &mut Vec<Node>,
) {
    let is_ip4 = match function {
        Function::GetArp => true,
        Function::GetNd => false,
        Function::PutArp | Function::PutNd | Function::PutFdb | Function::HandleSvcCheck => return,
    };
    let [port, ip] = args else {
        return;
    };
    let (port, ip) = (packet.state.read(*port), packet.state.read(*ip));
    let found = neighbour(world, place.datapath, port, ip, is_ip4);
    let mac = found.unwrap_or_default();
    packet.state.set(Base::EthDst, mac.to_u64().into());
    let text = match found {
        Some(mac) => format!("/* MAC binding to {mac}. */"),
        None => "/* No MAC binding. */".to_owned(),
    };
    nodes.push(Node::new(Kind::Action, text));
    nodes.push(Node::new(Kind::Modify, format!("eth.dst = {mac}")));
}
