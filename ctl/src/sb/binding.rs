//! Bindings of ports to chassis by hand: `lsp-bind`, `lsp-unbind`.

use std::sync::Arc;

use ovsdb::Uuid;
use sb_db::tables::{Chassis, PortBinding};

use super::chassis;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use northbound::Draft;

const TABLES: Tables = Tables::Fixed(&["Chassis", "Port_Binding"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Port binding commands",
    commands: &[
        Command {
            name: "lsp-bind",
            arguments: "PORT CHASSIS",
            options: &["--may-exist"],
            help: "bind the logical port PORT to CHASSIS",
            tables: TABLES,
            run: bind,
        },
        Command {
            name: "lsp-unbind",
            arguments: "PORT",
            options: &["--if-exists"],
            help: "undo the binding of the logical port PORT",
            tables: TABLES,
            run: unbind,
        },
    ],
};

fn find(draft: &Draft<'_>, name: &str) -> Option<Uuid> {
    let column = PortBinding::COLUMN.logical_port;
    draft
        .find::<PortBinding, _>(column, &Arc::from(name))
        .first()
        .copied()
}

fn require(draft: &Draft<'_>, name: &str) -> Outcome<Uuid> {
    match find(draft, name) {
        Some(uuid) => Ok(uuid),
        None => fail(format!("no port named {name}")),
    }
}

fn bind(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    let port = require(context.draft, name)?;
    let chassis = chassis::require(context.draft, context.arg(1))?;
    let column = PortBinding::COLUMN;
    if let Some(actual) = context.draft.get::<PortBinding, _>(port, column.chassis) {
        if context.has("--may-exist") && actual == chassis {
            return Ok(());
        }
        let actual = context
            .draft
            .get::<Chassis, _>(actual, Chassis::COLUMN.name);
        return fail(format!(
            "lport ({name}) has already been binded to chassis ({actual})"
        ));
    }
    context
        .draft
        .rely_on::<PortBinding, _>(port, column.chassis)?;
    context
        .draft
        .set::<PortBinding, _>(port, column.chassis, &Some(chassis))?;
    context
        .draft
        .set::<PortBinding, _>(port, column.up, &Some(true))?;
    Ok(())
}

fn unbind(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.arg(0);
    if context.has("--if-exists") && find(context.draft, name).is_none() {
        return Ok(());
    }
    let port = require(context.draft, name)?;
    let column = PortBinding::COLUMN;
    if context
        .draft
        .get::<PortBinding, _>(port, column.chassis)
        .is_some()
    {
        context
            .draft
            .set::<PortBinding, _>(port, column.chassis, &None)?;
        context
            .draft
            .set::<PortBinding, _>(port, column.up, &None)?;
    }
    Ok(())
}
