//! Which failures are tried again, and after which pause.

use std::error::Error as _;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::Duration;

use tonic::{Code, Status};

/// How often, and with which pauses, something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// So many times at most.
    pub attempts: u32,
    /// The first pause; each is twice the one before.
    pub pause: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Retry {
    /// Eight times, within about ten seconds.
    fn default() -> Self {
        Self {
            attempts: 8,
            pause: Duration::from_millis(50),
            longest: Duration::from_secs(4),
        }
    }
}

impl Retry {
    /// Never again.
    pub fn never() -> Self {
        Self {
            attempts: 0,
            ..Self::default()
        }
    }

    /// [`Retry::after`], but for up to half of it, by chance: those whose server restarts do not all come back at once.
    pub(crate) fn some_time_after(&self, failed: u32) -> Option<Duration> {
        // Every state of this kind has keys of its own.
        let chance = u32::try_from(RandomState::new().hash_one(failed) % 1024).unwrap_or(0);
        let pause = self.after(failed)?;
        Some(pause - pause / 2 * chance / 1024)
    }

    /// The longest pause before another attempt, when so many have failed; nothing when it is enough.
    pub fn after(&self, failed: u32) -> Option<Duration> {
        if failed == 0 || failed > self.attempts {
            return None;
        }
        let doubled = self.pause.saturating_mul(1 << (failed - 1).min(16));
        Some(doubled.min(self.longest))
    }
}

/// What a call does when it is made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The same as once: it reads, or says how things should be.
    Same,
    /// Perhaps something else, so that it must not be made again when it may have been done.
    Other,
}

/// Whether a call may have come to the server, and its answer not back.
fn was_sent(status: &Status) -> bool {
    let mut cause = status.source();
    if cause.is_none() {
        // It is the server's own word.
        return false;
    }
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let nobody = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
            return !nobody.contains(&error.kind());
        }
        cause = error.source();
    }
    true
}

/// Whether a call that has failed so may be made again.
pub fn may_repeat(status: &Status, repeated: Repeated) -> bool {
    match status.code() {
        // The server says so: the database was not there, and nothing was done. Or nobody listens there. A connection that
        // dies under a call is called unavailable, too.
        Code::Unavailable => repeated == Repeated::Same || !was_sent(status),
        // The connection broke before there was an answer.
        Code::Unknown | Code::Internal | Code::Cancelled => repeated == Repeated::Same,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let retry = Retry {
            attempts: 4,
            pause: Duration::from_millis(100),
            longest: Duration::from_millis(300),
        };
        let pauses = (1..=5).map(|failed| retry.after(failed));
        let pauses: Vec<Option<u128>> = pauses.map(|pause| Some(pause?.as_millis())).collect();
        assert_eq!(pauses, [Some(100), Some(200), Some(300), Some(300), None]);
        assert_eq!(Retry::never().after(1), None);
        let many = Retry {
            attempts: u32::MAX,
            ..retry
        };
        assert_eq!(many.after(u32::MAX), Some(retry.longest));
        let some: Vec<Duration> = (0..100).filter_map(|_| retry.some_time_after(2)).collect();
        let (least, most) = (some.iter().min(), some.iter().max());
        assert!(least >= Some(&Duration::from_millis(100)), "{least:?}");
        assert!(most <= Some(&Duration::from_millis(200)), "{most:?}");
        assert_ne!(least, most, "nobody comes back in step");
        assert_eq!(Retry::never().some_time_after(1), None);
    }

    #[test]
    fn nothing_is_done_twice() {
        let broken = Status::unknown("broken pipe");
        assert!(may_repeat(&broken, Repeated::Same));
        assert!(!may_repeat(&broken, Repeated::Other));
        let away = Status::unavailable("no leader");
        assert!(may_repeat(&away, Repeated::Other));
        // The connection died under the call.
        let caused = |kind| Status::from_error(Box::new(std::io::Error::from(kind)));
        for (kind, may) in [
            (ErrorKind::ConnectionRefused, true),
            (ErrorKind::NotFound, true),
            (ErrorKind::TimedOut, false),
        ] {
            let died = caused(kind);
            assert_eq!(!was_sent(&died), may, "{kind:?}");
        }
        let wrong = Status::invalid_argument("name");
        assert!(!may_repeat(&wrong, Repeated::Same));
    }
}
