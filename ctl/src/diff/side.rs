//! One side of a comparison: the rows of a database, and how each is told from the others of its table without its UUID,
//! which is another one in every database.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, Uuid};

/// What a row that refers to others is by them, at most so far.
const DEEPEST: usize = 8;

/// Columns that say how things are, not how they should be; written by daemons. Numbers that are given are among them.
const STATE: [(&str, &[&str]); 12] = [
    (
        "NB_Global",
        &[
            "connections",
            "hv_cfg",
            "hv_cfg_timestamp",
            "nb_cfg",
            "nb_cfg_timestamp",
            "sb_cfg",
            "sb_cfg_timestamp",
            "ssl",
        ],
    ),
    ("SB_Global", &["connections", "nb_cfg", "ssl"]),
    ("Logical_Switch_Port", &["dynamic_addresses", "up"]),
    ("Logical_Router_Port", &["ipv6_prefix", "status"]),
    ("BFD", &["status"]),
    ("Chassis", &["nb_cfg"]),
    ("Chassis_Private", &["nb_cfg", "nb_cfg_timestamp"]),
    ("Connection", &["is_connected", "status"]),
    ("MAC_Binding", &["timestamp"]),
    ("Datapath_Binding", &["nb_uuid", "tunnel_key"]),
    ("Port_Binding", &["tunnel_key"]),
    ("Multicast_Group", &["tunnel_key"]),
];

/// Keys that daemons write, of columns that others write, too; and those that hold UUIDs of another database.
const STATE_KEYS: [(&str, &str, &[&str]); 3] = [
    (
        "NB_Global",
        "options",
        &[
            "mac_prefix",
            "max_tunid",
            "northd_internal_version",
            "svc_monitor_mac",
        ],
    ),
    ("Logical_Flow", "external_ids", &["source", "stage-hint"]),
    (
        "Datapath_Binding",
        "external_ids",
        &["logical-router", "logical-switch"],
    ),
];

/// Tables of nothing but state, or of how the server is reached.
const STATE_TABLES: [&str; 3] = ["Connection", "SSL", "Weft_Problem"];

/// The rows of a database.
#[derive(Debug)]
pub struct Side<'a> {
    schema: &'a DatabaseSchema,
    tables: Vec<BTreeMap<Uuid, &'a Arc<Row>>>,
    /// The table of each row.
    places: HashMap<Uuid, usize>,
    /// Whether state is compared, too.
    with_state: bool,
    /// What rows are that have no name: a digest of what they say, by the row and how far it looks.
    digests: RefCell<HashMap<(Uuid, usize), u128>>,
}

impl<'a> Side<'a> {
    /// The rows that `rows` gives for each table.
    pub fn new<I>(schema: &'a DatabaseSchema, with_state: bool, rows: impl Fn(usize) -> I) -> Self
    where
        I: Iterator<Item = (Uuid, &'a Arc<Row>)>,
    {
        let tables: Vec<BTreeMap<_, _>> = (0..schema.tables.len())
            .map(
                |table| match with_state || !STATE_TABLES.contains(&&*schema.tables[table].name) {
                    true => rows(table).collect(),
                    false => BTreeMap::new(),
                },
            )
            .collect();
        let places = tables.iter().enumerate();
        let places = places.flat_map(|(table, rows)| rows.keys().map(move |uuid| (*uuid, table)));
        Self {
            schema,
            places: places.collect(),
            tables,
            with_state,
            digests: RefCell::default(),
        }
    }

    /// The rows of a table.
    pub fn rows(&self, table: usize) -> &BTreeMap<Uuid, &'a Arc<Row>> {
        &self.tables[table]
    }

    /// A row, wherever it is.
    pub fn find(&self, uuid: Uuid) -> Option<(usize, &'a Arc<Row>)> {
        let table = *self.places.get(&uuid)?;
        Some((table, self.tables[table].get(&uuid)?))
    }

    /// Whether a column is compared.
    pub fn compares(&self, table: usize, column: usize) -> bool {
        let table = &self.schema.tables[table];
        let name = &table.columns[column].name;
        self.with_state
            || !STATE
                .iter()
                .any(|(of, columns)| **of == *table.name && columns.contains(&&**name))
    }

    /// A column as it is compared: without what daemons write into it.
    pub fn seen(&self, table: usize, row: &Row, column: usize) -> Datum {
        let schema = &self.schema.tables[table];
        let datum = row.get(column);
        if self.with_state {
            return datum.clone();
        }
        let place = (&*schema.name, &*schema.columns[column].name);
        // It is given to whoever asks for one.
        if place == ("Logical_Switch_Port", "tag") {
            let asked = schema.column_index("tag_request");
            if asked.is_some_and(|asked| !row.get(asked).is_empty()) {
                return Datum::empty_set();
            }
        }
        let mut of_daemons = STATE_KEYS.iter();
        match of_daemons.find(|(table, column, _)| place == (*table, *column)) {
            Some((_, _, keys)) => {
                let is_told = |key: &Atom| !keys.contains(&key.as_str().unwrap_or_default());
                let pairs = datum.pairs().iter();
                Datum::map(pairs.filter(|(key, _)| is_told(key)).cloned())
            }
            None => datum.clone(),
        }
    }

    /// By what a row is told from the others of its table: what its schema says is unique, or its name.
    pub fn key(&self, table: usize, row: &Row) -> Option<String> {
        let schema = &self.schema.tables[table];
        if schema.max_rows == Some(1) {
            return Some(String::new());
        }
        // Its number is another one elsewhere.
        if &*schema.name == "Datapath_Binding" {
            let ids = row.get(schema.column_index("external_ids")?);
            return ids.get_str("name").map(str::to_owned);
        }
        let is_plain = |columns: &&Vec<usize>| {
            columns.iter().all(|column| {
                let ty = &schema.columns[*column].ty;
                ty.key.atomic != ovsdb::AtomicType::Uuid
            })
        };
        let name = schema.column_index("name").map(|column| vec![column]);
        let columns = schema.indexes.iter().find(is_plain).cloned().or(name)?;
        let texts = columns.iter().map(|column| row.get(*column).to_string());
        let texts: Vec<String> = texts.collect();
        let says_something = columns.iter().any(|column| {
            let datum = row.get(*column);
            !datum.is_empty() && datum.scalar().and_then(Atom::as_str) != Some("")
        });
        says_something.then(|| texts.join(" "))
    }

    /// All that a row says, with what it refers to instead of UUIDs.
    pub fn content(&self, table: usize, row: &Row) -> String {
        self.content_to(table, row, DEEPEST)
    }

    fn content_to(&self, table: usize, row: &Row, depth: usize) -> String {
        let columns = &self.schema.tables[table].columns;
        let texts = columns.iter().enumerate();
        let texts = texts
            .filter(|(column, _)| self.compares(table, *column))
            .map(|(column, _)| {
                let seen = self.seen(table, row, column);
                let said = self.said(&seen, &|uuid| self.identity(uuid, depth));
                format!("{said}\n")
            });
        texts.collect()
    }

    /// A column in words that mean the same in every database.
    pub fn meaning(&self, table: usize, row: &Row, column: usize) -> String {
        let seen = self.seen(table, row, column);
        self.said(&seen, &|uuid| self.identity(uuid, DEEPEST))
    }

    /// What a row is, seen from another that refers to it.
    fn identity(&self, uuid: Uuid, depth: usize) -> String {
        let Some((table, row)) = self.find(uuid) else {
            return "nothing".to_owned();
        };
        let name = &self.schema.tables[table].name;
        match self.key(table, row) {
            Some(key) => format!("{name} {key}"),
            None if depth == 0 => name.to_string(),
            None => format!("{name} {:032x}", self.digest(uuid, table, row, depth - 1)),
        }
    }

    /// What a row says, in short: the same in both databases, and made once for all that refer to it.
    fn digest(&self, uuid: Uuid, table: usize, row: &Row, depth: usize) -> u128 {
        let key = (uuid, depth);
        if let Some(digest) = self.digests.borrow().get(&key) {
            return *digest;
        }
        let content = self.content_to(table, row, depth);
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &content).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let digest = half(0) << 64 | half(1);
        self.digests.borrow_mut().insert(key, digest);
        digest
    }

    /// A column in words, with `named` for what it refers to.
    pub fn said(&self, datum: &Datum, named: &dyn Fn(Uuid) -> String) -> String {
        let atom = |atom: &Atom| match atom.as_uuid() {
            Some(uuid) => named(uuid),
            None => atom.to_string(),
        };
        if datum.pairs().is_empty() {
            let mut texts: Vec<String> = datum.atoms().iter().map(atom).collect();
            texts.sort_unstable();
            return match datum.scalar() {
                Some(_) => texts.concat(),
                None => format!("[{}]", texts.join(", ")),
            };
        }
        let pairs = datum.pairs().iter();
        let pairs = pairs.map(|(key, value)| format!("{}={}", atom(key), atom(value)));
        let mut texts: Vec<String> = pairs.collect();
        texts.sort_unstable();
        format!("{{{}}}", texts.join(", "))
    }
}
