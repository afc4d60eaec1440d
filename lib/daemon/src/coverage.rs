//! Counters of events, in the form of Open vSwitch's `coverage/show` and `coverage/read-counter`.
//!
//! A counter is a `static`, counts for the whole life of the process, and is told by the daemons that list it. Rates are over
//! the last 5 seconds, the last minute and the last hour, from samples that are taken every 5 seconds.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often samples are taken.
pub(crate) const SAMPLE: Duration = Duration::from_secs(5);
/// So many samples are an hour.
const HOUR_SAMPLES: usize = 720;
/// So many samples are a minute.
const MINUTE_SAMPLES: usize = 12;

/// Requests on the control socket.
pub static UNIXCTL_RECEIVED: Counter = Counter::new("unixctl_received");
/// Answers on the control socket.
pub static UNIXCTL_REPLIED: Counter = Counter::new("unixctl_replied");
/// Transactions that a database has carried out.
pub static TXN_SUCCESS: Counter = Counter::new("txn_success");
/// Transactions that a database has answered with an error.
pub static TXN_ERROR: Counter = Counter::new("txn_error");

/// What every daemon counts.
static SHARED: [&Counter; 2] = [&UNIXCTL_RECEIVED, &UNIXCTL_REPLIED];

/// How often something has happened.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    total: AtomicU64,
}

impl Counter {
    /// A counter that stands at zero. Where OVN counts the same, it has OVN's name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            total: AtomicU64::new(0),
        }
    }

    /// It has happened `n` times more.
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    /// It has happened `n` times in all.
    pub fn set(&self, n: u64) {
        self.total.store(n, Ordering::Relaxed);
    }

    /// How often it has happened.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// The counters of a process, and what they were.
#[derive(Debug)]
pub(crate) struct Coverage {
    counters: Vec<&'static Counter>,
    /// The samples of the last hour, oldest first, with their times.
    samples: Mutex<VecDeque<(Instant, Vec<u64>)>>,
}

impl Coverage {
    /// Of these counters and those that every daemon has.
    pub(crate) fn new(now: Instant, own: &[&'static Counter]) -> Self {
        let counters: Vec<_> = own.iter().chain(&SHARED).copied().collect();
        let zeros = vec![0; counters.len()];
        Self {
            counters,
            samples: Mutex::new(VecDeque::from([(now, zeros)])),
        }
    }

    /// Remembers where the counters stand. To be called every [`SAMPLE`].
    pub(crate) fn sample(&self, now: Instant) {
        let totals = self.counters.iter().map(|counter| counter.total());
        let sample = (now, totals.collect());
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        if samples.len() > HOUR_SAMPLES + 1 {
            samples.pop_front();
        }
    }

    /// `coverage/read-counter`.
    pub(crate) fn read(&self, name: &str) -> Result<String, String> {
        let counter = self.counters.iter().find(|counter| counter.name == name);
        let counter = counter.ok_or("No such counter")?;
        Ok(format!("{}\n", counter.total()))
    }

    /// `coverage/show`: the counters that are not at zero, with their rates.
    pub(crate) fn show(&self) -> String {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |place: usize, spans: usize| {
            let newest = samples.len() - 1;
            let (to, now) = &samples[newest];
            let (from, before) = &samples[newest.saturating_sub(spans)];
            let seconds = to.duration_since(*from).as_secs_f64();
            // Of what ran less long, the rate over the whole span is told, as Open vSwitch does.
            let span = SAMPLE.as_secs_f64() * spans as f64;
            now[place].saturating_sub(before[place]) as f64 / seconds.max(span)
        };
        let mut lines = String::new();
        let mut hasher = DefaultHasher::new();
        let mut never = 0;
        for (place, counter) in self.counters.iter().enumerate() {
            let total = counter.total();
            if total == 0 {
                never += 1;
                continue;
            }
            (counter.name, total).hash(&mut hasher);
            let (last, minute) = (rate(place, 1), rate(place, MINUTE_SAMPLES));
            let hour = rate(place, HOUR_SAMPLES);
            // Writing to a string cannot fail.
            let _ = writeln!(
                lines,
                "{:<24} {last:>5.1}/sec {minute:>9.3}/sec {hour:>13.4}/sec   total: {total}",
                counter.name
            );
        }
        let hash = hasher.finish() as u32;
        format!(
            "Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash={hash:08x}:\n\
             {lines}{never} events never hit\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_their_spans() {
        static RUN: Counter = Counter::new("lflow_run");
        static NEVER: Counter = Counter::new("physical_run");
        let begin = Instant::now();
        let coverage = Coverage::new(begin, &[&RUN, &NEVER]);
        RUN.add(50);
        coverage.sample(begin + SAMPLE);
        for n in 2..=13 {
            coverage.sample(begin + SAMPLE * n);
        }
        RUN.add(10);
        coverage.sample(begin + SAMPLE * 14);
        RUN.add(1);
        let shown = coverage.show();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[0].starts_with("Event coverage, avg rate over last: 5 seconds, last minute"),
            "{shown}"
        );
        assert_eq!(
            lines[1],
            "lflow_run                  2.0/sec     0.167/sec        0.0167/sec   total: 61"
        );
        assert!(
            lines.last().unwrap().ends_with(" events never hit"),
            "{shown}"
        );
        assert_eq!(coverage.read("lflow_run").unwrap(), "61\n");
        assert_eq!(coverage.read("physical_run").unwrap(), "0\n");
        assert_eq!(coverage.read("nope").unwrap_err(), "No such counter");
    }

    #[test]
    fn no_more_than_an_hour_is_remembered() {
        let begin = Instant::now();
        let coverage = Coverage::new(begin, &[]);
        for n in 1..=2000 {
            coverage.sample(begin + SAMPLE * n);
        }
        assert_eq!(coverage.samples.lock().unwrap().len(), HOUR_SAMPLES + 1);
    }
}
