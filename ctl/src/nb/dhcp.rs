//! DHCP options: `dhcp-options-*`.

use nb_db::tables::DhcpOptions;
use ovsdb::Uuid;

use super::port_settings::{pairs, print_pairs};
use crate::command::{Command, Context, Family, Tables};
use crate::data::{Draft, lookup};
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

/// The DHCP options that `text`, a UUID, names.
pub(super) fn by_uuid(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    let table = draft.table_of::<DhcpOptions>()?;
    match lookup::parse_uuid(text) {
        Some(uuid) if draft.row(table, uuid).is_some() => Ok(uuid),
        _ => fail(format!("{text}: dhcp options UUID not found")),
    }
}

fn create(context: &mut Context<'_, '_>) -> Outcome {
    let cidr = context.arg(0);
    if cidr.parse::<addr::Cidr>().is_err() {
        return fail(format!("Invalid cidr format '{cidr}'"));
    }
    let cidr = cidr.into();
    let external_ids = pairs(context, 1);
    let column = DhcpOptions::COLUMN;
    let uuid = context.draft.insert::<DhcpOptions>()?;
    context
        .draft
        .set::<DhcpOptions, _>(uuid, column.cidr, &cidr)?;
    context
        .draft
        .set::<DhcpOptions, _>(uuid, column.external_ids, &external_ids)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = by_uuid(context.draft, context.arg(0))?;
    context.draft.delete::<DhcpOptions>(uuid)
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut all = context.draft.all::<DhcpOptions>();
    all.sort_by(|a, b| (&a.cidr, a.uuid).cmp(&(&b.cidr, b.uuid)));
    for options in all {
        context.print(options.uuid.to_string());
    }
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = by_uuid(context.draft, context.arg(0))?;
    let options = pairs(context, 1);
    context
        .draft
        .set::<DhcpOptions, _>(uuid, DhcpOptions::COLUMN.options, &options)
}

fn get_options(context: &mut Context<'_, '_>) -> Outcome {
    let uuid = by_uuid(context.draft, context.arg(0))?;
    let options = context
        .draft
        .get::<DhcpOptions, _>(uuid, DhcpOptions::COLUMN.options);
    print_pairs(context, &options);
    Ok(())
}
