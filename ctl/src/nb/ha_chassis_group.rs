//! Groups of chassis that stand in for each other: `ha-chassis-group-*`.

use nb_db::tables::HaChassisGroup;
use northbound::find::find;
use northbound::ha_chassis_group::{self as group, GroupWithMembers};
use ovsdb::Uuid;

use super::arguments::parse_priority;
use crate::command::{Command, Context, Family, Tables};
use crate::error::Outcome;

const TABLES: Tables = Tables::Fixed(&["HA_Chassis_Group", "HA_Chassis"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "HA chassis group commands",
    commands: &[
        Command {
            name: "ha-chassis-group-add",
            arguments: "GROUP",
            options: &[],
            help: "create a group of chassis named GROUP",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "ha-chassis-group-del",
            arguments: "GROUP",
            options: &[],
            help: "delete GROUP",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "ha-chassis-group-list",
            arguments: "[GROUP]",
            options: &[],
            help: "print the groups of chassis, or GROUP, with their members",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "ha-chassis-group-add-chassis",
            arguments: "GROUP CHASSIS PRIORITY",
            options: &[],
            help: "make CHASSIS a member of GROUP; the living member of highest PRIORITY does the work",
            tables: TABLES,
            run: add_chassis,
        },
        Command {
            name: "ha-chassis-group-set-chassis-prio",
            arguments: "GROUP CHASSIS PRIORITY",
            options: &[],
            help: "set the priority of CHASSIS in GROUP",
            tables: TABLES,
            run: set_priority,
        },
        Command {
            name: "ha-chassis-group-remove-chassis",
            arguments: "GROUP CHASSIS",
            options: &[],
            help: "remove CHASSIS from GROUP",
            tables: TABLES,
            run: remove_chassis,
        },
    ],
};

fn find_group(context: &Context<'_, '_>) -> Outcome<Uuid> {
    Ok(find::<HaChassisGroup>(context.draft, context.arg(0))?)
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let name = &context.invocation.arguments[0];
    group::add_group(context.draft, name)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_group(context)?;
    group::delete_group(context.draft, uuid)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut groups = group::list_groups(context.draft);
    if let Some(text) = context.arg_if_any(0) {
        let uuid = find::<HaChassisGroup>(context.draft, text)?;
        groups.retain(|known| known.group.uuid == uuid);
    }
    for GroupWithMembers { group, members } in groups {
        context.print(format!("{} ({})", group.uuid, group.name));
        for member in members {
            let (uuid, chassis) = (member.uuid, member.chassis_name);
            context.print(format!("    {uuid} ({chassis})"));
            context.print(format!("    priority {}", member.priority));
            context.print("");
        }
        context.print("");
    }
    Ok(())
}

fn add_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_group(context)?;
    let priority = parse_priority(context.arg(2))?;
    let chassis = &context.invocation.arguments[1];
    group::add_member(context.draft, uuid, chassis, priority)?;
    Ok(())
}

fn set_priority(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_group(context)?;
    let priority = parse_priority(context.arg(2))?;
    let chassis = &context.invocation.arguments[1];
    group::set_member_priority(context.draft, uuid, chassis, priority)?;
    Ok(())
}

fn remove_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_group(context)?;
    let chassis = &context.invocation.arguments[1];
    group::remove_member(context.draft, uuid, chassis)?;
    Ok(())
}
