//! Settings of logical switch ports: `lsp-set-*` and `lsp-get-*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nb_db::tables::{DhcpOptions, LogicalSwitchPort};
use ovsdb::typed::ColumnValue;
use ovsdb::{Column, Uuid};

use super::port::TABLES;
use super::{dhcp, find, port_address};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const DHCP_TABLES: Tables =
    Tables::Fixed(&["Logical_Switch", "Logical_Switch_Port", "DHCP_Options"]);

/// What a port can be; the empty string is a guest or container.
const TYPES: [&str; 10] = [
    "",
    "router",
    "switch",
    "localnet",
    "localport",
    "l2gateway",
    "vtep",
    "external",
    "virtual",
    "remote",
];

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch port settings",
    commands: &[
        Command {
            name: "lsp-get-parent",
            arguments: "PORT",
            options: &[],
            help: "print the parent of PORT, if it has one",
            tables: TABLES,
            run: get_parent,
        },
        Command {
            name: "lsp-get-tag",
            arguments: "PORT",
            options: &[],
            help: "print the VLAN of PORT, if it has one",
            tables: TABLES,
            run: get_tag,
        },
        Command {
            name: "lsp-set-addresses",
            arguments: "PORT [ADDRESS]...",
            options: &[],
            help: "set the addresses of PORT: \"MAC IP...\", unknown, dynamic or router",
            tables: TABLES,
            run: set_addresses,
        },
        Command {
            name: "lsp-get-addresses",
            arguments: "PORT",
            options: &[],
            help: "print the addresses of PORT",
            tables: TABLES,
            run: get_addresses,
        },
        Command {
            name: "lsp-set-port-security",
            arguments: "PORT [ADDRESSES]...",
            options: &[],
            help: "set what PORT may send from and receive for; nothing: anything",
            tables: TABLES,
            run: set_port_security,
        },
        Command {
            name: "lsp-get-port-security",
            arguments: "PORT",
            options: &[],
            help: "print what PORT may send from and receive for",
            tables: TABLES,
            run: get_port_security,
        },
        Command {
            name: "lsp-get-up",
            arguments: "PORT",
            options: &[],
            help: "print the state of PORT: up or down",
            tables: TABLES,
            run: get_up,
        },
        Command {
            name: "lsp-set-enabled",
            arguments: "PORT STATE",
            options: &[],
            help: "set the administrative state of PORT: enabled or disabled",
            tables: TABLES,
            run: set_enabled,
        },
        Command {
            name: "lsp-get-enabled",
            arguments: "PORT",
            options: &[],
            help: "print the administrative state of PORT",
            tables: TABLES,
            run: get_enabled,
        },
        Command {
            name: "lsp-set-type",
            arguments: "PORT TYPE [PEER]",
            options: &[],
            help: "set the type of PORT; for type switch with peer=PORT",
            tables: TABLES,
            run: set_type,
        },
        Command {
            name: "lsp-get-type",
            arguments: "PORT",
            options: &[],
            help: "print the type of PORT",
            tables: TABLES,
            run: get_type,
        },
        Command {
            name: "lsp-set-options",
            arguments: "PORT [KEY=VALUE]...",
            options: &[],
            help: "set the options of PORT",
            tables: TABLES,
            run: set_options,
        },
        Command {
            name: "lsp-get-options",
            arguments: "PORT",
            options: &[],
            help: "print the options of PORT",
            tables: TABLES,
            run: get_options,
        },
        Command {
            name: "lsp-set-dhcpv4-options",
            arguments: "PORT [DHCPOPTIONS]",
            options: &[],
            help: "set what DHCPv4 clients on PORT are told; nothing: no answer",
            tables: DHCP_TABLES,
            run: set_dhcpv4_options,
        },
        Command {
            name: "lsp-get-dhcpv4-options",
            arguments: "PORT",
            options: &[],
            help: "print what DHCPv4 clients on PORT are told",
            tables: DHCP_TABLES,
            run: get_dhcpv4_options,
        },
        Command {
            name: "lsp-set-dhcpv6-options",
            arguments: "PORT [DHCPOPTIONS]",
            options: &[],
            help: "set what DHCPv6 clients on PORT are told; nothing: no answer",
            tables: DHCP_TABLES,
            run: set_dhcpv6_options,
        },
        Command {
            name: "lsp-get-dhcpv6-options",
            arguments: "PORT",
            options: &[],
            help: "print what DHCPv6 clients on PORT are told",
            tables: DHCP_TABLES,
            run: get_dhcpv6_options,
        },
    ],
};

fn port(context: &Context<'_, '_>) -> Outcome<Uuid> {
    find::port(context.draft, context.arg(0))
}

/// A column of the port that the first argument names.
fn get<V: ColumnValue>(context: &Context<'_, '_>, column: Column<V>) -> Outcome<V> {
    Ok(context
        .draft
        .get::<LogicalSwitchPort, V>(port(context)?, column))
}

fn set<V: ColumnValue>(context: &mut Context<'_, '_>, column: Column<V>, value: &V) -> Outcome {
    let port = port(context)?;
    context
        .draft
        .set::<LogicalSwitchPort, V>(port, column, value)
}

fn get_parent(context: &mut Context<'_, '_>) -> Outcome {
    if let Some(parent) = get(context, LogicalSwitchPort::COLUMN.parent_name)? {
        context.print(parent);
    }
    Ok(())
}

fn get_tag(context: &mut Context<'_, '_>) -> Outcome {
    if let Some(tag) = get(context, LogicalSwitchPort::COLUMN.tag)? {
        context.print(tag.to_string());
    }
    Ok(())
}

fn set_addresses(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let switch = find::switch_of_port(context.draft, port)?;
    for address in &context.invocation.arguments[1..] {
        context.warnings.extend(port_address::check_form(address)?);
        port_address::check_free(context.draft, switch, port, address)?;
    }
    let addresses = shared(context.args_from(1));
    let column = LogicalSwitchPort::COLUMN.addresses;
    context
        .draft
        .set::<LogicalSwitchPort, _>(port, column, &addresses)
}

fn get_addresses(context: &mut Context<'_, '_>) -> Outcome {
    let addresses = get(context, LogicalSwitchPort::COLUMN.addresses)?;
    print_lines(context, addresses)
}

fn set_port_security(context: &mut Context<'_, '_>) -> Outcome {
    let entries = shared(context.args_from(1));
    for entry in &entries {
        if let Err(problem) = entry.parse::<addr::PortSecurity>() {
            context.warnings.push(format!("{entry}: {problem}"));
        }
    }
    set(context, LogicalSwitchPort::COLUMN.port_security, &entries)
}

fn get_port_security(context: &mut Context<'_, '_>) -> Outcome {
    let entries = get(context, LogicalSwitchPort::COLUMN.port_security)?;
    print_lines(context, entries)
}

fn get_up(context: &mut Context<'_, '_>) -> Outcome {
    let up = get(context, LogicalSwitchPort::COLUMN.up)?.unwrap_or_default();
    context.print(if up { "up" } else { "down" });
    Ok(())
}

fn set_enabled(context: &mut Context<'_, '_>) -> Outcome {
    port(context)?;
    let enabled = parse_enabled(context.arg(1))?;
    set(context, LogicalSwitchPort::COLUMN.enabled, &Some(enabled))
}

/// `enabled` or `disabled`.
pub(super) fn parse_enabled(text: &str) -> Outcome<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("enabled") => Ok(true),
        _ if text.eq_ignore_ascii_case("disabled") => Ok(false),
        _ => fail(format!("{text}: state must be \"enabled\" or \"disabled\"")),
    }
}

fn get_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let enabled = get(context, LogicalSwitchPort::COLUMN.enabled)?.unwrap_or(true);
    context.print(if enabled { "enabled" } else { "disabled" });
    Ok(())
}

fn set_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let port_type = context.arg(1);
    if !TYPES.contains(&port_type) {
        return fail(format!(
            "Logical switch port type '{port_type}' is unrecognized. Not setting type."
        ));
    }
    let peer = match context.arg_if_any(2) {
        None => None,
        Some(peer) => match peer.strip_prefix("peer=") {
            Some(peer) if port_type == "switch" && !peer.is_empty() => Some(Arc::from(peer)),
            Some(_) => return fail("peer=PORT goes with type switch only, and needs a port"),
            None => return fail(format!("{peer}: only peer=PORT can follow the type")),
        },
    };
    let column = LogicalSwitchPort::COLUMN;
    let port_type = Arc::from(port_type);
    context
        .draft
        .set::<LogicalSwitchPort, _>(port, column.r#type, &port_type)?;
    if peer.is_some() {
        context
            .draft
            .set::<LogicalSwitchPort, _>(port, column.peer, &peer)?;
    }
    Ok(())
}

fn get_type(context: &mut Context<'_, '_>) -> Outcome {
    let port_type = get(context, LogicalSwitchPort::COLUMN.r#type)?;
    context.print(port_type);
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let options = pairs(context, 1);
    set(context, LogicalSwitchPort::COLUMN.options, &options)
}

fn get_options(context: &mut Context<'_, '_>) -> Outcome {
    let options = get(context, LogicalSwitchPort::COLUMN.options)?;
    print_pairs(context, &options);
    Ok(())
}

fn set_dhcpv4_options(context: &mut Context<'_, '_>) -> Outcome {
    let profile = dhcp_profile(context, true)?;
    set(context, LogicalSwitchPort::COLUMN.dhcpv4_options, &profile)
}

fn set_dhcpv6_options(context: &mut Context<'_, '_>) -> Outcome {
    let profile = dhcp_profile(context, false)?;
    set(context, LogicalSwitchPort::COLUMN.dhcpv6_options, &profile)
}

/// The DHCP options that the second argument names, which must be of this family.
fn dhcp_profile(context: &Context<'_, '_>, is_ipv4: bool) -> Outcome<Option<Uuid>> {
    port(context)?;
    let Some(text) = context.arg_if_any(1) else {
        return Ok(None);
    };
    let profile = dhcp::by_uuid(context.draft, text)?;
    let cidr = context
        .draft
        .get::<DhcpOptions, _>(profile, DhcpOptions::COLUMN.cidr);
    let actual = cidr.parse::<addr::Cidr>().map(addr::Cidr::is_ipv4);
    if actual.is_ok_and(|actual| actual == is_ipv4) {
        return Ok(Some(profile));
    }
    let family = if is_ipv4 { "IPv4" } else { "IPv6" };
    fail(format!("DHCP options cidr '{cidr}' is not {family}"))
}

fn get_dhcpv4_options(context: &mut Context<'_, '_>) -> Outcome {
    let profile = get(context, LogicalSwitchPort::COLUMN.dhcpv4_options)?;
    print_profile(context, profile)
}

fn get_dhcpv6_options(context: &mut Context<'_, '_>) -> Outcome {
    let profile = get(context, LogicalSwitchPort::COLUMN.dhcpv6_options)?;
    print_profile(context, profile)
}

fn print_profile(context: &mut Context<'_, '_>, profile: Option<Uuid>) -> Outcome {
    if let Some(uuid) = profile {
        let cidr = context
            .draft
            .get::<DhcpOptions, _>(uuid, DhcpOptions::COLUMN.cidr);
        context.print(format!("{uuid} ({cidr})"));
    }
    Ok(())
}

fn print_lines(context: &mut Context<'_, '_>, lines: Vec<Arc<str>>) -> Outcome {
    for line in lines {
        context.print(line);
    }
    Ok(())
}

fn shared(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(text.as_str())).collect()
}

/// The `KEY=VALUE` arguments from index `from` on. Of several with one key the first counts; one without `=` is left
/// out, with a warning.
pub(super) fn pairs(context: &mut Context<'_, '_>, from: usize) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut pairs = BTreeMap::new();
    for argument in context.invocation.arguments.get(from..).unwrap_or_default() {
        match argument.split_once('=') {
            Some((key, value)) => {
                pairs
                    .entry(Arc::from(key))
                    .or_insert_with(|| Arc::from(value));
            }
            None => {
                let warning = format!("{argument}: not of the form KEY=VALUE, left out");
                context.warnings.push(warning);
            }
        }
    }
    pairs
}

/// A `KEY=VALUE` line a pair.
pub(super) fn print_pairs(context: &mut Context<'_, '_>, pairs: &BTreeMap<Arc<str>, Arc<str>>) {
    for (key, value) in pairs {
        context.print(format!("{key}={value}"));
    }
}
