//! The clock of intervals and deadlines, as tests may stop it and set it forward: Open vSwitch's `time/stop` and `time/warp`, which
//! exist once `debug/enable-timewarp` has been given.
//!
//! Only what a loop is told as [`Now::at`](crate::Now) moves; connections and timestamps keep to the world's time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What has been done to the clock of this process.
static WARP: Mutex<Warp> = Mutex::new(Warp {
    is_enabled: false,
    ahead: Duration::ZERO,
    stopped: None,
});

/// So far, and no farther, a clock is set forward.
const LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// So many steps one request takes.
const STEPS: u64 = 100_000;

#[derive(Debug)]
struct Warp {
    is_enabled: bool,
    /// How far the clock has been set forward.
    ahead: Duration,
    /// When the world's clock stood there, this one was stopped.
    stopped: Option<Instant>,
}

impl Warp {
    fn shift(&self, real: Instant) -> Instant {
        self.stopped.unwrap_or(real) + self.ahead
    }
}

fn with<T>(what: impl FnOnce(&mut Warp) -> T) -> T {
    what(&mut WARP.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the clock says when the world's says this.
pub(crate) fn shift(real: Instant) -> Instant {
    with(|warp| warp.shift(real))
}

/// `debug/enable-timewarp`.
pub(crate) fn enable() {
    with(|warp| warp.is_enabled = true);
}

/// Whether `time/stop` and `time/warp` exist.
pub(crate) fn is_enabled() -> bool {
    with(|warp| warp.is_enabled)
}

/// `time/stop`: from now on the clock goes only where it is set.
pub(crate) fn stop() {
    with(|warp| {
        warp.stopped.get_or_insert_with(Instant::now);
    });
}

/// Sets the clock forward, as far as it goes.
pub(crate) fn advance(by: Duration) {
    with(|warp| warp.ahead = (warp.ahead + by).min(LIMIT));
}

/// Waits until the clock says this. A loop that waits is woken to ask anew when the clock is set, by
/// [`Request::is_tick`](crate::unixctl::Request::is_tick).
pub async fn until(at: Instant) {
    let (left, is_stopped) = with(|warp| {
        let now = warp.shift(Instant::now());
        (at.saturating_duration_since(now), warp.stopped.is_some())
    });
    match is_stopped && !left.is_zero() {
        true => std::future::pending().await,
        false => tokio::time::sleep(left).await,
    }
}

/// How far `time/warp [TOTAL] STEP` goes, and in which steps, in milliseconds.
///
/// # Errors
/// They are no numbers, a step is nothing, or there are too many of them.
pub(crate) fn steps(args: &[String]) -> Result<(u64, u64), String> {
    let numbers: Option<Vec<u64>> = args
        .iter()
        .map(|text| text.parse::<u32>().ok().map(u64::from))
        .collect();
    let (total, step) = match numbers.as_deref() {
        // As Open vSwitch has it, a total of nothing is one step.
        Some([0, step] | [step]) => (*step, *step),
        Some([total, step]) => (*total, *step),
        _ => return Err("invalid MSECS".to_owned()),
    };
    if step == 0 || total / step > STEPS {
        return Err(format!(
            "invalid MSECS: one request takes up to {STEPS} steps"
        ));
    }
    Ok((total, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_stopped_goes_where_it_is_set() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut warp = Warp {
            is_enabled: true,
            ahead: Duration::from_millis(500),
            stopped: None,
        };
        assert_eq!(warp.shift(later), start + Duration::from_millis(1500));
        warp.stopped = Some(start);
        assert_eq!(warp.shift(later), start + Duration::from_millis(500));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (given, read) in [
            ("500", Ok((500, 500))),
            ("60000 1000", Ok((60000, 1000))),
            ("0 100", Ok((100, 100))),
            ("1 0", Err(())),
            ("4000000000 1", Err(())),
            ("5000000000", Err(())),
            ("0", Err(())),
            ("x", Err(())),
            ("-1", Err(())),
        ] {
            assert_eq!(steps(&words(given)).map_err(|_| ()), read, "{given}");
        }
    }
}
