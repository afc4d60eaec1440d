//! Listening sockets. A connection is accepted, counted, brought through its TLS handshake if it needs one, and handed on
//! with who its client is.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ovsdb::Listen;
use ovsdb::remote::Security;
use store::access::rule::{ListenerConfig, Rule, Subject};
use store::caller::Caller;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use crate::error::Error;

/// So many clients may be connected at a time, all listeners together.
pub const MAX_CONNECTIONS: usize = 4096;
/// So long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a failure to accept, mostly for want of file descriptors, a listener rests so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The owner and the group may connect.
const SOCKET_MODE: u32 = 0o770;

/// A stream of bytes to a client.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client's connection.
pub struct Connection {
    io: Box<dyn Io>,
    /// Who it is.
    pub caller: Caller,
    /// Whether it is TCP without TLS: then nothing but the listener says who the client is.
    pub is_open: bool,
    /// Its place among [`MAX_CONNECTIONS`].
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Connection({})", self.caller)
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Opens a listener, and hands what comes to `connections`. Says where it listens.
pub async fn open(
    config: &ListenerConfig,
    plaintext: bool,
    files: Option<&tls::Files>,
    alpn: &'static [&'static [u8]],
    places: Arc<Semaphore>,
    connections: mpsc::Sender<Connection>,
) -> Result<String, Error> {
    let ListenerConfig { listen, rule } = config;
    let failed = |why: String| Error::Listen {
        listen: listen.clone(),
        why,
    };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut secured = None;
    let (socket, place) = match listen {
        Listen::Unix { path, .. } => {
            let socket = socket::bind(path).map_err(io)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
                .map_err(io)?;
            (Socket::Unix(socket), listen.to_string())
        }
        Listen::Tcp {
            address,
            port,
            security,
            ..
        } => {
            match (security, files) {
                (Security::Plain, _) if !plaintext => {
                    let why = "TCP without TLS lets everybody on the network read and change the network; give \
                               --plaintext if that is intended, or use TLS";
                    return Err(failed(why.to_owned()));
                }
                (Security::Tls, None) => {
                    let why = "TLS needs --private-key, --certificate and --ca-cert";
                    return Err(failed(why.to_owned()));
                }
                (Security::Tls, Some(files)) => {
                    // Whether they are of use is told now, not to the first client.
                    files
                        .server_config(tls::NEW, alpn)
                        .map_err(|error| failed(error.to_string()))?;
                    secured = Some(files.clone());
                }
                (Security::Plain, _) => {}
            }
            let socket = TcpListener::bind(SocketAddr::new(*address, *port))
                .await
                .map_err(io)?;
            let address = socket.local_addr().map_err(io)?;
            (Socket::Tcp(socket), format!("{listen} ({address})"))
        }
    };
    let listener = Listener {
        socket,
        rule: rule.clone(),
        files: secured,
        alpn,
        places,
        connections,
    };
    tokio::spawn(listener.accept());
    Ok(place)
}

struct Listener {
    socket: Socket,
    rule: Rule,
    files: Option<tls::Files>,
    alpn: &'static [&'static [u8]],
    places: Arc<Semaphore>,
    connections: mpsc::Sender<Connection>,
}

impl Listener {
    async fn accept(self) {
        loop {
            let accepted = self.accept_one().await;
            let io = match accepted {
                Ok(io) => io,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                tracing::warn!("refused a client: {MAX_CONNECTIONS} are connected already");
                continue;
            };
            let (rule, connections) = (self.rule.clone(), self.connections.clone());
            let Some(files) = &self.files else {
                let connection = Connection {
                    io,
                    caller: rule.caller(&Subject::default()),
                    is_open: matches!(self.socket, Socket::Tcp(_)),
                    _place: place,
                };
                if connections.send(connection).await.is_err() {
                    return;
                }
                continue;
            };
            // They are read each time, so that new ones are used at once.
            let config = match files.server_config(tls::NEW, self.alpn) {
                Ok(config) => config,
                Err(error) => {
                    tracing::error!("refused a client: {error}");
                    continue;
                }
            };
            tokio::spawn(async move {
                let handshake = TlsAcceptor::from(config).accept(io);
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else {
                    tracing::info!("a client did not come through its TLS handshake");
                    return;
                };
                let certificates = stream.get_ref().1.peer_certificates();
                let first = certificates.and_then(<[_]>::first);
                let subject = first.map(|certificate| Subject::read(certificate));
                let connection = Connection {
                    io: Box::new(stream),
                    caller: rule.caller(&subject.unwrap_or_default()),
                    is_open: false,
                    _place: place,
                };
                // Nobody takes connections any more when the process ends.
                let _ = connections.send(connection).await;
            });
        }
    }

    async fn accept_one(&self) -> std::io::Result<Box<dyn Io>> {
        Ok(match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Socket::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
