//! Sets of members by bucket, with tracked reads.

use std::hash::Hash;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use crate::{Changes, Reads};

/// A map from a bucket to its members in ascending order: one cell for each bucket, empty or not.
///
/// Made for buckets that are small (the ports that claim one address) or local (the ports of one switch): adding a member
/// moves those behind it. What the whole network shares belongs in facts that are applied one at a time, not in a bucket.
#[derive(Debug, Clone)]
pub struct Index<C, B, M> {
    cell: fn(B) -> C,
    buckets: HashMap<B, SmallVec<[M; 1]>, FxBuildHasher>,
}

impl<C: Copy, B: Copy + Eq + Hash, M: Copy + Ord> Index<C, B, M> {
    /// An empty index. `cell` names the cell of a bucket.
    pub fn new(cell: fn(B) -> C) -> Self {
        Self {
            cell,
            buckets: HashMap::default(),
        }
    }

    /// The members of `bucket` in ascending order, as a unit reads them.
    pub fn get(&self, reads: &Reads<C>, bucket: B) -> &[M] {
        reads.note((self.cell)(bucket));
        self.peek(bucket)
    }

    /// The members of `bucket`, for code that is no unit.
    pub fn peek(&self, bucket: B) -> &[M] {
        self.buckets.get(&bucket).map_or(&[], SmallVec::as_slice)
    }

    /// Adds a member. Returns whether it was new.
    pub fn insert<U>(&mut self, changes: &mut Changes<C, U>, bucket: B, member: M) -> bool {
        let members = self.buckets.entry(bucket).or_default();
        let Err(place) = members.binary_search(&member) else {
            return false;
        };
        members.insert(place, member);
        changes.cell((self.cell)(bucket));
        true
    }

    /// Removes a member. Returns whether it was there.
    pub fn remove<U>(&mut self, changes: &mut Changes<C, U>, bucket: B, member: M) -> bool {
        let Some(members) = self.buckets.get_mut(&bucket) else {
            return false;
        };
        let Ok(place) = members.binary_search(&member) else {
            return false;
        };
        members.remove(place);
        if members.is_empty() {
            self.buckets.remove(&bucket);
        }
        changes.cell((self.cell)(bucket));
        true
    }

    /// Every bucket that is not empty, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (B, &[M])> {
        self.buckets
            .iter()
            .map(|(bucket, members)| (*bucket, members.as_slice()))
    }
}
