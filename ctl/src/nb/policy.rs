//! Routing policies: `lr-policy-*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalRouterPolicy, LogicalRouterPort};
use northbound::find::{find, name_of, parse_uuid};
use northbound::policy::{
    AddPolicyError, NewPolicy, NextHopsError, PolicyAction, PolicyFilter, add_policy,
    delete_policies, list_policies,
};

use super::arguments::{Pairs, parse_priority, warn_of_unknown_names};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const NAMES: &[&str] = &[
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Router_Policy",
    "BFD",
];
const TABLES: Tables = Tables::Fixed(NAMES);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Routing policy commands",
    commands: &[
        Command {
            name: "lr-policy-add",
            arguments: "ROUTER PRIORITY MATCH ACTION [NEXTHOPS|CHAIN] [KEY=VALUE]...",
            options: &["--may-exist", "--bfd[=]", "--chain=", "--output-port="],
            help: "add a policy to ROUTER; ACTION is allow, drop, reroute to comma-separated NEXTHOPS, or jump to CHAIN",
            tables: Tables::Match(NAMES, |invocation| Some(&invocation.arguments[2])),
            run: add,
        },
        Command {
            name: "lr-policy-del",
            arguments: "ROUTER [PRIORITY|UUID] [MATCH]",
            options: &["--if-exists", "--chain="],
            help: "delete the policies of ROUTER, or those that match",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lr-policy-list",
            arguments: "ROUTER",
            options: &[],
            help: "print the policies of ROUTER",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let priority = parse_priority(&arguments[1])?;
    let (action, settings) = parse_action(&arguments[3], &arguments[4..])?;
    let chain = context.invocation.options.get("--chain");
    let output_port = match context.option("--output-port") {
        None => None,
        Some(text) => {
            let port = find::<LogicalRouterPort>(context.draft, text)?;
            Some((port, name_of::<LogicalRouterPort>(context.draft, port)))
        }
    };
    let new = NewPolicy {
        chain: chain.and_then(|text| text.as_deref()),
        priority,
        matches: &arguments[2],
        action,
        output_port,
        is_watched: context.has("--bfd"),
        options: parse_settings(settings)?,
    };
    let may_exist = context.has("--may-exist");
    match add_policy(context.draft, router, &new, may_exist) {
        Err(AddPolicyError::Exists(_)) => fail(format!(
            "Same routing policy already existed on the logical router {}.",
            context.arg(0)
        )),
        added => {
            added?;
            warn_of_unknown_names(context, new.matches);
            Ok(())
        }
    }
}

/// The action, and what stands behind it and its argument.
fn parse_action<'a>(
    action: &'a str,
    rest: &'a [String],
) -> Outcome<(PolicyAction<'a>, &'a [String])> {
    Ok(match (action, rest) {
        ("allow", _) => (PolicyAction::Allow, rest),
        ("drop", _) => (PolicyAction::Drop, rest),
        ("reroute", []) => return Err(NextHopsError::None.into()),
        ("reroute", [hops, rest @ ..]) => (PolicyAction::Reroute(hops.parse()?), rest),
        ("jump", []) => return fail("Chain name is required when action is jump."),
        ("jump", [chain, rest @ ..]) => (PolicyAction::Jump(chain), rest),
        _ => {
            return fail(format!(
                "{action}: action must be one of \"allow\", \"drop\", \"reroute\", and \"jump\""
            ));
        }
    })
}

/// `KEY=VALUE` words; of several with one key the first counts.
fn parse_settings(words: &[String]) -> Outcome<Pairs> {
    let mut settings = BTreeMap::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return fail(format!("No value specified for the option : {word}"));
        };
        let value = || Arc::from(value);
        settings.entry(Arc::from(key)).or_insert_with(value);
    }
    Ok(settings)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let chain = context.invocation.options.get("--chain");
    let chain = chain.and_then(|text| text.as_deref());
    let filter = match arguments.get(1) {
        None => PolicyFilter::Of {
            chain,
            priority: None,
            matches: None,
        },
        Some(text) => match parse_uuid(text) {
            Some(uuid) => PolicyFilter::Row(uuid),
            // A rank means something within a chain.
            None => PolicyFilter::Of {
                chain: Some(chain.unwrap_or_default()),
                priority: Some(parse_priority(text)?),
                matches: arguments.get(2).map(String::as_str),
            },
        },
    };
    let is_row = matches!(filter, PolicyFilter::Row(_));
    if is_row && arguments.len() > 2 {
        // As in ovn-nbctl, whose UUID stands alone.
        return Ok(());
    }
    let count = delete_policies(context.draft, router, filter)?;
    if count == 0 && is_row && !context.has("--if-exists") {
        return fail("Logical router policy uuid is not found.");
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let policies = list_policies(context.draft, router);
    let chain = |policy: &LogicalRouterPolicy| policy.chain.clone().unwrap_or_default();
    for (index, of_chain) in policies.chunk_by(|a, b| chain(a) == chain(b)).enumerate() {
        if index == 0 {
            context.print("Routing Policies");
        }
        let name = chain(&of_chain[0]);
        if !name.is_empty() {
            context.print(format!("Chain {name}:"));
        }
        for policy in of_chain {
            context.print(line(policy));
        }
    }
    Ok(())
}

fn line(policy: &LogicalRouterPolicy) -> String {
    let mut line = format!(
        "{:>10} {:>50} {:>15}",
        policy.priority, policy.r#match, policy.action
    );
    if let Some((first, rest)) = policy.nexthops.split_first() {
        line.push_str(&format!(" {first:>25}"));
        for hop in rest {
            line.push_str(&format!(", {hop}"));
        }
    }
    if let Some(chain) = &policy.jump_chain {
        line.push_str(&format!(" {chain:>25}"));
    }
    if !policy.options.is_empty() {
        let options = policy.options.iter();
        let options: Vec<String> = options
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        line.push_str(&format!("{:15}{}", "", options.join(",")));
    }
    line
}
