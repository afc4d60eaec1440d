//! The switch as a whole: features, configuration, roles, and what it reports unasked.

use crate::DecodeError;
use crate::action::property;
use crate::wire::{Put, Reader};

/// What a switch is (OpenFlow 1.5.1 section 7.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The datapath's id; the low 48 bits are the bridge's address.
    pub datapath_id: u64,
    /// How many packets it can buffer.
    pub n_buffers: u32,
    /// How many flow tables it has.
    pub n_tables: u8,
    /// Bits of `OFPC_*`.
    pub capabilities: u32,
}

impl Features {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.datapath_id);
        out.put_u32(self.n_buffers);
        out.put_u8(self.n_tables);
        out.put_zeros(3);
        out.put_u32(self.capabilities);
        out.put_zeros(4);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let datapath_id = r.u64("datapath id")?;
        let n_buffers = r.u32("features")?;
        let n_tables = r.u8("features")?;
        r.skip(3, "features")?;
        Ok(Features {
            datapath_id,
            n_buffers,
            n_tables,
            capabilities: r.u32("features")?,
        })
    }
}

/// Settings of the switch (OpenFlow 1.5.1 section 7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// What to do with IP fragments; 0 is as usual.
    pub flags: u16,
    /// How many bytes of a packet that no flow matched go to this controller. Open vSwitch sends packet-ins with reasons
    /// "no match" and "invalid TTL" only to controllers that set it.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(self.flags);
        out.put_u16(self.miss_send_len);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        Ok(SwitchConfig {
            flags: r.u16("config flags")?,
            miss_send_len: r.u16("miss_send_len")?,
        })
    }
}

/// What a controller may do with a switch (OpenFlow 1.5.1 section 6.3.7). The standard's words for the last two are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As it is.
    NoChange,
    /// All, like every other equal.
    Equal,
    /// All; others become secondary.
    Primary,
    /// Reading only.
    Secondary,
}

/// A role and the generation that orders requests for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleState {
    /// The role.
    pub role: Role,
    /// The generation.
    pub generation: u64,
}

impl RoleState {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(match self.role {
            Role::NoChange => 0,
            Role::Equal => 1,
            Role::Primary => 2,
            Role::Secondary => 3,
        });
        out.put_zeros(4);
        out.put_u64(self.generation);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let role = match r.u32("role")? {
            0 => Role::NoChange,
            1 => Role::Equal,
            2 => Role::Primary,
            3 => Role::Secondary,
            n => {
                return Err(DecodeError::Unknown {
                    what: "role",
                    value: u64::from(n),
                });
            }
        };
        r.skip(4, "role")?;
        Ok(RoleState {
            role,
            generation: r.u64("generation id")?,
        })
    }
}

/// Which messages a controller that is primary or equal wants unasked, each as a mask of reasons
/// (OpenFlow 1.5.1 section 7.3.10). `None` leaves the setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncConfig {
    /// Reasons of packet-ins.
    pub packet_in: Option<u32>,
    /// Reasons of port status.
    pub port_status: Option<u32>,
    /// Reasons of flow removed.
    pub flow_removed: Option<u32>,
}

const PACKET_IN: u16 = 1;
const PORT_STATUS: u16 = 3;
const FLOW_REMOVED: u16 = 5;

impl AsyncConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let settings = [
            (PACKET_IN, self.packet_in),
            (PORT_STATUS, self.port_status),
            (FLOW_REMOVED, self.flow_removed),
        ];
        for (kind, mask) in settings {
            if let Some(mask) = mask {
                out.put_u16(kind);
                out.put_u16(8);
                out.put_u32(mask);
            }
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let mut result = AsyncConfig::default();
        while !r.is_empty() {
            let (kind, mut p) = property(&mut r)?;
            match kind {
                PACKET_IN => result.packet_in = Some(p.u32("async mask")?),
                PORT_STATUS => result.port_status = Some(p.u32("async mask")?),
                FLOW_REMOVED => result.flow_removed = Some(p.u32("async mask")?),
                _ => {}
            }
        }
        Ok(result)
    }
}
