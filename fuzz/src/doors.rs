//! What comes in through the doors for clients and for other members.

use std::sync::Arc;

use ovsdb::framing::{FrameLimits, Framer};
use ovsdb::jsonrpc::Message;
use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::operation::{Operations, outcome_from_json, outcome_to_json};
use ovsdb::request::Request;
use ovsdb::{Transaction, Uuid};
use prost::{Message as _, Name as _};
use rpc::weight::Scale;
use rpc::{convert, v1};
use serde_json::{Value, json};
use store::entry::{self, NamedResult, Turn};
use store::server::peers;
use table::{Context, Execution};

use crate::sample;

/// A stream of bytes to the OVSDB door: cut into messages, read as requests of every kind.
pub fn ovsdb_frames(input: &[u8]) {
    let limits = FrameLimits {
        bytes: 1 << 16,
        ..FrameLimits::SERVER
    };
    let (whole, end) = frames(limits, &[input]);
    // However the stream is cut, the messages are the same.
    let (front, back) = input.split_at(input.len() / 3);
    assert_eq!(frames(limits, &[front, back]), (whole.clone(), end));
    for frame in whole {
        let Ok(message) = Message::parse(&frame) else {
            continue;
        };
        match message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                if let Ok(request) = Request::parse(&method, params) {
                    read_request(request);
                }
            }
            Message::Response { .. } => {}
        }
    }
}

fn frames(limits: FrameLimits, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<String>) {
    let mut framer = Framer::new(limits);
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

fn read_request(request: Request<'_>) {
    let schema = sample::schema();
    match request {
        Request::Transact { operations, .. } => transact(&operations),
        Request::Monitor {
            version, tables, ..
        } => {
            if let Ok(spec) = MonitorSpec::from_json(version, schema, &tables) {
                let written = serde_json::to_value(spec.with(schema)).expect("plain data");
                MonitorSpec::from_json(version, schema, &written).expect("it was written by us");
            }
        }
        Request::MonitorCondChange { tables, .. } => {
            let all = json!({"A": [{}], "B": [{}]});
            let spec = MonitorSpec::from_json(MonitorVersion::V3, schema, &all);
            // Whether the change makes sense is not what this is about.
            let _ = spec
                .expect("it is right")
                .condition_changes(schema, &tables);
        }
        Request::Convert { schema, .. } => {
            // Nor is this.
            let _ = ovsdb::schema::DatabaseSchema::from_json(&schema);
        }
        _ => {}
    }
}

/// The operations of a `transact`, as a JSON array: read, executed, taken back, written.
pub fn ovsdb_operations(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(operations) = Operations::of_array(text)
    {
        transact(&operations);
    }
}

fn transact(operations: &Operations<'_>) {
    let transaction = sample::read_text(operations);
    if transaction.error.is_none() {
        assert_eq!(transaction.operations.len(), operations.len());
        let schema = sample::schema();
        let written = transaction.operations.iter();
        let written: Vec<Value> = written
            .map(|operation| serde_json::to_value(operation.with(schema)).expect("plain data"))
            .collect();
        let again = sample::read(&written);
        assert_eq!(again.operations, transaction.operations);
    }
    execute(&transaction);
}

/// Executes a transaction, tells its outcome, and takes it back.
fn execute(transaction: &Transaction) {
    let schema = sample::schema();
    let mut database = sample::database();
    let before = sample::rows(&database);
    let Execution::Done(done) = database.execute(transaction, &Context::default()) else {
        assert_eq!(
            sample::rows(&database),
            before,
            "who waits has changed nothing"
        );
        return;
    };
    database
        .check_invariants()
        .expect("it leaves a sound database");
    let results = outcome_to_json(transaction.asked, &done.outcome);
    if transaction.error.is_none() {
        let read = outcome_from_json(schema, &transaction.operations, &results);
        assert!(read.is_ok(), "{results}: {read:?}");
    }
    if done.outcome.is_err() {
        assert_eq!(
            sample::rows(&database),
            before,
            "what fails has changed nothing"
        );
        return;
    }
    let after = sample::rows(&database);
    // Another member gets the effect as an entry of the log.
    let named = NamedResult {
        name: Uuid::from_u128(7),
        results: results.to_string().into(),
    };
    let entry = entry::encode(schema, Some(&named), &done.delta);
    let mut other = sample::database();
    let old = |table, uuid| other.row(table, uuid).cloned();
    let entry = entry::decode(schema, &entry, Turn::Next, old).expect("it was written by us");
    assert_eq!(entry.named, Some(named));
    other.apply(&entry.changes).expect("the delta fits");
    other.check_invariants().expect("as here");
    assert_eq!(sample::rows(&other), after);
    database.undo(&done.delta).expect("the newest delta");
    database.check_invariants().expect("as before");
    assert_eq!(sample::rows(&database), before);
}

/// A request to the gRPC door; the first byte says which.
pub fn grpc_requests(input: &[u8]) {
    let Some((&which, bytes)) = input.split_first() else {
        return;
    };
    let schema = sample::schema();
    let name = match which % 2 {
        0 => rpc::shared::TransactRequest::full_name(),
        _ => v1::MonitorRequest::full_name(),
    };
    let light = Scale::of_requests().check(&name, bytes);
    light.expect("so few bytes cannot weigh so much");
    if which % 2 == 0 {
        let Ok(request) = rpc::shared::TransactRequest::decode(bytes) else {
            return;
        };
        let mut next = 1000;
        let mut uuid = || {
            next += 1;
            Uuid::from_u128(next)
        };
        let operations = request.operations;
        let transaction = convert::transaction_from_proto(schema, operations, &mut uuid);
        let mut database = sample::database();
        if let Execution::Done(done) = database.execute(&transaction, &Context::default()) {
            let results = convert::outcome_to_proto(transaction.asked, &done.outcome);
            if transaction.error.is_none() {
                let read = convert::outcome_from_proto(schema, &transaction.operations, results);
                assert!(read.is_ok(), "it was written by us: {read:?}");
            }
        }
        execute(&transaction);
        return;
    }
    use v1::monitor_request::Kind;
    match v1::MonitorRequest::decode(bytes).map(|request| request.kind) {
        Ok(Some(Kind::Open(open))) => {
            // Whether it makes sense is not what this is about.
            let _ = convert::monitor_from_proto(schema, open.tables);
        }
        Ok(Some(Kind::Change(change))) => {
            let all = json!({"A": [{}], "B": [{}]});
            let spec = MonitorSpec::from_json(MonitorVersion::V3, schema, &all);
            let spec = spec.expect("it is right");
            let _ = convert::conditions_from_proto(schema, &spec, change.tables);
        }
        Ok(None) | Err(_) => {}
    }
}

/// What another member sends; the first byte says whether as a message or as parts of a snapshot.
pub fn raft_frames(input: &[u8]) {
    let Some((&which, bytes)) = input.split_first() else {
        return;
    };
    let schema: &Arc<_> = sample::schema();
    if which % 2 == 0 {
        if let Ok(frame) = v1::RaftFrame::decode(bytes)
            && let Ok(message) = peers::from_frame(schema, frame)
        {
            let written = peers::to_frame(schema, &message).encode_to_vec();
            let frame = v1::RaftFrame::decode(&written[..]).expect("it was written by us");
            peers::from_frame(schema, frame).expect("it was written by us");
        }
        return;
    }
    // Frames, each after its length in two bytes.
    let mut rest = bytes;
    let mut assembly = None;
    while let Some((&[low, high], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(more.len());
        let (bytes, more) = more.split_at(length);
        rest = more;
        let Ok(frame) = v1::SnapshotFrame::decode(bytes) else {
            return;
        };
        let last = match assembly.take() {
            None => {
                let Some(v1::snapshot_frame::Kind::Head(head)) = frame.kind else {
                    return;
                };
                match peers::Assembly::begin(head, 2) {
                    Ok(begun) => {
                        assembly = Some(begun);
                        Ok(false)
                    }
                    Err(error) => Err(error),
                }
            }
            Some(mut begun) => {
                let added = begun.add(schema, frame);
                assembly = Some(begun);
                added
            }
        };
        match last {
            Ok(false) => {}
            Ok(true) => {
                let whole = assembly.take().expect("it was begun").finish();
                // Whether the rows fit together is for the database to say.
                let rows = whole.content.rows.iter().cloned();
                let _ = table::Database::new(schema.clone()).load(rows);
                return;
            }
            Err(_) => return,
        }
    }
}
