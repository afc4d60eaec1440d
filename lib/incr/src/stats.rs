//! What the engine has done, by kind of unit.

use std::collections::BTreeMap;

/// Counters of one kind of unit since the last [`Stats::clear`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnitStats {
    /// How often units of this kind ran.
    pub runs: u64,
    /// How many of those runs said exactly what had been said before.
    pub unchanged: u64,
    /// How many facts were asserted.
    pub asserted: u64,
    /// How many facts were retracted.
    pub retracted: u64,
}

/// Counters of all kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub(crate) kinds: BTreeMap<&'static str, UnitStats>,
}

impl Stats {
    /// Counters by kind, in the order of their names.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, UnitStats)> {
        self.kinds.iter().map(|(kind, stats)| (*kind, *stats))
    }

    /// Sets all counters to zero.
    pub fn clear(&mut self) {
        self.kinds.clear();
    }

    pub(crate) fn of(&mut self, kind: &'static str) -> &mut UnitStats {
        self.kinds.entry(kind).or_default()
    }
}
