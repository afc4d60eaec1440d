//! Remotes, tokens, and the calls with their retries.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};
use tower::service_fn;

use crate::retry::{Repeated, Retry, may_repeat};
use crate::v1;
use crate::v1::northbound_client::NorthboundClient;

/// Messages are no larger than this, as the server has it.
const MAX_MESSAGE: usize = 16 << 20;
/// A connection that says nothing is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a call may take, unless somebody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a client fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The remote makes no sense; the text says what one looks like.
    #[error("{0}: unix:PATH, http://HOST:PORT or https://HOST:PORT is expected")]
    Remote(String),
    /// A certificate, a key or the address cannot be used.
    #[error("cannot use what the connection is made of: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A token cannot be sent.
    #[error("the token has characters that no token has")]
    Token,
    /// The server has refused the call, or could not be reached; its code says why (docs/api.md).
    #[error("{0}")]
    Refused(#[from] Box<Status>),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Certificates, as PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The CA that the server is checked against.
    pub ca_certificate: Vec<u8>,
    /// The client's own certificate and its key, if it has one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the server's certificate, if it is not that of the remote.
    pub server_name: Option<String>,
}

/// Adds the token to every call.
#[derive(Clone, Debug, Default)]
pub struct Authorize(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The generated client, with a token.
pub type Calls = NorthboundClient<InterceptedService<Channel, Authorize>>;

/// A client of one `weft-api`. It connects when it is first used, and again when it must; copies share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    authorize: Authorize,
    retry: Retry,
    timeout: Duration,
}

impl Client {
    /// A client of the server at `unix:PATH`, `http://HOST:PORT`, or, with the roots of TLS that [`Client::connect_tls`] is
    /// given, `https://HOST:PORT`.
    ///
    /// # Errors
    /// When the remote makes no sense.
    pub fn connect(remote: &str) -> Result<Self, Error> {
        let channel = match remote.strip_prefix("unix:") {
            Some(path) => {
                let path = PathBuf::from(path);
                let connector = service_fn(move |_| {
                    let path = path.clone();
                    async move { socket::connect(&path).await.map(TokioIo::new) }
                });
                // Over a Unix socket the address means nothing, but there has to be one.
                let endpoint = lively(Endpoint::from_static("http://localhost"));
                endpoint.connect_with_connector_lazy(connector)
            }
            None => endpoint(remote)?.connect_lazy(),
        };
        Ok(Self::over(channel))
    }

    /// A client of the server at `https://HOST:PORT`.
    ///
    /// # Errors
    /// When the remote or a certificate makes no sense.
    pub fn connect_tls(remote: &str, tls: &Tls) -> Result<Self, Error> {
        let mut config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca_certificate));
        if let Some((certificate, key)) = &tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &tls.server_name {
            config = config.domain_name(name);
        }
        let endpoint = endpoint(remote)?.tls_config(config)?;
        Ok(Self::over(endpoint.connect_lazy()))
    }

    fn over(channel: Channel) -> Self {
        Self {
            channel,
            authorize: Authorize::default(),
            retry: Retry::default(),
            timeout: TIMEOUT,
        }
    }

    /// The same with a bearer token, as `weft token create` prints it.
    ///
    /// # Errors
    /// When it cannot be one.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        let value = format!("Bearer {}", token.trim()).parse();
        let mut value: MetadataValue<Ascii> = value.map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        self.authorize = Authorize(Some(value));
        Ok(self)
    }

    /// The same with other pauses between attempts.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same with another limit than a minute for each call, from the question to the answer: a call that waits for chassis
    /// may need more. What takes longer fails with `DEADLINE_EXCEEDED`, and may have been done. A watch may be silent for
    /// ever; only its beginning is limited.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The generated calls, without limits of time and retries, for what is not below.
    pub fn calls(&self) -> Calls {
        let calls =
            NorthboundClient::with_interceptor(self.channel.clone(), self.authorize.clone());
        calls
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// How failures are tried again.
    pub(crate) fn retry(&self) -> Retry {
        self.retry
    }

    /// An answer, unless it takes too long.
    pub(crate) async fn limited<A>(
        &self,
        call: impl Future<Output = Result<Response<A>, Status>>,
    ) -> Result<A, Status> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "there was no answer within {:?}; it may have been done",
                self.timeout
            ))),
        }
    }

    async fn repeat<R: Clone, A, F>(
        &self,
        request: R,
        repeated: Repeated,
        call: impl Fn(Calls, R) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut failed = 0;
        loop {
            let status = match self.limited(call(self.calls(), request.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            failed += 1;
            match self.retry.some_time_after(failed) {
                Some(pause) if may_repeat(&status, repeated) => tokio::time::sleep(pause).await,
                _ => return Err(status.into()),
            }
        }
    }

    /// An object by its name or UUID.
    ///
    /// # Errors
    /// What the server refuses; `NOT_FOUND` if there is none.
    pub async fn get(&self, kind: v1::Kind, name: &str) -> Result<v1::Object, Error> {
        let request = v1::GetRequest {
            kind: kind.into(),
            name: name.to_owned(),
        };
        let call = |mut calls: Calls, request| async move { calls.get(request).await };
        let answer: v1::GetResponse = self.repeat(request, Repeated::Same, call).await?;
        let missing = || Status::internal("the server has answered without the object");
        answer.object.ok_or_else(|| missing().into())
    }

    /// All objects of a kind, of an owner if one is named, page after page.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn list(&self, kind: v1::Kind, owner: &str) -> Result<Vec<v1::Object>, Error> {
        let (mut objects, mut token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListRequest {
                kind: kind.into(),
                page_size: 1000,
                page_token: token,
                owner: owner.to_owned(),
                ..Default::default()
            };
            let call = |mut calls: Calls, request| async move { calls.list(request).await };
            let page: v1::ListResponse = self.repeat(request, Repeated::Same, call).await?;
            objects.extend(page.objects);
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(objects);
            }
        }
    }

    /// Makes an object.
    ///
    /// # Errors
    /// What the server refuses; `ALREADY_EXISTS` if there is one of its name.
    pub async fn create(&self, object: v1::Object) -> Result<v1::CreateResponse, Error> {
        let request = v1::CreateRequest {
            object: Some(object),
            ..Default::default()
        };
        let call = |mut calls: Calls, request| async move { calls.create(request).await };
        self.repeat(request, Repeated::Other, call).await
    }

    /// Changes these fields of an object; with its `version`, only if that is what there is.
    ///
    /// # Errors
    /// What the server refuses; `ABORTED` if the version is gone by.
    pub async fn update(
        &self,
        object: v1::Object,
        fields: &[&str],
    ) -> Result<v1::UpdateResponse, Error> {
        let paths = fields.iter().map(ToString::to_string).collect();
        let request = v1::UpdateRequest {
            update_mask: Some(prost_types::FieldMask { paths }),
            object: Some(object),
            ..Default::default()
        };
        let call = |mut calls: Calls, request| async move { calls.update(request).await };
        // With a version, the second of two would be refused although the first was done.
        self.repeat(request, Repeated::Other, call).await
    }

    /// Deletes an object, with what belongs to it if `cascade` says so.
    ///
    /// # Errors
    /// What the server refuses; `NOT_FOUND` if there is none.
    pub async fn delete(
        &self,
        kind: v1::Kind,
        name: &str,
        cascade: bool,
    ) -> Result<v1::DeleteResponse, Error> {
        let request = v1::DeleteRequest {
            kind: kind.into(),
            name: name.to_owned(),
            cascade,
            ..Default::default()
        };
        let call = |mut calls: Calls, request| async move { calls.delete(request).await };
        self.repeat(request, Repeated::Other, call).await
    }

    /// Makes what an owner has be these objects: creates, changes, and deletes what is not among them any more.
    ///
    /// # Errors
    /// What the server refuses. No objects are taken for a mistake; [`Client::clear`] is for that.
    pub async fn apply(
        &self,
        owner: &str,
        objects: Vec<v1::Object>,
    ) -> Result<v1::ApplyResponse, Error> {
        let request = v1::ApplyRequest {
            owner: owner.to_owned(),
            objects,
            ..Default::default()
        };
        self.apply_request(request).await
    }

    /// Deletes all that an owner has.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn clear(&self, owner: &str) -> Result<v1::ApplyResponse, Error> {
        let request = v1::ApplyRequest {
            owner: owner.to_owned(),
            allow_empty: true,
            ..Default::default()
        };
        self.apply_request(request).await
    }

    /// [`Client::apply`] with everything that can be said: whether it is only to be planned, and what is waited for.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn apply_request(
        &self,
        request: v1::ApplyRequest,
    ) -> Result<v1::ApplyResponse, Error> {
        let call = |mut calls: Calls, request| async move { calls.apply(request).await };
        self.repeat(request, Repeated::Same, call).await
    }
}

fn endpoint(remote: &str) -> Result<Endpoint, Error> {
    if !remote.starts_with("http://") && !remote.starts_with("https://") {
        return Err(Error::Remote(remote.to_owned()));
    }
    let endpoint = Endpoint::from_shared(remote.to_owned())?;
    Ok(lively(endpoint))
}

/// With questions whether the other end lives.
fn lively(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_with_what_would() {
        let error = Client::connect("tcp:10.0.0.1").expect_err("there is no such remote");
        assert_eq!(
            error.to_string(),
            "tcp:10.0.0.1: unix:PATH, http://HOST:PORT or https://HOST:PORT is expected"
        );
        let client = Client::connect("unix:/none").expect("it connects later");
        assert!(client.clone().with_token("a\nb").is_err());
        let client = client.with_token("weft.ci.00").expect("it may be one");
        assert!(!format!("{client:?}").contains("weft.ci.00"));
        let client = client.with_retry(Retry::never());
        let error = client.get(v1::Kind::LogicalSwitch, "s").await;
        let Err(Error::Refused(status)) = error else {
            panic!("nobody listens there: {error:?}");
        };
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_server_that_hangs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let _listens = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let client = Client::connect(&format!("unix:{}", path.display())).expect("a remote");
        let client = client.with_timeout(Duration::from_millis(20));
        let client = client.with_retry(Retry::never());
        let got = client.get(v1::Kind::LogicalSwitch, "s").await.map(drop);
        let watched = client.watch(Vec::new(), "").next().await.map(drop);
        for outcome in [got, watched] {
            let Err(Error::Refused(status)) = outcome else {
                panic!("nobody answers there: {outcome:?}");
            };
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        }
    }
}
