//! How long parts of a daemon's work take, in the form of Open vSwitch's `stopwatch/show`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The 95th percentile is that of so many samples.
const RECENT: usize = 1000;
/// The weight of a new sample in the short and in the long average.
const WEIGHTS: [f64; 2] = [0.5, 0.01];

/// Times of something that is done again and again.
#[derive(Debug)]
pub struct Stopwatch {
    name: &'static str,
    samples: Mutex<Samples>,
}

#[derive(Debug)]
struct Samples {
    count: u64,
    greatest_ms: f64,
    least_ms: f64,
    averages_ms: [f64; 2],
    recent_ms: VecDeque<f64>,
}

impl Samples {
    const NONE: Self = Self {
        count: 0,
        greatest_ms: 0.0,
        least_ms: 0.0,
        averages_ms: [0.0; 2],
        recent_ms: VecDeque::new(),
    };

    fn add(&mut self, ms: f64) {
        if self.count == 0 {
            (self.greatest_ms, self.least_ms, self.averages_ms) = (ms, ms, [ms; 2]);
        }
        self.count += 1;
        self.greatest_ms = self.greatest_ms.max(ms);
        self.least_ms = self.least_ms.min(ms);
        for (average, weight) in self.averages_ms.iter_mut().zip(WEIGHTS) {
            *average += weight * (ms - *average);
        }
        if self.recent_ms.len() == RECENT {
            self.recent_ms.pop_front();
        }
        self.recent_ms.push_back(ms);
    }

    fn percentile_ms(&self) -> f64 {
        let mut sorted: Vec<f64> = self.recent_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() * 95).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or_default()
    }
}

impl Stopwatch {
    /// A stopwatch that has measured nothing.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            samples: Mutex::new(Samples::NONE),
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// It took so long once more.
    pub fn add(&self, took: Duration) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.add(took.as_secs_f64() * 1e3);
    }

    fn show(&self, text: &mut String) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let [short, long] = samples.averages_ms;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "Statistics for '{}'\n  Total samples: {}\n  Maximum: {:.0} msec\n  Minimum: {:.0} msec\n  \
             95th percentile: {:.6} msec\n  Short term average: {short:.6} msec\n  \
             Long term average: {long:.6} msec\n",
            self.name,
            samples.count,
            samples.greatest_ms,
            samples.least_ms,
            samples.percentile_ms(),
        );
    }

    fn reset(&self) {
        *self.samples.lock().unwrap_or_else(PoisonError::into_inner) = Samples::NONE;
    }
}

/// Those of this name, or all.
fn named<'s>(
    all: &'s [&'static Stopwatch],
    name: Option<&'s str>,
) -> Result<impl Iterator<Item = &'static Stopwatch> + 's, String> {
    if let Some(name) = name
        && !all.iter().any(|stopwatch| stopwatch.name == name)
    {
        return Err("No such stopwatch".to_owned());
    }
    let is_meant = move |stopwatch: &&Stopwatch| name.is_none_or(|name| stopwatch.name == name);
    Ok(all.iter().copied().filter(is_meant))
}

/// `stopwatch/show`.
pub(crate) fn show(all: &[&'static Stopwatch], name: Option<&str>) -> Result<String, String> {
    let mut text = String::new();
    named(all, name)?.for_each(|stopwatch| stopwatch.show(&mut text));
    Ok(text)
}

/// `stopwatch/list`.
pub(crate) fn list(all: &[&'static Stopwatch]) -> String {
    all.iter()
        .map(|stopwatch| format!("{}\n", stopwatch.name))
        .collect()
}

/// `stopwatch/reset`.
pub(crate) fn reset(all: &[&'static Stopwatch], name: Option<&str>) -> Result<String, String> {
    named(all, name)?.for_each(Stopwatch::reset);
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_and_forgotten() {
        static LOOP: Stopwatch = Stopwatch::new("loop");
        let all = [&LOOP];
        for ms in 1..=100 {
            LOOP.add(Duration::from_millis(ms));
        }
        let shown = show(&all, Some("loop")).unwrap();
        assert!(
            shown.starts_with(
                "Statistics for 'loop'\n  Total samples: 100\n  Maximum: 100 msec\n  Minimum: 1 msec\n  \
                 95th percentile: 95.000000 msec\n  Short term average: 99.0"
            ),
            "{shown}"
        );
        assert_eq!(show(&all, Some("x")).unwrap_err(), "No such stopwatch");
        reset(&all, None).unwrap();
        let shown = show(&all, None).unwrap();
        assert!(
            shown.contains("Total samples: 0\n  Maximum: 0 msec"),
            "{shown}"
        );
        assert_eq!(list(&all), "loop\n");
    }
}
