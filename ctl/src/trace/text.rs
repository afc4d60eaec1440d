//! Actions and matches in words.

use lflow::action::{Action, Pipeline, Query};
use lflow::interp::State;
use lflow::{Field, Kind};
use openflow::Field as OfField;

use super::world::World;

/// An action of a table of a pipeline, as ovn-trace prints it: `next` says only what is not a matter of course.
pub fn action(action: &Action, pipeline: Pipeline, table: u8) -> String {
    match action {
        Action::Next {
            pipeline: to,
            table: number,
        } => {
            let to = to.unwrap_or(pipeline);
            let number = number.unwrap_or(table.saturating_add(1));
            match () {
                () if to != pipeline => {
                    format!("next(pipeline={}, table={number});", to.name())
                }
                () if number != table.saturating_add(1) => format!("next({number});"),
                () => "next;".to_owned(),
            }
        }
        other => other.to_string(),
    }
}

/// The text with the friendly names of ports in place of their names.
pub fn friendly(text: &str, world: &World) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        out.push_str(&rest[..start]);
        let quoted = &rest[start..start + quoted_len(&rest[start..])];
        let name: Option<String> = serde_json::from_str(quoted).ok();
        let port = name.and_then(|name| world.port_by_name(&name));
        match port {
            Some(port) => out.push_str(&serde_json::Value::from(port.shown(true)).to_string()),
            None => out.push_str(quoted),
        }
        rest = &rest[start + quoted.len()..];
    }
    out.push_str(rest);
    out
}

/// The length of the string in quotes that a text begins with; all of the text if it does not end.
fn quoted_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a field is one of the registers, which nobody sees from outside.
pub fn is_register(field: Field) -> bool {
    let segments = field.segments();
    !segments.is_empty()
        && segments.iter().all(|segment| {
            let of = segment.base.openflow();
            (OfField::Reg0..=OfField::Reg15).contains(&of)
        })
}

/// The value of a field, as ovs-ofctl prints it: that of a part in hexadecimal.
pub fn value(field: Field, state: &State) -> String {
    let value = state.read(field);
    match (field.symbol().kind(), field.is_whole()) {
        (Kind::Field(base) | Kind::Port(base), true) => {
            base.openflow().format_value(value).to_string()
        }
        _ => format!("{value:#x}"),
    }
}

/// A question without the field for its answer.
pub fn query(query: &Query) -> String {
    let assigned = Action::Query(lflow::Symbol::Reg0.whole(), query.clone()).to_string();
    let bare = assigned.strip_prefix("reg0 = ").unwrap_or(&assigned);
    bare.trim_end_matches(';').to_owned()
}
