//! Numbers and identities: tunnel keys, tags.
//!
//! Units *want*; when the whole layer has spoken, [`Alloc::settle`] gives, by the relation of the pool. What was given stays
//! as long as its owner lives, also across restarts: a number that the southbound database already records for an owner is
//! kept. The order of giving makes that independent of the order of asking:
//!
//! 1. who has a number keeps it;
//! 2. who requests another one (`requested-tnl-key`, `tag_request`) gets that instead, if nobody else has requested it too
//!    and has it;
//! 3. who has none gets a free one, in the order of names.
//!
//! Who has a number that somebody else requests, without having requested it, is given another at once; where there is none,
//! the request waits: nobody loses a number for it.
//!
//! A tunnel key tells who was there first: one that is chosen comes behind all that are held, until they have all been given once,
//! also after a restart.
//!
//! Reserved numbers are given to nobody; who has one is given another.
//!
//! A request for a number that somebody else has requested waits: it is a [`Problem`], and the requester has a chosen number in the
//! meantime. Of a pool that shares, it is granted all the same, and told with the rank of a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use incr::Changes;
use relations::{Cell, Changed, Key, Values};
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

use super::fact::{Identity, Reserve, Want};
use super::identity;
use super::numbers::Numbers;
use super::pool::{Conflict, Order, Pool};
use super::problem::{Problem, Rank};

/// Who wants something, and of which pool.
type WantKey = (u16, Key);

/// Somebody who has spoken.
struct Owner {
    want: Want,
    given: Option<Identity>,
}

/// All numbers.
pub struct Alloc {
    /// The layer after which each pool gives.
    layers: FxHashMap<u16, usize>,
    /// The numbers of each space.
    pools: FxHashMap<(u16, Key), Numbers>,
    owners: FxHashMap<WantKey, Owner>,
    /// Who is to be served when each layer settles.
    pending: FxHashMap<usize, Vec<WantKey>>,
    /// Who wants a number that another holds.
    waiting: BTreeMap<WantKey, (Problem, (u16, Key))>,
    /// The same by where they wait.
    waiting_at: FxHashMap<(u16, Key), BTreeSet<WantKey>>,
    /// Numbers whose holders have changed, of pools that share them.
    touched: FxHashSet<(u16, Key, u32)>,
    /// Who has which row: a row that somebody has is nobody else's.
    identities: FxHashMap<(u16, Uuid), WantKey>,
    /// Owners by space and holder.
    rows: FxHashMap<(u16, Uuid), WantKey>,
    /// Where somebody may be waiting for a number that has been given back.
    released: FxHashSet<(u16, Key)>,
    /// What was given since the layer began to settle.
    given: Vec<(Cell, Changed)>,
    /// Problems that came (`true`) and went.
    news: Vec<(Problem, bool)>,
}

impl Alloc {
    /// Nothing given yet. `layers` has the layer of each pool.
    pub fn new(layers: impl IntoIterator<Item = (u16, usize)>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            pools: FxHashMap::default(),
            owners: FxHashMap::default(),
            pending: FxHashMap::default(),
            waiting: BTreeMap::new(),
            waiting_at: FxHashMap::default(),
            touched: FxHashSet::default(),
            identities: FxHashMap::default(),
            rows: FxHashMap::default(),
            released: FxHashSet::default(),
            given: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Requests that cannot be fulfilled any more (`true`), and those that could not and now can or are gone, in the order
    /// in which they became so.
    pub fn take_problem_news(&mut self) -> Vec<(Problem, bool)> {
        std::mem::take(&mut self.news)
    }

    /// Takes up a want, which may differ from an earlier one of the same key.
    pub fn want<U>(&mut self, want: Want, values: &mut Values, changes: &mut Changes<Cell, U>) {
        let key = (want.pool.id(), want.owner);
        match self.owners.get_mut(&key) {
            Some(owner) if owner.want == want => return,
            // A handle that is used again is another row.
            Some(owner) if owner.want.among == want.among && owner.want.row == want.row => {
                let has_asked_for = owner
                    .want
                    .requested
                    .filter(|number| owner.given.is_some_and(|given| given.key == *number));
                if has_asked_for.is_some() && want.requested != has_asked_for {
                    // Others who ask for it may have it now.
                    self.released
                        .insert((owner.want.pool.space(), owner.want.among));
                }
                owner.want = want;
            }
            Some(owner) => {
                let place = place(&owner.want);
                self.give_back(key, values, changes);
                self.rows.remove(&place);
                self.owners.insert(key, Owner { want, given: None });
            }
            None => {
                self.owners.insert(key, Owner { want, given: None });
            }
        }
        let place = place(&self.owners[&key].want);
        self.rows.insert(place, key);
        self.is_to_be_served(key);
    }

    /// Somebody is served when the layer of the pool settles.
    fn is_to_be_served(&mut self, key: WantKey) {
        let layer = self.layers.get(&key.0);
        debug_assert!(layer.is_some(), "a pool has a layer");
        if let Some(layer) = layer {
            self.pending.entry(*layer).or_default().push(key);
        }
    }

    /// Takes back a want; what was given for it is free again.
    pub fn unwant<U>(
        &mut self,
        pool: u16,
        owner: Key,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) {
        self.give_back((pool, owner), values, changes);
        if let Some(gone) = self.owners.remove(&(pool, owner)) {
            self.rows.remove(&place(&gone.want));
        }
        self.wait_no_more((pool, owner));
    }

    /// Somebody reserves numbers: who has one of them is served anew when the layer settles.
    pub fn reserve<U>(
        &mut self,
        reserve: Reserve,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) {
        let Reserve {
            pool, among, from, ..
        } = reserve;
        let pools = self.pools.entry((pool, among));
        let numbers = pools.or_insert_with(|| Numbers::new(Order::Lowest));
        for holder in numbers.reserve(&(from..=reserve.to)) {
            if let Some(key) = self.rows.get(&(pool, holder)).copied() {
                self.give_back(key, values, changes);
                self.is_to_be_served(key);
            }
        }
    }

    /// Somebody reserves them no longer.
    pub fn unreserve(&mut self, reserve: Reserve) {
        let of = (reserve.pool, reserve.among);
        if let Some(numbers) = self.pools.get_mut(&of) {
            numbers.unreserve(&(reserve.from..=reserve.to));
            if numbers.is_unused() {
                self.pools.remove(&of);
            }
        }
        self.released.insert(of);
    }

    /// Serves everybody who has spoken since the last time, and those who still wait, as far as pools of this layer are
    /// concerned. Returns the cells that have been given something.
    pub fn settle<U>(
        &mut self,
        layer: usize,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) -> Vec<(Cell, Changed)> {
        // Ends: what is given back in a turn is given back for a number that was asked for, and that is kept.
        loop {
            let released: Vec<(u16, Key)> = self
                .released
                .iter()
                .copied()
                .filter(|(space, _)| self.is_of(*space, layer))
                .collect();
            for place in released {
                // Somebody may be waiting for just this number.
                self.released.remove(&place);
                let waiting = self.waiting_at.get(&place).into_iter().flatten();
                for key in waiting.copied().collect::<Vec<_>>() {
                    self.is_to_be_served(key);
                }
            }
            let Some(mut turn) = self.pending.remove(&layer) else {
                break;
            };
            turn.retain(|key| self.owners.contains_key(key));
            turn.sort_unstable();
            turn.dedup();
            self.serve(turn, values, changes);
        }
        let touched: Vec<_> = self
            .touched
            .iter()
            .copied()
            .filter(|of| self.is_of(of.0, layer))
            .collect();
        for of in touched {
            self.touched.remove(&of);
            self.tell_sharing(of.0, of.1, of.2);
        }
        std::mem::take(&mut self.given)
    }

    /// Whether a pool's numbers are given when this layer settles.
    fn is_of(&self, pool: u16, layer: usize) -> bool {
        self.layers.get(&pool) == Some(&layer)
    }

    /// Of those who share a number, all but the first, by name, have a problem.
    fn tell_sharing(&mut self, pool: u16, among: Key, number: u32) {
        let holders = self
            .pools
            .get(&(pool, among))
            .map_or(&[][..], |numbers| numbers.holders(number));
        let owners = holders
            .iter()
            .filter_map(|row| self.rows.get(&(pool, *row)));
        let mut keys: Vec<WantKey> = owners.copied().collect();
        keys.sort_by_cached_key(|key| rank(&self.owners[key]));
        let first = keys.first().map(|key| self.owners[key].want.row);
        for (place, key) in keys.into_iter().enumerate() {
            let want = &self.owners[&key].want;
            if want.pool.conflict != Conflict::Shared {
                return;
            }
            match first.filter(|_| place > 0) {
                Some(first) => {
                    let problem = shared(want, number, first);
                    self.wait(key, problem);
                }
                None => self.wait_no_more(key),
            }
        }
    }

    fn serve<U>(
        &mut self,
        mut turn: Vec<WantKey>,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) {
        turn.sort_by_cached_key(|key| rank(&self.owners[key]));
        for key in &turn {
            let Owner { want, given } = &self.owners[key];
            let had = match given {
                Some(given) => Some(given.key),
                None => want.recorded,
            };
            // Of a pool that shares, one that is asked for is had at once.
            let is_fixed = want.pool.conflict == Conflict::Shared && want.requested.is_some();
            if let Some(had) = had.filter(|had| !is_fixed || want.requested == Some(*had)) {
                // What was asked for by several is not taken away from who has it.
                self.give(*key, had, true, values, changes);
            }
        }
        let mut evicted = Vec::new();
        turn.retain(|key| {
            let Owner { want, given } = &self.owners[key];
            let is_served = match (want.requested, given) {
                (Some(number), _) => {
                    evicted.extend(self.evict(*key, number, values, changes));
                    self.give(*key, number, false, values, changes)
                }
                (None, given) => given.is_some(),
            };
            !is_served
        });
        turn.extend(evicted);
        turn.retain(|key| {
            let Owner { want, given } = &self.owners[key];
            let has = given.map(|given| given.key);
            // Who was evicted may have been given what it asks for since.
            has.is_none() || want.requested.is_some_and(|number| has != Some(number))
        });
        turn.sort_by_cached_key(|key| rank(&self.owners[key]));
        turn.dedup();
        for key in turn {
            self.give_any(key, values, changes);
        }
    }

    /// Takes a number that somebody asks for from who has it and has not asked for it, if that one can be given another: a
    /// free one, or that of the asker. Not from pools that share.
    fn evict<U>(
        &mut self,
        asker: WantKey,
        number: u32,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) -> Option<WantKey> {
        let Owner { want, given } = &self.owners[&asker];
        let (space, asks) = place(want);
        let numbers = self.pools.get_mut(&(space, want.among))?;
        let holder = *numbers.holders(number).first()?;
        let key = *self.rows.get(&(space, holder))?;
        let is_larger = number > want.max.0.max(want.max.1);
        if key == asker || is_larger || want.pool.conflict == Conflict::Shared {
            return None;
        }
        let owner = self.owners.get(&key)?;
        if owner.want.requested == Some(number) {
            return None;
        }
        let largest = owner.want.max.0;
        let other = numbers.choose(largest, holder).or_else(|| {
            let own = given.map(|given| given.key).filter(|own| *own <= largest)?;
            numbers.release(own, asks);
            numbers.take(own, largest, holder, false).then_some(own)
        })?;
        numbers.release(number, holder);
        self.tell(key, other, values, changes);
        Some(key)
    }

    /// Gives `number` if it is free, or to be shared.
    fn give<U>(
        &mut self,
        key: WantKey,
        number: u32,
        had: bool,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) -> bool {
        let Some(owner) = self.owners.get_mut(&key) else {
            return true;
        };
        let want = &owner.want;
        let (chosen, asked) = want.max;
        let is_request = want.requested == Some(number);
        // What somebody has stays, also when keys have become scarcer meanwhile.
        let max = if had { u32::MAX } else { chosen.max(asked) };
        let shares = want.pool.conflict == Conflict::Shared && (is_request || had);
        let (space, holder) = place(want);
        let pools = self.pools.entry((space, want.among));
        let pool = pools.or_insert_with(|| Numbers::new(want.pool.order));
        if !pool.take(number, max, holder, shares) {
            return false;
        }
        if !is_request {
            pool.pass(number, chosen);
        }
        if want.pool.conflict == Conflict::Shared {
            self.touched.insert((space, want.among, number));
        }
        let is_too_large = number > chosen.max(asked);
        let problem = is_too_large.then(|| too_large(want, number)).flatten();
        let before = owner.given.filter(|before| before.key != number);
        if let Some(before) = before {
            if pool.release(before.key, holder) {
                self.released.insert((space, owner.want.among));
            }
            if owner.want.pool.conflict == Conflict::Shared {
                self.touched.insert((space, owner.want.among, before.key));
            }
        }
        match problem {
            Some(problem) => self.wait(key, problem),
            None => self.wait_no_more(key),
        }
        self.tell(key, number, values, changes);
        true
    }

    /// Gives a free number, and says so if another one was requested.
    fn give_any<U>(&mut self, key: WantKey, values: &mut Values, changes: &mut Changes<Cell, U>) {
        let Some(owner) = self.owners.get(&key) else {
            return;
        };
        let want = &owner.want;
        let (space, holder) = place(want);
        let pools = self.pools.entry((space, want.among));
        let pool = pools.or_insert_with(|| Numbers::new(want.pool.order));
        let problem = want.requested.map(|requested| {
            let other = pool.holders(requested).first();
            let other = other.and_then(|other| self.rows.get(&(space, *other)));
            let other = other.and_then(|other| self.owners.get(other));
            taken(want, requested, other.map(|other| other.want.row))
        });
        if owner.given.is_none() {
            // What the northbound says of an earlier life is worth less than what others have now.
            let preferred = want.preferred.filter(|_| problem.is_none());
            let preferred =
                preferred.filter(|number| pool.take(*number, want.max.0, holder, false));
            let number = preferred.or_else(|| pool.choose(want.max.0, holder));
            match number {
                Some(number) => self.tell(key, number, values, changes),
                None => {
                    let problem = exhausted(want);
                    self.give_back(key, values, changes);
                    self.wait(key, problem);
                    return;
                }
            }
        }
        match problem {
            Some(problem) => self.wait(key, problem),
            None => self.wait_no_more(key),
        }
    }

    fn tell<U>(
        &mut self,
        key: WantKey,
        number: u32,
        values: &mut Values,
        changes: &mut Changes<Cell, U>,
    ) {
        let Some(owner) = self.owners.get_mut(&key) else {
            return;
        };
        let recorded = owner.want.identity;
        let space = owner.want.pool.space();
        let uuid = match owner.given {
            Some(given) => given.uuid,
            None => {
                let is_others = |uuid: Uuid| {
                    let holder = self.identities.get(&(space, uuid));
                    holder.is_some_and(|other| *other != key)
                };
                // A port that was renamed has the row on which its former name still stands; and another one may have
                // that which this one had in an earlier life.
                let mut uuid = recorded;
                let mut next = owner.want.derived;
                while is_others(uuid) {
                    uuid = next;
                    next = identity::derive(&[b"next", next.as_bytes(), owner.want.row.as_bytes()]);
                }
                uuid
            }
        };
        if !uuid.is_nil() {
            self.identities.insert((space, uuid), key);
        }
        let identity = Identity { uuid, key: number };
        owner.given = Some(identity);
        let cell = cell(owner.want.pool, key.1);
        let changed = values.set(changes, cell, Box::new(identity));
        self.given.push((cell, changed));
    }

    fn give_back<U>(&mut self, key: WantKey, values: &mut Values, changes: &mut Changes<Cell, U>) {
        let Some(owner) = self.owners.get_mut(&key) else {
            return;
        };
        let (space, holder) = place(&owner.want);
        let among = (space, owner.want.among);
        if let Some(given) = owner.given.take() {
            if self.identities.get(&(space, given.uuid)) == Some(&key) {
                self.identities.remove(&(space, given.uuid));
            }
            if let Some(pool) = self.pools.get_mut(&among) {
                if pool.release(given.key, holder) {
                    self.released.insert(among);
                }
                if owner.want.pool.conflict == Conflict::Shared {
                    self.touched.insert((space, owner.want.among, given.key));
                }
                if pool.is_unused() {
                    self.pools.remove(&among);
                }
            }
            values.remove(changes, cell(owner.want.pool, key.1));
        }
    }

    fn wait(&mut self, key: WantKey, problem: Problem) {
        let Some(owner) = self.owners.get(&key) else {
            return;
        };
        let place = (owner.want.pool.space(), owner.want.among);
        let known = self.waiting.get(&key);
        if known.is_none_or(|(known, at)| (known, at) != (&problem, &place)) {
            self.wait_no_more(key);
            self.waiting.insert(key, (problem.clone(), place));
            self.waiting_at.entry(place).or_default().insert(key);
            self.news.push((problem, true));
        }
    }

    fn wait_no_more(&mut self, key: WantKey) {
        let Some((problem, place)) = self.waiting.remove(&key) else {
            return;
        };
        if let Some(waiting) = self.waiting_at.get_mut(&place) {
            waiting.remove(&key);
            if waiting.is_empty() {
                self.waiting_at.remove(&place);
            }
        }
        self.news.push((problem, false));
    }
}

/// Where the relation of a pool has what an owner was given.
fn cell(pool: &Pool, owner: Key) -> Cell {
    let relation = pool.given.id();
    Cell {
        relation,
        key: owner,
    }
}

/// The space of the numbers, and who holds one there: whoever has two holds them as two.
fn place(want: &Want) -> (u16, Uuid) {
    let holder = match want.pool.of {
        None => want.row,
        Some(_) => identity::derive(&[b"second number", want.row.as_bytes()]),
    };
    (want.pool.space(), holder)
}

/// The order in which owners are served.
fn rank(owner: &Owner) -> (Arc<str>, Uuid) {
    (Arc::clone(&owner.want.name), owner.want.row)
}

fn shared(want: &Want, number: u32, other: Uuid) -> Problem {
    let (_, _, what) = want.pool.place;
    let why = format!("{what} {number} is asked for and row {other} has it, too");
    let remedy = "it is given to both, as asked: ask for another one if that was not meant";
    problem(want, Rank::Warning, why, remedy.to_owned())
}

fn taken(want: &Want, requested: u32, holder: Option<Uuid>) -> Problem {
    let (_, _, what) = want.pool.place;
    let why = match holder {
        Some(holder) => {
            format!("{what} {requested} is asked for and cannot be had: row {holder} does use it")
        }
        None => format!(
            "{what} {requested} is asked for and cannot be had: the largest here is {}",
            want.max.1
        ),
    };
    let remedy = "ask for another one; it is given as soon as it can be";
    problem(want, Rank::Invalid, why, remedy.to_owned())
}

/// A tunnel key of an earlier time, when there were only chassis that understand it.
fn too_large(want: &Want, number: u32) -> Option<Problem> {
    let (_, column, what) = want.pool.place;
    if what != Pool::TUNNEL_KEY {
        return None;
    }
    let largest = want.max.0.max(want.max.1);
    let why = format!(
        "{what} {number} does not fit into tunnels of VXLAN or GRE, which chassis use now: they carry {largest} at most"
    );
    let remedy = format!(
        "what is sent there by such a tunnel is lost: set requested-tnl-key in {column}, or delete the row and add it anew"
    );
    Some(problem(want, Rank::Error, why, remedy))
}

fn exhausted(want: &Want) -> Problem {
    let (_, _, what) = want.pool.place;
    let why = format!("all {} of the {what}s are in use", want.max.0);
    let remedy = "delete what is no longer needed; it is compiled as soon as one is free";
    problem(want, Rank::Invalid, why, remedy.to_owned())
}

fn problem(want: &Want, rank: Rank, why: String, remedy: String) -> Problem {
    let (table, column, _) = want.pool.place;
    let (table, column) = want.place.unwrap_or((table, column));
    Problem {
        rank,
        table,
        row: want.about.unwrap_or(want.row),
        name: Arc::clone(&want.name),
        column,
        place: None,
        why,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use relations::{Handle, Relation};

    use super::*;

    static GIVEN: Relation<Handle, Identity> = Relation::new("given");
    static POOL: Pool = Pool::new(&GIVEN, ("T", "c", "number"), Conflict::Another);

    fn handle(number: u32) -> Key {
        Key::new([number, 0, 0, 0, 0])
    }

    /// Four owners of which each wants a number of three, and may ask for it.
    fn give(alloc: &mut Alloc, values: &mut Values, wants: &[(u32, Option<u32>)]) {
        let mut changes = Changes::<Cell, ()>::default();
        for (owner, requested) in wants {
            let row = Uuid::from_u128(u128::from(*owner) + 1);
            let want = Want {
                pool: &POOL,
                owner: handle(*owner),
                row,
                about: None,
                name: Arc::from(""),
                place: None,
                among: Key::default(),
                identity: row,
                derived: row,
                recorded: None,
                requested: *requested,
                preferred: None,
                max: (3, 9),
            };
            alloc.want(want, values, &mut changes);
        }
        alloc.settle(0, values, &mut changes);
    }

    #[test]
    fn nobody_loses_a_number_because_another_one_asks_for_it() {
        let mut values = Values::default();
        values.declare(&GIVEN);
        let mut alloc = Alloc::new([(POOL.id(), 0)]);
        let has = |alloc: &Alloc| -> Vec<Option<u32>> {
            let owner = |owner| alloc.owners.get(&(POOL.id(), handle(owner)));
            let given = |of| owner(of).and_then(|of| of.given).map(|given| given.key);
            (0..4).map(given).collect()
        };
        let all = [(0, None), (1, None), (2, None)];
        give(&mut alloc, &mut values, &all);
        assert_eq!(has(&alloc), [Some(1), Some(2), Some(3), None]);
        give(&mut alloc, &mut values, &[(0, Some(2))]);
        assert_eq!(
            has(&alloc),
            [Some(2), Some(1), Some(3), None],
            "an exchange"
        );
        give(&mut alloc, &mut values, &[(3, Some(3))]);
        assert_eq!(has(&alloc), [Some(2), Some(1), Some(3), None], "it waits");
        let problems = alloc.take_problem_news();
        assert!(
            problems
                .iter()
                .all(|(problem, _)| problem.row == Uuid::from_u128(4))
        );
        assert_eq!(problems.len(), 1);
        let mut changes = Changes::<Cell, ()>::default();
        alloc.unwant(POOL.id(), handle(1), &mut values, &mut changes);
        give(&mut alloc, &mut values, &[]);
        assert_eq!(
            has(&alloc),
            [Some(2), None, Some(1), Some(3)],
            "one is free"
        );
        assert_eq!(alloc.take_problem_news().len(), 1);
    }
}
