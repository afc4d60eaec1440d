//! What a network that is made anew from rows is told beside them: what the old one has seen of the world, and no row says.
//!
//! Guests that have spoken, gateways that are being handed over, neighbours that are to be heard of again, connections that the switch
//! is yet to forget: without, the new one would differ from the old one although nothing was wrong, and behave otherwise.

use std::hash::Hash;

use incr::Store;

use super::{Cell, Changes, Network};

impl Network {
    /// Takes over what `before` knows beside its rows. To be called when all rows are there.
    pub(crate) fn recall(&mut self, changes: &mut Changes, before: &Network) {
        follow(changes, &mut self.connected, &before.connected);
        follow(changes, &mut self.cut_off, &before.cut_off);
        follow(changes, &mut self.handed_over, &before.handed_over);
        follow(changes, &mut self.taken_over, &before.taken_over);
        follow(changes, &mut self.conceded, &before.conceded);
        follow(changes, &mut self.activated, &before.activated);
        follow(changes, &mut self.ripe, &before.ripe);
        self.ripening = before.ripening.clone();
        self.flushes.recall(&before.flushes);
        self.just_handed_over.clone_from(&before.just_handed_over);
        self.just_taken_over.clone_from(&before.just_taken_over);
        self.just_conceded.clone_from(&before.just_conceded);
        self.just_reconciled.clone_from(&before.just_reconciled);
    }
}

/// Makes a store equal to another one.
fn follow<K: Copy + Eq + Hash, V: Clone + PartialEq>(
    changes: &mut Changes,
    store: &mut Store<Cell, K, V>,
    other: &Store<Cell, K, V>,
) {
    let excess: Vec<K> = store.iter().map(|(key, _)| key).collect();
    for key in excess.into_iter().filter(|key| other.peek(*key).is_none()) {
        store.remove(changes, key);
    }
    for (key, value) in other.iter() {
        store.set(changes, key, value.clone());
    }
}
