//! Static routes: `lr-route-*`.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use nb_db::tables::{Bfd, LogicalRouter, LogicalRouterPort, LogicalRouterStaticRoute};
use ovsdb::Uuid;

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::data::{Draft, lookup};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&[
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Router_Static_Route",
    "BFD",
]);

const DISCARD: &str = "discard";

/// The commands.
pub static FAMILY: Family = Family {
    title: "Route commands",
    commands: &[
        Command {
            name: "lr-route-add",
            arguments: "ROUTER PREFIX NEXTHOP [PORT]",
            options: &[
                "--may-exist",
                "--ecmp",
                "--ecmp-symmetric-reply",
                "--policy=",
                "--route-table=",
                "--bfd[=]",
            ],
            help: "add a route for PREFIX by way of NEXTHOP, or discard, to ROUTER",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lr-route-del",
            arguments: "ROUTER [PREFIX] [NEXTHOP] [PORT]",
            options: &["--if-exists", "--policy=", "--route-table="],
            help: "delete the routes of ROUTER, or those that match",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lr-route-list",
            arguments: "ROUTER",
            options: &["--route-table="],
            help: "print the routes of ROUTER",
            tables: TABLES,
            run: list,
        },
    ],
};

/// A prefix without host bits; one of full length is written as an address.
fn parse_prefix(text: &str) -> Outcome<(Cidr, Arc<str>)> {
    match text.parse::<Cidr>() {
        Ok(cidr) => {
            let network = cidr.network();
            let text = if network.is_host() {
                network.addr().to_string()
            } else {
                network.to_string()
            };
            Ok((network, text.into()))
        }
        Err(_) => fail(format!("bad prefix argument: {text}")),
    }
}

fn parse_policy<'a>(context: &'a Context<'_, '_>) -> Outcome<Option<&'a str>> {
    match context.option("--policy") {
        None => Ok(None),
        Some(policy @ ("dst-ip" | "src-ip")) => Ok(Some(policy)),
        Some(other) => fail(format!("bad policy: {other}")),
    }
}

/// What the route is looked up by.
fn policy_of(route: &LogicalRouterStaticRoute) -> &str {
    route.policy.as_deref().unwrap_or("dst-ip")
}

fn routes(draft: &Draft<'_>, router: Uuid) -> Vec<LogicalRouterStaticRoute> {
    let column = LogicalRouter::COLUMN.static_routes;
    let uuids = draft.get::<LogicalRouter, _>(router, column);
    uuids
        .into_iter()
        .filter_map(|uuid| draft.typed(uuid))
        .collect()
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let policy: Option<Arc<str>> = parse_policy(context)?.map(Arc::from);
    let (network, ip_prefix) = parse_prefix(context.arg(1))?;
    let nexthop: Arc<str> = context.arg(2).into();
    let port = context.arg_if_any(3);
    if &*nexthop == DISCARD {
        if port.is_some() {
            return fail("outport is not valid for discard routes.");
        }
    } else if !nexthop
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_ipv4() == network.is_ipv4())
    {
        let family = if network.is_ipv4() { "IPv4" } else { "IPv6" };
        return fail(format!("bad {family} nexthop argument: {nexthop}"));
    }
    let output_port = match port {
        None => None,
        Some(port) => {
            let port = find::router_port(context.draft, port)?;
            Some(
                context
                    .draft
                    .get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.name),
            )
        }
    };
    let is_symmetric = context.has("--ecmp-symmetric-reply");
    let is_ecmp = context.has("--ecmp") || is_symmetric;
    let may_exist = context.has("--may-exist");
    let route_table: Arc<str> = context.option("--route-table").unwrap_or_default().into();
    let lookup_key = policy.as_deref().unwrap_or("dst-ip");
    let mut same = routes(context.draft, router);
    same.retain(|route| {
        route.ip_prefix == ip_prefix
            && policy_of(route) == lookup_key
            && route.route_table == route_table
    });
    if let Some(existing) = same.first().filter(|_| !is_ecmp) {
        if !may_exist {
            return fail(format!(
                "duplicate prefix: {ip_prefix} (policy: {lookup_key}). Use option --ecmp to allow this for ECMP \
                 routing."
            ));
        }
        return write(context, existing.uuid, &nexthop, &output_port);
    }
    let is_duplicate = |route: &LogicalRouterStaticRoute| {
        (&route.nexthop, &route.output_port) == (&nexthop, &output_port)
    };
    if same.iter().any(is_duplicate) {
        if may_exist {
            return Ok(());
        }
        return fail("duplicate nexthop for the same ECMP route");
    }
    let column = LogicalRouterStaticRoute::COLUMN;
    let route = context.draft.insert::<LogicalRouterStaticRoute>()?;
    write(context, route, &nexthop, &output_port)?;
    let draft = &mut *context.draft;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.ip_prefix, &ip_prefix)?;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.policy, &policy)?;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.route_table, &route_table)?;
    if is_symmetric {
        let options = [(Arc::from("ecmp_symmetric_reply"), Arc::from("true"))].into();
        draft.set::<LogicalRouterStaticRoute, _>(route, column.options, &options)?;
    }
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.static_routes, &vec![route])
}

/// Writes where a route leads, and the session that watches it.
fn write(
    context: &mut Context<'_, '_>,
    route: Uuid,
    nexthop: &Arc<str>,
    output_port: &Option<Arc<str>>,
) -> Outcome {
    let column = LogicalRouterStaticRoute::COLUMN;
    let session = session(context, nexthop, output_port.as_ref())?;
    let draft = &mut *context.draft;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.nexthop, nexthop)?;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.output_port, output_port)?;
    if session.is_some() {
        draft.set::<LogicalRouterStaticRoute, _>(route, column.bfd, &session)?;
    }
    Ok(())
}

/// The BFD session that `--bfd` asks for: the one with that UUID, that of the next hop, or a new one on the port.
fn session(
    context: &mut Context<'_, '_>,
    nexthop: &Arc<str>,
    port: Option<&Arc<str>>,
) -> Outcome<Option<Uuid>> {
    if !context.has("--bfd") {
        return Ok(None);
    }
    let column = Bfd::COLUMN;
    if let Some(text) = context.option("--bfd") {
        let table = context.draft.table_of::<Bfd>()?;
        return match lookup::parse_uuid(text) {
            Some(uuid) if context.draft.row(table, uuid).is_some() => Ok(Some(uuid)),
            _ => fail(format!("{text}: BFD session not found")),
        };
    }
    let draft = &mut *context.draft;
    for session in draft.find::<Bfd, _>(column.dst_ip, nexthop) {
        let logical_port = draft.get::<Bfd, _>(session, column.logical_port);
        if port.is_none_or(|port| *port == logical_port) {
            return Ok(Some(session));
        }
    }
    let Some(port) = port else {
        return fail("insert entry in the BFD table failed");
    };
    let session = draft.insert::<Bfd>()?;
    draft.set::<Bfd, _>(session, column.logical_port, port)?;
    draft.set::<Bfd, _>(session, column.dst_ip, nexthop)?;
    Ok(Some(session))
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let policy = parse_policy(context)?;
    let prefix = match context.arg_if_any(1) {
        None => None,
        Some(text) => Some(parse_prefix(text)?.1),
    };
    let (nexthop, port) = (context.arg_if_any(2), context.arg_if_any(3));
    let route_table = context.option("--route-table");
    let mut gone = routes(context.draft, router);
    gone.retain(|route| {
        policy.is_none_or(|policy| policy == policy_of(route))
            && prefix
                .as_ref()
                .is_none_or(|prefix| *prefix == route.ip_prefix)
            && nexthop.is_none_or(|nexthop| *nexthop == *route.nexthop)
            && port.is_none_or(|port| route.output_port.as_deref() == Some(port))
            && route_table.is_none_or(|table| *table == *route.route_table)
    });
    let is_selective = policy.is_some() || prefix.is_some();
    if gone.is_empty() && is_selective && !context.has("--if-exists") {
        return fail(format!(
            "no matching route: policy '{}', prefix '{}', nexthop '{}', output_port '{}'.",
            policy.unwrap_or("any"),
            prefix.as_deref().unwrap_or("any"),
            nexthop.unwrap_or("any"),
            port.unwrap_or("any")
        ));
    }
    let uuids: Vec<Uuid> = gone.iter().map(|route| route.uuid).collect();
    let column = LogicalRouter::COLUMN.static_routes;
    context
        .draft
        .remove_from::<LogicalRouter, _>(router, column, &uuids)?;
    for uuid in uuids {
        context.draft.delete::<LogicalRouterStaticRoute>(uuid)?;
    }
    Ok(())
}

/// The order in which routes are printed: by table, lookup key, falling prefix length, prefix, next hop.
fn order(route: &LogicalRouterStaticRoute) -> (bool, Arc<str>, bool, u8, Option<IpAddr>, Arc<str>) {
    let cidr = route.ip_prefix.parse::<Cidr>().ok();
    (
        cidr.is_some_and(|cidr| !cidr.is_ipv4()),
        Arc::clone(&route.route_table),
        policy_of(route) == "src-ip",
        u8::MAX - cidr.map_or(0, Cidr::prefix_len),
        cidr.map(Cidr::addr),
        Arc::clone(&route.nexthop),
    )
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let router = find::router(context.draft, context.arg(0))?;
    let mut routes = routes(context.draft, router);
    if let Some(table) = context.option("--route-table") {
        routes.retain(|route| *route.route_table == *table);
    }
    routes.sort_by_key(order);
    let is_ipv6 = |route: &LogicalRouterStaticRoute| order(route).0;
    for family in routes.chunk_by(|a, b| is_ipv6(a) == is_ipv6(b)) {
        if is_ipv6(&family[0]) && !is_ipv6(&routes[0]) {
            context.print("");
        }
        context.print(if is_ipv6(&family[0]) {
            "IPv6 Routes"
        } else {
            "IPv4 Routes"
        });
        let tables = family.chunk_by(|a, b| a.route_table == b.route_table);
        for (index, table) in tables.enumerate() {
            if index > 0 {
                context.print("");
            }
            let name = match &*table[0].route_table {
                "" => "<main>",
                name => name,
            };
            context.print(format!("Route Table {name}:"));
            for route in table {
                let is_same = |other: &&LogicalRouterStaticRoute| {
                    other.ip_prefix == route.ip_prefix && policy_of(other) == policy_of(route)
                };
                let is_ecmp = table.iter().filter(is_same).count() > 1;
                context.print(line(route, is_ecmp));
            }
        }
    }
    Ok(())
}

fn line(route: &LogicalRouterStaticRoute, is_ecmp: bool) -> String {
    let mut line = format!(
        "{:>25} {:>25} {}",
        route.ip_prefix,
        route.nexthop,
        policy_of(route)
    );
    if let Some(port) = &route.output_port {
        line.push_str(&format!(" {port}"));
    }
    if route.external_ids.contains_key("ic-learned-route") {
        line.push_str(" (learned)");
    }
    if is_ecmp {
        line.push_str(" ecmp");
    }
    if route
        .options
        .get("ecmp_symmetric_reply")
        .is_some_and(|value| &**value == "true")
    {
        line.push_str(" ecmp-symmetric-reply");
    }
    if route.bfd.is_some() {
        line.push_str(" bfd");
    }
    line
}
