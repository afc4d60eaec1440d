//! Fixed entries of neighbour tables: `static-mac-binding-*`.

use std::net::IpAddr;

use nb_db::tables::LogicalRouterPort;
use northbound::find::find;
use northbound::static_mac_binding::{
    DeleteBindingError, add_static_mac_binding, delete_static_mac_binding, list_static_mac_bindings,
};
use ovsdb::Uuid;

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Logical_Router_Port", "Static_MAC_Binding"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Static MAC binding commands",
    commands: &[
        Command {
            name: "static-mac-binding-add",
            arguments: "PORT IP MAC",
            options: &["--may-exist"],
            help: "let the router port PORT take MAC for the Ethernet address of IP",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "static-mac-binding-del",
            arguments: "PORT IP",
            options: &["--if-exists"],
            help: "let PORT find out the Ethernet address of IP itself again",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "static-mac-binding-list",
            arguments: "",
            options: &[],
            help: "print the static MAC bindings",
            tables: TABLES,
            run: list,
        },
    ],
};

fn port_and_ip(context: &Context<'_, '_>) -> Outcome<(Uuid, IpAddr)> {
    let port = find::<LogicalRouterPort>(context.draft, context.arg(0))?;
    match context.arg(1).parse() {
        Ok(ip) => Ok((port, ip)),
        Err(_) => fail(format!(
            "{}: Not a valid IPv4 or IPv6 address.",
            context.arg(1)
        )),
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let (port, ip) = port_and_ip(context)?;
    let Ok(mac) = context.arg(2).parse() else {
        return fail(format!("invalid mac address {}.", context.arg(2)));
    };
    let may_exist = context.has("--may-exist");
    add_static_mac_binding(context.draft, port, ip, &mac, may_exist)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let (port, ip) = port_and_ip(context)?;
    match delete_static_mac_binding(context.draft, port, ip) {
        Err(DeleteBindingError::NotFound { .. }) if context.has("--if-exists") => Ok(()),
        deleted => Ok(deleted?),
    }
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let bindings = list_static_mac_bindings(context.draft);
    let row = |port: &str, ip: &str, mac: &str| format!("{port:<25}{ip:<25}{mac}");
    if !bindings.is_empty() {
        context.print(row("LOGICAL_PORT", "IP", "MAC"));
    }
    for binding in bindings {
        context.print(row(&binding.logical_port, &binding.ip, &binding.mac));
    }
    Ok(())
}
