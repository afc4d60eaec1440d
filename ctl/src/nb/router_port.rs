//! Logical router ports: `lrp-*`.

use std::cmp::Reverse;
use std::sync::Arc;

use addr::Mac;
use nb_db::tables::{GatewayChassis, LogicalRouter, LogicalRouterPort};
use ovsdb::Uuid;

use super::find;
use super::port_settings::{pairs, parse_enabled};
use crate::command::{Command, Context, Family, Tables};
use crate::data::Draft;
use crate::error::{Outcome, fail};
use crate::generic::{parse_places, set_column};

const TABLES: Tables = Tables::Fixed(&["Logical_Router", "Logical_Router_Port", "Gateway_Chassis"]);

const MAX_PRIORITY: i64 = 32_767;

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

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let arguments = &context.invocation.arguments;
    let (name, mac) = (arguments[1].as_str(), arguments[2].as_str());
    let split = arguments[3..].iter().position(|word| word.contains('='));
    let settings_from = split.map_or(arguments.len(), |position| position + 3);
    let (networks, settings) = (&arguments[3..settings_from], &arguments[settings_from..]);
    let table = context.draft.table_of::<LogicalRouterPort>()?;
    let schema = context.draft.table_schema(table);
    let places = parse_places(context.draft.snapshot(), schema, settings)?;
    let router = find::router(context.draft, &arguments[0])?;
    if mac.parse::<Mac>().is_err() {
        return fail(format!("{name}: invalid mac address {mac}"));
    }
    let mut networks: Vec<Arc<str>> = networks
        .iter()
        .map(|network| Arc::from(network.as_str()))
        .collect();
    networks.sort_unstable();
    networks.dedup();
    if let Some(port) = find::router_port_if_any(context.draft, name)? {
        if !context.has("--may-exist") {
            return fail(format!("{name}: a port with this name already exists"));
        }
        let peer = settings
            .iter()
            .find_map(|setting| setting.strip_prefix("peer="));
        return check_same(context.draft, router, port, (name, mac, &networks, peer));
    }
    for network in &networks {
        if network.parse::<addr::Cidr>().is_err() {
            let warning = format!("{network}: not an address with a prefix length");
            context.warnings.push(warning);
        }
    }
    let column = LogicalRouterPort::COLUMN;
    let draft = &mut *context.draft;
    let port = draft.insert::<LogicalRouterPort>()?;
    draft.set::<LogicalRouterPort, _>(port, column.name, &Arc::from(name))?;
    draft.set::<LogicalRouterPort, _>(port, column.mac, &Arc::from(mac))?;
    draft.set::<LogicalRouterPort, _>(port, column.networks, &networks)?;
    for place in &places {
        set_column(draft, table, port, place)?;
    }
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports, &vec![port])
}

/// That the port that is there is the one that was to be added: of this name, MAC, networks and peer.
fn check_same(
    draft: &Draft<'_>,
    router: Uuid,
    port: Uuid,
    (name, mac, networks, peer): (&str, &str, &Vec<Arc<str>>, Option<&str>),
) -> Outcome {
    let Some(actual) = draft.typed::<LogicalRouterPort>(port) else {
        return Ok(());
    };
    let exists = format!("{name}: port already exists");
    let actual_router = find::router_of_port(draft, port)?;
    if actual_router != router {
        let actual = draft.get::<LogicalRouter, _>(actual_router, LogicalRouter::COLUMN.name);
        return fail(format!("{exists} but in router {actual}"));
    }
    if actual.mac.parse::<Mac>().ok() != mac.parse().ok() {
        return fail(format!("{exists} with mac {}", actual.mac));
    }
    if actual.networks != *networks {
        return fail(format!("{exists} with different network"));
    }
    if actual.peer.as_deref() != peer {
        return fail(format!("{exists} with mismatching peer"));
    }
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let port = if context.has("--if-exists") {
        find::router_port_if_any(context.draft, name)?
    } else {
        Some(find::router_port(context.draft, name)?)
    };
    let Some(port) = port else {
        return Ok(());
    };
    let router = find::router_of_port(context.draft, port)?;
    let ports = LogicalRouter::COLUMN.ports;
    context
        .draft
        .remove_from::<LogicalRouter, _>(router, ports, &vec![port])?;
    context.draft.delete::<LogicalRouterPort>(port)
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let ports = context
        .draft
        .get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports);
    let name = LogicalRouterPort::COLUMN.name;
    let mut ports: Vec<(Arc<str>, Uuid)> = ports
        .into_iter()
        .map(|port| (context.draft.get::<LogicalRouterPort, _>(port, name), port))
        .collect();
    ports.sort();
    for (name, port) in ports {
        context.print(format!("{port} ({name})"));
    }
    Ok(())
}

fn set_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let enabled = Some(parse_enabled(context.arg(1))?);
    let column = LogicalRouterPort::COLUMN.enabled;
    context
        .draft
        .set::<LogicalRouterPort, _>(port, column, &enabled)
}

fn get_enabled(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let column = LogicalRouterPort::COLUMN.enabled;
    let enabled = context
        .draft
        .get::<LogicalRouterPort, _>(port, column)
        .unwrap_or(true);
    context.print(if enabled { "enabled" } else { "disabled" });
    Ok(())
}

/// A priority of a rule or a chassis.
pub(super) fn parse_priority(text: &str) -> Outcome<i64> {
    match text.parse() {
        Ok(priority @ 0..=MAX_PRIORITY) => Ok(priority),
        _ => fail(format!("{text}: priority must in range 0...{MAX_PRIORITY}")),
    }
}

fn set_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let chassis: Arc<str> = context.arg(1).into();
    let priority = context.arg_if_any(2).map_or(Ok(0), parse_priority)?;
    let port_name = context
        .draft
        .get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.name);
    let name: Arc<str> = format!("{port_name}-{chassis}").into();
    let column = GatewayChassis::COLUMN;
    let draft = &mut *context.draft;
    let gateway = match draft.find::<GatewayChassis, _>(column.name, &name).first() {
        Some(gateway) => *gateway,
        None => {
            let gateway = draft.insert::<GatewayChassis>()?;
            draft.set::<GatewayChassis, _>(gateway, column.name, &name)?;
            draft.set::<GatewayChassis, _>(gateway, column.chassis_name, &chassis)?;
            gateway
        }
    };
    draft.set::<GatewayChassis, _>(gateway, column.priority, &priority)?;
    let gateways = LogicalRouterPort::COLUMN.gateway_chassis;
    draft.add_to::<LogicalRouterPort, _>(port, gateways, &vec![gateway])
}

/// The chassis that may host a port, highest priority first.
fn gateways(draft: &Draft<'_>, port: Uuid) -> Vec<GatewayChassis> {
    let column = LogicalRouterPort::COLUMN.gateway_chassis;
    let uuids = draft.get::<LogicalRouterPort, _>(port, column);
    let mut gateways: Vec<GatewayChassis> = uuids
        .into_iter()
        .filter_map(|uuid| draft.typed(uuid))
        .collect();
    gateways.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
    gateways
}

fn delete_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let chassis = context.arg(1);
    let all = gateways(context.draft, port);
    let Some(gateway) = all.iter().find(|gateway| *gateway.chassis_name == *chassis) else {
        let name = context
            .draft
            .get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.name);
        return fail(format!(
            "chassis {chassis} is not added to logical port {name}"
        ));
    };
    let gateways = LogicalRouterPort::COLUMN.gateway_chassis;
    context
        .draft
        .remove_from::<LogicalRouterPort, _>(port, gateways, &vec![gateway.uuid])?;
    context.draft.delete::<GatewayChassis>(gateway.uuid)
}

fn get_gateway_chassis(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    for gateway in gateways(context.draft, port) {
        context.print(format!("{} {:>5}", gateway.name, gateway.priority));
    }
    Ok(())
}

fn set_options(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let options = pairs(context, 1);
    let column = LogicalRouterPort::COLUMN.options;
    context
        .draft
        .set::<LogicalRouterPort, _>(port, column, &options)
}

fn set_redirect_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let redirect_type = context.arg(1);
    if !matches!(redirect_type, "overlay" | "bridged") {
        return fail(format!("Invalid redirect type: {redirect_type}"));
    }
    let redirect_type = redirect_type.into();
    let column = LogicalRouterPort::COLUMN.options;
    let mut options = context.draft.get::<LogicalRouterPort, _>(port, column);
    options.insert("redirect-type".into(), redirect_type);
    context
        .draft
        .rely_on::<LogicalRouterPort, _>(port, column)?;
    context
        .draft
        .set::<LogicalRouterPort, _>(port, column, &options)
}

fn get_redirect_type(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::router_port(context.draft, context.arg(0))?;
    let options = context
        .draft
        .get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.options);
    context.print(
        options
            .get("redirect-type")
            .map_or("overlay", |value| value),
    );
    Ok(())
}
