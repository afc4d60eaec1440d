//! Declarations of networks: files of YAML and JSON, bodies of REST, and messages of gRPC. What can be read is applied to a
//! small network.

use std::sync::{Arc, OnceLock};

use northbound::{Draft, Snapshot};
use objects::apply::{Allowed, apply};
use objects::{Declared, catalog, document, find, v1};
use ovsdb::{RowChange, Transaction};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use table::{Context, Database, Execution};

/// A file for `weft apply`, and a body for REST.
pub fn network_documents(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(document) = document::read(text)
    {
        for object in &document.objects {
            let written = document::to_json(object);
            let again = document::object(&written).expect("it was written by us");
            assert_eq!(document::to_json(&again), written);
        }
        declare(&document.objects);
    }
    if let Ok(value) = document::read_json(input)
        && let Ok(object) = document::object(&value)
    {
        declare(&[object]);
    }
}

/// A message `ApplyRequest` of gRPC.
pub fn network_requests(input: &[u8]) {
    let Ok(request) = v1::ApplyRequest::decode(input) else {
        return;
    };
    let objects = request.objects.iter().map(|object| {
        let mut message = DynamicMessage::new(catalog().object.clone());
        let read = message.transcode_from(object);
        read.expect("both are the same message");
        message
    });
    declare(&objects.collect::<Vec<_>>());
}

/// The network that is there before: the lab.
fn network() -> &'static Snapshot {
    static NETWORK: OnceLock<Snapshot> = OnceLock::new();
    const LAB: &str = include_str!("../../examples/lab.yaml");
    NETWORK.get_or_init(|| {
        let mut database = Database::new(Arc::clone(nb_db::schema()));
        let mut snapshot = Snapshot::empty(Arc::clone(nb_db::schema()));
        find::index(&mut snapshot);
        let lab = document::read(LAB).expect("the lab is right").objects;
        let lab: Result<Vec<Declared>, _> = lab.iter().map(Declared::new).collect();
        let lab = lab.expect("its objects are right");
        let mut draft = Draft::new(&snapshot);
        apply(&mut draft, "lab", &lab, Allowed::default()).expect("it can be made");
        let operations = draft.operations();
        let changes = execute(&mut database, operations).expect("the database takes it");
        changes
            .into_iter()
            .for_each(|change| snapshot.apply(change));
        snapshot
    })
}

fn execute(database: &mut Database, operations: Vec<ovsdb::Operation>) -> Option<Vec<RowChange>> {
    let transaction = Transaction {
        asked: operations.len(),
        operations,
        error: None,
    };
    match database.execute(&transaction, &Context::default()) {
        Execution::Done(done) => done.outcome.ok().map(|_| done.delta),
        Execution::Blocked { .. } => None,
    }
}

/// Applies objects twice: the second time, nothing changes.
fn declare(objects: &[DynamicMessage]) {
    let declared: Result<Vec<Declared>, _> = objects.iter().map(Declared::new).collect();
    let Ok(declared) = declared else {
        return;
    };
    let allowed = Allowed {
        adopt: true,
        nothing: true,
        owners: None,
    };
    let before = network();
    let mut draft = Draft::new(before);
    if apply(&mut draft, "fuzz", &declared, allowed).is_err() {
        return;
    }
    let mut database = Database::new(Arc::clone(nb_db::schema()));
    let rows = (0..nb_db::schema().tables.len()).flat_map(|table| {
        let rows = before.table(table).iter();
        rows.map(move |(uuid, row)| (table, *uuid, Arc::clone(row)))
    });
    database.load(rows).expect("the rows fit together");
    // The database has rules of its own, which it tells the client.
    let Some(changes) = execute(&mut database, draft.operations()) else {
        return;
    };
    let mut after = before.clone();
    changes.into_iter().for_each(|change| after.apply(change));
    let versioned = declared.iter().any(|object| !object.version.is_empty());
    let mut draft = Draft::new(&after);
    let again = apply(&mut draft, "fuzz", &declared, allowed);
    if !versioned {
        let again = again.expect("what was taken once is taken again");
        assert!(again.changes.is_empty(), "{:?}", again.changes);
    }
}
