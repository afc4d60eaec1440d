//! A byte stream to a remote.

use std::io;
use std::time::Duration;

use ovsdb::Remote;
use ovsdb::remote::{Protocol, Security};
use rustls_pki_types::ServerName;
use tls::{NEW_AND_OLD, TlsError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Tls;

/// How long a connection may take to stand.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A stream in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{}", brief(.0))]
    Io(#[from] io::Error),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("a private key, a certificate and a CA certificate are needed for TLS")]
    NoFiles,
    #[error("{0:?} is no name of a server")]
    Name(String),
    #[error("no answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
}

/// Connects to a remote.
pub(super) async fn connect(
    remote: &Remote,
    tls: Option<&Tls>,
) -> Result<Box<dyn Stream>, ConnectError> {
    match tokio::time::timeout(TIMEOUT, connect_patiently(remote, tls)).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout),
    }
}

async fn connect_patiently(
    remote: &Remote,
    tls: Option<&Tls>,
) -> Result<Box<dyn Stream>, ConnectError> {
    match remote {
        Remote::Unix { path, .. } => Ok(Box::new(socket::connect(path).await?)),
        Remote::Tcp {
            protocol,
            security,
            host,
            port,
        } => {
            let stream = TcpStream::connect((&**host, *port)).await?;
            stream.set_nodelay(true)?;
            if *security == Security::Plain {
                return Ok(Box::new(stream));
            }
            let alpn: &[&[u8]] = match protocol {
                Protocol::Ovsdb => &[],
                Protocol::Grpc => &[b"h2"],
            };
            let files = tls.ok_or(ConnectError::NoFiles)?;
            let config = files.client_config(NEW_AND_OLD, alpn)?;
            let name = files.server_name.clone().unwrap_or(host.to_string());
            let name = ServerName::try_from(name.clone()).map_err(|_| ConnectError::Name(name))?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok(Box::new(stream))
        }
    }
}

/// The system's text for an error, without its number.
fn brief(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
