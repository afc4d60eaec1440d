//! Learned neighbours, and Ethernet addresses, that are to be heard of again.
//!
//! A router may forget neighbours (`mac_binding_age_threshold`); northd deletes their rows by `MAC_Binding.timestamp`. At half of its
//! age a neighbour is *ripe*: its address is still used, but who speaks from it is not known any more, so that the next request,
//! reply or advertisement comes to the agent as from an unknown one, and the row gets a new timestamp
//! ([`learn`](crate::pinctrl::services::learn)). A neighbour that speaks costs two packets to the agent in its age, and traffic
//! costs nothing.
//!
//! The same goes for addresses that a switch has learned (`fdb_age_threshold`, `FDB.timestamp`): a packet from one that is ripe comes
//! to the agent. Once the agent has asked for a new timestamp, the row is ripe no longer, whether or not it has one already: the
//! southbound may be slow, or away, and a guest that sends fast would keep the agent busy meanwhile. If the row has none after
//! [`AGAIN_MS`], it is ripe again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ovsdb::Uuid;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Changes, Network};

/// How many become ripe at once.
const BATCH: usize = 1_024;
/// How long a new timestamp may take.
const AGAIN_MS: i64 = 2_000;

/// When neighbours become ripe, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Ripening {
    due: BTreeSet<(i64, Uuid)>,
    of: FxHashMap<Uuid, i64>,
    /// Rows of `FDB` by their datapaths' keys, and the key of each.
    addresses: FxHashMap<i64, FxHashSet<Uuid>>,
    key_of: FxHashMap<Uuid, i64>,
}

impl Ripening {
    /// A row of `FDB` is of the datapath with this key; without one it is gone.
    fn place(&mut self, row: Uuid, key: Option<i64>) {
        let before = match key {
            Some(key) => self.key_of.insert(row, key),
            None => self.key_of.remove(&row),
        };
        if let Some(before) = before.filter(|before| Some(*before) != key)
            && let Some(rows) = self.addresses.get_mut(&before)
        {
            rows.remove(&row);
            if rows.is_empty() {
                self.addresses.remove(&before);
            }
        }
        if let Some(key) = key {
            self.addresses.entry(key).or_default().insert(row);
        }
    }

    fn set(&mut self, row: Uuid, due_ms: Option<i64>) {
        if let Some(before) = self.of.remove(&row) {
            self.due.remove(&(before, row));
        }
        if let Some(due_ms) = due_ms {
            self.of.insert(row, due_ms);
            self.due.insert((due_ms, row));
        }
    }
}

impl Network {
    /// A neighbour was heard of, or is no more, or its router forgets later or sooner.
    pub(super) fn neighbour_heard(&mut self, changes: &mut Changes, row: Uuid) {
        let due_ms = self.mac_bindings.peek(row).and_then(|binding| {
            let datapath = self.datapaths.peek(binding.datapath)?;
            let ip: IpAddr = binding.ip.parse().ok()?;
            let age_s = datapath.ages.as_ref()?.of(ip)?;
            Some(binding.timestamp.saturating_add(i64::from(age_s) * 500))
        });
        self.ripening.set(row, due_ms);
        self.ripe.remove(changes, row);
    }

    /// An Ethernet address was heard of, or is no more, or its switch forgets later or sooner.
    pub(super) fn address_heard(&mut self, changes: &mut Changes, row: Uuid) {
        let key = self.fdb.peek(row).map(|fdb| fdb.dp_key);
        self.ripening.place(row, key);
        let due_ms = self.fdb.peek(row).and_then(|fdb| {
            let key = u32::try_from(fdb.dp_key).ok()?;
            let datapath = self.datapath_keyed.peek(key)?;
            let age_s = self.datapaths.peek(*datapath)?.fdb_age_s?;
            Some(fdb.timestamp.saturating_add(i64::from(age_s) * 500))
        });
        self.ripening.set(row, due_ms);
        self.ripe.remove(changes, row);
    }

    /// The neighbours of a router, or the addresses of a switch, are forgotten later or sooner.
    pub(super) fn ages_changed(&mut self, changes: &mut Changes, datapath: Uuid) {
        let key = self
            .datapaths
            .peek(datapath)
            .map(|known| i64::from(known.key));
        let its = key
            .and_then(|key| self.ripening.addresses.get(&key))
            .cloned();
        for row in its.into_iter().flatten() {
            self.address_heard(changes, row);
        }
        let bindings = self.mac_bindings.iter();
        let its = bindings.filter(|(_, binding)| binding.datapath == datapath);
        let its: Vec<Uuid> = its.map(|(uuid, _)| uuid).collect();
        for row in its {
            self.neighbour_heard(changes, row);
        }
    }

    /// A new timestamp was asked for.
    pub fn refreshed(&mut self, changes: &mut Changes, row: Uuid, now_ms: i64) {
        if self.ripe.remove(changes, row).is_some() {
            self.ripening.set(row, Some(now_ms + AGAIN_MS));
        }
    }

    /// When the next neighbour becomes ripe, in milliseconds since 1970.
    pub fn ripe_at_ms(&self) -> Option<i64> {
        self.ripening.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Time has passed: some neighbours are ripe.
    pub fn ripen(&mut self, changes: &mut Changes, now_ms: i64) {
        for _ in 0..BATCH {
            let Some(&(due_ms, row)) = self.ripening.due.first().filter(|(at, _)| *at <= now_ms)
            else {
                return;
            };
            self.ripening.due.remove(&(due_ms, row));
            self.ripening.of.remove(&row);
            self.ripe.set(changes, row, ());
        }
    }
}
