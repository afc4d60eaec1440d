//! Changes as server-sent events.

use std::time::Duration;

use objects::document;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answers::status_of;
use crate::doors::calls::Told;
use crate::doors::trouble::Trouble;

/// A watcher hears something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Makes events of what is told, and a comment now and then, by which a connection that broke is noticed.
pub(super) async fn events_of(
    mut told: mpsc::Receiver<Result<Told, Trouble>>,
    sender: mpsc::Sender<String>,
) {
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
