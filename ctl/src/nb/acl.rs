//! Access control lists of switches and port groups: `acl-*`.

use std::cmp::Reverse;
use std::sync::Arc;

use nb_db::tables::{Acl, LogicalSwitch, PortGroup};
use ovsdb::{TableDefinition, Uuid};

use super::find;
use super::router_port::parse_priority;
use crate::command::{Command, Context, Family, Tables};
use crate::data::text::{atom_text, quoted};
use crate::data::{Draft, lookup};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Logical_Switch", "Port_Group", "ACL", "Sample"]);

const SEVERITIES: [&str; 5] = ["alert", "warning", "notice", "info", "debug"];

const ACTIONS: [&str; 6] = [
    "allow",
    "allow-related",
    "allow-stateless",
    "drop",
    "reject",
    "pass",
];

const MAX_TIER: i64 = 3;

/// The commands.
pub static FAMILY: Family = Family {
    title: "ACL commands",
    commands: &[
        Command {
            name: "acl-add",
            arguments: "SWITCH|PG DIRECTION PRIORITY MATCH ACTION",
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
            help: "add a rule to a switch or a port group",
            tables: TABLES,
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
            options: &["--type="],
            help: "print the rules of a switch or a port group",
            tables: TABLES,
            run: list,
        },
    ],
};

/// What has rules.
#[derive(Clone, Copy)]
enum Owner {
    Switch(Uuid),
    Group(Uuid),
}

impl Owner {
    /// The owner that the first argument and `--type` mean.
    fn find(context: &Context<'_, '_>) -> Outcome<Self> {
        let (draft, name) = (&*context.draft, context.arg(0));
        match context.option("--type") {
            Some("switch") => return find::switch(draft, name).map(Self::Switch),
            Some("port-group") => return find::port_group(draft, name).map(Self::Group),
            Some(other) => return fail(format!("Invalid value '{other}' for option --type")),
            None => {}
        }
        match (
            find::switch_if_any(draft, name)?,
            find::port_group_if_any(draft, name)?,
        ) {
            (Some(_), Some(_)) => fail(format!(
                "Same name '{name}' exists in both port-groups and logical switches. Specify --type=port-group or \
                 switch, or use a UUID."
            )),
            (Some(switch), None) => Ok(Self::Switch(switch)),
            (None, Some(group)) => Ok(Self::Group(group)),
            (None, None) => fail(format!("'{name}' is not found for port-group or switch.")),
        }
    }

    /// Its rules, in the order in which they are printed.
    fn acls(self, draft: &Draft<'_>) -> Vec<Acl> {
        let uuids = match self {
            Self::Switch(uuid) => draft.get::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls),
            Self::Group(uuid) => draft.get::<PortGroup, _>(uuid, PortGroup::COLUMN.acls),
        };
        let mut acls: Vec<Acl> = uuids
            .into_iter()
            .filter_map(|uuid| draft.typed(uuid))
            .collect();
        acls.sort_by(|a, b| {
            let key = |acl: &Acl| {
                (
                    Arc::clone(&acl.direction),
                    Reverse(acl.priority),
                    Arc::clone(&acl.r#match),
                )
            };
            key(a).cmp(&key(b))
        });
        acls
    }

    fn add(self, draft: &mut Draft<'_>, acl: Uuid) -> Outcome {
        match self {
            Self::Switch(uuid) => {
                draft.add_to::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls, &vec![acl])
            }
            Self::Group(uuid) => {
                draft.add_to::<PortGroup, _>(uuid, PortGroup::COLUMN.acls, &vec![acl])
            }
        }
    }

    fn remove(self, draft: &mut Draft<'_>, acl: Uuid) -> Outcome {
        match self {
            Self::Switch(uuid) => {
                draft.remove_from::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls, &vec![acl])
            }
            Self::Group(uuid) => {
                draft.remove_from::<PortGroup, _>(uuid, PortGroup::COLUMN.acls, &vec![acl])
            }
        }
    }
}

/// `from-lport` or `to-lport`, of which the first letter is enough.
pub(super) fn parse_direction(text: &str) -> Outcome<Arc<str>> {
    match text.as_bytes().first() {
        Some(b't') => Ok("to-lport".into()),
        Some(b'f') => Ok("from-lport".into()),
        _ => fail(format!(
            "{text}: direction must be \"to-lport\" or \"from-lport\""
        )),
    }
}

fn parse_tier(context: &Context<'_, '_>) -> Outcome<Option<i64>> {
    match context.option("--tier") {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(tier @ 0..=MAX_TIER) => Ok(Some(tier)),
            _ => fail(format!("{text}: tier must in range 0...{MAX_TIER}")),
        },
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let owner = Owner::find(context)?;
    let acl = parse(context)?;
    let same = |other: &Acl| {
        (&other.direction, other.priority, &other.r#match, other.tier)
            == (&acl.direction, acl.priority, &acl.r#match, acl.tier)
    };
    if owner.acls(context.draft).iter().any(same) {
        if context.has("--may-exist") {
            return Ok(());
        }
        let what = match owner {
            Owner::Switch(_) => "ls",
            Owner::Group(_) => "port group",
        };
        return fail(format!(
            "Same ACL already existed on the {what} {}.",
            context.arg(0)
        ));
    }
    let uuid = insert(context.draft, &acl)?;
    owner.add(context.draft, uuid)
}

/// The rule that the arguments and options describe.
fn parse(context: &Context<'_, '_>) -> Outcome<Acl> {
    let mut acl = Acl {
        direction: parse_direction(context.arg(1))?,
        priority: parse_priority(context.arg(2))?,
        r#match: context.arg(3).into(),
        action: context.arg(4).into(),
        log: context.has("--log"),
        tier: parse_tier(context)?.unwrap_or_default(),
        ..Acl::default()
    };
    if !ACTIONS.contains(&&*acl.action) {
        return fail(format!(
            "{}: action must be one of \"allow\", \"allow-related\", \"allow-stateless\", \"drop\", \"reject\", and \
             \"pass\"",
            acl.action
        ));
    }
    if let Some(severity) = context.option("--severity") {
        if !SEVERITIES.contains(&severity) {
            return fail(format!("bad severity: {severity}"));
        }
        acl.severity = Some(severity.into());
    }
    acl.name = context.option("--name").map(Arc::from);
    acl.meter = context.option("--meter").map(Arc::from);
    acl.log |= acl.severity.is_some() || acl.name.is_some() || acl.meter.is_some();
    if let Some(label) = context.option("--label") {
        acl.label = match label.parse::<u32>() {
            Ok(label) => label.into(),
            Err(_) => return fail(format!("{label}: label must in range 0...{}", u32::MAX)),
        };
    }
    if context.has("--apply-after-lb") && &*acl.direction == "from-lport" {
        acl.options.insert("apply-after-lb".into(), "true".into());
    }
    acl.sample_new = sample(context, "--sample-new")?;
    acl.sample_est = sample(context, "--sample-est")?;
    Ok(acl)
}

fn sample(context: &Context<'_, '_>, option: &str) -> Outcome<Option<Uuid>> {
    match context.option(option) {
        None => Ok(None),
        Some(text) => match lookup::parse_uuid(text) {
            Some(uuid) => Ok(Some(uuid)),
            None => fail(format!("{text}: {option} should be the UUID of a Sample")),
        },
    }
}

/// Makes the row; of columns that the server lacks only those are written that say something.
fn insert(draft: &mut Draft<'_>, acl: &Acl) -> Outcome<Uuid> {
    let table = draft.table_of::<Acl>()?;
    let uuid = Uuid::new_v4();
    draft.insert_row(table, uuid);
    let (row, default) = (acl.to_row(), Acl::default().to_row());
    let schema = draft.table_schema(table);
    for (index, column) in schema.columns.iter().enumerate() {
        if row.get(index) == default.get(index) {
            continue;
        }
        if !draft.snapshot().has_column(Acl::NAME, &column.name) {
            return fail(format!(
                "the database has no column {} in table ACL",
                column.name
            ));
        }
        draft.write(table, uuid, index, row.get(index).clone());
    }
    Ok(uuid)
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let owner = Owner::find(context)?;
    let arguments = &context.invocation.arguments;
    let direction = arguments
        .get(1)
        .map(|text| parse_direction(text))
        .transpose()?;
    let priority = arguments
        .get(2)
        .map(|text| parse_priority(text))
        .transpose()?;
    let matches = arguments.get(3);
    if priority.is_some() && matches.is_none() {
        return fail("cannot specify priority without match");
    }
    let tier = parse_tier(context)?;
    for acl in owner.acls(context.draft) {
        if direction
            .as_ref()
            .is_none_or(|direction| *direction == acl.direction)
            && priority.is_none_or(|priority| priority == acl.priority)
            && matches.is_none_or(|text| **text == *acl.r#match)
            && tier.is_none_or(|tier| tier == acl.tier)
        {
            owner.remove(context.draft, acl.uuid)?;
            context.draft.delete::<Acl>(acl.uuid)?;
        }
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    for acl in Owner::find(context)?.acls(context.draft) {
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
    if acl
        .options
        .get("apply-after-lb")
        .is_some_and(|value| &**value == "true")
    {
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
