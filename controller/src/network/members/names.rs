//! What bits stand for, kept in the switch itself: a flow for each bit, in a table that no packet comes to.
//!
//! `reg0` is the number of the membership times 256, and the bit; the only action is a note with the name, filled up with
//! zeros to where a note ends anyway.

use std::sync::Arc;

use openflow::message::FlowDesc;
use openflow::{Action, Field, Match};

use super::{BitsByNames, Membership};
use crate::flow::Flow;
use crate::layout;

/// The flow that tells whose a bit is.
pub(crate) fn tell(of: Membership, bit: u8, name: &str) -> Flow {
    let number = (0u32..)
        .zip(Membership::ALL)
        .find_map(|(number, other)| (other == of).then_some(number))
        .unwrap_or_default();
    // The action's header has ten bytes, and its length is a multiple of eight.
    let mut note = name.as_bytes().to_vec();
    note.resize((note.len() + 10).next_multiple_of(8) - 10, 0);
    Flow::new(
        layout::BIT_NAMES,
        0,
        Match::new().with(Field::Reg0, number << 8 | u32::from(bit)),
        vec![Action::Note(note)],
        0,
    )
}

/// What the flows of a switch tell.
pub(crate) fn named_bits(flows: &[FlowDesc]) -> BitsByNames {
    let told = flows.iter().filter(|flow| flow.table == layout::BIT_NAMES);
    told.filter_map(|flow| {
        let number = u32::try_from(flow.matches.get(Field::Reg0)?.value).ok()?;
        let of = *Membership::ALL.get(usize::try_from(number >> 8).ok()?)?;
        let [Action::Note(note)] = &flow.actions[..] else {
            return None;
        };
        let name = std::str::from_utf8(note).ok()?.trim_end_matches('\0');
        Some(((of, Arc::from(name)), (number & 0xff) as u8))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::message::FlowFlags;

    #[test]
    fn what_is_told_is_read_back() {
        let names = [
            "a",
            "as_ip4",
            "a_name_that_is_rather_longer_than_others",
            "日",
        ];
        let told = names.iter().zip(Membership::ALL).zip(0..);
        let wanted: BitsByNames = told
            .map(|((name, of), bit)| ((of, Arc::from(*name)), bit))
            .collect();
        let flows: Vec<FlowDesc> = wanted
            .iter()
            .map(|((of, name), bit)| {
                let flow = tell(*of, *bit, name);
                FlowDesc {
                    table: flow.key.table,
                    priority: flow.key.priority,
                    cookie: 0,
                    idle_timeout: 0,
                    hard_timeout: 0,
                    flags: FlowFlags::default(),
                    matches: flow.key.matches.clone(),
                    actions: flow.actions.to_vec(),
                }
            })
            .collect();
        assert_eq!(named_bits(&flows), wanted);
    }
}
