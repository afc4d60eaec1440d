//! What is in a packet between chassis. This is the contract with every other chassis, OVN's included.
//!
//! | | datapath | output port | input port |
//! | --- | --- | --- | --- |
//! | Geneve | VNI | option 0x0102/0x80, bits 0 to 15 | the same option, bits 16 to 30 |
//! | VXLAN | VNI, bits 0 to 11 | VNI, bits 12 to 23 | not told |
//! | GRE | key, bits 0 to 11 | key, bits 12 to 23 | not told |
//!
//! Over VXLAN and GRE, the keys of multicast groups, which have 16 bits and begin at 32768, become 2048 and up. What has a key
//! that does not fit is not reached through them, and the log says so.
//!
//! GRE's header (RFC 2890) is that of Ethernet with a key and without a checksum, eight bytes:
//!
//! | byte | holds |
//! | --- | --- |
//! | 0 and 1 | flags and version, 0x2000: a key and nothing else, version 0 |
//! | 2 and 3 | what follows, 0x6558: an Ethernet frame |
//! | 4 | 0: bits 24 to 31 of the key |
//! | 5 | bits 4 to 11 of the output port's key; the highest is set for a multicast group |
//! | 6 | upper half: bits 0 to 3 of the output port's key; lower half: bits 8 to 11 of the datapath's |
//! | 7 | bits 0 to 7 of the datapath's key |
//!
//! The Ethernet frame follows at byte 8. Packets whose key has anything in bits 24 to 31 are not ours, and are dropped.

use std::net::IpAddr;

use openflow::message::TlvMap;
use openflow::{Action, Field, Match, Port, Subfield};

use super::Flows;
use crate::layout;
use crate::network::{Fact, Network, Reads, Tunnel, Way};
use crate::settings::TunnelKind;

/// OVN's Geneve option, but for the field that it is mapped to.
pub const GENEVE_OPTION: TlvMap = TlvMap {
    option_class: 0x0102,
    option_type: 0x80,
    option_len: 4,
    index: 0,
};

/// The lowest key of a multicast group.
const FIRST_MULTICAST: u32 = 32_768;
/// What stands for it among reduced keys.
const FIRST_REDUCED_MULTICAST: u32 = 2_048;
/// The highest key of a datapath that can be reduced.
const MAX_REDUCED_DATAPATH: u32 = 4_095;
/// The highest key of a port that can be reduced, and the highest of a group counted from the first.
const MAX_REDUCED_PORT: u32 = FIRST_REDUCED_MULTICAST - 1;
/// The bits of a GRE key that are always 0.
const UNUSED_OF_GRE: u128 = 0xff00_0000;

/// The flows for packets out of a tunnel.
pub fn flows(network: &Network, reads: &Reads, tunnel: Tunnel, facts: &mut Vec<Fact>) {
    let mut out = Flows::of_nothing(facts);
    let from = || Match::new().with(Field::InPort, tunnel.ofport);
    match tunnel.kind {
        TunnelKind::Geneve => {
            let Some(option) = network
                .own(reads)
                .geneve_field
                .and_then(Field::tun_metadata)
            else {
                return;
            };
            let actions = vec![
                copy((Field::TunId, 0), (layout::DATAPATH, 0), 24),
                copy((option, 16), (layout::IN_PORT, 0), 15),
                copy((option, 0), (layout::OUT_PORT, 0), 16),
                Action::resubmit(layout::LOCAL_OUTPUT),
            ];
            out.add(layout::PHYSICAL_TO_LOGICAL, 100, from(), actions);
        }
        TunnelKind::Vxlan | TunnelKind::Gre => {
            let unused = match tunnel.kind {
                TunnelKind::Gre => UNUSED_OF_GRE,
                _ => 0,
            };
            let keyed = |value, mask| match mask {
                0 => from(),
                _ => from().with_masked(Field::TunId, value, mask),
            };
            let unicast = vec![
                copy((Field::TunId, 0), (layout::DATAPATH, 0), 12),
                copy((Field::TunId, 12), (layout::OUT_PORT, 0), 12),
                Action::resubmit(layout::LOCAL_OUTPUT),
            ];
            out.add(layout::PHYSICAL_TO_LOGICAL, 100, keyed(0, unused), unicast);
            let group = u128::from(FIRST_REDUCED_MULTICAST) << 12;
            let multicast = vec![
                copy((Field::TunId, 0), (layout::DATAPATH, 0), 12),
                Action::set(layout::OUT_PORT, FIRST_MULTICAST),
                copy((Field::TunId, 12), (layout::OUT_PORT, 0), 11),
                Action::resubmit(layout::LOCAL_OUTPUT),
            ];
            let matches = keyed(group, group | unused);
            out.add(layout::PHYSICAL_TO_LOGICAL, 110, matches, multicast);
        }
    }
}

/// A key for which VXLAN and GRE have no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// A datapath's.
    #[error(
        "its datapath's key {0} is above {MAX_REDUCED_DATAPATH}, the highest that VXLAN and GRE have room for: give it a lower one, or all chassis Geneve"
    )]
    Datapath(u32),
    /// A port's or a multicast group's.
    #[error(
        "its key {0} is above the highest that VXLAN and GRE have room for, {highest}: give it a lower one, or all chassis Geneve",
        highest = if *.0 < FIRST_MULTICAST { MAX_REDUCED_PORT } else { FIRST_MULTICAST + MAX_REDUCED_PORT }
    )]
    Port(u32),
}

/// The actions that send a packet through a tunnel. Nothing while the switch has not said which field Geneve's option is.
///
/// # Errors
/// When the tunnel has no room for the keys: cut, they would be others'.
pub fn encapsulate(
    way: Way,
    geneve_field: Option<u8>,
    datapath: u32,
    port: u32,
) -> Result<Vec<Action>, TooLarge> {
    let output = Action::output(Port(way.ofport));
    let mut actions = addresses(way);
    let kind = match way.kind {
        TunnelKind::Geneve => {
            let Some(option) = geneve_field.and_then(Field::tun_metadata) else {
                return Ok(Vec::new());
            };
            vec![
                Action::set(Field::TunId, datapath),
                Action::set(option, port),
                copy((layout::IN_PORT, 0), (option, 16), 15),
                output,
            ]
        }
        TunnelKind::Vxlan | TunnelKind::Gre => {
            vec![Action::set(Field::TunId, reduced(datapath, port)?), output]
        }
    };
    actions.extend(kind);
    Ok(actions)
}

/// Datapath and port in 24 bits.
fn reduced(datapath: u32, port: u32) -> Result<u32, TooLarge> {
    if datapath > MAX_REDUCED_DATAPATH {
        return Err(TooLarge::Datapath(datapath));
    }
    let (own, first) = match port.checked_sub(FIRST_MULTICAST) {
        Some(group) => (group, FIRST_REDUCED_MULTICAST),
        None => (port, 0),
    };
    if own > MAX_REDUCED_PORT {
        return Err(TooLarge::Port(port));
    }
    Ok(datapath | (first + own) << 12)
}

/// Tells a flow-based tunnel its two ends.
fn addresses(way: Way) -> Vec<Action> {
    match way.addresses {
        Some((IpAddr::V4(here), IpAddr::V4(there))) => vec![
            Action::set(Field::TunSrc, here.to_bits()),
            Action::set(Field::TunDst, there.to_bits()),
        ],
        Some((IpAddr::V6(here), IpAddr::V6(there))) => vec![
            Action::set(Field::TunIpv6Src, here.to_bits()),
            Action::set(Field::TunIpv6Dst, there.to_bits()),
        ],
        // There is no way between two families.
        _ => Vec::new(),
    }
}

fn copy(from: (Field, u16), to: (Field, u16), width: u16) -> Action {
    let bits = |(field, offset): (Field, u16)| Subfield {
        field,
        offset,
        width,
    };
    Action::Move {
        src: bits(from),
        dst: bits(to),
    }
}
