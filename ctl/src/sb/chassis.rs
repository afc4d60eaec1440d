//! Chassis: `chassis-add`, `chassis-del`.

use std::sync::Arc;

use ovsdb::Uuid;
use sb_db::tables::{Chassis, Encap};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use northbound::Draft;

const TABLES: Tables = Tables::Fixed(&["Chassis", "Encap"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Chassis commands",
    commands: &[
        Command {
            name: "chassis-add",
            arguments: "CHASSIS ENCAP-TYPES ENCAP-IP",
            options: &["--may-exist"],
            help: "create a chassis named CHASSIS that is reached at ENCAP-IP in each of the comma-separated ENCAP-TYPES",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "chassis-del",
            arguments: "CHASSIS",
            options: &["--if-exists"],
            help: "delete CHASSIS and its encapsulations",
            tables: TABLES,
            run: delete,
        },
    ],
};

/// The chassis with this name.
pub(super) fn find(draft: &Draft<'_>, name: &str) -> Option<Uuid> {
    let found = draft.find::<Chassis, _>(Chassis::COLUMN.name, &Arc::from(name));
    found.first().copied()
}

/// The chassis with this name, which must exist.
pub(super) fn require(draft: &Draft<'_>, name: &str) -> Outcome<Uuid> {
    match find(draft, name) {
        Some(uuid) => Ok(uuid),
        None => fail(format!("no chassis named {name}")),
    }
}

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let [name, types, ip] = context.invocation.arguments.as_slice() else {
        return fail("CHASSIS, ENCAP-TYPES and ENCAP-IP must be given");
    };
    if find(context.draft, name).is_some() {
        if context.has("--may-exist") {
            return Ok(());
        }
        return fail(format!(
            "cannot create a chassis named {name} because a chassis named {name} already exists"
        ));
    }
    let mut types: Vec<&str> = types.split(',').filter(|word| !word.is_empty()).collect();
    types.sort_unstable();
    types.dedup();
    let draft = &mut *context.draft;
    let mut encaps = Vec::new();
    for encap_type in types {
        let encap = draft.insert::<Encap>()?;
        let column = Encap::COLUMN;
        let options = [(Arc::from("csum"), Arc::from("true"))].into();
        draft.set::<Encap, _>(encap, column.r#type, &Arc::from(encap_type))?;
        draft.set::<Encap, _>(encap, column.ip, &Arc::from(ip.as_str()))?;
        draft.set::<Encap, _>(encap, column.options, &options)?;
        draft.set::<Encap, _>(encap, column.chassis_name, &Arc::from(name.as_str()))?;
        encaps.push(encap);
    }
    let chassis = draft.insert::<Chassis>()?;
    draft.set::<Chassis, _>(chassis, Chassis::COLUMN.name, &Arc::from(name.as_str()))?;
    draft.set::<Chassis, _>(chassis, Chassis::COLUMN.encaps, &encaps)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    if context.has("--if-exists") && find(context.draft, name).is_none() {
        return Ok(());
    }
    let chassis = require(context.draft, name)?;
    context.draft.delete::<Chassis>(chassis)?;
    Ok(())
}
