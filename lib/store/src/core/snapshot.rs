//! A snapshot of another member, for a member that is too far behind to be given the log.
//!
//! Whoever gets one (see `gather` for how it is taken) compares it with its own rows and applies
//! the difference like a commit, so that monitors go on without a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::{Row, RowChange, Uuid};

use super::Core;
use crate::event::Effects;
use crate::peer::Snapshot;
use crate::retries::Retries;
use crate::storage::LogPosition;
use crate::writer::Job;

impl Core {
    /// A snapshot is here; whether it is of use is for Raft to say.
    pub(super) fn snapshot_arrived(&mut self, snapshot: Snapshot) {
        let message = snapshot.message.clone();
        let metadata = message.get_snapshot().get_metadata();
        if metadata.index != snapshot.content.position.index {
            tracing::warn!("a snapshot does not stand where it says");
            return;
        }
        self.arrived = Some(snapshot);
        if let Err(error) = self.node.receive(message) {
            tracing::debug!("a snapshot was not taken: {error}");
        }
    }

    /// Replaces everything by the snapshot that arrived.
    pub(super) fn restore(
        &mut self,
        position: LogPosition,
        job: &mut Job,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let arrived = self.arrived.take();
        let arrived = arrived.filter(|snapshot| snapshot.content.position == position);
        let snapshot = arrived.ok_or("raft restores a snapshot that did not arrive")?;
        let content = snapshot.content;
        self.lose_leadership(effects);
        self.parts.cancel();
        self.gather = None;
        let delta = self.difference(&content.rows);
        self.note_change(&delta);
        let applied = self.head.apply(&delta);
        applied.map_err(|error| format!("the snapshot contradicts itself: {error}"))?;
        self.changed.extend(delta.iter().map(|change| change.table));
        self.history.restart(content.data_index);
        self.retries = Retries::load(content.names.clone());
        self.node.know_members(&content.membership);
        for (key, update) in self.monitors.commit(&delta) {
            self.tell(key, update, effects);
        }
        effects.members = Some(content.membership.clone());
        tracing::info!(
            "took a snapshot at log entry {} from member {}: {} rows, {} of them changed",
            position.index,
            snapshot.message.from,
            content.rows.len(),
            delta.len(),
        );
        job.snapshot = Some(content);
        self.skip_proposals(position.index, effects);
        Ok(())
    }

    /// What makes the rows here equal to others.
    fn difference(&self, rows: &[(usize, Uuid, Arc<Row>)]) -> Vec<RowChange> {
        let new: BTreeMap<(usize, Uuid), &Arc<Row>> = rows
            .iter()
            .map(|(table, uuid, row)| ((*table, *uuid), row))
            .collect();
        let tables = 0..self.schema.tables.len();
        let gone = tables.flat_map(|table| {
            let rows = self.head.rows(table);
            rows.map(move |(uuid, row)| (table, uuid, row))
        });
        let gone = gone
            .filter(|(table, uuid, _)| !new.contains_key(&(*table, *uuid)))
            .map(|(table, uuid, row)| RowChange {
                table,
                uuid,
                old: Some(row.clone()),
                new: None,
            });
        let mut delta: Vec<RowChange> = gone.collect();
        for ((table, uuid), row) in new {
            let old = self.head.row(table, uuid).cloned();
            if old.as_ref() != Some(row) {
                delta.push(RowChange {
                    table,
                    uuid,
                    old,
                    new: Some(row.clone()),
                });
            }
        }
        delta
    }
}
