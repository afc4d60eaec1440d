//! Listening sockets, and what comes in through them.
//!
//! A connection is accepted, counted, brought through its TLS handshake if it needs one, and
//! handed to its door. A client that dawdles in the handshake loses its place; nobody waits for
//! it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ovsdb::Listen;
use ovsdb::remote::Security;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::tls::{Files, TlsError};
use crate::access::Caller;
use crate::access::rule::{Door, Rule, Subject};

/// So many clients may be connected at a time, all listeners together.
pub const MAX_CONNECTIONS: usize = 16_384;
/// So long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept, mostly for want of file descriptors, the listener rests so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The owner and the group may connect.
const SOCKET_MODE: u32 = 0o770;

/// Files that the server has open besides its clients' connections, at most.
const OTHER_FILES: u64 = 256;

/// Lets the process have as many files open as [`MAX_CONNECTIONS`] need, or as many as it may.
pub fn allow_connections() {
    let wanted = MAX_CONNECTIONS as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit {
        current: Some(allowed),
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) if allowed == wanted => {}
        Ok(()) => tracing::info!(
            "only {allowed} files may be open; for {MAX_CONNECTIONS} clients raise the limit to \
             {wanted} (LimitNOFILE in a service unit)"
        ),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
}

/// A stream of bytes to a client.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client's connection.
pub struct Connection {
    /// The bytes.
    pub io: Box<dyn Io>,
    /// Who it is, for the log.
    pub peer: String,
    /// Whom its certificate is for.
    pub subject: Subject,
    /// What it may do.
    pub caller: Caller,
    /// Whether it can break without anybody noticing, as TCP can.
    pub probe: bool,
    /// Its place among [`MAX_CONNECTIONS`].
    pub permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection({})", self.peer)
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// TCP without TLS was not asked for.
    #[error(
        "{0}: TCP without TLS lets everybody on the network read and change the database; \
         give --plaintext if that is intended, or use TLS"
    )]
    Plaintext(Listen),
    /// The certificates.
    #[error("{listen}: {error}")]
    Tls {
        /// The listener.
        listen: Listen,
        /// What is wrong.
        error: TlsError,
    },
    /// The operating system refused.
    #[error("{listen}: {error}")]
    Io {
        /// The listener.
        listen: Listen,
        /// Why.
        error: io::Error,
    },
}

/// A listener, opened.
pub struct Listener {
    /// What was asked for.
    pub listen: Listen,
    /// Who its clients are.
    rule: Rule,
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Listener({})", self.listen)
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens a listener. `alpn` as in [`Files::server_config`].
    pub async fn open(
        Door { listen, rule }: &Door,
        plaintext: bool,
        files: &Files,
        alpn: &[&[u8]],
    ) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Io {
            listen: listen.clone(),
            error,
        };
        let mut tls = None;
        let socket = match listen {
            Listen::Unix { path, .. } => Socket::Unix(open_unix(path).map_err(failed)?),
            Listen::Tcp {
                address,
                port,
                security,
                ..
            } => {
                match security {
                    Security::Plain if !plaintext => {
                        return Err(ListenError::Plaintext(listen.clone()));
                    }
                    Security::Plain => {}
                    Security::Tls => {
                        let config =
                            files
                                .server_config(alpn)
                                .map_err(|error| ListenError::Tls {
                                    listen: listen.clone(),
                                    error,
                                })?;
                        tls = Some(TlsAcceptor::from(config));
                    }
                }
                let address = SocketAddr::new(*address, *port);
                Socket::Tcp(TcpListener::bind(address).await.map_err(failed)?)
            }
        };
        Ok(Self {
            listen: listen.clone(),
            rule: rule.clone(),
            socket,
            tls,
        })
    }

    /// Where it listens, for messages: with the port that the system chose, if it did.
    pub fn place(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("{} ({address})", self.listen),
                Err(_) => self.listen.to_string(),
            },
            Socket::Unix(_) => self.listen.to_string(),
        }
    }

    /// Accepts for ever, giving connections that are ready to `door`.
    pub async fn accept<D>(self, places: Arc<Semaphore>, door: D)
    where
        D: Fn(Connection) + Clone + Send + 'static,
    {
        loop {
            let (io, peer) = match self.accept_one().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("{}: cannot accept a connection: {error}", self.listen);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = places.clone().try_acquire_owned() else {
                tracing::warn!("{peer}: refused, {MAX_CONNECTIONS} clients are connected already");
                continue;
            };
            let mut connection = Connection {
                io,
                peer,
                subject: Subject::default(),
                caller: self.rule.caller(&Subject::default()),
                probe: matches!(self.socket, Socket::Tcp(_)),
                permit,
            };
            let Some(tls) = self.tls.clone() else {
                door(connection);
                continue;
            };
            let (door, rule) = (door.clone(), self.rule.clone());
            tokio::spawn(async move {
                let handshake = tls.accept(connection.io);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => {
                        let certificates = stream.get_ref().1.peer_certificates();
                        let first = certificates.and_then(<[_]>::first);
                        let subject = first.map(|certificate| Subject::read(certificate));
                        connection.subject = subject.unwrap_or_default();
                        connection.caller = rule.caller(&connection.subject);
                        connection.io = Box::new(stream);
                        door(connection);
                    }
                    Ok(Err(error)) => {
                        tracing::warn!("{}: TLS handshake: {error}", connection.peer);
                    }
                    Err(_) => tracing::warn!("{}: TLS handshake timed out", connection.peer),
                }
            });
        }
    }

    async fn accept_one(&self) -> io::Result<(Box<dyn Io>, String)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let scheme = if self.tls.is_some() { "ssl" } else { "tcp" };
                Ok((Box::new(stream), format!("{scheme}:{peer}")))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                    Some(pid) => format!("unix, process {pid}"),
                    None => "unix".to_owned(),
                };
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// Binds a Unix socket, in the place of one that nobody listens on any more.
fn open_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("there is a file that is no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}
