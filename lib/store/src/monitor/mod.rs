//! Subscriptions: who is told of what.
//!
//! A *shape* is a view that at least one monitor has. Monitors with equal views share a shape, and
//! a commit is looked at once for each shape that it may concern. Within a commit, shapes that
//! show the same columns of a row share its fragment, and those that are told of the same rows share
//! the whole update: 500 chassis that differ in what they want of other tables, for instance.
//!
//! A monitor whose session does not keep up gets no queue that grows: past [`MAX_QUEUED_UPDATES`]
//! the changes are merged, one per row, until the session has caught up, and then come as one
//! update.

mod message;
mod missed;
mod route;
mod search;
#[cfg(test)]
mod tests;
mod update;
mod view;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::monitor::TableMonitor;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, RowChange, Uuid};
use rustc_hash::FxHashMap;

pub use self::missed::{Missed, Progress};
pub use self::search::Search;
pub use self::update::{Fragment, Update};
pub use self::view::View;

use self::route::{Route, ShapeId};
use self::update::grouped;
use self::view::{limited, reports, seen};
use crate::matcher::Matcher;
use crate::session::{Backlog, MonitorId, SessionId};

/// So many updates wait in a session's queue at most; what follows is merged.
pub const MAX_QUEUED_UPDATES: usize = 256;
/// So many monitors a session may have.
pub const MAX_MONITORS_PER_SESSION: usize = 256;

/// A monitor of a session.
pub type Key = (SessionId, MonitorId);

/// All monitors of one database.
#[derive(Debug)]
pub struct Monitors {
    routes: Vec<Route>,
    shapes: FxHashMap<ShapeId, Shape>,
    by_view: FxHashMap<View, ShapeId>,
    next_shape: ShapeId,
    /// The columns that shapes show, and how many tables of shapes show each.
    columns: FxHashMap<Arc<TableMonitor>, usize>,
    monitors: BTreeMap<Key, Monitor>,
}

#[derive(Debug)]
struct Shape {
    view: View,
    /// For each of its tables.
    matchers: Vec<Matcher>,
    subscribers: BTreeSet<Key>,
}

#[derive(Debug)]
struct Monitor {
    shape: ShapeId,
    /// About how many bytes its conditions have.
    weight: usize,
    backlog: Arc<Backlog>,
    /// Changes that wait for the queue, as the view sees them: the table's place in the view, the
    /// row, and its change.
    merged: Option<FxHashMap<(usize, Uuid), RowChange>>,
}

/// Pieces of a commit that several shapes share: by the columns shown, the change's place in the
/// delta, and which of its sides are seen. Nothing if that is not worth a word.
type Shared = FxHashMap<(*const TableMonitor, usize, bool, bool), Option<Arc<Fragment>>>;

/// A piece that a shape sees, and in which of its tables.
type Piece = (ShapeId, usize, Arc<Fragment>);

/// Whole updates of a commit that several shapes share: by their pieces, in this order.
type SharedWhole = FxHashMap<Vec<*const Fragment>, Arc<Update>>;

/// Updates for monitors.
pub type Updates = Vec<(Key, Arc<Update>)>;

impl Monitors {
    /// No monitors, of a database with this schema.
    pub fn new(schema: &DatabaseSchema) -> Self {
        Self {
            routes: schema.tables.iter().map(|_| Route::default()).collect(),
            shapes: FxHashMap::default(),
            by_view: FxHashMap::default(),
            next_shape: 0,
            columns: FxHashMap::default(),
            monitors: BTreeMap::new(),
        }
    }

    /// How many monitors there are.
    pub fn len(&self) -> usize {
        self.monitors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.monitors.is_empty()
    }

    /// How many monitors a session has.
    pub fn of_session(&self, session: SessionId) -> usize {
        self.keys(session).count()
    }

    /// About how many bytes the conditions of a session's monitors have.
    pub fn weight_of(&self, session: SessionId) -> usize {
        self.keys(session)
            .map(|key| self.monitors[&key].weight)
            .sum()
    }

    /// What a monitor would show with these conditions, and about how many bytes its conditions have now.
    pub fn changed_view(
        &self,
        key: Key,
        conditions: &[(usize, Condition)],
    ) -> Option<(View, usize)> {
        let monitor = self.monitors.get(&key)?;
        let view = self.shapes[&monitor.shape].view.with(conditions);
        Some((view, monitor.weight))
    }

    /// Whether there is such a monitor.
    pub fn contains(&self, key: Key) -> bool {
        self.monitors.contains_key(&key)
    }

    /// Starts a monitor, whose client has what it shows at first.
    pub fn subscribe(&mut self, key: Key, view: View, backlog: Arc<Backlog>) {
        self.attach(key, view, backlog);
    }

    /// What a monitor shows.
    pub fn view(&self, key: Key) -> Option<&View> {
        let monitor = self.monitors.get(&key)?;
        Some(&self.shapes[&monitor.shape].view)
    }

    /// Lets a monitor show something else from now on. Answers with what was still waiting, as it was shown before;
    /// `None` if there is no such monitor.
    pub fn change(&mut self, key: Key, view: View) -> Option<Option<Update>> {
        let monitor = self.monitors.get_mut(&key)?;
        let old_shape = monitor.shape;
        let backlog = monitor.backlog.clone();
        let waiting = monitor.merged.take();
        let old = &self.shapes[&old_shape].view;
        let update = waiting.map(|merged| flush(old, merged));
        self.detach(key);
        self.attach(key, view, backlog);
        Some(update.filter(|update| !update.is_empty()))
    }

    /// Ends a monitor; false if there is none.
    pub fn cancel(&mut self, key: Key) -> bool {
        self.detach(key)
    }

    /// Ends all monitors of a session.
    pub fn disconnect(&mut self, session: SessionId) {
        for key in self.keys(session).collect::<Vec<_>>() {
            self.detach(key);
        }
    }

    /// A commit happened: who is to be told what, in the order of sessions.
    pub fn commit(&mut self, delta: &[RowChange]) -> Updates {
        let mut found = Vec::new();
        let mut shared = Shared::default();
        let mut pieces = Vec::new();
        for (number, change) in delta.iter().enumerate() {
            self.routes[change.table].candidates(change, &mut found);
            for shape in &found {
                let Shape { view, matchers, .. } = &self.shapes[shape];
                let Some((place, sides)) = seen(view, matchers, change) else {
                    continue;
                };
                let columns = &view.tables[place].0;
                let fragment = shared
                    .entry((Arc::as_ptr(columns), number, sides.0, sides.1))
                    .or_insert_with(|| {
                        let change = limited(change, sides);
                        let worth = reports(columns, &change);
                        worth.then(|| Arc::new(Fragment::new(change, false)))
                    });
                pieces.extend(fragment.clone().map(|fragment| (*shape, place, fragment)));
            }
        }
        // The changes of a shape stay in their order.
        pieces.sort_by_key(|(shape, _, _)| *shape);
        let mut updates = Updates::with_capacity(pieces.len());
        let mut wholes = SharedWhole::default();
        for pieces in pieces.chunk_by(|one, next| one.0 == next.0) {
            self.deliver(pieces, &mut wholes, &mut updates);
        }
        updates.sort_by_key(|(key, _)| *key);
        updates
    }

    /// A session's queue is empty: what waited for it.
    pub fn drained(&mut self, session: SessionId) -> Updates {
        let mut updates = Updates::new();
        for key in self.keys(session).collect::<Vec<_>>() {
            let Some(monitor) = self.monitors.get_mut(&key) else {
                continue;
            };
            if let Some(merged) = monitor.merged.take() {
                let update = flush(&self.shapes[&monitor.shape].view, merged);
                if !update.is_empty() {
                    updates.push((key, Arc::new(update)));
                }
            }
        }
        updates
    }

    /// The columns by whose contents monitors choose rows, each with its table.
    pub fn indexable_columns(view: &View) -> BTreeSet<(usize, usize)> {
        let tables = view.tables.iter();
        let columns = tables.flat_map(|(columns, condition)| {
            let clauses = condition.clauses().iter();
            clauses.filter_map(|clause| Some((columns.table, search::lookup(clause)?.0)))
        });
        columns.collect()
    }

    /// Tells a shape's subscribers of what it sees; those who do not keep up later.
    fn deliver(&mut self, pieces: &[Piece], wholes: &mut SharedWhole, updates: &mut Updates) {
        let Shape {
            view, subscribers, ..
        } = &self.shapes[&pieces[0].0];
        let mut update = None;
        for key in subscribers {
            let monitor = self.monitors.get_mut(key).expect("subscribers exist");
            let behind = monitor.merged.is_some()
                || (monitor.backlog.queued() >= MAX_QUEUED_UPDATES
                    && monitor.backlog.want_drained());
            if behind {
                let merged = monitor.merged.get_or_insert_default();
                for (_, place, fragment) in pieces {
                    merge(merged, *place, &fragment.change);
                }
            } else {
                let update = update.get_or_insert_with(|| whole(view, pieces, wholes));
                updates.push((*key, update.clone()));
            }
        }
    }

    fn attach(&mut self, key: Key, mut view: View, backlog: Arc<Backlog>) {
        let weight = view.weight();
        let shape = match self.by_view.get(&view) {
            Some(shape) => *shape,
            None => {
                let shape = self.next_shape;
                self.next_shape += 1;
                self.intern_columns(&mut view);
                for (table, condition) in &view.tables {
                    self.routes[table.table].add(shape, condition);
                }
                self.by_view.insert(view.clone(), shape);
                let new = Shape {
                    matchers: view.matchers(),
                    view,
                    subscribers: BTreeSet::new(),
                };
                self.shapes.insert(shape, new);
                shape
            }
        };
        let subscribers = &mut self.shapes.get_mut(&shape).expect("made above").subscribers;
        subscribers.insert(key);
        let merged = None;
        self.monitors.insert(
            key,
            Monitor {
                shape,
                weight,
                backlog,
                merged,
            },
        );
    }

    fn detach(&mut self, key: Key) -> bool {
        let Some(monitor) = self.monitors.remove(&key) else {
            return false;
        };
        let shape = self.shapes.get_mut(&monitor.shape).expect("it has one");
        shape.subscribers.remove(&key);
        if shape.subscribers.is_empty() {
            let shape = self.shapes.remove(&monitor.shape).expect("found above");
            self.by_view.remove(&shape.view);
            for (table, condition) in &shape.view.tables {
                self.routes[table.table].remove(monitor.shape, condition);
            }
            for (columns, _) in &shape.view.tables {
                if let Entry::Occupied(mut count) = self.columns.entry(columns.clone()) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
        }
        true
    }

    /// Lets equal columns of a new shape be one object, by which fragments are shared.
    fn intern_columns(&mut self, view: &mut View) {
        for (columns, _) in &mut view.tables {
            match self.columns.entry(columns.clone()) {
                Entry::Occupied(mut known) => {
                    *known.get_mut() += 1;
                    columns.clone_from(known.key());
                }
                Entry::Vacant(place) => {
                    place.insert(1);
                }
            }
        }
    }

    fn keys(&self, session: SessionId) -> impl Iterator<Item = Key> + '_ {
        let range = (session, MonitorId(0))..=(session, MonitorId(u64::MAX));
        self.monitors.range(range).map(|(key, _)| *key)
    }
}

/// The update of these pieces, which other shapes may have as well.
fn whole(view: &View, pieces: &[Piece], wholes: &mut SharedWhole) -> Arc<Update> {
    let which = pieces.iter().map(|(_, _, fragment)| Arc::as_ptr(fragment));
    let rows = || {
        pieces
            .iter()
            .map(|(_, place, piece)| (*place, piece.clone()))
    };
    let whole = wholes
        .entry(which.collect())
        .or_insert_with(|| Arc::new(grouped(view, rows().collect())));
    whole.clone()
}

/// Adds a change to those that wait.
fn merge(merged: &mut FxHashMap<(usize, Uuid), RowChange>, place: usize, change: &RowChange) {
    merged
        .entry((place, change.uuid))
        .and_modify(|waiting| waiting.new.clone_from(&change.new))
        .or_insert_with(|| change.clone());
}

/// The update of what has waited.
fn flush(view: &View, merged: FxHashMap<(usize, Uuid), RowChange>) -> Update {
    let mut changes: Vec<_> = merged
        .into_iter()
        .filter(|((place, _), change)| reports(&view.tables[*place].0, change))
        .map(|((place, _), change)| (place, change))
        .collect();
    changes.sort_by_key(|(place, change)| (*place, change.uuid));
    assemble(view, changes)
}

fn assemble(view: &View, changes: Vec<(usize, RowChange)>) -> Update {
    let rows = changes
        .into_iter()
        .map(|(place, change)| (place, Arc::new(Fragment::new(change, false))));
    grouped(view, rows.collect())
}
