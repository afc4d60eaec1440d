//! The scheduler: runs what is dirty, layer by layer, and applies what differs.

use std::fmt::Debug;
use std::hash::Hash;

use crate::graph::{Graph, NONE};
use crate::places::{Places, hash};
use crate::{Changes, Reads, Stats};

/// A unit by its place in the engine: small, and stable while the unit lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(u32);

impl UnitId {
    /// No unit's: the largest there could be, and a name for facts that the program itself says.
    pub const MAX: Self = Self(u32::MAX);
}

/// Whether a unit goes on after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs again when something that it read changes.
    Alive,
    /// Its entity is gone: what it said is retracted and the unit forgotten. Whoever brings the entity back wakes it.
    Gone,
}

/// A computation for the engine. See the crate's documentation for the words.
pub trait Program {
    /// The name of something that units read.
    type Cell: Copy + Eq + Hash + Debug;
    /// The name of a unit: its function and its entity.
    type Unit: Copy + Eq + Hash + Debug;
    /// Something that a unit says.
    type Fact;
    /// What identifies a fact among all facts of all units.
    type Key: Copy + Ord + Debug;
    /// How the keys of what a unit said are kept: `Box<[Self::Key]>`, or something smaller.
    type Said: Said<Self::Key>;

    /// How many layers there are.
    const LAYERS: usize;

    /// The layer of a unit, below [`Program::LAYERS`]. A unit reads only cells that earlier layers, or nobody, write.
    fn layer(unit: Self::Unit) -> usize;

    /// The kind of a unit, for statistics.
    fn kind(unit: Self::Unit) -> &'static str;

    /// Runs a unit: reads through `reads` alone, pushes everything that it has to say to `facts`.
    fn run(&self, unit: Self::Unit, reads: &Reads<Self::Cell>, facts: &mut Vec<Self::Fact>)
    -> Life;

    /// The identity of a fact.
    fn key(fact: &Self::Fact) -> Self::Key;

    /// Whether a key determines its fact completely, so that a fact said again needs no look at its content.
    fn is_whole(key: Self::Key) -> bool;

    /// Takes up a fact that `unit` says and did not say before, or says again under a key that does not determine it.
    fn assert(
        &mut self,
        unit: UnitId,
        fact: Self::Fact,
        changes: &mut Changes<Self::Cell, Self::Unit>,
    );

    /// Takes back a fact that `unit` no longer says.
    fn retract(
        &mut self,
        unit: UnitId,
        key: Self::Key,
        changes: &mut Changes<Self::Cell, Self::Unit>,
    );

    /// Called when all units of a layer have run, before the next layer starts: the place for decisions that need the
    /// whole layer, such as handing out numbers. What it changes may be read by later layers only.
    fn settle(&mut self, layer: usize, changes: &mut Changes<Self::Cell, Self::Unit>);
}

/// The keys of what a unit said, as they are kept until it runs again.
pub trait Said<K>: Default {
    /// Keeps these keys.
    fn keep(keys: impl ExactSizeIterator<Item = K>) -> Self;
    /// The keys, in the order in which they were given.
    fn iter(&self) -> impl Iterator<Item = K>;
}

impl<K: Copy> Said<K> for Box<[K]> {
    fn keep(keys: impl ExactSizeIterator<Item = K>) -> Self {
        keys.collect()
    }

    fn iter(&self) -> impl Iterator<Item = K> {
        <[K]>::iter(self).copied()
    }
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many units ran.
    pub ran: usize,
    /// Whether nothing is left to do.
    pub done: bool,
}

struct UnitState<P: Program> {
    unit: P::Unit,
    /// The head of the unit's list of reads.
    first_edge: u32,
    dirty: bool,
    /// The keys of what it said in its last run, ascending.
    said: P::Said,
}

/// The engine of one program.
pub struct Engine<P: Program> {
    /// Where each unit stands in `units`.
    ids: Places,
    units: Vec<Option<UnitState<P>>>,
    free_units: Vec<u32>,
    graph: Graph<P::Cell>,
    /// Dirty units by layer.
    queues: Vec<Vec<u32>>,
    stats: Stats,
    changes: Changes<P::Cell, P::Unit>,
    reads: Reads<P::Cell>,
    scratch: Scratch<P>,
}

/// Buffers that are used again in every run.
struct Scratch<P: Program> {
    cells: Vec<P::Cell>,
    cell_ids: Vec<u32>,
    facts: Vec<P::Fact>,
    order: Vec<(P::Key, u32)>,
    apply: Vec<bool>,
    retracted: Vec<P::Key>,
}

impl<P: Program> Default for Engine<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Program> Engine<P> {
    /// An engine that knows no units yet.
    pub fn new() -> Self {
        Self {
            ids: Places::default(),
            units: Vec::new(),
            free_units: Vec::new(),
            graph: Graph::new(),
            queues: (0..P::LAYERS).map(|_| Vec::new()).collect(),
            stats: Stats::default(),
            changes: Changes::default(),
            reads: Reads::new(),
            scratch: Scratch {
                cells: Vec::new(),
                cell_ids: Vec::new(),
                facts: Vec::new(),
                order: Vec::new(),
                apply: Vec::new(),
                retracted: Vec::new(),
            },
        }
    }

    /// Lets `change` alter the program's inputs; what it tells is taken up.
    pub fn input<R>(
        &mut self,
        program: &mut P,
        change: impl FnOnce(&mut P, &mut Changes<P::Cell, P::Unit>) -> R,
    ) -> R {
        let answer = change(program, &mut self.changes);
        self.absorb(0);
        answer
    }

    /// Runs dirty units, at most `budget`, lowest layer first.
    pub fn step(&mut self, program: &mut P, budget: usize) -> Progress {
        let mut ran = 0;
        for layer in 0..P::LAYERS {
            while let Some(id) = self.queues[layer].pop() {
                if ran == budget {
                    self.queues[layer].push(id);
                    return Progress { ran, done: false };
                }
                ran += 1;
                self.run(program, layer, id);
            }
            program.settle(layer, &mut self.changes);
            self.absorb(layer + 1);
        }
        Progress { ran, done: true }
    }

    /// Whether a step has something to run.
    pub fn is_dirty(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    /// The unit behind an id, while it lives.
    pub fn unit(&self, id: UnitId) -> Option<P::Unit> {
        self.units
            .get(id.0 as usize)?
            .as_ref()
            .map(|state| state.unit)
    }

    /// Lets a unit run again although nothing that it read has changed: its time has come.
    pub fn wake_again(&mut self, id: UnitId) {
        if let Some(unit) = self.unit(id) {
            self.wake(unit);
        }
    }

    /// How many units live.
    pub fn unit_count(&self) -> usize {
        self.ids.len()
    }

    /// How many cells are read by somebody, and how many reads are recorded.
    pub fn size(&self) -> (usize, usize) {
        self.graph.size()
    }

    /// What has been done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What has been done so far, to be cleared.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    fn run(&mut self, program: &mut P, layer: usize, id: u32) {
        let Some(state) = self.units[id as usize].as_mut() else {
            return;
        };
        state.dirty = false;
        let unit = state.unit;
        let life = program.run(unit, &self.reads, &mut self.scratch.facts);
        self.reads.drain_into(&mut self.scratch.cells);

        if life == Life::Gone {
            self.scratch.facts.clear();
            self.scratch.cells.clear();
        }
        state.first_edge = self.graph.relink(
            id,
            state.first_edge,
            &self.scratch.cells,
            &mut self.scratch.cell_ids,
        );
        let said = std::mem::take(&mut state.said);

        let (now, asserted) = self.difference(&said);
        let retracted = self.scratch.retracted.len();
        for key in self.scratch.retracted.drain(..) {
            program.retract(UnitId(id), key, &mut self.changes);
        }
        for fact in self.scratch.facts.drain(..) {
            program.assert(UnitId(id), fact, &mut self.changes);
        }

        let stats = self.stats.of(P::kind(unit));
        stats.runs += 1;
        stats.unchanged += u64::from(asserted == 0 && retracted == 0);
        stats.asserted += asserted as u64;
        stats.retracted += retracted as u64;

        if life == Life::Gone {
            self.ids.remove(hash(&unit), id);
            self.units[id as usize] = None;
            self.free_units.push(id);
        } else if let Some(state) = self.units[id as usize].as_mut() {
            state.said = now.unwrap_or(said);
        }
        self.absorb(layer + 1);
    }

    /// Compares what was said before with `scratch.facts`. Leaves in `scratch.facts` what has to be applied, in
    /// `scratch.retracted` what has to be taken back; returns the new keys if they differ and how many are new.
    fn difference(&mut self, before: &P::Said) -> (Option<P::Said>, usize) {
        let Scratch {
            facts,
            order,
            apply,
            retracted,
            ..
        } = &mut self.scratch;
        order.clear();
        for (place, fact) in (0u32..).zip(facts.iter()) {
            order.push((P::key(fact), place));
        }
        order.sort_unstable();
        // A fact said twice in one run is one fact; the first one counts.
        order.dedup_by_key(|(key, _)| *key);

        retracted.clear();
        apply.clear();
        apply.resize(facts.len(), false);
        let mut new = 0;
        let mut old = before.iter().peekable();
        for (key, place) in order.iter().copied() {
            while let Some(gone) = old.next_if(|old| *old < key) {
                retracted.push(gone);
            }
            let again = old.next_if(|old| *old == key).is_some();
            new += usize::from(!again);
            apply[place as usize] = !again || !P::is_whole(key);
        }
        retracted.extend(old);

        let is_other = new > 0 || !retracted.is_empty();
        let now = is_other.then(|| P::Said::keep(order.iter().map(|(key, _)| *key)));
        let mut place = 0;
        facts.retain(|_| {
            place += 1;
            apply[place - 1]
        });
        (now, new)
    }

    /// Marks what the collected changes touch. `lowest` is the first layer that may be touched.
    fn absorb(&mut self, lowest: usize) {
        while let Some(cell) = self.changes.cells.pop() {
            let units = &mut self.units;
            let queues = &mut self.queues;
            self.graph.readers(cell, |id| {
                let state = units[id as usize]
                    .as_mut()
                    .expect("a unit's reads go when the unit goes");
                let layer = P::layer(state.unit);
                debug_assert!(
                    layer >= lowest,
                    "{:?} reads {cell:?}, which its own or a later layer writes",
                    state.unit
                );
                if !state.dirty {
                    state.dirty = true;
                    queues[layer].push(id);
                }
            });
        }
        while let Some(unit) = self.changes.units.pop() {
            debug_assert!(
                P::layer(unit) >= lowest,
                "{unit:?} is woken by its own or a later layer"
            );
            self.wake(unit);
        }
    }

    fn wake(&mut self, unit: P::Unit) {
        let key = hash(&unit);
        let is_it = |id: u32| matches!(&self.units[id as usize], Some(at) if at.unit == unit);
        let id = if let Some(id) = self.ids.find(key, is_it) {
            id
        } else {
            let state = UnitState {
                unit,
                first_edge: NONE,
                dirty: false,
                said: P::Said::default(),
            };
            let id = if let Some(id) = self.free_units.pop() {
                self.units[id as usize] = Some(state);
                id
            } else {
                self.units.push(Some(state));
                u32::try_from(self.units.len() - 1).expect("fewer than 2^32 units fit in memory")
            };
            self.ids.insert(key, id);
            id
        };
        let state = self.units[id as usize]
            .as_mut()
            .expect("ids name living units");
        if !state.dirty {
            state.dirty = true;
            self.queues[P::layer(unit)].push(id);
        }
    }
}
