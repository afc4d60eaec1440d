//! BFD control packets (RFC 5880, section 4.1) as a router sends them to a neighbour (RFC 5881).
//!
//! Without authentication: a packet that has it is refused, as RFC 5880, section 6.8.6, says of one that nobody asked for.

use std::time::Duration;

use etherparse::{IpNumber, TransportSlice, UdpHeader};

use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};
use crate::probe::Ends;

/// The port that control packets are for (RFC 5881, section 4).
pub const PORT: u16 = 3784;
/// What a packet that no router has forwarded has (RFC 5881, section 5).
pub const TTL: u8 = 255;

const VERSION: u8 = 1;
const LEN: usize = 24;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The state of a session (RFC 5880, section 4.1, `Sta`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not in use, because somebody has said so.
    AdminDown,
    /// Nothing is heard.
    Down,
    /// The neighbour is heard, and does not hear.
    Init,
    /// Both hear each other.
    Up,
}

/// Why a session was left the last time (RFC 5880, section 4.1, `Diag`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    /// It was not.
    None,
    /// Nothing was heard in time.
    TimeExpired,
    /// The neighbour has left it.
    NeighbourDown,
    /// Another, which nothing is made of.
    Other(u8),
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The sender's state.
    pub state: State,
    /// Why the sender was down last.
    pub diagnostic: Diagnostic,
    /// An answer is asked for at once.
    pub poll: bool,
    /// This is such an answer.
    pub is_final: bool,
    /// The sender wants no packets as long as both are up.
    pub demand: bool,
    /// After how many missed packets the sender is to be taken for dead.
    pub detect_mult: u8,
    /// The sender's number of the session; not 0.
    pub mine: u32,
    /// The receiver's; 0 as long as the sender has not heard it.
    pub yours: u32,
    /// The least time between two packets of the sender that it wants.
    pub desired_min_tx: Duration,
    /// The least time between two packets that it can take; zero if it wants none.
    pub required_min_rx: Duration,
}

impl Control {
    /// Takes the control packet out of a frame that has come to the port for them. Whether a router has forwarded it (RFC 5881,
    /// section 5) is for who knows how far away the sender is.
    ///
    /// # Errors
    /// Everything that has to be discarded whatever the session (RFC 5880, section 6.8.6), by name.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let Some(TransportSlice::Udp(udp)) = frame.transport() else {
            return Err(FrameError::Missing("a UDP datagram"));
        };
        if udp.destination_port() != PORT {
            return Err(FrameError::Missing("the UDP port of BFD, 3784"));
        }
        Self::parse_payload(udp.payload())
    }

    fn parse_payload(bytes: &[u8]) -> Result<Self, FrameError> {
        let bad = |why: &str| Err(FrameError::Malformed(format!("BFD: {why}")));
        let Some(header) = bytes.first_chunk::<LEN>() else {
            return bad("shorter than 24 bytes");
        };
        let number = |at: usize| {
            let four: [u8; 4] = header[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(four)
        };
        let flags = header[1];
        if header[0] >> 5 != VERSION {
            return bad("not version 1");
        }
        if usize::from(header[3]) < LEN || usize::from(header[3]) > bytes.len() {
            return bad("its length is not that of the packet");
        }
        if flags & AUTHENTICATED != 0 {
            return bad("authenticated, which was not agreed");
        }
        if flags & MULTIPOINT != 0 {
            return bad("the bit for multipoint is set");
        }
        if header[2] == 0 {
            return bad("the detection multiplier is 0");
        }
        let (mine, yours) = (number(4), number(8));
        if mine == 0 {
            return bad("the sender's discriminator is 0");
        }
        let state = match flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        if yours == 0 && matches!(state, State::Init | State::Up) {
            return bad("a state that has heard the receiver, without its discriminator");
        }
        Ok(Self {
            state,
            diagnostic: match header[0] & 0x1f {
                0 => Diagnostic::None,
                1 => Diagnostic::TimeExpired,
                3 => Diagnostic::NeighbourDown,
                other => Diagnostic::Other(other),
            },
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            demand: flags & DEMAND != 0,
            detect_mult: header[2],
            mine,
            yours,
            desired_min_tx: Duration::from_micros(number(12).into()),
            required_min_rx: Duration::from_micros(number(16).into()),
        })
    }

    /// The frame that takes it from one end to the other, from this UDP port.
    ///
    /// # Errors
    /// Both ends have to be of one family.
    pub fn frame(&self, ends: Ends, source_port: u16) -> Result<Vec<u8>, FrameError> {
        let payload = self.bytes();
        let header = UdpHeader {
            source_port,
            destination_port: PORT,
            length: (UdpHeader::LEN + LEN) as u16,
            checksum: 0,
        };
        let mut segment = header.to_bytes().to_vec();
        segment.extend(payload);
        let (source, destination) = (ends.source.1, ends.destination.1);
        // Zero means that there is none (RFC 768).
        let sum = match transport_checksum(source, destination, IpNumber::UDP, &segment) {
            0 => u16::MAX,
            sum => sum,
        };
        segment[6..8].copy_from_slice(&sum.to_be_bytes());
        let (ether_type, packet) = ip_packet(source, destination, IpNumber::UDP, TTL, &segment)?;
        let mut frame = ends.destination.0.0.to_vec();
        frame.extend(ends.source.0.0);
        frame.extend(ether_type.0.to_be_bytes());
        frame.extend(packet);
        Ok(frame)
    }

    fn bytes(&self) -> [u8; LEN] {
        let diagnostic = match self.diagnostic {
            Diagnostic::None => 0,
            Diagnostic::TimeExpired => 1,
            Diagnostic::NeighbourDown => 3,
            Diagnostic::Other(other) => other & 0x1f,
        };
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let mut bytes = [0; LEN];
        bytes[0] = VERSION << 5 | diagnostic;
        bytes[1] = state << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.demand, DEMAND);
        bytes[2] = self.detect_mult;
        bytes[3] = LEN as u8;
        for (at, number) in [
            (4, self.mine),
            (8, self.yours),
            (12, micros(self.desired_min_tx)),
            (16, micros(self.required_min_rx)),
        ] {
            bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use addr::Mac;
    use proptest::prelude::*;

    use super::*;

    fn ends(v6: bool) -> Ends {
        let ip = |n: u8| -> IpAddr {
            match v6 {
                false => Ipv4Addr::new(10, 0, 0, n).into(),
                true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()).into(),
            }
        };
        Ends {
            source: (Mac([2, 0, 0, 0, 0, 1]), ip(1)),
            destination: (Mac([2, 0, 0, 0, 0, 2]), ip(2)),
        }
    }

    fn control() -> Control {
        Control {
            state: State::Up,
            diagnostic: Diagnostic::TimeExpired,
            poll: true,
            is_final: false,
            demand: false,
            detect_mult: 3,
            mine: 7,
            yours: 9,
            desired_min_tx: Duration::from_millis(100),
            required_min_rx: Duration::from_millis(50),
        }
    }

    #[test]
    fn what_is_sent_is_read() {
        for v6 in [false, true] {
            let sent = control().frame(ends(v6), 49_152).expect("a frame");
            let frame = Frame::parse(&sent).expect("a frame");
            assert_eq!(
                frame.ips(),
                Some((ends(v6).source.1, ends(v6).destination.1))
            );
            assert_eq!(Control::parse(&frame), Ok(control()));
        }
    }

    #[test]
    fn bytes_are_those_of_the_standard() {
        let bytes = control().bytes();
        assert_eq!(bytes[..4], [0x21, 0xe0, 3, 24]);
        assert_eq!(bytes[4..12], [0, 0, 0, 7, 0, 0, 0, 9]);
        assert_eq!(bytes[12..20], [0, 1, 0x86, 0xa0, 0, 0, 0xc3, 0x50]);
        assert_eq!(bytes[20..], [0; 4], "no echo");
    }

    #[test]
    fn what_has_to_be_discarded_says_why() {
        for (at, byte, why) in [
            (0, 0x00, "version"),
            (1, 0xc4, "authenticated"),
            (1, 0xc1, "multipoint"),
            (2, 0, "multiplier"),
            (3, 23, "length"),
            (3, 25, "length"),
            (7, 0, "sender's discriminator"),
            (11, 0, "without its discriminator"),
        ] {
            let mut bytes = control().bytes();
            bytes[at] = byte;
            let error = Control::parse_payload(&bytes).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
        Control::parse_payload(&control().bytes()[..23]).expect_err("cut");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(control) = Control::parse_payload(&bytes) {
                prop_assert_eq!(Control::parse_payload(&control.bytes()), Ok(control));
            }
        }
    }
}
