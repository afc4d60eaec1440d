//! Drafts against what then happens, on random networks: for each transaction of the careless operator, the rows that a draft
//! of it adds, changes and removes are those that northd adds, changes and removes when it is really made.
//!
//! One draftsman stays for as long as it may, and follows both databases. A row that is new has another UUID in the draft, and
//! where northd chooses a number, that is a matter of what was there before: such lines are compared without their digits.
//! `WEFT_SEED` runs a run again, `WEFT_CHANGES` makes it longer.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use nb_db::tables::WeftProblem;
use ovsdb::operation::{Operation, Transaction};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange, Table, Uuid};

use super::random::{self, Rng};
use super::{World, setting};
use crate::core::{Now, Side};
use crate::draft::{Draftsman, Rows};

/// Changes in one run, over several networks.
const CHANGES: usize = 600;
const CHANGES_A_NETWORK: usize = 60;
/// So often what new rows refer to is taken into account: no chain of references is longer.
const ROUNDS: usize = 4;
const UUID_LENGTH: usize = 36;

/// A transaction on the northbound, with both databases before and after northd has done all that follows of it.
pub struct Made {
    now: Now,
    before: [Rows; 2],
    operations: Vec<Operation>,
    after: [Rows; 2],
}

impl World {
    /// The rows of both databases.
    fn both(&self) -> [Rows; 2] {
        [&self.north, &self.south].map(|database| {
            let changes = super::all_rows(database).into_iter();
            let rows = changes.filter_map(|change| Some((change.table, change.uuid, change.new?)));
            rows.collect()
        })
    }

    /// Does a client's transaction; with what it has done, if somebody wants to know.
    pub fn make(&mut self, operations: Vec<Operation>, run: fn(&mut Self, Vec<Operation>)) {
        if self.made.is_none() {
            return run(self, operations);
        }
        let (now, before) = (self.now(), self.both());
        run(self, operations.clone());
        let after = self.both();
        self.made.get_or_insert_default().push(Made {
            now,
            before,
            operations,
            after,
        });
    }
}

/// The difference between two states of a database.
fn difference(before: &Rows, after: &Rows) -> Vec<RowChange> {
    let mut changed: BTreeMap<(usize, Uuid), [Option<Arc<Row>>; 2]> = BTreeMap::new();
    for (side, rows) in [before, after].into_iter().enumerate() {
        for (table, uuid, row) in rows {
            changed.entry((*table, *uuid)).or_default()[side] = Some(Arc::clone(row));
        }
    }
    let changed = changed.into_iter().filter(|(_, [old, new])| old != new);
    let changed = changed.map(|((table, uuid), [old, new])| RowChange {
        table,
        uuid,
        old,
        new,
    });
    changed.collect()
}

/// The text with what stands for each new row in place of its UUID.
fn renamed(text: &str, names: &HashMap<Uuid, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let uuid = rest.get(..UUID_LENGTH);
        let uuid = uuid.and_then(|text| Uuid::try_parse(text).ok());
        if let Some(name) = uuid.and_then(|uuid| names.get(&uuid)) {
            out.push_str(name);
            rest = &rest[UUID_LENGTH..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

/// A column's content, its elements in the order that they have with these names.
fn cell(datum: &ovsdb::Datum, names: &HashMap<Uuid, String>) -> String {
    let text = renamed(&datum.to_string(), names);
    if datum.atoms().len() < 2 {
        return text;
    }
    let mut elements: Vec<&str> = text
        .trim_matches(['[', ']', '{', '}'])
        .split(", ")
        .collect();
    elements.sort_unstable();
    format!("[{}]", elements.join(", "))
}

/// What changes, a line each. New rows are named by what they hold.
fn lines(schema: &DatabaseSchema, changes: &[RowChange]) -> Vec<String> {
    let mut names: HashMap<Uuid, String> = HashMap::new();
    let line = |change: &RowChange, names: &HashMap<Uuid, String>| {
        let table = &schema.tables[change.table];
        let name = names.get(&change.uuid).cloned();
        let name = name.unwrap_or_else(|| change.uuid.to_string());
        let cells = table
            .columns
            .iter()
            .enumerate()
            .filter_map(|(index, column)| {
                let side = |row: &Option<Arc<Row>>| row.as_ref().map(|row| row.get(index).clone());
                let (old, new) = (side(&change.old), side(&change.new));
                // Clocks are not those of the draft.
                if old == new || column.name.ends_with("timestamp") {
                    return None;
                }
                let cell = |datum: Option<ovsdb::Datum>| {
                    let datum = datum.map(|datum| cell(&datum, names));
                    datum.unwrap_or_else(|| "-".to_owned())
                };
                Some(format!("{} {} -> {}", column.name, cell(old), cell(new)))
            });
        let cells: Vec<String> = cells.collect();
        format!("{} {name}: {}", table.name, cells.join("; "))
    };
    let is_new = |change: &&RowChange| change.old.is_none();
    for change in changes.iter().filter(is_new) {
        names.insert(change.uuid, "new".to_owned());
    }
    for _ in 0..ROUNDS {
        let next = changes.iter().filter(is_new).map(|change| {
            let mut hasher = DefaultHasher::new();
            without_digits(&line(change, &names)).hash(&mut hasher);
            (change.uuid, letters(hasher.finish()))
        });
        names = next.collect();
    }
    let mut lines: Vec<String> = changes.iter().map(|change| line(change, &names)).collect();
    lines.sort_unstable();
    lines
}

/// A number in letters, which [`without_digits`] leaves.
fn letters(mut number: u64) -> String {
    let mut text = "new-".to_owned();
    while number > 0 {
        text.push(char::from(
            b'a' + u8::try_from(number % 26).expect("below 26"),
        ));
        number /= 26;
    }
    text
}

/// The line with `#` in place of every number.
fn without_digits(line: &str) -> String {
    let mut out = String::new();
    for character in line.chars() {
        match character.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(character),
        }
    }
    out
}

/// What is in one of them only.
fn only<'a>(a: &'a [String], b: &[String]) -> Vec<&'a str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for line in b {
        *counts.entry(line).or_default() += 1;
    }
    let left = a.iter().filter(|line| match counts.get_mut(line.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    left.map(String::as_str).collect()
}

/// Whether something becomes of a port that claims another's address.
fn is_contested(north: &[RowChange]) -> bool {
    let problems = north
        .iter()
        .filter(|change| change.table == WeftProblem::INDEX);
    let mut rows = problems
        .flat_map(|change| [&change.old, &change.new])
        .flatten();
    rows.any(|row| {
        let why = WeftProblem::COLUMN.why.get(row);
        why.contains("is already the address of")
    })
}

/// How much was compared.
#[derive(Debug, Default)]
struct Tally {
    drafts: usize,
    copies: usize,
    lines: usize,
    /// Lines that are alike but for their numbers.
    renumbered: usize,
    /// Drafts in which ports claim the address of another.
    contested: usize,
}

impl Tally {
    fn compare(
        &mut self,
        schema: &DatabaseSchema,
        drafted: &[RowChange],
        done: &[RowChange],
        place: &str,
    ) {
        let [drafted, done] = [drafted, done].map(|changes| lines(schema, changes));
        self.lines += done.len();
        let (promised, kept) = (only(&drafted, &done), only(&done, &drafted));
        self.renumbered += kept.len();
        let masked = |lines: &[&str]| -> Vec<String> {
            lines.iter().map(|line| without_digits(line)).collect()
        };
        let (promised, kept) = (masked(&promised), masked(&kept));
        let (promised, kept) = (only(&promised, &kept), only(&kept, &promised));
        assert!(
            promised.is_empty() && kept.is_empty(),
            "{place}: only drafted: {promised:#?}, only done: {kept:#?}"
        );
    }
}

/// A draftsman, and what it has been told of the databases.
#[derive(Default)]
struct Follower {
    draftsman: Draftsman,
    told: [Rows; 2],
}

impl Follower {
    /// Tells it how the databases are now.
    fn follow(&mut self, now: Now, rows: &[Rows; 2]) {
        for (side, index) in [(Side::North, 0), (Side::South, 1)] {
            let changes = difference(&self.told[index], &rows[index]);
            self.draftsman.follow(now, side, &changes);
        }
        self.told.clone_from(rows);
    }

    fn check(&mut self, made: &Made, place: &str, tally: &mut Tally) {
        self.follow(made.now, &made.before);
        if !self.draftsman.is_at_rest(made.now) {
            let [north, south] = made.before.clone();
            let copied = self.draftsman.copy("test", made.now, north, south);
            copied.unwrap_or_else(|error| panic!("{place}: {error}"));
            tally.copies += 1;
        }
        let transaction = Transaction {
            asked: made.operations.len(),
            operations: made.operations.clone(),
            error: None,
        };
        let drafted = self.draftsman.draft(made.now, &transaction);
        let drafted = drafted.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(drafted.unsettled, 0, "{place}: northd was at rest");
        tally.drafts += 1;
        let sides = [
            (nb_db::schema(), drafted.north),
            (sb_db::schema(), drafted.south),
        ];
        let done = [0, 1].map(|side| difference(&made.before[side], &made.after[side]));
        if is_contested(&sides[0].1) || is_contested(&done[0]) {
            tally.contested += 1;
        }
        for ((schema, changes), done) in sides.iter().zip(&done) {
            tally.compare(schema, changes, done, place);
        }
    }
}

#[test]
fn what_is_drafted_is_what_is_done() {
    let seed = setting("WEFT_SEED").unwrap_or(1);
    let changes = setting("WEFT_CHANGES").map_or(CHANGES, |changes| {
        usize::try_from(changes).expect("a count")
    });
    let mut rng = Rng::new(seed);
    let mut tally = Tally::default();
    for network in 0..changes.div_ceil(CHANGES_A_NETWORK) {
        let mut world = World::new();
        let mut follower = Follower::default();
        for change in 0..CHANGES_A_NETWORK {
            // What northd has put off is not the next change's doing.
            world.rest();
            world.made = Some(Vec::new());
            let what = random::change(&mut world, &mut rng);
            for made in world.made.take().unwrap_or_default() {
                let place = format!("seed {seed}, network {network}, change {change}: {what}");
                follower.check(&made, &place, &mut tally);
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.drafts > changes / 2, "{tally:?}");
    assert!(
        tally.copies * 2 < tally.drafts,
        "it hardly stays: {tally:?}"
    );
    assert!(tally.renumbered * 10 < tally.lines, "{tally:?}");
    assert!(tally.contested > 0, "{tally:?}");
}

#[test]
fn what_differs_is_told() {
    let names = HashMap::from([(Uuid::from_u128(1), "new-a".to_owned())]);
    let text = format!("x {} {}", Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(
        renamed(&text, &names),
        format!("x new-a {}", Uuid::from_u128(2))
    );
    assert_eq!(without_digits("reg0 = 12; a1"), "reg# = #; a#");
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let (a, b): (Vec<String>, Vec<String>) = (owned(&["a", "a", "b"]), owned(&["a", "b"]));
    assert_eq!(only(&a, &b), ["a"]);
    assert_eq!(only(&b, &a), Vec::<&str>::new());
}
