//! The gRPC service `weft.northbound.v1`, with health and reflection beside it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use axum::http::header::AUTHORIZATION;
use objects::apply::Allowed;
use objects::list::Filter;
use objects::v1::northbound_server::{Northbound, NorthboundServer};
use objects::write::Deletion;
use objects::{Code, DESCRIPTORS, Refused, catalog, v1};
use prost_reflect::DynamicMessage;
use store::caller::Caller;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::calls::{Interest, Told, kind_numbered};
use super::listen::{Connection, MAX_CONNECTIONS};
use super::network::{Network, Trouble, Wait};
use super::room::Taken;
use super::who::Who;

/// The most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// The most bytes of a message that names what is asked for, and has nothing else.
const MAX_QUESTION_BYTES: usize = 64 << 10;
/// The most bytes of an answer: a page of large objects.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The most bytes of a call's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// So many calls one connection may have at a time.
const MAX_CALLS_PER_CONNECTION: u32 = 100;
/// A connection on which nothing comes is asked so often whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Starts the services. What is given to the answer is served.
pub fn start(network: Network) -> mpsc::Sender<Connection> {
    let (connections, incoming) = mpsc::channel(MAX_CONNECTIONS);
    tokio::spawn(async move {
        if let Err(error) = serve(network, incoming).await {
            tracing::error!("gRPC: {error}");
        }
    });
    connections
}

async fn serve(
    network: Network,
    incoming: mpsc::Receiver<Connection>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_not_serving::<NorthboundServer<Service>>().await;
    let mut synced = network.synced();
    tokio::spawn(async move {
        loop {
            let is_synced = *synced.borrow_and_update();
            match is_synced {
                true => health.set_serving::<NorthboundServer<Service>>().await,
                false => health.set_not_serving::<NorthboundServer<Service>>().await,
            }
            if synced.changed().await.is_err() {
                return;
            }
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let inner = NorthboundServer::new(Service {
        network: network.clone(),
    })
    .max_decoding_message_size(MAX_MESSAGE_BYTES)
    .max_encoding_message_size(MAX_ANSWER_BYTES);
    let service = Gate { network, inner };
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .add_service(service)
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming(ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>))
        .await?;
    Ok(())
}

#[derive(Debug)]
struct Service {
    network: Network,
}

/// Who asks: [`Gate`] has found that out.
fn who<T>(request: &Request<T>) -> Result<Who, Status> {
    let who = request.extensions().get::<Who>().cloned();
    who.ok_or_else(|| Status::unauthenticated("a call without a connection"))
}

/// The calls that change nothing.
const READS: [&str; 3] = ["Get", "List", "Watch"];

/// Looks who calls, and whether that one may, before any of the message is read; and what the message will take, before any of
/// it is decoded.
#[derive(Clone, Debug)]
struct Gate<S> {
    network: Network,
    inner: S,
}

/// The token that a call shows, as it stands there.
fn authorization(request: &http::Request<Body>) -> Option<&str> {
    let shown = request.headers().get(AUTHORIZATION)?;
    Some(shown.to_str().unwrap_or_default())
}

/// Who calls, if that one may.
fn check(network: &Network, request: &http::Request<Body>) -> Result<Who, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Status::unauthenticated("a call without a connection"))?;
    let who = network.who(caller, authorization(request));
    let who = who.map_err(status)?;
    let call = request.uri().path().rsplit('/').next();
    match call.is_some_and(|call| READS.contains(&call)) {
        true => drop(network.read(&who.caller).map_err(status)?),
        false => network.check_writes(&who.caller).map_err(status)?,
    }
    Ok(who)
}

/// Reads the message of a call, and takes room for it.
async fn admit(
    network: &Network,
    who: &Who,
    request: http::Request<Body>,
) -> Result<(http::Request<Body>, Taken), Trouble> {
    let call = request.uri().path().rsplit('/').next();
    let call = call.unwrap_or_default().to_owned();
    let most = match READS.contains(&&*call) || call == "Delete" {
        true => MAX_QUESTION_BYTES,
        false => MAX_MESSAGE_BYTES,
    };
    let (parts, body) = request.into_parts();
    let mut room = network.room(who);
    let body = axum::body::Body::new(body);
    let bytes = room.read_message(&call, body, most).await?;
    let body = Body::new(axum::body::Body::from(bytes));
    Ok((http::Request::from_parts(parts, body), room))
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> tower::Service<http::Request<Body>> for Gate<S>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let network = self.network.clone();
        // The one that is ready is used, and another takes its place.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        let shown = authorization(&request).map(str::to_owned);
        Box::pin(async move {
            if let Some(shown) = shown
                && let Err(trouble) = network.know(&shown).await
            {
                return Ok(status(trouble).into_http());
            }
            let who = match check(&network, &request) {
                Ok(who) => who,
                Err(status) => return Ok(status.into_http()),
            };
            request.extensions_mut().insert(who.clone());
            match admit(&network, &who, request).await {
                Ok((request, _room)) => inner.call(request).await,
                Err(trouble) => Ok(status(trouble).into_http()),
            }
        })
    }
}

/// The status for what went wrong, with each field that is wrong among its details.
fn status(trouble: Trouble) -> Status {
    match trouble {
        Trouble::Refused(Refused {
            code,
            message,
            violations,
        }) => {
            let code = match code {
                Code::Invalid => tonic::Code::InvalidArgument,
                Code::NotFound => tonic::Code::NotFound,
                Code::AlreadyExists => tonic::Code::AlreadyExists,
                Code::Conflict => tonic::Code::FailedPrecondition,
                Code::Stale => tonic::Code::Aborted,
                Code::Denied => tonic::Code::PermissionDenied,
                Code::Unsupported => tonic::Code::Unimplemented,
            };
            let mut details = ErrorDetails::new();
            for violation in violations {
                let description = format!("{}; {}", violation.why, violation.remedy);
                details.add_bad_request_violation(violation.field, description);
            }
            Status::with_error_details(code, message, details)
        }
        Trouble::Unauthenticated(text) => Status::unauthenticated(text),
        Trouble::Denied(text) => Status::permission_denied(text),
        Trouble::Unavailable(text) => Status::unavailable(text),
        Trouble::Late(text) => Status::deadline_exceeded(text),
        Trouble::Exhausted(text) => Status::resource_exhausted(text),
        Trouble::Unknown(text) => Status::unknown(text),
    }
}

fn wait(number: i32) -> Wait {
    match v1::Wait::try_from(number) {
        Ok(v1::Wait::Southbound) => Wait::Southbound,
        Ok(v1::Wait::Chassis) => Wait::Chassis,
        _ => Wait::Commit,
    }
}

fn dynamic(object: &v1::Object) -> Result<DynamicMessage, Status> {
    let mut message = DynamicMessage::new(catalog().object.clone());
    let read = message.transcode_from(object);
    read.map_err(|error| Status::internal(error.to_string()))?;
    Ok(message)
}

fn wanted(object: Option<&v1::Object>) -> Result<DynamicMessage, Status> {
    match object {
        Some(object) => dynamic(object),
        None => Ok(DynamicMessage::new(catalog().object.clone())),
    }
}

fn typed(message: &DynamicMessage) -> Result<v1::Object, Status> {
    let object = message.transcode_to();
    object.map_err(|error| Status::internal(error.to_string()))
}

fn response(told: Told) -> Result<v1::WatchResponse, Status> {
    let changed = told.changed.iter().map(typed);
    let gone = told.gone.into_iter().map(|(kind, uuid)| v1::Gone {
        kind: kind.definition.number.into(),
        uuid: uuid.to_string(),
    });
    Ok(v1::WatchResponse {
        reset: told.reset,
        changed: changed.collect::<Result<_, _>>()?,
        gone: gone.collect(),
        version: told.version.unwrap_or_default(),
    })
}

#[tonic::async_trait]
impl Northbound for Service {
    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::GetResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let kind = kind_numbered("kind", request.kind).map_err(status)?;
        self.network.newest().await.map_err(status)?;
        let object = self
            .network
            .get(&who, kind, &request.name)
            .map_err(status)?;
        Ok(Response::new(v1::GetResponse {
            object: Some(typed(&object)?),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let kind = kind_numbered("kind", request.kind).map_err(status)?;
        let filter = Filter {
            parent: request.parent,
            owner: request.owner,
        };
        if request.page_token.is_empty() {
            self.network.newest().await.map_err(status)?;
        }
        let page = self
            .network
            .list(&who, kind, &filter, request.page_size, &request.page_token)
            .map_err(status)?;
        let objects = page.objects.iter().map(typed);
        Ok(Response::new(v1::ListResponse {
            objects: objects.collect::<Result<_, _>>()?,
            next_page_token: page.next.unwrap_or_default(),
            version: page.version,
        }))
    }

    type WatchStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let kinds = request.kinds.iter().map(|number| {
            let kind = kind_numbered("kinds", *number).map_err(status)?;
            Ok(kind.order)
        });
        let interest = Interest {
            kinds: kinds.collect::<Result<_, Status>>()?,
            owner: request.owner,
            version: request.version,
        };
        let told = self.network.watch(who, interest).map_err(status)?;
        let responses =
            ReceiverStream::new(told).map(|told| told.map_err(status).and_then(response));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<v1::CreateResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let wanted = wanted(request.object.as_ref())?;
        let done = self.network.create(&who, &wanted, wait(request.wait));
        let (object, generation) = done.await.map_err(status)?;
        Ok(Response::new(v1::CreateResponse {
            object: Some(typed(&object)?),
            generation,
        }))
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::UpdateResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let wanted = wanted(request.object.as_ref())?;
        let mask = request.update_mask.unwrap_or_default().paths;
        let done = self
            .network
            .update(&who, &wanted, &mask, wait(request.wait));
        let (object, generation) = done.await.map_err(status)?;
        Ok(Response::new(v1::UpdateResponse {
            object: Some(typed(&object)?),
            generation,
        }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let kind = kind_numbered("kind", request.kind).map_err(status)?;
        let deletion = Deletion {
            kind,
            name: &request.name,
            version: &request.version,
        };
        let wait = wait(request.wait);
        let done = self.network.delete(&who, deletion, request.cascade, wait);
        let generation = done.await.map_err(status)?;
        Ok(Response::new(v1::DeleteResponse { generation }))
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let who = who(&request)?;
        let request = request.into_inner();
        let objects = request.objects.iter().map(dynamic);
        let objects: Vec<DynamicMessage> = objects.collect::<Result<_, _>>()?;
        let allowed = Allowed {
            adopt: request.adopt,
            nothing: request.allow_empty,
            owners: None,
        };
        let wait = (!request.dry_run).then(|| wait(request.wait));
        let done = self
            .network
            .apply(&who, &request.owner, &objects, allowed, wait);
        let (plan, generation) = done.await.map_err(status)?;
        Ok(Response::new(objects::apply::response(&plan, generation)))
    }
}
