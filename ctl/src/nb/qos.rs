//! QoS rules of switches: `qos-*`.

use std::num::NonZeroU32;

use nb_db::tables::{LogicalSwitch, Qos};
use northbound::find::{find, parse_uuid};
use northbound::qos::{self, AddQosError, Dscp, NewQos, QosFilter};

use super::arguments::{parse_direction, parse_priority, warn_of_unknown_names};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const NAMES: &[&str] = &["Logical_Switch", "QoS"];
const TABLES: Tables = Tables::Fixed(NAMES);

/// The commands.
pub static FAMILY: Family = Family {
    title: "QoS commands",
    commands: &[
        Command {
            name: "qos-add",
            arguments: "SWITCH DIRECTION PRIORITY MATCH WHAT [WHAT] [WHAT] [WHAT]",
            options: &["--may-exist"],
            help: "add a rule to SWITCH; WHAT is rate=KBPS, burst=KBIT, dscp=CODEPOINT or mark=MARK",
            tables: Tables::Match(NAMES, |invocation| Some(&invocation.arguments[3])),
            run: add,
        },
        Command {
            name: "qos-del",
            arguments: "SWITCH [DIRECTION|UUID] [PRIORITY MATCH]",
            options: &[],
            help: "delete the rules of SWITCH, one, those of one direction, or of one priority and match",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "qos-list",
            arguments: "SWITCH",
            options: &[],
            help: "print the rules of SWITCH",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let mut new = NewQos {
        direction: parse_direction(&arguments[1])?,
        priority: parse_priority(&arguments[2])?,
        matches: &arguments[3],
        rate_kbps: None,
        burst_kbit: None,
        dscp: None,
        mark: 0,
    };
    for what in &arguments[4..] {
        parse_what(&mut new, what)?;
    }
    let may_exist = context.has("--may-exist");
    match qos::add_qos(context.draft, switch, &new, may_exist) {
        Err(AddQosError::Exists(_)) => fail(format!(
            "Same qos already existed on the ls {}.",
            context.arg(0)
        )),
        added => {
            added?;
            warn_of_unknown_names(context, new.matches);
            Ok(())
        }
    }
}

/// `KEY=NUMBER`.
fn parse_what(new: &mut NewQos<'_>, what: &str) -> Outcome {
    match what.split_once('=') {
        Some(("dscp", text)) => match text.parse().ok().and_then(Dscp::new) {
            Some(dscp) => new.dscp = Some(dscp),
            None => {
                return fail(format!(
                    "{text}: dscp must be in the range 0...{}",
                    Dscp::MAX.number()
                ));
            }
        },
        Some(("rate", text)) => new.rate_kbps = Some(positive(text, "rate")?),
        Some(("burst", text)) => new.burst_kbit = Some(positive(text, "burst")?),
        Some(("mark", text)) => new.mark = positive(text, "mark")?.get(),
        _ => {
            return fail(format!(
                "{what}: supported arguments are \"dscp=\", \"rate=\", \"burst=\", and \"mark=\""
            ));
        }
    }
    Ok(())
}

fn positive(text: &str, what: &str) -> Outcome<NonZeroU32> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => fail(format!(
            "{text}: {what} must be in the range 1...{}",
            u32::MAX
        )),
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let filter = match &arguments[1..] {
        [] => QosFilter::All,
        [uuid, rest @ ..] if parse_uuid(uuid).is_some() => {
            if !rest.is_empty() {
                return fail("uuid must be the only argument");
            }
            QosFilter::Row(parse_uuid(uuid).unwrap_or_default())
        }
        [direction] => QosFilter::Direction(parse_direction(direction)?),
        [direction, priority, rest @ ..] => {
            let direction = parse_direction(direction)?;
            let priority = parse_priority(priority)?;
            let Some(matches) = rest.first() else {
                return fail("cannot specify priority without match");
            };
            QosFilter::Rule(direction, priority, matches)
        }
    };
    let count = qos::delete_qos(context.draft, switch, filter)?;
    if count == 0 && matches!(filter, QosFilter::Row(_)) {
        return fail("uuid is not found");
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    for rule in qos::list_qos(context.draft, switch) {
        context.print(line(&rule));
    }
    Ok(())
}

fn line(rule: &Qos) -> String {
    let mut line = format!(
        "{:>10} {:>5} ({})",
        rule.direction, rule.priority, rule.r#match
    );
    let keys = ["rate", "burst"].map(|key| (key, &rule.bandwidth));
    let keys = keys.into_iter();
    for (key, column) in keys.chain(["dscp", "mark"].map(|key| (key, &rule.action))) {
        if let Some(number) = column.get(key) {
            line.push_str(&format!(" {key}={number}"));
        }
    }
    line
}
