//! northd's events as JSON: what happened to it can be recorded (`--record-events`) and made to happen again
//! (`--replay-events`), to a core whose effects nobody carries out: what they led to is in the recording, too.
//!
//! | event | JSON |
//! | --- | --- |
//! | all that is known is forgotten | `{"forgotten": SIDE}`; sides are `"north"` and `"south"` |
//! | a database is reached, with what it lacks | `{"connected": [SIDE, [WHAT, …]]}` |
//! | it is lost; its rows have come | `{"disconnected": SIDE}`, `{"synced": SIDE}` |
//! | rows | `{"changes": [SIDE, …]}`, see [`replica::record`] |
//! | the lock | `{"lock": BOOLEAN}` |
//! | what a transaction came to | `{"answered": [SIDE, null or [REASON, whether it is about rows]]}` |
//! | a request | `{"request": [COMMAND, ARGUMENT, …]}` |
//! | time passed | `"wake"` |

use daemon::Recording;
use replica::record::{EventReader, RecordError, changes_to_json};
use serde_json::{Value, json};

use crate::core::{Columns, Core, Event, Refusal, Request, Side};

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    File(#[from] daemon::RecordingError),
    /// Rows of a database.
    #[error(transparent)]
    Rows(#[from] RecordError),
    /// Another event.
    #[error("a recorded event makes no sense: {0}")]
    Event(Value),
    /// It is no recording, or another daemon's.
    #[error("it is no recording of this daemon: it begins with {0}")]
    Other(Value),
}

/// What a recording begins with.
pub fn about(version: &str, is_paused: bool) -> Value {
    json!({"recorded": "weft-northd", "version": version, "paused": is_paused})
}

/// An event.
pub fn to_json(event: &Event) -> Value {
    match event {
        Event::Forgotten(side) => json!({"forgotten": name(*side)}),
        Event::Connected(side, columns) => {
            let missing: Vec<&str> = columns.missing().collect();
            json!({"connected": [name(*side), missing]})
        }
        Event::Disconnected(side) => json!({"disconnected": name(*side)}),
        Event::Changes(side, changes) => {
            let schema = match side {
                Side::North => nb_db::schema(),
                Side::South => sb_db::schema(),
            };
            json!({"changes": [name(*side), changes_to_json(schema, changes)]})
        }
        Event::Synced(side) => json!({"synced": name(*side)}),
        Event::Lock(held) => json!({"lock": held}),
        Event::Answered(side, outcome) => {
            let refusal = outcome.as_ref().err();
            let refusal = refusal.map(|refusal| json!([refusal.reason, refusal.is_about_rows]));
            json!({"answered": [name(*side), refusal]})
        }
        Event::Request(request) => json!({"request": words(request)}),
        Event::Wake => json!("wake"),
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::North => "north",
        Side::South => "south",
    }
}

fn words(request: &Request) -> Vec<&str> {
    match request {
        Request::Pause(true) => vec!["pause"],
        Request::Pause(false) => vec!["resume"],
        Request::IsPaused => vec!["is-paused"],
        Request::Status => vec!["status"],
        Request::Recompute => vec!["recompute"],
        Request::Stats(node, counter) => {
            let words = [node, counter].into_iter().flatten();
            ["stats"]
                .into_iter()
                .chain(words.map(String::as_str))
                .collect()
        }
        Request::ClearStats => vec!["clear-stats"],
    }
}

/// Reads events back.
#[derive(Debug)]
pub struct Reader {
    north: EventReader,
    south: EventReader,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            north: EventReader::new(nb_db::schema()),
            south: EventReader::new(sb_db::schema()),
        }
    }
}

impl Reader {
    /// The event that this is.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&mut self, json: &Value) -> Result<Event, ReplayError> {
        let wrong = || ReplayError::Event(json.clone());
        if json == "wake" {
            return Ok(Event::Wake);
        }
        let member = json.as_object().and_then(|members| members.iter().next());
        let (kind, value) = member.ok_or_else(wrong)?;
        let event = match (kind.as_str(), side(value).or_else(|| side(&value[0]))) {
            ("forgotten", Some(side)) => {
                *self.reader(side) = match side {
                    Side::North => EventReader::new(nb_db::schema()),
                    Side::South => EventReader::new(sb_db::schema()),
                };
                Some(Event::Forgotten(side))
            }
            ("connected", Some(side)) => strings(&value[1])
                .map(|missing| Event::Connected(side, Columns::without(&missing, &[], &[]))),
            ("disconnected", Some(side)) => Some(Event::Disconnected(side)),
            ("synced", Some(side)) => Some(Event::Synced(side)),
            ("changes", Some(side)) => {
                let changes = self.reader(side).changes(&value[1])?;
                Some(Event::Changes(side, changes))
            }
            ("answered", Some(side)) => {
                answer(&value[1]).map(|outcome| Event::Answered(side, outcome))
            }
            ("lock", _) => value.as_bool().map(Event::Lock),
            ("request", _) => strings(value).and_then(request).map(Event::Request),
            _ => None,
        };
        event.ok_or_else(wrong)
    }

    fn reader(&mut self, side: Side) -> &mut EventReader {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }
}

fn side(json: &Value) -> Option<Side> {
    match json.as_str()? {
        "north" => Some(Side::North),
        "south" => Some(Side::South),
        _ => None,
    }
}

fn strings(json: &Value) -> Option<Vec<String>> {
    let texts = json.as_array()?.iter();
    texts
        .map(|text| text.as_str().map(ToOwned::to_owned))
        .collect()
}

fn answer(json: &Value) -> Option<Result<(), Refusal>> {
    if json.is_null() {
        return Some(Ok(()));
    }
    Some(Err(Refusal {
        reason: json[0].as_str()?.to_owned(),
        is_about_rows: json[1].as_bool()?,
    }))
}

fn request(words: Vec<String>) -> Option<Request> {
    let mut words = words.into_iter();
    Some(match words.next()?.as_str() {
        "pause" => Request::Pause(true),
        "resume" => Request::Pause(false),
        "is-paused" => Request::IsPaused,
        "status" => Request::Status,
        "recompute" => Request::Recompute,
        "stats" => Request::Stats(words.next(), words.next()),
        "clear-stats" => Request::ClearStats,
        _ => return None,
    })
}

/// Lets happen again what was recorded, and says where northd stands then, and how much it wrote.
///
/// # Errors
/// When the file cannot be read, or is no recording of northd's.
pub fn replay(mut recording: Recording) -> Result<String, ReplayError> {
    if recording.about["recorded"] != "weft-northd" {
        return Err(ReplayError::Other(recording.about));
    }
    let version = recording.about["version"].as_str().unwrap_or_default();
    let is_paused = recording.about["paused"].as_bool().unwrap_or_default();
    let mut core = Core::new(version, is_paused);
    let mut reader = Reader::default();
    let (mut count, mut north, mut south) = (0_u64, 0, 0);
    while let Some((now, event)) = recording.next_event()? {
        let event = reader.read(&event)?;
        // What came of it is recorded as further events.
        let effects = core.step(now, event);
        count += 1;
        north += effects.north.len();
        south += effects.south.len();
    }
    let status = core.status();
    Ok(format!(
        "{count} events replayed\nStatus: {status}\noperations: {north} northbound, {south} southbound\n"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use daemon::{Now, Recorder};
    use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
    use ovsdb::typed::Table;
    use ovsdb::{RowChange, Uuid};

    use super::*;
    use crate::core::Effects;

    fn row<T: Table>(uuid: Uuid, row: Option<&T>) -> RowChange {
        RowChange {
            table: T::INDEX,
            uuid,
            old: None,
            new: row.map(|row| Arc::new(row.to_row())),
        }
    }

    /// Everything that can happen, in an order that makes sense.
    fn events() -> Vec<Event> {
        let (switch, port) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let port_row = LogicalSwitchPort {
            name: "p1".into(),
            addresses: vec!["02:00:00:00:00:01 10.0.0.1".into()],
            ..Default::default()
        };
        let switch_row = LogicalSwitch {
            name: "s1".into(),
            ports: vec![port],
            ..Default::default()
        };
        let rows = vec![row(port, Some(&port_row)), row(switch, Some(&switch_row))];
        let refusal = |is_about_rows| Refusal {
            reason: "no".to_owned(),
            is_about_rows,
        };
        let missing = ["Chassis_Template_Var".to_owned()];
        let requests = [
            Request::IsPaused,
            Request::Status,
            Request::Recompute,
            Request::Stats(Some("port".to_owned()), None),
            Request::ClearStats,
            Request::Pause(true),
            Request::Pause(false),
        ];
        let mut events = vec![
            Event::Connected(Side::North, Columns::all()),
            Event::Changes(Side::North, rows),
            Event::Synced(Side::North),
            Event::Connected(Side::South, Columns::without(&missing, &[], &[])),
            Event::Synced(Side::South),
            Event::Lock(true),
            Event::Wake,
            Event::Answered(Side::South, Err(refusal(true))),
            Event::Answered(Side::North, Ok(())),
            Event::Answered(Side::South, Err(refusal(false))),
            Event::Disconnected(Side::South),
            Event::Wake,
        ];
        events.extend(requests.map(Event::Request));
        events.extend([
            Event::Forgotten(Side::South),
            Event::Changes(Side::North, vec![row::<LogicalSwitch>(switch, None)]),
            Event::Lock(false),
        ]);
        events
    }

    #[test]
    fn what_was_recorded_happens_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let mut recorder = Recorder::create(&path, &about("1", false)).unwrap();
        let (mut first, mut second) = (Core::new("1", false), Core::new("1", false));
        let mut reader = Reader::default();
        let start = Now::read();
        let (mut north, mut south) = (0, 0);
        for (number, event) in (0..).zip(events()) {
            let now = Now {
                at: start.at + Duration::from_millis(number),
                unix_ms: start.unix_ms,
            };
            let json = to_json(&event);
            recorder.add(now, &json);
            let again = reader.read(&json).unwrap();
            assert_eq!(to_json(&again), json, "{event:?}");
            let (effects, others) = (first.step(now, event), second.step(now, again));
            let seen = |effects: &Effects| format!("{effects:?}");
            assert_eq!(seen(&effects), seen(&others));
            north += effects.north.len();
            south += effects.south.len();
        }
        assert!(south > 10, "it wrote {south} operations");
        let text = replay(Recording::open(&path).unwrap()).unwrap();
        let expected = format!("operations: {north} northbound, {south} southbound\n");
        assert!(text.ends_with(&expected), "{text}");
    }

    #[test]
    fn what_is_no_event_is_named() {
        let mut reader = Reader::default();
        let wrong = [
            json!("tick"),
            json!({}),
            json!({"synced": "west"}),
            json!({"lock": 1}),
            json!({"request": ["fly"]}),
            json!({"changes": ["north", [["No_Table", "x", null]]]}),
        ];
        for json in wrong {
            assert!(reader.read(&json).is_err(), "{json}");
        }
    }
}
