//! Listening sockets, and what comes in through them.
//!
//! A connection is accepted, counted, brought through its TLS handshake if it needs one, and
//! handed on. A client that dawdles in the handshake loses its place; nobody waits for
//! it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ovsdb::Listen;
use ovsdb::remote::{Protocol, Security};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use super::tls::{Files, Reloading, TlsError};
use super::unix::UnixSocket;
use crate::access::rule::{ListenerConfig, Rule, Subject};
use crate::caller::Caller;
use crate::server::limits::log_limit;

/// So many clients may be connected at a time, all listeners together.
pub const MAX_CONNECTIONS: usize = 16_384;
/// So long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept, mostly for want of file descriptors, the listener rests so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So many connections are accepted at one go, and then none for so long: when thousands come at
/// once, each has to be made known, and those who are connected already go on meanwhile.
const BURST: u32 = 8;
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// A client that says nothing for so long is asked whether it is there, and given up after as
/// long again, if nothing else is said. Unix sockets need no such question.
pub const PROBE: Duration = Duration::from_secs(60);
/// So often certificates are looked at though nobody connects.
const RELOAD: Duration = Duration::from_secs(5);
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
    /// After so long without a word it is asked whether it is still there: TCP can break without anybody noticing.
    pub probe: Option<Duration>,
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
    tls: Option<Arc<Reloading>>,
    probe: Option<Duration>,
    /// Ends when its other end is dropped, and the connections with it.
    tie: Option<watch::Receiver<()>>,
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
    /// Opens a listener.
    pub async fn open(
        ListenerConfig { listen, rule }: &ListenerConfig,
        plaintext: bool,
        files: &Files,
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
                        let (alpn, only_tls13): (&'static [&'static [u8]], bool) =
                            match listen.protocol() {
                                Protocol::Ovsdb => (&[], files.only_tls13),
                                Protocol::Grpc => (&[b"h2"], true),
                            };
                        let files = Files {
                            only_tls13,
                            ..files.clone()
                        };
                        let opened = Reloading::open(&files, alpn);
                        let opened = opened.map_err(|error| ListenError::Tls {
                            listen: listen.clone(),
                            error,
                        })?;
                        tls = Some(Arc::new(opened));
                    }
                }
                let address = SocketAddr::new(*address, *port);
                Socket::Tcp(TcpListener::bind(address).await.map_err(failed)?)
            }
        };
        Ok(Self {
            listen: listen.clone(),
            rule: rule.clone(),
            probe: matches!(socket, Socket::Tcp(_)).then_some(PROBE),
            socket,
            tls,
            tie: None,
        })
    }

    /// Asks clients after another time of silence than [`PROBE`]; never, if it is nothing.
    pub fn set_probe(&mut self, probe: Option<Duration>) {
        self.probe = probe;
    }

    /// Lets its connections end when the answer is dropped.
    pub fn tie(&mut self) -> watch::Sender<()> {
        let (sender, receiver) = watch::channel(());
        self.tie = Some(receiver);
        sender
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

    /// The TCP port, the one that the system chose if it did.
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Socket::Unix(_) => None,
        }
    }

    /// Accepts for ever, giving connections that are ready to `serve`.
    pub async fn accept<D>(self, places: Arc<Semaphore>, serve: D)
    where
        D: Fn(Connection) + Clone + Send + 'static,
    {
        let mut look = tokio::time::interval(RELOAD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut burst = 0;
        loop {
            if burst == BURST {
                burst = 0;
                tokio::time::sleep(BURST_PAUSE).await;
            }
            let accepted = tokio::select! {
                accepted = self.accept_one() => accepted,
                // New files are looked at now and then even if nobody connects, so that wrong ones are told soon.
                _ = look.tick(), if self.tls.is_some() => {
                    self.tls.as_ref().map(|tls| tls.current());
                    continue;
                }
            };
            let (io, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    let text = format!("cannot accept a connection: {error}");
                    log_limit::warn(&self.listen, &text);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            burst += 1;
            let Ok(permit) = places.clone().try_acquire_owned() else {
                let text = format!("refused, {MAX_CONNECTIONS} clients are connected already");
                log_limit::warn(&peer, &text);
                continue;
            };
            let io: Box<dyn Io> = match self.tie.clone() {
                Some(tie) => Box::new(Tied::new(io, tie)),
                None => io,
            };
            let mut connection = Connection {
                io,
                peer,
                subject: Subject::default(),
                caller: self.rule.caller(&Subject::default()),
                probe: self.probe,
                permit,
            };
            let Some(tls) = self.tls.clone() else {
                serve(connection);
                continue;
            };
            let (serve, rule) = (serve.clone(), self.rule.clone());
            tokio::spawn(async move {
                let handshake = TlsAcceptor::from(tls.current()).accept(connection.io);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => {
                        let certificates = stream.get_ref().1.peer_certificates();
                        let first = certificates.and_then(<[_]>::first);
                        let subject = first.map(|certificate| Subject::read(certificate));
                        connection.subject = subject.unwrap_or_default();
                        connection.caller = rule.caller(&connection.subject);
                        connection.io = Box::new(stream);
                        serve(connection);
                    }
                    Ok(Err(error)) => {
                        log_limit::warn(&connection.peer, &format!("TLS handshake: {error}"));
                    }
                    Err(_) => log_limit::warn(&connection.peer, &"TLS handshake timed out"),
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
                Ok((Box::new(UnixSocket::new(stream)?), peer))
            }
        }
    }
}

/// A stream that ends with what it is tied to.
struct Tied {
    io: Box<dyn Io>,
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Tied {
    fn new(io: Box<dyn Io>, mut tie: watch::Receiver<()>) -> Self {
        // Nothing is ever sent: it changes when it ends.
        let end = async move { while tie.changed().await.is_ok() {} };
        Self {
            io,
            end: Some(Box::pin(end)),
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            self.end = None;
        }
        self.end.is_none()
    }
}

impl AsyncRead for Tied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Binds a Unix socket, in the place of one that nobody listens on any more.
fn open_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = socket::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}
