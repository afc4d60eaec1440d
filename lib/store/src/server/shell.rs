//! A whole database server: the engine and its doors.

use std::path::Path;
use std::sync::Arc;

use ::ovsdb::Listen;
use ::ovsdb::remote::Protocol;
use ::ovsdb::schema::DatabaseSchema;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::args::ServerArgs;
use super::control;
use super::engine::{Engine, EngineError};
use super::listen::{ListenError, Listener, MAX_CONNECTIONS, allow_connections};
use super::peers::{self, ClusterError, Local};
use super::{grpc, ovsdb};
use crate::storage::{RedbStorage, StorageError};

/// A running server.
#[derive(Debug)]
pub struct Server {
    engine: Arc<Engine>,
    listen: Vec<Listen>,
    remotes: Vec<String>,
    failures: mpsc::UnboundedReceiver<String>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The address for other members.
    #[error("--peer-listen {address}: {error}")]
    PeerListen {
        /// What was asked for.
        address: String,
        /// Why it cannot be.
        error: std::io::Error,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Server {
    /// Opens the database and, when it serves, all listeners. `data_dir` and `listen` hold where
    /// the flags say nothing.
    pub async fn start(
        args: &ServerArgs,
        schema: &Arc<DatabaseSchema>,
        data_dir: &Path,
        listen: Listen,
    ) -> Result<Self, StartError> {
        let config = peers::Config::new(args)?;
        let directory = args.data_dir.as_deref().unwrap_or(data_dir);
        let mut storage = RedbStorage::open(directory)?;
        let mut peer_listener = None;
        match &config {
            Some(config) => {
                let listener = TcpListener::bind(&config.listen).await;
                let listener = listener.map_err(|error| StartError::PeerListen {
                    address: config.listen.clone(),
                    error,
                })?;
                peer_listener = Some(listener);
                config.prepare(&mut storage, &schema.name).await?;
            }
            None => peers::Config::check_alone(&storage)?,
        }
        let (sender, failures) = mpsc::unbounded_channel();
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let engine = Engine::start(Box::new(storage), schema.clone(), outbox, sender).await?;
        tracing::info!(
            "database {} in {}, cluster {}, server {}",
            engine.identity.database,
            directory.display(),
            engine.identity.cluster,
            engine.identity.server,
        );
        let engine = Arc::new(engine);
        if let Some(listener) = peer_listener {
            let local = Arc::new(Local {
                identity: engine.identity.clone(),
                schema: schema.clone(),
                engine: engine.clone(),
            });
            let membership = engine.membership.clone();
            tokio::spawn(peers::distribute(local.clone(), membership, outgoing));
            tokio::spawn(peers::serve(local, listener));
        }
        let mut server = Self {
            engine,
            listen: args.listen.clone(),
            remotes: Vec::new(),
            failures,
        };
        if server.listen.is_empty() {
            server.listen.push(listen);
        }
        server.open_doors(args).await?;
        Ok(server)
    }

    /// Carries out a command of [`control::COMMANDS`].
    pub async fn control(&self, command: &str, args: &[String]) -> Result<String, String> {
        control::handle(&self.engine, &self.remotes, command, args).await
    }

    /// Waits for the failure that ends the server. There may never be one.
    pub async fn failed(&mut self) -> String {
        let failure = self.failures.recv().await;
        failure.unwrap_or_else(|| "the store ended".to_owned())
    }

    /// Ends in good order: everything that was answered, and more, is on disk then. Blocks.
    pub fn stop(self) {
        for listen in &self.listen {
            if let Listen::Unix { path, .. } = listen {
                // A socket that is left behind is taken over at the next start.
                let _ = std::fs::remove_file(path);
            }
        }
        self.engine.stop();
    }

    /// Opens all listeners, or none.
    async fn open_doors(&mut self, args: &ServerArgs) -> Result<(), ListenError> {
        allow_connections();
        let files = args.tls_files();
        let mut listeners = Vec::new();
        for listen in &self.listen {
            let alpn: &[&[u8]] = match listen.protocol() {
                Protocol::Ovsdb => &[],
                Protocol::Grpc => &[b"h2"],
            };
            listeners.push(Listener::open(listen, args.plaintext, &files, alpn).await?);
        }
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let calls = grpc::start(self.engine.clone());
        for listener in listeners {
            let place = listener.place();
            tracing::info!("listening on {place}");
            self.remotes.push(place);
            let places = places.clone();
            match listener.listen.protocol() {
                Protocol::Ovsdb => {
                    let engine = self.engine.clone();
                    let door = move |connection| {
                        tokio::spawn(ovsdb::serve(engine.clone(), connection));
                    };
                    tokio::spawn(listener.accept(places, door));
                }
                Protocol::Grpc => {
                    let calls = calls.clone();
                    // Nobody takes connections any more when the process ends.
                    let door = move |connection| drop(calls.send(connection));
                    tokio::spawn(listener.accept(places, door));
                }
            }
        }
        Ok(())
    }
}
