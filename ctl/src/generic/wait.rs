//! `wait-until`.

use super::condition::RowCondition;
use crate::command::Context;
use crate::error::{CommandError, Outcome};
use crate::lookup;

pub(super) fn wait_until(context: &mut Context<'_, '_>) -> Outcome {
    let table = lookup::table(context.draft.before(), context.arg(0))?;
    let mut conditions = Vec::new();
    for argument in &context.invocation.arguments[2..] {
        conditions.push(RowCondition::parse(
            context.draft.before(),
            context.symbols,
            table,
            argument,
        )?);
    }
    let uuid = lookup::row_if_any(context.draft, table, context.arg(1))?;
    let row = uuid.and_then(|uuid| context.draft.row(table, uuid));
    match row {
        Some(row) if conditions.iter().all(|condition| condition.holds(row)) => Ok(()),
        _ => Err(CommandError::NotYet),
    }
}
