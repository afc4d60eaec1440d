//! Connection tracking zones: a number for each attached port and for each local router's two translations.
//!
//! The numbers are remembered in the integration bridge's `external_ids` as `ct-zone-NAME=NUMBER`, so that a restart gives every
//! port its old zone, and with it its old connections. A number that is given to a new name has its connections flushed.
//!
//! A name may have several holders, for two routers may have one name. It keeps its number until the last of them is gone.
//!
//! A router may ask for the number of its second translation (`snat-ct-zone`), to share connections with whoever else uses that
//! zone on the host. Several that ask for one number share it; who had it without asking gets another. So does who has a number
//! outside of the range that may be given out (`ct-zone-range`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::settings::ZoneRange;

/// The first zone; 0 is everybody's.
pub const FIRST_ZONE: u16 = 1;
/// The last zone.
pub const LAST_ZONE: u16 = u16::MAX;

const PREFIX: &str = "ct-zone-";

/// The zones by name.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    by_name: BTreeMap<Arc<str>, Zone>,
    by_number: BTreeMap<u16, Arc<str>>,
    /// The names that have asked for their number, by number.
    requested: BTreeMap<u16, BTreeSet<Arc<str>>>,
    changes: Vec<ZoneChange>,
    /// Names whose last holder left, since that was last settled. Some may have got a holder again.
    left: Vec<Arc<str>>,
    /// Names that got a number or lost theirs.
    renumbered: BTreeSet<Arc<str>>,
    /// Below this every number is taken.
    free_from: u16,
    /// Which numbers may be given out.
    range: ZoneRange,
}

/// The zone of a name.
#[derive(Clone, Copy, Debug)]
struct Zone {
    number: u16,
    /// How many have it; none while it is only remembered.
    holders: u32,
}

/// Something that has to be done about a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneChange {
    /// The zone is somebody else's now: forget its connections.
    Flush(u16),
}

impl Zones {
    /// Gives out numbers of this range from now on. Who has another without asking for it gets one of the range, or none if all are
    /// taken; the answer is whom that concerns, of those that somebody holds.
    pub fn set_range(&mut self, range: ZoneRange) -> Vec<Arc<str>> {
        if self.range == range {
            return Vec::new();
        }
        self.range = range;
        self.free_from = 0;
        let ZoneRange { first, last } = range;
        let asks = |name: &Arc<str>, number: u16| {
            let sharers = self.requested.get(&number);
            sharers.is_some_and(|sharers| sharers.contains(name))
        };
        let strayed = self.by_name.iter().filter(|(name, zone)| {
            !(first..=last).contains(&zone.number) && !asks(name, zone.number)
        });
        let strayed: Vec<(Arc<str>, u32)> = strayed
            .map(|(name, zone)| (name.clone(), zone.holders))
            .collect();
        for (name, _) in &strayed {
            self.forget(name);
        }
        let mut moved = Vec::new();
        for (name, holders) in strayed.into_iter().filter(|(_, holders)| *holders > 0) {
            self.number_anew(&name, holders);
            moved.push(name);
        }
        moved
    }

    /// Takes up the numbers that a bridge remembers, of those that may be given out. A number given twice stays with the first
    /// name, unless the others ask for it again.
    pub fn restore<'a>(
        &mut self,
        external_ids: impl IntoIterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
    ) {
        for (key, value) in external_ids {
            let (Some(name), Ok(number)) = (Zones::name_of(key), value.parse()) else {
                continue;
            };
            let ZoneRange { first, last } = self.range;
            if (first..=last).contains(&number) && !self.by_name.contains_key(name) {
                let name: Arc<str> = name.into();
                let zone = Zone { number, holders: 0 };
                self.by_name.insert(name.clone(), zone);
                self.by_number.entry(number).or_insert(name);
            }
        }
    }

    /// The number of a name.
    pub fn get(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).map(|zone| zone.number)
    }

    /// The number of a name, which gets one if it has none, and one holder more. `None` when all are taken.
    pub fn assign(&mut self, name: &str) -> Option<u16> {
        let holders = self.give_up_shared(name);
        if let Some(zone) = self.by_name.get_mut(name) {
            zone.holders += 1;
            return Some(zone.number);
        }
        let number = self.first_free()?;
        let name: Arc<str> = name.into();
        self.by_name.insert(
            name.clone(),
            Zone {
                number,
                holders: holders + 1,
            },
        );
        self.renumbered.insert(name.clone());
        self.by_number.insert(number, name);
        self.changes.push(ZoneChange::Flush(number));
        Some(number)
    }

    /// Gives a name the number that it asks for, and one holder more. The answer is who had that number without asking, and has
    /// another now, or none if all are taken.
    pub fn request(&mut self, name: &str, number: u16) -> Option<Arc<str>> {
        let before = self.by_name.get(name).copied();
        if before.is_some_and(|zone| zone.number != number) {
            self.forget(name);
        }
        let name: Arc<str> = name.into();
        let sharers = self.requested.entry(number).or_default();
        let is_shared = !sharers.is_empty();
        sharers.insert(name.clone());
        let displaced = match self.by_number.insert(number, name.clone()) {
            Some(other) if other != name && !is_shared => self.displace(other),
            _ => None,
        };
        if before.is_none_or(|zone| zone.number != number) {
            self.renumbered.insert(name.clone());
            // What others of the host have in zone 0 is not the router's to forget.
            if !is_shared && number >= FIRST_ZONE {
                self.changes.push(ZoneChange::Flush(number));
            }
        }
        let holders = before.map_or(0, |zone| zone.holders) + 1;
        self.by_name.insert(name, Zone { number, holders });
        displaced
    }

    /// The number of a name is somebody else's now: it gets another one if anybody holds it.
    fn displace(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let zone = self.by_name.remove(&name)?;
        self.renumbered.insert(name.clone());
        if zone.holders == 0 {
            return None;
        }
        self.number_anew(&name, zone.holders);
        Some(name)
    }

    /// Gives a name that has lost its number another one, if any is left.
    fn number_anew(&mut self, name: &Arc<str>, holders: u32) {
        if let Some(number) = self.first_free() {
            self.by_name.insert(name.clone(), Zone { number, holders });
            self.by_number.insert(number, name.clone());
            self.changes.push(ZoneChange::Flush(number));
        }
    }

    /// A name does not ask for a number, or not any more: it keeps the one that it has if that is its own alone. Otherwise it has
    /// none from now on, and the answer is how many hold it.
    fn give_up_shared(&mut self, name: &str) -> u32 {
        let Some(Zone { number, holders }) = self.by_name.get(name).copied() else {
            return 0;
        };
        let sharers = self.requested.get(&number);
        let is_alone = match sharers {
            Some(sharers) => sharers.len() == 1 && sharers.contains(name),
            None => self.by_number.get(&number).is_some_and(|of| &**of == name),
        };
        if number >= FIRST_ZONE && is_alone {
            self.requested.remove(&number);
            return 0;
        }
        self.forget(name);
        holders
    }

    /// A holder leaves. The answer is true when it was the last: then the number is taken back, but not before
    /// [`Zones::forget_left`]. Who takes the name until then takes the connections with it: a row may go and come back as another.
    pub fn release(&mut self, name: &str) -> bool {
        let Some(zone) = self.by_name.get_mut(name) else {
            return false;
        };
        zone.holders = zone.holders.saturating_sub(1);
        if zone.holders > 0 {
            return false;
        }
        self.left.push(name.into());
        true
    }

    /// Takes back the numbers whose last holders left and whose names nobody took.
    pub fn forget_left(&mut self) {
        for name in std::mem::take(&mut self.left) {
            let zone = self.by_name.get(&name);
            if zone.is_some_and(|zone| zone.holders == 0) {
                self.forget(&name);
            }
        }
    }

    /// Takes back the numbers that were remembered and that nobody holds.
    pub fn release_unheld(&mut self) {
        let unheld = self.by_name.iter().filter(|(_, zone)| zone.holders == 0);
        let unheld: Vec<Arc<str>> = unheld.map(|(name, _)| name.clone()).collect();
        for name in unheld {
            self.forget(&name);
        }
    }

    /// The same names and numbers, remembered and held by nobody: for one who finds out anew who holds them.
    #[must_use]
    pub fn remembered(&self) -> Zones {
        let mut zones = self.clone();
        zones.by_name.values_mut().for_each(|zone| zone.holders = 0);
        zones
    }

    fn forget(&mut self, name: &str) {
        if let Some((name, zone)) = self.by_name.remove_entry(name) {
            let sharers = self.requested.get_mut(&zone.number);
            let other = sharers.and_then(|sharers| {
                sharers.remove(&name);
                sharers.first().cloned()
            });
            let was_first = self.by_number.get(&zone.number) == Some(&name);
            self.renumbered.insert(name);
            match other {
                Some(other) => drop(self.by_number.insert(zone.number, other)),
                None if was_first => {
                    self.requested.remove(&zone.number);
                    self.by_number.remove(&zone.number);
                    self.free_from = self.free_from.min(zone.number);
                }
                None => {}
            }
        }
    }

    /// Names and numbers, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u16)> {
        self.by_name.iter().map(|(name, zone)| (name, zone.number))
    }

    /// The key by which the bridge's `external_ids` remember the zone of a name.
    pub fn key(name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    /// The name that a key of the bridge's `external_ids` is about, if it is about a zone.
    pub fn name_of(key: &str) -> Option<&str> {
        key.strip_prefix(PREFIX)
    }

    /// The names that got a number or lost theirs since this was last asked.
    pub fn take_renumbered(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.renumbered)
    }

    /// What has to be done since this was last asked.
    pub fn take_changes(&mut self) -> Vec<ZoneChange> {
        std::mem::take(&mut self.changes)
    }

    /// The lowest number that nobody has; of one who left only when there is no other.
    fn first_free(&mut self) -> Option<u16> {
        self.lowest_free().or_else(|| {
            self.forget_left();
            self.lowest_free()
        })
    }

    fn lowest_free(&mut self) -> Option<u16> {
        let ZoneRange { first, last } = self.range;
        let from = self.free_from.max(first);
        let mut expected = from;
        for &number in self.by_number.range(from..).map(|(number, _)| number) {
            if number != expected {
                break;
            }
            expected = expected.checked_add(1)?;
        }
        self.free_from = expected;
        (expected <= last).then_some(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_the_range_of_the_chassis() {
        let mut zones = Zones::default();
        assert!(zones.set_range(ZoneRange { first: 7, last: 9 }).is_empty());
        let ids = [("ct-zone-a", "1"), ("ct-zone-b", "8")];
        let ids: BTreeMap<Arc<str>, Arc<str>> =
            ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        zones.restore(&ids);
        let given = ["a", "b", "c", "d"].map(|name| zones.assign(name));
        assert_eq!(given, [Some(7), Some(8), Some(9), None]);
        zones.release("c");
        assert!(zones.set_range(ZoneRange::default()).is_empty());
        assert_eq!(zones.assign("d"), Some(1));
        zones.request("e", 3);
        zones.take_changes();
        // Whoever is outside moves as far as there is room, but who has asked for that.
        let moved = zones.set_range(ZoneRange { first: 8, last: 9 });
        assert_eq!(moved, ["a".into(), "d".into()]);
        let given = ["a", "b", "c", "d", "e"].map(|name| zones.get(name));
        assert_eq!(given, [Some(9), Some(8), None, None, Some(3)]);
        assert_eq!(zones.take_changes(), [ZoneChange::Flush(9)]);
    }

    #[test]
    fn numbers_are_kept_reused_and_flushed() {
        let mut zones = Zones::default();
        let ids: BTreeMap<Arc<str>, Arc<str>> = [
            ("ct-zone-a", "1"),
            ("ct-zone-b", "3"),
            ("ct-zone-c", "3"),
            ("x", "4"),
        ]
        .into_iter()
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
        zones.restore(&ids);
        assert_eq!(
            (zones.get("a"), zones.get("b"), zones.get("c")),
            (Some(1), Some(3), Some(3))
        );
        assert_eq!(zones.take_changes(), []);
        assert_eq!(
            (zones.assign("b"), zones.assign("c"), zones.assign("d")),
            (Some(3), Some(2), Some(4))
        );
        assert_eq!(
            zones.take_changes(),
            [ZoneChange::Flush(2), ZoneChange::Flush(4)]
        );
        // Who comes back before that is settled has lost nothing.
        assert!(zones.assign("a") == Some(1) && zones.release("a"));
        assert_eq!(zones.assign("a"), Some(1));
        assert!(zones.release("a"));
        zones.forget_left();
        assert_eq!(zones.assign("e"), Some(1));
        assert_eq!(zones.take_changes(), [ZoneChange::Flush(1)]);
    }

    #[test]
    fn a_name_keeps_its_number_until_its_last_holder_is_gone() {
        let mut zones = Zones::default();
        assert_eq!(zones.assign("router_dnat"), Some(1));
        assert_eq!(zones.assign("router_dnat"), Some(1));
        assert!(!zones.release("router_dnat"));
        assert_eq!(zones.assign("other"), Some(2));
        let mut remembered = zones.remembered();
        remembered.assign("other");
        remembered.release_unheld();
        assert_eq!(
            (remembered.get("router_dnat"), remembered.get("other")),
            (None, Some(2))
        );
        assert!(zones.release("router_dnat"));
        zones.forget_left();
        assert_eq!(zones.assign("third"), Some(1));
    }

    #[test]
    fn who_asks_for_a_number_has_it() {
        let mut zones = Zones::default();
        let get = |zones: &Zones| ["a", "b", "c"].map(|name| zones.get(name));
        assert_eq!((zones.assign("a"), zones.assign("b")), (Some(1), Some(2)));
        zones.take_changes();
        assert_eq!(zones.request("c", 2).as_deref(), Some("b"));
        assert_eq!(get(&zones), [Some(1), Some(3), Some(2)]);
        assert_eq!(
            zones.take_changes(),
            [ZoneChange::Flush(3), ZoneChange::Flush(2)]
        );
        // Sharers forget nothing of each other.
        assert_eq!(zones.request("a", 2), None);
        assert_eq!(get(&zones), [Some(2), Some(3), Some(2)]);
        assert_eq!(zones.take_changes(), []);
        assert_eq!(zones.assign("d"), Some(1));
        assert!(zones.release("c"));
        zones.forget_left();
        assert_eq!(get(&zones), [Some(2), Some(3), None]);
        assert_eq!(zones.assign("e"), Some(4), "2 is taken");
        // Nor do they at a restart, whoever comes first.
        let ids = [("ct-zone-a", "2"), ("ct-zone-b", "2")];
        let ids = ids.map(|(key, value)| (Arc::from(key), Arc::from(value)));
        let mut again = Zones::default();
        again.restore(ids.iter().map(|(key, value)| (key, value)));
        assert_eq!((again.request("b", 2), again.request("a", 2)), (None, None));
        assert_eq!(again.take_changes(), []);
        // Who asks no more keeps what is its own alone; zone 0 is nobody's.
        assert_eq!(zones.assign("a"), Some(2));
        zones.take_changes();
        assert_eq!((zones.request("a", 0), zones.get("a")), (None, Some(0)));
        assert_eq!(zones.take_changes(), []);
        assert_eq!(zones.assign("a"), Some(2));
        assert!(!zones.release("a"), "it has more holders");
    }

    #[test]
    fn they_can_run_out() {
        let mut zones = Zones::default();
        for n in FIRST_ZONE..=LAST_ZONE {
            assert_eq!(zones.assign(&n.to_string()), Some(n));
        }
        assert_eq!(zones.assign("one too many"), None);
        assert!(zones.release("7"));
        assert_eq!(zones.assign("one too many"), Some(7));
    }
}
