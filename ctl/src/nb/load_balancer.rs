//! Load balancers, and which switches and routers they act on: `lb-*`, `ls-lb-*`, `lr-lb-*`.

use nb_db::tables::{LoadBalancer, LogicalRouter, LogicalSwitch};
use northbound::Draft;
use northbound::find::{find, find_if_any};
use northbound::load_balancer::{
    self as lb, AttachError, Balanced, LoadBalancerOptions, Vip, WithoutBackends, has_port,
};
use northbound::values::Existing;

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Load_Balancer", "Logical_Switch", "Logical_Router"]);

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
            run: |context| attach(context, find_switch),
        },
        Command {
            name: "ls-lb-del",
            arguments: "SWITCH [LB]",
            options: &["--if-exists"],
            help: "do not let LB, or any load balancer, act on SWITCH any more",
            tables: TABLES,
            run: |context| detach(context, find_switch),
        },
        Command {
            name: "ls-lb-list",
            arguments: "SWITCH",
            options: &[],
            help: "print the load balancers that act on SWITCH",
            tables: TABLES,
            run: |context| list_attached(context, find_switch),
        },
        Command {
            name: "lr-lb-add",
            arguments: "ROUTER LB",
            options: &["--may-exist"],
            help: "let LB act on ROUTER",
            tables: TABLES,
            run: |context| attach(context, find_router),
        },
        Command {
            name: "lr-lb-del",
            arguments: "ROUTER [LB]",
            options: &["--if-exists"],
            help: "do not let LB, or any load balancer, act on ROUTER any more",
            tables: TABLES,
            run: |context| detach(context, find_router),
        },
        Command {
            name: "lr-lb-list",
            arguments: "ROUTER",
            options: &[],
            help: "print the load balancers that act on ROUTER",
            tables: TABLES,
            run: |context| list_attached(context, find_router),
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let options = parse_options(context)?;
    let vip = parse_vip(context)?;
    let name = &context.invocation.arguments[0];
    lb::add_vip(context.draft, name, &vip, &options)?;
    Ok(())
}

fn parse_options(context: &Context<'_, '_>) -> Outcome<LoadBalancerOptions> {
    let without_backends = match (context.has("--reject"), context.has("--event")) {
        (true, true) => return fail("--reject and --event can't specified at the same time"),
        (true, false) => WithoutBackends::Reject,
        (false, true) => WithoutBackends::Event,
        (false, false) => WithoutBackends::Drop,
    };
    let existing = if context.has("--add-duplicate") {
        Existing::Duplicate
    } else if context.has("--may-exist") {
        Existing::Accept
    } else {
        Existing::Refuse
    };
    Ok(LoadBalancerOptions {
        existing,
        without_backends,
        add_route: context.has("--add-route"),
    })
}

fn parse_vip(context: &Context<'_, '_>) -> Outcome<Vip> {
    let (vip, backends) = (context.arg(1), context.arg(2));
    let protocol = match context.arg_if_any(3) {
        None => None,
        Some(text) => match text.parse() {
            Ok(protocol) => Some(protocol),
            Err(_) => {
                return fail(format!(
                    "{text}: protocol must be one of \"tcp\", \"udp\",  or \"sctp\"."
                ));
            }
        },
    };
    if !context.has("--template") {
        return Ok(Vip::new(vip, backends, protocol)?);
    }
    let family = context.arg_if_any(4).unwrap_or("ipv4");
    match family.parse() {
        Ok(family) => Ok(Vip::template(vip, backends, protocol, family)),
        Err(_) => fail(format!(
            "{family}: address family must be \"ipv4\" or \"ipv6\"."
        )),
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    // As in ovn-nbctl it is no error if there is no such load balancer, whatever the options.
    let Some(uuid) = find_if_any::<LoadBalancer>(context.draft, context.arg(0))? else {
        return Ok(());
    };
    let Some(vip) = context.invocation.arguments.get(1) else {
        return Ok(lb::delete_load_balancer(context.draft, uuid)?);
    };
    let if_exists = context.has("--if-exists");
    lb::delete_vip(context.draft, uuid, vip, if_exists)?;
    Ok(())
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
            let protocol = if has_port(vip) {
                lb.protocol.as_deref().unwrap_or("tcp")
            } else {
                ""
            };
            context.print(row(&uuid, name, protocol, vip, ips));
        }
    }
}

/// Finds what load balancers act on by what it is called.
type FindBalanced = fn(&Draft<'_>, &str) -> Outcome<Balanced>;

fn find_switch(draft: &Draft<'_>, text: &str) -> Outcome<Balanced> {
    Ok(Balanced::Switch(find::<LogicalSwitch>(draft, text)?))
}

fn find_router(draft: &Draft<'_>, text: &str) -> Outcome<Balanced> {
    Ok(Balanced::Router(find::<LogicalRouter>(draft, text)?))
}

fn attach(context: &mut Context<'_, '_>, find_target: FindBalanced) -> Outcome {
    let target = find_target(context.draft, context.arg(0))?;
    let uuid = find::<LoadBalancer>(context.draft, context.arg(1))?;
    let may_exist = context.has("--may-exist");
    lb::attach(context.draft, target, uuid, may_exist)?;
    Ok(())
}

fn detach(context: &mut Context<'_, '_>, find_target: FindBalanced) -> Outcome {
    let target = find_target(context.draft, context.arg(0))?;
    let name = context.arg_if_any(1);
    let uuid = match name {
        None => None,
        Some(name) => Some(find::<LoadBalancer>(context.draft, name)?),
    };
    let if_exists = context.has("--if-exists");
    match lb::detach(context.draft, target, uuid, if_exists) {
        Err(AttachError::NotFound(_)) => fail(format!(
            "load balancer {} is not part of any logical {}.",
            context.arg_if_any(1).unwrap_or_default(),
            target.what()
        )),
        done => Ok(done?),
    }
}

fn list_attached(context: &mut Context<'_, '_>, find_target: FindBalanced) -> Outcome {
    let target = find_target(context.draft, context.arg(0))?;
    let attached = target.load_balancers(context.draft).into_iter();
    let all = attached.filter_map(|uuid| context.draft.typed(uuid));
    let all = all.collect();
    print_all(context, all);
    Ok(())
}
