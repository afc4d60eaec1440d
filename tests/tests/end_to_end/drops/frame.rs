//! Ethernet frames, byte by byte, so that they can be wrong; and sending them as a guest.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use tests::guest::Guest;
use tests::implementation::python;

/// Sends a frame, in hexadecimal, a number of times.
const SEND: &str = r#"
import socket, sys
device, count, frame = sys.argv[1:]
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((device, 0))
for _ in range(int(count)):
    raw.send(bytes.fromhex(frame))
"#;

/// A frame, as it is to be sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Destination, then source.
    pub to: &'static str,
    pub from: &'static str,
    /// The VLAN's number, if it has a tag.
    pub vlan: Option<u16>,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub load: Load,
    /// How many bytes of data it has.
    pub size: usize,
}

/// What is in a packet.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// A datagram to this port.
    Udp(u16),
    /// A segment to this port; with a wrong checksum, if so asked.
    Tcp { to: u16, is_broken: bool },
    /// An ARP request: the sender says to have the source address, and asks for the destination.
    Arp,
}

fn mac(text: &str) -> Result<Vec<u8>> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text} is no MAC address"))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(pair[0]) << 8 | u32::from(low)
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = u16::try_from(sum).expect("it is folded");
    (!sum).to_be_bytes()
}

impl Frame {
    /// Its bytes.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = [mac(self.to)?, mac(self.from)?].concat();
        if let Some(vlan) = self.vlan {
            bytes.extend([0x81, 0x00]);
            bytes.extend(vlan.to_be_bytes());
        }
        let (protocol, segment) = match self.load {
            Load::Arp => {
                bytes.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
                bytes.extend(mac(self.from)?);
                bytes.extend(self.source.octets());
                bytes.extend([0; 6]);
                bytes.extend(self.destination.octets());
                bytes.resize(bytes.len().max(60), 0);
                return Ok(bytes);
            }
            Load::Udp(to) => (17, self.udp(to)),
            Load::Tcp { to, is_broken } => (6, self.tcp(to, is_broken)),
        };
        bytes.extend([0x08, 0x00]);
        let length = u16::try_from(20 + segment.len())?;
        let mut header = vec![0x45, 0];
        header.extend(length.to_be_bytes());
        // Not to be fragmented.
        header.extend([0, 1, 0x40, 0, self.ttl, protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        bytes.extend(header);
        bytes.extend(segment);
        bytes.resize(bytes.len().max(60), 0);
        Ok(bytes)
    }

    fn udp(&self, to: u16) -> Vec<u8> {
        let length = u16::try_from(8 + self.size).unwrap_or(u16::MAX);
        let mut segment = 40_000_u16.to_be_bytes().to_vec();
        segment.extend(to.to_be_bytes());
        segment.extend(length.to_be_bytes());
        segment.extend([0, 0]);
        segment.resize(8 + self.size, 0x61);
        self.sealed(segment, 17, 6)
    }

    fn tcp(&self, to: u16, is_broken: bool) -> Vec<u8> {
        let mut segment = 40_000_u16.to_be_bytes().to_vec();
        segment.extend(to.to_be_bytes());
        // Sequence numbers; five words of header, SYN; a window.
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x10, 0, 0, 0, 0, 0]);
        let mut segment = self.sealed(segment, 6, 16);
        if is_broken {
            segment[16] ^= 0x55;
        }
        segment
    }

    /// With the checksum at its place.
    fn sealed(&self, mut segment: Vec<u8>, protocol: u8, at: usize) -> Vec<u8> {
        let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
        let mut pseudo = self.source.octets().to_vec();
        pseudo.extend(self.destination.octets());
        pseudo.extend([0, protocol]);
        pseudo.extend(length.to_be_bytes());
        pseudo.extend(&segment);
        let sum = checksum(&pseudo);
        segment[at..at + 2].copy_from_slice(&sum);
        segment
    }

    /// A guest sends it so many times.
    pub fn send(&self, guest: &Guest, count: usize) -> Result<()> {
        let bytes = self.bytes()?.into_iter();
        let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        let run = guest.namespace().run(python()?);
        run.args(["-c", SEND, guest.device(), &count.to_string(), &hex])
            .output()
            .map(drop)
    }
}

#[test]
fn a_frame_has_right_checksums() {
    let frame = Frame {
        to: "02:00:00:00:00:01",
        from: "02:00:00:00:00:02",
        vlan: None,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
        ttl: 64,
        load: Load::Udp(53),
        size: 4,
    };
    let bytes = frame.bytes().expect("it is well formed");
    // What has its own checksum in it adds up to nothing.
    assert_eq!(checksum(&bytes[14..34]), [0, 0]);
    assert_eq!(bytes.len(), 60);
}
