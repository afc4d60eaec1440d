//! Static routes: `lr-route-*`.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use nb_db::tables::{LogicalRouter, LogicalRouterPort, LogicalRouterStaticRoute};
use northbound::Draft;
use northbound::find::{find, find_if_any, name_of};
use northbound::route::{
    AddRouteError, NewRoute, NextHop, Prefix, RouteFilter, RoutePolicy, Watch, add_route,
    clear_routes, delete_routes, find_session, is_learned, list_routes, policy_of,
};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&[
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Router_Static_Route",
    "Logical_Router_Policy",
    "BFD",
]);

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

fn parse_prefix(text: &str) -> Outcome<Prefix> {
    match text.parse() {
        Ok(prefix) => Ok(prefix),
        Err(_) => fail(format!("bad prefix argument: {text}")),
    }
}

fn parse_policy(context: &Context<'_, '_>) -> Outcome<Option<RoutePolicy>> {
    match context.option("--policy") {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(policy) => Ok(Some(policy)),
            Err(_) => fail(format!("bad policy: {text}")),
        },
    }
}

/// An address, or the router port that a route leads straight out of.
fn parse_next_hop(draft: &Draft<'_>, text: &str, prefix: Prefix) -> Outcome<NextHop> {
    if text == "discard" {
        return Ok(NextHop::Discard);
    }
    if let Ok(ip) = text.parse() {
        return Ok(NextHop::Ip(ip));
    }
    match find_if_any::<LogicalRouterPort>(draft, text)? {
        Some(port) => Ok(NextHop::Port(name_of::<LogicalRouterPort>(draft, port))),
        None => Err(AddRouteError::Family {
            family: prefix.family(),
            next_hop: text.into(),
        }
        .into()),
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let invocation = context.invocation;
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let policy = parse_policy(context)?;
    let prefix = parse_prefix(context.arg(1))?;
    let mut new = NewRoute {
        prefix,
        policy,
        next_hop: parse_next_hop(context.draft, context.arg(2), prefix)?,
        output_port: context.arg_if_any(3).map(Arc::from),
        table: "",
        watch: None,
        is_ecmp: context.has("--ecmp"),
        is_symmetric: context.has("--ecmp-symmetric-reply"),
    };
    new.check()?;
    if let Some(port) = &new.output_port {
        let port = find::<LogicalRouterPort>(context.draft, port)?;
        new.output_port = Some(name_of::<LogicalRouterPort>(context.draft, port));
    }
    let option = |name: &str| invocation.options.get(name)?.as_deref();
    new.table = option("--route-table").unwrap_or_default();
    if context.has("--bfd") {
        new.watch = Some(match option("--bfd") {
            None => Watch::Any,
            _ if new.next_hop == NextHop::Discard => Watch::Any,
            Some(text) => Watch::Session(find_session(context.draft, text)?),
        });
    }
    let may_exist = context.has("--may-exist");
    match add_route(context.draft, router, &new, may_exist) {
        Err(AddRouteError::Exists { prefix, policy }) => fail(format!(
            "duplicate prefix: {prefix} (policy: {policy}). Use option --ecmp to allow this for ECMP \
             routing."
        )),
        added => Ok(added.map(|_| ())?),
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let invocation = context.invocation;
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let policy = parse_policy(context)?;
    let prefix = context.arg_if_any(1).map(parse_prefix).transpose()?;
    let argument = |index: usize| invocation.arguments.get(index).map(String::as_str);
    let next_hop = match argument(2) {
        None => None,
        Some("discard") => Some(NextHop::Discard),
        Some(text) => match text.parse() {
            Ok(ip) => Some(NextHop::Ip(ip)),
            Err(_) => return fail(format!("bad nexthop argument: {text}")),
        },
    };
    let table = invocation.options.get("--route-table");
    let table = table.and_then(|text| text.as_deref()).unwrap_or_default();
    if policy.is_none() && prefix.is_none() {
        // All routes of all tables are meant, whatever else is said.
        return Ok(clear_routes(context.draft, router)?);
    }
    let filter = RouteFilter {
        policy,
        prefix,
        next_hop: next_hop.as_ref(),
        output_port: argument(3),
        table: Some(table),
    };
    let count = delete_routes(context.draft, router, &filter)?;
    if count == 0 && !context.has("--if-exists") {
        return fail(format!(
            "no matching route: policy '{}', prefix '{}', nexthop '{}', output_port '{}'.",
            policy.map_or("any", RoutePolicy::as_str),
            prefix.map_or_else(|| "any".to_owned(), |prefix| prefix.to_string()),
            argument(2).unwrap_or("any"),
            filter.output_port.unwrap_or("any")
        ));
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
    let router = find::<LogicalRouter>(context.draft, context.arg(0))?;
    let mut routes = list_routes(context.draft, router);
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
    if is_learned(route) {
        line.push_str(" (learned)");
    }
    if is_ecmp {
        line.push_str(" ecmp");
    }
    if ovsdb::truth(route.options.get("ecmp_symmetric_reply"), false) {
        line.push_str(" ecmp-symmetric-reply");
    }
    if route.bfd.is_some() {
        line.push_str(" bfd");
    }
    line
}
