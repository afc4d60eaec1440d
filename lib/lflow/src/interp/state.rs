//! [`State`]: a packet and its metadata, as the values of all storage.

use crate::symbols::{Base, Field, Kind};

/// The values of all fields of one packet at one moment.
///
/// A header that the packet does not have is all zero; `eth.type` and `ip.proto` say which ones it has, as in a flow
/// of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    values: Vec<u128>,
    /// `icmp4.frag_mtu` or `icmp6.frag_mtu`, once set.
    pub frag_mtu: Option<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            values: vec![0; Base::ALL.len()],
            frag_mtu: None,
        }
    }
}

impl State {
    /// The value of a storage.
    pub fn get(&self, base: Base) -> u128 {
        self.values[base as usize]
    }

    /// Sets a storage; bits beyond its width are dropped.
    pub fn set(&mut self, base: Base, value: u128) {
        self.values[base as usize] = value & base.full_mask();
    }

    /// The same state with a storage set.
    #[must_use]
    pub fn with(mut self, base: Base, value: impl Into<u128>) -> Self {
        self.set(base, value.into());
        self
    }

    /// The value of a field. Predicates and fields that exist only for actions read as zero.
    pub fn read(&self, field: Field) -> u128 {
        let segments = field.segments();
        segments.iter().fold(0, |value, segment| {
            let ones = u128::MAX >> (128 - u32::from(segment.width));
            value | (self.get(segment.base) >> segment.lsb & ones) << segment.at
        })
    }

    /// Writes the bits of a field that `mask` selects.
    pub fn write(&mut self, field: Field, value: u128, mask: u128) {
        if matches!(field.symbol().kind(), Kind::MtuOfError) {
            self.frag_mtu = u32::try_from(value).ok();
        }
        for segment in field.segments() {
            let ones = u128::MAX >> (128 - u32::from(segment.width));
            let bits = (mask >> segment.at & ones) << segment.lsb;
            let new = (value >> segment.at & ones) << segment.lsb;
            self.set(segment.base, self.get(segment.base) & !bits | new & bits);
        }
    }
}
