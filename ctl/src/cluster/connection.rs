//! A connection to one member, for calls of the service `weft.db.v1.Cluster`.

use std::time::Duration;

use ovsdb::Remote;
use replica::{Tls, open_channel};
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;

use super::{Connect, tool_for};
use crate::error::{CommandError, Outcome, fail};

/// A member that answers.
#[derive(Debug)]
pub(super) struct Member {
    runtime: Runtime,
    client: ClusterClient<Channel>,
    timeout: Duration,
}

impl Member {
    /// Connects to the first remote that answers.
    pub(super) fn connect(connect: &Connect) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::Failed(error.to_string()))?;
        let tls = connect.tls()?;
        let mut reasons = Vec::new();
        for remote in connect.remotes()? {
            match runtime.block_on(open_channel(&remote, tls.as_ref())) {
                Ok(channel) => {
                    return Ok(Self {
                        runtime,
                        client: ClusterClient::new(channel),
                        timeout: Duration::from_secs(connect.timeout),
                    });
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        fail(reasons.join("\n"))
    }

    /// How long to wait for what is under way.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes a call.
    pub(super) fn call<T, F>(
        &mut self,
        call: impl FnOnce(ClusterClient<Channel>) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let called = self.runtime.block_on(call(self.client.clone()));
        let answer = called.map_err(|status| CommandError::Failed(describe(&status)))?;
        Ok(answer.into_inner())
    }

    /// Waits for something asynchronous.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What this member says, and with `all` the others too.
    pub(super) fn status(&mut self, all_members: bool) -> Outcome<v1::StatusResponse> {
        self.call(
            |mut client| async move { client.status(v1::StatusRequest { all_members }).await },
        )
    }
}

/// What went wrong with a call.
pub(super) fn describe(status: &tonic::Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        text => text.to_owned(),
    }
}

impl Connect {
    fn remotes(&self) -> Outcome<Vec<Remote>> {
        let text = match self.db.as_str() {
            name @ ("nb" | "sb") => {
                let socket = daemon::place::run_dir().join(tool_for(name)?.grpc_socket);
                format!("grpc+unix:{}", socket.display())
            }
            remotes => remotes.to_owned(),
        };
        Remote::parse_list(&text).map_err(|error| CommandError::Failed(format!("--db: {error}")))
    }

    fn tls(&self) -> Outcome<Option<Tls>> {
        match (&self.private_key, &self.certificate, &self.ca_cert) {
            (None, None, None) => Ok(None),
            (Some(private_key), Some(certificate), Some(ca)) => Ok(Some(Tls {
                certificate: certificate.clone(),
                private_key: private_key.clone(),
                ca: ca.clone(),
            })),
            _ => fail("TLS needs all of --private-key, --certificate and --ca-cert"),
        }
    }
}
