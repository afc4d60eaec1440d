//! Meters (OpenFlow 1.5.1 sections 7.3.4.4, 7.3.5.14), of the one kind that Open vSwitch has: with drop bands.

use crate::DecodeError;
use crate::wire::{Put, Reader};

/// A meter with one drop band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Meter {
    /// Its number.
    pub id: u32,
    /// The rate counts packets per second, not kilobits.
    pub packets: bool,
    /// The rate above which packets are dropped.
    pub rate: u32,
    /// How many kilobits or packets may come at once; 0 leaves it to the switch.
    pub burst: u32,
}

/// What is done to a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterCommand {
    /// Add it.
    Add,
    /// Change it.
    Modify,
    /// Remove it, with the flows that use it.
    Delete,
}

/// A change of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterMod {
    /// What is done.
    pub command: MeterCommand,
    /// The meter; for a deletion only its number counts.
    pub meter: Meter,
}

const FLAG_KBPS: u16 = 1;
const FLAG_PKTPS: u16 = 2;
const FLAG_BURST: u16 = 4;
const BAND_DROP: u16 = 1;
const BAND_LEN: u16 = 16;

impl MeterMod {
    /// Removes the meter with this number, and the flows that use it.
    pub fn delete(id: u32) -> Self {
        MeterMod {
            command: MeterCommand::Delete,
            meter: Meter {
                id,
                packets: false,
                rate: 0,
                burst: 0,
            },
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(match self.command {
            MeterCommand::Add => 0,
            MeterCommand::Modify => 1,
            MeterCommand::Delete => 2,
        });
        self.meter.put_flags_and_id(out);
        if self.command != MeterCommand::Delete {
            self.meter.put_band(out);
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let command = match r.u16("meter command")? {
            0 => MeterCommand::Add,
            1 => MeterCommand::Modify,
            2 => MeterCommand::Delete,
            n => {
                return Err(DecodeError::Unknown {
                    what: "meter command",
                    value: u64::from(n),
                });
            }
        };
        Ok(MeterMod {
            command,
            meter: Meter::take(r)?,
        })
    }
}

impl Meter {
    /// Appends a meter description, as in the reply of a multipart request.
    pub(super) fn encode_desc(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(0);
        self.put_flags_and_id(out);
        self.put_band(out);
        out.put_len(start, start);
    }

    pub(super) fn decode_desc(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = usize::from(r.u16("meter length")?);
        let body = length.checked_sub(2).ok_or(DecodeError::Length {
            what: "meter",
            length,
        })?;
        Meter::take(r.sub(body, "meter")?)
    }

    fn put_flags_and_id(&self, out: &mut Vec<u8>) {
        let unit = if self.packets { FLAG_PKTPS } else { FLAG_KBPS };
        out.put_u16(unit | if self.burst > 0 { FLAG_BURST } else { 0 });
        out.put_u32(self.id);
    }

    fn put_band(&self, out: &mut Vec<u8>) {
        out.put_u16(BAND_DROP);
        out.put_u16(BAND_LEN);
        out.put_u32(self.rate);
        out.put_u32(self.burst);
        out.put_zeros(4);
    }

    /// Flags, number and bands; of the bands the first counts.
    fn take(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.u16("meter flags")?;
        let id = r.u32("meter id")?;
        let mut meter = Meter {
            id,
            packets: flags & FLAG_PKTPS != 0,
            rate: 0,
            burst: 0,
        };
        if !r.is_empty() {
            r.skip(4, "meter band")?;
            meter.rate = r.u32("meter rate")?;
            meter.burst = r.u32("meter burst")?;
        }
        Ok(meter)
    }
}
