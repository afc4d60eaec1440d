//! Numbers and southbound identities: tunnel keys, tags, the UUIDs of rows.
//!
//! Units *want*; when the whole layer has spoken, [`Alloc::settle`] gives. What was given stays as long as its owner lives,
//! also across restarts: a key that the southbound database already records for an owner is kept. The order of giving makes
//! that independent of the order of asking:
//!
//! 1. who has a number keeps it;
//! 2. who requests another one (`requested-tnl-key`, `tag_request`) gets that instead if it is free;
//! 3. who has none gets a free one, in the order of names.
//!
//! A request for a number that somebody else holds waits: it is a [`Problem`], and the requester has a chosen number in the
//! meantime (a container has none: a tag is what the guest was told, not ours to change).

mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;

use addr::{DatapathKey, PortKey};
use incr::{Changes, Reads, Store};
use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::typed::TableDefinition;
use rustc_hash::FxHashMap;
use uuid::Uuid;

pub use pool::Pool;

use crate::compiler::cell::{Cell, Unit, digest};
use crate::model::Problem;
use crate::output::identity;

/// A southbound row's identity: its UUID and its tunnel key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The row.
    pub uuid: Uuid,
    /// `tunnel_key`.
    pub key: u32,
}

/// What a unit wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Who wants it: a northbound row.
    pub owner: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// What is wanted.
    pub what: Wanted,
    /// The number that it has to be.
    pub requested: Option<u32>,
}

/// The kinds of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A datapath, for a switch.
    Datapath,
    /// A port binding in the datapath of this switch.
    Binding {
        /// The switch.
        switch: Uuid,
    },
    /// A VLAN for a container.
    Tag {
        /// The name of the port that it lives in.
        parent: Arc<str>,
        /// The one that it had.
        previous: Option<u16>,
    },
}

/// Identifies a want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WantKey {
    /// A switch's datapath.
    Datapath(Uuid),
    /// A port's binding.
    Binding(Uuid),
    /// A port's tag.
    Tag(Uuid),
}

impl Want {
    /// What identifies this want.
    pub fn key(&self) -> WantKey {
        match self.what {
            Wanted::Datapath => WantKey::Datapath(self.owner),
            Wanted::Binding { .. } => WantKey::Binding(self.owner),
            Wanted::Tag { .. } => WantKey::Tag(self.owner),
        }
    }

    fn pool(&self) -> PoolKey {
        match &self.what {
            Wanted::Datapath => PoolKey::Datapaths,
            Wanted::Binding { switch } => PoolKey::Bindings(*switch),
            Wanted::Tag { parent, .. } => PoolKey::Tags(digest(parent)),
        }
    }
}

/// Which numbers exclude each other. Two parents whose names have one digest would share a pool of tags, which is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PoolKey {
    Datapaths,
    Bindings(Uuid),
    Tags(u64),
}

impl PoolKey {
    fn max(self) -> u32 {
        match self {
            Self::Datapaths => DatapathKey::MAX_LOCAL,
            Self::Bindings(_) => u32::from(PortKey::MAX_PORT),
            Self::Tags(_) => 4095,
        }
    }
}

/// Somebody who has spoken.
#[derive(Debug, Clone)]
struct Owner {
    want: Want,
    given: Option<u32>,
}

/// What the southbound database records: who had which identity.
pub trait Memory {
    /// The datapath of a switch.
    fn datapath(&self, switch: Uuid) -> Option<Identity>;
    /// The tag of a container in this parent.
    fn tag(&self, logical_port: &str, parent: &str) -> Option<u16>;
    /// The binding of a port, if it is in this datapath.
    fn binding(&self, datapath: Uuid, logical_port: &str) -> Option<Identity>;
}

/// All numbers.
pub struct Alloc {
    pools: FxHashMap<PoolKey, Pool>,
    owners: FxHashMap<WantKey, Owner>,
    /// Who is to be served when the layer settles.
    pending: Vec<WantKey>,
    /// Who wants a number that another holds.
    waiting: BTreeMap<WantKey, Problem>,
    datapaths: Store<Cell, Uuid, Identity>,
    bindings: Store<Cell, Uuid, Identity>,
    tags: Store<Cell, Uuid, u16>,
    /// Ports whose tag has changed since somebody looked.
    changed_tags: Vec<Uuid>,
    has_new_problems: bool,
    /// Whether a number has become free since those who wait were served.
    has_released: bool,
}

impl Default for Alloc {
    fn default() -> Self {
        Self {
            pools: FxHashMap::default(),
            owners: FxHashMap::default(),
            pending: Vec::new(),
            waiting: BTreeMap::new(),
            datapaths: Store::new(Cell::Datapath),
            bindings: Store::new(Cell::Binding),
            tags: Store::new(Cell::Tag),
            changed_tags: Vec::new(),
            has_new_problems: false,
            has_released: false,
        }
    }
}

/// Equal when everybody has the same.
impl PartialEq for Alloc {
    fn eq(&self, other: &Self) -> bool {
        fn same<V: PartialEq>(a: &Store<Cell, Uuid, V>, b: &Store<Cell, Uuid, V>) -> bool {
            a.len() == b.len() && a.iter().all(|(key, value)| b.peek(key) == Some(value))
        }
        same(&self.datapaths, &other.datapaths)
            && same(&self.bindings, &other.bindings)
            && same(&self.tags, &other.tags)
    }
}

impl Alloc {
    /// A switch's datapath.
    pub fn datapath(&self, reads: &Reads<Cell>, switch: Uuid) -> Option<Identity> {
        self.datapaths.get(reads, switch).copied()
    }

    /// A port's binding.
    pub fn binding(&self, reads: &Reads<Cell>, port: Uuid) -> Option<Identity> {
        self.bindings.get(reads, port).copied()
    }

    /// A container's tag.
    pub fn tag(&self, reads: &Reads<Cell>, port: Uuid) -> Option<u16> {
        self.tags.get(reads, port).copied()
    }

    /// A container's tag, for code that is no unit.
    pub fn peek_tag(&self, port: Uuid) -> Option<u16> {
        self.tags.peek(port).copied()
    }

    /// The ports whose tags have changed since the last call.
    pub fn take_changed_tags(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.changed_tags)
    }

    /// Whether problems came or went since the last call.
    pub fn take_problem_changes(&mut self) -> bool {
        std::mem::take(&mut self.has_new_problems)
    }

    /// Requests that cannot be fulfilled now.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.waiting.values()
    }

    /// Takes up a want, which may differ from an earlier one of the same key.
    pub fn want(&mut self, want: Want, changes: &mut Changes<Cell, Unit>) {
        let key = want.key();
        match self.owners.get_mut(&key) {
            Some(owner) if owner.want == want => return,
            Some(owner) if owner.want.pool() == want.pool() => owner.want = want,
            Some(_) => {
                self.give_back(key, changes);
                self.owners.insert(key, Owner { want, given: None });
            }
            None => {
                self.owners.insert(key, Owner { want, given: None });
            }
        }
        self.pending.push(key);
    }

    /// Takes back a want; what was given for it is free again.
    pub fn unwant(&mut self, key: WantKey, changes: &mut Changes<Cell, Unit>) {
        self.give_back(key, changes);
        self.owners.remove(&key);
        self.wait_no_more(key);
    }

    fn wait(&mut self, key: WantKey, problem: Problem) {
        if self.waiting.get(&key) != Some(&problem) {
            self.waiting.insert(key, problem);
            self.has_new_problems = true;
        }
    }

    fn wait_no_more(&mut self, key: WantKey) {
        self.has_new_problems |= self.waiting.remove(&key).is_some();
    }

    /// Serves everybody who has spoken since the last time, and those who still wait.
    pub fn settle(&mut self, memory: &impl Memory, changes: &mut Changes<Cell, Unit>) {
        // Ends: what is given back in a turn is given back for a number that was asked for, and that is kept.
        loop {
            if std::mem::take(&mut self.has_released) {
                // Somebody may be waiting for just this number.
                self.pending.extend(self.waiting.keys());
            }
            if self.pending.is_empty() {
                return;
            }
            let mut turn = std::mem::take(&mut self.pending);
            turn.retain(|key| self.owners.contains_key(key));
            turn.sort_unstable();
            turn.dedup();
            self.serve(turn, memory, changes);
        }
    }

    fn serve(
        &mut self,
        mut turn: Vec<WantKey>,
        memory: &impl Memory,
        changes: &mut Changes<Cell, Unit>,
    ) {
        for key in &turn {
            self.give_former(*key, memory, changes);
        }
        turn.sort_by(|a, b| {
            self.owners[a]
                .want
                .name
                .cmp(&self.owners[b].want.name)
                .then(a.cmp(b))
        });
        turn.retain(|key| {
            let Owner { want, given } = &self.owners[key];
            let (requested, has) = (want.requested, given.is_some());
            let is_served = match requested {
                Some(number) => self.give(*key, number, memory, changes),
                None => has,
            };
            !is_served
        });
        for key in turn {
            self.give_any(key, memory, changes);
        }
    }

    /// The number that the owner has, or had in an earlier life.
    fn had(&self, key: WantKey, memory: &impl Memory) -> Option<u32> {
        let owner = &self.owners[&key];
        owner.given.or_else(|| match &owner.want.what {
            Wanted::Datapath => memory
                .datapath(owner.want.owner)
                .map(|identity| identity.key),
            Wanted::Binding { switch } => {
                let datapath = self.datapaths.peek(*switch)?;
                memory
                    .binding(datapath.uuid, &owner.want.name)
                    .map(|identity| identity.key)
            }
            Wanted::Tag { parent, .. } => memory.tag(&owner.want.name, parent).map(u32::from),
        })
    }

    /// Gives `number` if it is free.
    fn give(
        &mut self,
        key: WantKey,
        number: u32,
        memory: &impl Memory,
        changes: &mut Changes<Cell, Unit>,
    ) -> bool {
        let Some(owner) = self.owners.get_mut(&key) else {
            return true;
        };
        let pool_key = owner.want.pool();
        let pool = self
            .pools
            .entry(pool_key)
            .or_insert_with(|| Pool::new(pool_key.max()));
        if !pool.take(number, owner.want.owner) {
            return false;
        }
        if let Some(before) = owner
            .given
            .replace(number)
            .filter(|before| *before != number)
        {
            pool.release(before, owner.want.owner);
            self.has_released = true;
        }
        self.wait_no_more(key);
        self.tell(key, number, memory, changes);
        true
    }

    /// Lets somebody keep what it has, or had. But a tag is either the requested one or none.
    fn give_former(
        &mut self,
        key: WantKey,
        memory: &impl Memory,
        changes: &mut Changes<Cell, Unit>,
    ) {
        let requested = self.owners[&key].want.requested;
        let is_fixed = matches!(key, WantKey::Tag(_)) && requested.is_some();
        let had = self.had(key, memory);
        if let Some(had) = had.filter(|had| !is_fixed || requested == Some(*had)) {
            self.give(key, had, memory, changes);
        }
    }

    /// Gives a free number, and says so if another one was requested.
    fn give_any(&mut self, key: WantKey, memory: &impl Memory, changes: &mut Changes<Cell, Unit>) {
        let Some(owner) = self.owners.get_mut(&key) else {
            return;
        };
        let want = owner.want.clone();
        let pool_key = want.pool();
        let pool = self
            .pools
            .entry(pool_key)
            .or_insert_with(|| Pool::new(pool_key.max()));
        if let Some(requested) = want.requested {
            let problem = taken(&want, requested, pool.holder(requested));
            if matches!(want.what, Wanted::Tag { .. }) {
                if let Some(before) = owner.given.take() {
                    pool.release(before, want.owner);
                    self.tags.remove(changes, want.owner);
                    self.changed_tags.push(want.owner);
                    self.has_released = true;
                }
                self.wait(key, problem);
                return;
            }
            if owner.given.is_some() {
                self.wait(key, problem);
                return;
            }
            let number = pool.choose(want.owner);
            owner.given = number;
            self.wait(key, problem);
            if let Some(number) = number {
                self.tell(key, number, memory, changes);
            }
            return;
        }
        if owner.given.is_some() {
            return;
        }
        // What the northbound says of an earlier life is worth less than what others have now.
        let previous = match want.what {
            Wanted::Tag { previous, .. } => previous.map(u32::from),
            Wanted::Datapath | Wanted::Binding { .. } => None,
        };
        let previous = previous.filter(|previous| pool.take(*previous, want.owner));
        if let Some(number) = previous.or_else(|| pool.choose(want.owner)) {
            owner.given = Some(number);
            self.wait_no_more(key);
            self.tell(key, number, memory, changes);
        } else {
            self.wait(key, exhausted(&want, pool_key.max()));
        }
    }

    fn tell(
        &mut self,
        key: WantKey,
        number: u32,
        memory: &impl Memory,
        changes: &mut Changes<Cell, Unit>,
    ) {
        match key {
            WantKey::Datapath(switch) => {
                let known = self
                    .datapaths
                    .peek(switch)
                    .copied()
                    .or_else(|| memory.datapath(switch));
                let uuid =
                    known.map_or_else(|| identity::datapath(switch), |identity| identity.uuid);
                self.datapaths
                    .set(changes, switch, Identity { uuid, key: number });
            }
            WantKey::Binding(port) => {
                let Wanted::Binding { switch } = self.owners[&key].want.what else {
                    return;
                };
                let Some(datapath) = self.datapaths.peek(switch).copied() else {
                    return;
                };
                let known = self.bindings.peek(port).copied();
                let known =
                    known.or_else(|| memory.binding(datapath.uuid, &self.owners[&key].want.name));
                let uuid = known.map_or_else(
                    || identity::binding(datapath.uuid, port),
                    |identity| identity.uuid,
                );
                self.bindings
                    .set(changes, port, Identity { uuid, key: number });
            }
            WantKey::Tag(port) => {
                let tag = u16::try_from(number).expect("the pool of tags ends at 4095");
                if self.tags.set(changes, port, tag) {
                    self.changed_tags.push(port);
                }
            }
        }
    }

    fn give_back(&mut self, key: WantKey, changes: &mut Changes<Cell, Unit>) {
        let Some(owner) = self.owners.get_mut(&key) else {
            return;
        };
        if let Some(number) = owner.given.take() {
            let pool_key = owner.want.pool();
            if let Some(pool) = self.pools.get_mut(&pool_key) {
                pool.release(number, owner.want.owner);
                if pool.is_unused() && pool_key != PoolKey::Datapaths {
                    self.pools.remove(&pool_key);
                }
            }
            self.has_released = true;
        }
        match key {
            WantKey::Datapath(switch) => {
                self.datapaths.remove(changes, switch);
            }
            WantKey::Binding(port) => {
                self.bindings.remove(changes, port);
            }
            WantKey::Tag(port) => {
                if self.tags.remove(changes, port).is_some() {
                    self.changed_tags.push(port);
                }
            }
        }
    }
}

fn taken(want: &Want, requested: u32, holder: Option<Uuid>) -> Problem {
    let holder = holder.map_or_else(
        || "nobody may".to_owned(),
        |holder| format!("row {holder} does"),
    );
    let (table, column, what) = place(want);
    Problem {
        table,
        row: want.owner,
        name: Arc::clone(&want.name),
        column,
        place: None,
        why: format!("{what} {requested} is asked for and cannot be had: {holder} use it"),
        remedy: "ask for another one; it is given as soon as it is free".to_owned(),
    }
}

fn exhausted(want: &Want, max: u32) -> Problem {
    let (table, column, what) = place(want);
    Problem {
        table,
        row: want.owner,
        name: Arc::clone(&want.name),
        column,
        place: None,
        why: format!("all {max} of the {what}s are in use"),
        remedy: "delete what is no longer needed; it is compiled as soon as one is free".to_owned(),
    }
}

fn place(want: &Want) -> (&'static str, &'static str, &'static str) {
    match want.what {
        Wanted::Datapath => (
            LogicalSwitch::NAME,
            LogicalSwitch::COLUMN.other_config.name,
            "tunnel key",
        ),
        Wanted::Binding { .. } => (
            LogicalSwitchPort::NAME,
            LogicalSwitchPort::COLUMN.options.name,
            "tunnel key",
        ),
        Wanted::Tag { .. } => (
            LogicalSwitchPort::NAME,
            LogicalSwitchPort::COLUMN.tag_request.name,
            "tag",
        ),
    }
}
