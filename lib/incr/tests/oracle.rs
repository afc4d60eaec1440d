//! The engine against a naive computation from scratch.
//!
//! The program is a small society: people have a town and friends; a town's size and a person's popularity are derived from
//! rows, and a last layer writes letters. Its three layers use every building block: stores, an index, counted facts,
//! reads of absence, units that come and go, numbers handed out when a layer settles.

use std::collections::{BTreeMap, BTreeSet};

use incr::{Changes, Counted, Engine, Index, Life, Program, Reads, Store, UnitId};
use proptest::prelude::*;

type Id = u8;

#[derive(Debug, Clone, PartialEq)]
struct Person {
    town: Id,
    friends: Vec<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cell {
    Person(Id),
    Residents(Id),
    Fans(Id),
    Number(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Person(Id),
    Letters(Id),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Lives { town: Id, person: Id },
    Likes { fan: Id, friend: Id },
    Wants { person: Id },
    Letter(Letter),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Lives { town: Id, person: Id },
    Likes { fan: Id, friend: Id },
    Wants { person: Id },
    Letter(Letter),
}

/// What a person's town posts: shared, because it does not say who posted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Letter {
    town: Id,
    neighbours: usize,
    fans: usize,
    has_missing_friend: bool,
}

struct Society {
    people: Store<Cell, Id, Person>,
    residents: Index<Cell, Id, Id>,
    fans: Index<Cell, Id, Id>,
    numbers: Store<Cell, Id, u32>,
    wanted: Vec<Id>,
    letters: Counted<Letter>,
}

impl Society {
    fn new() -> Self {
        Self {
            people: Store::new(Cell::Person),
            residents: Index::new(Cell::Residents),
            fans: Index::new(Cell::Fans),
            numbers: Store::new(Cell::Number),
            wanted: Vec::new(),
            letters: Counted::default(),
        }
    }

    fn set(&mut self, changes: &mut Changes<Cell, Unit>, id: Id, person: Option<Person>) {
        match person {
            Some(person) => {
                self.people.set(changes, id, person);
                changes.wake(Unit::Person(id));
                changes.wake(Unit::Letters(id));
            }
            None => {
                self.people.remove(changes, id);
            }
        }
    }
}

impl Program for Society {
    type Cell = Cell;
    type Unit = Unit;
    type Fact = Fact;
    type Key = Key;
    type Said = Box<[Key]>;
    const LAYERS: usize = 2;

    fn layer(unit: Unit) -> usize {
        match unit {
            Unit::Person(_) => 0,
            Unit::Letters(_) => 1,
        }
    }

    fn kind(unit: Unit) -> &'static str {
        match unit {
            Unit::Person(_) => "person",
            Unit::Letters(_) => "letters",
        }
    }

    fn run(&self, unit: Unit, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        match unit {
            Unit::Person(id) => {
                let Some(person) = self.people.get(reads, id) else {
                    return Life::Gone;
                };
                facts.push(Fact::Lives {
                    town: person.town,
                    person: id,
                });
                facts.push(Fact::Wants { person: id });
                facts.extend(person.friends.iter().map(|friend| Fact::Likes {
                    fan: id,
                    friend: *friend,
                }));
            }
            Unit::Letters(id) => {
                let Some(person) = self.people.get(reads, id) else {
                    return Life::Gone;
                };
                if self.numbers.get(reads, id).is_none() {
                    return Life::Alive;
                }
                facts.push(Fact::Letter(Letter {
                    town: person.town,
                    neighbours: self.residents.get(reads, person.town).len(),
                    fans: self.fans.get(reads, id).len(),
                    has_missing_friend: person
                        .friends
                        .iter()
                        .any(|friend| self.people.get(reads, *friend).is_none()),
                }));
            }
        }
        Life::Alive
    }

    fn key(fact: &Fact) -> Key {
        match fact {
            Fact::Lives { town, person } => Key::Lives {
                town: *town,
                person: *person,
            },
            Fact::Likes { fan, friend } => Key::Likes {
                fan: *fan,
                friend: *friend,
            },
            Fact::Wants { person } => Key::Wants { person: *person },
            Fact::Letter(letter) => Key::Letter(*letter),
        }
    }

    fn is_whole(key: Key) -> bool {
        !matches!(key, Key::Wants { .. })
    }

    fn assert(&mut self, unit: UnitId, fact: Fact, changes: &mut Changes<Cell, Unit>) {
        match fact {
            Fact::Lives { town, person } => {
                self.residents.insert(changes, town, person);
            }
            Fact::Likes { fan, friend } => {
                self.fans.insert(changes, friend, fan);
            }
            Fact::Wants { person } => self.wanted.push(person),
            Fact::Letter(letter) => {
                self.letters.acquire(letter, unit);
            }
        }
    }

    fn retract(&mut self, unit: UnitId, key: Key, changes: &mut Changes<Cell, Unit>) {
        match key {
            Key::Lives { town, person } => {
                self.residents.remove(changes, town, person);
            }
            Key::Likes { fan, friend } => {
                self.fans.remove(changes, friend, fan);
            }
            Key::Wants { person } => {
                self.numbers.remove(changes, person);
            }
            Key::Letter(letter) => {
                self.letters.release(letter, unit);
            }
        }
    }

    fn settle(&mut self, layer: usize, changes: &mut Changes<Cell, Unit>) {
        if layer == 0 {
            for person in std::mem::take(&mut self.wanted) {
                if self.people.peek(person).is_some() && self.numbers.peek(person).is_none() {
                    self.numbers.set(changes, person, u32::from(person));
                }
            }
        }
    }
}

/// The same letters, from the rows alone.
fn naive(people: &BTreeMap<Id, Person>) -> BTreeSet<Letter> {
    people
        .iter()
        .map(|(id, person)| Letter {
            town: person.town,
            neighbours: people
                .values()
                .filter(|other| other.town == person.town)
                .count(),
            fans: people
                .values()
                .filter(|other| other.friends.contains(id))
                .count(),
            has_missing_friend: person
                .friends
                .iter()
                .any(|friend| !people.contains_key(friend)),
        })
        .collect()
}

fn change() -> impl Strategy<Value = (Id, Option<Person>)> {
    let person =
        (0..4u8, prop::collection::btree_set(0..12u8, 0..4)).prop_map(|(town, friends)| Person {
            town,
            friends: friends.into_iter().collect(),
        });
    (0..12u8, prop::option::weighted(0.7, person))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(
        waves in prop::collection::vec(prop::collection::vec(change(), 1..5), 1..40),
        budget in 1..7usize,
    ) {
        let mut society = Society::new();
        let mut engine = Engine::<Society>::new();
        let mut people = BTreeMap::new();
        for wave in waves {
            for (id, person) in wave {
                match &person {
                    Some(person) => people.insert(id, person.clone()),
                    None => people.remove(&id),
                };
                engine.input(&mut society, |society, changes| society.set(changes, id, person));
                // An interrupted step between the changes of a wave must do no harm.
                engine.step(&mut society, budget);
            }
            while !engine.step(&mut society, budget).done {}
            let letters: BTreeSet<Letter> = society.letters.keys().collect();
            prop_assert_eq!(letters, naive(&people));
            prop_assert_eq!(engine.unit_count(), 2 * people.len());
        }
        let ids: Vec<Id> = people.keys().copied().collect();
        for id in ids {
            engine.input(&mut society, |society, changes| society.set(changes, id, None));
        }
        while !engine.step(&mut society, budget).done {}
        prop_assert_eq!(engine.size(), (0, 0), "nothing is remembered of an empty world");
        prop_assert!(society.letters.is_empty());
    }
}

#[test]
fn only_readers_of_what_changed_run() {
    let mut society = Society::new();
    let mut engine = Engine::<Society>::new();
    for id in 0..100 {
        let person = Person {
            town: id / 10,
            friends: vec![],
        };
        engine.input(&mut society, |society, changes| {
            society.set(changes, id, Some(person));
        });
    }
    assert!(engine.step(&mut society, usize::MAX).done);

    // One person moves from a town of ten to another: those two towns write again, the other eighty people do not.
    let mover = Person {
        town: 1,
        friends: vec![],
    };
    engine.input(&mut society, |society, changes| {
        society.set(changes, 0, Some(mover));
    });
    let progress = engine.step(&mut society, usize::MAX);
    assert!(progress.ran <= 1 + 20, "{progress:?}");

    // An equal row changes nothing.
    let same = Person {
        town: 1,
        friends: vec![],
    };
    engine.input(&mut society, |society, changes| {
        society.people.set(changes, 0, same);
    });
    assert_eq!(engine.step(&mut society, usize::MAX).ran, 0);
}
