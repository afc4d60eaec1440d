//! The wire to an OVSDB client: its connection, and how its updates begin.
//!
//! Two may write to a client: the task of its session, and whoever delivers an update that many
//! clients want. Which of them has the pen is the business of [`outputs`](crate::server::engine::outputs); here is
//! what they share.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ovsdb::Uuid;
use ovsdb::monitor::MonitorVersion;
use ovsdb::schema::DatabaseSchema;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::monitor::Update;
use crate::server::engine::outputs::{self, Written};
use crate::server::net::listen::Io;
use crate::session::MonitorId;

/// An update with more bytes is the business of the session's task: to write it takes long.
const MAX_BYTES: usize = 16 << 10;

/// The connection, and the monitors that the client has.
pub struct Wire(Mutex<Shared>);

struct Shared {
    io: Box<dyn Io>,
    monitors: FxHashMap<MonitorId, Head>,
}

/// How the updates of a monitor begin, and what their form is.
struct Head {
    bytes: Vec<u8>,
    version: MonitorVersion,
    schema: Arc<DatabaseSchema>,
}

impl Wire {
    /// A client without monitors.
    pub fn new(io: Box<dyn Io>) -> Self {
        let monitors = FxHashMap::default();
        Self(Mutex::new(Shared { io, monitors }))
    }

    /// The client has a monitor of this name now, or this is the new name of one.
    pub fn monitor(
        &self,
        id: MonitorId,
        name: &Value,
        version: MonitorVersion,
        schema: &Arc<DatabaseSchema>,
    ) {
        let method = version.update();
        let bytes = format!("{{\"id\":null,\"method\":\"{method}\",\"params\":[{name},");
        let head = Head {
            bytes: bytes.into_bytes(),
            version,
            schema: schema.clone(),
        };
        self.shared().monitors.insert(id, head);
    }

    /// A monitor is no more.
    pub fn forget(&self, id: MonitorId) {
        self.shared().monitors.remove(&id);
    }

    /// Appends the message of an update. None if there is no such monitor.
    pub fn encode(&self, id: MonitorId, state: Uuid, update: &Update, out: &mut Vec<u8>) {
        if let Some(head) = self.shared().monitors.get(&id) {
            head.encode(state, update, out);
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A task that panicked in here takes the connection with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    fn encode(&self, state: Uuid, update: &Update, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        if self.version == MonitorVersion::V3 {
            let mut buffer = Uuid::encode_buffer();
            out.push(b'"');
            out.extend_from_slice(state.hyphenated().encode_lower(&mut buffer).as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(update.to_json(&self.schema, self.version));
        out.extend_from_slice(b"]}");
    }
}

impl outputs::Writes for Wire {
    fn write(
        &self,
        monitor: MonitorId,
        state: Uuid,
        update: &Update,
        buffer: &mut Vec<u8>,
    ) -> Written {
        let mut shared = self.shared();
        let Shared { io, monitors } = &mut *shared;
        let Some(head) = monitors.get(&monitor) else {
            return Written::All;
        };
        if update.to_json(&head.schema, head.version).len() > MAX_BYTES {
            return Written::Nothing;
        }
        buffer.clear();
        head.encode(state, update, buffer);
        // Nobody waits here: if there is no room, the session's task will.
        let mut context = Context::from_waker(Waker::noop());
        let mut left = buffer.as_slice();
        while !left.is_empty() {
            match Pin::new(&mut *io).poll_write(&mut context, left) {
                Poll::Ready(Ok(count)) if count > 0 => left = &left[count..],
                // What is wrong, the session's task finds out as well.
                _ if left.len() == buffer.len() => return Written::Nothing,
                _ => return Written::Begun(left.to_vec()),
            }
        }
        match Pin::new(&mut *io).poll_flush(&mut context) {
            Poll::Ready(Ok(())) => Written::All,
            _ => Written::Begun(Vec::new()),
        }
    }
}

/// The connection, for the session's task.
pub struct OwnEnd(pub Arc<Wire>);

impl AsyncRead for OwnEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.shared().io).poll_read(context, buffer)
    }
}

impl AsyncWrite for OwnEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.shared().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.shared().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.shared().io).poll_shutdown(context)
    }
}
