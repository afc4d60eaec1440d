//! The rows that a monitor is told of when it begins, or when its conditions change, found piece by piece.
//!
//! A table may have a million rows, and nobody else waits until one has looked at all of them. So a search looks at a
//! few rows at a time, through an index where a condition names what an indexed column holds, and what it has found is
//! made ready at once. What it yields is the state at its *end*: it is told of all changes in between
//! ([`Search::note`]), and looks at those rows last.
//!
//! It reads the head, which may be ahead of what is committed. What is not committed at the end is a short list of
//! deltas, which know the rows that they replaced: those rows are looked at last as well, as they were.

use std::collections::VecDeque;
use std::sync::Arc;

use ovsdb::condition::Function;
use ovsdb::{Clause, ColumnRef, Condition, Datum, Row, RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};
use table::Database;

use super::update::{Fragment, Update, grouped};
use super::view::{View, reports};
use crate::matcher::Matcher;

/// What a look at a row of an index costs besides the row itself, in steps, and what it costs to find out that there are
/// none.
const LOOKUP_STEPS: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Search {
    /// What the monitor is going to show.
    view: View,
    matchers: Vec<Matcher>,
    /// If it shows something already: its conditions.
    before: Option<Vec<Matcher>>,
    /// Where rows may be that were not looked at yet.
    sources: VecDeque<Source>,
    /// The tables that are looked at, and which of the view's each is.
    places: FxHashMap<usize, usize>,
    /// Rows in these tables that have changed since the beginning.
    changed: FxHashSet<(usize, Uuid)>,
    found: Vec<(usize, Arc<Fragment>)>,
    /// So many rows were looked at.
    looked: usize,
}

/// Rows of a table of the view.
#[derive(Debug)]
struct Source {
    place: usize,
    table: usize,
    way: Way,
    /// Up to this one, they were looked at: all, or those of the last clause.
    after: Option<Uuid>,
}

/// How rows are found.
#[derive(Debug)]
enum Way {
    /// All are looked at.
    Scan,
    /// These clauses lead to them, the last one first; some were looked at already.
    Clauses(Vec<Clause>, FxHashSet<Uuid>),
}

impl Search {
    /// For what a new monitor shows at first.
    pub fn first(view: View, database: &Database) -> Self {
        let initial = |(_, (columns, _)): &(usize, &Shown)| columns.select.initial;
        let tables = view.tables.iter().enumerate().filter(initial);
        let sources = tables
            .map(|(place, (columns, condition))| {
                Source::new(place, columns.table, condition.clauses().to_vec(), database)
            })
            .collect();
        Self::new(view, None, sources)
    }

    /// For the rows that come into view and go out of it when a monitor with one view gets another, which differs from
    /// it in conditions only.
    pub fn changed(old: &View, new: View, database: &Database) -> Self {
        let differing = |of: &Condition, other: &Condition| {
            let known: FxHashSet<&Clause> = other.clauses().iter().collect();
            let clauses = of.clauses().iter();
            let unknown = clauses.filter(|clause| !known.contains(clause));
            unknown.cloned().collect::<Vec<_>>()
        };
        let tables = old.tables.iter().zip(&new.tables).enumerate();
        let sources = tables
            .map(|(place, ((columns, before), (_, after)))| {
                let clauses = [differing(before, after), differing(after, before)].concat();
                Source::new(place, columns.table, clauses, database)
            })
            .collect();
        Self::new(new, Some(old.matchers()), sources)
    }

    fn new(view: View, before: Option<Vec<Matcher>>, sources: VecDeque<Source>) -> Self {
        let places = sources.iter().map(|source| (source.table, source.place));
        Self {
            matchers: view.matchers(),
            before,
            places: places.collect(),
            changed: FxHashSet::default(),
            found: Vec::new(),
            looked: 0,
            sources,
            view,
        }
    }

    /// How many rows were looked at.
    pub fn looked(&self) -> usize {
        self.looked
    }

    /// Rows of the head change, or have just changed.
    pub fn note(&mut self, delta: &[RowChange]) {
        let rows = delta.iter().map(|change| (change.table, change.uuid));
        let places = &self.places;
        self.changed
            .extend(rows.filter(|(table, _)| places.contains_key(table)));
    }

    /// Looks at a few more rows, of the head, while steps are left: a step compares a row with a clause. True when there
    /// are no more.
    pub fn advance(&mut self, head: &Database, steps: &mut usize) -> bool {
        while *steps > 0
            && let Some(mut source) = self.sources.pop_front()
        {
            let ended = match &mut source.way {
                Way::Scan => self.scan(head, &source_place(&source), &mut source.after, steps),
                Way::Clauses(..) => self.follow(head, &mut source, steps),
            };
            if !ended {
                self.sources.push_front(source);
            }
        }
        self.sources.is_empty()
    }

    /// What the monitor is going to show.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What was found, as it is committed now: `uncommitted` is what the head has beyond that, in the order of its
    /// execution.
    pub fn finish<'d>(
        mut self,
        head: &Database,
        uncommitted: impl Iterator<Item = &'d [RowChange]>,
    ) -> (View, Update) {
        let mut earlier: FxHashMap<(usize, Uuid), Option<&Arc<Row>>> = FxHashMap::default();
        for change in uncommitted.flatten() {
            if self.places.contains_key(&change.table) {
                let row = earlier.entry((change.table, change.uuid));
                row.or_insert(change.old.as_ref());
            }
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(earlier.keys());
        if !changed.is_empty() {
            let view = &self.view;
            let is_same = |(place, fragment): &(usize, Arc<Fragment>)| {
                let table = view.tables[*place].0.table;
                !changed.contains(&(table, fragment.change.uuid))
            };
            self.found.retain(is_same);
        }
        let mut changed: Vec<_> = changed.into_iter().collect();
        changed.sort_unstable();
        for id in changed {
            let row = match earlier.get(&id) {
                Some(row) => *row,
                None => head.row(id.0, id.1),
            };
            if let Some(row) = row {
                self.look(self.places[&id.0], id, row);
            }
        }
        let update = grouped(&self.view, self.found);
        (self.view, update)
    }

    /// Looks at a few rows of a table, wherever they are; true when there are no more.
    fn scan(
        &mut self,
        head: &Database,
        (place, table): &(usize, usize),
        after: &mut Option<Uuid>,
        steps: &mut usize,
    ) -> bool {
        let before = self
            .before
            .as_ref()
            .map_or(0, |before| before[*place].width());
        let width = self.matchers[*place].width() + before;
        let at_once = steps.div_ceil(width);
        let mut looked = 0;
        for (uuid, row) in head.rows_after(*table, *after).take(at_once) {
            looked += 1;
            *after = Some(uuid);
            self.look_first(*place, (*table, uuid), row);
        }
        *steps = steps.saturating_sub(looked * width + 1);
        looked < at_once
    }

    /// Looks at a few rows to which clauses lead; true when there are no more.
    fn follow(&mut self, head: &Database, source: &mut Source, steps: &mut usize) -> bool {
        let Source {
            place,
            table,
            way,
            after,
        } = source;
        let Way::Clauses(clauses, seen) = way else {
            return true;
        };
        let Some(clause) = clauses.last() else {
            return true;
        };
        let at_once = steps.div_ceil(LOOKUP_STEPS);
        let rows = match lookup(clause) {
            Some((column, contents)) => {
                let found = head.candidates_after((*table, column), contents, *after, at_once);
                // It was there at the beginning, and indexes stay.
                found.unwrap_or_default()
            }
            None => {
                let row = clause.as_row();
                let row = row.and_then(|uuid| Some((uuid, head.row(*table, uuid)?)));
                row.into_iter().collect()
            }
        };
        *steps = steps.saturating_sub((rows.len() + 1) * LOOKUP_STEPS);
        let goes_on = rows.len() == at_once && lookup(clause).is_some();
        *after = rows.last().map(|(uuid, _)| *uuid).filter(|_| goes_on);
        if !goes_on {
            clauses.pop();
        }
        for (uuid, row) in rows {
            if seen.insert(uuid) {
                self.look_first(*place, (*table, uuid), row);
            }
        }
        clauses.is_empty()
    }

    /// Looks at a row, unless it is to be looked at last.
    fn look_first(&mut self, place: usize, id: (usize, Uuid), row: &Arc<Row>) {
        if self.changed.is_empty() || !self.changed.contains(&id) {
            self.look(place, id, row);
        }
    }

    fn look(&mut self, place: usize, (table, uuid): (usize, Uuid), row: &Arc<Row>) {
        self.looked += 1;
        let side = |matcher: &Matcher| matcher.holds(uuid, row).then(|| row.clone());
        let before = self.before.as_ref();
        let change = RowChange {
            table,
            uuid,
            old: before.and_then(|before| side(&before[place])),
            new: side(&self.matchers[place]),
        };
        let told = match before {
            None => change.new.is_some(),
            Some(_) => {
                change.old.is_some() != change.new.is_some()
                    && reports(&self.view.tables[place].0, &change)
            }
        };
        if told {
            let fragment = Fragment::new(change, before.is_none());
            self.found.push((place, Arc::new(fragment)));
        }
    }
}

type Shown = (Arc<ovsdb::monitor::TableMonitor>, Condition);

fn source_place(source: &Source) -> (usize, usize) {
    (source.place, source.table)
}

impl Source {
    /// The rows for which one of these clauses may hold.
    fn new(place: usize, table: usize, clauses: Vec<Clause>, database: &Database) -> Self {
        let is_found = |clause: &Clause| match lookup(clause) {
            Some((column, _)) => database.has_lookup(table, &[column]),
            None => clause.as_row().is_some() || *clause == Clause::Always(false),
        };
        let way = match clauses.iter().all(is_found) {
            true => Way::Clauses(clauses, FxHashSet::default()),
            false => Way::Scan,
        };
        Self {
            place,
            table,
            way,
            after: None,
        }
    }
}

/// The column, and what it holds, in which a clause can be looked up.
pub fn lookup(clause: &Clause) -> Option<(usize, &Datum)> {
    match clause {
        Clause::Compare {
            column: ColumnRef::Column(column),
            function: Function::Equal,
            arg: contents @ Datum::One(_),
        } => Some((*column, contents)),
        _ => None,
    }
}
