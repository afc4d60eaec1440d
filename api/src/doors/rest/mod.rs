//! REST: the calls as paths, objects as JSON with the names that the protocol has for fields.
//!
//! | path | what it is |
//! | --- | --- |
//! | `GET /v1/{kinds}` | a page: `page_size`, `page_token`, `parent`, `owner` |
//! | `POST /v1/{kinds}` | makes an object |
//! | `GET`, `PATCH`, `DELETE /v1/{kinds}/{name}` | an object: `update_mask`, `version` |
//! | `POST /v1/apply` | makes what an owner has be what it declares |
//! | `GET /v1/watch` | changes, as server-sent events: `kinds`, `owner`, `version` |
//! | `GET /openapi.json` | the description of all of it |
//!
//! What goes wrong is a `google.rpc.Status` in JSON, with each field that is wrong among its details.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`requests`] | who asks, parameters, bodies |
//! | [`answers`] | JSON, and what goes wrong |
//! | [`events`] | changes as server-sent events |
//! | [`hearing`] | who is refused is heard out |

mod answers;
mod events;
mod hearing;
mod requests;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use objects::apply::Allowed;
use objects::list::Filter;
use objects::write::Deletion;
use objects::{Code, Refused, catalog, document};
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use self::answers::{answer, invalid, respond, wrong};
use self::events::events_of;
use self::requests::{
    InPath, IsOpen, Parameters, body, check_writes, kind_in_path, object_of, who,
};
use super::calls::Interest;
use super::listen::{Connection, MAX_CONNECTIONS};
use super::network::{Network, Wait};
use super::trouble::Trouble;
use crate::openapi;

/// So long the head of a request may take, and the pause between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The head of a request is at most so large.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Starts the pages. What is given to the answer is served.
pub fn start(network: Network) -> mpsc::Sender<Connection> {
    let (connections, mut incoming) = mpsc::channel::<Connection>(MAX_CONNECTIONS);
    let pages = pages(network);
    tokio::spawn(async move {
        while let Some(connection) = incoming.recv().await {
            let caller = connection.caller.clone();
            let is_open = IsOpen(connection.is_open);
            let pages = pages
                .clone()
                .layer(axum::Extension(caller))
                .layer(axum::Extension(is_open));
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(connection), TowerToHyperService::new(pages));
            tokio::spawn(async move {
                // Who breaks the connection off does not want an answer.
                let _ = serving.await;
            });
        }
    });
    connections
}

fn pages(network: Network) -> Router {
    let description = || async { answer(StatusCode::OK, &openapi::document()) };
    Router::new()
        .route("/openapi.json", get(description))
        .route("/v1/apply", post(apply))
        .route("/v1/watch", get(watch))
        .route("/v1/{kinds}", get(list).post(create))
        .route("/v1/{kinds}/{name}", get(one).patch(update).delete(delete))
        .fallback(|| async {
            let text = "there is no such path; /openapi.json describes those that there are";
            wrong(Refused::new(Code::NotFound, text).into())
        })
        .method_not_allowed_fallback(|| async {
            let body = json!({
                "code": 12,
                "status": "UNIMPLEMENTED",
                "message": "there is no such method here; /openapi.json describes those that there are",
            });
            answer(StatusCode::METHOD_NOT_ALLOWED, &body)
        })
        .layer(axum::middleware::from_fn_with_state(
            network.clone(),
            requests::know_token,
        ))
        .layer(axum::middleware::from_fn(hearing::hear_out))
        .with_state(network)
}

async fn list(
    State(network): State<Network>,
    InPath(plural): InPath<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let who = who(&network, &request);
    drop(request);
    let page = async {
        let kind = kind_in_path(&plural)?;
        let known = ["page_size", "page_token", "parent", "owner"];
        let parameters = Parameters::read(query.as_deref(), &known)?;
        let size = parameters.get("page_size").unwrap_or("0").parse();
        let size = size.map_err(|_| invalid("page_size", "it is no number", "give a number"))?;
        let filter = Filter {
            parent: parameters.text("parent"),
            owner: parameters.text("owner"),
        };
        let token = parameters.text("page_token");
        let who = who?;
        if token.is_empty() {
            network.newest().await?;
        }
        let page = network.list(&who, kind, &filter, size, &token)?;
        let objects: Vec<Value> = page.objects.iter().map(document::to_json).collect();
        let mut body = json!({"objects": objects, "version": page.version});
        if let Some(next) = page.next {
            body["next_page_token"] = json!(next);
        }
        Ok(body)
    };
    respond(page.await)
}

async fn one(
    State(network): State<Network>,
    InPath((plural, name)): InPath<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let who = who(&network, &request);
    drop(request);
    let object = async {
        let kind = kind_in_path(&plural)?;
        Parameters::read(query.as_deref(), &[])?;
        let who = who?;
        network.newest().await?;
        let object = network.get(&who, kind, &name)?;
        Ok(document::to_json(&object))
    };
    respond(object.await)
}

async fn create(
    State(network): State<Network>,
    InPath(plural): InPath<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let made = async {
        let kind = kind_in_path(&plural)?;
        let wait = Parameters::read(query.as_deref(), &["wait"])?.wait()?;
        let who = check_writes(&network, &request)?;
        let (value, _room) = body(&network, &who, request).await?;
        let object = object_of(kind, &value)?;
        let (object, _) = network.create(&who, &object, wait).await?;
        Ok(document::to_json(&object))
    };
    match made.await {
        Ok(body) => answer(StatusCode::CREATED, &body),
        Err(trouble) => wrong(trouble),
    }
}

async fn update(
    State(network): State<Network>,
    InPath((plural, name)): InPath<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let changed = async {
        let kind = kind_in_path(&plural)?;
        let parameters = Parameters::read(query.as_deref(), &["update_mask", "wait"])?;
        let wait = parameters.wait()?;
        let who = check_writes(&network, &request)?;
        let (mut value, _room) = body(&network, &who, request).await?;
        // The path says which.
        if let Value::Object(fields) = &mut value {
            fields.insert("name".to_owned(), json!(name));
        }
        let object = object_of(kind, &value)?;
        let mask: Vec<String> = match parameters.get("update_mask") {
            Some(mask) => mask.split(',').map(str::to_owned).collect(),
            None => {
                let given = value
                    .get(kind.label())
                    .or(value.get(kind.field.json_name()));
                let given = given.and_then(Value::as_object);
                given
                    .into_iter()
                    .flat_map(|fields| fields.keys().cloned())
                    .collect()
            }
        };
        let (object, _) = network.update(&who, &object, &mask, wait).await?;
        Ok(document::to_json(&object))
    };
    respond(changed.await)
}

async fn delete(
    State(network): State<Network>,
    InPath((plural, name)): InPath<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let who = check_writes(&network, &request);
    drop(request);
    let deleted = async {
        let who = who?;
        let kind = kind_in_path(&plural)?;
        let parameters = Parameters::read(query.as_deref(), &["version", "wait", "cascade"])?;
        let version = parameters.text("version");
        let cascade = match parameters.get("cascade") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("cascade", "it is neither", "give true or false")),
        };
        let wait = parameters.wait()?;
        let deletion = Deletion {
            kind,
            name: &name,
            version: &version,
        };
        network.delete(&who, deletion, cascade, wait).await?;
        Ok(json!({}))
    };
    respond(deleted.await)
}

async fn apply(
    State(network): State<Network>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let applied = async {
        Parameters::read(query.as_deref(), &[])?;
        let who = check_writes(&network, &request)?;
        let (value, _room) = body(&network, &who, request).await?;
        let wanted = document::message(&catalog().message("ApplyRequest"), &value)?;
        let text = |field: &str| -> String {
            let value = wanted.get_field_by_name(field);
            value
                .as_deref()
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let flag = |field: &str| {
            let value = wanted.get_field_by_name(field);
            value
                .as_deref()
                .and_then(prost_reflect::Value::as_bool)
                .unwrap_or_default()
        };
        let wait = wanted.get_field_by_name("wait");
        let wait = match wait
            .as_deref()
            .and_then(prost_reflect::Value::as_enum_number)
        {
            Some(1) => Wait::Southbound,
            Some(2) => Wait::Chassis,
            _ => Wait::Commit,
        };
        let objects = wanted.get_field_by_name("objects");
        let objects = objects
            .as_deref()
            .and_then(prost_reflect::Value::as_list)
            .unwrap_or_default();
        let objects: Vec<DynamicMessage> = objects
            .iter()
            .filter_map(|object| object.as_message().cloned())
            .collect();
        let allowed = Allowed {
            adopt: flag("adopt"),
            nothing: flag("allow_empty"),
            owners: None,
        };
        let (owner, wait) = (text("owner"), (!flag("dry_run")).then_some(wait));
        let done = network.apply(&who, &owner, &objects, allowed, wait);
        let (plan, generation) = done.await?;
        let response = objects::apply::response(&plan, generation);
        let mut message = DynamicMessage::new(catalog().message("ApplyResponse"));
        let read = message.transcode_from(&response);
        read.map_err(|error| Trouble::Unknown(error.to_string()))?;
        Ok(document::to_json(&message))
    };
    respond(applied.await)
}

async fn watch(
    State(network): State<Network>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let started = || {
        let known = ["kinds", "owner", "version"];
        let parameters = Parameters::read(query.as_deref(), &known)?;
        let kinds = parameters.get("kinds").unwrap_or_default().split(',');
        let kinds = kinds.filter(|name| !name.is_empty());
        let kinds = kinds.map(|name| Ok(kind_in_path(name)?.order));
        let last = request.headers().get("last-event-id");
        let last = last.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let interest = Interest {
            kinds: kinds.collect::<Result<_, Trouble>>()?,
            owner: parameters.text("owner"),
            // A browser that comes back says what it had last.
            version: last.unwrap_or_else(|| parameters.text("version")),
        };
        network.watch(who(&network, &request)?, interest)
    };
    match started() {
        Err(trouble) => wrong(trouble),
        Ok(told) => {
            let (sender, events) = mpsc::channel(1);
            tokio::spawn(events_of(told, sender));
            let events = ReceiverStream::new(events).map(Ok::<_, Infallible>);
            let kind = HeaderValue::from_static("text/event-stream");
            ([(CONTENT_TYPE, kind)], Body::from_stream(events)).into_response()
        }
    }
}
