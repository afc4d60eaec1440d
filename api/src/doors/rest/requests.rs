//! What is asked: who asks, the parameters, and bodies.

use std::net::IpAddr;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::HeaderName;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use objects::{Code, Kind, Refused, catalog, document};
use prost_reflect::DynamicMessage;
use serde_json::Value;
use store::caller::Caller;

use super::answers::{invalid, wrong};
use crate::doors::grpc::MAX_MESSAGE_BYTES;
use crate::doors::network::{Network, Wait};
use crate::doors::room::Taken;
use crate::doors::trouble::Trouble;
use crate::doors::who::Who;

/// Whether a connection is TCP without TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsOpen(pub(super) bool);

/// Parts of a path. What is no text is told as everything else that is wrong.
#[derive(Clone, Debug)]
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T> FromRequestParts<S> for InPath<T>
where
    Path<T>: FromRequestParts<S, Rejection = PathRejection>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(error) => {
                let remedy = "write names in UTF-8, percent-encoded";
                Err(wrong(invalid("path", &error.body_text(), remedy)))
            }
        }
    }
}

/// The kind that a path names.
pub(super) fn kind_in_path(plural: &str) -> Result<&'static Kind, Trouble> {
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
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads those that there may be.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Trouble> {
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

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn wait(&self) -> Result<Wait, Trouble> {
        wait_called(self.get("wait"))
    }
}

pub(super) fn wait_called(text: Option<&str>) -> Result<Wait, Trouble> {
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

/// Lets a request through when the token that it shows, if it shows one, is known here or nowhere.
pub(super) async fn know_token(
    State(network): State<Network>,
    request: Request,
    next: Next,
) -> Response {
    if request.headers().contains_key(AUTHORIZATION) {
        let shown = header(&request, AUTHORIZATION).to_owned();
        if let Err(trouble) = network.know(&shown).await {
            return wrong(trouble);
        }
    }
    next.run(request).await
}

/// Who asks.
pub(super) fn who(network: &Network, request: &Request) -> Result<Who, Trouble> {
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
pub(super) fn check_host(host: &str) -> Result<(), Trouble> {
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
pub(super) fn check_writes(network: &Network, request: &Request) -> Result<Who, Trouble> {
    let who = who(network, request)?;
    network.check_writes(&who.caller)?;
    if request.headers().contains_key(ORIGIN) {
        let text = "a request that a web page has made cannot change the network; send it without `Origin`";
        return Err(Trouble::Denied(text.to_owned()));
    }
    Ok(who)
}

/// A header that is text; empty if it is not there.
pub(super) fn header(request: &Request, name: HeaderName) -> &str {
    let value = request.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The body of a request, and the room that it takes until it is dropped.
pub(super) async fn body(
    network: &Network,
    who: &Who,
    request: Request,
) -> Result<(Value, Taken), Trouble> {
    if !header(&request, CONTENT_TYPE).starts_with("application/json") {
        let remedy = "say `content-type: application/json`";
        return Err(invalid("content-type", "it is not JSON's", remedy));
    }
    let mut room = network.room(who);
    let bytes = room
        .read_json(request.into_body(), MAX_MESSAGE_BYTES)
        .await?;
    let value = document::read_json(&bytes).map_err(|why| {
        invalid(
            "body",
            &why,
            "send a JSON object as /openapi.json describes it",
        )
    })?;
    Ok((value, room))
}

/// Reads an object of the kind that the path names.
pub(super) fn object_of(kind: &Kind, value: &Value) -> Result<DynamicMessage, Trouble> {
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
