//! Logical router ports: `lrp-*`.

use addr::Cidr;
use nb_db::tables::{LogicalRouter, LogicalRouterPort};
use northbound::Draft;
use northbound::find::{find, find_if_any, with_names};
use northbound::router_port::{self, AddRouterPortError, NewRouterPort, RedirectType};
use northbound::values::{Priority, Spelled};
use ovsdb::Uuid;

use super::arguments::{enabled_text, pairs, parse_enabled, parse_priority, print_named};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use crate::generic::{parse_places, set_column};

const TABLES: Tables = Tables::Fixed(&["Logical_Router", "Logical_Router_Port", "Gateway_Chassis"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical router port commands",
    commands: &[
        Command {
            name: "lrp-add",
            arguments: "ROUTER PORT MAC [NETWORK|COLUMN[:KEY]=VALUE]...",
            options: &["--may-exist"],
            help: "add PORT with Ethernet address MAC and the given networks to ROUTER, and set further columns",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lrp-del",
            arguments: "PORT",
            options: &["--if-exists"],
            help: "delete PORT from its router",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lrp-list",
            arguments: "ROUTER",
            options: &[],
            help: "print the names of all ports of ROUTER",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "lrp-set-enabled",
            arguments: "PORT STATE",
            options: &[],
            help: "set the administrative state of PORT: enabled or disabled",
            tables: TABLES,
            run: set_enabled,
        },
        Command {
            name: "lrp-get-enabled",
            arguments: "PORT",
            options: &[],
            help: "print the administrative state of PORT",
            tables: TABLES,
            run: get_enabled,
        },
        Command {
            name: "lrp-set-gateway-chassis",
            arguments: "PORT CHASSIS [PRIORITY]",
            options: &["--may-exist"],
            help: "let CHASSIS host the gateway port PORT; the living chassis of highest PRIORITY does",
            tables: TABLES,
            run: set_gateway_chassis,
        },
        Command {
            name: "lrp-del-gateway-chassis",
            arguments: "PORT CHASSIS",
            options: &[],
            help: "do not let CHASSIS host PORT any more",
            tables: TABLES,
            run: delete_gateway_chassis,
        },
        Command {
            name: "lrp-get-gateway-chassis",
            arguments: "PORT",
            options: &[],
            help: "print the chassis that may host PORT, and their priorities",
            tables: TABLES,
            run: get_gateway_chassis,
        },
        Command {
            name: "lrp-set-options",
            arguments: "PORT [KEY=VALUE]...",
            options: &[],
            help: "set the options of PORT",
            tables: TABLES,
            run: set_options,
        },
        Command {
            name: "lrp-set-redirect-type",
            arguments: "PORT TYPE",
            options: &[],
            help: "set how packets reach the chassis that hosts PORT: overlay or bridged",
            tables: TABLES,
            run: set_redirect_type,
        },
        Command {
            name: "lrp-get-redirect-type",
            arguments: "PORT",
            options: &[],
            help: "print how packets reach the chassis that hosts PORT",
            tables: TABLES,
            run: get_redirect_type,
        },
    ],
};

fn port(context: &Context<'_, '_>) -> Outcome<Uuid> {
    Ok(find::<LogicalRouterPort>(context.draft, context.arg(0))?)
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let arguments = &context.invocation.arguments;
    let (name, mac) = (arguments[1].as_str(), arguments[2].as_str());
    let split = arguments[3..].iter().position(|word| word.contains('='));
    let settings_from = split.map_or(arguments.len(), |position| position + 3);
    let (networks, settings) = (&arguments[3..settings_from], &arguments[settings_from..]);
    let table = context.draft.table_of::<LogicalRouterPort>()?;
    let places = parse_places(context.draft.before(), table, settings)?;
    let router = find::<LogicalRouter>(context.draft, &arguments[0])?;
    let Ok(mac) = mac.parse() else {
        return fail(format!("{name}: invalid mac address {mac}"));
    };
    let mut settings = settings.iter();
    let may_exist = context.has("--may-exist");
    let networks = parse_networks(context.draft, name, networks, may_exist)?;
    let new = NewRouterPort {
        name,
        mac: &mac,
        networks: &networks,
        peer: settings.find_map(|setting| setting.strip_prefix("peer=")),
    };
    let made = router_port::add_router_port(context.draft, router, &new, may_exist)?;
    if !made.is_new {
        return Ok(());
    }
    for place in &places {
        set_column(context.draft, context.symbols, table, made.uuid, place)?;
    }
    Ok(())
}

/// The networks of a port to be added. What is none is refused after a port that is there already, as in ovn-nbctl.
fn parse_networks(
    draft: &Draft<'_>,
    name: &str,
    texts: &[String],
    may_exist: bool,
) -> Outcome<Vec<Spelled<Cidr>>> {
    let mut networks = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(_) => {
                let exists = find_if_any::<LogicalRouterPort>(draft, name)?.is_some();
                return match (exists, may_exist) {
                    (true, false) => Err(AddRouterPortError::Exists(name.to_owned()).into()),
                    (true, true) => fail(format!("{name}: Invalid networks configured")),
                    (false, _) => fail(format!("{name}: invalid network address: {text}")),
                };
            }
        }
    }
    Ok(networks)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let port = if context.has("--if-exists") {
        find_if_any::<LogicalRouterPort>(context.draft, context.arg(0))?
    } else {
        Some(port(context)?)
    };
    if let Some(port) = port {
        router_port::delete_router_port(context.draft, port)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let column = LogicalRouter::COLUMN.ports;
    let ports = context.draft.get::<LogicalRouter, _>(router, column);
    let ports = with_names::<LogicalRouterPort>(context.draft, ports);
    print_named(context, ports);
    Ok(())
}

fn set_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let enabled = parse_enabled(context.arg(1))?;
    router_port::set_router_port_enabled(context.draft, port, enabled)?;
    Ok(())
}

fn get_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let enabled = router_port::is_router_port_enabled(context.draft, port(context)?);
    context.print(enabled_text(enabled));
    Ok(())
}

fn set_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let chassis = &context.invocation.arguments[1];
    let priority = match context.arg_if_any(2) {
        None => Priority::default(),
        Some(text) => parse_priority(text)?,
    };
    router_port::set_gateway_chassis(context.draft, port, chassis, priority)?;
    Ok(())
}

fn delete_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let chassis = &context.invocation.arguments[1];
    router_port::delete_gateway_chassis(context.draft, port, chassis)?;
    Ok(())
}

fn get_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    for gateway in router_port::list_gateway_chassis(context.draft, port) {
        context.print(format!("{} {:>5}", gateway.name, gateway.priority));
    }
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let options = pairs(context, 1);
    router_port::set_router_port_options(context.draft, port, &options)?;
    Ok(())
}

fn set_redirect_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let word = context.arg(1).to_ascii_lowercase();
    let Ok(redirect_type) = word.parse::<RedirectType>() else {
        return fail(format!("Invalid redirect type: {}", context.arg(1)));
    };
    router_port::set_redirect_type(context.draft, port, redirect_type)?;
    Ok(())
}

fn get_redirect_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = port(context)?;
    let options = context
        .draft
        .get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.options);
    let default = RedirectType::Overlay.as_str();
    context.print(options.get("redirect-type").map_or(default, |value| value));
    Ok(())
}
