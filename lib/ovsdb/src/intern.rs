//! One allocation for strings that come again and again.
//!
//! Most of a large database's strings are few: the keys of maps, enumerations, the names of stages and of hosts. Each
//! thread remembers strings that it has made lately, one for each slot of a small table, so that an equal one that
//! comes soon after is the same allocation. Strings that come once push others out of their slots, and nothing grows.

use std::cell::RefCell;
use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::FxHasher;

/// Longer strings hardly ever come twice.
const LONGEST: usize = 64;
/// How many strings a thread remembers at most.
const SLOTS: usize = 4096;

thread_local! {
    static RECENT: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
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
            recent.resize(SLOTS, None);
        }
        let mut hasher = FxHasher::default();
        hasher.write(text.as_bytes());
        let slot = &mut recent[hasher.finish() as usize % SLOTS];
        match slot {
            Some(known) if **known == *text => known.clone(),
            _ => slot.insert(Arc::from(text)).clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_soon_is_the_same_and_the_rest_is_equal() {
        let long = "x".repeat(LONGEST + 1);
        for (text, same) in [("", true), ("stage-name", true), (&long, false)] {
            let (one, other) = (shared(text), shared(text));
            assert_eq!((&*one, &*other), (text, text));
            assert_eq!(Arc::ptr_eq(&one, &other), same, "{text:?}");
        }
    }

    #[test]
    fn strings_that_come_once_are_not_kept() {
        let first = shared("name 0");
        for number in 1..100 * SLOTS {
            let text = format!("name {number}");
            assert_eq!(*shared(&text), *text);
        }
        assert_eq!(Arc::strong_count(&first), 1, "the slot has another by now");
    }
}
