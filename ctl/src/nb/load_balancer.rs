//! Load balancers, and which switches and routers they act on: `lb-*`, `ls-lb-*`, `lr-lb-*`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use nb_db::tables::{LoadBalancer, LogicalRouter, LogicalSwitch};
use ovsdb::typed::TableDefinition;
use ovsdb::{Column, Uuid};

use super::find;
use crate::command::{Command, Context, Family, Tables};
use crate::data::Draft;
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Load_Balancer", "Logical_Switch", "Logical_Router"]);

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The commands.
pub static FAMILY: Family = Family {
    title: "Load balancer commands",
    commands: &[
        Command {
            name: "lb-add",
            arguments: "LB VIP IPS [PROTOCOL] [FAMILY]",
            options: &[
                "--may-exist",
                "--add-duplicate",
                "--reject",
                "--event",
                "--add-route",
                "--template",
            ],
            help: "spread what goes to VIP, IP or IP:PORT, over the comma-separated IPS, in a load balancer named LB",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lb-del",
            arguments: "LB [VIP]",
            options: &["--if-exists"],
            help: "delete LB, or VIP from it",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lb-list",
            arguments: "[LB]",
            options: &[],
            help: "print the load balancers",
            tables: TABLES,
            run: list,
        },
        Command {
            name: "ls-lb-add",
            arguments: "SWITCH LB",
            options: &["--may-exist"],
            help: "let LB act on SWITCH",
            tables: TABLES,
            run: |context| attach(context, &SWITCHES),
        },
        Command {
            name: "ls-lb-del",
            arguments: "SWITCH [LB]",
            options: &["--if-exists"],
            help: "do not let LB, or any load balancer, act on SWITCH any more",
            tables: TABLES,
            run: |context| detach(context, &SWITCHES),
        },
        Command {
            name: "ls-lb-list",
            arguments: "SWITCH",
            options: &[],
            help: "print the load balancers that act on SWITCH",
            tables: TABLES,
            run: |context| list_attached(context, &SWITCHES),
        },
        Command {
            name: "lr-lb-add",
            arguments: "ROUTER LB",
            options: &["--may-exist"],
            help: "let LB act on ROUTER",
            tables: TABLES,
            run: |context| attach(context, &ROUTERS),
        },
        Command {
            name: "lr-lb-del",
            arguments: "ROUTER [LB]",
            options: &["--if-exists"],
            help: "do not let LB, or any load balancer, act on ROUTER any more",
            tables: TABLES,
            run: |context| detach(context, &ROUTERS),
        },
        Command {
            name: "lr-lb-list",
            arguments: "ROUTER",
            options: &[],
            help: "print the load balancers that act on ROUTER",
            tables: TABLES,
            run: |context| list_attached(context, &ROUTERS),
        },
    ],
};

/// `IP[:PORT]`, an IPv6 address in brackets if it has a port.
fn parse_endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(ip) = text.parse() {
        return Some((ip, None));
    }
    if let Some(ip) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        return Some((IpAddr::V6(ip.parse().ok()?), None));
    }
    let (ip, port) = text.rsplit_once(':')?;
    let ip = match ip.strip_prefix('[') {
        Some(ip) => IpAddr::V6(ip.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(ip.parse().ok()?),
    };
    Some((ip, Some(port.parse().ok().filter(|port| *port > 0)?)))
}

/// What the arguments of `lb-add` say.
struct Wanted {
    name: Arc<str>,
    vip: Arc<str>,
    backends: Arc<str>,
    /// The protocol, if it was given.
    protocol: Option<Arc<str>>,
    options: BTreeMap<Arc<str>, Arc<str>>,
}

fn parse(context: &Context<'_, '_>) -> Outcome<Wanted> {
    if context.has("--reject") && context.has("--event") {
        return fail("--reject and --event can't specified at the same time");
    }
    let (vip, ips) = (context.arg(1), context.arg(2));
    let protocol = context.arg_if_any(3);
    if let Some(protocol) = protocol
        && !PROTOCOLS.contains(&protocol)
    {
        return fail(format!(
            "{protocol}: protocol must be one of \"tcp\", \"udp\",  or \"sctp\"."
        ));
    }
    let is_template = context.has("--template");
    let mut options = BTreeMap::new();
    for (option, key) in [
        ("--reject", "reject"),
        ("--event", "event"),
        ("--add-route", "add_route"),
    ] {
        if context.has(option) {
            options.insert(Arc::from(key), Arc::from("true"));
        }
    }
    let backends = if is_template {
        let family = match context.arg_if_any(4) {
            None => "ipv4",
            Some(family @ ("ipv4" | "ipv6")) => family,
            Some(other) => {
                return fail(format!(
                    "{other}: address family must be \"ipv4\" or \"ipv6\"."
                ));
            }
        };
        options.insert("template".into(), "true".into());
        options.insert("address-family".into(), family.into());
        ips.to_owned()
    } else {
        let Some((vip_ip, port)) = parse_endpoint(vip) else {
            return fail(format!(
                "{vip}: should be an IP address (or an IP address and a port number with : as a separator)."
            ));
        };
        if port.is_none() && protocol.is_some() {
            return fail("Protocol is unnecessary when no port of vip is given.");
        }
        parse_backends(ips, vip, vip_ip, port.is_some())?
    };
    let protocol: Option<Arc<str>> = protocol.map(Arc::from);
    Ok(Wanted {
        name: context.arg(0).into(),
        vip: vip.into(),
        backends: backends.into(),
        protocol,
        options,
    })
}

fn parse_backends(ips: &str, vip: &str, vip_ip: IpAddr, has_port: bool) -> Outcome<String> {
    let mut backends = Vec::new();
    for backend in ips.split(',').filter(|backend| !backend.is_empty()) {
        let parsed = parse_endpoint(backend).filter(|(_, port)| port.is_some() == has_port);
        let Some((ip, _)) = parsed else {
            let with_port = if has_port {
                " and a port number with : as a separator"
            } else {
                ""
            };
            return fail(format!("{backend}: should be an IP address{with_port}."));
        };
        if ip.is_ipv4() != vip_ip.is_ipv4() {
            return fail(format!(
                "{backend}: IP address family is different from VIP {vip}."
            ));
        }
        backends.push(backend);
    }
    Ok(backends.join(","))
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let wanted = parse(context)?;
    let may_exist = context.has("--may-exist");
    let draft = &mut *context.draft;
    let column = LoadBalancer::COLUMN;
    if !context.invocation.options.contains_key("--add-duplicate") {
        let existing = draft.find::<LoadBalancer, _>(column.name, &wanted.name);
        for lb in existing.iter().copied() {
            let mut vips = draft.get::<LoadBalancer, _>(lb, column.vips);
            if vips.contains_key(&wanted.vip) && !may_exist {
                return fail(format!(
                    "{}: a load balancer with this vip ({}) already exists",
                    wanted.name, wanted.vip
                ));
            }
            vips.insert(Arc::clone(&wanted.vip), Arc::clone(&wanted.backends));
            draft.rely_on::<LoadBalancer, _>(lb, column.vips)?;
            draft.set::<LoadBalancer, _>(lb, column.vips, &vips)?;
            if wanted.protocol.is_some() {
                draft.set::<LoadBalancer, _>(lb, column.protocol, &wanted.protocol)?;
            }
        }
        if !existing.is_empty() {
            return Ok(());
        }
    }
    let lb = draft.insert::<LoadBalancer>()?;
    let vips = BTreeMap::from([(wanted.vip, wanted.backends)]);
    draft.set::<LoadBalancer, _>(lb, column.name, &wanted.name)?;
    let protocol = wanted.protocol.or_else(|| Some("tcp".into()));
    draft.set::<LoadBalancer, _>(lb, column.protocol, &protocol)?;
    draft.set::<LoadBalancer, _>(lb, column.vips, &vips)?;
    draft.set::<LoadBalancer, _>(lb, column.options, &wanted.options)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    // As in ovn-nbctl it is no error if there is no such load balancer, whatever the options.
    let Some(lb) = find::load_balancer_if_any(context.draft, context.arg(0))? else {
        return Ok(());
    };
    let column = LoadBalancer::COLUMN.vips;
    let Some(vip) = context.arg_if_any(1) else {
        return context.draft.delete::<LoadBalancer>(lb);
    };
    let mut vips = context.draft.get::<LoadBalancer, _>(lb, column);
    if vips.remove(vip).is_none() {
        if context.has("--if-exists") {
            return Ok(());
        }
        return fail(format!("vip {vip} is not part of the load balancer."));
    }
    if vips.is_empty() {
        return context.draft.delete::<LoadBalancer>(lb);
    }
    context.draft.rely_on::<LoadBalancer, _>(lb, column)?;
    context.draft.set::<LoadBalancer, _>(lb, column, &vips)
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut all = context.draft.all::<LoadBalancer>();
    if let Some(name) = context.arg_if_any(0) {
        all.retain(|lb| *lb.name == *name || lb.uuid.to_string() == name);
    }
    print_all(context, all);
    Ok(())
}

fn print_all(context: &mut Context<'_, '_>, mut all: Vec<LoadBalancer>) {
    if all.is_empty() {
        return;
    }
    all.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let vips = all.iter().flat_map(|lb| lb.vips.keys());
    let width = vips.map(|vip| vip.len()).max().unwrap_or_default() + 4;
    let row = |uuid: &str, name: &str, protocol: &str, vip: &str, ips: &str| {
        format!("{uuid:<40.36}{name:<20.16}{protocol:<11.7}{vip:<width$}{ips}")
    };
    context.print(row("UUID", "LB", "PROTO", "VIP", "IPs"));
    for lb in &all {
        for (index, (vip, ips)) in lb.vips.iter().enumerate() {
            let (uuid, name) = match index {
                0 => (lb.uuid.to_string(), &*lb.name),
                _ => (String::new(), ""),
            };
            // Without a port, every protocol is balanced.
            let has_port = parse_endpoint(vip).is_none_or(|(_, port)| port.is_some());
            let protocol = if has_port {
                lb.protocol.as_deref().unwrap_or("tcp")
            } else {
                ""
            };
            context.print(row(&uuid, name, protocol, vip, ips));
        }
    }
}

/// What load balancers act on.
struct Kind {
    name: &'static str,
    find: fn(&Draft<'_>, &str) -> Outcome<Uuid>,
    get: fn(&Draft<'_>, Uuid) -> Vec<Uuid>,
    add: fn(&mut Draft<'_>, Uuid, Uuid) -> Outcome,
    remove: fn(&mut Draft<'_>, Uuid, &Vec<Uuid>) -> Outcome,
}

type Members = Column<Vec<Uuid>>;

fn add_member<T: TableDefinition>(
    draft: &mut Draft<'_>,
    owner: Uuid,
    column: Members,
    lb: Uuid,
) -> Outcome {
    draft.add_to::<T, _>(owner, column, &vec![lb])
}

static SWITCHES: Kind = Kind {
    name: "switch",
    find: find::switch,
    get: |draft, owner| draft.get::<LogicalSwitch, _>(owner, LogicalSwitch::COLUMN.load_balancer),
    add: |draft, owner, lb| {
        add_member::<LogicalSwitch>(draft, owner, LogicalSwitch::COLUMN.load_balancer, lb)
    },
    remove: |draft, owner, lbs| {
        draft.remove_from::<LogicalSwitch, _>(owner, LogicalSwitch::COLUMN.load_balancer, lbs)
    },
};

static ROUTERS: Kind = Kind {
    name: "router",
    find: find::router,
    get: |draft, owner| draft.get::<LogicalRouter, _>(owner, LogicalRouter::COLUMN.load_balancer),
    add: |draft, owner, lb| {
        add_member::<LogicalRouter>(draft, owner, LogicalRouter::COLUMN.load_balancer, lb)
    },
    remove: |draft, owner, lbs| {
        draft.remove_from::<LogicalRouter, _>(owner, LogicalRouter::COLUMN.load_balancer, lbs)
    },
};

fn attach(context: &mut Context<'_, '_>, kind: &Kind) -> Outcome {
    let owner = (kind.find)(context.draft, context.arg(0))?;
    let lb = find::load_balancer(context.draft, context.arg(1))?;
    if (kind.get)(context.draft, owner).contains(&lb) {
        if context.has("--may-exist") {
            return Ok(());
        }
        return fail(format!(
            "{lb} : a load balancer with this UUID already exists"
        ));
    }
    (kind.add)(context.draft, owner, lb)
}

fn detach(context: &mut Context<'_, '_>, kind: &Kind) -> Outcome {
    let owner = (kind.find)(context.draft, context.arg(0))?;
    let attached = (kind.get)(context.draft, owner);
    let Some(name) = context.arg_if_any(1) else {
        return (kind.remove)(context.draft, owner, &attached);
    };
    let lb = find::load_balancer(context.draft, name)?;
    if attached.contains(&lb) {
        return (kind.remove)(context.draft, owner, &vec![lb]);
    }
    if context.has("--if-exists") {
        return Ok(());
    }
    fail(format!(
        "load balancer {name} is not part of any logical {}.",
        kind.name
    ))
}

fn list_attached(context: &mut Context<'_, '_>, kind: &Kind) -> Outcome {
    let owner = (kind.find)(context.draft, context.arg(0))?;
    let attached = (kind.get)(context.draft, owner);
    let all = attached
        .into_iter()
        .filter_map(|lb| context.draft.typed(lb))
        .collect();
    print_all(context, all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80)))),
            ("fd00::1", Some(("fd00::1", None))),
            ("[fd00::1]", Some(("fd00::1", None))),
            ("[fd00::1]:80", Some(("fd00::1", Some(80)))),
            ("[fd00::1]:x", None),
            ("10.0.0.1:0", None),
            ("10.0.0.1:65536", None),
            ("foo", None),
            ("", None),
        ] {
            let expected = expected.map(|(ip, port)| (ip.parse().expect("an address"), port));
            assert_eq!(parse_endpoint(text), expected, "{text}");
        }
    }
}
