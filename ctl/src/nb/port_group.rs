//! Port groups: `pg-*`.

use nb_db::tables::{LogicalSwitchPort, PortGroup};
use northbound::Draft;
use northbound::find::{FindError, find, with_names};
use northbound::port_group;
use ovsdb::Uuid;

use super::arguments::print_named;
use crate::command::{Command, Context, Family, Tables};
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

fn ports(draft: &Draft<'_>, names: &[String]) -> Result<Vec<Uuid>, FindError> {
    let ports = names.iter();
    ports
        .map(|name| find::<LogicalSwitchPort>(draft, name))
        .collect()
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let ports = ports(context.draft, context.args_from(1))?;
    let name = &context.invocation.arguments[0];
    port_group::add_port_group(context.draft, name, ports)?;
    Ok(())
}

fn set_ports(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::<PortGroup>(context.draft, context.arg(0))?;
    let ports = ports(context.draft, context.args_from(1))?;
    port_group::set_group_ports(context.draft, group, &ports)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::<PortGroup>(context.draft, context.arg(0))?;
    port_group::delete_port_group(context.draft, group)?;
    Ok(())
}

fn get_ports(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::<PortGroup>(context.draft, context.arg(0))?;
    let column = PortGroup::COLUMN.ports;
    let ports = context.draft.get::<PortGroup, _>(group, column);
    let ports = with_names::<LogicalSwitchPort>(context.draft, ports);
    print_named(context, ports);
    Ok(())
}
