//! A whole database server: the engine, its services and its listeners.

mod connections;
pub mod control;
mod listeners;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::ovsdb::Listen;
use ::ovsdb::schema::DatabaseSchema;
use tokio::sync::mpsc;

use self::listeners::Listeners;
use super::args::ServerArgs;
use super::engine::{self, Engine, EngineError};
use super::grpc::ClusterService;
use super::net::listen::{ListenError, Listener, allow_connections};
use super::peers::{
    self, Bootstrap, Cluster, ClusterError, Config, Local, Service, Start, Transport,
};
use crate::access::rule::ListenerConfig;
use crate::storage::{RedbStorage, Storage, StorageError};

/// So long the core may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server, or one that is about to run.
#[derive(Debug)]
pub struct Server {
    listen: Vec<ListenerConfig>,
    running: Arc<OnceLock<Running>>,
    /// The bootstrap, if the cluster is a new one.
    bootstrap: Option<Arc<Bootstrap>>,
    failures: mpsc::Receiver<String>,
}

/// What a server consists of when it runs.
#[derive(Debug)]
struct Running {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    listeners: Listeners,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
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
    /// Opens the database and all listeners. The only member of a cluster serves then; a member of
    /// several as soon as a majority of them runs; an initial member of a new cluster opens its
    /// listeners when all of them are there. `data_dir` and `listen` hold where the flags say
    /// nothing.
    pub async fn start(
        args: &ServerArgs,
        schema: &Arc<DatabaseSchema>,
        data_dir: &Path,
        listen: Listen,
    ) -> Result<Self, StartError> {
        let config = Config::new(args)?;
        keep_pages_small();
        let directory = args.data_dir.as_deref().unwrap_or(data_dir);
        let mut storage = RedbStorage::open(directory)?;
        let found = storage.load()?;
        let (failed, failures) = engine::failures();
        let mut starter = Starter {
            args: args.clone(),
            schema: schema.clone(),
            directory: directory.to_owned(),
            failed: failed.clone(),
        };
        if starter.args.listen.is_empty() {
            starter.args.listen.push(ListenerConfig::open(listen));
        }
        let mut server = Self {
            listen: starter.args.listen.clone(),
            running: Arc::default(),
            bootstrap: None,
            failures,
        };
        let Some(config) = config else {
            Config::check_alone(found.as_ref())?;
            starter.start(storage, None, &server.running).await?;
            return Ok(server);
        };
        let transport = Arc::new(Transport::new(args)?);
        let listener = transport.listen(&config.listen).await?;
        tracing::info!("listening for other members on {}", listener.place());
        let mut peers = Peers {
            service: Service::default(),
            transport,
            config,
        };
        let start = peers.config.start(found.as_ref())?;
        drop(found);
        if start == Start::Bootstrap {
            let bootstrap = Bootstrap::new(&peers.config, &schema.name, storage)?;
            let bootstrap = Arc::new(bootstrap);
            peers.service.bootstrap = Some(bootstrap.clone());
            server.bootstrap = Some(bootstrap.clone());
            tokio::spawn(peers::serve(
                peers.service.clone(),
                peers.transport.clone(),
                listener,
            ));
            let running = server.running.clone();
            tokio::spawn(async move {
                if let Err(error) = starter.bootstrap(&bootstrap, peers, &running).await {
                    // When nobody listens, the process is about to end.
                    let _ = failed.try_send(error.to_string());
                }
            });
            return Ok(server);
        }
        if start == Start::Join {
            peers::join(&peers.config, &peers.transport, &mut storage, &schema.name).await?;
        }
        tokio::spawn(peers::serve(
            peers.service.clone(),
            peers.transport.clone(),
            listener,
        ));
        starter.start(storage, Some(peers), &server.running).await?;
        Ok(server)
    }

    /// Carries out a command of [`control::COMMANDS`].
    pub async fn control(&self, command: &str, args: &[String]) -> Result<String, String> {
        match (self.running.get(), &self.bootstrap) {
            (Some(running), _) => {
                let Running {
                    engine,
                    cluster,
                    listeners,
                } = running;
                control::handle(engine, cluster, &listeners.remotes(), command, args).await
            }
            (None, Some(bootstrap)) => Err(bootstrap.summary()),
            (None, None) => Err("the server is about to start".to_owned()),
        }
    }

    /// What somebody can look at who watches over the server.
    pub fn watcher(&self) -> Watcher {
        Watcher {
            running: self.running.clone(),
        }
    }

    /// Waits for the failure that ends the server. There may never be one.
    pub async fn failed(&mut self) -> String {
        let failure = self.failures.recv().await;
        failure.unwrap_or_else(|| "the store ended".to_owned())
    }

    /// Ends in good order: everything that was answered, and more, is on disk then. Blocks.
    pub fn stop(self) {
        for listen in &self.listen {
            if let Listen::Unix { path, .. } = &listen.listen {
                // A socket that is left behind is taken over at the next start.
                let _ = std::fs::remove_file(path);
            }
        }
        if let Some(running) = self.running.get() {
            running.engine.stop();
        }
    }
}

/// The pages of a server for those who watch over it.
#[derive(Clone, Debug)]
pub struct Watcher {
    running: Arc<OnceLock<Running>>,
}

impl Watcher {
    /// The pages that there are.
    pub const PAGES: [&'static str; 3] = ["/metrics", "/healthz", "/readyz"];

    /// A page: status code, media type, and text; nothing if there is no such page.
    ///
    /// * `/healthz` is 200 as long as the server does its work: a process that is not well should be started anew.
    /// * `/readyz` is 200 if the server can serve clients: if it knows who leads.
    pub async fn page(&self, path: &str) -> Option<(u16, &'static str, String)> {
        const TEXT: &str = "text/plain; charset=utf-8";
        let text = |status, text: &str| Some((status, TEXT, format!("{text}\n")));
        let running = self.running.get();
        let asked = async {
            match running {
                Some(running) => running.engine.render_metrics().await.ok(),
                None => None,
            }
        };
        match (path, running) {
            ("/metrics", Some(_)) => match asked.await {
                Some(metrics) => Some((200, crate::metrics::CONTENT_TYPE, metrics)),
                None => text(503, "the server is shutting down"),
            },
            ("/healthz", Some(_)) => match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Some(_)) => text(200, "ok"),
                Ok(None) => text(503, "the server is shutting down"),
                Err(_) => text(503, "the core does not answer"),
            },
            ("/readyz", Some(running)) => match *running.engine.ready.borrow() {
                true => text(200, "ok"),
                false => text(503, "no member is known to lead"),
            },
            ("/healthz", None) => text(200, "waiting for the other initial members"),
            ("/metrics" | "/readyz", None) => text(503, "waiting for the other initial members"),
            _ => None,
        }
    }
}

/// The connections to other members.
struct Peers {
    service: Service,
    transport: Arc<Transport>,
    config: Config,
}

/// What it takes to start.
struct Starter {
    args: ServerArgs,
    schema: Arc<DatabaseSchema>,
    directory: PathBuf,
    failed: mpsc::Sender<String>,
}

impl Starter {
    /// Starts when all initial members know each other.
    async fn bootstrap(
        &self,
        bootstrap: &Bootstrap,
        peers: Peers,
        running: &OnceLock<Running>,
    ) -> Result<(), StartError> {
        let storage = bootstrap.complete(&peers.transport).await?;
        self.start(storage, Some(peers), running).await
    }

    /// Starts the engine, the connections to other members, and all listeners.
    async fn start(
        &self,
        storage: RedbStorage,
        peers: Option<Peers>,
        running: &OnceLock<Running>,
    ) -> Result<(), StartError> {
        let (outbox, outgoing) = engine::outbox();
        let failed = self.failed.clone();
        let storage = Box::new(storage);
        let engine = Engine::start(storage, self.schema.clone(), outbox, failed).await?;
        let engine = Arc::new(engine);
        tracing::info!(
            "database {} in {}, cluster {}, server {}",
            engine.identity.database,
            self.directory.display(),
            engine.identity.cluster,
            engine.identity.server,
        );
        let transport = peers.as_ref().map(|peers| peers.transport.clone());
        let cluster = Arc::new(Cluster::new(engine.clone(), transport));
        if let Some(peers) = peers {
            let local = Local::new(engine.clone(), self.schema.clone(), peers.transport);
            let local = Arc::new(local);
            // Nobody else sets it.
            let _ = peers.service.running.set((local.clone(), cluster.clone()));
            tokio::spawn(peers::distribute(local, outgoing));
            let explicit = self.args.peer_address.is_some();
            let reached = peers.config.reached().ok();
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.announce(reached, explicit).await });
        }
        let listeners = self.open_listeners(&engine, &cluster).await?;
        let files = self.args.tls_files();
        tokio::spawn(connections::follow(
            engine.clone(),
            listeners.clone(),
            files,
        ));
        // Nobody else sets it.
        let _ = running.set(Running {
            engine,
            cluster,
            listeners,
        });
        Ok(())
    }

    /// Opens all listeners that the flags name, or none.
    async fn open_listeners(
        &self,
        engine: &Arc<Engine>,
        cluster: &Arc<Cluster>,
    ) -> Result<Listeners, ListenError> {
        let args = &self.args;
        allow_connections();
        let files = args.tls_files();
        let mut opened = Vec::new();
        for config in &args.listen {
            opened.push(Listener::open(config, args.plaintext, &files).await?);
        }
        let service = ClusterService::new(engine.clone(), cluster.clone());
        let listeners = Listeners::new(engine.clone(), service);
        for listener in opened {
            listeners.serve(listener);
        }
        Ok(listeners)
    }
}

/// Asks for no huge pages: rows come and go one by one, and a freed page that is part of a huge one
/// stays with the process. A database takes a third less memory without them.
fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("transparent huge pages stay: {error}");
    }
}
