//! What monitors are told when they begin, or when their conditions change.
//!
//! To find it may take a look at every row of large tables. What cannot be found in one slice is found piece by piece,
//! whenever there is nothing else to do (see [`Search`] and [`Missed`]). One is under way at a time. Those that come
//! meanwhile and are no shorter wait for their turns: sessions take turns, and in each the requests keep their order.
//!
//! A monitor begins at the end: its client is told of the state that there is then, and of every commit that follows. A
//! change of conditions holds at the end, too; until then, commits are told under the conditions from before.

use std::collections::VecDeque;
use std::sync::Arc;

use ovsdb::{Condition, Error, ErrorKind, RowChange, Uuid};
use rustc_hash::FxHashMap;

use super::Core;
use crate::event::{Effects, Output};
use crate::monitor::{Key, MAX_MONITORS_PER_SESSION, Missed, Monitors, Progress, Search, View};
use crate::session::{RequestId, SessionId};

/// With more rows that are not committed, one waits for them to be, for a while: each of them is looked at in the end.
const MAX_UNCOMMITTED_ROWS: usize = 4096;
/// So many milliseconds, at most.
const MAX_DELAY_MS: u64 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contents {
    current: Option<Current>,
    queues: FxHashMap<SessionId, VecDeque<Wanted>>,
    turns: VecDeque<SessionId>,
}

/// What a session wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) request: RequestId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A new monitor, whose client has the state of this name.
    Monitor { view: View, since: Option<Uuid> },
    /// Other conditions for one that there is.
    Conditions(Vec<(usize, Condition)>),
}

/// What is under way.
#[derive(Debug)]
struct Current {
    key: Key,
    request: RequestId,
    work: Work,
    /// When all was found but for what is not committed, in milliseconds.
    found_at: Option<u64>,
}

#[derive(Debug)]
enum Work {
    First(Search),
    Missed(Missed),
    Conditions(Search),
}

impl Contents {
    /// The head changes, or has just changed.
    pub(super) fn note(&mut self, delta: &[RowChange]) {
        if let Some(Current {
            work: Work::First(search) | Work::Conditions(search),
            ..
        }) = &mut self.current
        {
            search.note(delta);
        }
    }

    /// Whether there is something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some() || !self.turns.is_empty()
    }

    /// When to go on.
    pub(super) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        let waits = |current: &Current| current.found_at.is_some();
        match self.current.as_ref().is_some_and(waits) {
            true => Some(now_ms + 1),
            false => self.is_busy().then_some(now_ms),
        }
    }

    /// How many monitors of a session are about to begin, and about how many bytes their conditions have.
    pub(super) fn of_session(&self, session: SessionId) -> (usize, usize) {
        let waiting = self.queues.get(&session).into_iter().flatten();
        let waiting = waiting.filter_map(|wanted| match &wanted.what {
            What::Monitor { view, .. } => Some(view.weight()),
            What::Conditions(_) => None,
        });
        let current = self
            .current
            .iter()
            .filter_map(|current| match current.work {
                Work::First(_) | Work::Missed(_) if current.key.0 == session => {
                    Some(current.weight())
                }
                _ => None,
            });
        waiting
            .chain(current)
            .fold((0, 0), |(count, weight), more| (count + 1, weight + more))
    }

    /// A client went.
    pub(super) fn disconnect(&mut self, session: SessionId) {
        self.current.take_if(|current| current.key.0 == session);
        self.queues.remove(&session);
    }

    /// Forgets what was wanted of a monitor: the requests.
    pub(super) fn cancel(&mut self, key: Key) -> Vec<RequestId> {
        let current = self.current.take_if(|current| current.key == key);
        let mut requests: Vec<_> = current.iter().map(|current| current.request).collect();
        if let Some(queue) = self.queues.get_mut(&key.0) {
            let canceled = queue.iter().filter(|wanted| wanted.key == key);
            requests.extend(canceled.map(|wanted| wanted.request));
            queue.retain(|wanted| wanted.key != key);
        }
        requests
    }

    fn has_of(&self, session: SessionId) -> bool {
        let mut current = self.current.iter();
        self.queues.contains_key(&session) || current.any(|current| current.key.0 == session)
    }

    /// Lets it wait for its turn; gives it back if too much does.
    fn queue(&mut self, wanted: Wanted) -> Result<(), Wanted> {
        let session = wanted.key.0;
        // As long as it has a queue, it has a turn.
        let queue = self.queues.entry(session).or_insert_with(|| {
            self.turns.push_back(session);
            VecDeque::new()
        });
        if queue.len() >= MAX_MONITORS_PER_SESSION {
            return Err(wanted);
        }
        queue.push_back(wanted);
        Ok(())
    }

    /// What is wanted by the session whose turn it is.
    fn next(&mut self) -> Option<Wanted> {
        while let Some(session) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&session) else {
                continue;
            };
            let wanted = queue.pop_front();
            match queue.is_empty() {
                true => drop(self.queues.remove(&session)),
                false => self.turns.push_back(session),
            }
            if wanted.is_some() {
                return wanted;
            }
        }
        None
    }
}

impl Current {
    fn weight(&self) -> usize {
        match &self.work {
            Work::First(search) | Work::Conditions(search) => search.view().weight(),
            Work::Missed(missed) => missed.view().weight(),
        }
    }
}

impl Core {
    /// A session wants to be told of something: now if that is soon found, else when its turn comes.
    pub(super) fn want(&mut self, now_ms: u64, wanted: Wanted, effects: &mut Effects) {
        let session = wanted.key.0;
        let refused = |request| {
            let text = format!(
                "More than {MAX_MONITORS_PER_SESSION} monitors, or changes of their conditions, of \
                 this session wait for their turns."
            );
            let error = Error::new(ErrorKind::ResourcesExhausted, text);
            (session, Output::Refused { request, error })
        };
        if self.contents.has_of(session) {
            if let Err(wanted) = self.contents.queue(wanted) {
                effects.outputs.push(refused(wanted.request));
            }
            return;
        }
        let again = self.contents.current.is_some().then(|| Wanted {
            key: wanted.key,
            request: wanted.request,
            what: match &wanted.what {
                What::Monitor { view, since } => What::Monitor {
                    view: view.clone(),
                    since: *since,
                },
                What::Conditions(conditions) => What::Conditions(conditions.clone()),
            },
        });
        let Some(current) = self.begin(wanted, effects) else {
            return;
        };
        let Some(current) = self.advance_contents(now_ms, current, effects) else {
            return;
        };
        match again {
            None => self.contents.current = Some(current),
            Some(wanted) => {
                if let Err(wanted) = self.contents.queue(wanted) {
                    effects.outputs.push(refused(wanted.request));
                }
            }
        }
    }

    /// Does a little of what monitors wait for.
    pub(super) fn go_on_with_contents(&mut self, now_ms: u64, effects: &mut Effects) {
        let current = match self.contents.current.take() {
            Some(current) => Some(current),
            None => self
                .contents
                .next()
                .and_then(|wanted| self.begin(wanted, effects)),
        };
        let current = current.and_then(|current| self.advance_contents(now_ms, current, effects));
        self.contents.current = current;
    }

    fn begin(&mut self, wanted: Wanted, effects: &mut Effects) -> Option<Current> {
        let Wanted { key, request, what } = wanted;
        let work = match what {
            What::Monitor { view, since } => {
                self.want_lookups(&view);
                match since.and_then(|since| self.history.since(since)) {
                    Some(index) => Work::Missed(Missed::new(view, index)),
                    None => Work::First(Search::first(view, &self.head)),
                }
            }
            What::Conditions(conditions) => match self.changed_view(key, &conditions) {
                Ok((old, new)) => {
                    self.want_lookups(&new);
                    Work::Conditions(Search::changed(&old, new, &self.head))
                }
                Err(error) => {
                    let output = Output::Refused { request, error };
                    effects.outputs.push((key.0, output));
                    return None;
                }
            },
        };
        Some(Current {
            key,
            request,
            work,
            found_at: None,
        })
    }

    fn want_lookups(&mut self, view: &View) {
        for (table, column) in Monitors::indexable_columns(view) {
            self.head.want_lookup(table, &[column]);
        }
    }

    /// Goes on for a slice: with what is left, if something is.
    fn advance_contents(
        &mut self,
        now_ms: u64,
        mut current: Current,
        effects: &mut Effects,
    ) -> Option<Current> {
        let mut steps = self.slice_steps;
        let done = match &mut current.work {
            Work::First(search) | Work::Conditions(search) => {
                let looked = search.looked();
                let done = search.advance(&self.head, &mut steps);
                self.spent += search.looked() - looked;
                done
            }
            Work::Missed(missed) => match missed.advance(&self.history, &mut steps) {
                Progress::More => false,
                Progress::Done => {
                    self.finish_contents(current, effects);
                    return None;
                }
                Progress::Lost => {
                    // Too much has happened meanwhile.
                    let view = missed.view().clone();
                    current.work = Work::First(Search::first(view, &self.head));
                    false
                }
            },
        };
        if !done {
            return Some(current);
        }
        let found_at = *current.found_at.get_or_insert(now_ms);
        if self.pending_rows > MAX_UNCOMMITTED_ROWS && now_ms < found_at + MAX_DELAY_MS {
            return Some(current);
        }
        self.finish_contents(current, effects);
        None
    }

    /// Tells what was found.
    fn finish_contents(&mut self, current: Current, effects: &mut Effects) {
        let Current {
            key, request, work, ..
        } = current;
        let Some((backlog, _)) = self.sessions.get(&key.0) else {
            return;
        };
        let backlog = backlog.clone();
        let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
        let resumed = matches!(work, Work::Missed(_));
        let (view, update) = match work {
            Work::Missed(missed) => missed.finish(),
            Work::First(search) => search.finish(&self.head, uncommitted),
            Work::Conditions(search) => {
                let (view, update) = search.finish(&self.head, uncommitted);
                return self.switch((key, request), (view, update), effects);
            }
        };
        self.monitors.subscribe(key, view, backlog);
        let output = Output::MonitorStarted {
            request,
            resumed,
            state: self.history.state(),
            update: Arc::new(update),
        };
        effects.outputs.push((key.0, output));
    }
}
