//! Forwarding groups: `fwd-group-*`.

use nb_db::tables::LogicalSwitch;
use northbound::find::find;
use northbound::forwarding_group::{
    self as group, NewForwardingGroup, add_forwarding_group, delete_forwarding_group,
    list_forwarding_groups,
};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables =
    Tables::Fixed(&["Forwarding_Group", "Logical_Switch", "Logical_Switch_Port"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Forwarding group commands",
    commands: &[
        Command {
            name: "fwd-group-add",
            arguments: "GROUP SWITCH VIP VMAC PORT...",
            options: &["--liveness"],
            help: "spread what goes to VIP and VMAC on SWITCH over the given ports; with --liveness only over those that are alive",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "fwd-group-del",
            arguments: "GROUP",
            options: &["--if-exists"],
            help: "delete GROUP",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "fwd-group-list",
            arguments: "[SWITCH]",
            options: &[],
            help: "print the forwarding groups, or those of SWITCH",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let arguments = &context.invocation.arguments;
    let switch = find::<LogicalSwitch>(context.draft, &arguments[1])?;
    group::check_name(context.draft, &arguments[0])?;
    let Ok(vip) = arguments[2].parse() else {
        return fail(format!("invalid ip address {}", arguments[2]));
    };
    let Ok(vmac) = arguments[3].parse() else {
        return fail(format!("invalid mac address {}", arguments[3]));
    };
    let new = NewForwardingGroup {
        name: &arguments[0],
        vip: &vip,
        vmac: &vmac,
        ports: &arguments[4..],
        liveness: context.has("--liveness"),
    };
    add_forwarding_group(context.draft, switch, &new)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    // As in ovn-nbctl it is no error if there is no such group, whatever the options.
    let name = &context.invocation.arguments[0];
    delete_forwarding_group(context.draft, name)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let switch = match context.arg_if_any(0) {
        None => None,
        Some(text) => Some(find::<LogicalSwitch>(context.draft, text)?),
    };
    let groups = list_forwarding_groups(context.draft, switch);
    context
        .print("FWD_GROUP       LS            VIP             VMAC                  CHILD_PORTS");
    for (switch, group) in groups {
        context.print(format!(
            "{:<16.16}{switch:<14.18}{:<15.16}{:<23}{}",
            group.name,
            group.vip,
            group.vmac,
            group.child_port.join(" ")
        ));
    }
    Ok(())
}
