//! QoS rules of a switch: packets that match are marked, and limited to a rate.
//!
//! Arrives: admitted packets, on the way in before anything answers them, and on the way out before delivery. Guarantees that
//! of the rules of a direction that match a packet, the one of the highest priority sets the packet's DSCP (`action:dscp`)
//! and its mark in the chassis (`action:mark`), and drops what is above its rate (`bandwidth:rate` in kbit/s, `burst` in kbit).
//! A DSCP is a matter of IP packets: a rule that sets one is passed by others.
//!
//! The rate is that of a meter on each chassis, of the rule's own: packets of one guest are measured where the guest is, but a
//! rule that matches guests of several chassis gives each chassis the whole rate.

use std::sync::Arc;

use lflow::action::Action;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{LogicalSwitch, Qos};
use ovsdb::Row;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Key, Relation, Small};
use uuid::Uuid;

use super::switch::{DATAPATH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// Rules that make sense.
static RULE: Relation<Handle, Marking> = Relation::new("qos rule");

/// The switches that have a rule.
const SWITCHES_OF: Index = Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.qos_rules.index);

const MARK_IN: Rule = Rule::new(
    Stage::InQos,
    32_767,
    "a rule from-lport, at its priority: drop what is above the rate, set DSCP and mark",
);
const PASS_IN: Rule = Rule::new(Stage::InQos, 0, "the rest: next");
const MARK_OUT: Rule = Rule::new(
    Stage::OutQos,
    32_767,
    "a rule to-lport, at its priority: drop what is above the rate, set DSCP and mark",
);
const PASS_OUT: Rule = Rule::new(Stage::OutQos, 0, "the rest: next");

/// The largest DSCP (RFC 2474: six bits).
const MAX_DSCP: i64 = 63;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Qos>(&[
            Qos::COLUMN.priority.index,
            Qos::COLUMN.direction.index,
            Qos::COLUMN.r#match.index,
            Qos::COLUMN.action.index,
            Qos::COLUMN.bandwidth.index,
        ]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.qos_rules.index]),
    ],
    indexes: &[SWITCHES_OF],
    relations: &[&RULE],
    kinds: &[&MODEL, &FLOWS, &SHARED],
    rules: &[MARK_IN, PASS_IN, MARK_OUT, PASS_OUT],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: tests::change,
    }],
    ..Feature::new("qos")
};

/// A rule that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marking {
    rule: Rule,
    when: Expr,
    dscp: Option<u8>,
    mark: Option<u32>,
    limit: Option<Limit>,
}

/// A rate that is not exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// In kbit/s.
    rate: u32,
    /// So much at once is above no rate, in kbit; nothing leaves it to the switch.
    burst: Option<u32>,
}

static MODEL: Kind = Kind {
    name: "model/qos",
    over: Over::North(Qos::INDEX),
    reads: &[],
    says: &[&RULE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (rule, problems) = Marking::parse(unit.uuid(row), columns);
        if let Some(rule) = rule {
            unit.say(&RULE, row, rule);
        }
        unit.problems(problems);
    },
};

static FLOWS: Kind = Kind {
    name: "qos",
    over: Over::Keys(&RULE),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: flows,
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(PASS_IN, &m::any(), [a::next()]);
        flows.add(PASS_OUT, &m::any(), [a::next()]);
    },
};

fn flows(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(marking) = unit.get(&RULE, row) else {
        return;
    };
    let hint = unit.uuid(row);
    for switch in unit.referrers(SWITCHES_OF, row) {
        if let Some(datapath) = unit.get(&DATAPATH, *switch) {
            let mut flows = unit.flows(datapath.uuid, Some(hint));
            flows.add(marking.rule, &marking.when, marking.actions());
        }
    }
}

impl Marking {
    /// Reads a row. Nothing comes of one whose match cannot be read; a mark that cannot be is left out alone.
    fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let column = Qos::COLUMN;
        let mut complaints = Complaints::about(Qos::NAME, uuid, Arc::from(""));
        let text: Arc<str> = column.r#match.get(row);
        let when = Expr::parse(&text).map_err(|error| {
            let remedy = "the rule is left out until its match can be read";
            complaints.invalid(column.r#match.name, &text, error.at, error.message, remedy);
        });
        let action = column.action.get(row);
        let dscp = action.get("dscp").copied().filter(|dscp| {
            let fits = (0..=MAX_DSCP).contains(dscp);
            if !fits {
                let why = format!("dscp {dscp} is not a number from 0 to {MAX_DSCP}");
                complaints.column(column.action.name, why, "it is not set until it is");
            }
            fits
        });
        let limit = Limit::parse(row, &mut complaints);
        let is_in = &*column.direction.get(row) == "from-lport";
        let rule = if is_in { MARK_IN } else { MARK_OUT };
        let priority = u16::try_from(column.priority.get(row)).unwrap_or_default();
        let marking = when.ok().map(|when| Self {
            rule: rule.at(priority),
            when,
            dscp: dscp.and_then(|dscp| u8::try_from(dscp).ok()),
            mark: action
                .get("mark")
                .and_then(|mark| u32::try_from(*mark).ok()),
            limit,
        });
        (marking, complaints.into_problems())
    }

    fn actions(&self) -> Vec<Action> {
        let dscp = self
            .dscp
            .map(|dscp| a::set(Symbol::IpDscp, Int::new(dscp.into())));
        let mark = self
            .mark
            .map(|mark| a::set(Symbol::PktMark, Int::new(mark.into())));
        let limit = self
            .limit
            .map(|limit| a::set_meter(limit.rate, limit.burst));
        let actions = limit.into_iter().chain(dscp).chain(mark);
        actions.chain([a::next()]).collect()
    }
}

impl Limit {
    fn parse(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = Qos::COLUMN.bandwidth;
        let bandwidth = column.get(row);
        let number = |key: &str| bandwidth.get(key).and_then(|n| u32::try_from(*n).ok());
        let burst = number("burst");
        let Some(rate) = number("rate") else {
            if burst.is_some() {
                let why = "there is a burst and no rate";
                complaints.column(
                    column.name,
                    why,
                    "set rate, too: nothing is limited without",
                );
            }
            return None;
        };
        Some(Self { rate, burst })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A rule comes to a switch, or goes.
    pub fn change(world: &mut World, rng: &mut Rng) -> String {
        let switches = world.nb::<LogicalSwitch>();
        let Some((switch, mut row)) = rng.pick(&switches).cloned() else {
            return "no switch".to_owned();
        };
        let mut operations = Vec::new();
        if row.qos_rules.is_empty() || rng.once_in(2) {
            let uuid = rng.uuid();
            row.qos_rules.push(uuid);
            operations.push(insert(uuid, &random(rng)));
        } else {
            row.qos_rules.pop();
        }
        let columns = vec![LogicalSwitch::COLUMN.qos_rules.to(&row.qos_rules)];
        operations.push(Operation::update_row(LogicalSwitch::INDEX, switch, columns));
        let what = format!("qos rules of {switch}: {operations:?}");
        world.north(operations);
        what
    }

    fn random(rng: &mut Rng) -> Qos {
        let matches = ["ip4", "inport == \"p1\"", "ip4 && ip4.src ==", "tcp", "1"];
        let mut action = BTreeMap::new();
        if rng.once_in(2) {
            action.insert("dscp".into(), [0, 46, 99][rng.below(3)]);
        }
        if rng.once_in(2) {
            action.insert("mark".into(), 7);
        }
        let mut bandwidth = BTreeMap::new();
        for key in ["rate", "burst"] {
            if rng.once_in(3) {
                bandwidth.insert(key.into(), [1, 10_000][rng.below(2)]);
            }
        }
        Qos {
            bandwidth,
            priority: [0, 1, 32_767][rng.below(3)],
            direction: ["from-lport", "to-lport"][rng.below(2)].into(),
            r#match: matches[rng.below(5)].into(),
            action,
            ..Default::default()
        }
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_where() {
        let row = Qos {
            direction: "to-lport".into(),
            r#match: "ip4 && nosuch == 1".into(),
            action: [("dscp".into(), 64)].into(),
            ..Default::default()
        };
        let (rule, problems) = Marking::parse(Uuid::nil(), &row.to_row());
        assert_eq!(rule, None);
        let places: Vec<Option<usize>> = problems
            .iter()
            .map(|problem| problem.place.as_ref().map(|(_, at)| *at))
            .collect();
        assert_eq!(places, [Some(7), None]);
    }
}
