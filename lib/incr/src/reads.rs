//! The two logs between a program and the engine: what a running unit has read, and what has changed.

use std::cell::RefCell;

/// What a running unit reads. Every accessor that a unit may use takes it and notes the cell before it answers, whether or
/// not anything is there: absence is read, too.
#[derive(Debug)]
pub struct Reads<C> {
    log: RefCell<Vec<C>>,
}

impl<C: Copy> Reads<C> {
    pub(crate) fn new() -> Self {
        Self {
            log: RefCell::new(Vec::new()),
        }
    }

    /// A log for code that looks without being a unit (tests, status commands). What it notes is forgotten.
    pub fn untracked() -> Self {
        Self::new()
    }

    /// Says that the running unit depends on `cell`.
    pub fn note(&self, cell: C) {
        self.log.borrow_mut().push(cell);
    }

    pub(crate) fn drain_into(&self, cells: &mut Vec<C>) {
        cells.clear();
        cells.append(&mut self.log.borrow_mut());
    }
}

/// What has changed: cells with a new value, units that came into being, and units to be run although no cell changed.
#[derive(Debug)]
pub struct Changes<C, U> {
    pub(crate) cells: Vec<C>,
    pub(crate) units: Vec<U>,
}

impl<C, U> Default for Changes<C, U> {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            units: Vec::new(),
        }
    }
}

impl<C, U> Changes<C, U> {
    /// Says that `cell` has another value than before.
    pub fn cell(&mut self, cell: C) {
        self.cells.push(cell);
    }

    /// Says that `unit` exists, or has to look again.
    pub fn wake(&mut self, unit: U) {
        self.units.push(unit);
    }
}
