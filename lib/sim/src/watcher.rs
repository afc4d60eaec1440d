//! A client that watches the database, and has to see every commit. Some want only a part of it, and change their minds
//! which.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::{Condition, Row, Uuid};
use serde_json::json;
use store::monitor::{Update, View};
use store::session::{Backlog, RequestId, SessionId};

use crate::random::Random;
use crate::schema;

/// Rows by table.
pub type Rows = BTreeMap<(usize, Uuid), Arc<Row>>;

/// A watching client.
#[derive(Debug)]
pub struct Watcher {
    /// Its session, and the member that has it.
    pub session: Option<(SessionId, u64)>,
    /// The session's queue.
    pub backlog: Arc<Backlog>,
    /// What it has seen.
    pub rows: Rows,
    /// The name of the state that it has seen.
    pub state: Option<Uuid>,
    /// Which rows of which tables it has; of other tables it has all.
    pub conditions: Vec<(usize, Condition)>,
    /// Its request for other ones, and these, until it is answered.
    pub asked: Option<(RequestId, Vec<(usize, Condition)>)>,
    /// Its monitor has started.
    pub started: bool,
    /// How many requests it has made.
    pub requests: u64,
}

impl Watcher {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self {
            session: None,
            backlog: Arc::default(),
            rows: Rows::new(),
            state: None,
            conditions: Vec::new(),
            asked: None,
            started: false,
            requests: 0,
        }
    }

    /// What it wants to see.
    pub fn view(&self) -> View {
        let tables = json!({
            "Register": [{"columns": ["name", "value"]}],
            "Piece": [{"columns": ["number", "operation"]}],
            "Trace": [{"columns": ["operation"]}]});
        let spec = MonitorSpec::from_json(MonitorVersion::V3, schema(), &tables);
        let everything = View::from(spec.expect("the tables and columns exist"));
        everything.with(&self.conditions)
    }

    /// Other rows to want: of one table, those for which one of a few clauses holds.
    pub fn other_conditions(random: &mut Random) -> Vec<(usize, Condition)> {
        let tables = [
            ("Register", &["name", "value"][..]),
            ("Piece", &["number", "operation"]),
            ("Trace", &["operation"]),
        ];
        let (name, columns) = tables[random.range(0..3) as usize];
        let clauses = (0..random.range(0..4)).map(|_| {
            let column = columns[random.range(0..columns.len() as u64) as usize];
            let function = ["==", "==", "==", "<", "!="][random.range(0..5) as usize];
            match random.percent(15) {
                true => json!(random.percent(70)),
                false => json!([column, function, random.range(0..30)]),
            }
        });
        let clauses: Vec<_> = clauses.collect();
        let (table, of) = schema()
            .tables
            .iter()
            .enumerate()
            .find(|(_, table)| &*table.name == name)
            .expect("it is one of the schema's");
        let condition = Condition::from_json(of, &json!(clauses));
        vec![(table, condition.expect("the columns exist"))]
    }

    /// From now on, it has these rows of these tables.
    pub fn want(&mut self, conditions: Vec<(usize, Condition)>) {
        for (table, condition) in conditions {
            self.conditions.retain(|(of, _)| *of != table);
            self.conditions.push((table, condition));
        }
    }

    /// What it has to see of these rows.
    pub fn shown(&self, rows: &Rows) -> Rows {
        let view = self.view();
        let shows = |((table, uuid), row): &(&(usize, Uuid), &Arc<Row>)| {
            let mut tables = view.tables.iter();
            let shown = tables.find(|(columns, _)| columns.table == *table);
            shown.is_some_and(|(_, condition)| condition.holds(*uuid, row))
        };
        let rows = rows.iter().filter(shows);
        rows.map(|(key, row)| (*key, row.clone())).collect()
    }

    /// Its monitor has started.
    pub fn started(&mut self, resumed: bool, state: Uuid, update: &Update) -> Result<(), String> {
        self.started = true;
        if !resumed {
            self.rows.clear();
        }
        self.apply(state, update)
    }

    /// Something changed.
    pub fn apply(&mut self, state: Uuid, update: &Update) -> Result<(), String> {
        for (columns, rows) in &update.tables {
            let table = &schema().tables[columns.table];
            let defaults = Row::default_for(table);
            for fragment in rows {
                let key = (columns.table, fragment.change.uuid);
                let told = fragment.row_update(table, columns, MonitorVersion::V3);
                let old = self.rows.remove(&key);
                let expected = fragment.change.old.is_some() && !fragment.initial;
                if expected != old.is_some() {
                    return Err(format!(
                        "a watcher was told that row {} of {} changed from {:?}, but it has {old:?}",
                        key.1, table.name, fragment.change.old,
                    ));
                }
                if let Some(row) = told.apply(&defaults, old.as_deref()) {
                    self.rows.insert(key, Arc::new(row));
                }
            }
        }
        self.state = Some(state);
        Ok(())
    }
}
