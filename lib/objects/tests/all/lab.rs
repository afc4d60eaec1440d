//! A northbound in memory, executed as a server does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use northbound::{Draft, Snapshot};
use objects::apply::{Action, Allowed, Plan, apply};
use objects::write::{Along, Deletion};
use objects::{Code, Declared, Kind, Refused, catalog, document, find, read, write};
use ovsdb::{Transaction, Uuid};
use serde_json::Value;
use table::{Context, Database, Execution};

/// A database, and a copy of it with indexes.
pub struct Lab {
    database: Database,
    pub snapshot: Snapshot,
}

impl Lab {
    pub fn new() -> Self {
        let mut snapshot = Snapshot::empty(nb_db::schema().clone());
        find::index(&mut snapshot);
        Self {
            database: Database::new(nb_db::schema().clone()),
            snapshot,
        }
    }

    /// Does this with a draft, and commits it; what the server refuses is a failure of the test.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut draft = Draft::new(&self.snapshot);
        let done = change(&mut draft)?;
        let operations = draft.operations();
        let transaction = Transaction {
            asked: operations.len(),
            operations,
            error: None,
        };
        match self.database.execute(&transaction, &Context::default()) {
            Execution::Done(executed) => {
                executed.outcome.unwrap();
                let changes = executed.delta.into_iter();
                changes.for_each(|change| self.snapshot.apply(change));
            }
            Execution::Blocked { .. } => panic!("nothing waits"),
        }
        Ok(done)
    }

    /// Applies YAML.
    pub fn apply(&mut self, owner: &str, yaml: &str) -> Result<Vec<String>, Refused> {
        self.apply_with(owner, yaml, false)
    }

    pub fn apply_with(
        &mut self,
        owner: &str,
        yaml: &str,
        adopt: bool,
    ) -> Result<Vec<String>, Refused> {
        let objects = declared(yaml)?;
        let allowed = Allowed {
            adopt,
            nothing: document::read(yaml)?.declares,
            ..Allowed::default()
        };
        let plan = self.change(|draft| apply(draft, owner, &objects, allowed))?;
        Ok(told(&plan))
    }

    /// An object as one would declare it.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value, Refused> {
        let kind = kind_of(kind);
        let uuid = find::find(&self.snapshot, kind, name)?;
        let object = read::object(&self.snapshot, kind, uuid).unwrap();
        Ok(document::to_declaration(&object))
    }

    pub fn version(&self, kind: &str, name: &str) -> String {
        let kind = kind_of(kind);
        let uuid = find::find(&self.snapshot, kind, name).unwrap();
        read::version(&self.snapshot, kind, uuid)
            .unwrap()
            .to_string()
    }

    pub fn create(&mut self, yaml: &str) -> Result<Uuid, Refused> {
        let objects = declared(yaml)?;
        self.change(|draft| write::create(draft, &objects[0], "", None))
    }

    pub fn update(&mut self, yaml: &str, mask: &[&str], version: &str) -> Result<Uuid, Refused> {
        let mut objects = declared(yaml)?;
        objects[0].version = version.to_owned();
        let mask: Vec<String> = mask.iter().map(|path| (*path).to_owned()).collect();
        self.change(|draft| write::update(draft, &objects[0], &mask, None))
    }

    pub fn delete(&mut self, kind: &str, name: &str, version: &str) -> Result<Uuid, Refused> {
        self.delete_with(kind, name, version, Along::Nothing)
    }

    pub fn delete_with(
        &mut self,
        kind: &str,
        name: &str,
        version: &str,
        along: Along<'_>,
    ) -> Result<Uuid, Refused> {
        let deletion = Deletion {
            kind: kind_of(kind),
            name,
            version,
        };
        let gone = self.change(|draft| write::delete(draft, &[deletion], along))?;
        Ok(gone[0])
    }

    /// How many rows a table has.
    pub fn count(&self, table: &str) -> usize {
        let table = nb_db::schema().table_index(table).unwrap();
        self.database.row_count(table)
    }
}

pub fn kind_of(text: &str) -> &'static Kind {
    catalog().called(text).unwrap()
}

pub fn declared(yaml: &str) -> Result<Vec<Declared>, Refused> {
    let document = document::read(yaml)?;
    document.objects.iter().map(Declared::new).collect()
}

/// A plan in words.
pub fn told(plan: &Plan) -> Vec<String> {
    let changes = plan.changes.iter().map(|change| {
        let sign = match change.action {
            Action::Create => "+",
            Action::Update => "~",
            Action::Delete => "-",
        };
        let fields = change.fields.join(",");
        let label = change.kind.definition.field;
        format!("{sign} {label} {} {fields}", change.name)
            .trim_end()
            .to_owned()
    });
    let unchanged = (plan.unchanged > 0).then(|| format!("= {}", plan.unchanged));
    changes.chain(unchanged).collect()
}

/// That something is refused with this code, and says these words.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Refused>, code: Code, words: &[&str]) {
    let refused = result.unwrap_err();
    let text = format!("{refused} {:?}", refused.violations);
    assert_eq!(refused.code, code, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}
