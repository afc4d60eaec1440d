//! Access control lists of switches and port groups: `acl-*`.

use nb_db::tables::{Acl, LogicalSwitch, NetworkFunctionGroup, PortGroup};
use northbound::acl::{self, AclFilter, AclOwner, AddAclError, FindOwnerError, NewAcl, Tier};
use northbound::find::{find, parse_uuid};
use ovsdb::Uuid;

use super::arguments::{parse_direction, parse_priority, warn_of_unknown_names};
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use crate::text::{atom_text, quoted};

const NAMES: &[&str] = &[
    "Logical_Switch",
    "Port_Group",
    "ACL",
    "Sample",
    "Network_Function_Group",
];
const TABLES: Tables = Tables::Fixed(NAMES);

/// The commands.
pub static FAMILY: Family = Family {
    title: "ACL commands",
    commands: &[
        Command {
            name: "acl-add",
            arguments: "SWITCH|PG DIRECTION PRIORITY MATCH ACTION [NFGROUP]",
            options: &[
                "--log",
                "--may-exist",
                "--type=",
                "--name=",
                "--severity=",
                "--meter=",
                "--label=",
                "--apply-after-lb",
                "--tier=",
                "--sample-new=",
                "--sample-est=",
            ],
            help: "add a rule to a switch or a port group; packets that it allows are led through the network functions of NFGROUP",
            tables: Tables::Match(NAMES, |invocation| Some(&invocation.arguments[3])),
            run: add,
        },
        Command {
            name: "acl-del",
            arguments: "SWITCH|PG [DIRECTION] [PRIORITY MATCH]",
            options: &["--type=", "--tier="],
            help: "delete the rules of a switch or a port group, of one direction, or of one priority and match",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "acl-list",
            arguments: "SWITCH|PG",
            options: &["--type=", "--all"],
            help: "print the rules of a switch or a port group; with --all, those of the port groups that the switch's ports are in, too",
            tables: TABLES,
            run: list,
        },
    ],
};

/// What the first argument and `--type` mean.
fn owner(context: &Context<'_, '_>) -> Outcome<AclOwner> {
    let (draft, name) = (&*context.draft, context.arg(0));
    match context.option("--type") {
        Some("switch") => return Ok(AclOwner::Switch(find::<LogicalSwitch>(draft, name)?)),
        Some("port-group") => return Ok(AclOwner::Group(find::<PortGroup>(draft, name)?)),
        Some(other) => return fail(format!("Invalid value '{other}' for option --type")),
        None => {}
    }
    match AclOwner::find(draft, name) {
        Err(FindOwnerError::Both(_)) => fail(format!(
            "Same name '{name}' exists in both port-groups and logical switches. Specify --type=port-group or \
             switch, or use a UUID."
        )),
        found => Ok(found?),
    }
}

fn parse_tier(context: &Context<'_, '_>) -> Outcome<Option<Tier>> {
    match context.option("--tier") {
        None => Ok(None),
        Some(text) => match text.parse().ok().and_then(Tier::new) {
            Some(tier) => Ok(Some(tier)),
            None => fail(format!(
                "{text}: tier must in range 0...{}",
                Tier::MAX.number()
            )),
        },
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let owner = owner(context)?;
    let new = parse(context)?;
    let may_exist = context.has("--may-exist");
    match acl::add_acl(context.draft, owner, &new, may_exist) {
        Err(AddAclError::Exists(_)) => {
            let what = match owner {
                AclOwner::Switch(_) => "ls",
                AclOwner::Group(_) => "port group",
            };
            fail(format!(
                "Same ACL already existed on the {what} {}.",
                context.arg(0)
            ))
        }
        added => {
            added?;
            warn_of_unknown_names(context, new.matches);
            Ok(())
        }
    }
}

/// The rule that the arguments and options describe.
fn parse<'c>(context: &Context<'c, '_>) -> Outcome<NewAcl<'c>> {
    let invocation = context.invocation;
    let argument = |index: usize| invocation.arguments[index].as_str();
    let option = |name: &str| invocation.options.get(name)?.as_deref();
    let direction = parse_direction(argument(1))?;
    let priority = parse_priority(argument(2))?;
    let tier = parse_tier(context)?.unwrap_or_default();
    let Ok(action) = argument(4).parse() else {
        return fail(format!(
            "{}: action must be one of \"allow\", \"allow-related\", \"allow-stateless\", \"drop\", \"reject\", and \
             \"pass\"",
            argument(4)
        ));
    };
    let severity = match option("--severity") {
        None => None,
        Some(text) => match text.parse() {
            Ok(severity) => Some(severity),
            Err(_) => return fail(format!("bad severity: {text}")),
        },
    };
    let label = match option("--label") {
        None => 0,
        Some(text) => match text.parse() {
            Ok(label) => label,
            Err(_) => return fail(format!("{text}: label must in range 0...{}", u32::MAX)),
        },
    };
    let network_function_group = match invocation.arguments.get(5) {
        None => None,
        Some(text) => Some(find::<NetworkFunctionGroup>(context.draft, text)?),
    };
    Ok(NewAcl {
        direction,
        priority,
        matches: argument(3),
        action,
        network_function_group,
        log: context.has("--log"),
        severity,
        name: option("--name"),
        meter: option("--meter"),
        label,
        apply_after_lb: context.has("--apply-after-lb"),
        tier,
        sample_new: sample(context, "--sample-new")?,
        sample_est: sample(context, "--sample-est")?,
    })
}

fn sample(context: &Context<'_, '_>, option: &str) -> Outcome<Option<Uuid>> {
    match context.option(option) {
        None => Ok(None),
        Some(text) => match parse_uuid(text) {
            Some(uuid) => Ok(Some(uuid)),
            None => fail(format!("{text}: {option} should be the UUID of a Sample")),
        },
    }
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let owner = owner(context)?;
    let arguments = &context.invocation.arguments;
    let direction = match arguments.get(1) {
        None => None,
        Some(text) => Some(parse_direction(text)?),
    };
    let rule = match (arguments.get(2), arguments.get(3)) {
        (None, _) => None,
        (Some(priority), matches) => {
            let priority = parse_priority(priority)?;
            let Some(matches) = matches else {
                return fail("cannot specify priority without match");
            };
            Some((priority, matches.as_str()))
        }
    };
    let filter = AclFilter {
        direction,
        rule,
        tier: parse_tier(context)?,
    };
    acl::delete_acls(context.draft, owner, &filter)?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let owner = owner(context)?;
    let acls = match owner {
        AclOwner::Switch(switch) if context.has("--all") => {
            acl::list_acls_for_ports(context.draft, switch)
        }
        _ => acl::list_acls(context.draft, owner),
    };
    for acl in acls {
        context.print(line(&acl));
    }
    Ok(())
}

fn line(acl: &Acl) -> String {
    let mut line = format!(
        "{:>10} {:>5} ({}) {}",
        acl.direction, acl.priority, acl.r#match, acl.action
    );
    if acl.log {
        let name = acl
            .name
            .as_ref()
            .map(|name| format!("name={}", atom_text(&name.to_string().into())));
        let severity = acl
            .severity
            .as_ref()
            .map(|severity| format!("severity={severity}"));
        let meter = acl
            .meter
            .as_ref()
            .map(|meter| format!("meter={}", quoted(meter)));
        let details: Vec<String> = [name, severity, meter].into_iter().flatten().collect();
        line.push_str(&format!(" log({})", details.join(",")));
    }
    if ovsdb::truth(acl.options.get("apply-after-lb"), false) {
        line.push_str(" [after-lb]");
    }
    if acl.label != 0 {
        line.push_str(&format!(" label={}", acl.label));
    }
    if acl.tier != 0 {
        line.push_str(&format!(" tier={}", acl.tier));
    }
    line
}
