//! A connection to one member, for calls of the service `weft.db.v1.Cluster`.
//!
//! While a leader is elected, nothing can be changed, and a member may end in the middle of a call. So what fails for
//! a reason that passes is tried again for a while, at whichever member answers.

use std::time::{Duration, Instant};

use ovsdb::Remote;
use replica::{Tls, open_channel};
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::common::{Connect, tool_for};
use crate::error::{CommandError, Outcome, fail};
use crate::progress::Progress;

/// So long a leader is awaited: an election takes a second or two.
const ELECTION: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A member that answers.
#[derive(Debug)]
pub(super) struct Member {
    runtime: Runtime,
    client: ClusterClient<Channel>,
    connect: Connect,
}

impl Member {
    /// Connects to the first remote that answers.
    pub(super) fn connect(connect: &Connect) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::Failed(error.to_string()))?;
        Ok(Self {
            client: open(&runtime, connect)?,
            runtime,
            connect: connect.clone(),
        })
    }

    /// How long to wait for what is under way.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.connect.timeout)
    }

    /// Makes a call.
    pub(super) fn call<T, F>(
        &mut self,
        call: impl FnOnce(ClusterClient<Channel>) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let called = self.runtime.block_on(call(self.client.clone()));
        let answer = called.map_err(|status| CommandError::Failed(describe(&status)))?;
        Ok(answer.into_inner())
    }

    /// Makes a call that changes something, again if that fails for a reason that passes; unless the change `holds`
    /// then, because only the answer was lost.
    pub(super) fn change<T, F>(
        &mut self,
        progress: &Progress,
        call: impl Fn(ClusterClient<Channel>) -> F,
        holds: impl Fn(&v1::StatusResponse) -> bool,
    ) -> Outcome
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = self.patience();
        while let Err(status) = self.runtime.block_on(call(self.client.clone())) {
            self.try_again(&status, end, progress)?;
            if let Ok(status) = self.status(false)
                && holds(&status)
            {
                break;
            }
        }
        Ok(())
    }

    /// What the members say when one of them is known to lead, or after a while.
    pub(super) fn settled(&mut self, progress: &Progress) -> Outcome<v1::StatusResponse> {
        let end = self.patience();
        loop {
            let status = self.patient_status(progress)?;
            if status.leader != 0 || Instant::now() >= end {
                return Ok(status);
            }
            progress.say("nobody leads yet".to_owned());
            self.pause(PAUSE);
        }
    }

    /// What the members say, of whichever answers.
    pub(super) fn patient_status(&mut self, progress: &Progress) -> Outcome<v1::StatusResponse> {
        let end = self.patience();
        loop {
            let mut client = self.client.clone();
            let request = v1::StatusRequest { all_members: true };
            match self.runtime.block_on(client.status(request)) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => self.try_again(&status, end, progress)?,
            }
        }
    }

    /// When what does not succeed is given up.
    fn patience(&self) -> Instant {
        Instant::now() + ELECTION.min(self.timeout())
    }

    /// After a failure: connects again, maybe to another member, if that may help and it is not too late.
    fn try_again(&mut self, status: &Status, end: Instant, progress: &Progress) -> Outcome {
        // The last two are what a connection that breaks looks like.
        let passes = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled
        );
        if !passes || Instant::now() >= end {
            return fail(describe(status));
        }
        progress.say(format!("{}; trying again", describe(status)));
        self.pause(PAUSE);
        // If nobody answers now, the old connection says so once more.
        if let Ok(client) = open(&self.runtime, &self.connect) {
            self.client = client;
        }
        Ok(())
    }

    /// Waits; the connection is served meanwhile.
    pub(super) fn pause(&self, time: Duration) {
        self.wait(async { tokio::time::sleep(time).await });
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

/// A connection to the first remote that answers.
fn open(runtime: &Runtime, connect: &Connect) -> Outcome<ClusterClient<Channel>> {
    let tls = connect.tls()?;
    let mut reasons = Vec::new();
    for remote in connect.remotes()? {
        match runtime.block_on(open_channel(&remote, tls.as_ref())) {
            Ok(channel) => return Ok(ClusterClient::new(channel)),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    fail(reasons.join("\n"))
}

/// What went wrong with a call.
pub(super) fn describe(status: &Status) -> String {
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
                server_name: None,
            })),
            _ => fail("TLS needs all of --private-key, --certificate and --ca-cert"),
        }
    }
}
