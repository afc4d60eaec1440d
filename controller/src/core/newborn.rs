//! BFD sessions over tunnels that have never been up, and are young.
//!
//! Sessions begin down. Who began at the same moment, or whose switch has just begun, would take over all gateways before it has
//! heard of anybody, and give them back a second later. So a session that has not been up since it is there says nothing for a
//! while: who is at its other end is taken to be alive, as one is with whom there is no session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

/// How long such a session says nothing: what one takes to come up at the times of a switch that was told none.
const YOUTH: Duration = Duration::from_secs(3);

/// Those sessions, by the chassis at the other end, and until when they say nothing; none for those that are grown. There are as many
/// as tunnels at the most.
#[derive(Debug, Default)]
pub(super) struct Newborn {
    until: FxHashMap<Arc<str>, Option<Instant>>,
    due: BTreeSet<(Instant, Arc<str>)>,
}

impl Newborn {
    /// What is known of a session may have changed. `is_new`: it is down and has never been up. Whether it says nothing for now.
    pub(super) fn look_at(&mut self, now: Instant, chassis: &Arc<str>, is_new: bool) -> bool {
        if !is_new {
            if let Some(Some(until)) = self.until.remove(chassis) {
                self.due.remove(&(until, Arc::clone(chassis)));
            }
            return false;
        }
        let until = self.until.entry(Arc::clone(chassis)).or_insert_with(|| {
            let until = now + YOUTH;
            self.due.insert((until, Arc::clone(chassis)));
            Some(until)
        });
        until.is_some()
    }

    /// The sessions that say what they are from now on. They stay known, so as not to be young again.
    pub(super) fn elapse(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut grown = Vec::new();
        while self.deadline().is_some_and(|due| due <= now)
            && let Some((_, chassis)) = self.due.pop_first()
        {
            self.until.insert(Arc::clone(&chassis), None);
            grown.push(chassis);
        }
        grown
    }

    /// The sessions that say nothing.
    pub(super) fn silent(&self) -> impl Iterator<Item = &Arc<str>> {
        self.due.iter().map(|(_, chassis)| chassis)
    }

    /// When the next of them says what it is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_young_once() {
        let start = Instant::now();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut newborn = Newborn::default();
        assert!(newborn.look_at(start, &a, true));
        assert!(!newborn.look_at(start, &b, false), "it has been up");
        let middle = start + YOUTH / 2;
        assert!(newborn.look_at(middle, &a, true));
        assert_eq!(newborn.deadline(), Some(start + YOUTH));
        assert_eq!(newborn.elapse(middle), [] as [Arc<str>; 0]);
        let end = start + YOUTH;
        assert_eq!(newborn.elapse(end), std::slice::from_ref(&a));
        assert!(!newborn.look_at(end, &a, true), "it is not young again");
        assert_eq!(newborn.deadline(), None);
        assert!(!newborn.look_at(end, &a, false));
        assert!(newborn.look_at(end, &a, true), "it is another one");
        assert_eq!(newborn.silent().count(), 1);
    }
}
