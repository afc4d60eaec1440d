//! Packets that the agent makes of others: the actions in braces of the logical language.
//!
//! Each takes the frame that a flow sent and gives the frame on which the actions in the braces are then done. What is
//! not named here stays as it was, because those actions change what they want changed (ovn-sb(5), `Logical_Flow`).
//!
//! | action | function |
//! | --- | --- |
//! | `arp` | [`arp_request`] |
//! | `nd_na`, `nd_na_router` | [`neighbour_advertisement`] |
//! | `nd_ns` | [`neighbour_solicitation`] |
//! | `icmp4`, `icmp6` and their `_error` forms | [`unreachable`], [`too_big`] |
//! | `tcp_reset` | [`tcp_reset`] |
//! | `sctp_abort` | [`sctp_abort`] |
//! | `reject` | [`reject`] |

mod arp;
mod icmp;
mod neighbour;
mod sctp;
mod tcp;

use std::net::IpAddr;

use addr::Mac;
use etherparse::TransportSlice;

use crate::frame::{Frame, FrameError};

pub use arp::arp_request;
pub use icmp::{too_big, unreachable};
pub use neighbour::{neighbour_advertisement, neighbour_solicitation};
pub(crate) use sctp::sctp;
pub use sctp::sctp_abort;
pub use tcp::tcp_reset;

/// The TTL of what the agent sends.
const TTL: u8 = 255;

/// The TTL of a connection's refusal (a TCP reset, an SCTP abort), which OVN's agents send with this one.
const REFUSAL_TTL: u8 = 63;

/// Whether a reply goes where its packet went, for the actions in the braces to change, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Addresses stay.
    Onward,
    /// Source and destination change places.
    Back,
}

impl Direction {
    fn macs(self, frame: &Frame<'_>) -> (Mac, Mac) {
        match self {
            Self::Onward => (frame.eth_src(), frame.eth_dst()),
            Self::Back => (frame.eth_dst(), frame.eth_src()),
        }
    }

    fn ips(self, (source, destination): (IpAddr, IpAddr)) -> (IpAddr, IpAddr) {
        match self {
            Self::Onward => (source, destination),
            Self::Back => (destination, source),
        }
    }
}

/// The refusal of a packet, sent back: of a TCP segment a reset, of an SCTP packet an abort, of anything else an ICMP error.
pub fn reject(frame: &Frame<'_>) -> Result<Vec<u8>, FrameError> {
    match frame.transport() {
        Some(TransportSlice::Tcp(_)) => tcp_reset(frame, Direction::Back),
        _ if sctp(frame).is_some() => sctp_abort(frame, Direction::Back),
        _ => unreachable(frame, Direction::Back),
    }
}

#[cfg(test)]
mod tests;
