//! The envelope of every message: JSON-RPC 1.0 as RFC 7047, section 4, uses it.
//!
//! Parsing a message looks at its envelope only. What is inside `params` and `result` stays text, borrowed, until
//! somebody who knows the method reads it: the answer to a monitor request can be hundreds of megabytes, and no tree
//! of JSON values is ever built from it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, brief};

/// One message, borrowed from the frame that it came in.
#[derive(Debug)]
pub enum Message<'a> {
    /// A request, which wants an answer with the same `id`.
    Request {
        /// Any JSON value but null.
        id: Value,
        /// The method's name.
        method: Cow<'a, str>,
        /// Its parameters: an array.
        params: &'a RawValue,
    },
    /// A request that wants no answer.
    Notification {
        /// The method's name.
        method: Cow<'a, str>,
        /// Its parameters: an array.
        params: &'a RawValue,
    },
    /// An answer.
    Response {
        /// The `id` of the request.
        id: Value,
        /// The `result`, or else the `error`.
        result: Result<&'a RawValue, Error>,
    },
}

/// Why a frame is not a message. The peer cannot be talked to after this.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The frame is not JSON.
    #[error("the message is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The frame is not UTF-8.
    #[error("the message is not UTF-8 after byte {0}")]
    Utf8(usize),
    /// The JSON is not a JSON-RPC message.
    #[error("the message is not JSON-RPC: {what} (in {message})")]
    Envelope {
        /// What is wrong.
        what: &'static str,
        /// The message's beginning.
        message: String,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Value>,
}

const EMPTY_ARRAY: &str = "[]";

impl<'a> Message<'a> {
    /// Reads the envelope of a frame. Unknown members are ignored, as Open vSwitch's own additions demand.
    pub fn parse(frame: &'a [u8]) -> Result<Self, MessageError> {
        let text =
            std::str::from_utf8(frame).map_err(|error| MessageError::Utf8(error.valid_up_to()))?;
        let envelope: Envelope<'a> = serde_json::from_str(text)?;
        let wrong = |what| {
            Err(MessageError::Envelope {
                what,
                message: brief_text(text),
            })
        };
        match envelope {
            Envelope {
                method: Some(method),
                params,
                id,
                ..
            } => {
                let params = match params {
                    Some(params) if params.get().starts_with('[') => params,
                    // The manual of Open vSwitch has a method with null here.
                    None => empty_array(),
                    Some(params) if params.get() == "null" => empty_array(),
                    Some(_) => return wrong("\"params\" should be an array"),
                };
                Ok(if id.is_null() {
                    Self::Notification { method, params }
                } else {
                    Self::Request { id, method, params }
                })
            }
            Envelope {
                id: Value::Null, ..
            } => wrong("neither \"method\" nor \"id\" is given"),
            Envelope {
                id,
                error: Some(error),
                ..
            } if !error.is_null() => Ok(Self::Response {
                id,
                result: Err(Error::from_json(&error)),
            }),
            Envelope {
                id,
                result: Some(result),
                ..
            } => Ok(Self::Response {
                id,
                result: Ok(result),
            }),
            // A null result is the same as none to the parser.
            Envelope { id, .. } => Ok(Self::Response {
                id,
                result: Ok(RawValue::NULL),
            }),
        }
    }
}

fn empty_array() -> &'static RawValue {
    serde_json::from_str(EMPTY_ARRAY).unwrap_or(RawValue::NULL)
}

fn brief_text(text: &str) -> String {
    brief(&Value::String(text.to_owned()))
}

/// A request's bytes.
pub fn request(id: &Value, method: &str, params: &impl Serialize) -> Vec<u8> {
    encode(&Outgoing::Call { id, method, params })
}

/// Writes a request behind what is there: large ones are not copied.
pub fn write_request(out: &mut Vec<u8>, id: &Value, method: &str, params: &impl Serialize) {
    write(out, &Outgoing::Call { id, method, params });
}

/// A notification's bytes. A parameter that is sent to many is encoded once, as a [`RawValue`], and copied from there.
pub fn notification(method: &str, params: &impl Serialize) -> Vec<u8> {
    let id = &Value::Null;
    encode(&Outgoing::Call { id, method, params })
}

/// A successful answer's bytes.
pub fn response(id: &Value, result: &impl Serialize) -> Vec<u8> {
    encode(&Outgoing::Success { id, result })
}

/// Writes a successful answer behind what is there: large ones are not copied.
pub fn write_response(out: &mut Vec<u8>, id: &Value, result: &impl Serialize) {
    write(out, &Outgoing::Success { id, result });
}

/// A failed answer's bytes.
pub fn error_response(id: &Value, error: &Error) -> Vec<u8> {
    // Clients compare these with a bare string, as Open vSwitch's server sends it.
    let error = match error.kind {
        ErrorKind::UnknownMethod | ErrorKind::UnknownMonitor => error.kind.name().into(),
        _ => error.to_json(),
    };
    let failure: Outgoing<'_, Value> = Outgoing::Failure { id, error };
    encode(&failure)
}

enum Outgoing<'a, T> {
    Call {
        id: &'a Value,
        method: &'a str,
        params: &'a T,
    },
    Success {
        id: &'a Value,
        result: &'a T,
    },
    Failure {
        id: &'a Value,
        error: Value,
    },
}

impl<T: Serialize> Serialize for Outgoing<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        match self {
            Self::Call { id, method, params } => {
                map.serialize_entry("id", id)?;
                map.serialize_entry("method", method)?;
                map.serialize_entry("params", params)?;
            }
            Self::Success { id, result } => {
                map.serialize_entry("id", id)?;
                map.serialize_entry("result", result)?;
                map.serialize_entry("error", &Value::Null)?;
            }
            Self::Failure { id, error } => {
                map.serialize_entry("id", id)?;
                map.serialize_entry("result", &Value::Null)?;
                map.serialize_entry("error", error)?;
            }
        }
        map.end()
    }
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, message);
    bytes
}

fn write(out: &mut Vec<u8>, message: &impl Serialize) {
    serde_json::to_writer(out, message).expect("messages have string keys and no failing parts");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match Message::parse(text.as_bytes()) {
            Ok(Message::Request { id, method, params }) => {
                format!("request {id} {method} {params}")
            }
            Ok(Message::Notification { method, params }) => {
                format!("notification {method} {params}")
            }
            Ok(Message::Response {
                id,
                result: Ok(result),
            }) => format!("result {id} {result}"),
            Ok(Message::Response {
                id,
                result: Err(error),
            }) => format!("error {id} {error}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn envelopes_are_told_apart() {
        check(
            r#"{"id":1,"method":"echo","params":[ 1]}"#,
            r#"request 1 echo [ 1]"#,
        );
        check(
            r#"{"id":["a"],"method":"m\u0041","params":null}"#,
            r#"request ["a"] mA []"#,
        );
        check(
            r#"{"id":null,"method":"update","params":[{}]}"#,
            "notification update [{}]",
        );
        check(
            r#"{"method":"update","params":[]}"#,
            "notification update []",
        );
        check(r#"{"id":"x","result":{},"error":null}"#, r#"result "x" {}"#);
        check(r#"{"id":1,"result":null,"error":null}"#, "result 1 null");
        check(
            r#"{"id":1,"error":"unknown monitor"}"#,
            "error 1 unknown monitor",
        );
        check(
            r#"{"id":1,"result":null,"error":{"error":"timed out","details":"why"}}"#,
            "error 1 timed out: why",
        );
        check(
            r#"{"a":1}"#,
            r#"the message is not JSON-RPC: neither "method" nor "id" is given (in "{\"a\":1}")"#,
        );
        check(
            r#"{"id":1,"method":"m","params":{}}"#,
            "the message is not JSON-RPC: \"params\" should be an array (in \
             \"{\\\"id\\\":1,\\\"method\\\":\\\"m\\\",\\\"params\\\":{}}\")",
        );
        check(
            r#"{"id":1,]"#,
            "the message is not JSON: key must be a string at line 1 column 9",
        );
        let error = Message::parse(b"{\"id\":\"\xff\"}").unwrap_err();
        assert_eq!(error.to_string(), "the message is not UTF-8 after byte 7");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        check(
            &text(request(&json!(3), "get_schema", &json!(["db"]))),
            r#"request 3 get_schema ["db"]"#,
        );
        check(
            &text(notification("cancel", &json!([3]))),
            "notification cancel [3]",
        );
        check(&text(response(&json!(3), &json!([]))), "result 3 []");
        let error = Error::syntax("why");
        check(
            &text(error_response(&json!(3), &error)),
            "error 3 syntax error: why",
        );
    }
}
