//! Settings of logical switch ports: `lsp-set-*` and `lsp-get-*`.

use std::sync::Arc;

use nb_db::tables::LogicalSwitchPort;
use northbound::address::{self, PortAddress};
use northbound::dhcp::find_dhcp_options;
use northbound::find::find;
use northbound::port_settings as settings;
use northbound::port_settings::PortType;
use northbound::values::Family as IpFamily;
use ovsdb::typed::ColumnValue;
use ovsdb::{Column, Uuid};

use super::arguments::{enabled_text, pairs, parse_enabled, print_pairs, shared};
use super::port::{OF_PORT, TABLES};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

/// A router's port has the addresses of the router's side.
const ADDRESS_TABLES: Tables = Tables::Fixed(&["Logical_Switch_Port", "Logical_Router_Port"]);

const DHCP_TABLES: Tables =
    Tables::Fixed(&["Logical_Switch", "Logical_Switch_Port", "DHCP_Options"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch port settings",
    commands: &[
        Command {
            name: "lsp-get-parent",
            arguments: "PORT",
            options: &[],
            help: "print the parent of PORT, if it has one",
            tables: OF_PORT,
            run: get_parent,
        },
        Command {
            name: "lsp-get-tag",
            arguments: "PORT",
            options: &[],
            help: "print the VLAN of PORT, if it has one",
            tables: OF_PORT,
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
            help: "print the addresses of PORT, for a router's port those of the router's side",
            tables: ADDRESS_TABLES,
            run: get_addresses,
        },
        Command {
            name: "lsp-set-port-security",
            arguments: "PORT [ADDRESSES]...",
            options: &[],
            help: "set what PORT may send from and receive for; nothing: anything",
            tables: OF_PORT,
            run: set_port_security,
        },
        Command {
            name: "lsp-get-port-security",
            arguments: "PORT",
            options: &[],
            help: "print what PORT may send from and receive for",
            tables: OF_PORT,
            run: get_port_security,
        },
        Command {
            name: "lsp-get-up",
            arguments: "PORT",
            options: &[],
            help: "print the state of PORT: up or down",
            tables: OF_PORT,
            run: get_up,
        },
        Command {
            name: "lsp-set-enabled",
            arguments: "PORT STATE",
            options: &[],
            help: "set the administrative state of PORT: enabled or disabled",
            tables: OF_PORT,
            run: set_enabled,
        },
        Command {
            name: "lsp-get-enabled",
            arguments: "PORT",
            options: &[],
            help: "print the administrative state of PORT",
            tables: OF_PORT,
            run: get_enabled,
        },
        Command {
            name: "lsp-set-type",
            arguments: "PORT TYPE [PEER]",
            options: &[],
            help: "set the type of PORT; for type switch with peer=PORT",
            tables: OF_PORT,
            run: set_type,
        },
        Command {
            name: "lsp-get-type",
            arguments: "PORT",
            options: &[],
            help: "print the type of PORT",
            tables: OF_PORT,
            run: get_type,
        },
        Command {
            name: "lsp-set-options",
            arguments: "PORT [KEY=VALUE]...",
            options: &[],
            help: "set the options of PORT",
            tables: OF_PORT,
            run: set_options,
        },
        Command {
            name: "lsp-get-options",
            arguments: "PORT",
            options: &[],
            help: "print the options of PORT",
            tables: OF_PORT,
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
    Ok(find::<LogicalSwitchPort>(context.draft, context.arg(0))?)
}

/// A column of the port that the first argument names.
fn get<V: ColumnValue>(context: &Context<'_, '_>, column: Column<V>) -> Outcome<V> {
    Ok(context
        .draft
        .get::<LogicalSwitchPort, V>(port(context)?, column))
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
    let texts = context.args_from(1).iter();
    let mut addresses: Vec<PortAddress> = Vec::new();
    let mut unusable = None;
    for text in texts {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(error) => {
                unusable = Some(error);
                break;
            }
        }
    }
    // Whatever comes first on the line is refused first.
    address::set_addresses(context.draft, port, &addresses)?;
    if let Some(error) = unusable {
        return Err(error.into());
    }
    for address in &addresses {
        if let Some(problem) = address.problem() {
            let warning = format!("{}: {problem}", address.text());
            context.warnings.push(warning);
        }
    }
    Ok(())
}

fn get_addresses(context: &mut Context<'_, '_>) -> Outcome {
    let addresses = address::list_addresses(context.draft, port(context)?);
    print_lines(context, addresses)
}

fn set_port_security(context: &mut Context<'_, '_>) -> Outcome {
    let entries = shared(context.args_from(1));
    for entry in &entries {
        if let Err(problem) = entry.parse::<addr::PortSecurity>() {
            context.warnings.push(format!("{entry}: {problem}"));
        }
    }
    let port = port(context)?;
    settings::set_port_security(context.draft, port, &entries)?;
    Ok(())
}

fn get_port_security(context: &mut Context<'_, '_>) -> Outcome {
    let entries = get(context, LogicalSwitchPort::COLUMN.port_security)?;
    print_lines(context, entries)
}

fn get_up(context: &mut Context<'_, '_>) -> Outcome {
    let up = settings::is_port_up(context.draft, port(context)?);
    context.print(if up { "up" } else { "down" });
    Ok(())
}

fn set_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let enabled = parse_enabled(context.arg(1))?;
    settings::set_port_enabled(context.draft, port, enabled)?;
    Ok(())
}

fn get_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let enabled = settings::is_port_enabled(context.draft, port(context)?);
    context.print(enabled_text(enabled));
    Ok(())
}

fn set_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let Ok(port_type) = context.arg(1).parse::<PortType>() else {
        return fail(format!(
            "Logical switch port type '{}' is unrecognized. Not setting type.",
            context.arg(1)
        ));
    };
    let peer = match context.arg_if_any(2) {
        None => None,
        Some(peer) => match peer.strip_prefix("peer=") {
            Some(peer) if port_type == PortType::Switch && !peer.is_empty() => {
                Some(peer.to_owned())
            }
            Some(_) => return fail("peer=PORT goes with type switch only, and needs a port"),
            None => return fail(format!("{peer}: only peer=PORT can follow the type")),
        },
    };
    settings::set_port_type(context.draft, port, port_type, peer.as_deref())?;
    Ok(())
}

fn get_type(context: &mut Context<'_, '_>) -> Outcome {
    let port_type = get(context, LogicalSwitchPort::COLUMN.r#type)?;
    context.print(port_type);
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let options = pairs(context, 1);
    let port = port(context)?;
    settings::set_port_options(context.draft, port, &options)?;
    Ok(())
}

fn get_options(context: &mut Context<'_, '_>) -> Outcome {
    let options = get(context, LogicalSwitchPort::COLUMN.options)?;
    print_pairs(context, &options);
    Ok(())
}

fn set_dhcpv4_options(context: &mut Context<'_, '_>) -> Outcome {
    set_dhcp_options(context, IpFamily::Ipv4)
}

fn set_dhcpv6_options(context: &mut Context<'_, '_>) -> Outcome {
    set_dhcp_options(context, IpFamily::Ipv6)
}

fn set_dhcp_options(context: &mut Context<'_, '_>, family: IpFamily) -> Outcome {
    let port = port(context)?;
    let options = match context.arg_if_any(1) {
        None => None,
        Some(text) => Some(find_dhcp_options(context.draft, text)?),
    };
    settings::set_dhcp_options(context.draft, port, family, options)?;
    Ok(())
}

fn get_dhcpv4_options(context: &mut Context<'_, '_>) -> Outcome {
    get_dhcp_options(context, IpFamily::Ipv4)
}

fn get_dhcpv6_options(context: &mut Context<'_, '_>) -> Outcome {
    get_dhcp_options(context, IpFamily::Ipv6)
}

fn get_dhcp_options(context: &mut Context<'_, '_>, family: IpFamily) -> Outcome {
    let options = settings::dhcp_options(context.draft, port(context)?, family);
    if let Some((uuid, cidr)) = options {
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
