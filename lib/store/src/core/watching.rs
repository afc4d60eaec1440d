//! Monitors: their start, their conditions, and what they are told.
//!
//! They see the committed state only, on every member: of a member that lags behind, an old one.

use std::sync::Arc;

use ovsdb::{Condition, Error, ErrorKind, Uuid};

use super::Core;
use super::contents::{Wanted, What};
use crate::event::{Effects, Output};
use crate::monitor::{Key, MAX_MONITORS_PER_SESSION, Search, Update, View};
use crate::session::{DatabaseId, RequestId, SessionId};

/// So many bytes the conditions of a session may have.
const MAX_CONDITION_BYTES: usize = 16 << 20;

impl Core {
    /// Begins a monitor, at once or when its turn comes.
    pub(super) fn monitor(
        &mut self,
        now_ms: u64,
        database: DatabaseId,
        (key, request): (Key, RequestId),
        (view, since): (View, Option<Uuid>),
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let monitors = self.monitors.of_session(key.0) + self.server.monitors.of_session(key.0);
        let (beginning, _) = self.contents.of_session(key.0);
        let backlog = self.sessions.get(&key.0);
        let backlog = backlog.map(|(backlog, _)| backlog.clone());
        let backlog = backlog.filter(|_| monitors + beginning < MAX_MONITORS_PER_SESSION);
        let Some(backlog) = backlog else {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("More than {MAX_MONITORS_PER_SESSION} monitors in one session."),
            ));
        };
        view.check()?;
        self.check_weight(key, view.weight())?;
        if database == DatabaseId::Main {
            let what = What::Monitor { view, since };
            self.want(now_ms, Wanted { key, request, what }, effects);
            return Ok(());
        }
        // It has two rows.
        let mut search = Search::first(view, &self.server.database);
        search.advance(&self.server.database, &mut usize::MAX.clone());
        let (view, update) = search.finish(&self.server.database, [].into_iter());
        self.server.monitors.subscribe(key, view, backlog);
        let output = Output::MonitorStarted {
            request,
            resumed: false,
            state: Uuid::nil(),
            update: Arc::new(update),
        };
        effects.outputs.push((key.0, output));
        Ok(())
    }

    /// Gives a monitor other conditions, at once or when its turn comes.
    pub(super) fn change_conditions(
        &mut self,
        now_ms: u64,
        (key, request): (Key, RequestId),
        conditions: Vec<(usize, Condition)>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        if !self.server.monitors.contains(key) {
            let what = What::Conditions(conditions);
            self.want(now_ms, Wanted { key, request, what }, effects);
            return Ok(());
        }
        let (old, new) = self.changed_view(key, &conditions)?;
        let mut search = Search::changed(&old, new, &self.server.database);
        search.advance(&self.server.database, &mut usize::MAX.clone());
        let found = search.finish(&self.server.database, [].into_iter());
        self.switch((key, request), found, effects);
        Ok(())
    }

    /// Ends a monitor, or lets it not begin.
    pub(super) fn cancel_monitor(
        &mut self,
        (key, request): (Key, RequestId),
        effects: &mut Effects,
    ) -> Output {
        let canceled = self.contents.cancel(key);
        let was_wanted = !canceled.is_empty();
        for request in canceled {
            let error = Error::new(ErrorKind::Canceled, "The monitor was canceled.");
            let output = Output::Refused { request, error };
            effects.outputs.push((key.0, output));
        }
        match self.monitors.cancel(key) || self.server.monitors.cancel(key) || was_wanted {
            true => Output::Done { request },
            false => Output::Refused {
                request,
                error: unknown_monitor(),
            },
        }
    }

    /// Whether the monitors of a session may have conditions of so many more bytes.
    fn check_weight(&self, (session, _): Key, more: usize) -> Result<(), Error> {
        let monitors = [&self.monitors, &self.server.monitors];
        let weights = monitors.map(|monitors| monitors.weight_of(session));
        let (_, beginning) = self.contents.of_session(session);
        if weights.iter().sum::<usize>() + beginning + more <= MAX_CONDITION_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ResourcesExhausted,
            format!(
                "The conditions of this session's monitors have more than {MAX_CONDITION_BYTES} bytes."
            ),
        ))
    }

    /// What a monitor shows, and what it would show with these conditions, if it may.
    pub(super) fn changed_view(
        &self,
        key: Key,
        conditions: &[(usize, Condition)],
    ) -> Result<(View, View), Error> {
        let monitors = [&self.monitors, &self.server.monitors];
        let old = monitors.iter().find_map(|monitors| monitors.view(key));
        let old = old.ok_or_else(unknown_monitor)?;
        let new = old.with(conditions);
        new.check()?;
        self.check_weight(key, new.weight().saturating_sub(old.weight()))?;
        Ok((old.clone(), new))
    }

    /// Lets a monitor show something else from now on: these rows come into view with it, or go out of it.
    pub(super) fn switch(
        &mut self,
        (key, request): (Key, RequestId),
        (view, moved): (View, Update),
        effects: &mut Effects,
    ) {
        let monitors = match self.monitors.contains(key) {
            true => &mut self.monitors,
            false => &mut self.server.monitors,
        };
        let Some(waiting) = monitors.change(key, view) else {
            let error = unknown_monitor();
            let output = Output::Refused { request, error };
            return effects.outputs.push((key.0, output));
        };
        let change = Output::ConditionsChange { request };
        effects.outputs.push((key.0, change));
        let moved = Some(moved).filter(|update| !update.is_empty());
        for update in waiting.into_iter().chain(moved) {
            self.tell(key, Arc::new(update), effects);
        }
        effects.outputs.push((key.0, Output::Done { request }));
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

fn unknown_monitor() -> Error {
    Error::new(ErrorKind::UnknownMonitor, "No such monitor.")
}
