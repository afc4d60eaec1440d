//! Logical switch ports, their coming and going: `lsp-add`, `lsp-del`, `lsp-list`, `lsp-get-ls`.

use std::sync::Arc;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use northbound::find::{find, find_if_any, name_of, switch_of_port, with_names};
use northbound::port::{self, Link, Nesting, TagRequest};

use super::arguments::print_named;
use crate::command::{Command, Context, Family, NamedRow, Tables};
use crate::error::{Outcome, fail};

/// The tables that port commands see.
pub const TABLES: Tables = Tables::Fixed(NAMES);
const NAMES: &[&str] = &["Logical_Switch", "Logical_Switch_Port"];

/// What a command sees that is about the port alone which its first argument names.
pub const OF_PORT: Tables = Tables::Rows(&["Logical_Switch_Port"], |invocation| {
    let text = invocation.arguments.first()?;
    Some(vec![NamedRow {
        table: "Logical_Switch_Port",
        text,
        whole: true,
    }])
});

/// A switch and a port that may be there. If it may, it is compared with what is asked for, and so is whose port it is.
const FOR_NEW: Tables = Tables::Rows(NAMES, |invocation| {
    let [switch, port, ..] = &invocation.arguments[..] else {
        return None;
    };
    let row = |table, text, whole| NamedRow { table, text, whole };
    let may_exist = invocation.options.contains_key("--may-exist");
    (!may_exist).then(|| {
        vec![
            row("Logical_Switch", switch, false),
            row("Logical_Switch_Port", port, true),
        ]
    })
});

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch port commands",
    commands: &[
        Command {
            name: "lsp-add",
            arguments: "SWITCH PORT [PARENT] [TAG]",
            options: &["--may-exist"],
            help: "add PORT to SWITCH; with PARENT and TAG, as a container behind PARENT on VLAN TAG (0: any free one)",
            tables: FOR_NEW,
            run: add,
        },
        Command {
            name: "lsp-add-router-port",
            arguments: "SWITCH PORT ROUTERPORT",
            options: &["--may-exist"],
            help: "add PORT to SWITCH as the link to ROUTERPORT",
            tables: TABLES,
            run: add_router_port,
        },
        Command {
            name: "lsp-add-localnet-port",
            arguments: "SWITCH PORT NETWORK",
            options: &["--may-exist"],
            help: "add PORT to SWITCH as the link to the physical NETWORK",
            tables: TABLES,
            run: add_localnet_port,
        },
        Command {
            name: "lsp-del",
            arguments: "PORT",
            options: &["--if-exists"],
            help: "delete PORT from its switch",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lsp-list",
            arguments: "SWITCH",
            options: &[],
            help: "print the names of all ports of SWITCH",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "lsp-get-ls",
            arguments: "PORT",
            options: &[],
            help: "print the switch that PORT is in",
            tables: TABLES,
            run: get_switch,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let nesting = match (arguments.get(2), arguments.get(3)) {
        (None, _) => None,
        (Some(_), None) => return fail("lsp-add with parent must also specify a tag"),
        (Some(parent), Some(tag)) => match tag.parse().ok().and_then(TagRequest::new) {
            Some(tag) => Some(Nesting {
                parent: parent.as_str().into(),
                tag,
            }),
            None => {
                return fail(format!(
                    "{tag}: invalid tag (must be in range 0 to {})",
                    TagRequest::MAX.number()
                ));
            }
        },
    };
    let may_exist = context.has("--may-exist");
    let (name, nesting) = (&arguments[1], nesting.as_ref());
    port::add_port(context.draft, switch, name, nesting, may_exist)?;
    Ok(())
}

fn add_router_port(context: &mut Context<'_, '_>) -> Outcome {
    add_link(context, Link::Router)
}

fn add_localnet_port(context: &mut Context<'_, '_>) -> Outcome {
    add_link(context, Link::Localnet)
}

/// Adds a port that leads to what the third argument names.
fn add_link(context: &mut Context<'_, '_>, link: fn(Arc<str>) -> Link) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    let link = link(context.arg(2).into());
    let may_exist = context.has("--may-exist");
    let name = &context.invocation.arguments[1];
    port::add_link(context.draft, switch, name, &link, may_exist)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let port = if context.has("--if-exists") {
        find_if_any::<LogicalSwitchPort>(context.draft, name)?
    } else {
        Some(find::<LogicalSwitchPort>(context.draft, name)?)
    };
    if let Some(port) = port {
        port::delete_port(context.draft, port)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(0))?;
    let column = LogicalSwitch::COLUMN.ports;
    let ports = context.draft.get::<LogicalSwitch, _>(switch, column);
    let ports = with_names::<LogicalSwitchPort>(context.draft, ports);
    print_named(context, ports);
    Ok(())
}

fn get_switch(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let switch = switch_of_port(context.draft, port)?;
    let name = name_of::<LogicalSwitch>(context.draft, switch);
    print_named(context, vec![(name, switch)]);
    Ok(())
}
