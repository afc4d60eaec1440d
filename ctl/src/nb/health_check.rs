//! Probes of switch ports: `lsp-hc-*`.

use nb_db::tables::LogicalSwitchPort;
use northbound::find::{find, parse_uuid};
use northbound::port_health_check::{
    Probe, add_health_check, delete_health_checks, list_health_checks,
};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Logical_Switch_Port", "Logical_Switch_Port_Health_Check"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical switch port health check commands",
    commands: &[
        Command {
            name: "lsp-hc-add",
            arguments: "PORT PROTOCOL SOURCEIP [DSTPORT] ADDRESS",
            options: &[],
            help: "probe ADDRESS of PORT from SOURCEIP by PROTOCOL icmp, or tcp or udp to DSTPORT",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "lsp-hc-del",
            arguments: "PORT [UUID]",
            options: &[],
            help: "delete the health checks of PORT, or the one with this UUID",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "lsp-hc-list",
            arguments: "PORT",
            options: &[],
            help: "print the health checks of PORT",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let arguments = &context.invocation.arguments;
    let (probe, address) = match (arguments[1].as_str(), &arguments[3..]) {
        ("icmp", [address]) => (Probe::Icmp, address),
        ("icmp", _) => return fail("a destination port has no meaning for icmp"),
        (protocol @ ("tcp" | "udp"), [number, address]) => {
            let Ok(number) = number.parse() else {
                return fail(format!(
                    "{number}: port must be in the range 1...{}",
                    u16::MAX
                ));
            };
            let probe = if protocol == "tcp" {
                Probe::Tcp(number)
            } else {
                Probe::Udp(number)
            };
            (probe, address)
        }
        (protocol @ ("tcp" | "udp"), _) => {
            return fail(format!("a destination port is required for {protocol}"));
        }
        (other, _) => {
            return fail(format!(
                "{other}: protocol must be one of \"icmp\", \"tcp\", and \"udp\""
            ));
        }
    };
    let parse_ip = |text: &str| match text.parse() {
        Ok(ip) => Ok(ip),
        Err(_) => fail(format!("{text}: Not a valid IPv4 or IPv6 address.")),
    };
    let source_ip = parse_ip(&arguments[2])?;
    let address = parse_ip(address)?;
    add_health_check(context.draft, port, probe, &source_ip, &address)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let only = match context.arg_if_any(1) {
        None => None,
        Some(text) => match parse_uuid(text) {
            Some(uuid) => Some(uuid),
            None => return fail(format!("{text}: not a UUID of a health check")),
        },
    };
    delete_health_checks(context.draft, port, only)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let port = find::<LogicalSwitchPort>(context.draft, context.arg(0))?;
    let checks = list_health_checks(context.draft, port);
    let row = |cells: [&str; 6]| {
        let [uuid, protocol, source, number, address, status] = cells;
        format!("{uuid:<40}{protocol:<10}{source:<25}{number:<8}{address:<25}{status}")
            .trim_end()
            .to_owned()
    };
    if !checks.is_empty() {
        context.print(row([
            "UUID", "PROTOCOL", "SRC_IP", "PORT", "ADDRESS", "STATUS",
        ]));
    }
    for check in checks {
        let number = match check.port {
            0 => String::new(),
            number => number.to_string(),
        };
        context.print(row([
            &check.uuid.to_string(),
            &check.protocol,
            &check.src_ip,
            &number,
            &check.address,
            check.status.as_deref().unwrap_or_default(),
        ]));
    }
    Ok(())
}
