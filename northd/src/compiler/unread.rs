//! What a user has set and no feature reads: tables with rows, columns, keys. Nothing is ignored in silence.
//!
//! Each is one problem, however many rows it is about; the problem names the first of them. Cost is that of the rows that
//! change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nb_db::tables::{Connection, NbGlobal, Ssl, WeftProblem};
use ovsdb::typed::Table;
use ovsdb::{Datum, Row, RowChange};
use uuid::Uuid;

use super::feature::{Feature, Side};
use super::known::KNOWN;
use super::problem::{Problem, Rank};

/// Tables that are the database server's own business, or northd's output.
const NOT_FOR_US: &[usize] = &[Connection::INDEX, Ssl::INDEX, WeftProblem::INDEX];
/// The column that is everywhere for the user's own notes.
const NOTES: &str = "external_ids";

/// Something that can be set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Table(usize),
    Column(usize, usize),
    Key(usize, usize, Arc<str>),
}

/// What is set and not read.
pub struct Unread {
    tables: Vec<TableReads>,
    /// The rows where each is set.
    set: BTreeMap<Item, BTreeSet<Uuid>>,
    /// Problems that came (`true`) and went.
    news: Vec<(Problem, bool)>,
}

/// What is read of a table.
#[derive(Default)]
struct TableReads {
    is_ignored: bool,
    is_read: bool,
    /// Columns that nobody reads, each with its default.
    columns: Vec<(usize, Datum)>,
    /// Map columns of which keys are read.
    maps: Vec<(usize, Vec<&'static str>)>,
}

impl Unread {
    /// Nothing is set yet, and these features read.
    pub fn new(features: &[&'static Feature]) -> Self {
        let schema = nb_db::schema();
        let tables = (0..schema.tables.len()).map(|table| reads(table, features));
        Self {
            tables: tables.collect(),
            set: BTreeMap::new(),
            news: Vec::new(),
        }
    }

    /// Takes up a change of a northbound row; `old` is what was told before.
    pub fn observe(&mut self, change: &RowChange) {
        if self.tables[change.table].is_ignored {
            return;
        }
        let old = change
            .old
            .as_deref()
            .map(|row| self.items(change.table, row));
        let new = change
            .new
            .as_deref()
            .map(|row| self.items(change.table, row));
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        for item in old.iter().filter(|item| !new.contains(item)) {
            if let Some(rows) = self.set.get_mut(item) {
                let before = rows.first().copied();
                rows.remove(&change.uuid);
                let now = rows.first().copied();
                if rows.is_empty() {
                    self.set.remove(item);
                }
                self.tell(item, before, now);
            }
        }
        for item in new.into_iter().filter(|item| !old.contains(item)) {
            let rows = self.set.entry(item.clone()).or_default();
            let before = rows.first().copied();
            rows.insert(change.uuid);
            let now = rows.first().copied();
            self.tell(&item, before, now);
        }
    }

    /// The first row where something is set is another one, or there is none.
    fn tell(&mut self, item: &Item, before: Option<Uuid>, now: Option<Uuid>) {
        if before == now {
            return;
        }
        let rows = [(before, false), (now, true)].into_iter();
        let news = rows.filter_map(|(row, is_there)| Some((problem(item, row?), is_there)));
        self.news.extend(news);
    }

    /// What has come to be set (`true`) and is not any longer, each with the first row where it is, in the order in which
    /// it became so.
    pub fn take_problem_news(&mut self) -> Vec<(Problem, bool)> {
        std::mem::take(&mut self.news)
    }

    fn items(&self, table: usize, row: &Row) -> Vec<Item> {
        let reads = &self.tables[table];
        if !reads.is_read {
            return vec![Item::Table(table)];
        }
        let set = |(column, default): &&(usize, Datum)| row.get(*column) != default;
        let columns = reads.columns.iter().filter(set);
        let mut items: Vec<Item> = columns
            .map(|(column, _)| Item::Column(table, *column))
            .collect();
        for (column, keys) in &reads.maps {
            for (key, value) in row.get(*column).pairs() {
                if let Some(key) = key.as_arc_str()
                    && !is_default(key, value.as_str().unwrap_or_default())
                    && !keys.iter().any(|known| matches(known, key))
                {
                    items.push(Item::Key(table, *column, Arc::clone(key)));
                }
            }
        }
        items
    }
}

fn reads(table: usize, features: &[&'static Feature]) -> TableReads {
    let schema = nb_db::schema();
    let sources = features.iter().flat_map(|feature| feature.reads);
    let sources: Vec<_> = sources
        .filter(|source| source.side == Side::North && source.table == table)
        .collect();
    let owned = features.iter().flat_map(|feature| feature.owns);
    let written: Vec<usize> = owned
        .filter(|owned| owned.side == Side::North && owned.table == table)
        .flat_map(|owned| owned.columns.iter().copied())
        .collect();
    let mut reads = TableReads {
        is_ignored: NOT_FOR_US.contains(&table),
        is_read: !sources.is_empty(),
        ..TableReads::default()
    };
    for (column, of) in schema.tables[table].columns.iter().enumerate() {
        let keys: Vec<&'static str> = sources
            .iter()
            .flat_map(|source| source.keys)
            .filter(|(of, _)| *of == column)
            .flat_map(|(_, keys)| keys.iter().copied())
            .collect();
        let is_whole = sources
            .iter()
            .any(|source| source.columns.contains(&column));
        let base = of.ty.value.as_ref().unwrap_or(&of.ty.key);
        let is_servers = base.reference().is_some_and(|(target, _)| {
            let target = schema.table_index(target);
            target.is_some_and(|target| NOT_FOR_US.contains(&target))
        });
        if !keys.is_empty() {
            reads.maps.push((column, keys));
        } else if !is_whole && !is_servers && !written.contains(&column) && &*of.name != NOTES {
            reads.columns.push((column, Datum::default_for(&of.ty)));
        }
    }
    reads
}

/// Truths that OVN assumes where nothing is said.
const TRUE_BY_DEFAULT: &[&str] = &[
    "broadcast-arps-to-all-routers",
    "enable_chassis_nb_cfg_update",
    "ignore_lsp_down",
    "lsp_learn_mac",
    "mcast_querier",
    "use_ct_inv_match",
];

/// Whether a key is set to what it means anyway: managers write many keys so.
fn is_default(key: &str, value: &str) -> bool {
    if TRUE_BY_DEFAULT.contains(&key) {
        value.eq_ignore_ascii_case("true")
    } else {
        value.eq_ignore_ascii_case("false")
    }
}

/// Whether `known`, which may end in `*`, stands for `key`.
fn matches(known: &str, key: &str) -> bool {
    match known.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => known == key,
    }
}

fn problem(item: &Item, row: Uuid) -> Problem {
    let schema = nb_db::schema();
    let (Item::Table(table) | Item::Column(table, _) | Item::Key(table, _, _)) = item;
    let of = &schema.tables[*table];
    let name = |column: usize| -> &'static str { &of.columns[column].name };
    let (column, place, why, remedy) = match item {
        Item::Table(_) => (
            "_uuid",
            None,
            "rows of this table are not compiled by this version".to_owned(),
            "they have no effect, this one and all others",
        ),
        Item::Column(_, column) => (
            name(*column),
            None,
            "the column is not compiled by this version".to_owned(),
            "it has no effect, here and in all other rows",
        ),
        Item::Key(_, column, key) => {
            let mut known = KNOWN.iter();
            let is_known = known.any(|(of, at, keys)| {
                of == table && at == column && keys.iter().any(|known| matches(known, key))
            });
            let (why, remedy) = if is_known {
                (
                    "the key is not compiled by this version",
                    "it has no effect, here and in all other rows",
                )
            } else {
                (
                    "the key has no meaning",
                    "remove it, or correct its spelling",
                )
            };
            let place = Some((key.to_string(), 0));
            (name(*column), place, why.to_owned(), remedy)
        }
    };
    // Settings of the whole are about how it is done, not what: timers, probes, limits.
    let is_setting = *table == <NbGlobal as Table>::INDEX && matches!(item, Item::Key(..));
    Problem {
        rank: if is_setting {
            Rank::Warning
        } else {
            Rank::Error
        },
        table: &of.name,
        row,
        name: Arc::from(""),
        column,
        place,
        why,
        remedy: remedy.to_owned(),
    }
}
