//! Random changes of rows, and after each: every index says what looking at all rows says, every cell whose answer changed
//! was told, and handles of rows that are gone are used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use incr::{Engine, Life, Program, Reads, UnitId};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};
use relations::{Cell, Handle, IndexId, Rows, difference};

const GROUP: usize = 0;
const PORT: usize = 1;

fn schema() -> Arc<DatabaseSchema> {
    let json = r#"{"name": "T", "version": "1.0.0", "tables": {
        "Group": {"columns": {
            "name": {"type": "string"},
            "ports": {"type": {"key": {"type": "uuid", "refTable": "Port", "refType": "weak"}, "min": 0, "max": "unlimited"}}}},
        "Port": {"columns": {"name": {"type": "string"}}}}}"#;
    let json = serde_json::from_str(json).expect("JSON");
    Arc::new(DatabaseSchema::from_json(&json).expect("a schema"))
}

/// A program whose only unit for a question is re-run exactly when its cell is told.
struct World {
    rows: Rows,
    members: IndexId,
    names: IndexId,
    answers: BTreeMap<Question, Vec<Uuid>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Question {
    GroupsOf(u128),
    PortsCalled(u8),
}

struct Answer(Question, Vec<Uuid>);

impl Program for World {
    type Cell = Cell;
    type Unit = Question;
    type Fact = Answer;
    type Key = Question;
    type Said = Box<[Question]>;
    const LAYERS: usize = 1;

    fn layer(_: Question) -> usize {
        0
    }

    fn kind(_: Question) -> &'static str {
        "question"
    }

    fn run(&self, question: Question, reads: &Reads<Cell>, facts: &mut Vec<Answer>) -> Life {
        let found: &[Handle] = match question {
            Question::GroupsOf(port) => self
                .rows
                .find(reads, PORT, Uuid::from_u128(port))
                .map_or(&[], |port| self.rows.referrers(reads, self.members, port)),
            Question::PortsCalled(name) => {
                self.rows
                    .having(reads, self.names, &Atom::from(name_of(name)))
            }
        };
        let uuids = found.iter().map(|row| self.rows.uuid(*row)).collect();
        facts.push(Answer(question, uuids));
        Life::Alive
    }

    fn key(fact: &Answer) -> Question {
        fact.0
    }

    fn is_whole(_: Question) -> bool {
        false
    }

    fn assert(&mut self, _: UnitId, fact: Answer, _: &mut incr::Changes<Cell, Question>) {
        self.answers.insert(fact.0, fact.1);
    }

    fn retract(&mut self, _: UnitId, key: Question, _: &mut incr::Changes<Cell, Question>) {
        self.answers.remove(&key);
    }

    fn settle(&mut self, _: usize, _: &mut incr::Changes<Cell, Question>) {}
}

fn name_of(name: u8) -> &'static str {
    ["a", "b", "c"][usize::from(name)]
}

fn row(columns: Vec<Datum>) -> Arc<Row> {
    Arc::new(Row::new(columns))
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }
}

const PORTS: u128 = 6;
const GROUPS: u128 = 3;

#[test]
fn indexes_say_what_all_rows_say_and_tell_what_changed() {
    let schema = schema();
    let column = |table: usize, name: &str| schema.tables[table].column_index(name).expect("there");
    let (name, ports) = (column(GROUP, "name"), column(GROUP, "ports"));
    let mut rows = Rows::new(&schema, 0);
    let members = rows.index(GROUP, ports);
    let names = rows.index(PORT, column(PORT, "name"));
    // Units ask for ports alone; what an index has of other rows is told all the same.
    rows.leave_rows_unread(GROUP);
    assert_eq!(
        rows.index(GROUP, ports),
        members,
        "one index for one column"
    );
    let mut world = World {
        rows,
        members,
        names,
        answers: BTreeMap::new(),
    };
    let mut engine: Engine<World> = Engine::new();
    engine.input(&mut world, |_, changes| {
        (0..PORTS).for_each(|port| changes.wake(Question::GroupsOf(port)));
        (0..3).for_each(|name| changes.wake(Question::PortsCalled(name)));
    });
    let mut actual: BTreeMap<(usize, u128), Arc<Row>> = BTreeMap::new();
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut most = 0;
    for _ in 0..5000 {
        let table = if rng.below(2) == 0 { GROUP } else { PORT };
        let uuid = u128::from(rng.below(6)) % if table == GROUP { GROUPS } else { PORTS };
        let uuid = if table == GROUP { uuid + 100 } else { uuid };
        let new = (rng.below(4) > 0).then(|| {
            let called = Datum::from(name_of(u8::try_from(rng.below(3)).expect("small")));
            if table == PORT {
                return row(vec![called]);
            }
            let some = (0..PORTS).filter(|_| rng.below(2) == 0);
            let set = Datum::set(some.map(|port| Atom::Uuid(Uuid::from_u128(port))));
            let mut columns = vec![called; 2];
            columns[ports] = set;
            assert_eq!(name, 1 - ports);
            row(columns)
        });
        let old = actual.remove(&(table, uuid));
        if let Some(new) = &new {
            actual.insert((table, uuid), Arc::clone(new));
        }
        let change = RowChange {
            table,
            uuid: Uuid::from_u128(uuid),
            old,
            new,
        };
        engine.input(&mut world, |world, changes| {
            world.rows.apply(changes, &change);
        });
        assert!(engine.step(&mut world, usize::MAX).done);
        world.rows.recycle();

        for port in 0..PORTS {
            let is_there = actual.contains_key(&(PORT, port));
            let groups = actual.iter().filter(|((table, _), row)| {
                *table == GROUP && row.get(ports).contains(&Atom::Uuid(Uuid::from_u128(port)))
            });
            let expected: Vec<Uuid> = groups
                .filter(|_| is_there)
                .map(|((_, group), _)| Uuid::from_u128(*group))
                .collect();
            assert_eq!(world.answers[&Question::GroupsOf(port)], expected);
        }
        for called in 0..3 {
            let same = actual.iter().filter(|((table, _), row)| {
                *table == PORT && *row.get(0) == Datum::from(name_of(called))
            });
            let expected: Vec<Uuid> = same.map(|((_, port), _)| Uuid::from_u128(*port)).collect();
            assert_eq!(world.answers[&Question::PortsCalled(called)], expected);
        }
        let highest = world
            .rows
            .rows(PORT)
            .chain(world.rows.rows(GROUP))
            .map(|(row, _)| row.index());
        most = most.max(highest.max().unwrap_or(0));
    }
    let all = usize::try_from(PORTS + GROUPS).expect("few");
    assert!(most <= all, "handles are used again: {most}");
}

#[test]
fn the_difference_of_two_sets_is_what_is_in_one_only() {
    let set = |numbers: &BTreeSet<i64>| Datum::set(numbers.iter().map(|n| Atom::Integer(*n)));
    let mut rng = Rng(7);
    for _ in 0..2000 {
        let mut some = || {
            (0..8)
                .filter(|_| rng.below(2) == 0)
                .collect::<BTreeSet<i64>>()
        };
        let (old, new) = (some(), some());
        let mut found = Vec::new();
        difference(Some(&set(&old)), Some(&set(&new)), |atom, comes| {
            found.push((atom.as_integer().expect("numbers"), comes));
        });
        let gone = old.difference(&new).map(|n| (*n, false));
        let come = new.difference(&old).map(|n| (*n, true));
        let mut expected: Vec<(i64, bool)> = gone.chain(come).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{old:?} {new:?}");
    }
}
