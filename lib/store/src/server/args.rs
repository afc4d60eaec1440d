//! The flags of the database servers.

use std::path::PathBuf;

use clap::Args;

use super::net::tls::Files;
use crate::access::rule::ListenerConfig;

/// The flags of `weft-nb` and `weft-sb`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Keep the database in this directory, which is created
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Listen here: punix:PATH, ptcp:PORT[:IP], pssl:PORT[:IP] for OVSDB clients, pgrpc+unix:PATH, pgrpc:PORT[:IP],
    /// pgrpcs:PORT[:IP] for gRPC clients; repeatable. "role=ROLE REMOTE" gives its clients a role: admin, writer,
    /// reader, northd, ovn-controller, or certificate for that of each client's certificate
    #[arg(long, value_name = "REMOTE")]
    pub listen: Vec<ListenerConfig>,

    /// Tell metrics (/metrics) and health (/healthz, /readyz) over HTTP here, to everybody who asks
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_listen: Option<String>,

    /// Allow TCP without TLS
    #[arg(long)]
    pub plaintext: bool,

    /// This server's private key, in PEM form
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "TLS")]
    pub private_key: Option<PathBuf>,

    /// This server's certificate, in PEM form
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "TLS")]
    pub certificate: Option<PathBuf>,

    /// The CA that clients' certificates must come from, in PEM form
    #[arg(short = 'C', long, value_name = "FILE", help_heading = "TLS")]
    pub ca_cert: Option<PathBuf>,

    /// This member's number in a cluster of several
    #[arg(long, value_name = "N", help_heading = "Cluster")]
    pub id: Option<u64>,

    /// Listen here for other members
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster")]
    pub peer_listen: Option<String>,

    /// Other members reach this one here, if elsewhere
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster")]
    pub peer_address: Option<String>,

    /// Start a new cluster of these members
    #[arg(long, value_name = "N=HOST:PORT,...", help_heading = "Cluster")]
    pub peers: Option<String>,

    /// Join the cluster of these members
    #[arg(long, value_name = "HOST:PORT,...", help_heading = "Cluster")]
    pub join: Option<String>,
}

impl ServerArgs {
    /// The files for TLS.
    pub fn tls_files(&self) -> Files {
        Files {
            private_key: self.private_key.clone(),
            certificate: self.certificate.clone(),
            ca_certificate: self.ca_cert.clone(),
            only_tls13: false,
        }
    }

    /// The first flag that asks for a cluster of several members.
    pub fn cluster_flag(&self) -> Option<&'static str> {
        [
            (self.id.is_some(), "--id"),
            (self.peer_listen.is_some(), "--peer-listen"),
            (self.peer_address.is_some(), "--peer-address"),
            (self.peers.is_some(), "--peers"),
            (self.join.is_some(), "--join"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}
