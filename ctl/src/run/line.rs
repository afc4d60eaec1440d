//! The commands of a line, run over a snapshot.

use ovsdb::{Operation, Uuid};

use northbound::{Draft, Rows as _, Snapshot};

use crate::command::{Context, Invocation, Tables};
use crate::error::{Outcome, fail};
use crate::options::Wait;
use crate::output::Output;
use crate::symbols::Symbols;
use crate::tool::Tool;

/// What the commands of a line want.
#[derive(Debug)]
pub struct Executed {
    /// What they print, each of them, if the commit succeeds.
    pub outputs: Vec<Output>,
    /// What somebody should know.
    pub warnings: Vec<String>,
    /// What is to be committed; nothing if nothing changes.
    pub operations: Vec<Operation>,
    /// Whether the commit increments `nb_cfg`: the last operation then reads it.
    pub increments: bool,
}

/// The indexes of the tables that a line needs to see.
pub fn needed_tables(tool: &Tool, snapshot: &Snapshot, line: &[Invocation]) -> Outcome<Vec<usize>> {
    let schema = snapshot.schema();
    let mut tables: Vec<usize> = schema.table_index(tool.global_table).into_iter().collect();
    for invocation in line {
        match invocation.command.tables {
            Tables::Fixed(names) => {
                tables.extend(names.iter().filter_map(|name| schema.table_index(name)));
            }
            Tables::Asked(ask) => tables.extend(ask(snapshot, invocation)?),
        }
    }
    tables.sort_unstable();
    tables.dedup();
    Ok(tables)
}

/// Runs the commands of a line, and says what they print and change.
pub fn execute(
    tool: &Tool,
    snapshot: &Snapshot,
    line: &[Invocation],
    wait: Wait,
) -> Outcome<Executed> {
    let mut draft = Draft::new(snapshot);
    let mut symbols = Symbols::default();
    let global = global_row(tool, &mut draft);
    let mut outputs = Vec::new();
    let mut warnings = Vec::new();
    for invocation in line {
        let mut context = Context {
            draft: &mut draft,
            symbols: &mut symbols,
            invocation,
            output: Output::default(),
            warnings: Vec::new(),
        };
        (invocation.command.run)(&mut context)?;
        outputs.push(context.output);
        warnings.extend(context.warnings);
    }
    if let Some(name) = symbols.undefined() {
        return fail(format!(
            "row id \"{name}\" is referenced but never created (e.g. with \"-- --id={name} create ...\")"
        ));
    }
    for (name, is_weak) in symbols.unreferenced(&draft) {
        let what = if is_weak {
            "only a weak reference to it was"
        } else {
            "no reference to it was"
        };
        warnings.push(format!(
            "row id \"{name}\" was created but {what} inserted, so it will not actually appear in the database"
        ));
    }
    let is_sync = line
        .iter()
        .any(|invocation| invocation.command.name == "sync");
    let mut increments = false;
    if wait != Wait::None
        && (is_sync || !draft.is_unchanged())
        && let Some((table, uuid)) = global
        && let Some(column) = draft.table_schema(table).column_index("nb_cfg")
    {
        draft.increment(table, uuid, column);
        increments = true;
    }
    Ok(Executed {
        outputs,
        warnings,
        operations: draft.operations(),
        increments,
    })
}

/// The one row of the tool's global table, made if it is not there yet.
fn global_row(tool: &Tool, draft: &mut Draft<'_>) -> Option<(usize, Uuid)> {
    let table = draft.schema().table_index(tool.global_table)?;
    if let Some((uuid, _)) = draft.rows(table).next() {
        return Some((table, uuid));
    }
    let uuid = Uuid::new_v4();
    draft.expect_empty(table);
    draft.insert_row(table, uuid);
    Some((table, uuid))
}
