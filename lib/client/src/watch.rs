//! Changes of objects, across reconnects: a watch that is cut goes on with the last state that it has seen, and only if the
//! server does not remember that does it begin anew, with `reset`.

use tonic::Streaming;

use crate::connection::{Client, Error};
use crate::retry::{Repeated, may_repeat};
use crate::v1;

/// A watch. It connects when it is first asked.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    kinds: Vec<v1::Kind>,
    owner: String,
    /// The state that whoever asks has seen completely.
    version: String,
    stream: Option<Streaming<v1::WatchResponse>>,
    failed: u32,
}

impl Client {
    /// The objects of these kinds, or of all if none is named, and every change of them from now on; of an owner if one is named.
    pub fn watch(&self, kinds: Vec<v1::Kind>, owner: &str) -> Watch {
        Watch::new(self.clone(), kinds, owner)
    }
}

impl Watch {
    fn new(client: Client, kinds: Vec<v1::Kind>, owner: &str) -> Self {
        Self {
            client,
            kinds,
            owner: owner.to_owned(),
            version: String::new(),
            stream: None,
            failed: 0,
        }
    }

    /// The same from a state on that somebody has from [`Watch::version`] or from a list.
    #[must_use]
    pub fn from_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// The last state that was seen completely, to go on from in another process. Empty if there is none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The next change. After a reconnect in the middle of a state, what was seen of it comes again: objects as they are, so that
    /// it does no harm.
    ///
    /// # Errors
    /// What the server refuses, and that it cannot be reached for longer than the client's retries last. Asked again, it tries
    /// again.
    pub async fn next(&mut self) -> Result<v1::WatchResponse, Error> {
        loop {
            let status = match self.advance().await {
                Ok(Some(response)) => {
                    self.failed = 0;
                    return Ok(response);
                }
                // The server has ended it: it falls too far behind, or the server stops.
                Ok(None) => tonic::Status::unavailable("the server has ended the watch"),
                Err(status) => status,
            };
            self.stream = None;
            self.failed += 1;
            match self.client.retry().some_time_after(self.failed) {
                Some(pause) if may_repeat(&status, Repeated::Same) => {
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    self.failed = 0;
                    return Err(status.into());
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<v1::WatchResponse>, tonic::Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = v1::WatchRequest {
                    kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
                    owner: self.owner.clone(),
                    version: self.version.clone(),
                };
                let mut calls = self.client.calls();
                let stream = self.client.limited(calls.watch(request)).await?;
                self.stream.insert(stream)
            }
        };
        let Some(response) = stream.message().await? else {
            return Ok(None);
        };
        match response.version.as_str() {
            // What was seen before is nothing to go on from any more, and more of the new follows.
            "" if response.reset => self.version.clear(),
            "" => {}
            version => version.clone_into(&mut self.version),
        }
        Ok(Some(response))
    }
}
