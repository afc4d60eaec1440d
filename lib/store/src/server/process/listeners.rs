//! The listeners, and the services behind them, for each protocol.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::ovsdb::Listen;
use ::ovsdb::remote::Protocol;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::server::engine::Engine;
use crate::server::grpc::ClusterService;
use crate::server::net::listen::{Connection, Listener, MAX_CONNECTIONS};
use crate::server::{grpc, ovsdb};

/// Both services of a server, for all of its listeners.
#[derive(Clone)]
pub struct Listeners {
    engine: Arc<Engine>,
    /// The gRPC services.
    calls: Arc<dyn Fn(Connection) + Send + Sync>,
    /// The places of all clients together.
    places: Arc<Semaphore>,
    /// Where the listeners that are open listen, in the order in which they were opened.
    open: Arc<Mutex<BTreeMap<u64, String>>>,
    opened: Arc<AtomicU64>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Listeners({:?})", self.remotes())
    }
}

/// A listener that is open, and its connections. They end when this is dropped.
#[derive(Debug)]
pub struct Opened {
    listeners: Listeners,
    number: u64,
    listen: Listen,
    accepting: JoinHandle<()>,
    /// LeaderGate for the connections.
    tie: Option<watch::Sender<()>>,
}

impl Listeners {
    /// The services of an engine.
    pub fn new(engine: Arc<Engine>, cluster: ClusterService) -> Self {
        Self {
            calls: Arc::new(grpc::start(engine.clone(), cluster)),
            engine,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            open: Arc::default(),
            opened: Arc::default(),
        }
    }

    /// Where the server listens.
    pub fn remotes(&self) -> Vec<String> {
        self.open().values().cloned().collect()
    }

    /// Serves a listener until the process ends.
    pub fn serve(&self, listener: Listener) {
        self.accept(listener);
    }

    /// Serves a listener until the answer is dropped.
    pub fn serve_for_now(&self, mut listener: Listener) -> Opened {
        let listen = listener.listen.clone();
        let tie = Some(listener.tie());
        let (number, accepting) = self.accept(listener);
        Opened {
            listeners: self.clone(),
            number,
            listen,
            accepting,
            tie,
        }
    }

    fn accept(&self, listener: Listener) -> (u64, JoinHandle<()>) {
        let place = listener.place();
        tracing::info!("listening on {place}");
        if let (Some(port), Protocol::Ovsdb) = (listener.port(), listener.listen.protocol()) {
            // Where Open vSwitch's servers tell it, and how: scripts that let the system choose the port look for this line.
            let given = listener.listen.to_string();
            let (_, given) = given.split_once(':').unwrap_or_default();
            tracing::info!(target: "socket_util", "{given}: listening on port {port}");
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        self.open().insert(number, place);
        let places = self.places.clone();
        let accepting = match listener.listen.protocol() {
            Protocol::Ovsdb => {
                let engine = self.engine.clone();
                let serve = move |connection| {
                    tokio::spawn(ovsdb::serve(engine.clone(), connection));
                };
                tokio::spawn(listener.accept(places, serve))
            }
            Protocol::Grpc => {
                let calls = self.calls.clone();
                let serve = move |connection| calls(connection);
                tokio::spawn(listener.accept(places, serve))
            }
        };
        (number, accepting)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Closes the listener, so that another can take its place. Its connections end when the answer is dropped.
    pub async fn close(mut self) -> Option<watch::Sender<()>> {
        self.accepting.abort();
        // It ends by being aborted; when it has, the socket is closed.
        let _ = (&mut self.accepting).await;
        self.tie.take()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.accepting.abort();
        let place = self.listeners.open().remove(&self.number);
        tracing::info!("no longer listening on {}", place.unwrap_or_default());
        if let Listen::Unix { path, .. } = &self.listen {
            // A socket that is left behind is taken over by whoever listens there next.
            let _ = std::fs::remove_file(path);
        }
    }
}
