//! `create`, `destroy`.

use northbound::find::parse_uuid;
use ovsdb::Uuid;

use super::modify::{parse_places, set_column};
use crate::command::Context;
use crate::error::{Outcome, fail};
use crate::lookup;

pub(super) fn create(context: &mut Context<'_, '_>) -> Outcome {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let schema = context.draft.table_schema(table);
    let places = parse_places(context.draft.before(), table, context.args_from(1))?;
    let uuid = match context.option("--id").map(str::to_owned) {
        None => {
            if !schema.is_root {
                context.warnings.push(format!(
                    "applying \"create\" command to table {} without --id option will have no effect",
                    schema.name
                ));
            }
            Uuid::new_v4()
        }
        Some(name) if name.starts_with('@') => context.symbols.create(&name, table)?,
        Some(name) => match parse_uuid(&name) {
            Some(uuid) => uuid,
            None => return fail(format!("row id \"{name}\" does not begin with \"@\"")),
        },
    };
    context.draft.insert_row(table, uuid);
    for place in places {
        set_column(context.draft, context.symbols, table, uuid, &place)?;
    }
    context.print(uuid.to_string());
    Ok(())
}

pub(super) fn destroy(context: &mut Context<'_, '_>) -> Outcome {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let if_exists = context.has("--if-exists");
    let records = context.args_from(1);
    if context.has("--all") {
        if !records.is_empty() {
            return fail("--all and records argument should not be specified together");
        }
        if if_exists {
            return fail("--all and --if-exists should not be specified together");
        }
        let uuids: Vec<Uuid> = context.draft.rows(table).map(|(uuid, _)| uuid).collect();
        for uuid in uuids {
            context.draft.delete_row(table, uuid);
        }
        return Ok(());
    }
    if records.is_empty() {
        let warning = "either --all or records argument should be specified";
        context.warnings.push(warning.to_owned());
        return Ok(());
    }
    for record in &context.invocation.arguments[1..] {
        let found = if if_exists {
            lookup::row_if_any(context.draft, table, record)?
        } else {
            Some(lookup::row(context.draft, table, record)?)
        };
        if let Some(uuid) = found {
            context.draft.delete_row(table, uuid);
        }
    }
    Ok(())
}
