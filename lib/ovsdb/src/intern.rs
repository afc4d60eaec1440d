//! One allocation for strings that come again and again.
//!
//! Most of a large database's strings are few: the keys of maps, enumerations, the names of stages and of hosts. Each
//! thread remembers strings that have come twice lately, one for each slot of a small table, so that an equal one that
//! comes soon after is the same allocation. Of a string that comes once, nothing but its hash is remembered: it pushes no
//! other out of its slot, and costs no look at another. Nothing grows.

use std::cell::RefCell;
use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::FxHasher;

/// Longer strings hardly ever come twice.
const LONGEST: usize = 64;
/// How many strings a thread remembers at most.
const SLOTS: usize = 4096;

thread_local! {
    static RECENT: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Default)]
struct Slot {
    /// A string that has come twice.
    known: Option<Arc<str>>,
    /// The hash of the last one that is not that.
    last: u64,
}

/// The text as a shared string: with luck, one that exists already.
pub(crate) fn shared(text: &str) -> Arc<str> {
    if text.is_empty() {
        return Arc::default();
    }
    if text.len() > LONGEST {
        return Arc::from(text);
    }
    RECENT.with_borrow_mut(|recent| {
        if recent.is_empty() {
            recent.resize(SLOTS, Slot::default());
        }
        let mut hasher = FxHasher::default();
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        let slot = &mut recent[hash as usize % SLOTS];
        if let Some(known) = slot.known.as_ref().filter(|known| ***known == *text) {
            return known.clone();
        }
        let text = Arc::from(text);
        if std::mem::replace(&mut slot.last, hash) == hash {
            slot.known = Some(Arc::clone(&text));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_soon_is_the_same_and_the_rest_is_equal() {
        let long = "x".repeat(LONGEST + 1);
        for (text, same) in [("", true), ("stage-name", true), (&long, false)] {
            let (first, one, other) = (shared(text), shared(text), shared(text));
            assert_eq!((&*first, &*one, &*other), (text, text, text));
            assert_eq!(Arc::ptr_eq(&one, &other), same, "{text:?}");
        }
    }

    #[test]
    fn strings_that_come_once_are_not_kept() {
        let often = [shared("often"), shared("often")];
        for number in 0..100 * SLOTS {
            let text = format!("name {number}");
            let once = shared(&text);
            assert_eq!(*once, *text);
            assert_eq!(Arc::strong_count(&once), 1);
        }
        let [_, often] = often;
        let is_known = Arc::ptr_eq(&shared("often"), &often);
        assert!(is_known, "what comes once drives nothing out");
    }
}
