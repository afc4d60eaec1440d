//! What a client may ask of a server: every method of RFC 7047, section 4.1, and of Open vSwitch's extensions.
//!
//! [`Request::parse`] reads a message as far as it can be read without knowing the databases; the rest, operations and
//! monitor requests, is read with [`Transaction::read`](crate::Transaction::read) and
//! [`MonitorSpec::from_json`](crate::monitor::MonitorSpec::from_json) once the database's schema is found.

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::monitor::MonitorVersion;
use crate::operation::{Operations, is_id};

/// A request or notification that a server received.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// `list_dbs`: the names of the databases (section 4.1.1).
    ListDbs,
    /// `get_schema` (section 4.1.2).
    GetSchema {
        /// The database.
        database: String,
    },
    /// `transact` (section 4.1.3).
    Transact {
        /// The database.
        database: String,
        /// The operations, unread.
        operations: Operations<'a>,
    },
    /// `cancel`, a notification (section 4.1.4).
    Cancel {
        /// The `id` of the `transact`.
        id: Value,
    },
    /// `monitor`, `monitor_cond` or `monitor_cond_since` (section 4.1.5).
    Monitor {
        /// Which of the three.
        version: MonitorVersion,
        /// The database.
        database: String,
        /// What updates will name this monitor by.
        monitor: Value,
        /// The tables, unread.
        tables: Value,
        /// For `monitor_cond_since`: the last transaction that the client knows.
        last_transaction: Option<Uuid>,
    },
    /// `monitor_cond_change`.
    MonitorCondChange {
        /// The monitor's name.
        monitor: Value,
        /// Its name from now on.
        renamed: Value,
        /// The tables with new conditions, unread.
        tables: Value,
    },
    /// `monitor_cancel` (section 4.1.7).
    MonitorCancel {
        /// The monitor's name.
        monitor: Value,
    },
    /// `lock` (section 4.1.8).
    Lock {
        /// The lock's name.
        lock: String,
    },
    /// `steal` (section 4.1.8).
    Steal {
        /// The lock's name.
        lock: String,
    },
    /// `unlock` (section 4.1.8).
    Unlock {
        /// The lock's name.
        lock: String,
    },
    /// `echo` (section 4.1.11): the answer is the same.
    Echo {
        /// What to send back.
        params: Value,
    },
    /// `set_db_change_aware`: whether to keep the connection when databases come and go.
    SetDbChangeAware {
        /// Whether the client takes notice of such changes itself.
        aware: bool,
    },
    /// `get_server_id`: the UUID of this run of the server.
    GetServerId,
    /// `convert`: a new schema for a database.
    Convert {
        /// The database.
        database: String,
        /// Its schema from now on, unread.
        schema: Value,
    },
}

impl<'a> Request<'a> {
    /// Reads a request or notification with this method.
    ///
    /// # Errors
    /// "unknown method", or "syntax error" for parameters that the method does not have; for a `transact`, those of
    /// [`Operations::of_transact`].
    pub fn parse(method: &str, params: &'a RawValue) -> Result<Self, Error> {
        if method == "transact" {
            return Self::transact(params.get());
        }
        let params: Vec<Value> = serde_json::from_str(params.get())
            .map_err(|error| Error::syntax(format!("{method} request params: {error}")))?;
        let expected = match method {
            "list_dbs" | "get_server_id" => "nothing",
            "get_schema" => "<db-name>",
            "cancel" | "monitor_cancel" => "one JSON value",
            "monitor" | "monitor_cond" => "<db-name>, a JSON value and tables",
            "monitor_cond_since" => "<db-name>, a JSON value, tables and a transaction UUID",
            "monitor_cond_change" => "two JSON values and tables",
            "lock" | "steal" | "unlock" => "<id>",
            "set_db_change_aware" => "one boolean",
            "convert" => "<db-name> and a schema",
            "echo" => {
                return Ok(Self::Echo {
                    params: Value::Array(params),
                });
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::UnknownMethod,
                    format!("No method named {method}."),
                ));
            }
        };
        let at = brief_params(&params);
        Self::of_params(method, params).ok_or_else(|| wrong_params(method, expected, &at))
    }

    fn transact(params: &'a str) -> Result<Self, Error> {
        match Operations::of_transact(params)? {
            Some((database, operations)) => Ok(Self::Transact {
                database,
                operations,
            }),
            None => Err(wrong_params(
                "transact",
                "<db-name> and operations",
                &first_params(params),
            )),
        }
    }

    fn of_params(method: &str, params: Vec<Value>) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = |value: &Value| text(value).filter(|text| is_id(text));
        let mut params = params.into_iter();
        let request = match method {
            "list_dbs" | "get_server_id" => {
                // Some clients send a value here; nothing depends on it.
                params.by_ref().for_each(drop);
                match method {
                    "list_dbs" => Self::ListDbs,
                    _ => Self::GetServerId,
                }
            }
            "get_schema" => Self::GetSchema {
                database: text(&params.next()?)?,
            },
            "cancel" => Self::Cancel { id: params.next()? },
            "monitor" | "monitor_cond" | "monitor_cond_since" => {
                let version = match method {
                    "monitor" => MonitorVersion::V1,
                    "monitor_cond" => MonitorVersion::V2,
                    _ => MonitorVersion::V3,
                };
                Self::Monitor {
                    version,
                    database: text(&params.next()?)?,
                    monitor: params.next()?,
                    tables: params.next()?,
                    last_transaction: match version {
                        MonitorVersion::V3 => Some(Uuid::try_parse(params.next()?.as_str()?).ok()?),
                        _ => None,
                    },
                }
            }
            "monitor_cond_change" => Self::MonitorCondChange {
                monitor: params.next()?,
                renamed: params.next()?,
                tables: params.next()?,
            },
            "monitor_cancel" => Self::MonitorCancel {
                monitor: params.next()?,
            },
            "lock" => Self::Lock {
                lock: id(&params.next()?)?,
            },
            "steal" => Self::Steal {
                lock: id(&params.next()?)?,
            },
            "unlock" => Self::Unlock {
                lock: id(&params.next()?)?,
            },
            "set_db_change_aware" => Self::SetDbChangeAware {
                aware: params.next()?.as_bool()?,
            },
            "convert" => Self::Convert {
                database: text(&params.next()?)?,
                schema: params.next()?,
            },
            _ => return None,
        };
        params.next().is_none().then_some(request)
    }
}

fn wrong_params(method: &str, expected: &str, at: &Value) -> Error {
    Error::syntax(format!("{method} request params must be {expected}")).at(at)
}

/// So many parameters an error shows.
const SHOWN: usize = 4;

/// As much of the parameters as an error can show: they may be large, and are moved into the request.
fn brief_params(params: &[Value]) -> Value {
    let small = |value: &Value| !value.is_array() && !value.is_object();
    let shown = params.iter().take(SHOWN).filter(|value| small(value));
    Value::Array(shown.cloned().collect())
}

/// The same of parameters that are text yet.
fn first_params(params: &str) -> Value {
    let params: Vec<&RawValue> = serde_json::from_str(params).unwrap_or_default();
    let small = |value: &&&RawValue| !value.get().starts_with(['[', '{']);
    let shown = params.iter().take(SHOWN).filter(small);
    let shown = shown.filter_map(|value| serde_json::from_str(value.get()).ok());
    Value::Array(shown.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn parsed(method: &str, params: &Value, expected: Result<Request<'_>, &str>) {
        let raw = serde_json::value::to_raw_value(params).unwrap();
        let request = Request::parse(method, &raw).map_err(|error| error.to_string());
        assert_eq!(request, expected.map_err(str::to_owned));
    }

    #[test]
    fn requests_are_read() {
        let database = "T".to_owned();
        let abort = Operations::of_transact(r#"["T",{"op":"abort"}]"#);
        let abort = abort.unwrap().unwrap();
        parsed("list_dbs", &json!([]), Ok(Request::ListDbs));
        parsed("get_server_id", &json!([1]), Ok(Request::GetServerId));
        parsed("list_dbs", &json!([1]), Ok(Request::ListDbs));
        parsed(
            "transact",
            &json!(["T", {"op": "abort"}]),
            Ok(Request::Transact {
                database: database.clone(),
                operations: abort.1,
            }),
        );
        parsed(
            "monitor_cond_since",
            &json!(["T", ["m"], {}, Uuid::from_u128(3)]),
            Ok(Request::Monitor {
                version: MonitorVersion::V3,
                database,
                monitor: json!(["m"]),
                tables: json!({}),
                last_transaction: Some(Uuid::from_u128(3)),
            }),
        );
        parsed(
            "echo",
            &json!([1, {}]),
            Ok(Request::Echo {
                params: json!([1, {}]),
            }),
        );
    }

    #[test]
    fn wrong_requests_are_refused() {
        for (method, params, expected) in [
            ("foo", json!([]), "unknown method: No method named foo."),
            (
                "unlock",
                json!(["no id"]),
                "syntax error: unlock request params must be <id> (in [\"no id\"])",
            ),
            (
                "lock",
                json!([3]),
                "syntax error: lock request params must be <id> (in [3])",
            ),
            (
                "transact",
                json!([]),
                "syntax error: transact request params must be <db-name> and operations (in [])",
            ),
            (
                "monitor_cond_since",
                json!(["T", 1, {}, "zz"]),
                "syntax error: monitor_cond_since request params must be <db-name>, a JSON value, tables and a \
                 transaction UUID (in [\"T\",1,\"zz\"])",
            ),
        ] {
            parsed(method, &params, Err(expected));
        }
    }
}
