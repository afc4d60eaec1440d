//! Network functions and groups of them: `nf-*`, `nfg-*`.

use nb_db::tables::{LogicalSwitchPort, NetworkFunction, NetworkFunctionGroup};
use northbound::find::{find, find_if_any, name_of, with_names};
use northbound::network_function::{self as functions, FunctionId};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&[
    "Network_Function",
    "Network_Function_Group",
    "Logical_Switch",
    "Logical_Switch_Port",
]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Network function commands",
    commands: &[
        Command {
            name: "nf-add",
            arguments: "NF ID INPORT OUTPORT",
            options: &["--may-exist"],
            help: "create the network function NF, which receives packets on the switch port INPORT and gives them back on OUTPORT",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "nf-del",
            arguments: "NF",
            options: &["--if-exists"],
            help: "delete NF",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "nf-list",
            arguments: "",
            options: &[],
            help: "print the network functions",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "nfg-add",
            arguments: "GROUP ID MODE [NF]...",
            options: &["--may-exist"],
            help: "create the group GROUP of the given network functions; MODE is inline",
            tables: TABLES,
            run: add_group,
        },
        Command {
            name: "nfg-del",
            arguments: "GROUP",
            options: &["--if-exists"],
            help: "delete GROUP",
            tables: TABLES,
            run: delete_group,
        },
        Command {
            name: "nfg-list",
            arguments: "[GROUP]",
            options: &[],
            help: "print the groups of network functions, or GROUP",
            tables: TABLES,
            run: list_groups,
        },
        Command {
            name: "nfg-add-nf",
            arguments: "GROUP NF",
            options: &["--may-exist"],
            help: "add NF to GROUP",
            tables: TABLES,
            run: add_member,
        },
        Command {
            name: "nfg-del-nf",
            arguments: "GROUP NF",
            options: &["--if-exists"],
            help: "remove NF from GROUP",
            tables: TABLES,
            run: remove_member,
        },
    ],
};

fn parse_id(text: &str) -> Outcome<FunctionId> {
    match text.parse().ok().and_then(FunctionId::new) {
        Some(id) => Ok(id),
        None => fail(format!("{text}: id must be in the range 1...{}", u8::MAX)),
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let id = parse_id(context.arg(1))?;
    let inport = find::<LogicalSwitchPort>(context.draft, context.arg(2))?;
    let outport = find::<LogicalSwitchPort>(context.draft, context.arg(3))?;
    let may_exist = context.has("--may-exist");
    let name = &context.invocation.arguments[0];
    functions::add_function(context.draft, name, id, inport, outport, may_exist)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let function = if context.has("--if-exists") {
        find_if_any::<NetworkFunction>(context.draft, context.arg(0))?
    } else {
        Some(find::<NetworkFunction>(context.draft, context.arg(0))?)
    };
    if let Some(function) = function {
        functions::delete_function(context.draft, function)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    for function in functions::list_functions(context.draft) {
        context.print(format!("{} ({})", function.uuid, function.name));
        context.print(format!("    id: {}", function.id));
        let port = |uuid| name_of::<LogicalSwitchPort>(context.draft, uuid);
        let (inport, outport) = (port(function.inport), port(function.outport));
        context.print(format!("    in: {inport}"));
        context.print(format!("    out: {outport}"));
    }
    Ok(())
}

fn add_group(context: &mut Context<'_, '_>) -> Outcome {
    let id = parse_id(context.arg(1))?;
    if context.arg(2) != "inline" {
        return fail(format!("{}: mode must be \"inline\"", context.arg(2)));
    }
    let mut members = Vec::new();
    for name in context.args_from(3) {
        members.push(find::<NetworkFunction>(context.draft, name)?);
    }
    let may_exist = context.has("--may-exist");
    let name = &context.invocation.arguments[0];
    functions::add_function_group(context.draft, name, id, &members, may_exist)?;
    Ok(())
}

fn delete_group(context: &mut Context<'_, '_>) -> Outcome {
    let group = if context.has("--if-exists") {
        find_if_any::<NetworkFunctionGroup>(context.draft, context.arg(0))?
    } else {
        Some(find::<NetworkFunctionGroup>(context.draft, context.arg(0))?)
    };
    if let Some(group) = group {
        functions::delete_function_group(context.draft, group)?;
    }
    Ok(())
}

fn list_groups(context: &mut Context<'_, '_>) -> Outcome {
    let mut groups = functions::list_function_groups(context.draft);
    if let Some(text) = context.arg_if_any(0) {
        let uuid = find::<NetworkFunctionGroup>(context.draft, text)?;
        groups.retain(|group| group.uuid == uuid);
    }
    for group in groups {
        context.print(format!("{} ({})", group.uuid, group.name));
        context.print(format!("    id: {}", group.id));
        context.print(format!("    mode: {}", group.mode));
        let members = group.network_function.iter().copied();
        for (name, uuid) in with_names::<NetworkFunction>(context.draft, members) {
            let is_active = group.network_function_active == Some(uuid);
            let active = if is_active { " (active)" } else { "" };
            context.print(format!("    network function: {name}{active}"));
        }
    }
    Ok(())
}

fn add_member(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::<NetworkFunctionGroup>(context.draft, context.arg(0))?;
    let function = find::<NetworkFunction>(context.draft, context.arg(1))?;
    let may_exist = context.has("--may-exist");
    functions::add_to_group(context.draft, group, function, may_exist)?;
    Ok(())
}

fn remove_member(context: &mut Context<'_, '_>) -> Outcome {
    let group = find::<NetworkFunctionGroup>(context.draft, context.arg(0))?;
    let function = find::<NetworkFunction>(context.draft, context.arg(1))?;
    let if_exists = context.has("--if-exists");
    functions::remove_from_group(context.draft, group, function, if_exists)?;
    Ok(())
}
