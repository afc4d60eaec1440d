//! The tasks that deliver updates that many clients want.
//!
//! There are as many as half of the runtime's threads: the rest is for the core, for sessions that
//! want something else, and for clients on the same machine, which can read while others are still
//! written to. After each part a task lets others have a turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::coop;

use super::outputs::Lent;

/// So many updates are delivered in a turn.
pub const PART: usize = 64;

/// What is to be delivered. A session has one update here at most.
#[derive(Debug, Default)]
pub struct Delivery(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<Vec<Lent>>,
    tasks: usize,
}

impl Delivery {
    /// Takes a part, and starts a task for it if there are not enough.
    pub fn take(self: &Arc<Self>, part: Vec<Lent>) {
        if part.is_empty() {
            return;
        }
        let most = (Handle::current().metrics().num_workers() / 2).max(1);
        let mut state = self.state();
        state.parts.push_back(part);
        if state.tasks < most {
            state.tasks += 1;
            let task = Task {
                delivery: self.clone(),
                is_counted: true,
            };
            drop(state);
            // To write takes no turn here: if it cannot be done at once, it is not done.
            tokio::spawn(coop::unconstrained(task.run()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is ever half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the tasks. However it ends, another one may be started then.
struct Task {
    delivery: Arc<Delivery>,
    is_counted: bool,
}

impl Task {
    async fn run(mut self) {
        let mut buffer = Vec::new();
        while let Some(part) = self.next() {
            for lent in part {
                lent.deliver(&mut buffer);
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next part. When there is none, the task ends, and whoever comes with one knows.
    fn next(&mut self) -> Option<Vec<Lent>> {
        let mut state = self.delivery.state();
        let part = state.parts.pop_front();
        if part.is_none() {
            state.tasks -= 1;
            self.is_counted = false;
        }
        part
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.is_counted {
            self.delivery.state().tasks -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ovsdb::Uuid;
    use tokio::sync::mpsc;

    use super::super::outputs::{self, Writes, Written};
    use super::*;
    use crate::event::{Backlog, MonitorId, Output};
    use crate::monitor::Update;

    /// A client that tells what it has got; it cannot bear the number 13.
    struct Client(mpsc::UnboundedSender<u64>);

    impl Writes for Client {
        fn write(&self, monitor: MonitorId, _: Uuid, _: &Update, _: &mut Vec<u8>) -> Written {
            assert_ne!(monitor.0, 13);
            self.0.send(monitor.0).unwrap();
            Written::All
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_part_is_delivered_whenever_it_comes_and_whatever_became_of_others() {
        let backlog = Arc::new(Backlog::default());
        let (told, mut tells) = mpsc::unbounded_channel();
        let delivery = Arc::<Delivery>::default();
        for number in 1..5000 {
            let (speaker, outputs) = outputs::queue(&backlog);
            outputs.connect(Arc::new(Client(told.clone())));
            backlog.add();
            let update = Output::Updated {
                monitor: MonitorId(number),
                state: Uuid::nil(),
                update: Arc::default(),
            };
            delivery.take(vec![speaker.lend(update).unwrap().unwrap()]);
            // The next one comes just when the task ends.
            if number % 3 > 0 && number != 13 {
                let limit = Duration::from_secs(60);
                while tokio::time::timeout(limit, tells.recv()).await.unwrap() != Some(number) {}
            }
        }
    }
}
