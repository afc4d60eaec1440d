//! TLS for listeners, and for connections to other members: certificates from files, in the form and under the flags of
//! Open vSwitch.
//!
//! Files that change are read again, without a break: connections stay, and the next handshake uses the new files. If
//! those are wrong, that is said, and the old ones stay in use.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, ServerConfig};
use tls::{NEW, NEW_AND_OLD};

/// The files that say who this server is, and whom it believes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files {
    /// This server's private key.
    pub private_key: Option<PathBuf>,
    /// This server's certificate, followed by those that lead to its CA.
    pub certificate: Option<PathBuf>,
    /// The CA of the clients' certificates.
    pub ca_certificate: Option<PathBuf>,
    /// Whether older versions of TLS than 1.3 are refused.
    pub only_tls13: bool,
}

/// Why the files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file was not given.
    #[error("TLS needs --private-key, --certificate and --ca-cert; {0} is missing")]
    Missing(&'static str),
    /// A file is of no use.
    #[error(transparent)]
    File(#[from] tls::TlsError),
}

impl Files {
    /// The configuration for listeners. `alpn` names the protocol that is spoken inside, if clients
    /// ask for one.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let versions = if self.only_tls13 { NEW } else { NEW_AND_OLD };
        Ok(self.complete()?.server_config(versions, alpn)?)
    }

    /// The configuration for connections to other members.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        Ok(self.complete()?.client_config(NEW, &[b"h2"])?)
    }

    fn complete(&self) -> Result<tls::Files, TlsError> {
        let given = |file: &Option<PathBuf>, flag| file.clone().ok_or(TlsError::Missing(flag));
        Ok(tls::Files {
            private_key: given(&self.private_key, "--private-key")?,
            certificate: given(&self.certificate, "--certificate")?,
            ca: given(&self.ca_certificate, "--ca-cert")?,
            server_name: None,
        })
    }
}

/// A listener's configuration, which follows its files.
#[derive(Debug)]
pub struct Reloading {
    files: Files,
    alpn: &'static [&'static [u8]],
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// What the files looked like when they were last read, well or in vain.
    stamps: Stamps,
}

/// Of each file, when it changed, which it is, and how long it is; nothing if it cannot be seen.
type Stamps = [Option<(i64, i64, u64, u64)>; 3];

impl Reloading {
    /// Reads the files. `alpn` as in [`Files::server_config`].
    pub fn open(files: &Files, alpn: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes meanwhile is read again.
        let stamps = files.stamps();
        let loaded = Loaded {
            config: files.server_config(alpn)?,
            stamps,
        };
        Ok(Self {
            files: files.clone(),
            alpn,
            loaded: Mutex::new(loaded),
        })
    }

    /// The configuration for the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            match self.files.server_config(self.alpn) {
                Ok(config) => {
                    tracing::info!(
                        "the certificates have changed; new connections use the new ones"
                    );
                    loaded.config = config;
                }
                Err(error) => tracing::error!(
                    "the certificates have changed, and new connections still use the old ones: {error}"
                ),
            }
        }
        loaded.config.clone()
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        let files = [&self.private_key, &self.certificate, &self.ca_certificate];
        files.map(|file| {
            let seen = std::fs::metadata(file.as_deref()?).ok()?;
            Some((seen.mtime(), seen.mtime_nsec(), seen.ino(), seen.len()))
        })
    }
}
