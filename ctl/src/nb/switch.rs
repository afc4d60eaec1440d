//! Logical switches: `ls-add`, `ls-del`, `ls-list`.

use nb_db::tables::LogicalSwitch;
use northbound::datapath;
use northbound::find::{all_with_names, find, find_if_any};

use super::arguments::{existing, print_named};
use crate::command::{Command, Context, Family, Tables};
use crate::error::Outcome;

const TABLES: Tables = Tables::Fixed(&["Logical_Switch", "Logical_Switch_Port"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch commands",
    commands: &[
        Command {
            name: "ls-add",
            arguments: "[SWITCH]",
            options: &["--may-exist", "--add-duplicate"],
            help: "create a logical switch named SWITCH",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "ls-del",
            arguments: "SWITCH",
            options: &["--if-exists"],
            help: "delete SWITCH and all its ports",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "ls-list",
            arguments: "",
            options: &[],
            help: "print the names of all logical switches",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let existing = existing(context, context.arg_if_any(0).is_some())?;
    let name = context.arg_if_any(0).map(str::to_owned);
    datapath::add_switch(context.draft, name.as_deref(), existing)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let switch = if context.has("--if-exists") {
        find_if_any::<LogicalSwitch>(context.draft, name)?
    } else {
        Some(find::<LogicalSwitch>(context.draft, name)?)
    };
    if let Some(switch) = switch {
        datapath::delete_switch(context.draft, switch)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let switches = all_with_names::<LogicalSwitch>(context.draft);
    print_named(context, switches);
    Ok(())
}
