//! Rows of others that belong to rows of northd's without referring to them, as learned addresses belong to ports.
//!
//! Controllers write them, northd deletes those whose owner is gone or has other keys, in the transaction in which that
//! happens: a stale one would speak for whoever has the owner's keys next, who may have them from then on. What became stale
//! while nobody compiled is looked for once.

use std::collections::BTreeMap;

use ovsdb::operation::Operation;
use ovsdb::{Row, RowChange};
use rustc_hash::FxHashSet;
use uuid::Uuid;

use crate::compiler::feature::{Follower, Left};
use crate::compiler::world::World;

/// Whom a row belongs to, in the row's own terms.
pub(super) type Place = (i64, i64);

/// The rows of one declaration, by place.
pub(super) struct Followers {
    pub(super) of: &'static Follower,
    rows: BTreeMap<Place, FxHashSet<Uuid>>,
    /// Whether rows may be without owner.
    pub(super) may_be_stale: bool,
}

impl Followers {
    pub(super) fn new(of: &'static Follower) -> Self {
        Self {
            of,
            rows: BTreeMap::new(),
            may_be_stale: true,
        }
    }

    /// Whether there are no rows at all.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes up a change of any row.
    pub(super) fn observe(&mut self, change: &RowChange) {
        if change.table != self.of.table {
            return;
        }
        if let Some(old) = &change.old {
            let place = (self.of.place)(old);
            if let Some(rows) = self.rows.get_mut(&place) {
                rows.remove(&change.uuid);
                if rows.is_empty() {
                    self.rows.remove(&place);
                }
            }
        }
        if let Some(new) = &change.new {
            let place = (self.of.place)(new);
            self.rows.entry(place).or_default().insert(change.uuid);
        }
    }

    /// Deletes what belongs to a place.
    pub(super) fn at(&self, place: Place) -> impl Iterator<Item = Operation> + '_ {
        let rows = self.rows.get(&place).into_iter().flatten();
        rows.map(|row| Operation::delete_row(self.of.table, *row))
    }

    /// Deletes what belongs to where a row has been that is about to move.
    pub(super) fn left_by(
        &self,
        world: &World,
        table: usize,
        old: &Row,
        new: &Row,
    ) -> Vec<Operation> {
        if self.is_empty() {
            return Vec::new();
        }
        match (self.of.leaves)(world, table, old, new) {
            None => Vec::new(),
            Some(Left::Place(place)) => self.at(place).collect(),
            Some(Left::All(first)) => {
                let places = self.rows.range((first, i64::MIN)..=(first, i64::MAX));
                let rows = places.flat_map(|(_, rows)| rows);
                rows.map(|row| Operation::delete_row(self.of.table, *row))
                    .collect()
            }
        }
    }

    /// Deletes what belongs elsewhere.
    pub(super) fn outside(&self, places: &FxHashSet<Place>) -> Vec<Operation> {
        let elsewhere = self
            .rows
            .iter()
            .filter(|(place, _)| !places.contains(*place));
        elsewhere
            .flat_map(|(_, rows)| rows)
            .map(|row| Operation::delete_row(self.of.table, *row))
            .collect()
    }

    /// Which place a row of the owned table is.
    pub(super) fn place_of(&self, world: &World, row: &Row) -> Option<Place> {
        (self.of.place_of)(world, row)
    }
}
