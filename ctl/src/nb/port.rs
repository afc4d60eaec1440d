//! Logical switch ports, their coming and going: `lsp-add`, `lsp-del`, `lsp-list`, `lsp-get-ls`.

use std::sync::Arc;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::data::Draft;
use crate::error::{Outcome, fail};

/// The tables that port commands see.
pub(super) const TABLES: Tables = Tables::Fixed(&["Logical_Switch", "Logical_Switch_Port"]);

const MAX_TAG: i64 = 4095;

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch port commands",
    commands: &[
        Command {
            name: "lsp-add",
            arguments: "SWITCH PORT [PARENT] [TAG]",
            options: &["--may-exist"],
            help: "add PORT to SWITCH; with PARENT and TAG, as a container behind PARENT on VLAN TAG (0: any free one)",
            tables: TABLES,
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

/// A container's place: its parent's name and the VLAN asked for.
type Nesting<'a> = Option<(&'a str, i64)>;

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::switch(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let nesting = match (arguments.get(2), arguments.get(3)) {
        (None, _) => None,
        (Some(_), None) => return fail("lsp-add with parent must also specify a tag"),
        (Some(parent), Some(tag)) => match tag.parse() {
            Ok(number @ 0..=MAX_TAG) => Some((parent.as_str(), number)),
            _ => {
                return fail(format!(
                    "{tag}: invalid tag (must be in range 0 to {MAX_TAG})"
                ));
            }
        },
    };
    let name = arguments[1].as_str();
    let may_exist = context.has("--may-exist");
    add_port(context.draft, switch, name, nesting, may_exist).map(|_| ())
}

/// Adds a port to a switch: its UUID, and whether it is new.
fn add_port(
    draft: &mut Draft<'_>,
    switch: Uuid,
    name: &str,
    nesting: Nesting<'_>,
    may_exist: bool,
) -> Outcome<(Uuid, bool)> {
    if let Some(port) = find::port_if_any(draft, name)? {
        if !may_exist {
            return fail(format!("{name}: a port with this name already exists"));
        }
        check_same(draft, switch, port, name, nesting)?;
        return Ok((port, false));
    }
    let column = LogicalSwitchPort::COLUMN;
    let port = draft.insert::<LogicalSwitchPort>()?;
    draft.set::<LogicalSwitchPort, _>(port, column.name, &Arc::from(name))?;
    if let Some((parent, tag)) = nesting {
        draft.set::<LogicalSwitchPort, _>(port, column.parent_name, &Some(Arc::from(parent)))?;
        draft.set::<LogicalSwitchPort, _>(port, column.tag_request, &Some(tag))?;
    }
    draft.add_to::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports, &vec![port])?;
    Ok((port, true))
}

/// That the port that is there is the one that was to be added.
fn check_same(
    draft: &Draft<'_>,
    switch: Uuid,
    port: Uuid,
    name: &str,
    nesting: Nesting<'_>,
) -> Outcome {
    let exists = format!("{name}: port already exists");
    let actual_switch = find::switch_of_port(draft, port)?;
    if actual_switch != switch {
        let actual = find::switch_name(draft, actual_switch);
        return fail(format!("{exists} but in switch {actual}"));
    }
    let column = LogicalSwitchPort::COLUMN;
    let parent = draft.get::<LogicalSwitchPort, _>(port, column.parent_name);
    let tag_request = draft.get::<LogicalSwitchPort, _>(port, column.tag_request);
    match (nesting, parent, tag_request) {
        (None, None, _) => Ok(()),
        (None, Some(actual), _) => fail(format!("{exists} but has parent {actual}")),
        (Some(_), None, _) => fail(format!("{exists} but has no parent")),
        (Some((parent, _)), Some(actual), _) if *actual != *parent => {
            fail(format!("{exists} with different parent {actual}"))
        }
        (Some(_), _, None) => fail(format!("{exists} but has no tag_request")),
        (Some((_, tag)), _, Some(actual)) if actual != tag => {
            fail(format!("{exists} with different tag_request {actual}"))
        }
        (Some(_), Some(_), Some(_)) => Ok(()),
    }
}

fn add_router_port(context: &mut Context<'_, '_>) -> Outcome {
    add_typed_port(context, "router", "router-port", "router")
}

fn add_localnet_port(context: &mut Context<'_, '_>) -> Outcome {
    add_typed_port(context, "localnet", "network_name", "unknown")
}

/// Adds a port of a type that is tied to its third argument by an option.
fn add_typed_port(
    context: &mut Context<'_, '_>,
    port_type: &str,
    option: &str,
    address: &str,
) -> Outcome {
    let switch = find::switch(context.draft, context.arg(0))?;
    let [_, name, target] = context.invocation.arguments.as_slice() else {
        return fail("SWITCH, PORT and what the port leads to must be given");
    };
    let may_exist = context.has("--may-exist");
    let (port, is_new) = add_port(context.draft, switch, name, None, may_exist)?;
    let column = LogicalSwitchPort::COLUMN;
    if !is_new {
        let actual = context
            .draft
            .get::<LogicalSwitchPort, _>(port, column.r#type);
        if *actual != *port_type {
            return fail(format!(
                "{name}: port already exists with different type {actual}"
            ));
        }
        let options = context
            .draft
            .get::<LogicalSwitchPort, _>(port, column.options);
        let actual = options.get(option).map_or("", |actual| &**actual);
        if actual != target {
            return fail(format!(
                "{name}: port already exists with different {option} {actual}"
            ));
        }
        return Ok(());
    }
    let draft = &mut *context.draft;
    draft.set::<LogicalSwitchPort, _>(port, column.r#type, &Arc::from(port_type))?;
    let options = [(Arc::from(option), Arc::from(target.as_str()))].into();
    draft.set::<LogicalSwitchPort, _>(port, column.options, &options)?;
    draft.set::<LogicalSwitchPort, _>(port, column.addresses, &vec![Arc::from(address)])
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let port = if context.has("--if-exists") {
        find::port_if_any(context.draft, name)?
    } else {
        Some(find::port(context.draft, name)?)
    };
    let Some(port) = port else {
        return Ok(());
    };
    let switch = find::switch_of_port(context.draft, port)?;
    let ports = LogicalSwitch::COLUMN.ports;
    context
        .draft
        .remove_from::<LogicalSwitch, _>(switch, ports, &vec![port])?;
    context.draft.delete::<LogicalSwitchPort>(port)
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::switch(context.draft, context.arg(0))?;
    let ports = context
        .draft
        .get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports);
    let name = LogicalSwitchPort::COLUMN.name;
    let mut ports: Vec<(Arc<str>, Uuid)> = ports
        .into_iter()
        .map(|port| (context.draft.get::<LogicalSwitchPort, _>(port, name), port))
        .collect();
    ports.sort();
    for (name, port) in ports {
        context.print(format!("{port} ({name})"));
    }
    Ok(())
}

fn get_switch(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::port(context.draft, context.arg(0))?;
    let switch = find::switch_of_port(context.draft, port)?;
    let name = context
        .draft
        .get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.name);
    context.print(format!("{switch} ({name})"));
    Ok(())
}
