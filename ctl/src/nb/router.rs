//! Logical routers: `lr-add`, `lr-del`, `lr-list`.

use nb_db::tables::LogicalRouter;
use northbound::datapath;
use northbound::find::{all_with_names, find, find_if_any};

use super::arguments::{existing, print_named};
use crate::command::{Command, Context, Family, Tables};
use crate::error::Outcome;

const TABLES: Tables = Tables::Fixed(&["Logical_Router"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical router commands",
    commands: &[
        Command {
            name: "lr-add",
            arguments: "[ROUTER]",
            options: &["--may-exist", "--add-duplicate"],
            help: "create a logical router named ROUTER",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lr-del",
            arguments: "ROUTER",
            options: &["--if-exists"],
            help: "delete ROUTER and all its ports",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lr-list",
            arguments: "",
            options: &[],
            help: "print the names of all logical routers",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let existing = existing(context, context.arg_if_any(0).is_some())?;
    let name = context.arg_if_any(0).map(str::to_owned);
    datapath::add_router(context.draft, name.as_deref(), existing)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let router = if context.has("--if-exists") {
        find_if_any::<LogicalRouter>(context.draft, name)?
    } else {
        Some(find::<LogicalRouter>(context.draft, name)?)
    };
    if let Some(router) = router {
        datapath::delete_router(context.draft, router)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let routers = all_with_names::<LogicalRouter>(context.draft);
    print_named(context, routers);
    Ok(())
}
