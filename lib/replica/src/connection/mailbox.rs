//! What the owner of a replica asks of it, on its way to the task.
//!
//! Nobody waits here. What says how things should be (conditions, remotes, a new connection) is kept by what it is
//! about, the latest word only, so that it takes no more room however often it is said. Transactions stand in a queue
//! of limited length; beyond it the owner has its transaction back at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovsdb::operation::Operation;
use ovsdb::{Condition, Error, ErrorKind, Remote};
use tokio::sync::mpsc;

use crate::core::Command;
use crate::error::TransactError;

/// So many transactions may wait for the task to take them.
pub(super) const MAX_QUEUED: usize = 1024;

/// Both ends.
pub(super) fn mailbox() -> (Mailbox, Inbox) {
    let (queue, receiver) = mpsc::channel(MAX_QUEUED);
    let wishes = Arc::new(Mutex::new(Wishes::default()));
    let mailbox = Mailbox {
        queue,
        wishes: wishes.clone(),
    };
    let queue = receiver;
    (mailbox, Inbox { queue, wishes })
}

/// The owner's end.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    queue: mpsc::Sender<Item>,
    wishes: Arc<Mutex<Wishes>>,
}

/// The task's end.
pub(super) struct Inbox {
    queue: mpsc::Receiver<Item>,
    wishes: Arc<Mutex<Wishes>>,
}

enum Item {
    Transact {
        id: u64,
        operations: Vec<Operation>,
    },
    /// There is something to be read in the wishes.
    Wish,
}

/// How things should be, as far as the task has not taken it up.
#[derive(Debug, Default)]
struct Wishes {
    reconnect: bool,
    remotes: Option<Vec<Remote>>,
    /// By table; a schema has a few dozen.
    conditions: BTreeMap<usize, Condition>,
    /// The number of the last change of conditions, ever.
    number: u64,
    /// Whether there was one since the task took them.
    changed: bool,
}

impl Mailbox {
    /// # Errors
    /// When too many wait; this one never will be executed then.
    pub(super) fn transact(
        &self,
        id: u64,
        operations: Vec<Operation>,
    ) -> Result<(), TransactError> {
        match self.queue.try_send(Item::Transact { id, operations }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(TransactError::Refused(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("{MAX_QUEUED} transactions wait to be sent"),
            ))),
            // The task has ended if nobody receives; then the owner's channel is gone too, and nobody wants to know.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Gives the number of this change.
    pub(super) fn set_conditions(
        &self,
        conditions: impl IntoIterator<Item = (usize, Condition)>,
    ) -> u64 {
        let number = {
            let mut wishes = lock(&self.wishes);
            wishes.conditions.extend(conditions);
            wishes.changed = true;
            wishes.number += 1;
            wishes.number
        };
        self.wake();
        number
    }

    pub(super) fn set_remotes(&self, remotes: Vec<Remote>) {
        lock(&self.wishes).remotes = Some(remotes);
        self.wake();
    }

    pub(super) fn reconnect(&self) {
        lock(&self.wishes).reconnect = true;
        self.wake();
    }

    fn wake(&self) {
        // A full queue wakes the task as well.
        let _ = self.queue.try_send(Item::Wish);
    }
}

impl Inbox {
    /// The next command, wishes first; `None` when the owner is gone. May be dropped and called again at any time.
    pub(super) async fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = lock(&self.wishes).take() {
                return Some(command);
            }
            if let Item::Transact { id, operations } = self.queue.recv().await? {
                return Some(Command::Transact { id, operations });
            }
        }
    }
}

impl Wishes {
    fn take(&mut self) -> Option<Command> {
        if let Some(remotes) = self.remotes.take() {
            return Some(Command::SetRemotes(remotes));
        }
        if std::mem::take(&mut self.reconnect) {
            return Some(Command::Reconnect);
        }
        if std::mem::take(&mut self.changed) {
            let conditions = std::mem::take(&mut self.conditions);
            return Some(Command::SetConditions(
                self.number,
                conditions.into_iter().collect(),
            ));
        }
        None
    }
}

fn lock(wishes: &Mutex<Wishes>) -> MutexGuard<'_, Wishes> {
    wishes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: Option<Command>) -> String {
        match command {
            Some(Command::Transact { id, .. }) => format!("transaction {id}"),
            Some(Command::SetConditions(number, conditions)) => {
                let tables: Vec<usize> = conditions.iter().map(|(table, _)| *table).collect();
                format!("conditions {number} of {tables:?}")
            }
            Some(Command::SetRemotes(remotes)) => format!("{} remotes", remotes.len()),
            Some(Command::Reconnect) => "reconnect".to_owned(),
            None => "gone".to_owned(),
        }
    }

    #[tokio::test]
    async fn wishes_take_no_room_and_a_queue_has_an_end() {
        let (mailbox, mut inbox) = mailbox();
        for _ in 0..3 * MAX_QUEUED {
            mailbox.set_conditions([(1, Condition::everything())]);
            mailbox.set_remotes(Vec::new());
            mailbox.reconnect();
        }
        // The words that woke the task have filled the queue; they go when it looks.
        for expected in ["0 remotes", "reconnect", "conditions 3072 of [1]"] {
            assert_eq!(shown(inbox.next().await), expected);
        }
        mailbox.set_conditions([(2, Condition::everything()), (0, Condition::everything())]);
        assert_eq!(shown(inbox.next().await), "conditions 3073 of [0, 2]");

        let (mailbox, mut inbox) = self::mailbox();
        for id in 0..MAX_QUEUED as u64 {
            mailbox.transact(id, Vec::new()).unwrap();
        }
        let refused = mailbox.transact(9999, Vec::new()).unwrap_err();
        assert!(matches!(refused, TransactError::Refused(_)), "{refused}");
        mailbox.reconnect();
        assert_eq!(shown(inbox.next().await), "reconnect");
        assert_eq!(shown(inbox.next().await), "transaction 0");
        mailbox.transact(1024, Vec::new()).unwrap();
        for id in 1..=MAX_QUEUED {
            assert_eq!(shown(inbox.next().await), format!("transaction {id}"));
        }
        drop(mailbox);
        assert_eq!(shown(inbox.next().await), "gone");
    }
}
