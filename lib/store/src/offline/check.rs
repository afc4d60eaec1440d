//! Looking for what is wrong with a data directory, or with rows from elsewhere. Nothing is changed.

use std::path::Path;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use table::Database;

use super::{OfflineError, Rows, open_storage};
use crate::load;
use crate::storage::{State, Storage};

/// What a check has found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// What was looked at, a line each.
    pub facts: Vec<String>,
    /// What is wrong. Nothing, if all is well.
    pub problems: Vec<String>,
}

impl Findings {
    fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(text.into());
    }

    fn problem(&mut self, text: &dyn std::fmt::Display) {
        self.problems.push(text.to_string());
    }
}

/// Checks a data directory: the file's checksums, the log, the rows, and what the schema says of them. An error is that
/// nothing could be looked at.
pub fn check(directory: &Path, schema: &Arc<DatabaseSchema>) -> Result<Findings, OfflineError> {
    let mut findings = Findings::default();
    let mut storage = open_storage(directory)?;
    match storage.check_integrity() {
        Ok(true) => findings.fact("file: all checksums are right"),
        Ok(false) => findings.fact("file: mended after a crash; nothing that was written is lost"),
        Err(error) => {
            findings.problem(&error);
            return Ok(findings);
        }
    }
    let Some(state) = storage.load()? else {
        return Err(OfflineError::Missing(directory.display().to_string()));
    };
    check_log(&state, &mut findings);
    match load::load_to_the_end(&mut storage, schema) {
        Ok(loaded) => check_database(&loaded.database, &mut findings),
        Err(error) => findings.problem(&error),
    }
    Ok(findings)
}

/// Checks rows against their schema.
pub fn check_rows(schema: &Arc<DatabaseSchema>, rows: Rows) -> Findings {
    let mut findings = Findings::default();
    let mut database = Database::new(schema.clone());
    match database.load(rows) {
        Ok(()) => check_database(&database, &mut findings),
        Err(error) => findings.problem(&error),
    }
    findings
}

fn check_log(state: &State, findings: &mut Findings) {
    let identity = &state.identity;
    findings.fact(format!(
        "member {} of cluster {}, database {}",
        identity.member, identity.cluster, identity.database
    ));
    let last = state
        .entries
        .last()
        .map_or(state.truncated, |entry| entry.position);
    let entries = match state.entries.len() {
        0 => format!("no entries behind {}", last.index),
        _ => format!("entries {} to {}", state.truncated.index + 1, last.index),
    };
    findings.fact(format!(
        "log: {entries}, {} committed, {} applied, term {}",
        state.hard_state.commit, state.applied.index, state.hard_state.term
    ));
    let mut term = state.truncated.term;
    for entry in &state.entries {
        let position = entry.position;
        if position.term < term {
            findings.problem(&format!(
                "log entry {} is of term {}, after one of term {term}",
                position.index, position.term
            ));
        }
        term = position.term;
    }
    if last.term > state.hard_state.term {
        findings.problem(&format!(
            "the log has entries of term {}, but the member has seen term {} only",
            last.term, state.hard_state.term
        ));
    }
}

fn check_database(database: &Database, findings: &mut Findings) {
    let tables = 0..database.schema().tables.len();
    let rows: usize = tables.map(|table| database.row_count(table)).sum();
    findings.fact(format!("rows: {rows}"));
    match database.check_invariants() {
        Ok(()) => {
            findings.fact("rows: values, references and indexes are as the schema wants them");
        }
        Err(error) => findings.problem(&error),
    }
}
