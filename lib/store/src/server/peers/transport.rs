//! Connections between members: TCP, in TLS unless it was asked to be without.
//!
//! Both sides show a certificate, and each checks that the CA signed the other's. Names in
//! certificates are not compared with host names: who a member is, its greeting tells.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ovsdb::Listen;
use ovsdb::remote::{Protocol, Security};
use rpc::v1::raft_client::RaftClient;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::address::Address;
use super::config::ClusterError;
use crate::access::rule::{ListenerConfig, MEMBER, Subject};
use crate::server::args::ServerArgs;
use crate::server::net::listen::{Io, ListenError, Listener};
use crate::server::net::tls::Files;

/// So long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing is heard for so long is asked whether it is still there, and
/// given up when it does not answer within as long again.
pub const SILENCE: Duration = Duration::from_secs(3);
/// What may be on its way in one stream, in bytes, and in a connection.
pub const STREAM_WINDOW: u32 = 8 << 20;
pub const CONNECTION_WINDOW: u32 = 16 << 20;

/// How members connect.
#[derive(Debug)]
pub struct Transport {
    /// Nothing: in the clear.
    files: Option<Files>,
}

impl Transport {
    /// What the flags say: TLS with the files for it; without any, in the clear, which must be
    /// allowed.
    pub fn new(args: &ServerArgs) -> Result<Self, ClusterError> {
        let files = args.tls_files();
        let given = [
            &files.private_key,
            &files.certificate,
            &files.ca_certificate,
        ];
        if given.iter().any(|file| file.is_some()) {
            // Read now, so that what is wrong with them is told at once.
            files.client_config().map_err(ClusterError::Tls)?;
            return Ok(Self { files: Some(files) });
        }
        if args.plaintext {
            return Ok(Self { files: None });
        }
        Err(ClusterError::Flags(
            "members talk to each other in TLS: give --private-key, --certificate and --ca-cert; \
             or --plaintext, if everybody on the network between them may read and change the \
             database"
                .to_owned(),
        ))
    }

    /// Listens for other members.
    pub async fn listen(&self, place: &Address) -> Result<Listener, ClusterError> {
        let failed = |reason: String| ClusterError::Listen {
            address: place.to_string(),
            reason,
        };
        let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
        let mut found = found.map_err(|error| failed(error.to_string()))?;
        let address = found.next();
        let address = address.ok_or_else(|| failed("the name has no address".to_owned()))?;
        let listen = Listen::Tcp {
            protocol: Protocol::Grpc,
            security: match self.files {
                Some(_) => Security::Tls,
                None => Security::Plain,
            },
            address: address.ip(),
            port: address.port(),
        };
        let files = self.files.clone().unwrap_or_default();
        let listener =
            Listener::open(&ListenerConfig::open(listen), self.files.is_none(), &files).await;
        listener.map_err(|error| match error {
            ListenError::Io { error, .. } => failed(error.to_string()),
            error => failed(error.to_string()),
        })
    }

    /// Whether whoever is at the other end of a connection is a member, by its certificate; or says why not.
    pub fn check(&self, subject: &Subject) -> Result<(), String> {
        if self.files.is_none() || subject.is_member() {
            return Ok(());
        }
        let unit = match &subject.unit {
            Some(unit) => format!("organisational unit {unit:?}"),
            None => "no organisational unit".to_owned(),
        };
        Err(format!(
            "its certificate is none of a member: it is for {:?} and has {unit}, and that of a \
             member has a name and the organisational unit {MEMBER:?}, as `weft pki member` makes it",
            subject.name
        ))
    }

    /// Connects to the member at an address; or says why not.
    pub async fn connect(&self, address: &str) -> Result<RaftClient<Channel>, String> {
        let connecting = async {
            let stream = self.stream(address).await?;
            let mut stream = Some(TokioIo::new(stream));
            let connector = tower::service_fn(move |_| {
                let taken = stream.take().ok_or(io::ErrorKind::NotConnected);
                std::future::ready(taken.map_err(io::Error::from))
            });
            // The name is that of no host: the stream decides who is talked to.
            let endpoint = Endpoint::from_static("http://weft")
                .http2_keep_alive_interval(SILENCE)
                .keep_alive_timeout(SILENCE)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            let channel = endpoint.connect_with_connector(connector).await;
            channel.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(channel) => channel.map(RaftClient::new),
            Err(_) => Err(format!(
                "no connection within {} seconds",
                CONNECT_TIMEOUT.as_secs()
            )),
        }
    }

    async fn stream(&self, address: &str) -> Result<Box<dyn Io>, String> {
        let address: Address = address.parse().map_err(|error| format!("{error}"))?;
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let Some(files) = &self.files else {
            return Ok(Box::new(stream));
        };
        // Read each time, so that new ones are used for the next connection.
        let config = files.client_config().map_err(|error| error.to_string())?;
        let name = ServerName::try_from("member").expect("it is a name");
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let stream = connected.map_err(|error| format!("TLS handshake: {error}"))?;
        // Whoever listens there must be a member as well: a chassis could have taken its address.
        let certificates = stream.get_ref().1.peer_certificates();
        let first = certificates.and_then(<[_]>::first);
        let subject = first.map(|certificate| Subject::read(certificate));
        self.check(&subject.unwrap_or_default())?;
        Ok(Box::new(stream))
    }
}
