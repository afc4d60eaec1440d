//! Copies to logical ports.
//!
//! A copied port has a binding of type `mirror` for its copies, named `mp-ROW-SINK` by its row, in the port's own switch; it is where the sink
//! is, whose controller hands over what comes there. So a copy travels as any packet for another chassis does. Both directions share
//! one if they have one sink.
//!
//! Rules stand at 100 and their priority, above the flow that copies everything.

use std::sync::Arc;

use lflow::action::Action;
use lflow::{Expr, a, m};
use nb_db::tables::LogicalSwitchPort;
use ovsdb::{Atom, Datum};
use relations::{Handle, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::{TO_PORT, ToPort};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Kind, Over, Pool};
use crate::compiler::flow::Flows;
use crate::compiler::identity;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::chassis;
use crate::features::matches;
use crate::features::ports::{self, MIRRORED, PORT, PortKind};
use crate::features::switch::{DATAPATH, SWITCHES, SWITCHES_NAME};

/// What of a port is copied, and to which ports.
pub(super) static COPIES: Relation<Handle, Copies> = Relation::new("copies");
/// The binding to which what a port sends is copied; also what it gets, if that has the same sink or is all that is copied.
pub(super) static IN_BINDING: Relation<Handle, Identity> = Relation::new("mirror binding");
/// The binding to which what a port gets is copied, if that is another.
pub(super) static OUT_BINDING: Relation<Handle, Identity> = Relation::new("other mirror binding");

pub(super) static IN_KEYS: Pool = Pool::second(&IN_BINDING, &ports::KEYS);
pub(super) static OUT_KEYS: Pool = Pool::second(&OUT_BINDING, &ports::KEYS);

const SENT: Rule = Rule::new(
    Stage::InMirror,
    32_767 + 100,
    "from a port with a mirror to a port: at 99 copy; above, as a rule says, copy or not",
);
const GOT: Rule = Rule::new(
    Stage::OutMirror,
    32_767 + 100,
    "to a port with a mirror to a port: at 99 copy; above, as a rule says, copy or not",
);
const PASS_SENT: Rule = Rule::new(Stage::InMirror, 0, "the rest: next");
const PASS_GOT: Rule = Rule::new(Stage::OutMirror, 0, "the rest: next");
const COPY: Rule = Rule::new(
    Stage::OutPreAcl,
    65_535,
    "a copy: past everything, to where it leaves",
);

pub(super) const RULES: [Rule; 5] = [SENT, GOT, PASS_SENT, PASS_GOT, COPY];

/// The priority of the flow that copies everything: below all rules.
const EVERYTHING: u16 = ABOVE - 1;
/// Priorities of rules are so much higher as flows.
const ABOVE: u16 = 100;

/// What of a port is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copies {
    /// What it sends.
    sent: Option<Arc<ToPort>>,
    /// What it gets.
    got: Option<Arc<ToPort>>,
}

impl Copies {
    /// The sinks: of the first binding, and of the second.
    fn sinks(&self) -> [Option<&Arc<str>>; 2] {
        let sink = |of: &'_ Option<Arc<ToPort>>| of.as_ref().map(|mirror| mirror.sink.clone());
        let [sent, got] = [sink(&self.sent), sink(&self.got)];
        let second = sent.is_some() && got.is_some() && sent != got;
        let first = self.sent.as_ref().or(self.got.as_ref());
        let second = self.got.as_ref().filter(|_| second);
        [first, second].map(|mirror| mirror.map(|mirror| &mirror.sink))
    }
}

pub(super) static SAY: Kind = Kind {
    name: "port/copies",
    over: Over::Keys(&MIRRORED),
    reads: &[&PORT, &TO_PORT],
    says: &[&COPIES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(port) = unit.get(&PORT, row) else {
            return;
        };
        let mut copies = Copies {
            sent: None,
            got: None,
        };
        let column = LogicalSwitchPort::COLUMN.mirror_rules.name;
        let mut complaints = unit.complaints::<LogicalSwitchPort>(row, Arc::clone(&port.name));
        for mirror in &port.mirrors {
            let Some(mirror) = unit.find_north::<nb_db::tables::Mirror>(*mirror) else {
                continue;
            };
            let Some(mirror) = unit.get(&TO_PORT, mirror) else {
                continue;
            };
            if let Some(why) = obstacle(unit, port, mirror) {
                let remedy = "it copies nothing here: name another port as its sink";
                complaints.column(column, why, remedy);
                continue;
            }
            for (is_meant, place) in [
                (mirror.copies_sent, &mut copies.sent),
                (mirror.copies_got, &mut copies.got),
            ] {
                match place {
                    _ if !is_meant => {}
                    None => *place = Some(Arc::clone(mirror)),
                    Some(first) => {
                        let why = format!("{:?} is the sink in this direction already", first.sink);
                        let remedy =
                            "a port has one mirror of type lport in each direction: take one away";
                        complaints.text(column, &mirror.sink, 0, why, remedy);
                    }
                }
            }
        }
        if copies.sent.is_some() || copies.got.is_some() {
            unit.say(&COPIES, row, copies);
        }
        unit.problems(complaints.into_problems());
    },
};

/// Why a port cannot be copied to the sink of a mirror.
fn obstacle(unit: &Unit<'_>, port: &ports::Port, mirror: &ToPort) -> Option<String> {
    let sink = &mirror.sink;
    if port.name == *sink {
        return Some("a mirror to the port itself".to_owned());
    }
    let named = unit.having(matches::PORTS, &Atom::from(&**sink));
    let sink_port = named.iter().find_map(|row| unit.get(&PORT, *row));
    let is_guest = sink_port.is_none_or(|port| matches!(port.kind, PortKind::Vif { .. }));
    (!is_guest).then(|| format!("the sink {sink:?} is no guest's port"))
}

pub(super) static WISH: Kind = Kind {
    name: "alloc/copies",
    over: Over::Keys(&COPIES),
    reads: &[&DATAPATH, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&IN_KEYS, &OUT_KEYS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(copies), Some(switch)) = (unit.get(&COPIES, row), ports::owner(unit, row)) else {
            return;
        };
        let Some(datapath) = unit.get(&DATAPATH, switch) else {
            return;
        };
        for (sink, pool) in copies.sinks().into_iter().zip([&IN_KEYS, &OUT_KEYS]) {
            let Some(sink) = sink else {
                continue;
            };
            let name = binding_name(unit.uuid(row), sink);
            let want = ports::wanted(unit, (row, switch), &name, *datapath, None);
            let derived = identity::derive(&[b"mirror", want.derived.as_bytes(), sink.as_bytes()]);
            let is_recorded = want.identity != want.derived;
            unit.want(Want {
                pool,
                derived,
                identity: if is_recorded { want.identity } else { derived },
                name,
                ..want
            });
        }
    },
};

/// The name of a binding. Names of ports may be anything; with the port's row, two are never one.
fn binding_name(port: Uuid, sink: &str) -> Arc<str> {
    format!("mp-{port}-{sink}").into()
}

pub(super) static FLOWS: Kind = Kind {
    name: "copies",
    over: Over::Keys(&COPIES),
    reads: &[&DATAPATH, &PORT, &IN_BINDING, &OUT_BINDING],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(copies), Some(port), Some(switch)) = (
            unit.get(&COPIES, row),
            unit.get(&PORT, row),
            ports::owner(unit, row),
        ) else {
            return;
        };
        let Some(datapath) = unit.get(&DATAPATH, switch) else {
            return;
        };
        if unit.lacks("Port_Binding.mirror_port") {
            let column = LogicalSwitchPort::COLUMN.mirror_rules.name;
            let mut complaints = unit.complaints::<LogicalSwitchPort>(row, Arc::clone(&port.name));
            let why = "the southbound database knows no mirrors to ports";
            complaints.column(column, why, "nothing is copied until it does");
            unit.problems(complaints.into_problems());
            return;
        }
        let hint = unit.uuid(row);
        let bindings = [unit.get(&IN_BINDING, row), unit.get(&OUT_BINDING, row)];
        for (sink, binding) in copies.sinks().into_iter().zip(bindings) {
            if let (Some(sink), Some(binding)) = (sink, binding) {
                let columns = columns(hint, sink, *datapath, *binding);
                unit.row::<PortBinding>(binding.uuid, columns);
            }
        }
        let mut flows = unit.flows(datapath.uuid, Some(hint));
        for sink in copies.sinks().into_iter().flatten() {
            let copy = m::outport(binding_name(hint, sink));
            let table = Stage::OutApplyPortSec.table();
            flows.add(COPY, &copy, [a::next_table(table)]);
        }
        if let Some(mirror) = &copies.sent {
            add(
                &mut flows,
                SENT,
                &m::inport(port.name.clone()),
                (hint, mirror),
            );
        }
        if let Some(mirror) = &copies.got {
            add(
                &mut flows,
                GOT,
                &m::outport(port.name.clone()),
                (hint, mirror),
            );
        }
    },
};

fn add(flows: &mut Flows<'_>, kind: Rule, of_port: &Expr, (port, mirror): (Uuid, &ToPort)) {
    let then = |copies: bool| -> Vec<Action> {
        let copy = copies.then(|| a::mirror(binding_name(port, &mirror.sink)));
        copy.into_iter().chain([a::next()]).collect()
    };
    flows.add(kind.at(EVERYTHING), of_port, then(true));
    for rule in &mirror.rules {
        let when = of_port.clone() & rule.when.clone();
        flows.add(kind.at(ABOVE + rule.priority), &when, then(rule.copies));
    }
}

fn columns(
    port: Uuid,
    sink: &Arc<str>,
    datapath: Identity,
    binding: Identity,
) -> [(usize, Datum); 5] {
    let column = PortBinding::COLUMN;
    let text = |text: &Arc<str>| Datum::One(Atom::String(Arc::clone(text)));
    [
        (column.logical_port.index, text(&binding_name(port, sink))),
        (column.r#type.index, Datum::from("mirror")),
        (column.mirror_port.index, text(sink)),
        column.datapath.to(&datapath.uuid),
        column.tunnel_key.to(&i64::from(binding.key)),
    ]
}

pub(super) static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(PASS_SENT, &m::any(), [a::next()]);
        flows.add(PASS_GOT, &m::any(), [a::next()]);
    },
};
