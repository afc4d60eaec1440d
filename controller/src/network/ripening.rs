//! Learned neighbours that are to be heard of again.
//!
//! A router may forget neighbours (`mac_binding_age_threshold`); northd deletes their rows by `MAC_Binding.timestamp`. At half of its
//! age a neighbour is *ripe*: its address is still used, but who speaks from it is not known any more, so that the next request,
//! reply or advertisement comes to the agent as from an unknown one, and the row gets a new timestamp
//! ([`learn`](crate::pinctrl::services::learn)). A neighbour that speaks costs two packets to the agent in its age, and traffic
//! costs nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ovsdb::Uuid;
use rustc_hash::FxHashMap;

use super::{Changes, Network};

/// How many become ripe at once.
const BATCH: usize = 1_024;

/// When neighbours become ripe, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Ripening {
    due: BTreeSet<(i64, Uuid)>,
    of: FxHashMap<Uuid, i64>,
}

impl Ripening {
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

    /// The neighbours of a router are forgotten later or sooner.
    pub(super) fn ages_changed(&mut self, changes: &mut Changes, datapath: Uuid) {
        let bindings = self.mac_bindings.iter();
        let its = bindings.filter(|(_, binding)| binding.datapath == datapath);
        let its: Vec<Uuid> = its.map(|(uuid, _)| uuid).collect();
        for row in its {
            self.neighbour_heard(changes, row);
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
