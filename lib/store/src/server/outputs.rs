//! What the core has said to a session, and the session has not taken.
//!
//! The core never waits, so the queue has an end: a session that leaves so much unread is cut off.
//! In practice other limits come first: the core refuses requests of a session that has many bytes
//! of answers to read ([`Backlog::held`]), merges the updates of its monitors, and the doors limit
//! how much may be asked at a time.

use std::sync::Arc;

use ovsdb::operation::OpResult;
use tokio::sync::mpsc;

use crate::event::{Backlog, Output};

/// So many outputs may wait: more than a session can have requests unanswered and updates queued.
const MAX_QUEUED: usize = 8192;
/// About what a row, and a column of one, costs in memory besides the text that it shares.
const ROW_BYTES: usize = 96;
const COLUMN_BYTES: usize = 48;

/// A new queue, whose bytes `backlog` counts.
pub fn queue(backlog: &Arc<Backlog>) -> (Speaker, Outputs) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let speaker = Speaker {
        sender,
        backlog: backlog.clone(),
    };
    let outputs = Outputs {
        receiver,
        backlog: backlog.clone(),
    };
    (speaker, outputs)
}

/// The core's end.
#[derive(Debug)]
pub struct Speaker {
    sender: mpsc::Sender<Box<Told>>,
    backlog: Arc<Backlog>,
}

/// The session's end.
#[derive(Debug)]
pub struct Outputs {
    receiver: mpsc::Receiver<Box<Told>>,
    backlog: Arc<Backlog>,
}

/// The session does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overflow;

#[derive(Debug)]
struct Told {
    output: Output,
    bytes: usize,
}

impl Speaker {
    /// Says something.
    ///
    /// # Errors
    /// When too much waits: the session hears nothing any more.
    pub fn say(&self, output: Output) -> Result<(), Overflow> {
        let bytes = weight(&output);
        self.backlog.hold(bytes);
        match self.sender.try_send(Box::new(Told { output, bytes })) {
            // A session that is just ending has nobody to tell.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.backlog.cut_off();
                Err(Overflow)
            }
        }
    }
}

impl Outputs {
    /// The next; `None` when the core is gone or has cut this session off.
    pub async fn recv(&mut self) -> Option<Output> {
        if self.is_cut_off() {
            return None;
        }
        let told = self.receiver.recv().await?;
        Some(self.take(*told))
    }

    /// The next, if it is there.
    pub fn try_recv(&mut self) -> Option<Output> {
        let told = self.receiver.try_recv().ok()?;
        Some(self.take(*told))
    }

    /// Whether the core gave up on this session, because it did not take what was said.
    pub fn is_cut_off(&self) -> bool {
        self.backlog.is_cut_off()
    }

    fn take(&self, Told { output, bytes }: Told) -> Output {
        self.backlog.release(bytes);
        output
    }
}

/// About how much memory waits with an answer. Updates are counted apart, see [`Backlog::add`].
fn weight(output: &Output) -> usize {
    match output {
        Output::Transacted { outcome, .. } => {
            let done = match outcome {
                Ok(done) => done,
                Err(failure) => &failure.done,
            };
            done.iter().map(weight_of_result).sum()
        }
        Output::MonitorStarted { update, .. } => {
            let tables = update.tables.iter();
            tables.map(|(_, rows)| rows.len() * ROW_BYTES).sum()
        }
        Output::Repeated { results, .. } => results.len(),
        _ => 0,
    }
}

fn weight_of_result(result: &OpResult) -> usize {
    match result {
        OpResult::Rows(rows) => {
            let columns = rows.first().map_or(0, Vec::len);
            rows.len() * (ROW_BYTES + columns * COLUMN_BYTES)
        }
        OpResult::Selected(selected) => {
            selected.rows.len() * (ROW_BYTES + selected.columns.len() * COLUMN_BYTES)
        }
        OpResult::Empty | OpResult::Inserted(_) | OpResult::Count(_) => COLUMN_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RequestId;

    fn answer(rows: usize) -> Output {
        let row = vec![("a".into(), ovsdb::Datum::from(1))];
        Output::Transacted {
            request: RequestId(1),
            asked: 1,
            outcome: Ok(vec![OpResult::Rows(vec![row; rows])]),
            state: None,
        }
    }

    #[tokio::test]
    async fn what_waits_is_counted_until_it_is_taken() {
        let backlog = Arc::new(Backlog::default());
        let (speaker, mut outputs) = queue(&backlog);
        for _ in 0..3 {
            speaker.say(answer(1000)).unwrap();
        }
        assert_eq!(backlog.held(), 3 * 1000 * (ROW_BYTES + COLUMN_BYTES));
        outputs.recv().await.unwrap();
        outputs.try_recv().unwrap();
        outputs.try_recv().unwrap();
        assert_eq!(backlog.held(), 0);
        assert!(outputs.try_recv().is_none());
        drop(speaker);
        assert!(outputs.recv().await.is_none() && !outputs.is_cut_off());
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off() {
        let (speaker, mut outputs) = queue(&Arc::default());
        for _ in 0..MAX_QUEUED {
            speaker.say(answer(0)).unwrap();
        }
        assert_eq!(speaker.say(answer(0)), Err(Overflow));
        assert!(outputs.is_cut_off());
        assert!(outputs.recv().await.is_none());
    }
}
