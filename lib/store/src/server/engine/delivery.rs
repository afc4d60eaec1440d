//! The tasks that deliver updates that many clients want.
//!
//! As many work at a time as half of the runtime's threads: the rest is for the core, for sessions that
//! want something else, and for clients on the same machine, which can read while others are still
//! written to. Each part is a task, so that others have a turn in between.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::coop;

use super::outputs::Lent;

/// So many updates are delivered in a turn.
pub const PART: usize = 64;

/// Who may deliver. A session has one update here at most.
#[derive(Debug)]
pub struct Delivery {
    turns: Arc<Semaphore>,
}

impl Delivery {
    /// For this runtime.
    pub fn new() -> Self {
        let threads = Handle::current().metrics().num_workers();
        Self {
            turns: Arc::new(Semaphore::new((threads / 2).max(1))),
        }
    }

    /// Delivers a part, when its turn comes.
    pub fn take(&self, part: Vec<Lent>) {
        if part.is_empty() {
            return;
        }
        let turns = self.turns.clone();
        // To write takes no turn of the runtime: if it cannot be done at once, it is not done.
        tokio::spawn(coop::unconstrained(async move {
            // It is never closed.
            let _turn = turns.acquire().await;
            let mut buffer = Vec::new();
            for lent in part {
                lent.deliver(&mut buffer);
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ovsdb::Uuid;
    use tokio::sync::mpsc;

    use super::super::outputs::{self, Writes, Written};
    use super::*;
    use crate::event::Output;
    use crate::monitor::Update;
    use crate::session::{Backlog, MonitorId};

    /// A client that tells what it has got; it cannot bear some numbers.
    struct Client(mpsc::UnboundedSender<u64>);

    impl Writes for Client {
        fn write(&self, monitor: MonitorId, _: Uuid, _: &Update, _: &mut Vec<u8>) -> Written {
            assert!(is_good(monitor.0), "as intended");
            self.0.send(monitor.0).unwrap();
            Written::All
        }
    }

    /// More tasks end badly than there are at a time.
    fn is_good(number: u64) -> bool {
        number % 1000 != 13
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_part_is_delivered_whenever_it_comes_and_whatever_became_of_others() {
        let backlog = Arc::new(Backlog::default());
        let (told, mut tells) = mpsc::unbounded_channel();
        let delivery = Delivery::new();
        for number in 1..5000 {
            let (sender, outputs) = outputs::queue(&backlog);
            outputs.connect(Arc::new(Client(told.clone())));
            backlog.add();
            let update = Output::Updated {
                monitor: MonitorId(number),
                state: Uuid::nil(),
                update: Arc::default(),
            };
            delivery.take(vec![sender.lend(update).unwrap().unwrap()]);
            // Some come while others are delivered.
            if number % 3 > 0 && is_good(number) {
                let limit = Duration::from_secs(60);
                while tokio::time::timeout(limit, tells.recv()).await.unwrap() != Some(number) {}
            }
        }
    }
}
