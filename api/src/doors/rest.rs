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

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use objects::apply::Allowed;
use objects::list::Filter;
use objects::write::Deletion;
use objects::{Code, Kind, Refused, Violation, catalog, document};
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use store::caller::Caller;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::calls::{Interest, Told};
use super::grpc::MAX_MESSAGE_BYTES;
use super::listen::{Connection, MAX_CONNECTIONS};
use super::network::{Network, Trouble, Wait};
use super::who::Who;
use crate::openapi;

/// So long the head of a request may take, and the pause between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// So long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A watcher hears something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The head of a request is at most so large.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Whether a connection is TCP without TLS.
#[derive(Clone, Copy, Debug)]
struct IsOpen(bool);

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
        .with_state(network)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], format!("{body}\n")).into_response()
}

/// What went wrong, as a `google.rpc.Status`.
fn wrong(trouble: Trouble) -> Response {
    let (status, body) = status_of(trouble);
    let mut response = answer(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

/// The code of HTTP, and the `google.rpc.Status`.
fn status_of(trouble: Trouble) -> (StatusCode, Value) {
    let (status, number, name, message, violations) = match trouble {
        Trouble::Refused(Refused {
            code,
            message,
            violations,
        }) => {
            let (status, number) = match code {
                Code::Invalid => (StatusCode::BAD_REQUEST, 3),
                Code::NotFound => (StatusCode::NOT_FOUND, 5),
                Code::AlreadyExists => (StatusCode::CONFLICT, 6),
                Code::Conflict => (StatusCode::BAD_REQUEST, 9),
                Code::Stale => (StatusCode::CONFLICT, 10),
                Code::Denied => (StatusCode::FORBIDDEN, 7),
                Code::Unsupported => (StatusCode::NOT_IMPLEMENTED, 12),
            };
            (status, number, code.name(), message, violations)
        }
        Trouble::Unauthenticated(text) => (
            StatusCode::UNAUTHORIZED,
            16,
            "UNAUTHENTICATED",
            text,
            vec![],
        ),
        Trouble::Denied(text) => (StatusCode::FORBIDDEN, 7, "PERMISSION_DENIED", text, vec![]),
        Trouble::Unavailable(text) => (
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            "UNAVAILABLE",
            text,
            vec![],
        ),
        Trouble::Late(text) => (
            StatusCode::GATEWAY_TIMEOUT,
            4,
            "DEADLINE_EXCEEDED",
            text,
            vec![],
        ),
        Trouble::Exhausted(text) => (
            StatusCode::TOO_MANY_REQUESTS,
            8,
            "RESOURCE_EXHAUSTED",
            text,
            vec![],
        ),
        Trouble::Unknown(text) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            2,
            "UNKNOWN",
            text,
            vec![],
        ),
    };
    let fields = violations.iter().map(|violation| {
        let description = format!("{}; {}", violation.why, violation.remedy);
        json!({"field": violation.field, "description": description})
    });
    let fields: Vec<Value> = fields.collect();
    let mut body = json!({"code": number, "status": name, "message": message});
    if !fields.is_empty() {
        body["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": fields,
        }]);
    }
    (status, body)
}

fn invalid(field: &str, why: &str, remedy: &str) -> Trouble {
    Refused::field(Code::Invalid, Violation::new(field, why, remedy)).into()
}

/// The kind that a path names.
fn kind_in_path(plural: &str) -> Result<&'static Kind, Trouble> {
    let mut kinds = catalog().kinds().iter();
    kinds
        .find(|kind| kind.definition.plural == plural)
        .ok_or_else(|| {
            let text = format!(
                "there are no {plural:?}; /openapi.json describes the paths that there are"
            );
            Refused::new(Code::NotFound, text).into()
        })
}

/// The parameters of a request: each may be there once.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads those that there may be.
    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Trouble> {
        let query = query.unwrap_or_default().as_bytes();
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query) {
            if !known.contains(&&*name) {
                let remedy = match known.is_empty() {
                    true => "leave it out".to_owned(),
                    false => format!("parameters here are {}", known.join(", ")),
                };
                return Err(invalid(&name, "there is no such parameter", &remedy));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "it is there twice", "give it once"));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    fn wait(&self) -> Result<Wait, Trouble> {
        wait_called(self.get("wait"))
    }
}

fn wait_called(text: Option<&str>) -> Result<Wait, Trouble> {
    match text {
        None | Some("WAIT_UNSPECIFIED") => Ok(Wait::Commit),
        Some("WAIT_SOUTHBOUND") => Ok(Wait::Southbound),
        Some("WAIT_CHASSIS") => Ok(Wait::Chassis),
        Some(_) => Err(invalid(
            "wait",
            "there is no such state",
            "give WAIT_SOUTHBOUND or WAIT_CHASSIS, or leave it out",
        )),
    }
}

/// Who asks.
fn who(network: &Network, request: &Request) -> Result<Who, Trouble> {
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>().cloned();
    // Each connection has one.
    let caller = caller.unwrap_or_else(|| Caller::new(store::caller::Role::Unknown("".into()), ""));
    let authorization = request.headers().get(AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
    let who = network.who(caller, authorization)?;
    let is_open = extensions.get::<IsOpen>().is_some_and(|open| open.0);
    if is_open && !who.has_token() {
        check_host(header(request, HOST))?;
    }
    Ok(who)
}

/// On TCP without TLS everybody who connects from this machine is let in, a browser with the page of a stranger, too, whose
/// name leads here (DNS rebinding). The header `host` then has that name.
fn check_host(host: &str) -> Result<(), Trouble> {
    let name = match host.rsplit_once(':') {
        _ if host.parse::<IpAddr>().is_ok() => host,
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    let is_known = name.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok();
    match is_known {
        true => Ok(()),
        false => Err(Trouble::Denied(format!(
            "the request is for {host:?}; without a token, call this server by its address or localhost"
        ))),
    }
}

/// Whether somebody may change something. Web pages of others may not: a browser would send what they want in the name of
/// whoever looks at them.
fn check_writes(network: &Network, request: &Request) -> Result<Who, Trouble> {
    let who = who(network, request)?;
    network.check_writes(&who.caller)?;
    if request.headers().contains_key(ORIGIN) {
        let text = "a request that a web page has made cannot change the network; send it without `Origin`";
        return Err(Trouble::Denied(text.to_owned()));
    }
    Ok(who)
}

/// A header that is text; empty if it is not there.
fn header(request: &Request, name: HeaderName) -> &str {
    let value = request.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn body(network: &Network, request: Request) -> Result<Value, Trouble> {
    if !header(&request, CONTENT_TYPE).starts_with("application/json") {
        let remedy = "say `content-type: application/json`";
        return Err(invalid("content-type", "it is not JSON's", remedy));
    }
    let length = header(&request, CONTENT_LENGTH).parse();
    // What is read takes some times the room of its text.
    let _room = network.room(length.unwrap_or(MAX_MESSAGE_BYTES)).await?;
    let reading = to_bytes(request.into_body(), MAX_MESSAGE_BYTES);
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let why = format!("it breaks off, or has more than {MAX_MESSAGE_BYTES} bytes");
            return Err(invalid("body", &why, "send it in parts"));
        }
        Err(_) => {
            return Err(invalid(
                "body",
                "it did not come in time",
                "send it at once",
            ));
        }
    };
    document::read_json(&bytes).map_err(|why| {
        invalid(
            "body",
            &why,
            "send a JSON object as /openapi.json describes it",
        )
    })
}

fn respond(done: Result<Value, Trouble>) -> Response {
    match done {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(trouble) => wrong(trouble),
    }
}

async fn list(
    State(network): State<Network>,
    Path(plural): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let page = || {
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
        let page = network.list(&who(&network, &request)?, kind, &filter, size, &token)?;
        let objects: Vec<Value> = page.objects.iter().map(document::to_json).collect();
        let mut body = json!({"objects": objects, "version": page.version});
        if let Some(next) = page.next {
            body["next_page_token"] = json!(next);
        }
        Ok(body)
    };
    respond(page())
}

async fn one(
    State(network): State<Network>,
    Path((plural, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let object = || {
        let kind = kind_in_path(&plural)?;
        Parameters::read(query.as_deref(), &[])?;
        let object = network.get(&who(&network, &request)?, kind, &name)?;
        Ok(document::to_json(&object))
    };
    respond(object())
}

/// Reads an object of the kind that the path names.
fn object_of(kind: &Kind, value: &Value) -> Result<DynamicMessage, Trouble> {
    let object = document::object(value).map_err(|refused| refused.within("object"))?;
    match object.has_field(&kind.field) {
        true => Ok(object),
        false => {
            let remedy = format!("give `{}`, or use the path of its kind", kind.label());
            Err(invalid(
                "object",
                "it is not of the kind of the path",
                &remedy,
            ))
        }
    }
}

async fn create(
    State(network): State<Network>,
    Path(plural): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let made = async {
        let kind = kind_in_path(&plural)?;
        let wait = Parameters::read(query.as_deref(), &["wait"])?.wait()?;
        let who = check_writes(&network, &request)?;
        let object = object_of(kind, &body(&network, request).await?)?;
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
    Path((plural, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let changed = async {
        let kind = kind_in_path(&plural)?;
        let parameters = Parameters::read(query.as_deref(), &["update_mask", "wait"])?;
        let wait = parameters.wait()?;
        let who = check_writes(&network, &request)?;
        let mut value = body(&network, request).await?;
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
    Path((plural, name)): Path<(String, String)>,
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
        let wanted = document::message(
            &catalog().message("ApplyRequest"),
            &body(&network, request).await?,
        )?;
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

/// Makes events of what is told, and a comment now and then, by which a connection that broke is noticed.
async fn events_of(mut told: mpsc::Receiver<Result<Told, Trouble>>, sender: mpsc::Sender<String>) {
    loop {
        let text = match tokio::time::timeout(HEARTBEAT, told.recv()).await {
            Err(_) => ":\n\n".to_owned(),
            Ok(Some(told)) => event(told),
            Ok(None) => return,
        };
        if sender.send(text).await.is_err() {
            return;
        }
    }
}

/// A server-sent event.
fn event(told: Result<Told, Trouble>) -> String {
    let told = match told {
        Ok(told) => told,
        Err(trouble) => {
            let (_, status) = status_of(trouble);
            return format!(
                "event: error
data: {status}

"
            );
        }
    };
    let changed: Vec<Value> = told.changed.iter().map(document::to_json).collect();
    let gone = told.gone.iter().map(|(kind, uuid)| {
        json!({"kind": kind.definition.number.as_str_name(), "uuid": uuid.to_string()})
    });
    let gone: Vec<Value> = gone.collect();
    let mut data = json!({"changed": changed, "gone": gone});
    if told.reset {
        data["reset"] = json!(true);
    }
    match told.version {
        Some(version) => {
            data["version"] = json!(version);
            format!("id: {version}\ndata: {data}\n\n")
        }
        None => format!("data: {data}\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_names_are_refused() {
        for (host, is_let_in) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("::1", true),
            ("LocalHost", true),
            ("localhost:1", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("", false),
        ] {
            assert_eq!(check_host(host).is_ok(), is_let_in, "{host}");
        }
    }
}
