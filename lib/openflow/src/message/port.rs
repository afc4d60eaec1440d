//! Ports of a switch (OpenFlow 1.5.1 section 7.2.1).

use crate::wire::{Put, Reader};
use crate::{DecodeError, Port};

/// A port as the switch describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// The number.
    pub port: Port,
    /// The Ethernet address.
    pub hw_addr: [u8; 6],
    /// The name, at most 15 bytes; Open vSwitch cuts longer ones.
    pub name: String,
    /// Bits of `OFPPC_*`.
    pub config: u32,
    /// Bits of `OFPPS_*`.
    pub state: u32,
}

const NAME_LEN: usize = 16;
/// The fixed part, and all that is written: speeds are read over.
const FIXED_LEN: usize = 40;

impl PortDesc {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u16(FIXED_LEN as u16);
        out.put_zeros(2);
        out.extend_from_slice(&self.hw_addr);
        out.put_zeros(2);
        let name = &self.name.as_bytes()[..self.name.len().min(NAME_LEN - 1)];
        out.extend_from_slice(name);
        out.put_zeros(NAME_LEN - name.len());
        out.put_u32(self.config);
        out.put_u32(self.state);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = Port(r.u32("port number")?);
        let length = usize::from(r.u16("port length")?);
        let body = length.checked_sub(6).ok_or(DecodeError::Length {
            what: "port",
            length,
        })?;
        let mut b = r.sub(body, "port")?;
        b.skip(2, "port")?;
        let hw_addr = b
            .take(6, "port address")?
            .try_into()
            .expect("six bytes were taken");
        b.skip(2, "port")?;
        let name = b.take(NAME_LEN, "port name")?;
        let name = name.split(|&c| c == 0).next().unwrap_or_default();
        Ok(PortDesc {
            port,
            hw_addr,
            name: String::from_utf8_lossy(name).into_owned(),
            config: b.u32("port config")?,
            state: b.u32("port state")?,
        })
    }
}

/// What happened to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortStatusReason {
    /// It was added.
    Add,
    /// It was removed.
    Delete,
    /// It changed.
    Modify,
}

/// A port came, went or changed (OpenFlow 1.5.1 section 7.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortStatusReason,
    /// The port.
    pub port: PortDesc,
}

impl PortStatus {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(match self.reason {
            PortStatusReason::Add => 0,
            PortStatusReason::Delete => 1,
            PortStatusReason::Modify => 2,
        });
        out.put_zeros(7);
        self.port.encode(out);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let reason = match r.u8("port status")? {
            0 => PortStatusReason::Add,
            1 => PortStatusReason::Delete,
            2 => PortStatusReason::Modify,
            n => {
                return Err(DecodeError::Unknown {
                    what: "port status reason",
                    value: u64::from(n),
                });
            }
        };
        r.skip(7, "port status")?;
        Ok(PortStatus {
            reason,
            port: PortDesc::decode(&mut r)?,
        })
    }
}
