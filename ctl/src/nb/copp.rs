//! Control-plane protection: `copp-*`, `ls-copp-add`, `lr-copp-add`.

use nb_db::tables::{Copp, LogicalRouter, LogicalSwitch};
use northbound::copp::{self, ControlProtocol};
use northbound::find::find;

use super::arguments::Pairs;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Copp", "Logical_Switch", "Logical_Router"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Control plane protection commands",
    commands: &[
        Command {
            name: "copp-add",
            arguments: "NAME PROTOCOL METER",
            options: &[],
            help: "let METER limit the packets of PROTOCOL in the protection profile NAME, which is created if there is none",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "copp-del",
            arguments: "NAME [PROTOCOL]",
            options: &[],
            help: "delete the profile NAME, or PROTOCOL from it",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "copp-list",
            arguments: "NAME",
            options: &[],
            help: "print the protocols and meters of the profile NAME",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "ls-copp-add",
            arguments: "NAME SWITCH",
            options: &[],
            help: "protect controllers from SWITCH by the profile NAME",
            tables: TABLES,
            run: set_switch,
        },
        Command {
            name: "lr-copp-add",
            arguments: "NAME ROUTER",
            options: &[],
            help: "protect controllers from ROUTER by the profile NAME",
            tables: TABLES,
            run: set_router,
        },
    ],
};

fn parse_protocol(text: &str) -> Outcome<ControlProtocol> {
    match text.parse() {
        Ok(protocol) => Ok(protocol),
        Err(_) => {
            let all = ControlProtocol::ALL.iter();
            let all: Vec<&str> = all.map(|protocol| protocol.as_str()).collect();
            fail(format!(
                "Invalid control protocol. Allowed values: {}.",
                all.join(", ")
            ))
        }
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let protocol = parse_protocol(context.arg(1))?;
    let arguments = &context.invocation.arguments;
    copp::add_copp(context.draft, &arguments[0], protocol, &arguments[2])?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let protocol = context.arg_if_any(1).map(parse_protocol).transpose()?;
    let name = &context.invocation.arguments[0];
    copp::delete_copp(context.draft, name, protocol)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let meters: Pairs = match copp::find_copp(context.draft, context.arg(0)) {
        Some(uuid) => context.draft.get::<Copp, _>(uuid, Copp::COLUMN.meters),
        None => Pairs::new(),
    };
    for (protocol, meter) in meters {
        context.print(format!("{protocol}: {meter}"));
    }
    Ok(())
}

fn set_switch(context: &mut Context<'_, '_>) -> Outcome {
    let switch = find::<LogicalSwitch>(context.draft, context.arg(1))?;
    let copp = find::<Copp>(context.draft, context.arg(0))?;
    copp::set_switch_copp(context.draft, switch, copp)?;
    Ok(())
}

fn set_router(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(1))?;
    let copp = find::<Copp>(context.draft, context.arg(0))?;
    copp::set_router_copp(context.draft, router, copp)?;
    Ok(())
}
