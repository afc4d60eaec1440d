//! While a run goes on: members that have applied as much are equal, large transactions are there
//! as a whole or not at all, and watchers see what their member has.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use ovsdb::{Atom, Datum};

use super::World;
use super::reader::State;
use crate::client::LARGE;
use crate::plan::Bug;
use crate::schema;
use crate::watcher::Rows;

impl World {
    /// Compares what has changed since the last time, or everything.
    pub(crate) fn compare(&mut self, all: bool) -> Result<(), String> {
        let piece = schema().table_index("Piece");
        let mut compared = Vec::new();
        for (member, state) in &mut self.members {
            let Some(process) = state.process.as_mut() else {
                continue;
            };
            if process.compared == Some(process.core.applied().index) && !all {
                continue;
            }
            let content = process.core.content();
            let index = content.position.index;
            let mut rows = rows_of(&content);
            process.compared = Some(process.core.applied().index);
            match self.plan.bug {
                Some(Bug::Divergence) if self.random.percent(1) => drop(rows.pop_last()),
                Some(Bug::HalfApplied) if self.random.percent(1) => {
                    let last = rows
                        .keys()
                        .rfind(|(table, _)| Some(*table) == piece)
                        .copied();
                    last.and_then(|last| rows.remove(&last));
                }
                _ => {}
            }
            whole(&rows)
                .map_err(|error| format!("member {member} at log entry {index}: {error}"))?;
            let hash = hash(&rows);
            if *self.states.entry(index).or_insert(hash) != hash {
                return Err(format!(
                    "member {member} has other rows at log entry {index} than another member had"
                ));
            }
            let state = State::of(&rows);
            compared.push((*member, state));
            for (number, watcher) in self.watchers.iter().enumerate() {
                let watches = watcher.session.is_some_and(|(_, of)| of == *member);
                let watches = watches && watcher.started && !process.stopped;
                if watches && watcher.rows != watcher.shown(&rows) {
                    return Err(format!(
                        "watcher {number} does not see what member {member} has"
                    ));
                }
            }
        }
        for (member, state) in compared {
            self.state_was(&state)
                .map_err(|other| format!("member {member} has {other}"))?;
        }
        Ok(())
    }
}

/// Of each large transaction, all pieces are there.
fn whole(rows: &Rows) -> Result<(), String> {
    let table = schema().table_index("Piece");
    let mut pieces: BTreeMap<i64, u64> = BTreeMap::new();
    for (_, row) in rows.iter().filter(|((of, _), _)| Some(*of) == table) {
        if let Datum::One(Atom::Integer(operation)) = row.get(1) {
            *pieces.entry(*operation).or_default() += 1;
        }
    }
    match pieces.iter().find(|(_, count)| **count != LARGE) {
        Some((operation, count)) => Err(format!(
            "a part of a transaction: {count} of {LARGE} pieces of number {operation}"
        )),
        None => Ok(()),
    }
}

fn hash(rows: &Rows) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish()
}

/// The rows of a whole database.
pub(crate) fn rows_of(content: &store::peer::Content) -> Rows {
    let rows = content.rows.iter();
    rows.map(|(table, uuid, row)| ((*table, *uuid), row.clone()))
        .collect()
}
