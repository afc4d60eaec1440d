//! TLS as Open vSwitch uses it: both sides show a certificate, and each checks that a common authority signed the
//! other's.
//!
//! Names in certificates are not compared with host names, because `ovs-pki` gives switches names of their own; who may
//! do what is decided from the certificate by whoever is asked. Certificates and keys come from files, in PEM.

mod authority;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use self::authority::AuthorityOnly;

/// What protects gRPC and what members say to each other.
pub const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
/// OVN's own programs may know no newer version than 1.2.
pub const NEW_AND_OLD: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The files that say who somebody is, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those between it and the authority's.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub private_key: PathBuf,
    /// The certificates of the authorities that may have signed the other side's.
    pub ca: PathBuf,
    /// The name by which clients ask for the server (SNI, RFC 6066), if not the remote's host: a proxy may tell servers
    /// apart by it.
    pub server_name: Option<String>,
}

/// A file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    /// The file.
    path: String,
    /// What is wrong with it.
    reason: String,
}

impl Files {
    /// The configuration for connections to servers. The inner protocols, of which one is spoken, go by their ALPN
    /// names. The files are read each time, so that new ones are used for the next connection.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or does not fit the others.
    pub fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(default_provider());
        let verifier = AuthorityOnly {
            roots: self.authorities()?,
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| wrong(&self.certificate, NO_VERSION, &error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(certificates(&self.certificate)?, self.key()?)
            .map_err(|error| wrong(&self.certificate, NO_PAIR, &error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The configuration for listeners; clients must have a certificate of an authority. Arguments and errors as in
    /// [`Files::client_config`].
    ///
    /// # Errors
    /// The same.
    pub fn server_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(default_provider());
        let roots = Arc::new(self.authorities()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = verifier.build();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| wrong(&self.certificate, NO_VERSION, &error))?
            .with_client_cert_verifier(verifier.map_err(|error| wrong(&self.ca, NO_CA, &error))?)
            .with_single_cert(certificates(&self.certificate)?, self.key()?)
            .map_err(|error| wrong(&self.certificate, NO_PAIR, &error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            let added = roots.add(certificate);
            added.map_err(|error| wrong(&self.ca, NO_CA, &error))?;
        }
        Ok(roots)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let what = "not a private key in PEM form";
        let key = PrivateKeyDer::from_pem_file(&self.private_key);
        key.map_err(|error| unread(&self.private_key, what, &error))
    }
}

const NO_CA: &str = "not a usable CA certificate";
const NO_PAIR: &str = "the certificate and the private key do not fit together";
const NO_VERSION: &str = "no usable version of TLS";

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "not a certificate in PEM form";
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unread(path, what, &error))?;
    match found.is_empty() {
        true => Err(wrong(path, what, &"there is none in it")),
        false => Ok(found),
    }
}

fn unread(path: &Path, what: &str, error: &pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => wrong(path, "cannot be read", error),
        error => wrong(path, what, error),
    }
}

fn wrong(path: &Path, what: &str, error: &dyn Display) -> TlsError {
    TlsError {
        path: path.display().to_string(),
        reason: format!("{what}: {error}"),
    }
}
