//! What the store tells about itself: in `_Server`, to operators, and in messages.

use super::{Core, lock_changed};
use crate::event::{Effects, Status};
use crate::server_database::DatabaseRow;
use crate::session::DatabaseId;

impl Core {
    /// What this member is doing, in a line, for messages.
    pub fn summary(&self) -> String {
        let status = self.node.status();
        format!(
            "{} of term {}, leader {}, log {}..{}, commit {}, applied {}, {} pending, {} forwarded",
            status.role.name(),
            status.term,
            status.leader,
            status.first,
            status.last,
            status.commit,
            status.applied,
            self.pending.len(),
            self.forwards.len(),
        )
    }

    /// How many bytes of the log do not show in the rows yet.
    pub fn unsettled_bytes(&self) -> usize {
        self.node.unsettled_bytes()
    }

    /// Whether it is known who leads.
    pub fn knows_leader(&self) -> bool {
        self.node.leader().0 != 0
    }

    /// Says in `_Server` how things stand.
    pub(super) fn describe(&mut self, effects: &mut Effects) {
        let changes = self.locks.set_active(self.serves());
        effects
            .outputs
            .extend(changes.into_iter().map(lock_changed));
        let status = self.node.status();
        self.described = self.serves();
        let row = DatabaseRow {
            connected: status.leader != 0,
            leader: self.serves(),
            index: i64::try_from(status.applied).ok(),
            ..self.server.main()
        };
        let Some(change) = self.server.set_main(&row) else {
            return;
        };
        self.waits.changed(DatabaseId::Server, change.table);
        for (key, update) in self.server.monitors.commit(&[change]) {
            self.tell(key, update, effects);
        }
    }

    pub(super) fn status(&self) -> Status {
        let tables = self.schema.tables.iter().enumerate();
        Status {
            identity: self.identity.clone(),
            raft: self.node.status(),
            sessions: self.sessions.len(),
            monitors: self.monitors.len() + self.server.monitors.len(),
            pending: self.pending.len(),
            blocked: self.waits.len(),
            rows: tables
                .map(|(index, table)| (table.name.clone(), self.head.row_count(index)))
                .collect(),
        }
    }
}
