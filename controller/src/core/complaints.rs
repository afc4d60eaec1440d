//! What the log is told of transactions that failed: each thing once, and not too many at a time.

use std::time::{Duration, Instant};

use replica::TransactError;
use rustc_hash::FxHashMap;

/// So many refusals are told in [`WINDOW`]; of the others, how many there were.
const LIMIT: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// What was complained of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    databases: FxHashMap<&'static str, String>,
    window: Option<Instant>,
    told: u32,
    untold: u32,
}

impl Complaints {
    /// A transaction failed as a whole. It is told once, until one works or fails otherwise.
    pub(super) fn database(&mut self, database: &'static str, error: &TransactError) {
        let text = error.to_string();
        if self.databases.get(database) != Some(&text) {
            tracing::warn!("transaction on {database} failed: {text}");
            self.databases.insert(database, text);
        }
    }

    /// A transaction worked.
    pub(super) fn forget(&mut self, database: &'static str) {
        self.databases.remove(database);
    }

    /// The southbound refused what is wanted of a row.
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        row: &str,
        pause: Duration,
        error: &TransactError,
    ) {
        if self.window.is_none_or(|since| now >= since + WINDOW) {
            if self.untold > 0 {
                tracing::warn!("the southbound refused {} more changes", self.untold);
            }
            (self.window, self.told, self.untold) = (Some(now), 0, 0);
        }
        if self.told >= LIMIT {
            self.untold += 1;
            return;
        }
        self.told += 1;
        tracing::warn!(
            "the southbound refused what this chassis says of {row}: {error}; it is asked again in {} s",
            pause.as_secs()
        );
    }
}
