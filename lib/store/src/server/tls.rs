//! TLS for listeners: certificates from files, in the form and under the flags of Open vSwitch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The files that say who this server is, and whom it believes.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// This server's private key.
    pub private_key: Option<PathBuf>,
    /// This server's certificate, followed by those that lead to its CA.
    pub certificate: Option<PathBuf>,
    /// The CA of the clients' certificates.
    pub ca_certificate: Option<PathBuf>,
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
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
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
