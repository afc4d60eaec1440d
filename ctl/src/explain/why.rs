//! Which rule decided about a packet, in a paragraph: the table, the flow, and the northbound row that it is there for.

use std::fmt::Write as _;

use crate::trace::stage::Flow;
use crate::trace::text::friendly;
use crate::trace::walk::{End, Ending, Place};
use crate::trace::world::World;

use super::intent::{Intent, table_name};

/// The rows that a flow is there for, by the start of their UUID.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Vec<Intent>;

/// How a packet's ways ended, a paragraph each.
pub fn explain(world: &World, endings: &[Ending], intents: Lookup<'_>) -> String {
    if endings.is_empty() {
        return "The packet was looked up in no table: its input port has no datapath with flows.\n".to_owned();
    }
    let mut paragraphs: Vec<String> = Vec::new();
    for ending in endings {
        let paragraph = paragraph(world, ending, intents);
        if !paragraphs.contains(&paragraph) {
            paragraphs.push(paragraph);
        }
    }
    paragraphs.join("\n")
}

fn paragraph(world: &World, ending: &Ending, intents: Lookup<'_>) -> String {
    let place = place_text(world, ending.place);
    let subject = match ending.made {
        Some(made) => format!("What was made of the packet ({made})"),
        None => "The packet".to_owned(),
    };
    let mut text = match &ending.end {
        End::Delivered(port, kind) => {
            let kind = match kind.as_str() {
                "" => String::new(),
                kind => format!(" (type {kind})"),
            };
            format!("{subject} is delivered to \"{port}\"{kind}, from {place}")
        }
        End::Dropped => format!("{subject} is dropped in {place}"),
        End::Unmatched => format!("{subject} is dropped in {place}: no flow there matches it"),
        End::Returned => format!(
            "{subject} is not sent in {place}: it would leave by the port that it came in by, and flags.loopback is \
             not set"
        ),
        End::Consumed => format!("{subject} goes no further than {place}"),
    };
    if let Some(flow) = &ending.flow {
        let _ = write!(text, ": {}", flow_text(world, flow));
    }
    text.push_str(".\n");
    let deciding = deciding(ending);
    for (at, flow) in deciding {
        let Some(hint) = &flow.hint else {
            continue;
        };
        for intent in intents(hint) {
            let (table, uuid) = (table_name(intent.table), intent.uuid);
            let place = place_text(world, *at);
            let _ = writeln!(
                text,
                "  {table} {uuid} ({}) decided in {place}: {}.",
                intent.name, intent.text
            );
        }
    }
    text
}

/// The flows on the way that are there for a northbound row, the one that the way ended with last, each once.
fn deciding(ending: &Ending) -> Vec<(&Place, &Flow)> {
    let mut found: Vec<(&Place, &Flow)> = Vec::new();
    for (place, flow) in &ending.way {
        let is_known = found.iter().any(|(_, known)| known.hint == flow.hint);
        if flow.hint.is_some() && !is_known {
            found.push((place, flow));
        }
    }
    found
}

fn place_text(world: &World, place: Place) -> String {
    let datapath = world.datapath_by_uuid(place.datapath);
    let name = datapath.map_or_else(String::new, |datapath| datapath.shown(true));
    let of = (
        place.datapath,
        place.pipeline == lflow::Pipeline::Egress,
        place.table,
    );
    let stage = world.stage_name(of);
    let stage = stage.map_or_else(String::new, |stage| format!(" ({stage})"));
    format!(
        "{} table {}{stage} of \"{name}\"",
        place.pipeline.name(),
        place.table
    )
}

fn flow_text(world: &World, flow: &Flow) -> String {
    format!(
        "priority {}, match ({}), actions ({}), uuid {}",
        flow.flow.priority,
        friendly(&flow.text, world),
        flow.flow.actions,
        flow.uuid
    )
}
