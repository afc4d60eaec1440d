//! Mirrors: `mirror-*`, `mirror-rule-*`, `lsp-attach-mirror`, `lsp-detach-mirror`.

use std::net::IpAddr;

use nb_db::tables::{LogicalSwitchPort, Mirror};
use northbound::find::find;
use northbound::mirror::{self, MirrorAction, MirrorFilter, MirrorSink};

use super::arguments::parse_priority;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Mirror", "Mirror_Rule", "Logical_Switch_Port"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Mirror commands",
    commands: &[
        Command {
            name: "mirror-add",
            arguments: "NAME TYPE [INDEX] FILTER SINK",
            options: &["--may-exist"],
            help: "create a mirror; TYPE gre or erspan with INDEX goes to the address SINK, local to an interface, lport to a logical port; FILTER is from-lport, to-lport or both",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "mirror-del",
            arguments: "[NAME]",
            options: &[],
            help: "delete the mirror NAME, or all mirrors",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "mirror-list",
            arguments: "",
            options: &[],
            help: "print the mirrors",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "mirror-rule-add",
            arguments: "MIRROR PRIORITY MATCH ACTION",
            options: &[],
            help: "let MIRROR, of type lport, copy what matches (ACTION mirror), or not (skip)",
            tables: TABLES,
            run: add_rule,
        },
        Command {
            name: "mirror-rule-del",
            arguments: "MIRROR [PRIORITY MATCH]",
            options: &[],
            help: "delete the rules of MIRROR, or that of one priority and match",
            tables: TABLES,
            run: delete_rules,
        },
        Command {
            name: "lsp-attach-mirror",
            arguments: "PORT MIRROR",
            options: &["--may-exist"],
            help: "let MIRROR copy the packets of PORT",
            tables: TABLES,
            run: attach,
        },
        Command {
            name: "lsp-detach-mirror",
            arguments: "PORT MIRROR",
            options: &[],
            help: "do not let MIRROR copy the packets of PORT any more",
            tables: TABLES,
            run: detach,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let arguments = &context.invocation.arguments;
    let (name, mirror_type) = (arguments[0].as_str(), arguments[1].as_str());
    let may_exist = context.has("--may-exist");
    mirror::check_name(context.draft, name, may_exist)?;
    let (index, rest) = match mirror_type {
        "gre" | "erspan" => {
            let Ok(index) = arguments[2].parse::<i64>() else {
                return fail("Invalid Index");
            };
            (index, &arguments[3..])
        }
        "local" | "lport" => (0, &arguments[2..]),
        _ => {
            return fail(format!(
                "{mirror_type}: type must be \"gre\", \"erspan\", \"local\", or \"lport\""
            ));
        }
    };
    let [filter, sink] = rest else {
        return fail(format!(
            "{mirror_type}: a mirror of type gre or erspan has an index, a filter and a sink, any other only the last two"
        ));
    };
    let filter = parse_filter(filter)?;
    let remote = || match sink.parse::<IpAddr>() {
        Ok(ip) => Ok(ip),
        Err(_) => fail(format!("Invalid sink ip: {sink}")),
    };
    let sink = match mirror_type {
        "gre" => MirrorSink::Gre {
            key: index,
            remote: remote()?,
        },
        "erspan" => MirrorSink::Erspan {
            index,
            remote: remote()?,
        },
        "local" => MirrorSink::Local(sink.as_str().into()),
        _ => MirrorSink::Port(sink.as_str().into()),
    };
    mirror::add_mirror(context.draft, name, filter, &sink, may_exist)?;
    Ok(())
}

/// `from-lport`, `to-lport` or `both`, of which the first letter is enough.
fn parse_filter(text: &str) -> Outcome<MirrorFilter> {
    match text.as_bytes().first() {
        Some(b't') => Ok(MirrorFilter::ToPort),
        Some(b'f') => Ok(MirrorFilter::FromPort),
        Some(b'b') => Ok(MirrorFilter::Both),
        _ => fail(format!(
            "{text}: selection must be \"to-lport\", \"from-lport\", or \"both\""
        )),
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.invocation.arguments.first();
    mirror::delete_mirrors(context.draft, name.map(String::as_str))?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    for mirror in mirror::list_mirrors(context.draft) {
        context.print(format!("{}:", mirror.name));
        context.print(format!("  Type     :  {}", mirror.r#type));
        context.print(format!("  Sink     :  {}", mirror.sink));
        context.print(format!("  Filter   :  {}", mirror.filter));
        if matches!(&*mirror.r#type, "gre" | "erspan") {
            context.print(format!("  Index/Key:  {}", mirror.index));
        }
        for rule in mirror::list_mirror_rules(context.draft, mirror.uuid) {
            let (priority, matches, action) = (rule.priority, rule.r#match, rule.action);
            context.print(format!("  Rule     :  {priority:>5} ({matches}) {action}"));
        }
        context.print("");
    }
    Ok(())
}

fn add_rule(context: &mut Context<'_, '_>) -> Outcome {
    let mirror = find::<Mirror>(context.draft, context.arg(0))?;
    let priority = parse_priority(context.arg(1))?;
    let Ok(action) = context.arg(3).parse::<MirrorAction>() else {
        return fail(format!(
            "{}: action must be \"mirror\" or \"skip\"",
            context.arg(3)
        ));
    };
    let matches = &context.invocation.arguments[2];
    mirror::add_mirror_rule(context.draft, mirror, priority, matches, action)?;
    Ok(())
}

fn delete_rules(context: &mut Context<'_, '_>) -> Outcome {
    let mirror = find::<Mirror>(context.draft, context.arg(0))?;
    let rule = match &context.invocation.arguments[1..] {
        [] => None,
        [_] => return fail("cannot specify priority without match"),
        [priority, matches, ..] => Some((parse_priority(priority)?, matches.as_str())),
    };
    mirror::delete_mirror_rules(context.draft, mirror, rule)?;
    Ok(())
}

fn attach(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let mirror = find::<Mirror>(context.draft, context.arg(1))?;
    let may_exist = context.has("--may-exist");
    mirror::attach_mirror(context.draft, port, mirror, may_exist)?;
    Ok(())
}

fn detach(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let mirror = find::<Mirror>(context.draft, context.arg(1))?;
    mirror::detach_mirror(context.draft, port, mirror)?;
    Ok(())
}
