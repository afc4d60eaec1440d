//! The agent's events as JSON: what happened to it can be recorded (`--record-events`) and made to happen again
//! (`--replay-events`), to an agent whose effects nobody carries out: what they led to is in the recording, too.
//!
//! | event | JSON |
//! | --- | --- |
//! | from the local database | `{"local": …}`, see [`replica::record`] |
//! | from the southbound | `{"south": …, "epoch": N}`; N counts its replicas |
//! | from the switch | `{"switch": "connected"}`, `{"switch": {"data": HEX}}`, `{"switch": {"closed": REASON}}`, `{"switch": "full"}`, `{"switch": "drained"}` |
//! | a request | `{"request": [COMMAND, ARGUMENT, …]}` |
//! | time passed | `"tick"` |

use std::collections::BTreeMap;
use std::fmt::Write as _;

use daemon::Recording;
use daemon::unixctl::Request;
use replica::record::{EventReader, event_to_json};
use serde_json::{Value, json};

use crate::core::{Core, Event, SwitchEvent};
use crate::vswitch;

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    File(#[from] daemon::RecordingError),
    /// An event from a database.
    #[error(transparent)]
    Database(#[from] replica::record::RecordError),
    /// Another event.
    #[error("a recorded event makes no sense: {0}")]
    Event(Value),
    /// It is no recording, or another daemon's.
    #[error("it is no recording of this daemon: it begins with {0}")]
    Other(Value),
}

/// What a recording begins with: the host's name, and the chassis' where it does not come from the switch's database.
pub fn about(hostname: &str, chassis: Option<&str>) -> Value {
    json!({
        "recorded": "weft-controller",
        "version": crate::core::VERSION,
        "host": hostname,
        "chassis": chassis,
    })
}

/// An event.
pub fn to_json(event: &Event) -> Value {
    match event {
        Event::Local(event) => json!({"local": event_to_json(vswitch::schema(), event)}),
        Event::South(epoch, event) => {
            json!({"south": event_to_json(sb_db::schema(), event), "epoch": epoch})
        }
        Event::Switch(SwitchEvent::Connected) => json!({"switch": "connected"}),
        Event::Switch(SwitchEvent::Full) => json!({"switch": "full"}),
        Event::Switch(SwitchEvent::Drained) => json!({"switch": "drained"}),
        Event::Switch(SwitchEvent::Data(bytes)) => json!({"switch": {"data": hex(bytes)}}),
        Event::Switch(SwitchEvent::Closed(reason)) => json!({"switch": {"closed": reason}}),
        Event::Request(request) => {
            let words = [request.command].into_iter();
            let words = words.chain(request.args.iter().map(String::as_str));
            json!({"request": words.collect::<Vec<_>>()})
        }
        Event::Tick => json!("tick"),
    }
}

/// Reads events back.
#[derive(Debug)]
pub struct Reader {
    local: EventReader,
    /// Of the southbound's replicas by their number, the last two: an earlier one may be heard after its successor.
    south: BTreeMap<u64, EventReader>,
    /// The commands that there are.
    commands: Vec<&'static str>,
}

impl Reader {
    /// From the first event on.
    pub fn new(commands: impl IntoIterator<Item = &'static str>) -> Self {
        Reader {
            local: EventReader::new(vswitch::schema()),
            south: BTreeMap::new(),
            commands: commands.into_iter().collect(),
        }
    }

    /// The event that this is. A request's answer goes nowhere.
    pub fn read(&mut self, json: &Value) -> Result<Event, ReplayError> {
        if json == "tick" {
            return Ok(Event::Tick);
        }
        if let Some(event) = json.get("local") {
            return Ok(Event::Local(self.local.read(event)?));
        }
        if let Some(event) = json.get("south") {
            let epoch = json.get("epoch").and_then(Value::as_u64).unwrap_or(1);
            self.south
                .retain(|other, _| other.saturating_add(1) >= epoch);
            let reader = self.south.entry(epoch);
            let reader = reader.or_insert_with(|| EventReader::new(sb_db::schema()));
            return Ok(Event::South(epoch, reader.read(event)?));
        }
        let event = match (json.get("switch"), json.get("request")) {
            (Some(event), _) => switch_event(event).map(Event::Switch),
            (_, Some(words)) => self.request(words).map(Event::Request),
            _ => None,
        };
        event.ok_or_else(|| ReplayError::Event(json.clone()))
    }

    fn request(&self, words: &Value) -> Option<Request> {
        let words: Option<Vec<&str>> = words.as_array()?.iter().map(Value::as_str).collect();
        let words = words?;
        let (name, args) = words.split_first()?;
        let command = self.commands.iter().find(|command| *command == name)?;
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Some(Request::local(command, args).0)
    }
}

/// Lets happen again what was recorded, and says where the agent stands then: what `status` answers.
pub fn replay(
    mut recording: Recording,
    commands: impl IntoIterator<Item = &'static str>,
) -> Result<String, ReplayError> {
    if recording.about["recorded"] != "weft-controller" {
        return Err(ReplayError::Other(recording.about));
    }
    let host = recording.about["host"].as_str().unwrap_or_default();
    let mut core = Core::new(host.to_owned());
    if let Some(chassis) = recording.about["chassis"].as_str() {
        core.set_chassis_name(chassis.to_owned());
    }
    let mut reader = Reader::new(commands);
    let mut count = 0_u64;
    while let Some((now, event)) = recording.next_event()? {
        let event = reader.read(&event)?;
        // What came of it is recorded as further events.
        let _ = core.step(now, event);
        count += 1;
    }
    Ok(format!("{count} events replayed\n{}", core.overview()))
}

fn switch_event(json: &Value) -> Option<SwitchEvent> {
    match json.as_str() {
        Some("connected") => return Some(SwitchEvent::Connected),
        Some("full") => return Some(SwitchEvent::Full),
        Some("drained") => return Some(SwitchEvent::Drained),
        _ => {}
    }
    if let Some(reason) = json.get("closed") {
        return Some(SwitchEvent::Closed(reason.as_str()?.to_owned()));
    }
    unhex(json.get("data")?.as_str()?).map(SwitchEvent::Data)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let [high, low] = pair else { return None };
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        })
        .collect()
}
