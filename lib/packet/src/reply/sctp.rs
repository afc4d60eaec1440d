//! `sctp_abort { … }`: an association is refused (RFC 9260, sections 3.3.7 and 8.4).

use etherparse::{IpNumber, NetSlice};

use super::{Direction, REFUSAL_TTL};
use crate::frame::{Frame, FrameError, ip_packet};

/// The chunk that begins an association.
const INIT: u8 = 1;
/// The chunk that ends one at once.
const ABORT: u8 = 6;
/// The flag of an abort whose tag is that of the packet that it answers.
const REFLECTED: u8 = 1;
/// Ports, tag, checksum.
const COMMON: usize = 12;

/// An abort that the sender of a packet accepts; its ports always change places.
pub fn sctp_abort(frame: &Frame<'_>, direction: Direction) -> Result<Vec<u8>, FrameError> {
    let (Some(addresses), Some(packet)) = (frame.ips(), sctp(frame)) else {
        return Err(FrameError::Missing("an SCTP packet"));
    };
    let cut = || FrameError::Missing("an SCTP chunk");
    let (common, chunks) = packet.split_at_checked(COMMON).ok_or_else(cut)?;
    let kind = *chunks.first().ok_or_else(cut)?;
    if kind == ABORT {
        return Err(FrameError::Unanswerable("it is an abort"));
    }
    // An association that begins has no tag yet: its own is in the chunk.
    let (tag, flags) = match kind {
        INIT => (chunks.get(4..8).ok_or_else(cut)?, 0),
        _ => (&common[4..8], REFLECTED),
    };
    let mut abort = Vec::with_capacity(COMMON + 4);
    abort.extend(&common[2..4]);
    abort.extend(&common[..2]);
    abort.extend(tag);
    abort.extend([0; 4]);
    abort.extend([ABORT, flags, 0, 4]);
    // The checksum is in the order of its bits on the wire (RFC 9260, appendix A).
    let checksum = crc32c::crc32c(&abort);
    abort[8..COMMON].copy_from_slice(&checksum.to_le_bytes());
    let (source, destination) = direction.ips(addresses);
    let (ether_type, packet) = ip_packet(source, destination, IpNumber::SCTP, REFUSAL_TTL, &abort)?;
    let (eth_src, eth_dst) = direction.macs(frame);
    Ok(frame.with_network(eth_src, eth_dst, ether_type, &packet))
}

/// The SCTP packet in a frame, if there is one and it is whole.
pub(crate) fn sctp<'p>(frame: &Frame<'p>) -> Option<&'p [u8]> {
    let payload = match frame.net()? {
        NetSlice::Ipv4(ip) => ip.payload(),
        NetSlice::Ipv6(ip) => ip.payload(),
        NetSlice::Arp(_) => return None,
    };
    let is_whole = payload.ip_number == IpNumber::SCTP && !payload.fragmented;
    is_whole.then_some(payload.payload)
}
