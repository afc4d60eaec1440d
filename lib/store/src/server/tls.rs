//! TLS for listeners: certificates from files, in the form and under the flags of Open vSwitch.
//!
//! Files that change are read again, without a break: connections stay, and the next handshake uses the new files. If
//! those are wrong, that is said, and the old ones stay in use.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

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
    #[error("listening with TLS needs --private-key, --certificate and --ca-cert; {0} is missing")]
    Missing(&'static str),
    /// A file cannot be read, or is not what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Files {
    /// The configuration for listeners; clients must have a certificate of the CA. `alpn` names
    /// the protocol that is spoken inside, if clients ask for one.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let private_key = self.private_key.as_deref();
        let private_key = private_key.ok_or(TlsError::Missing("--private-key"))?;
        let certificate = self.certificate.as_deref();
        let certificate = certificate.ok_or(TlsError::Missing("--certificate"))?;
        let ca = self.ca_certificate.as_deref();
        let ca = ca.ok_or(TlsError::Missing("--ca-cert"))?;

        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(ca, "not a usable CA certificate", &error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| wrong(ca, "not a usable CA certificate", &error))?;
        let key = PrivateKeyDer::from_pem_file(private_key)
            .map_err(|error| wrong(private_key, "not a private key in PEM form", &error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(if self.only_tls13 { NEW } else { NEW_AND_OLD })
            .map_err(|error| wrong(certificate, "no usable version of TLS", &error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(certificate)?, key)
            .map_err(|error| {
                let reason = "the certificate and the private key do not fit together";
                wrong(certificate, reason, &error)
            })?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// Protects gRPC and what members say to each other.
const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// OVN's own clients may know no newer version than 1.2.
const NEW_AND_OLD: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let reason = "not a certificate in PEM form";
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(path, reason, &error))?;
    if found.is_empty() {
        return Err(TlsError::File {
            path: path.display().to_string(),
            reason: reason.to_owned(),
        });
    }
    Ok(found)
}

fn wrong(path: &Path, what: &str, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: format!("{what}: {error}"),
    }
}
