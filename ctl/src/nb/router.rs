//! Logical routers: `lr-add`, `lr-del`, `lr-list`.

use std::sync::Arc;

use nb_db::tables::LogicalRouter;

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

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
    let (may_exist, add_duplicate) = (context.has("--may-exist"), context.has("--add-duplicate"));
    if may_exist && add_duplicate {
        return fail("--may-exist and --add-duplicate may not be used together");
    }
    let column = LogicalRouter::COLUMN.name;
    match context.arg_if_any(0).map(Arc::<str>::from) {
        None if may_exist => fail("--may-exist requires specifying a name"),
        None if add_duplicate => fail("--add-duplicate requires specifying a name"),
        None => context.draft.insert::<LogicalRouter>().map(|_| ()),
        Some(name) => {
            if !add_duplicate {
                if !context
                    .draft
                    .find::<LogicalRouter, _>(column, &name)
                    .is_empty()
                {
                    if may_exist {
                        return Ok(());
                    }
                    return fail(format!("{name}: a router with this name already exists"));
                }
                context
                    .draft
                    .rely_on_value::<LogicalRouter, _>(column, &name)?;
            }
            let router = context.draft.insert::<LogicalRouter>()?;
            context.draft.set::<LogicalRouter, _>(router, column, &name)
        }
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let router = if context.has("--if-exists") {
        find::router_if_any(context.draft, name)?
    } else {
        Some(find::router(context.draft, name)?)
    };
    match router {
        Some(router) => context.draft.delete::<LogicalRouter>(router),
        None => Ok(()),
    }
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut routers = context.draft.all::<LogicalRouter>();
    routers.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    for router in routers {
        context.print(format!("{} ({})", router.uuid, router.name));
    }
    Ok(())
}
