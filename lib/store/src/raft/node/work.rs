//! What a node wants done, in the order that keeps Raft's promises.

use bytes::Bytes;
use raft::eraftpb::{Entry, Message, MessageType};

use super::status::role;
use super::{Mark, Node, Role};
use crate::raft::convert::{
    entry_from_raft, hard_state_from_raft, kind_from_raft, members_from_raft,
};
use crate::storage::{self, EntryKind, LogEntry, LogPosition, Membership};

/// A committed entry, to be applied in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// Where it stands.
    pub position: LogPosition,
    /// Who proposed it, if it says so.
    pub mark: Option<Mark>,
    /// What it is to Raft.
    pub kind: EntryKind,
    /// The payload.
    pub data: Bytes,
}

/// What a node wants done.
#[derive(Debug, Default)]
pub struct Work {
    /// Entries to append to the log on disk.
    pub entries: Vec<LogEntry>,
    /// Raft's variables to write with them.
    pub hard_state: Option<storage::HardState>,
    /// Set if something here must be flushed: the number to give to [`Node::persisted`] then.
    pub flush: Option<u64>,
    /// Messages for peers that may go at once.
    pub messages: Vec<Message>,
    /// Messages for peers that may go only after the flush.
    pub messages_after_flush: Vec<Message>,
    /// Entries to apply.
    pub committed: Vec<Committed>,
    /// All rows are to be replaced by those of the snapshot that stands here.
    pub snapshot: Option<(LogPosition, Membership)>,
    /// Contexts of [`Node::read_index`] for which the leader still led afterwards, and up to where
    /// the log was committed then.
    pub reads: Vec<(u64, u64)>,
    /// The role, if it, or the leader, changed.
    pub role: Option<Role>,
}

impl Node {
    /// Takes the next portion of work, if there is any.
    pub fn take_work(&mut self) -> Option<Work> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let mut work = Work {
            messages: ready.take_messages(),
            messages_after_flush: ready.take_persisted_messages(),
            committed: ready
                .take_committed_entries()
                .into_iter()
                .map(committed_from_raft)
                .collect(),
            role: ready.ss().map(|state| role(state.raft_state)),
            ..Work::default()
        };
        if work.role.is_some() {
            self.told.clear();
        }
        for message in &work.messages {
            if let MessageType::MsgAppend | MessageType::MsgHeartbeat = message.get_msg_type() {
                let told = self.told.entry(message.to).or_default();
                *told = message.commit.max(*told);
            }
        }
        let reads = ready.take_read_states().into_iter();
        work.reads = reads
            .filter_map(|read| match read.request_ctx.as_chunks::<8>() {
                ([process, context], []) if u64::from_le_bytes(*process) == self.process => {
                    Some((u64::from_le_bytes(*context), read.index))
                }
                _ => None,
            })
            .collect();
        let entries = ready.take_entries();
        let metadata = ready.snapshot().get_metadata();
        if metadata.index > 0 {
            let position = LogPosition {
                index: metadata.index,
                term: metadata.term,
            };
            let conf_state = metadata.get_conf_state().clone();
            work.snapshot = Some((position, members_from_raft(&conf_state)));
            self.restoring = Some((ready.number(), position));
            self.raw.mut_store().restore(position, conf_state);
        }
        let log = self.raw.mut_store();
        log.append(&entries);
        if let Some(hard_state) = ready.hs() {
            if log.term_of_state() != hard_state.term {
                self.term_flush = ready.number();
            }
            log.set_hard_state(hard_state.clone());
            work.hard_state = Some(hard_state_from_raft(hard_state));
        }
        work.entries = entries.iter().map(entry_from_raft).collect();

        let number = ready.number();
        if self.term_flush <= self.flushed {
            // That it is there, in this term, is all that it says: nothing of what waits for the disk.
            let is_sign =
                |message: &mut Message| message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            let signs = work.messages_after_flush.extract_if(.., is_sign);
            work.messages.extend(signs);
        }
        let flush = ready.must_sync() || !work.messages_after_flush.is_empty();
        self.raw.advance_append_async(ready);
        if flush {
            self.flushing = number;
            work.flush = Some(number);
        } else if self.flushing == self.flushed {
            // Nothing in it has to wait for the disk, and nothing before it does.
            self.flushing = number;
            self.persisted(number);
        }
        Some(work)
    }
}

fn committed_from_raft(entry: Entry) -> Committed {
    Committed {
        position: LogPosition {
            index: entry.index,
            term: entry.term,
        },
        mark: Mark::decode(&entry.context),
        kind: kind_from_raft(entry.get_entry_type()),
        data: entry.data,
    }
}
