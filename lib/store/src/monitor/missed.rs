//! What changed while a client was away that has an earlier state, found piece by piece.
//!
//! Commits since that state are gone through one after the other, those as well that happen meanwhile, and each row is
//! told once: what it was at first, and what it is at the end.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use ovsdb::{RowChange, Uuid};
use rustc_hash::FxHashMap;

use super::update::{Fragment, Update, grouped};
use super::view::{View, visible};
use crate::history::History;
use crate::matcher::Matcher;

/// See the module.
#[derive(Debug)]
pub struct Missed {
    view: View,
    matchers: Vec<Matcher>,
    /// The log index up to which all commits were gone through, and so many changes of the next one.
    gone_through: (u64, usize),
    /// Where each row is among `changes`.
    places: FxHashMap<(usize, Uuid), usize>,
    changes: Vec<RowChange>,
    /// For each of the first changes: what is told of it.
    told: Vec<Option<(usize, Arc<Fragment>)>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more to look at.
    More,
    /// It has all.
    Done,
    /// What is missing is not known any more.
    Lost,
}

impl Missed {
    /// What the client of such a monitor has missed since the state of a log index.
    pub fn new(view: View, since: u64) -> Self {
        Self {
            matchers: view.matchers(),
            view,
            gone_through: (since, 0),
            places: FxHashMap::default(),
            changes: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Looks at a few more changes, while steps are left.
    pub fn advance(&mut self, history: &History, steps: &mut usize) -> Progress {
        loop {
            let (index, changes) = match history.next(self.gone_through.0) {
                None => return Progress::Lost,
                Some(None) => return self.tell(steps),
                Some(Some(commit)) => commit,
            };
            let rest = &changes[self.gone_through.1..];
            let taken = rest.len().min(*steps);
            for change in &rest[..taken] {
                self.merge(change);
            }
            *steps -= taken;
            if taken < rest.len() {
                self.gone_through.1 += taken;
                return Progress::More;
            }
            *steps = steps.saturating_sub(1);
            self.gone_through = (index, 0);
        }
    }

    /// What is to be told.
    pub fn finish(self) -> (View, Update) {
        let told = self.told.into_iter().flatten().collect();
        let update = grouped(&self.view, told);
        (self.view, update)
    }

    /// What the monitor is going to show.
    pub fn view(&self) -> &View {
        &self.view
    }

    fn merge(&mut self, change: &RowChange) {
        match self.places.entry((change.table, change.uuid)) {
            Entry::Vacant(place) => {
                place.insert(self.changes.len());
                self.changes.push(change.clone());
            }
            Entry::Occupied(place) => {
                let place = *place.get();
                self.changes[place].new.clone_from(&change.new);
                if place < self.told.len() {
                    self.told[place] = self.told_of(place);
                }
            }
        }
    }

    fn tell(&mut self, steps: &mut usize) -> Progress {
        while self.told.len() < self.changes.len() {
            if *steps == 0 {
                return Progress::More;
            }
            self.told.push(self.told_of(self.told.len()));
            *steps -= 1;
        }
        Progress::Done
    }

    fn told_of(&self, place: usize) -> Option<(usize, Arc<Fragment>)> {
        let (place, change) = visible(&self.view, &self.matchers, &self.changes[place])?;
        Some((place, Arc::new(Fragment::new(change, false))))
    }
}
