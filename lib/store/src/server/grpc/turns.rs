//! How many calls of one connection are at the core at a time.
//!
//! Each call is a session of its own, and one connection has hundreds; as with the request queue of an
//! OVSDB session, others should not wait behind all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::limits::cost::{Cost, MAX_READS, MAX_REST};
use crate::session::Consistency;

/// The turns of a connection.
#[derive(Clone, Debug)]
pub struct Turns {
    reads: Arc<Semaphore>,
    /// Those that are answered even if nobody leads: they do not wait for the others.
    local_reads: Arc<Semaphore>,
    rest: Arc<Semaphore>,
}

impl Turns {
    /// All of them.
    pub fn new() -> Self {
        Self {
            reads: Arc::new(Semaphore::new(MAX_READS)),
            local_reads: Arc::new(Semaphore::new(MAX_READS)),
            rest: Arc::new(Semaphore::new(MAX_REST)),
        }
    }

    /// Waits until it is the turn of a request: until the answer is dropped.
    pub async fn take(&self, cost: Cost, consistency: Consistency) -> Option<OwnedSemaphorePermit> {
        let turns = match (cost, consistency) {
            (Cost::Read, Consistency::Local) => &self.local_reads,
            (Cost::Read, Consistency::Linearizable) => &self.reads,
            (Cost::Rest, _) => &self.rest,
            (Cost::Wait, _) => return None,
        };
        // It is never closed.
        turns.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now(
        turns: &Turns,
        cost: Cost,
        consistency: Consistency,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        let taking = pin!(turns.take(cost, consistency));
        match taking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn reads_have_few_turns_and_local_ones_their_own() {
        use Consistency::{Linearizable, Local};
        let turns = Turns::new();
        let mut kept = Vec::new();
        for (cost, consistency, most) in [
            (Cost::Read, Linearizable, MAX_READS),
            (Cost::Read, Local, MAX_READS),
            (Cost::Rest, Linearizable, MAX_REST),
        ] {
            let mut taken: Vec<_> = (0..most)
                .map(|_| now(&turns, cost, consistency).unwrap().unwrap())
                .collect();
            assert!(now(&turns, cost, consistency).is_none(), "{cost:?}");
            taken.pop();
            taken.push(now(&turns, cost, consistency).unwrap().unwrap());
            // What waits for a condition is not kept waiting for a turn.
            for _ in 0..1000 {
                assert!(now(&turns, Cost::Wait, consistency).unwrap().is_none());
            }
            kept.push(taken);
        }
    }
}
