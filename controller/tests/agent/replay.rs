//! What was recorded leads to the same when it happens again.

use controller::core::{Core, Event, SwitchEvent};
use controller::record::Reader;
use std::time::Duration;

use super::stage::*;

#[test]
fn a_recording_leads_to_where_the_agent_was() {
    let mut stage = Stage::new();
    stage.start();
    let other = stage.add_chassis(2);
    stage.add_port();
    stage.plug();
    stage.change_port(|port| port.chassis = Some(other));
    stage.pass(Duration::from_secs(3));
    stage.event(Event::Switch(SwitchEvent::Closed("it restarts".to_owned())));
    stage.event(Event::Switch(SwitchEvent::Connected));
    stage.south_refuses = true;
    stage.change_settings("ovn-encap-ip", "10.0.0.9");
    let _ = stage.ask("recompute", &[]);

    let mut again = Core::new("host".to_owned());
    let mut reader = Reader::new(["recompute"]);
    for (now, json) in &stage.recorded {
        // As it is in a file.
        let json = serde_json::from_str(&json.to_string()).expect("JSON");
        let event = reader.read(&json).expect("an event");
        let _ = again.step(*now, event);
    }
    assert!(stage.recorded.len() > 30);
    assert!(stage.core.overview().contains("attached ports: 1"));
    assert_eq!(again.overview(), stage.core.overview());
    assert_eq!(again.deadline(), stage.core.deadline());
}

#[test]
fn nonsense_in_a_recording_is_an_error() {
    let mut reader = Reader::new(["exit"]);
    for text in [
        "{}",
        r#""tock""#,
        r#"{"request": ["rm"]}"#,
        r#"{"switch": {"data": "0"}}"#,
        r#"{"south": {"changes": [["No_Table", "x", null]]}}"#,
        r#"{"local": {"changes": [["Port", "x", null]]}}"#,
        r#"{"south": {"reply": ["x", null]}}"#,
    ] {
        let json = serde_json::from_str(text).expect("JSON");
        assert!(reader.read(&json).is_err(), "{text}");
    }
}
