//! What is found piece by piece, while the database changes, is what there is at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, Datum, Row, RowChange, Uuid};
use proptest::prelude::*;
use serde_json::{Value, json};
use table::Database;

use super::{Missed, Progress, Search, Update, View};
use crate::history::History;

type Rows = BTreeMap<(usize, Uuid), Arc<Row>>;

fn database() -> Database {
    let columns = json!({"m": {"type": "integer"}, "n": {"type": "integer"}});
    let table = json!({"columns": columns, "isRoot": true});
    let json = json!({"name": "T", "tables": {"A": table, "B": table, "C": table}});
    let mut database = Database::new(Arc::new(DatabaseSchema::from_json(&json).unwrap()));
    // In one column of one table, values are found quickly.
    database.add_lookup(0, &[1]);
    database
}

fn view(schema: &DatabaseSchema, clauses: &[Vec<Value>; 2]) -> View {
    let tables = json!({"A": [{"columns": ["n"]}], "B": [{"columns": ["n"]}]});
    let spec = MonitorSpec::from_json(MonitorVersion::V2, schema, &tables).unwrap();
    let condition = |(table, clauses): (usize, &Vec<Value>)| {
        let condition = Condition::from_json(&schema.tables[table], &json!(clauses));
        (table, condition.unwrap())
    };
    let conditions: Vec<_> = clauses.iter().enumerate().map(condition).collect();
    View::from(spec).with(&conditions)
}

/// What a view shows.
fn shown(view: &View, rows: &Rows) -> Rows {
    let matchers = view.matchers();
    let shows = |((table, uuid), row): &(&(usize, Uuid), &Arc<Row>)| {
        let mut tables = view.tables.iter();
        let place = tables.position(|(columns, _)| columns.table == *table);
        place.is_some_and(|place| matchers[place].holds(*uuid, row))
    };
    let rows = rows.iter().filter(shows);
    rows.map(|(key, row)| (*key, row.clone())).collect()
}

/// Does to rows what a client is told, and checks that it fits.
fn told(rows: &mut Rows, update: &Update) {
    for (columns, fragments) in &update.tables {
        for fragment in fragments {
            let RowChange { uuid, old, new, .. } = &fragment.change;
            let key = (columns.table, *uuid);
            let before = match new {
                Some(row) => rows.insert(key, row.clone()),
                None => rows.remove(&key),
            };
            assert_eq!(before.is_some(), old.is_some(), "{key:?}");
        }
    }
}

/// The shown columns only: others may differ from what was told last.
fn columns(rows: &Rows) -> BTreeMap<(usize, Uuid), Datum> {
    let rows = rows.iter();
    rows.map(|(key, row)| (*key, row.get(1).clone())).collect()
}

/// A database as a leader has it, and what was committed.
struct Leader {
    head: Database,
    pending: Vec<Vec<RowChange>>,
    committed: Rows,
    history: History,
    index: u64,
}

/// What happens to a row, and to what is not committed: it is, or it is taken back, or it stays.
type Happening = ((usize, u128, Option<(i64, i64)>), u8);

impl Leader {
    fn happens(&mut self, (change, what): Happening, note: &mut dyn FnMut(&[RowChange])) {
        let (table, uuid, values) = change;
        let row = values.map(|(n, m)| Arc::new(Row::new([m, n].map(Datum::from))));
        let uuid = Uuid::from_u128(uuid);
        if self.head.row(table, uuid) != row.as_ref() {
            let delta = self.head.delta([(table, uuid, row)]);
            note(&delta);
            self.head.apply(&delta).unwrap();
            self.pending.push(delta);
        }
        match what {
            0 => {
                while let Some(delta) = self.pending.pop() {
                    note(&delta);
                    self.head.undo(&delta).unwrap();
                }
            }
            1 | 2 => self.commit(),
            _ => {}
        }
    }

    /// The oldest.
    fn commit(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let delta = self.pending.remove(0);
        for change in &delta {
            let key = (change.table, change.uuid);
            match &change.new {
                Some(row) => drop(self.committed.insert(key, row.clone())),
                None => drop(self.committed.remove(&key)),
            }
        }
        self.index += 1;
        self.history.push(self.index, delta.into());
    }
}

fn leader() -> Leader {
    Leader {
        head: database(),
        pending: Vec::new(),
        committed: Rows::new(),
        history: History::new(Uuid::from_u128(1), 0),
        index: 0,
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let values = proptest::option::of((0..4_i64, 0..2_i64));
    let change = (0..3_usize, 0..12_u128, values);
    proptest::collection::vec((change, 0..5_u8), 0..40)
}

fn clauses() -> impl Strategy<Value = [Vec<Value>; 2]> {
    let clause = prop_oneof![
        4 => (0..4_i64).prop_map(|n| json!(["n", "==", n])),
        1 => (0..2_i64).prop_map(|m| json!(["m", "==", m])),
        1 => (0..4_i64).prop_map(|n| json!(["n", "<", n])),
        1 => (0..12_u128).prop_map(|n| json!(["_uuid", "==", ["uuid", Uuid::from_u128(n)]])),
        1 => any::<bool>().prop_map(|holds| json!(holds)),
    ];
    let clauses = || proptest::collection::vec(clause.clone(), 0..4);
    (clauses(), clauses()).prop_map(<[_; 2]>::from)
}

proptest! {
    /// Whatever happens meanwhile, a monitor begins with what is committed when it begins.
    #[test]
    fn a_monitor_begins_with_what_is_committed_then(
        first in happenings(), later in happenings(), clauses in clauses(), steps in 1..6_usize,
    ) {
        let mut leader = leader();
        for happening in first {
            leader.happens(happening, &mut |_| {});
        }
        let view = view(leader.head.schema(), &clauses);
        let mut search = Search::first(view.clone(), &leader.head);
        for happening in later {
            leader.happens(happening, &mut |delta| search.note(delta));
            search.advance(&leader.head, &mut steps.clone());
        }
        while !search.advance(&leader.head, &mut steps.clone()) {}
        let uncommitted = leader.pending.iter().map(|delta| &delta[..]);
        let (_, update) = search.finish(&leader.head, uncommitted);
        let mut rows = Rows::new();
        told(&mut rows, &update);
        prop_assert_eq!(rows, shown(&view, &leader.committed));
    }

    /// The same when its conditions change: with what it was told before, it has what it is to have.
    #[test]
    fn rows_come_and_go_with_conditions(
        first in happenings(),
        later in happenings(),
        before in clauses(),
        after in clauses(),
        steps in 1..6_usize,
    ) {
        let mut leader = leader();
        for happening in first {
            leader.happens(happening, &mut |_| {});
        }
        let schema = leader.head.schema().clone();
        let (old, new) = (view(&schema, &before), view(&schema, &after));
        let mut search = Search::changed(&old, new.clone(), &leader.head);
        for happening in later {
            leader.happens(happening, &mut |delta| search.note(delta));
            search.advance(&leader.head, &mut steps.clone());
        }
        while !search.advance(&leader.head, &mut steps.clone()) {}
        let uncommitted = leader.pending.iter().map(|delta| &delta[..]);
        let (_, update) = search.finish(&leader.head, uncommitted);
        let mut rows = shown(&old, &leader.committed);
        told(&mut rows, &update);
        prop_assert_eq!(rows, shown(&new, &leader.committed));
    }

    /// Who comes back is told what is different from what he had.
    #[test]
    fn what_was_missed_is_told_once(
        first in happenings(), missed in happenings(), later in happenings(),
        clauses in clauses(), steps in 1..6_usize,
    ) {
        let mut leader = leader();
        for happening in first {
            leader.happens(happening, &mut |_| {});
        }
        let view = view(leader.head.schema(), &clauses);
        let (mut rows, index) = (shown(&view, &leader.committed), leader.index);
        for happening in missed {
            leader.happens(happening, &mut |_| {});
        }
        let mut missed = Missed::new(view.clone(), index);
        for happening in later {
            leader.happens(happening, &mut |_| {});
            missed.advance(&leader.history, &mut steps.clone());
        }
        while missed.advance(&leader.history, &mut steps.clone()) == Progress::More {}
        let (_, update) = missed.finish();
        told(&mut rows, &update);
        prop_assert_eq!(columns(&rows), columns(&shown(&view, &leader.committed)));
    }
}

/// The steps of a piece bound what it looks at, and what it looks at bounds how many pieces there are.
#[test]
fn a_piece_looks_at_few_rows() {
    let mut leader = leader();
    for uuid in 0..1000 {
        let change = (
            usize::from(uuid % 2 == 0),
            uuid,
            Some((i64::from(uuid % 4 == 1), 0)),
        );
        leader.happens((change, 1), &mut |_| {});
    }
    let pieces = |clauses: [Vec<Value>; 2]| {
        let view = view(leader.head.schema(), &clauses);
        let mut search = Search::first(view, &leader.head);
        let mut count = 1;
        while !search.advance(&leader.head, &mut 10) {
            count += 1;
        }
        let (_, update) = search.finish(&leader.head, [].into_iter());
        let found = update.tables.iter().map(|(_, rows)| rows.len());
        (count, found.sum::<usize>())
    };
    let none = || vec![json!(false)];
    let (scanned, found) = pieces([vec![json!(["m", "==", 0])], vec![json!(true)]]);
    assert_eq!(found, 1000);
    assert!((100..600).contains(&scanned), "{scanned}");
    let (looked_up, found) = pieces([vec![json!(["n", "==", 1])], none()]);
    assert_eq!(found, 250);
    assert!((25..120).contains(&looked_up), "{looked_up}");
    let (empty, found) = pieces([vec![json!(["n", "==", 7])], none()]);
    assert_eq!((empty, found), (1, 0));
}
