//! The log: what Raft wants done, what is committed, and what can be forgotten.

use std::sync::Arc;

use ovsdb::RowChange;

use super::Core;
use super::transact::Reply;
use crate::entry::{self, Turn};
use crate::event::Effects;
use crate::parts::{self, Whole};
use crate::peer::PeerMessage;
use crate::raft::{Committed as CommittedEntry, Mark, Message, MessageType, NodeError, Role, Work};
use crate::storage::{EntryKind, LogPosition};
use crate::writer::Job;

/// The log is truncated when it has more entries than this, or more bytes than
/// [`MAX_LOG_BYTES`]; most of it stays, for members who are a little behind. The bytes are no fewer
/// than may be on their way to one of them, so that a stream that breaks costs no snapshot.
pub(super) const MAX_LOG_ENTRIES: usize = 16_384;
pub(super) const MAX_LOG_BYTES: usize = 32 << 20;
/// A part of so many of the log is forgotten at a time: what is forgotten at once holds up the
/// flush with which it goes.
const TRUNCATED_SHARE: usize = 32;
/// So many milliseconds later the others are told what is committed, unless there is more to say.
const NEWS_DELAY_MS: u64 = 1;
/// While a snapshot is on its way, the log may become so many times as long.
const SNAPSHOT_PATIENCE: usize = 8;

impl Core {
    pub(super) fn persisted(&mut self, flush: u64, effects: &mut Effects) {
        self.node.persisted(flush);
        while let Some((waits_for, _)) = self.after_flush.front()
            && *waits_for <= flush
        {
            let messages = self.after_flush.pop_front();
            for message in messages.into_iter().flat_map(|(_, messages)| messages) {
                self.post(message, effects);
            }
        }
    }

    /// Sends a message of Raft's.
    pub(super) fn post(&mut self, message: Message, effects: &mut Effects) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.take_snapshot(message);
        } else {
            let member = message.to;
            effects.messages.push((member, PeerMessage::Raft(message)));
        }
    }

    /// Does what Raft wants done.
    pub(super) fn drive(&mut self, effects: &mut Effects) {
        while let Some(work) = self.node.take_work() {
            let Work {
                entries,
                hard_state,
                flush,
                messages,
                messages_after_flush,
                committed,
                snapshot,
                reads,
                role,
            } = work;
            for message in messages {
                self.post(message, effects);
            }
            if let Some(flush) = flush
                && !messages_after_flush.is_empty()
            {
                self.after_flush.push_back((flush, messages_after_flush));
            }
            if role.is_some_and(|role| role != Role::Leader) {
                self.gather = None;
                self.lose_leadership(effects);
            }
            let mut job = Job {
                entries,
                hard_state,
                flush,
                ..Job::default()
            };
            let restored = snapshot.map_or(Ok(()), |(position, _)| {
                self.restore(position, &mut job, effects)
            });
            let applied = committed
                .iter()
                .try_for_each(|entry| self.apply(entry, &mut job, effects));
            if let Err(failure) = restored.and(applied) {
                effects.failure = Some(failure);
                return;
            }
            self.reads_confirmed(&reads, effects);
            if role.is_some() || self.described != self.serves() {
                self.describe(effects);
            }
            self.truncate(&mut job);
            effects.jobs.push(job);
        }
    }

    /// Tells the others that more is committed, a moment later: under load the next entries say so
    /// by themselves. Whoever has the answer to what it forwarded waits to have applied it, and is
    /// told at once.
    pub(super) fn spread_news(&mut self, now_ms: u64, effects: &mut Effects) {
        if !self.node.owes_news() {
            self.news_at = None;
            return;
        }
        let is_answer = |message: &PeerMessage| matches!(message, PeerMessage::Answer(_));
        let waits = effects
            .messages
            .iter()
            .any(|(_, message)| is_answer(message));
        let at = *self.news_at.get_or_insert(now_ms + NEWS_DELAY_MS);
        if waits || at <= now_ms {
            self.news_at = None;
            self.node.tell_news();
            self.drive(effects);
        }
    }

    /// Puts a transaction into the log, in parts if it is large. What counts is the place and the
    /// mark of the last.
    pub(super) fn propose(&mut self, entry: Vec<u8>) -> Result<(Mark, LogPosition), NodeError> {
        let term = self.term();
        let mut proposed = Err(NodeError::Refused("an empty entry".to_owned()));
        for part in parts::split(entry, self.part_bytes) {
            let (mark, index) = self.node.propose(part)?;
            proposed = Ok((mark, LogPosition { index, term }));
        }
        proposed
    }

    pub(super) fn apply(
        &mut self,
        entry: &CommittedEntry,
        job: &mut Job,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let position = entry.position;
        let failure =
            |what: &dyn std::fmt::Display| format!("log entry {}: {what}", position.index);
        match entry.kind {
            EntryKind::Normal => {
                let before = self.node.applied_position();
                let taken = self.parts.take(before, position, &entry.data);
                if let Some(whole) = taken.map_err(|error| failure(&error))? {
                    let delta = self.apply_data(entry, whole, job, effects);
                    let delta = delta.map_err(|what| failure(&what))?;
                    job.applied.push((position, delta));
                } else if self.parts.settled(position) == position {
                    job.applied.push((position, Arc::new([])));
                }
            }
            EntryKind::ConfChange => {
                return Err(failure(&"a change of members in an old form"));
            }
            EntryKind::ConfChangeV2 => {
                self.parts.cancel();
                let membership = self.node.apply_change(position.index, &entry.data);
                let membership = membership.map_err(|error| failure(&error))?;
                job.applied.push((position, Arc::new([])));
                job.membership = Some(membership.clone());
                effects.members = Some(membership);
                self.members_changed(entry.mark, effects);
            }
        }
        self.node.applied(position, self.parts.settled(position));
        self.resolve_proposals(position, entry.mark, effects);
        Ok(())
    }

    /// Applies a transaction that ends with this entry.
    fn apply_data(
        &mut self,
        entry: &CommittedEntry,
        whole: Whole,
        job: &mut Job,
        effects: &mut Effects,
    ) -> Result<Arc<[RowChange]>, String> {
        let position = entry.position;
        let ours = self
            .pending
            .pop_front_if(|pending| entry.mark == Some(pending.mark));
        let (delta, named, waiters) = match ours {
            Some(pending) => {
                self.pending_bytes -= pending.bytes;
                self.pending_rows -= pending.delta.len();
                let waiters = std::iter::once(pending.owner).chain(pending.others);
                (pending.delta, pending.named, waiters.collect())
            }
            None => {
                self.lose_leadership(effects);
                let head = &self.head;
                let old = |table, uuid| head.row(table, uuid).cloned();
                let read = entry::decode(&self.schema, &whole.bytes(), Turn::Next, old);
                let read = read.map_err(|error| error.to_string())?;
                self.note_change(&read.changes);
                let applied = self.head.apply(&read.changes);
                applied.map_err(|error| error.to_string())?;
                self.changed
                    .extend(read.changes.iter().map(|change| change.table));
                (read.changes.into(), read.named, Vec::new())
            }
        };
        if let Some(named) = named {
            job.names
                .extend(self.retries.insert(position.index, &named));
        }
        let updates = self.monitors.commit(&delta);
        if !delta.is_empty() {
            self.history.push(position.index, delta.clone());
        }
        effects.outputs.reserve(updates.len());
        for (key, update) in updates {
            self.tell(key, update, effects);
        }
        for waiter in waiters {
            // It is the same transaction, whoever sent it first: all of them have changed something.
            let reply = Reply::Done(waiter.outcome, Some(position.index));
            self.reply(&waiter.attempt, reply, effects);
            self.pieces.discard(waiter.attempt.transaction);
        }
        Ok(delta)
    }

    /// The head changes: what was begun on it before goes on with what it was.
    pub(super) fn note_change(&mut self, delta: &[RowChange]) {
        if let Some(gather) = &mut self.gather {
            gather.note(delta);
        }
        self.pieces.note(delta);
        self.contents.note(delta);
    }

    pub(super) fn take_back(&mut self, delta: &[RowChange]) {
        self.contents.note(delta);
        self.head
            .undo(delta)
            .expect("the newest delta can be taken back");
    }

    pub(super) fn truncate(&mut self, job: &mut Job) {
        let (entries, bytes) = self.node.log_size();
        let (max_entries, max_bytes) = self.log_limits;
        if entries > max_entries || bytes > max_bytes {
            let status = self.node.status();
            let mut index = status.first + (entries / TRUNCATED_SHARE) as u64;
            let patient = SNAPSHOT_PATIENCE;
            if entries <= max_entries * patient && bytes <= max_bytes * patient {
                index = index.min(self.node.snapshot_under_way().unwrap_or(index));
            }
            let truncated = self.node.truncate(index);
            if truncated.index >= status.first {
                job.truncate = Some(truncated);
            }
        }
    }
}
