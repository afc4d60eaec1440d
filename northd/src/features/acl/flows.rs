//! The flows of one rule.

use std::sync::Arc;

use lflow::action::{Action, Log};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{Acl, LogicalSwitch, Meter, PortGroup};
use relations::{Bucket, Handle, Key, Small};
use sb_db::tables::AclId;
use uuid::Uuid;

use super::model::{Access, Logging, RULE, Verdict};
use super::owners::{self, OF_PORT_GROUP};
use super::persistent::NUMBER;
use super::samples::Samples;
use super::settings::{SETTINGS, Settings};
use super::{
    ABOVE, ALLOW, DROP, HAS_LABEL_IN, IN, IS_REPLY, LABEL_IN, NUMBER_IN, OUT, PERSISTS_IN, Point,
    REJECT, RELATED, RELATED_LOGGED, TIER_IN, VERDICT_IN,
};
use crate::compiler::feature::{Index, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::stage::Rule;
use crate::compiler::unit::Unit;
use crate::features::meters;
use crate::features::switch::DATAPATH;

/// The switches that have a rule.
pub(super) const SWITCHES_OF: Index =
    Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.acls.index);
/// The port groups that have a rule.
pub(super) const GROUPS_OF: Index = Index::north::<PortGroup>(PortGroup::COLUMN.acls.index);

/// The rules that have replies logged, by what they know them by: the label of connections, and where replies are told of.
pub(super) static LOGGED: Bucket<u64, Uuid> = Bucket::new("rules that log replies");

pub(super) static LABEL: Kind = Kind {
    name: "acl/label",
    over: Over::Keys(&RULE),
    reads: &[],
    says: &[&LOGGED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row).filter(|rule| rule.logs_replies()) else {
            return;
        };
        let label = Samples::label_of(unit, row, rule);
        if label != 0 {
            let uuid = unit.uuid(row);
            unit.join(&LOGGED, rule.known_by(label), uuid);
        }
    },
};

pub(super) static FLOWS: Kind = Kind {
    name: "acl",
    over: Over::Keys(&RULE),
    reads: &[&DATAPATH, &NUMBER, &SETTINGS, &LOGGED],
    says: owners::SAYS,
    wants: &[],
    run: flows,
};

fn flows(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(rule) = unit.get(&RULE, row) else {
        return;
    };
    let uuid = unit.uuid(row);
    let meter = rule.log.as_ref().and_then(|log| meter(unit, row, log));
    let number = unit.get(&NUMBER, row).filter(|_| rule.persists);
    let extras = Extras {
        meter,
        number: number.and_then(|number| u16::try_from(number.key).ok()),
        samples: Samples::of(unit, row, rule),
        asks_connections: Settings::of(unit).asks_connections,
    };
    tell_shared_label(unit, row, rule, rule.label(&extras));
    if let Some(number) = number {
        let id = AclId::COLUMN.id.to(&i64::from(number.key));
        unit.row::<AclId>(number.uuid, [id]);
    }
    let lines = rule.lines(&extras);
    for switch in unit.referrers(SWITCHES_OF, row) {
        owners::say(unit, *switch, uuid, rule.profile());
        if let Some(datapath) = unit.get(&DATAPATH, *switch) {
            add(&mut unit.flows(datapath.uuid, Some(uuid)), &lines);
        }
    }
    for group in unit.referrers(GROUPS_OF, row) {
        owners::say(unit, *group, uuid, rule.profile());
        let name = format!("port group {}", unit.uuid(*group));
        let mut flows = unit.shared_flows(&OF_PORT_GROUP, *group, &name, Some(uuid));
        add(&mut flows, &lines);
    }
}

/// Of two rules that log replies by one label, a switch with both logs as one of them.
fn tell_shared_label(unit: &mut Unit<'_>, row: Handle, rule: &Access, label: u32) {
    let own = unit.uuid(row);
    let known_by = unit.members(&LOGGED, rule.known_by(label));
    let other = known_by.iter().find(|other| **other != own).copied();
    let Some(other) = other.filter(|_| rule.logs_replies() && known_by.contains(&own)) else {
        return;
    };
    let mut complaints = unit.complaints::<Acl>(row, Arc::clone(&rule.name));
    let why = format!("rule {other} has replies logged by the same label or sample");
    let remedy = "on a switch with both, they are logged as those of one rule: give each its own";
    let column = Acl::COLUMN.options.name;
    complaints.warning(column, "log-related", 0, why, remedy);
    unit.problems(complaints.into_problems());
}

/// What a rule has from others.
struct Extras {
    /// The name of the meter of its log.
    meter: Option<String>,
    /// The number by which connections know that it let them pass for good.
    number: Option<u16>,
    /// What is told of its packets.
    samples: Samples,
    /// Protocol and ports are those of connections.
    asks_connections: bool,
}

/// A flow, not yet of a datapath.
struct Line {
    rule: Rule,
    when: Expr,
    then: Vec<Action>,
    /// Protocol and ports are those of the packet's connection.
    asks_connection: bool,
}

impl Line {
    fn new(rule: Rule, when: Expr, then: Vec<Action>) -> Self {
        Self {
            rule,
            when,
            then,
            asks_connection: false,
        }
    }
}

/// Those that replies are told of are common to rules with one observation point.
fn add(flows: &mut Flows<'_>, lines: &[Line]) {
    for line in lines {
        let is_reply = [IN.log_related, OUT.log_related].contains(&line.rule.at(RELATED));
        let mut then = line.then.iter();
        let logs = then.any(|action| matches!(action, Action::Log(_)));
        let (rule, when, then) = (line.rule, &line.when, line.then.clone());
        if line.asks_connection {
            flows.add_of_connection(rule, when, then);
        } else if is_reply && !logs {
            flows.add_common(rule, when, then);
        } else {
            flows.add(rule, when, then);
        }
    }
}

/// The name of the meter southbound: of a fair one, each rule has its own.
fn meter(unit: &mut Unit<'_>, row: Handle, log: &Logging) -> Option<String> {
    let name = log.meter.as_deref()?;
    let Some(meter) = meters::find(unit, name) else {
        let mut complaints = unit.complaints::<Acl>(row, log.name.clone());
        let why = format!("there is no meter {name:?}");
        let remedy = "packets are logged at the chassis' own rate until there is one";
        complaints.warning(Acl::COLUMN.meter.name, name, 0, why, remedy);
        unit.problems(complaints.into_problems());
        return Some(name.to_owned());
    };
    let columns = unit.north(meter)?;
    if Meter::COLUMN.fair.get(columns) != Some(true) {
        return Some(name.to_owned());
    }
    let own = format!("{name}__{}", unit.uuid(row).hyphenated());
    meters::say(unit, &own, meter);
    Some(own)
}

impl Access {
    fn lines(&self, extras: &Extras) -> Vec<Line> {
        let Some(matched) = &self.when else {
            return Vec::new();
        };
        let kinds = self.point.kinds();
        let priority = self.priority + ABOVE;
        let mut then: Vec<Action> = self.log_action(extras).into_iter().collect();
        let label = self.label(extras);
        if label != 0 && matches!(self.verdict, Verdict::Allow | Verdict::AllowRelated) {
            then.push(a::set(HAS_LABEL_IN.field(), Int::new(1)));
            then.push(a::set(LABEL_IN.field(), Int::new(label.into())));
        }
        if let Some(number) = extras.number {
            then.push(a::set(PERSISTS_IN.field(), Int::new(1)));
            then.push(a::set(NUMBER_IN.field(), Int::new(number.into())));
        }
        let bit = match self.verdict {
            Verdict::Allow | Verdict::AllowRelated | Verdict::AllowStateless => Some(ALLOW),
            Verdict::Drop => Some(DROP),
            Verdict::Reject => Some(REJECT),
            Verdict::Pass => None,
        };
        then.extend(bit.map(verdict));
        then.push(a::next());
        let in_tier = m::eq(TIER_IN.field(), Int::new(self.tier.into()));
        let mut lines = Vec::new();
        let rule = kinds.rule.at(priority);
        let when = in_tier & matched.clone();
        if extras.samples.is_empty() {
            self.ask(extras, Line::new(rule, when, then), &mut lines);
        } else {
            let new = !m::is(Symbol::CtTrk) | m::is(Symbol::CtNew);
            let old = m::is(Symbol::CtTrk) & !m::is(Symbol::CtNew);
            for (which, told) in [
                (new, &extras.samples.new),
                (old, &extras.samples.established),
            ] {
                let then = told.iter().chain(&then).cloned().collect();
                let line = Line::new(rule, when.clone() & which, then);
                self.ask(extras, line, &mut lines);
            }
        }
        if self.verdict == Verdict::AllowStateless {
            let rule = kinds.stateless.at(priority);
            lines.push(Line::new(rule, matched.clone(), vec![a::next()]));
        }
        self.tell_related(extras, &mut lines);
        self.persist(extras, &mut lines);
        lines
    }

    /// A flow that asks packets, or, where that is wanted, one that asks the connections of those that have one.
    fn ask(&self, extras: &Extras, line: Line, lines: &mut Vec<Line>) {
        let has_connections = self.point != Point::AfterLb
            && self.verdict != Verdict::AllowStateless
            && has_ports(&line.when);
        if !extras.asks_connections || !has_connections {
            lines.push(line);
            return;
        }
        lines.push(Line {
            when: m::is(Symbol::CtTrk) & line.when.clone(),
            then: line.then.clone(),
            asks_connection: true,
            ..line
        });
        let untracked = !m::is(Symbol::CtTrk) & line.when;
        lines.push(Line::new(line.rule, untracked, line.then));
    }

    /// Replies and related packets of its connections are logged.
    fn logs_replies(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.related)
            && matches!(self.verdict, Verdict::Allow | Verdict::AllowRelated)
    }

    /// By what a switch knows its replies: the label, and the pipeline that they pass.
    fn known_by(&self, label: u32) -> u64 {
        u64::from(label) << 1 | u64::from(self.point == Point::Out)
    }

    /// What its connections carry.
    fn label(&self, extras: &Extras) -> u32 {
        match extras.samples.point {
            0 => self.label,
            point => point,
        }
    }

    /// No rule is asked about its connections.
    fn persist(&self, extras: &Extras, lines: &mut Vec<Line>) {
        let Some(number) = extras.number else {
            return;
        };
        let goes_on = m::is(Symbol::CtEst)
            & !m::is(Symbol::CtRel)
            & !m::is(Symbol::CtNew)
            & !m::is(Symbol::CtRpl)
            & !m::is(Symbol::CtInv);
        let is_its = m::eq(Symbol::CtMarkAllowEstablished, Int::new(1))
            & m::eq(Symbol::CtLabelAclId, Int::new(number.into()));
        let is_ingress = self.point != Point::Out;
        let kinds = if is_ingress { &IN } else { &OUT };
        let mut then = extras.samples.established.clone();
        then.extend(pass_certainly(is_ingress));
        then.push(a::next());
        lines.push(Line::new(kinds.persistent, goes_on & is_its, then));
    }

    fn log_action(&self, extras: &Extras) -> Option<Action> {
        let log = self.log.as_ref()?;
        let verdict = match self.verdict {
            Verdict::Allow | Verdict::AllowRelated | Verdict::AllowStateless => "allow",
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
            Verdict::Pass => "pass",
        };
        Some(a::log(Log {
            name: log.name.clone(),
            verdict: verdict.into(),
            severity: log.severity.clone(),
            meter: extras.meter.as_deref().unwrap_or_default().into(),
        }))
    }

    /// Replies and related packets are not asked about, so what logs or samples them stands above, on their way: the other pipeline.
    fn tell_related(&self, extras: &Extras, lines: &mut Vec<Line>) {
        let label = self.label(extras);
        let logs = self.logs_replies() && label != 0;
        let told = &extras.samples.established;
        if (!logs && told.is_empty())
            || !matches!(self.verdict, Verdict::Allow | Verdict::AllowRelated)
        {
            return;
        }
        let rule = match self.point {
            Point::Out => IN.log_related,
            Point::In | Point::AfterLb => OUT.log_related,
        };
        // Another rule with the same sample tells of the same packets and does not log.
        let rule = rule.at(if logs && !told.is_empty() {
            RELATED_LOGGED
        } else {
            RELATED
        });
        let labelled = m::eq(Symbol::CtLabelLabel, Int::new(label.into()));
        for (belongs, on) in [(is_reply(), a::next()), (is_related(), commit_nat())] {
            let mut then = told.clone();
            then.extend(self.log_action(extras).filter(|_| logs));
            then.extend(pass_certainly(self.point == Point::Out));
            then.push(on);
            lines.push(Line::new(rule, belongs & labelled.clone(), then));
        }
    }
}

/// Whether a match asks for a protocol with ports.
fn has_ports(when: &Expr) -> bool {
    let mut asks = false;
    when.comparisons(&mut |comparison| {
        asks |= matches!(
            comparison.field.symbol(),
            Symbol::IpProto
                | Symbol::Tcp
                | Symbol::TcpSrc
                | Symbol::TcpDst
                | Symbol::Udp
                | Symbol::UdpSrc
                | Symbol::UdpDst
                | Symbol::Sctp
                | Symbol::SctpSrc
                | Symbol::SctpDst
        );
    });
    asks
}

/// The verdict with this bit.
pub(super) fn verdict(bit: u8) -> Action {
    a::set_bit(VERDICT_IN.symbol, bit)
}

/// Whatever rules say, also those behind load balancers.
pub(super) fn pass_certainly(is_ingress: bool) -> impl Iterator<Item = Action> {
    let behind = is_ingress.then(|| a::set(IS_REPLY.field(), Int::new(1)));
    behind.into_iter().chain([verdict(ALLOW)])
}

/// A reply of a connection that passes.
pub(super) fn is_reply() -> Expr {
    m::is(Symbol::CtEst)
        & !m::is(Symbol::CtRel)
        & !m::is(Symbol::CtNew)
        & m::is(Symbol::CtRpl)
        & is_blocked(false)
}

/// An ICMP error, for instance, about a connection that passes.
pub(super) fn is_related() -> Expr {
    !m::is(Symbol::CtEst) & m::is(Symbol::CtRel) & !m::is(Symbol::CtNew) & is_blocked(false)
}

/// The mark of the packet's connection.
pub(super) fn is_blocked(is_blocked: bool) -> Expr {
    m::eq(Symbol::CtMarkBlocked, Int::new(is_blocked.into()))
}

/// On to the next stage, with what is said in an ICMP error translated as its connection is.
pub(super) fn commit_nat() -> Action {
    Action::CtCommitNat(None)
}
