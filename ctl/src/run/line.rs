//! The commands of a line, run over a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use northbound::find::parse_uuid;
use northbound::{Draft, Rows as _, Snapshot, matches};
use ovsdb::condition::{Clause, Condition};
use ovsdb::{Atom, Operation, Uuid};
use replica::TableSpec;

use crate::command::{Context, Invocation, NamedRow, Tables};
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

/// The rows of a table of which a line needs to see something.
#[derive(Default)]
struct Named {
    /// Their names or UUIDs.
    texts: BTreeSet<Arc<str>>,
    /// Whether more than the names is needed.
    whole: bool,
}

impl Named {
    fn add(&mut self, text: Arc<str>, whole: bool) {
        self.texts.insert(text);
        self.whole |= whole;
    }
}

/// What a line needs to see of the tables.
pub fn needed_tables(
    tool: &Tool,
    snapshot: &Snapshot,
    line: &[Invocation],
) -> Outcome<Vec<TableSpec>> {
    let schema = snapshot.schema();
    let mut whole: BTreeSet<usize> = schema.table_index(tool.global_table).into_iter().collect();
    let mut named: BTreeMap<usize, Named> = BTreeMap::new();
    for invocation in line {
        let fixed = match invocation.command.tables {
            Tables::Fixed(names) => names,
            Tables::Rows(names, rows) => match rows(invocation) {
                None => names,
                Some(rows) => {
                    for NamedRow { table, text, whole } in rows {
                        if let Some(table) = schema.table_index(table) {
                            named.entry(table).or_default().add(text.into(), whole);
                        }
                    }
                    &[]
                }
            },
            Tables::Asked(ask) => {
                whole.extend(ask(snapshot, invocation)?);
                &[]
            }
            Tables::Match(names, text) => {
                // What cannot be read is told when the command is done.
                let when = text(invocation).and_then(|text| matches::read(text).ok());
                for (table, name) in when.iter().flat_map(matches::rows_named) {
                    if let Some(table) = schema.table_index(table) {
                        named.entry(table).or_default().add(name, false);
                    }
                }
                names
            }
        };
        whole.extend(fixed.iter().filter_map(|name| schema.table_index(name)));
    }
    let of_names = named
        .into_iter()
        .filter(|(table, _)| !whole.contains(table))
        .filter_map(|(table, named)| {
            let column = schema.tables[table].column_index("name")?;
            let clauses = named.texts.into_iter().flat_map(|text| {
                let uuid = parse_uuid(&text).map(Clause::is_row);
                std::iter::once(Clause::equals(column, Atom::String(text))).chain(uuid)
            });
            let spec = TableSpec::all(table).rows(Condition::any(clauses));
            Some(match named.whole {
                true => spec,
                false => spec.columns([column]),
            })
        });
    let of_names: Vec<TableSpec> = of_names.collect();
    Ok(whole
        .into_iter()
        .map(TableSpec::all)
        .chain(of_names)
        .collect())
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
pub(crate) fn global_row(tool: &Tool, draft: &mut Draft<'_>) -> Option<(usize, Uuid)> {
    let table = draft.schema().table_index(tool.global_table)?;
    if let Some((uuid, _)) = draft.rows(table).next() {
        return Some((table, uuid));
    }
    let uuid = Uuid::new_v4();
    draft.expect_empty(table);
    draft.insert_row(table, uuid);
    Some((table, uuid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{parse_commands, parse_options};
    use crate::tools::NB;

    /// What a line needs to see: a table, and the names of the rows if not all.
    fn needed(words: &[&str]) -> Vec<(&'static str, Vec<String>)> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let line = parse_options(&NB, words).expect("the options are right");
        let line = parse_commands(&NB, line).expect("the commands are right");
        let schema = nb_db::schema();
        let snapshot = Snapshot::empty(Arc::clone(schema));
        let specs = needed_tables(&NB, &snapshot, &line).expect("there are such tables");
        let told = specs.into_iter().map(|spec| {
            let names = spec
                .condition
                .clauses()
                .iter()
                .filter_map(|clause| match clause {
                    Clause::Always(_) => None,
                    Clause::Compare { arg, .. } => Some(arg.scalar()?.as_str()?.to_owned()),
                });
            (&*schema.tables[spec.table].name, names.collect())
        });
        told.collect()
    }

    #[test]
    fn of_ports_only_those_are_seen_that_are_named() {
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let some = |name, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            (name, names.collect::<Vec<_>>())
        };
        let whole = |name| some(name, &[]);
        let nb = whole("NB_Global");
        let (switches, ports) = ("Logical_Switch", "Logical_Switch_Port");
        for (line, expected) in [
            (
                "lsp-add s p",
                vec![some(switches, &["s"]), some(ports, &["p"])],
            ),
            ("lsp-set-type p router", vec![some(ports, &["p"])]),
            (
                "lsp-add s p -- lsp-add s q -- lsp-get-up q",
                vec![some(switches, &["s"]), some(ports, &["p", "q"])],
            ),
            // Whose port it is that is there already is compared.
            (
                "--may-exist lsp-add s p",
                vec![whole(switches), whole(ports)],
            ),
            (
                "lsp-add s p -- lsp-list s",
                vec![whole(switches), whole(ports)],
            ),
            (
                format!("lsp-get-type {uuid}").as_str(),
                vec![some(ports, &[uuid])],
            ),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let mut told = needed(&words);
            told.sort();
            let mut expected = expected;
            expected.push(nb.clone());
            expected.sort();
            assert_eq!(told, expected, "{line}");
        }
    }

    #[test]
    fn of_what_a_match_names_only_that_is_seen() {
        let when = "outport == {\"p\", \"q\"} && ip4.src == $a";
        let mut line = vec!["qos-add", "s", "to-lport", "1", when, "dscp=1"];
        let whole = |name| (name, Vec::new());
        let some =
            |name, names: &[&str]| (name, names.iter().map(|name| (*name).to_owned()).collect());
        let mut expected = vec![
            whole("Logical_Switch"),
            whole("NB_Global"),
            whole("QoS"),
            some("Address_Set", &["a"]),
            some("Logical_Router_Port", &["p", "q"]),
            some("Logical_Switch_Port", &["p", "q"]),
        ];
        let sorted = |mut needed: Vec<_>| {
            needed.sort();
            needed
        };
        expected.sort();
        assert_eq!(sorted(needed(&line)), expected);
        // Another command of the line needs all of one of them.
        line.extend(["--", "lsp-list", "s"]);
        for row in &mut expected {
            if row.0 == "Logical_Switch_Port" {
                row.1.clear();
            }
        }
        assert_eq!(sorted(needed(&line)), expected);
        // What cannot be read names nothing.
        let wrong = ["qos-add", "s", "to-lport", "1", "outport ==", "dscp=1"];
        assert_eq!(needed(&wrong).len(), 3);
    }
}
