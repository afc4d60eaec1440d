//! Address translation: `lr-nat-*`.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, Mac, PortRange};
use nb_db::tables::{LogicalRouter, LogicalRouterPort, Nat};
use ovsdb::Uuid;

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::data::Draft;
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&[
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Switch_Port",
    "NAT",
]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "NAT commands",
    commands: &[
        Command {
            name: "lr-nat-add",
            arguments: "ROUTER TYPE EXTERNALIP LOGICALIP [PORT] [EXTERNALMAC] [EXTERNALPORTRANGE]",
            options: &[
                "--may-exist",
                "--stateless",
                "--portrange",
                "--add-route",
                "--gateway-port=",
                "--priority=",
                "--match=",
            ],
            help: "add a translation of TYPE snat, dnat or dnat_and_snat to ROUTER; with PORT and EXTERNALMAC, it is done where PORT is; a port range needs --portrange",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lr-nat-del",
            arguments: "ROUTER [TYPE] [IP] [GATEWAYPORT]",
            options: &["--if-exists", "--match="],
            help: "delete the translations of ROUTER, or those that match",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lr-nat-list",
            arguments: "ROUTER",
            options: &[],
            help: "print the translations of ROUTER",
            tables: TABLES,
            run: list,
        },
    ],
};

fn check_type(text: &str) -> Outcome {
    if matches!(text, "dnat" | "snat" | "dnat_and_snat") {
        return Ok(());
    }
    fail(format!(
        "{text}: type must be one of \"dnat\", \"snat\" and \"dnat_and_snat\"."
    ))
}

/// The inside address; of `snat` it may be a prefix, which is written without host bits.
fn parse_logical_ip(text: &str, external: IpAddr, is_snat: bool) -> Outcome<Arc<str>> {
    let same_family = |cidr: &Cidr| cidr.is_ipv4() == external.is_ipv4();
    let parsed = text.parse::<Cidr>().ok().filter(same_family);
    match parsed {
        Some(cidr) if cidr.is_host() => Ok(cidr.addr().to_string().into()),
        Some(cidr) if is_snat => Ok(cidr.network().to_string().into()),
        _ => {
            let family = if external.is_ipv4() { "IPv4" } else { "IPv6" };
            let or_network = if is_snat { " or network" } else { "" };
            fail(format!("{text}: Not a valid {family} address{or_network}."))
        }
    }
}

/// The rule that the arguments and options describe.
fn parse(context: &Context<'_, '_>) -> Outcome<Nat> {
    let (nat_type, external) = (context.arg(1), context.arg(2));
    check_type(nat_type)?;
    let Ok(external_ip) = external.parse::<IpAddr>() else {
        return fail(format!("{external}: Not a valid IPv4 or IPv6 address."));
    };
    let is_snat = nat_type == "snat";
    let mut nat = Nat {
        r#type: nat_type.into(),
        external_ip: external.into(),
        logical_ip: parse_logical_ip(context.arg(3), external_ip, is_snat)?,
        ..Nat::default()
    };
    let mut rest = context.args_from(4);
    if context.has("--portrange") {
        let Some((range, before)) = rest.split_last() else {
            return fail("lr-nat-add with --portrange must also specify a port range.");
        };
        if range.parse::<PortRange>().is_err() {
            return fail(format!("invalid port range {range}."));
        }
        nat.external_port_range = range.as_str().into();
        rest = before;
    }
    match rest {
        [] => {}
        [port, mac] => {
            if nat_type != "dnat_and_snat" {
                return fail(
                    "logical_port and external_mac are only valid when type is \"dnat_and_snat\".",
                );
            }
            find::port(context.draft, port)?;
            if mac.parse::<Mac>().is_err() {
                return fail(format!("invalid mac address {mac}."));
            }
            nat.logical_port = Some(port.as_str().into());
            nat.external_mac = Some(mac.as_str().into());
        }
        _ => return fail("lr-nat-add with logical_port must also specify external_mac."),
    }
    let is_stateless = context.has("--stateless");
    if is_stateless && nat_type != "dnat_and_snat" {
        return fail("stateless is not applicable to dnat or snat types");
    }
    nat.options
        .insert("stateless".into(), is_stateless.to_string().into());
    if context.has("--add-route") {
        nat.options.insert("add_route".into(), "true".into());
    }
    if let Some(port) = context.option("--gateway-port") {
        nat.gateway_port = Some(find::router_port(context.draft, port)?);
    }
    if let Some(priority) = context.option("--priority") {
        nat.priority = super::router_port::parse_priority(priority)?;
    }
    nat.r#match = context.option("--match").unwrap_or_default().into();
    Ok(nat)
}

fn nats(draft: &Draft<'_>, router: Uuid) -> Vec<Nat> {
    let uuids = draft.get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat);
    uuids
        .into_iter()
        .filter_map(|uuid| draft.typed(uuid))
        .collect()
}

/// What a rule is told from others of its type by: the inside for `snat`, else the outside.
fn key(nat: &Nat) -> (&'static str, &Arc<str>) {
    if &*nat.r#type == "snat" {
        ("logical_ip", &nat.logical_ip)
    } else {
        ("external_ip", &nat.external_ip)
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let nat = parse(context)?;
    let column = Nat::COLUMN;
    for other in nats(context.draft, router) {
        if other.r#type != nat.r#type
            || other.gateway_port != nat.gateway_port
            || other.r#match != nat.r#match
            || key(&other) != key(&nat)
        {
            continue;
        }
        let (what, address) = key(&nat);
        if (&other.external_ip, &other.logical_ip) != (&nat.external_ip, &nat.logical_ip) {
            return fail(format!(
                "a NAT with this type ({}), {what} ({address}) already exists",
                nat.r#type
            ));
        }
        if !context.has("--may-exist") {
            return fail(format!(
                "{}, {}: a NAT with this external_ip and logical_ip already exists",
                nat.external_ip, nat.logical_ip
            ));
        }
        let draft = &mut *context.draft;
        draft.set::<Nat, _>(other.uuid, column.logical_port, &nat.logical_port)?;
        return draft.set::<Nat, _>(other.uuid, column.external_mac, &nat.external_mac);
    }
    let draft = &mut *context.draft;
    let uuid = draft.insert::<Nat>()?;
    draft.set::<Nat, _>(uuid, column.r#type, &nat.r#type)?;
    draft.set::<Nat, _>(uuid, column.external_ip, &nat.external_ip)?;
    draft.set::<Nat, _>(uuid, column.logical_ip, &nat.logical_ip)?;
    draft.set::<Nat, _>(uuid, column.external_port_range, &nat.external_port_range)?;
    draft.set::<Nat, _>(uuid, column.logical_port, &nat.logical_port)?;
    draft.set::<Nat, _>(uuid, column.external_mac, &nat.external_mac)?;
    draft.set::<Nat, _>(uuid, column.options, &nat.options)?;
    draft.set::<Nat, _>(uuid, column.gateway_port, &nat.gateway_port)?;
    if !nat.r#match.is_empty() {
        draft.set::<Nat, _>(uuid, column.r#match, &nat.r#match)?;
    }
    if nat.priority != 0 {
        draft.set::<Nat, _>(uuid, column.priority, &nat.priority)?;
    }
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat, &vec![uuid])
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let nat_type = context.arg_if_any(1);
    if let Some(nat_type) = nat_type {
        check_type(nat_type)?;
    }
    // The second of two may be left out, and then the first is what it looks like.
    let (ip, port) = match context.args_from(2) {
        [] => (None, None),
        [only] if only.parse::<Cidr>().is_ok() => (Some(only.as_str()), None),
        [only] => (None, Some(only.as_str())),
        [ip, port, ..] => (Some(ip.as_str()), Some(port.as_str())),
    };
    let gateway_port = port
        .map(|port| find::router_port(context.draft, port))
        .transpose()?;
    let ip = match ip {
        None => None,
        Some(text) => match text.parse::<Cidr>() {
            Ok(cidr) => Some(cidr.network()),
            Err(_) => return fail(format!("{text}: Invalid IP address or CIDR")),
        },
    };
    let matches = context.option("--match");
    let mut gone = nats(context.draft, router);
    gone.retain(|nat| {
        let address = key(nat).1.parse::<Cidr>().map(Cidr::network);
        nat_type.is_none_or(|nat_type| *nat_type == *nat.r#type)
            && ip.is_none_or(|ip| address == Ok(ip))
            && gateway_port.is_none_or(|port| nat.gateway_port == Some(port))
            && matches.is_none_or(|matches| *matches == *nat.r#match)
    });
    if gone.is_empty() && ip.is_some() && gateway_port.is_some() && !context.has("--if-exists") {
        return fail("no matching NAT with the given type, address and gateway port");
    }
    let uuids: Vec<Uuid> = gone.iter().map(|nat| nat.uuid).collect();
    context
        .draft
        .remove_from::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat, &uuids)?;
    for uuid in uuids {
        context.draft.delete::<Nat>(uuid)?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let mut nats = nats(context.draft, router);
    if nats.is_empty() {
        return Ok(());
    }
    nats.sort_by(|a, b| {
        let order = |nat: &Nat| {
            (
                Arc::clone(&nat.r#type),
                nat.gateway_port,
                nat.external_ip.parse::<IpAddr>().ok(),
            )
        };
        order(a).cmp(&order(b))
    });
    let row = |cells: [&str; 7]| {
        let [nat_type, gateway, external, range, logical, mac, port] = cells;
        format!(
            "{nat_type:<17.13}{gateway:<22.18}{external:<19.15}{range:<17.13}{logical:<20.18}{mac:<21.17}{port}"
        )
        .trim_end()
        .to_owned()
    };
    context.print(row([
        "TYPE",
        "GATEWAY_PORT",
        "EXTERNAL_IP",
        "EXTERNAL_PORT",
        "LOGICAL_IP",
        "EXTERNAL_MAC",
        "LOGICAL_PORT",
    ]));
    for nat in &nats {
        let name = LogicalRouterPort::COLUMN.name;
        let gateway = nat
            .gateway_port
            .map(|port| context.draft.get::<LogicalRouterPort, _>(port, name));
        context.print(row([
            &nat.r#type,
            gateway.as_deref().unwrap_or_default(),
            &nat.external_ip,
            &nat.external_port_range,
            &nat.logical_ip,
            nat.external_mac.as_deref().unwrap_or_default(),
            nat.logical_port.as_deref().unwrap_or_default(),
        ]));
    }
    Ok(())
}
