//! Round trips of generated actions, and agreement with `ovs-ofctl`.

use proptest::prelude::*;

use super::{Actions, decode_actions, encode_actions};
use crate::message::FlowMod;
use crate::testing::{any_actions, any_match, fitting, ovs_ofctl, samples};
use crate::wire::Reader;
use crate::{DecodeError, Match, Message};

proptest! {
    #[test]
    fn actions_survive_the_wire(actions in any_actions()) {
        let mut bytes = Vec::new();
        encode_actions(&actions, &mut bytes);
        prop_assert_eq!(decode_actions(Reader::new(&bytes)), Ok(actions));
    }

    #[test]
    fn matches_survive_the_wire(m in any_match()) {
        let mut bytes = Vec::new();
        m.encode(&mut bytes);
        prop_assert_eq!(bytes.len() % 8, 0);
        let mut r = Reader::new(&bytes);
        prop_assert_eq!(Match::decode(&mut r), Ok(m));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), actions in any_actions(), at in any::<prop::sample::Index>()) {
        let _ = decode_actions(Reader::new(&bytes));
        let mut damaged = Vec::new();
        encode_actions(&actions, &mut damaged);
        if !damaged.is_empty() {
            let at = at.index(damaged.len());
            damaged[at] ^= bytes.first().copied().unwrap_or(1);
            let _ = decode_actions(Reader::new(&damaged));
            damaged.truncate(at);
            let _ = decode_actions(Reader::new(&damaged));
        }
    }
}

/// What `ovs-ofctl` reads in our bytes is what it reads in our text.
#[test]
fn bytes_and_text_mean_the_same_to_ovs_ofctl() {
    let flows = samples(
        &(
            any_match(),
            any_actions(),
            any::<u16>(),
            0..255u8,
            any::<u64>(),
        ),
        400,
    );
    let (mut bytes, mut text) = (Vec::new(), String::new());
    for (m, actions, priority, table, cookie) in &flows {
        let actions = &fitting(actions, m);
        let flow = FlowMod::add(*table, *priority, m.clone(), actions.clone(), *cookie);
        Message::FlowMod(flow).encode(1, &mut bytes);
        let comma = if m.is_empty() { "" } else { "," };
        let actions = Actions(actions);
        text += &format!(
            "cookie={cookie:#x},table={table},priority={priority}{comma}{m},actions={actions}\n"
        );
    }
    let (from_bytes, from_text) = (
        ovs_ofctl("ofp-parse", &bytes),
        ovs_ofctl("parse-flows", text.as_bytes()),
    );
    assert_eq!(from_bytes.len(), flows.len());
    for ((a, b), line) in from_bytes.iter().zip(&from_text).zip(text.lines()) {
        assert_eq!(a, b, "\n{line}");
    }
    assert_eq!(from_text.len(), flows.len());
}

#[test]
fn nesting_has_a_limit() {
    let deep = (0..20).fold(vec![super::Action::CtClear], |inner, _| {
        vec![super::Action::Clone(inner)]
    });
    let mut bytes = Vec::new();
    encode_actions(&deep, &mut bytes);
    assert_eq!(
        decode_actions(Reader::new(&bytes)),
        Err(DecodeError::TooDeep {
            max: super::MAX_NESTING
        })
    );
}
