//! `init` and `show`.

use std::fmt::Write as _;

use ovsdb::typed::TableDefinition;
use ovsdb::{Datum, Uuid};
use sb_db::tables::{Chassis, Encap, PortBinding};

use crate::command::{Command, Context, Family, Tables};
use crate::error::Outcome;
use crate::text::{atom_text, datum_text};
use northbound::Draft;

/// The commands.
pub static FAMILY: Family = Family {
    title: "General commands",
    commands: &[
        Command {
            name: "init",
            arguments: "",
            options: &[],
            help: "initialize the database, if it is empty",
            tables: Tables::Fixed(&[]),
            // Every line does that.
            run: |_| Ok(()),
        },
        Command {
            name: "show",
            arguments: "",
            options: &[],
            help: "print the chassis, their encapsulations and the ports bound to them",
            tables: Tables::Fixed(&["Chassis", "Encap", "Port_Binding"]),
            run: show,
        },
    ],
};

fn show(context: &mut Context<'_, '_>) -> Outcome {
    let mut all = context.draft.all::<Chassis>();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bindings = context.draft.all::<PortBinding>();
    bindings.retain(|binding| binding.chassis.is_some());
    bindings.sort_by(|a, b| a.logical_port.cmp(&b.logical_port));
    let mut text = String::new();
    for chassis in &all {
        show_chassis(&mut text, context.draft, chassis, &bindings);
    }
    context.output.text.push_str(&text);
    Ok(())
}

fn show_chassis(text: &mut String, draft: &Draft<'_>, chassis: &Chassis, bindings: &[PortBinding]) {
    let name = |name: &str| atom_text(&ovsdb::Atom::from(name));
    let mut line = |depth: usize, what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}{what}", "    ".repeat(depth));
    };
    line(0, format!("Chassis {}", name(&chassis.name)));
    if !chassis.hostname.is_empty() {
        line(1, format!("hostname: {}", name(&chassis.hostname)));
    }
    let mut encaps: Vec<Encap> = chassis
        .encaps
        .iter()
        .filter_map(|uuid| draft.typed(*uuid))
        .collect();
    encaps.sort_by(|a, b| (&a.r#type, &a.ip).cmp(&(&b.r#type, &b.ip)));
    for encap in encaps {
        line(1, format!("Encap {}", name(&encap.r#type)));
        for column in ["ip", "options"] {
            if let Some(contents) = contents::<Encap>(draft, encap.uuid, column) {
                line(2, format!("{column}: {contents}"));
            }
        }
    }
    let here = bindings
        .iter()
        .filter(|binding| binding.chassis == Some(chassis.uuid));
    for binding in here {
        line(1, format!("Port_Binding {}", name(&binding.logical_port)));
    }
}

/// What a column holds, as text, unless it is the default.
fn contents<T: TableDefinition>(draft: &Draft<'_>, uuid: Uuid, column: &str) -> Option<String> {
    let table = draft.table_of::<T>().ok()?;
    let schema = draft.table_schema(table);
    let index = schema.column_index(column)?;
    let ty = &schema.columns[index].ty;
    let datum = draft.row(table, uuid)?.get(index);
    (*datum != Datum::default_for(ty)).then(|| datum_text(ty, datum))
}
