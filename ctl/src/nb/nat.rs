//! Address translation: `lr-nat-*`.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, Mac};
use nb_db::tables::{AddressSet, LogicalRouter, LogicalRouterPort, LogicalSwitchPort, Nat};
use northbound::find::{find, name_of};
use northbound::nat::{
    AddNatError, LogicalIp, NatFilter, NatType, NewNat, Outside, RestrictNatError, add_nat,
    delete_nats, list_nats, restrict_nat,
};
use northbound::route::Prefix;
use northbound::values::Spelled;
use ovsdb::Table;

use super::arguments::{parse_priority, warn_of_unknown_names};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const NAMES: &[&str] = &[
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Switch_Port",
    "NAT",
    "Address_Set",
];
const TABLES: Tables = Tables::Fixed(NAMES);

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
            tables: Tables::Match(NAMES, |invocation| {
                invocation.options.get("--match")?.as_deref()
            }),
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
        Command {
            name: "lr-nat-update-ext-ip",
            arguments: "ROUTER TYPE IP ADDRESSSET",
            options: &["--is-exempted"],
            help: "do a translation only for those outside in ADDRESSSET, or with --is-exempted for all others",
            tables: TABLES,
            run: restrict,
        },
    ],
};

fn parse_type(text: &str) -> Outcome<NatType> {
    match text.parse() {
        Ok(nat_type) => Ok(nat_type),
        Err(_) => fail(format!(
            "{text}: type must be one of \"dnat\", \"snat\" and \"dnat_and_snat\"."
        )),
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let nat_type = parse_type(context.arg(1))?;
    let external = context.arg(2);
    let Ok(external_ip) = external.parse::<Spelled<IpAddr>>() else {
        return fail(format!("{external}: Not a valid IPv4 or IPv6 address."));
    };
    let new = parse(context, nat_type, &external_ip)?;
    let may_exist = context.has("--may-exist");
    let gateway = context.invocation.options.get("--gateway-port");
    let gateway = gateway.and_then(|text| text.as_deref()).unwrap_or_default();
    match add_nat(context.draft, router, &new, may_exist) {
        Err(AddNatError::OtherRouter) => fail(format!(
            "{gateway} is not a router port of logical router: {}.",
            context.arg(0)
        )),
        Err(AddNatError::NoGateway) => fail(format!(
            "{gateway} is not a distributed gateway router port."
        )),
        Err(AddNatError::Undetermined) => fail(format!(
            "logical router: {} has multiple distributed gateway ports and gateway_port can not be determined from \
             external IP of NAT rule.",
            context.arg(0)
        )),
        added => {
            added?;
            warn_of_unknown_names(context, new.matches);
            Ok(())
        }
    }
}

/// The rule that the arguments and options describe.
fn parse<'c>(
    context: &Context<'c, '_>,
    nat_type: NatType,
    external_ip: &'c Spelled<IpAddr>,
) -> Outcome<NewNat<'c>> {
    let invocation = context.invocation;
    let logical_ip = LogicalIp::parse(context.arg(3), *external_ip.value(), nat_type)?;
    let mut rest = invocation.arguments.get(4..).unwrap_or_default();
    let mut external_ports = None;
    if context.has("--portrange") {
        let Some((range, before)) = rest.split_last() else {
            return fail("lr-nat-add with --portrange must also specify a port range.");
        };
        let Ok(ports) = range.parse() else {
            return fail(format!("invalid port range {range}."));
        };
        external_ports = Some(ports);
        rest = before;
    }
    let distributed = match rest {
        [] => None,
        [port, mac] => {
            if nat_type != NatType::DnatAndSnat {
                return Err(AddNatError::Distributed.into());
            }
            find::<LogicalSwitchPort>(context.draft, port)?;
            let Ok(mac) = mac.parse::<Spelled<Mac>>() else {
                return fail(format!("invalid mac address {mac}."));
            };
            Some((port.as_str(), mac))
        }
        _ => return fail("lr-nat-add with logical_port must also specify external_mac."),
    };
    let mut new = NewNat {
        nat_type,
        external_ip,
        logical_ip,
        external_ports,
        distributed,
        is_stateless: context.has("--stateless"),
        add_route: context.has("--add-route"),
        gateway_port: None,
        priority: None,
        matches: "",
    };
    new.check()?;
    let option = |name: &str| invocation.options.get(name)?.as_deref();
    if let Some(port) = option("--gateway-port") {
        new.gateway_port = Some(find::<LogicalRouterPort>(context.draft, port)?);
    }
    if let Some(priority) = option("--priority") {
        new.priority = Some(parse_priority(priority)?);
    }
    new.matches = option("--match").unwrap_or_default();
    Ok(new)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let nat_type = context.arg_if_any(1).map(parse_type).transpose()?;
    // The second of two may be left out, and then the first is what it looks like.
    let arguments = &context.invocation.arguments;
    let (ip, port) = match arguments.get(2..).unwrap_or_default() {
        [] => (None, None),
        [only] if only.parse::<Cidr>().is_ok() => (Some(only.as_str()), None),
        [only] => (None, Some(only.as_str())),
        [ip, port, ..] => (Some(ip.as_str()), Some(port.as_str())),
    };
    let gateway_port = match port {
        None => None,
        Some(port) => Some(find::<LogicalRouterPort>(context.draft, port)?),
    };
    let ip = match ip {
        None => None,
        Some(text) => match text.parse::<Cidr>() {
            Ok(cidr) => Some(cidr),
            Err(_) => return fail(format!("{text}: Invalid IP address or CIDR")),
        },
    };
    let matches = context.invocation.options.get("--match");
    let filter = NatFilter {
        nat_type,
        ip,
        gateway_port,
        matches: matches.and_then(|text| text.as_deref()),
    };
    let count = delete_nats(context.draft, router, &filter)?;
    match (nat_type, ip, port) {
        (Some(nat_type), Some(ip), Some(port)) if count == 0 && !context.has("--if-exists") => {
            let column = if nat_type == NatType::Snat {
                "logical_ip"
            } else {
                "external_ip"
            };
            let ip = Prefix::from(ip);
            fail(format!(
                "no matching NAT with the type ({nat_type}), {column} ({ip}) and gateway_port ({port})"
            ))
        }
        _ => Ok(()),
    }
}

fn restrict(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let nat_type = parse_type(context.arg(1))?;
    let text = context.arg(2);
    let Ok(ip) = text.parse::<Cidr>() else {
        return fail(format!("{text}: Invalid IP address or CIDR"));
    };
    let addresses = find::<AddressSet>(context.draft, context.arg(3))?;
    let outside = if context.has("--is-exempted") {
        Outside::Exempted
    } else {
        Outside::Allowed
    };
    match restrict_nat(context.draft, router, (nat_type, ip), outside, addresses) {
        Err(RestrictNatError::NotFound { .. }) => fail(format!(
            "{nat_type}: Could not locate nat rule for: {}.",
            context.arg(2)
        )),
        done => Ok(done?),
    }
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let mut nats = list_nats(context.draft, router);
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
    // A server of an OVN that has no such column has tools that do not print it.
    let has_match = context
        .draft
        .before()
        .has_column(Nat::INDEX, Nat::COLUMN.r#match.index);
    let row = |cells: [&str; 8]| {
        let [nat_type, gateway, when, external, range, logical, mac, port] = cells;
        let when = match has_match {
            true => format!("{when:<22.18}"),
            false => String::new(),
        };
        format!(
            "{nat_type:<17.13}{gateway:<22.18}{when}{external:<19.15}{range:<17.13}{logical:<20.18}{mac:<21.17}{port}"
        )
        .trim_end()
        .to_owned()
    };
    context.print(row([
        "TYPE",
        "GATEWAY_PORT",
        "MATCH",
        "EXTERNAL_IP",
        "EXTERNAL_PORT",
        "LOGICAL_IP",
        "EXTERNAL_MAC",
        "LOGICAL_PORT",
    ]));
    for nat in &nats {
        let gateway = nat
            .gateway_port
            .map(|port| name_of::<LogicalRouterPort>(context.draft, port));
        context.print(row([
            &nat.r#type,
            gateway.as_deref().unwrap_or_default(),
            &nat.r#match,
            &nat.external_ip,
            &nat.external_port_range,
            &nat.logical_ip,
            nat.external_mac.as_deref().unwrap_or_default(),
            nat.logical_port.as_deref().unwrap_or_default(),
        ]));
    }
    Ok(())
}
