//! DHCP options: `dhcp-options-*`.

use nb_db::tables::DhcpOptions;
use northbound::dhcp::{
    create_dhcp_options, delete_dhcp_options, find_dhcp_options, list_dhcp_options, set_contents,
};

use super::arguments::{pairs, print_pairs};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["DHCP_Options"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "DHCP options commands",
    commands: &[
        Command {
            name: "dhcp-options-create",
            arguments: "CIDR [KEY=VALUE]...",
            options: &[],
            help: "create DHCP options for the subnet CIDR, with external ids KEY=VALUE",
            tables: TABLES,
            run: create,
        },
        Command {
            name: "dhcp-options-del",
            arguments: "DHCPOPTIONS",
            options: &[],
            help: "delete the DHCP options with this UUID",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "dhcp-options-list",
            arguments: "",
            options: &[],
            help: "print the UUIDs of all DHCP options, by subnet",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "dhcp-options-set-options",
            arguments: "DHCPOPTIONS [KEY=VALUE]...",
            options: &[],
            help: "set what clients are told",
            tables: TABLES,
            run: set_options,
        },
        Command {
            name: "dhcp-options-get-options",
            arguments: "DHCPOPTIONS",
            options: &[],
            help: "print what clients are told",
            tables: TABLES,
            run: get_options,
        },
    ],
};

fn create(context: &mut Context<'_, '_>) -> Outcome {
    let Ok(subnet) = context.arg(0).parse() else {
        return fail(format!("Invalid cidr format '{}'", context.arg(0)));
    };
    let external_ids = pairs(context, 1);
    create_dhcp_options(context.draft, &subnet, external_ids)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_dhcp_options(context.draft, context.arg(0))?;
    delete_dhcp_options(context.draft, uuid)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    for options in list_dhcp_options(context.draft) {
        context.print(options.uuid.to_string());
    }
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_dhcp_options(context.draft, context.arg(0))?;
    let options = pairs(context, 1);
    set_contents(context.draft, uuid, &options)?;
    Ok(())
}

fn get_options(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = find_dhcp_options(context.draft, context.arg(0))?;
    let options = context
        .draft
        .get::<DhcpOptions, _>(uuid, DhcpOptions::COLUMN.options);
    print_pairs(context, &options);
    Ok(())
}
