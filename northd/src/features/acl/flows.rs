//! The flows of one rule.

use lflow::action::{Action, Log};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{Acl, LogicalSwitch, Meter, PortGroup};
use relations::{Handle, Key, Small};
use sb_db::tables::AclId;

use super::model::{Access, Logging, RULE, Verdict};
use super::owners::{self, OF_PORT_GROUP};
use super::persistent::NUMBER;
use super::samples::Samples;
use super::{
    ABOVE, ALLOW, DROP, HAS_LABEL_IN, IN, IS_REPLY, LABEL_IN, NUMBER_IN, OUT, PERSISTS_IN, Point,
    REJECT, RELATED, RELATED_LOGGED, TIER_IN, VERDICT_IN,
};
use crate::compiler::feature::{Index, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::unit::Unit;
use crate::features::meters;
use crate::features::switch::DATAPATH;

/// The switches that have a rule.
pub(super) const SWITCHES_OF: Index =
    Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.acls.index);
/// The port groups that have a rule.
pub(super) const GROUPS_OF: Index = Index::north::<PortGroup>(PortGroup::COLUMN.acls.index);

pub(super) static FLOWS: Kind = Kind {
    name: "acl",
    over: Over::Keys(&RULE),
    reads: &[&DATAPATH, &NUMBER],
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
    };
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

/// What a rule has from others.
struct Extras {
    /// The name of the meter of its log.
    meter: Option<String>,
    /// The number by which connections know that it let them pass for good.
    number: Option<u16>,
    /// What is told of its packets.
    samples: Samples,
}

/// A flow, not yet of a datapath. Those that replies are told of are common to rules with one observation point.
type Line = (crate::compiler::stage::Rule, Expr, Vec<Action>);

fn add(flows: &mut Flows<'_>, lines: &[Line]) {
    for (rule, when, then) in lines {
        let is_reply = [IN.log_related, OUT.log_related].contains(&rule.at(RELATED));
        let logs = then.iter().any(|action| matches!(action, Action::Log(_)));
        if is_reply && !logs {
            flows.add_common(*rule, when, then.clone());
        } else {
            flows.add(*rule, when, then.clone());
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
        let Some(when) = &self.when else {
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
        if extras.samples.is_empty() {
            lines.push((rule, in_tier & when.clone(), then));
        } else {
            let new = !m::is(Symbol::CtTrk) | m::is(Symbol::CtNew);
            let old = m::is(Symbol::CtTrk) & !m::is(Symbol::CtNew);
            for (which, told) in [
                (new, &extras.samples.new),
                (old, &extras.samples.established),
            ] {
                let then = told.iter().chain(&then).cloned().collect();
                lines.push((rule, in_tier.clone() & when.clone() & which, then));
            }
        }
        if self.verdict == Verdict::AllowStateless {
            let rule = kinds.stateless.at(priority);
            lines.push((rule, when.clone(), vec![a::next()]));
        }
        self.tell_related(extras, &mut lines);
        self.persist(extras, &mut lines);
        lines
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
        lines.push((kinds.persistent, goes_on & is_its, then));
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
        let logs = self.log.as_ref().is_some_and(|log| log.related) && label != 0;
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
            lines.push((rule, belongs & labelled.clone(), then));
        }
    }
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
