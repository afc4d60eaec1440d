//! `init`, `sync` and `show`.

use nb_db::tables::{LogicalRouter, LogicalSwitch};
use northbound::find::find_if_any;

use super::show;
use crate::command::{Command, Context, Family, Tables};
use crate::error::Outcome;

const SHOWN: &[&str] = &[
    "Logical_Switch",
    "Logical_Switch_Port",
    "Logical_Router",
    "Logical_Router_Port",
    "Gateway_Chassis",
    "NAT",
];

/// The commands.
pub static FAMILY: Family = Family {
    title: "General commands",
    commands: &[
        Command {
            name: "init",
            arguments: "",
            options: &[],
            help: "initialize the database, if it is empty",
            tables: Tables::Fixed(&[]),
            // Every line does that.
            run: |_| Ok(()),
        },
        Command {
            name: "sync",
            arguments: "",
            options: &[],
            help: "wait even for earlier changes (with --wait=sb or --wait=hv)",
            tables: Tables::Fixed(&[]),
            // What it means is the business of the one who waits.
            run: |_| Ok(()),
        },
        Command {
            name: "show",
            arguments: "[SWITCH|ROUTER]",
            options: &[],
            help: "print an overview of the database, or of a switch or router",
            tables: Tables::Fixed(SHOWN),
            run: overview,
        },
    ],
};

fn overview(context: &mut Context<'_, '_>) -> Outcome {
    let text = match context.arg_if_any(0).map(str::to_owned) {
        None => show::everything(context.draft),
        Some(name) => {
            // A name that means several switches means none here, as in ovn-nbctl.
            let switch = find_if_any::<LogicalSwitch>(context.draft, &name).unwrap_or_default();
            let router = find_if_any::<LogicalRouter>(context.draft, &name).unwrap_or_default();
            match (switch, router) {
                (Some(switch), _) => show::switch(context.draft, switch),
                (None, Some(router)) => show::router(context.draft, router),
                (None, None) => String::new(),
            }
        }
    };
    context.output.text.push_str(&text);
    Ok(())
}
