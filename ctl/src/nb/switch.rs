//! Logical switches: `ls-add`, `ls-del`, `ls-list`.

use std::sync::Arc;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

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
    let (may_exist, add_duplicate) = (context.has("--may-exist"), context.has("--add-duplicate"));
    if may_exist && add_duplicate {
        return fail("--may-exist and --add-duplicate may not be used together");
    }
    let column = LogicalSwitch::COLUMN.name;
    match context.arg_if_any(0).map(Arc::<str>::from) {
        None if may_exist => fail("--may-exist requires specifying a name"),
        None if add_duplicate => fail("--add-duplicate requires specifying a name"),
        None => context.draft.insert::<LogicalSwitch>().map(|_| ()),
        Some(name) => {
            if !add_duplicate {
                if !context
                    .draft
                    .find::<LogicalSwitch, _>(column, &name)
                    .is_empty()
                {
                    if may_exist {
                        return Ok(());
                    }
                    return fail(format!("{name}: a switch with this name already exists"));
                }
                context
                    .draft
                    .rely_on_value::<LogicalSwitch, _>(column, &name)?;
            }
            let switch = context.draft.insert::<LogicalSwitch>()?;
            context.draft.set::<LogicalSwitch, _>(switch, column, &name)
        }
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let switch = if context.has("--if-exists") {
        find::switch_if_any(context.draft, name)?
    } else {
        Some(find::switch(context.draft, name)?)
    };
    let Some(switch) = switch else {
        return Ok(());
    };
    // The ports go with the last reference to them; commands behind this one should not see them any more.
    let ports = context
        .draft
        .get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports);
    for port in ports {
        context.draft.delete::<LogicalSwitchPort>(port)?;
    }
    context.draft.delete::<LogicalSwitch>(switch)
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut switches = context.draft.all::<LogicalSwitch>();
    switches.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    for switch in switches {
        context.print(format!("{} ({})", switch.uuid, switch.name));
    }
    Ok(())
}
