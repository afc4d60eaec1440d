//! Monitors: their start, their conditions, and what they are told.
//!
//! They see the committed state only, on every member: of a member that lags behind, an old one.

use std::sync::Arc;

use ovsdb::{Condition, Error, ErrorKind, Uuid};

use super::Core;
use crate::committed::Committed;
use crate::event::{Effects, Output};
use crate::monitor::{Key, MAX_MONITORS_PER_SESSION, Monitors, Update, View};
use crate::session::{DatabaseId, RequestId, SessionId};

/// So many bytes the conditions of a session may have.
const MAX_CONDITION_BYTES: usize = 16 << 20;

impl Core {
    pub(super) fn monitor(
        &mut self,
        database: DatabaseId,
        key: Key,
        view: View,
        since: Option<Uuid>,
        request: RequestId,
    ) -> Result<Output, Error> {
        let monitors = self.monitors.of_session(key.0) + self.server.monitors.of_session(key.0);
        let backlog = self
            .sessions
            .get(&key.0)
            .map(|(backlog, _)| backlog.clone());
        let backlog = backlog.filter(|_| monitors < MAX_MONITORS_PER_SESSION);
        let Some(backlog) = backlog else {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("More than {MAX_MONITORS_PER_SESSION} monitors in one session."),
            ));
        };
        view.check()?;
        self.check_weight(key, view.weight())?;
        if database == DatabaseId::Server {
            let committed = Committed::new(&self.server.database, [].into_iter());
            let monitors = &mut self.server.monitors;
            return Ok(Output::MonitorStarted {
                request,
                resumed: false,
                state: Uuid::nil(),
                update: Arc::new(monitors.subscribe(key, view, backlog, &committed)),
            });
        }
        for (table, column) in Monitors::indexable_columns(&view) {
            self.head.add_lookup(table, &[column]);
        }
        let missed = since.and_then(|since| self.history.since(since));
        let update = match &missed {
            Some(missed) => self.monitors.resume(key, view, backlog, missed),
            None => {
                let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
                let committed = Committed::new(&self.head, uncommitted);
                self.monitors.subscribe(key, view, backlog, &committed)
            }
        };
        Ok(Output::MonitorStarted {
            request,
            resumed: missed.is_some(),
            state: self.history.state(),
            update: Arc::new(update),
        })
    }

    /// Whether the monitors of a session may have conditions of so many more bytes.
    fn check_weight(&self, (session, _): Key, more: usize) -> Result<(), Error> {
        let monitors = [&self.monitors, &self.server.monitors];
        let weight: usize = monitors
            .map(|monitors| monitors.weight_of(session))
            .iter()
            .sum();
        if weight + more <= MAX_CONDITION_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ResourcesExhausted,
            format!(
                "The conditions of this session's monitors have more than {MAX_CONDITION_BYTES} bytes."
            ),
        ))
    }

    /// Whether a monitor may have these conditions, with what they need to be evaluated.
    pub(super) fn check_conditions(
        &mut self,
        key: Key,
        conditions: &[(usize, Condition)],
    ) -> Result<(), Error> {
        let is_main = self.monitors.contains(key);
        let monitors = match is_main {
            true => &self.monitors,
            false => &self.server.monitors,
        };
        let Some((view, weight)) = monitors.changed_view(key, conditions) else {
            return Ok(());
        };
        view.check()?;
        self.check_weight(key, view.weight().saturating_sub(weight))?;
        if is_main {
            for (table, column) in Monitors::indexable_columns(&view) {
                self.head.add_lookup(table, &[column]);
            }
        }
        Ok(())
    }

    /// False if there is no such monitor.
    pub(super) fn change_conditions(
        &mut self,
        key: Key,
        conditions: &[(usize, Condition)],
        request: RequestId,
        effects: &mut Effects,
    ) -> bool {
        let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
        let (monitors, committed) = if self.monitors.contains(key) {
            (&mut self.monitors, Committed::new(&self.head, uncommitted))
        } else {
            let committed = Committed::new(&self.server.database, [].into_iter());
            (&mut self.server.monitors, committed)
        };
        let Some(updates) = monitors.change(key, conditions, &committed) else {
            return false;
        };
        effects
            .outputs
            .push((key.0, Output::ConditionsChange { request }));
        for update in updates {
            self.tell(key, Arc::new(update), effects);
        }
        true
    }

    pub(super) fn drained(&mut self, session: SessionId, effects: &mut Effects) {
        let updates = self.monitors.drained(session);
        for (key, update) in updates
            .into_iter()
            .chain(self.server.monitors.drained(session))
        {
            self.tell(key, update, effects);
        }
    }

    pub(super) fn tell(&self, (session, monitor): Key, update: Arc<Update>, effects: &mut Effects) {
        let Some((backlog, _)) = self.sessions.get(&session) else {
            return;
        };
        backlog.add();
        let output = Output::Updated {
            monitor,
            state: self.history.state(),
            update,
        };
        effects.outputs.push((session, output));
    }
}
