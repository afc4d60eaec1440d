//! What members say to each other, as protobuf messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::operation::{Operations, operations_to_text};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Error, RowChange, Transaction, Uuid};
use rpc::v1;
use serde_json::Value;

use crate::caller::{Caller, Role};
use crate::entry::{self, EntryError, NamedResult, Turn};
use crate::peer::{Answer, Answered, Call, Content, Forward, PeerMessage, Snapshot};
use crate::raft::convert::{self, WireError};
use crate::session::SessionId;
use crate::storage::{LogPosition, Membership};

/// So many rows, or names, a frame of a snapshot has.
const ROWS_PER_FRAME: usize = 512;

/// It takes long to read operations of so many bytes.
const LARGE_BYTES: usize = 64 << 10;

/// Why a frame makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A part of it is missing or wrong.
    #[error("the field {0} of a frame is missing or makes no sense")]
    Field(&'static str),
    /// Raft's message.
    #[error(transparent)]
    Raft(#[from] WireError),
    /// Rows.
    #[error("rows of a snapshot: {0}")]
    Rows(#[from] EntryError),
    /// It comes at the wrong place.
    #[error("{0}")]
    Order(&'static str),
}

/// A message as a frame.
pub fn to_frame(schema: &DatabaseSchema, message: &PeerMessage) -> v1::RaftFrame {
    use v1::raft_frame::Kind;
    let kind = match message {
        PeerMessage::Raft(message) => Kind::Message(convert::to_wire(message)),
        PeerMessage::Forward(forward) => Kind::Forward(forward_to_wire(schema, forward)),
        PeerMessage::Cancel(call) => Kind::Cancel(call_to_wire(*call)),
        PeerMessage::Answer(answer) => Kind::Answer(answer_to_wire(answer)),
    };
    v1::RaftFrame { kind: Some(kind) }
}

/// Whether it takes long to read the frame.
pub fn is_large(frame: &v1::RaftFrame) -> bool {
    use v1::raft_frame::Kind;
    matches!(&frame.kind, Some(Kind::Forward(forward)) if forward.operations.len() >= LARGE_BYTES)
}

/// A message from a frame.
pub fn from_frame(
    schema: &DatabaseSchema,
    frame: v1::RaftFrame,
) -> Result<PeerMessage, FrameError> {
    use v1::raft_frame::Kind;
    Ok(match frame.kind.ok_or(FrameError::Field("kind"))? {
        Kind::Hello(_) => return Err(FrameError::Order("a stream has one greeting only")),
        Kind::Message(message) => PeerMessage::Raft(convert::from_wire(message)?),
        Kind::Forward(forward) => {
            PeerMessage::Forward(Box::new(forward_from_wire(schema, &forward)?))
        }
        Kind::Cancel(call) => PeerMessage::Cancel(call_from_wire(Some(call))?),
        Kind::Answer(answer) => PeerMessage::Answer(answer_from_wire(answer)?),
    })
}

fn call_to_wire(call: Call) -> v1::Call {
    v1::Call {
        process: call.process,
        number: call.number,
    }
}

fn call_from_wire(call: Option<v1::Call>) -> Result<Call, FrameError> {
    let call = call.ok_or(FrameError::Field("call"))?;
    Ok(Call {
        process: call.process,
        number: call.number,
    })
}

fn forward_to_wire(schema: &DatabaseSchema, forward: &Forward) -> v1::Forward {
    let transaction = &forward.transaction;
    let error = transaction.error.as_ref();
    v1::Forward {
        call: Some(call_to_wire(forward.call)),
        name: forward.name.as_bytes().to_vec(),
        since: forward.since,
        waited_ms: forward.waited_ms,
        operations: operations_to_text(schema, &transaction.operations),
        asked: transaction.asked as u64,
        error: error.map_or(Vec::new(), |error| error.to_json().to_string().into_bytes()),
        role: forward.caller.role.name().to_owned(),
        caller: forward.caller.name.to_string(),
        term: forward.term,
        sending: forward.sending,
        session: forward.session.0,
    }
}

fn forward_from_wire(
    schema: &DatabaseSchema,
    forward: &v1::Forward,
) -> Result<Forward, FrameError> {
    let operations = std::str::from_utf8(&forward.operations).ok();
    let operations = operations.and_then(|text| Operations::of_array(text).ok());
    let operations = operations.ok_or(FrameError::Field("operations"))?;
    let mut transaction = Transaction::read(schema, &operations, &mut Uuid::new_v4);
    if !forward.error.is_empty() && transaction.error.is_none() {
        let wrong = |_| FrameError::Field("error");
        let error: Value = serde_json::from_slice(&forward.error).map_err(wrong)?;
        transaction.error = Some(Error::from_json(&error));
    }
    transaction.asked = usize::try_from(forward.asked).map_err(|_| FrameError::Field("asked"))?;
    if transaction.asked < operations.len() {
        return Err(FrameError::Field("asked"));
    }
    Ok(Forward {
        call: call_from_wire(forward.call)?,
        name: Uuid::from_slice(&forward.name).map_err(|_| FrameError::Field("name"))?,
        since: forward.since,
        waited_ms: forward.waited_ms,
        caller: Caller::new(Role::from_name(&forward.role), &forward.caller),
        term: forward.term,
        sending: forward.sending,
        session: SessionId(forward.session),
        transaction,
    })
}

fn answer_to_wire(answer: &Answer) -> v1::Answer {
    use v1::answer::Result;
    let result = match &answer.result {
        Answered::Done {
            results,
            index,
            commit,
        } => Result::Executed(v1::Executed {
            results: results.to_vec(),
            index: *index,
            commit: *commit,
        }),
        Answered::NotLeader => Result::NotLeader(true),
        Answered::Refused(error) => Result::Refused(error.to_json().to_string().into_bytes()),
    };
    v1::Answer {
        call: Some(call_to_wire(answer.call)),
        sending: answer.sending,
        result: Some(result),
    }
}

fn answer_from_wire(answer: v1::Answer) -> Result<Answer, FrameError> {
    use v1::answer::Result;
    let result = match answer.result.ok_or(FrameError::Field("result"))? {
        Result::Executed(executed) => Answered::Done {
            results: executed.results.into(),
            index: executed.index,
            commit: executed.commit,
        },
        Result::NotLeader(_) => Answered::NotLeader,
        Result::Refused(error) => {
            let wrong = |_| FrameError::Field("refused");
            let error: Value = serde_json::from_slice(&error).map_err(wrong)?;
            Answered::Refused(Error::from_json(&error))
        }
    };
    Ok(Answer {
        call: call_from_wire(answer.call)?,
        sending: answer.sending,
        result,
    })
}

/// Where members are reached, and which servers they are.
pub fn members_to_wire(members: &Membership) -> Vec<v1::MemberAddress> {
    let addresses = members.addresses.iter().map(|(member, _)| *member);
    let servers = members.servers.iter().map(|(member, _)| *member);
    let known: BTreeSet<u64> = addresses.chain(servers).collect();
    let known = known.into_iter();
    known
        .map(|member| v1::MemberAddress {
            member,
            address: members.address(member).unwrap_or_default().to_owned(),
            server_id: members.server(member).map_or(Vec::new(), bytes_of),
        })
        .collect()
}

/// Where members are reached, and which servers they are; nothing else.
pub fn members_from_wire(wire: Vec<v1::MemberAddress>) -> Result<Membership, FrameError> {
    let mut members = Membership::default();
    for of in wire {
        if let Some(server) = server_from_wire(&of.server_id)? {
            members.servers.push((of.member, server));
        }
        if !of.address.is_empty() {
            members.addresses.push((of.member, of.address));
        }
    }
    Ok(members)
}

/// Which server a member is, if it is said.
pub fn server_from_wire(bytes: &[u8]) -> Result<Option<Uuid>, FrameError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let server = Uuid::from_slice(bytes);
    server.map(Some).map_err(|_| FrameError::Field("server_id"))
}

/// A UUID for the wire.
pub fn bytes_of(uuid: Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

/// Cuts a snapshot into frames, one after the other, as long as they are taken.
pub fn snapshot_frames(
    hello: v1::RaftHello,
    schema: &DatabaseSchema,
    snapshot: &Snapshot,
    send: &mut dyn FnMut(v1::SnapshotFrame) -> Result<(), ()>,
) -> Result<(), ()> {
    use v1::snapshot_frame::Kind;
    let mut send = |kind| send(v1::SnapshotFrame { kind: Some(kind) });
    let content = &snapshot.content;
    send(Kind::Head(v1::SnapshotHead {
        hello: Some(hello),
        message: Some(convert::to_wire(&snapshot.message)),
        addresses: members_to_wire(&content.membership),
        members_since: content.membership.since,
        data_index: content.data_index,
    }))?;
    for rows in content.rows.chunks(ROWS_PER_FRAME) {
        let rows = rows.iter().map(|(table, uuid, row)| RowChange {
            table: *table,
            uuid: *uuid,
            old: None,
            new: Some(row.clone()),
        });
        let rows: Vec<RowChange> = rows.collect();
        send(Kind::Rows(entry::encode(schema, None, &rows)))?;
    }
    for names in content.names.chunks(ROWS_PER_FRAME) {
        let names = names.iter().map(|(index, named)| v1::NamedAnswer {
            name: named.name.as_bytes().to_vec(),
            index: *index,
            results: named.results.to_vec(),
        });
        let names = names.collect();
        send(Kind::Names(v1::SnapshotNames { names }))?;
    }
    send(Kind::End(v1::SnapshotEnd {
        rows: content.rows.len() as u64,
        names: content.names.len() as u64,
    }))
}

/// A snapshot that arrives frame by frame.
#[derive(Debug)]
pub struct Assembly {
    message: crate::raft::Message,
    content: Content,
}

impl Assembly {
    /// Begins with the first frame; `from` sends it.
    pub fn begin(head: v1::SnapshotHead, from: u64) -> Result<Self, FrameError> {
        let message = head.message.ok_or(FrameError::Field("message"))?;
        let message = convert::from_wire(message)?;
        let known = members_from_wire(head.addresses)?;
        let metadata = message.get_snapshot().get_metadata();
        let content = Content {
            position: LogPosition {
                index: metadata.index,
                term: metadata.term,
            },
            membership: Membership {
                since: head.members_since,
                addresses: known.addresses,
                servers: known.servers,
                ..convert::members_from_raft(metadata.get_conf_state())
            },
            data_index: head.data_index,
            ..Content::default()
        };
        if message.from != from || content.position.index == 0 {
            return Err(FrameError::Field("message"));
        }
        Ok(Self { message, content })
    }

    /// Adds a frame; true if it was the last.
    pub fn add(
        &mut self,
        schema: &DatabaseSchema,
        frame: v1::SnapshotFrame,
    ) -> Result<bool, FrameError> {
        use v1::snapshot_frame::Kind;
        match frame.kind.ok_or(FrameError::Field("kind"))? {
            Kind::Head(_) => return Err(FrameError::Order("a snapshot has one head only")),
            Kind::Rows(bytes) => {
                let read = entry::decode(schema, &bytes, Turn::Next, |_, _| None)?;
                for change in read.changes {
                    let row = change.new.ok_or(FrameError::Field("rows"))?;
                    self.content.rows.push((change.table, change.uuid, row));
                }
            }
            Kind::Names(names) => {
                for named in names.names {
                    let name = Uuid::from_slice(&named.name);
                    let name = name.map_err(|_| FrameError::Field("name"))?;
                    let results = named.results.into();
                    let named_result = NamedResult { name, results };
                    self.content.names.push((named.index, named_result));
                }
            }
            Kind::End(end) => {
                let (rows, names) = (self.content.rows.len(), self.content.names.len());
                if (end.rows, end.names) != (rows as u64, names as u64) {
                    return Err(FrameError::Order("a part of the snapshot is missing"));
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many rows have arrived.
    pub fn rows(&self) -> usize {
        self.content.rows.len()
    }

    /// The whole.
    pub fn finish(self) -> Snapshot {
        Snapshot {
            message: self.message,
            content: Arc::new(self.content),
        }
    }
}
