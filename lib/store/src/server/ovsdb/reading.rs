//! What a message of a client says, as far as that can be told without knowing its session: so that a large message
//! can be read in another place than the session's task, see [`crate::server::limits::workers`].

use ovsdb::jsonrpc::{Message, MessageError};
use ovsdb::monitor::MonitorSpec;
use ovsdb::request::Request as Call;
use ovsdb::{Error, ErrorKind, Transaction, Uuid};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::event::Request;
use crate::server::databases::Databases;
use crate::server::limits::cost::Cost;
use crate::session::{Consistency, DatabaseId, SessionId};

/// A message, read.
#[derive(Debug)]
pub enum Said {
    /// A request, which wants an answer.
    Call {
        /// What the client calls it.
        id: Value,
        /// How large the message was.
        bytes: usize,
        /// What it asks for, or what is wrong with it.
        call: Result<Asked, Error>,
    },
    /// The client takes back the request of this name.
    Cancel(Value),
    /// Nothing that anything is to be done about.
    Nothing,
}

/// What a request asks for.
#[derive(Debug)]
pub enum Asked {
    /// What is answered with this.
    Answer(Box<RawValue>),
    /// What the core does, without anybody else knowing of it, and what that may cost.
    Request(Request, Cost),
    /// A new monitor.
    Monitor {
        /// What the client calls it.
        name: Value,
        /// Of which database.
        database: DatabaseId,
        /// What it wants.
        spec: MonitorSpec,
        /// The transaction up to which it knows everything.
        since: Option<Uuid>,
    },
    /// Other conditions for a monitor.
    ChangeMonitor {
        /// What it is called.
        monitor: Value,
        /// What it is called from then on.
        renamed: Value,
        /// The conditions, unread.
        tables: Value,
    },
    /// The end of the monitor of this name.
    CancelMonitor(Value),
}

impl Asked {
    fn request(request: Request) -> Self {
        let cost = Cost::of(&request);
        Self::Request(request, cost)
    }

    fn answer(result: &Value) -> Self {
        let raw = serde_json::value::to_raw_value(result);
        Self::Answer(raw.expect("a value is JSON"))
    }
}

/// Reads a message of a session.
///
/// # Errors
/// When it is no message of the protocol.
pub fn read(databases: &Databases, session: SessionId, frame: &[u8]) -> Result<Said, MessageError> {
    Ok(match Message::parse(frame)? {
        Message::Request { id, method, params } => Said::Call {
            id,
            bytes: frame.len(),
            call: Call::parse(&method, params).and_then(|call| asked(databases, session, call)),
        },
        Message::Notification { method, params } => match Call::parse(&method, params) {
            Ok(Call::Cancel { id }) => Said::Cancel(id),
            _ => Said::Nothing,
        },
        // Only the answers to probes come here.
        Message::Response { .. } => Said::Nothing,
    })
}

fn asked(databases: &Databases, session: SessionId, call: Call<'_>) -> Result<Asked, Error> {
    let lock = |name: String, steal| {
        let name = name.into();
        Asked::request(Request::Lock { name, steal })
    };
    Ok(match call {
        Call::ListDbs => Asked::answer(&json!(databases.names())),
        Call::GetSchema { database } => {
            let schema = &databases.named(&database)?.schema_json;
            let text = std::str::from_utf8(schema).expect("JSON is UTF-8");
            Asked::Answer(RawValue::from_string(text.to_owned()).expect("it is JSON"))
        }
        Call::Transact {
            database,
            operations,
        } => {
            let served = databases.named(&database)?;
            let transaction = Transaction::read(&served.schema, &operations, &mut Uuid::new_v4);
            Asked::request(Request::Transact {
                database: served.id,
                transaction,
                name: None,
                lock_holders: vec![session],
                consistency: Consistency::default(),
            })
        }
        Call::Monitor {
            version,
            database,
            monitor,
            tables,
            last_transaction,
        } => {
            let served = databases.named(&database)?;
            Asked::Monitor {
                name: monitor,
                database: served.id,
                spec: MonitorSpec::from_json(version, &served.schema, &tables)?,
                since: last_transaction.filter(|since| !since.is_nil()),
            }
        }
        Call::MonitorCondChange {
            monitor,
            renamed,
            tables,
        } => Asked::ChangeMonitor {
            monitor,
            renamed,
            tables,
        },
        Call::MonitorCancel { monitor } => Asked::CancelMonitor(monitor),
        Call::Lock { lock: name } => lock(name, false),
        Call::Steal { lock: name } => lock(name, true),
        Call::Unlock { lock } => Asked::request(Request::Unlock { name: lock.into() }),
        Call::Echo { params } => Asked::answer(&params),
        Call::SetDbChangeAware { .. } => Asked::answer(&json!({})),
        Call::GetServerId => Asked::answer(&json!(databases.process)),
        Call::Cancel { .. } => return Err(Error::syntax("cancel should be a notification.")),
        Call::Convert { database, schema } => convert(databases, &database, &schema)?,
    })
}

/// The schema comes with the server, so that there is nothing to convert; to the version that it
/// has, that is done already.
fn convert(databases: &Databases, database: &str, schema: &Value) -> Result<Asked, Error> {
    let served = databases.named(database)?;
    let (name, version) = (&schema["name"], &schema["version"]);
    if name.as_str() != Some(&*served.schema.name) {
        return Err(Error::syntax(format!(
            "This is a schema of {name}, not of {database}."
        )));
    }
    if version.as_str() == Some(&*served.schema.version) {
        return Ok(Asked::answer(&json!({})));
    }
    Err(Error::new(
        ErrorKind::NotSupported,
        format!(
            "The schema comes with the server, and is of version {}. For version {version}, run \
             the servers of a version of Weft that has it, one after the other; for a database \
             file with an older schema, export with --schema.",
            served.schema.version
        ),
    ))
}
