//! Port groups: `pg-*`.

use std::sync::Arc;

use nb_db::tables::{LogicalSwitchPort, PortGroup};
use ovsdb::Uuid;

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::data::Draft;
use crate::error::Outcome;

const TABLES: Tables = Tables::Fixed(&["Port_Group", "Logical_Switch_Port"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Port group commands",
    commands: &[
        Command {
            name: "pg-add",
            arguments: "PG [PORT]...",
            options: &[],
            help: "create a port group named PG of the given ports",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "pg-set-ports",
            arguments: "PG PORT...",
            options: &[],
            help: "set the ports of PG",
            tables: TABLES,
            run: set_ports,
        },
        Command {
            name: "pg-del",
            arguments: "PG",
            options: &[],
            help: "delete PG",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "pg-get-ports",
            arguments: "PG",
            options: &[],
            help: "print the names of the ports of PG",
            tables: TABLES,
            run: get_ports,
        },
    ],
};

fn ports(draft: &Draft<'_>, names: &[String]) -> Outcome<Vec<Uuid>> {
    names.iter().map(|name| find::port(draft, name)).collect()
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let ports = ports(context.draft, context.args_from(1))?;
    let name = Arc::from(context.arg(0));
    let group = context.draft.insert::<PortGroup>()?;
    context
        .draft
        .set::<PortGroup, _>(group, PortGroup::COLUMN.name, &name)?;
    context
        .draft
        .set::<PortGroup, _>(group, PortGroup::COLUMN.ports, &ports)
}

fn set_ports(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::port_group(context.draft, context.arg(0))?;
    let ports = ports(context.draft, context.args_from(1))?;
    context
        .draft
        .set::<PortGroup, _>(group, PortGroup::COLUMN.ports, &ports)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::port_group(context.draft, context.arg(0))?;
    context.draft.delete::<PortGroup>(group)
}

fn get_ports(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::port_group(context.draft, context.arg(0))?;
    let name = LogicalSwitchPort::COLUMN.name;
    let ports = context
        .draft
        .get::<PortGroup, _>(group, PortGroup::COLUMN.ports);
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
