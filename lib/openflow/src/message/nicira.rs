//! Nicira's own messages, and the table that maps Geneve options to `tun_metadata` fields (ovs-fields(7), "Geneve Fields").

use crate::wire::{Put, Reader};
use crate::{DecodeError, NICIRA};

pub(super) const SET_PACKET_IN_FORMAT: u32 = 16;
pub(super) const SET_CONTROLLER_ID: u32 = 20;
pub(super) const TLV_TABLE_MOD: u32 = 24;
pub(super) const TLV_TABLE_REQUEST: u32 = 25;
pub(super) const TLV_TABLE_REPLY: u32 = 26;
pub(super) const RESUME: u32 = 28;
pub(super) const CT_FLUSH_ZONE: u32 = 29;
pub(super) const PACKET_IN2: u32 = 30;
pub(super) const CT_FLUSH: u32 = 32;

/// Appends experimenter, type and body.
pub(super) fn encode(out: &mut Vec<u8>, subtype: u32, body: impl FnOnce(&mut Vec<u8>)) {
    out.put_u32(NICIRA);
    out.put_u32(subtype);
    body(out);
}

/// One Geneve option and the field that it is read and written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlvMap {
    /// The option's class.
    pub option_class: u16,
    /// The option's type.
    pub option_type: u8,
    /// How many bytes its body has; a multiple of 4.
    pub option_len: u8,
    /// The number of the `tun_metadata` field.
    pub index: u16,
}

/// What is done to the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlvTableCommand {
    /// Add these.
    Add(Vec<TlvMap>),
    /// Remove these.
    Delete(Vec<TlvMap>),
    /// Remove all.
    Clear,
}

/// The mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvTable {
    /// How many bytes of options can be mapped in all.
    pub max_option_space: u32,
    /// How many fields there are.
    pub max_fields: u16,
    /// What is mapped.
    pub maps: Vec<TlvMap>,
}

impl TlvTableCommand {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (command, maps) = match self {
            TlvTableCommand::Add(maps) => (0, &maps[..]),
            TlvTableCommand::Delete(maps) => (1, &maps[..]),
            TlvTableCommand::Clear => (2, &[][..]),
        };
        out.put_u16(command);
        out.put_zeros(6);
        maps.iter().for_each(|m| m.encode(out));
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let command = r.u16("TLV table command")?;
        r.skip(6, "TLV table")?;
        let maps = TlvMap::decode_all(r)?;
        match command {
            0 => Ok(TlvTableCommand::Add(maps)),
            1 => Ok(TlvTableCommand::Delete(maps)),
            2 => Ok(TlvTableCommand::Clear),
            n => Err(DecodeError::Unknown {
                what: "TLV table command",
                value: u64::from(n),
            }),
        }
    }
}

impl TlvTable {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.max_option_space);
        out.put_u16(self.max_fields);
        out.put_zeros(10);
        self.maps.iter().for_each(|m| m.encode(out));
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let max_option_space = r.u32("TLV table")?;
        let max_fields = r.u16("TLV table")?;
        r.skip(10, "TLV table")?;
        Ok(TlvTable {
            max_option_space,
            max_fields,
            maps: TlvMap::decode_all(r)?,
        })
    }
}

impl TlvMap {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.option_class);
        out.put_u8(self.option_type);
        out.put_u8(self.option_len);
        out.put_u16(self.index);
        out.put_zeros(2);
    }

    fn decode_all(mut r: Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut maps = Vec::new();
        while !r.is_empty() {
            maps.push(TlvMap {
                option_class: r.u16("TLV map")?,
                option_type: r.u8("TLV map")?,
                option_len: r.u8("TLV map")?,
                index: r.u16("TLV map")?,
            });
            r.skip(2, "TLV map")?;
        }
        Ok(maps)
    }
}
