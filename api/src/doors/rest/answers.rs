//! What is answered: JSON, and for what goes wrong a `google.rpc.Status`.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use objects::{Code, Refused, Violation};
use serde_json::{Value, json};

use crate::doors::trouble::Trouble;

pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], format!("{body}\n")).into_response()
}

/// What went wrong, as a `google.rpc.Status`.
pub(super) fn wrong(trouble: Trouble) -> Response {
    let (status, body) = status_of(trouble);
    let mut response = answer(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

/// The code of HTTP, and the `google.rpc.Status`.
pub(super) fn status_of(trouble: Trouble) -> (StatusCode, Value) {
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

pub(super) fn invalid(field: &str, why: &str, remedy: &str) -> Trouble {
    Refused::field(Code::Invalid, Violation::new(field, why, remedy)).into()
}

pub(super) fn respond(done: Result<Value, Trouble>) -> Response {
    match done {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(trouble) => wrong(trouble),
    }
}
