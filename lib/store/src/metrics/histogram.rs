//! How long things take: counts by duration, cheap to add to from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; there is one more without a bound.
pub const BOUNDS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How many durations there were up to each bound, in all, and their sum in microseconds.
    pub fn read(&self) -> ([u64; BOUNDS_US.len()], u64, u64) {
        let mut cumulative = [0; BOUNDS_US.len()];
        let mut count = 0;
        for (cumulative, bucket) in cumulative.iter_mut().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            *cumulative = count;
        }
        count += self.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
        (cumulative, count, self.sum_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 1_000, 20_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let (cumulative, count, sum) = histogram.read();
        assert_eq!((cumulative[0], cumulative[1], cumulative[4]), (2, 3, 4));
        assert_eq!(
            (cumulative[BOUNDS_US.len() - 1], count, sum),
            (4, 5, 20_001_101)
        );
    }
}
