//! `tcp_reset { … }`: a connection is refused (RFC 9293, section 3.5.2).

use etherparse::{IpNumber, TcpHeader, TransportSlice};

use super::{Direction, REFUSAL_TTL};
use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

/// A reset that the sender of a segment accepts; its ports always change places.
pub fn tcp_reset(frame: &Frame<'_>, direction: Direction) -> Result<Vec<u8>, FrameError> {
    let (Some(addresses), Some(TransportSlice::Tcp(tcp))) = (frame.ips(), frame.transport()) else {
        return Err(FrameError::Missing("a TCP segment"));
    };
    if tcp.rst() {
        return Err(FrameError::Unanswerable("it is a reset"));
    }
    let mut reset = TcpHeader::new(tcp.destination_port(), tcp.source_port(), 0, 0);
    reset.rst = true;
    if tcp.ack() {
        reset.sequence_number = tcp.acknowledgment_number();
    } else {
        // SYN and FIN count as a byte each.
        let length = tcp.payload().len() as u32 + u32::from(tcp.syn()) + u32::from(tcp.fin());
        reset.ack = true;
        reset.acknowledgment_number = tcp.sequence_number().wrapping_add(length);
    }
    let (source, destination) = direction.ips(addresses);
    let checksum = transport_checksum(source, destination, IpNumber::TCP, &reset.to_bytes());
    reset.checksum = checksum;
    let (ether_type, packet) = ip_packet(
        source,
        destination,
        IpNumber::TCP,
        REFUSAL_TTL,
        &reset.to_bytes(),
    )?;
    let (eth_src, eth_dst) = direction.macs(frame);
    Ok(frame.with_network(eth_src, eth_dst, ether_type, &packet))
}
