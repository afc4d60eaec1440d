//! Connections to be forgotten (nicira-ext.h of Open vSwitch, `NXT_CT_FLUSH`).

use std::net::{IpAddr, Ipv6Addr};

use crate::DecodeError;
use crate::action::property;
use crate::wire::{Put, Reader};

const ORIGINAL: u16 = 0;
const REPLY: u16 = 1;
const ZONE: u16 = 2;
const SOURCE: u16 = 0;
const DESTINATION: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// Which connections: all for which what is said here is so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CtFlush {
    /// In this zone; `None` for all of them.
    pub zone: Option<u16>,
    /// Of this IP protocol; 0 for all of them.
    pub protocol: u8,
    /// The ends as the packets of the client have them.
    pub original: CtTuple,
    /// The ends as the packets of the server have them, before they are translated back.
    pub reply: CtTuple,
}

/// The ends of a connection, as far as they are said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CtTuple {
    /// The address from which packets come.
    pub source: Option<IpAddr>,
    /// The address to which they go.
    pub destination: Option<IpAddr>,
    /// The port from which they come.
    pub source_port: Option<u16>,
    /// The port to which they go.
    pub destination_port: Option<u16>,
}

impl CtFlush {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.protocol);
        out.put_zeros(7);
        for (kind, tuple) in [(ORIGINAL, &self.original), (REPLY, &self.reply)] {
            if *tuple != CtTuple::default() {
                put(out, kind, |out| {
                    out.put_zeros(4);
                    tuple.encode(out);
                });
            }
        }
        if let Some(zone) = self.zone {
            put(out, ZONE, |out| out.put_u16(zone));
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let mut flush = CtFlush {
            protocol: r.u8("flushed protocol")?,
            ..CtFlush::default()
        };
        r.skip(7, "flush")?;
        while !r.is_empty() {
            let (kind, mut p) = property(&mut r)?;
            match kind {
                ORIGINAL | REPLY => {
                    p.skip(4, "flushed tuple")?;
                    let tuple = CtTuple::decode(p)?;
                    match kind {
                        ORIGINAL => flush.original = tuple,
                        _ => flush.reply = tuple,
                    }
                }
                ZONE => flush.zone = Some(p.u16("flushed zone")?),
                _ => {}
            }
        }
        Ok(flush)
    }
}

impl CtTuple {
    fn encode(&self, out: &mut Vec<u8>) {
        for (kind, ip) in [(SOURCE, self.source), (DESTINATION, self.destination)] {
            if let Some(ip) = ip {
                put(out, kind, |out| {
                    out.put_uint(mapped(ip).to_bits(), 16);
                });
            }
        }
        for (kind, port) in [
            (SOURCE_PORT, self.source_port),
            (DESTINATION_PORT, self.destination_port),
        ] {
            if let Some(port) = port {
                put(out, kind, |out| out.put_u16(port));
            }
        }
    }

    fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let mut tuple = CtTuple::default();
        while !r.is_empty() {
            let (kind, mut p) = property(&mut r)?;
            match kind {
                SOURCE | DESTINATION => {
                    let ip = Ipv6Addr::from_bits(p.uint(16, "flushed address")?);
                    let ip = ip.to_canonical();
                    match kind {
                        SOURCE => tuple.source = Some(ip),
                        _ => tuple.destination = Some(ip),
                    }
                }
                SOURCE_PORT => tuple.source_port = Some(p.u16("flushed port")?),
                DESTINATION_PORT => tuple.destination_port = Some(p.u16("flushed port")?),
                _ => {}
            }
        }
        Ok(tuple)
    }
}

/// A property: type, length, body, and zeros to the next multiple of eight, which the length does not count.
fn put(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    body(out);
    out.put_len(start, start + 2);
    out.pad_to_8(start);
}

/// As all addresses are written here: IPv4 within IPv6.
fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
