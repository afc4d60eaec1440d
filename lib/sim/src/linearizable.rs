//! Whether a history could have happened on a register that there is only one of.
//!
//! Each operation has a span of time, from when it was asked for to when it was answered. The
//! history is linearizable if every operation can be given a moment within its span so that, one
//! after the other, they give the answers that were given. The search is that of Wing and Gong
//! with the memory of Lowe: it tries the operations that could come next, and never enters the
//! same state (the set of those done, and the register's value) twice.

use rustc_hash::FxHashSet;

/// What was done to a register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// It was read, and had this value.
    Read(i64),
    /// It was overwritten.
    Write(i64),
    /// One was added; the answer is the new value, if it is known.
    Add(Option<i64>),
    /// It had the first value and was given the second.
    Swap(i64, i64),
    /// It should have had this value, and had not.
    NoSwap(i64),
    /// It was refused, and did nothing.
    Nothing,
}

/// An operation and its span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// When it was asked for.
    pub asked: u64,
    /// When it was answered; `u64::MAX` if it never was, but is known to have happened.
    pub answered: u64,
    /// What it was.
    pub operation: Operation,
}

impl Operation {
    /// The value after it, if it can happen on this one.
    fn apply(self, value: i64) -> Option<i64> {
        match self {
            Self::Read(read) => (read == value).then_some(value),
            Self::Write(new) => Some(new),
            Self::Add(None) => Some(value + 1),
            Self::Add(Some(new)) => (new == value + 1).then_some(new),
            Self::Swap(old, new) => (old == value).then_some(new),
            Self::NoSwap(old) => (old != value).then_some(value),
            Self::Nothing => Some(value),
        }
    }
}

/// Finds out whether a history on a register with this first value is linearizable. If not, the
/// answer is the longest part that is, and the operations of which none could come next.
pub fn check(first: i64, history: &[Span]) -> Result<(), String> {
    let mut spans = history.to_vec();
    spans.sort_by_key(|span| (span.asked, span.answered));
    let mut search = Search {
        done: vec![0; spans.len().div_ceil(64)],
        seen: FxHashSet::default(),
        deepest: Vec::new(),
        spans,
    };
    search.run(first)
}

struct Search {
    spans: Vec<Span>,
    done: Vec<u64>,
    seen: FxHashSet<(Vec<u64>, i64)>,
    deepest: Vec<usize>,
}

impl Search {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    fn flip(&mut self, at: usize) {
        self.done[at / 64] ^= 1 << (at % 64);
    }

    /// The operations that may come next: those asked for before any open one was answered.
    fn next(&self, from: usize) -> Vec<usize> {
        let mut earliest = u64::MAX;
        let mut next = Vec::new();
        for at in from..self.spans.len() {
            if self.is_done(at) {
                continue;
            }
            let span = &self.spans[at];
            if span.asked > earliest {
                break;
            }
            earliest = earliest.min(span.answered);
            next.push(at);
        }
        next
    }

    fn run(&mut self, first: i64) -> Result<(), String> {
        // Each level of the search: the value before, the candidates, and which is tried.
        let mut levels = vec![(first, self.next(0), 0)];
        let mut path: Vec<usize> = Vec::new();
        while let Some((value, candidates, tried)) = levels.last_mut() {
            if candidates.is_empty() {
                return Ok(());
            }
            let Some(at) = candidates.get(*tried).copied() else {
                levels.pop();
                if let Some(at) = path.pop() {
                    self.flip(at);
                }
                continue;
            };
            *tried += 1;
            let Some(after) = self.spans[at].operation.apply(*value) else {
                continue;
            };
            self.flip(at);
            if !self.seen.insert((self.done.clone(), after)) {
                self.flip(at);
                continue;
            }
            path.push(at);
            if path.len() > self.deepest.len() {
                self.deepest.clone_from(&path);
            }
            let open = self.next(0);
            levels.push((after, open, 0));
        }
        Err(self.explain(first))
    }

    fn explain(&mut self, first: i64) -> String {
        let mut value = first;
        self.done.fill(0);
        for at in self.deepest.clone() {
            value = self.spans[at].operation.apply(value).unwrap_or(value);
            self.flip(at);
        }
        let stuck: Vec<Span> = self.next(0).iter().map(|at| self.spans[*at]).collect();
        format!(
            "after {} of {} operations the value is {value}, and none of these can come next: \
             {stuck:?}",
            self.deepest.len(),
            self.spans.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(asked: u64, answered: u64, operation: Operation) -> Span {
        Span {
            asked,
            answered,
            operation,
        }
    }

    #[test]
    fn histories_that_one_register_could_have() {
        use Operation::{Add, NoSwap, Read, Swap, Write};
        let histories = [
            vec![],
            vec![
                span(1, 2, Read(0)),
                span(3, 4, Write(5)),
                span(5, 6, Read(5)),
            ],
            // Two at the same time, in either order.
            vec![
                span(1, 9, Write(5)),
                span(2, 8, Read(0)),
                span(3, 7, Read(5)),
            ],
            vec![
                span(1, 9, Add(Some(2))),
                span(2, 8, Add(Some(1))),
                span(10, 11, Read(2)),
            ],
            vec![
                span(1, 9, Swap(7, 8)),
                span(2, 8, NoSwap(7)),
                span(3, 4, Write(7)),
            ],
            // Never answered, and seen late.
            vec![
                span(1, u64::MAX, Write(5)),
                span(2, 3, Read(0)),
                span(8, 9, Read(5)),
            ],
        ];
        for history in histories {
            assert_eq!(check(0, &history), Ok(()), "{history:?}");
        }
    }

    #[test]
    fn histories_that_it_could_not() {
        use Operation::{Add, Read, Swap, Write};
        let histories = [
            // A stale read.
            vec![span(1, 2, Write(5)), span(3, 4, Read(0))],
            // A lost write.
            vec![span(1, 2, Add(Some(1))), span(3, 4, Add(Some(1)))],
            // A write that was applied twice.
            vec![
                span(1, 2, Write(5)),
                span(3, 4, Write(6)),
                span(5, 6, Read(5)),
            ],
            // Back and forth.
            vec![
                span(1, 9, Write(5)),
                span(2, 3, Read(5)),
                span(4, 5, Read(0)),
            ],
            vec![span(1, 2, Swap(0, 1)), span(3, 4, Swap(0, 2))],
        ];
        for history in histories {
            assert!(check(0, &history).is_err(), "{history:?}");
        }
    }

    #[test]
    fn long_histories_are_quick() {
        let mut history = Vec::new();
        for step in 0..2000 {
            let at = step * 10;
            history.push(span(at, at + 25, Operation::Add(None)));
        }
        history.push(span(30_000, 30_001, Operation::Read(2000)));
        assert_eq!(check(0, &history), Ok(()));
    }
}
