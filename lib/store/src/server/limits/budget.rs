//! How many bytes clients may make the server keep.
//!
//! One message may be large, and one connection may have several; all connections together could
//! have more than there is memory. So everything that a client has sent and that is not done with
//! is charged: to its connection, and through it to the server as a whole. What does not fit is
//! refused, and it is the one who asked last that is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes of requests may be kept for all clients together: whole and in part.
pub const MAX_REQUEST_BYTES: usize = 1 << 30;
/// So many for one connection that speaks gRPC, where many calls can come side by side.
pub const MAX_CONNECTION_BYTES: usize = 192 << 20;
/// What is smaller than this is not counted: no flood of others keeps a small request out.
const FREE: usize = 64 << 10;

/// A limit, and how much of it is used.
#[derive(Debug)]
pub struct Budget {
    whose: &'static str,
    limit: usize,
    used: AtomicUsize,
    above: Option<Arc<Budget>>,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exhausted {
    whose: &'static str,
    limit: usize,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whose, limit } = self;
        write!(
            formatter,
            "the requests of {whose} that are unfinished or unanswered have more than {limit} bytes"
        )
    }
}

impl Budget {
    /// The limit of all clients together.
    pub fn of_server() -> Arc<Self> {
        Arc::new(Self {
            whose: "all clients",
            limit: MAX_REQUEST_BYTES,
            used: AtomicUsize::new(0),
            above: None,
        })
    }

    /// A connection's share of it.
    pub fn of_connection(server: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            whose: "this connection",
            limit: MAX_CONNECTION_BYTES,
            used: AtomicUsize::new(0),
            above: Some(server.clone()),
        })
    }

    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        let room = |used: usize| {
            let used = used.checked_add(bytes)?;
            (used <= self.limit).then_some(used)
        };
        let taken = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        if taken.is_err() {
            let Self { whose, limit, .. } = *self;
            return Err(Exhausted { whose, limit });
        }
        if let Some(above) = &self.above
            && let Err(exhausted) = above.take(bytes)
        {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            return Err(exhausted);
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(above) = &self.above {
            above.give_back(bytes);
        }
    }
}

/// What somebody uses of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    charged: usize,
}

impl Charge {
    /// Nothing, so far.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, charged: 0 }
    }

    /// Whether it is too little to be counted.
    pub fn is_free(&self) -> bool {
        self.charged == 0
    }

    /// From now on it is so many bytes.
    ///
    /// # Errors
    /// When that is more than there is; it stays what it was then.
    pub fn set(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = if bytes <= FREE { 0 } else { bytes };
        if wanted > self.charged {
            self.budget.take(wanted - self.charged)?;
        } else {
            self.budget.give_back(self.charged - wanted);
        }
        self.charged = wanted;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_counted_at_both_levels_and_given_back() {
        let server = Budget::of_server();
        let connections: Vec<_> = (0..6).map(|_| Budget::of_connection(&server)).collect();
        let mut charges: Vec<Charge> = connections.iter().cloned().map(Charge::new).collect();
        for charge in &mut charges[..5] {
            charge.set(MAX_CONNECTION_BYTES).unwrap();
        }
        let own = charges[0].set(MAX_CONNECTION_BYTES + 1).unwrap_err();
        assert!(own.to_string().contains("this connection"), "{own}");
        let all = charges[5].set(MAX_CONNECTION_BYTES).unwrap_err();
        assert!(all.to_string().contains("all clients"), "{all}");
        charges[5].set(FREE).unwrap();
        charges[4].set(1000).unwrap();
        charges[5].set(MAX_CONNECTION_BYTES).unwrap();
        drop(charges);
        assert_eq!(server.used.load(Ordering::Relaxed), 0);
        assert!(
            connections
                .iter()
                .all(|c| c.used.load(Ordering::Relaxed) == 0)
        );
    }
}
