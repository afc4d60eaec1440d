//! What packets a flow applies to: fields with values and masks.
//!
//! A [`Match`] has one form for one meaning, so that equal matches are equal values, equal bytes and equal hashes, and what is
//! read back from a switch can be compared with what was wanted:
//!
//! * bits outside the mask are zero, and a field whose mask is zero is absent;
//! * `xreg` and `xxreg` are split into 32-bit registers, `vlan_tci` into `vlan_vid` and `dl_vlan_pcp` (where the mask
//!   covers the priority wholly or not at all), `nw_tos` becomes `ip_dscp`;
//! * fields stand in the order of [`Field`].
//!
//! Prerequisites are the caller's: `tcp_dst` without `dl_type` and `nw_proto` is accepted here and refused by the switch.

use std::fmt;

use smallvec::SmallVec;

use crate::field::{CT_STATE_NAMES, Format, TCP_FLAG_NAMES};
use crate::oxm;
use crate::wire::{Put, Reader};
use crate::{DecodeError, Field, ones};

/// Bit 12 of `vlan_vid`: an 802.1Q header is present (OpenFlow 1.5.1 section 7.2.3.8).
pub const VLAN_PRESENT: u128 = 0x1000;

/// A conjunction of masked field comparisons; empty, it matches every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Match {
    terms: SmallVec<[Term; 6]>,
}

/// One comparison: `packet[field] & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// The field.
    pub field: Field,
    /// The wanted bits; none outside the mask.
    pub value: u128,
    /// The bits that count; never zero.
    pub mask: u128,
}

impl Match {
    /// Matches every packet.
    pub fn new() -> Self {
        Match::default()
    }

    /// Adds `field == value`. What was said of the field before is replaced.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<u128>) -> Self {
        self.set(field, value.into());
        self
    }

    /// Adds `field & mask == value`. What was said of the same bits before is replaced.
    #[must_use]
    pub fn with_masked(
        mut self,
        field: Field,
        value: impl Into<u128>,
        mask: impl Into<u128>,
    ) -> Self {
        self.set_masked(field, value.into(), mask.into());
        self
    }

    /// Adds `field == value`.
    pub fn set(&mut self, field: Field, value: u128) {
        self.set_masked(field, value, field.full_mask());
    }

    /// Adds `field & mask == value`; earlier terms about other bits of the same field stay.
    pub fn set_masked(&mut self, field: Field, value: u128, mask: u128) {
        let mask = mask & field.full_mask();
        let value = value & mask;
        match field {
            Field::VlanTci if matches!(mask >> 13, 0 | 7) => {
                self.set_plain(Field::VlanVid, value & 0x1fff, mask & 0x1fff);
                self.set_plain(Field::VlanPcp, value >> 13, mask >> 13);
            }
            Field::IpTos => self.set_plain(Field::IpDscp, value >> 2, mask >> 2),
            _ => match field.overlaid_regs() {
                [] => self.set_plain(field, value, mask),
                regs => {
                    for (i, &reg) in regs.iter().rev().enumerate() {
                        self.set_plain(
                            reg,
                            (value >> (32 * i)) & ones(32),
                            (mask >> (32 * i)) & ones(32),
                        );
                    }
                }
            },
        }
    }

    /// Forgets what was said of a field.
    pub fn remove(&mut self, field: Field) {
        self.terms.retain(|t| t.field != field);
    }

    /// The comparison on a field, if there is one.
    pub fn get(&self, field: Field) -> Option<Term> {
        self.position(field).ok().map(|at| self.terms[at])
    }

    /// The comparisons, in the order of their fields.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether it matches every packet.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Appends the OXM list, without the header that gives type and length.
    pub fn encode_oxms(&self, out: &mut Vec<u8>) {
        for t in &self.terms {
            oxm::put_masked(out, t.field, t.value, t.mask);
        }
    }

    /// Appends an `ofp_match` of type OXM, padded to 8 bytes (OpenFlow 1.5.1 section 7.2.3.2).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(MATCH_TYPE_OXM);
        out.put_u16(0);
        self.encode_oxms(out);
        out.put_len(start, start + 2);
        out.pad_to_8(start);
    }

    /// Reads an `ofp_match` and its padding.
    pub fn decode(r: &mut Reader<'_>) -> Result<Match, DecodeError> {
        let kind = r.u16("match type")?;
        if kind != MATCH_TYPE_OXM {
            return Err(DecodeError::Unknown {
                what: "match type",
                value: u64::from(kind),
            });
        }
        let length = usize::from(r.u16("match length")?);
        let body = length.checked_sub(4).ok_or(DecodeError::Length {
            what: "match",
            length,
        })?;
        let result = Match::decode_oxms(r.sub(body, "match")?)?;
        r.skip(length.next_multiple_of(8) - length, "match padding")?;
        Ok(result)
    }

    /// Reads a bare OXM list. A field that Weft does not know is an error.
    pub fn decode_oxms(mut r: Reader<'_>) -> Result<Match, DecodeError> {
        let mut result = Match::new();
        while !r.is_empty() {
            let (field, value, mask) = oxm::take_masked(&mut r)?;
            result.set_masked(field, value, mask);
        }
        Ok(result)
    }

    /// Reads a bare OXM list and passes over fields that Weft does not know.
    pub fn decode_known_oxms(mut r: Reader<'_>) -> Result<Match, DecodeError> {
        let mut result = Match::new();
        while !r.is_empty() {
            if let Some((field, value, mask)) = oxm::take_known(&mut r)? {
                result.set_masked(field, value, mask);
            }
        }
        Ok(result)
    }

    fn set_plain(&mut self, field: Field, value: u128, mask: u128) {
        if mask == 0 {
            return;
        }
        match self.position(field) {
            Ok(at) => {
                let old = self.terms[at];
                self.terms[at] = Term {
                    field,
                    value: (old.value & !mask) | value,
                    mask: old.mask | mask,
                };
            }
            Err(at) => self.terms.insert(at, Term { field, value, mask }),
        }
    }

    fn position(&self, field: Field) -> Result<usize, usize> {
        self.terms.binary_search_by_key(&field, |t| t.field)
    }
}

impl fmt::Display for Match {
    /// In the syntax of ovs-ofctl(8), protocol keywords included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |field: Field| {
            self.get(field)
                .filter(|t| t.mask == field.full_mask())
                .map(|t| t.value)
        };
        let keyword = match (exact(Field::EthType), exact(Field::IpProto)) {
            (Some(eth), Some(proto)) => PROTOCOLS
                .iter()
                .find(|p| p.0 == eth && p.1 == Some(proto))
                .or_else(|| protocol_of_type(eth)),
            (Some(eth), None) => protocol_of_type(eth),
            _ => None,
        };
        let mut first = true;
        let mut separate = |f: &mut fmt::Formatter<'_>| {
            if std::mem::take(&mut first) {
                Ok(())
            } else {
                f.write_str(",")
            }
        };
        if let Some(p) = keyword {
            separate(f)?;
            f.write_str(p.2)?;
        }
        for t in &self.terms {
            let said = match (t.field, keyword) {
                (Field::EthType, Some(_)) => true,
                (Field::IpProto, Some(p)) => p.1.is_some(),
                _ => false,
            };
            if !said {
                separate(f)?;
                write!(f, "{t}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Term { field, value, mask } = *self;
        match field.format() {
            Format::CtState => write!(
                f,
                "{field}={}",
                Flags {
                    names: CT_STATE_NAMES,
                    value,
                    mask
                }
            ),
            Format::TcpFlags => write!(
                f,
                "{field}={}",
                Flags {
                    names: TCP_FLAG_NAMES,
                    value,
                    mask
                }
            ),
            Format::TunFlags => write!(
                f,
                "{field}={}",
                Flags {
                    names: &["oam"],
                    value,
                    mask
                }
            ),
            Format::Frag => write!(f, "{field}={}", frag_name(value, mask)),
            _ if mask == field.full_mask() => write!(f, "{field}={}", field.format_value(value)),
            Format::Ip4 if is_prefix(mask, 32) => {
                write!(
                    f,
                    "{field}={}/{}",
                    field.format_value(value),
                    mask.count_ones()
                )
            }
            Format::Ip6 if is_prefix(mask, 128) => {
                write!(
                    f,
                    "{field}={}/{}",
                    field.format_value(value),
                    mask.count_ones()
                )
            }
            Format::Decimal => write!(f, "{field}={value:#x}/{mask:#x}"),
            _ => write!(
                f,
                "{field}={}/{}",
                field.format_value(value),
                field.format_value(mask)
            ),
        }
    }
}

const MATCH_TYPE_OXM: u16 = 1;

/// Ethernet type, IP protocol, and the keyword that stands for them in flow syntax.
const PROTOCOLS: &[(u128, Option<u128>, &str)] = &[
    (0x0800, None, "ip"),
    (0x0800, Some(1), "icmp"),
    (0x0800, Some(6), "tcp"),
    (0x0800, Some(17), "udp"),
    (0x0800, Some(132), "sctp"),
    (0x86dd, None, "ipv6"),
    (0x86dd, Some(58), "icmp6"),
    (0x86dd, Some(6), "tcp6"),
    (0x86dd, Some(17), "udp6"),
    (0x86dd, Some(132), "sctp6"),
    (0x0806, None, "arp"),
    (0x8035, None, "rarp"),
];

fn protocol_of_type(eth_type: u128) -> Option<&'static (u128, Option<u128>, &'static str)> {
    PROTOCOLS.iter().find(|p| p.0 == eth_type && p.1.is_none())
}

fn is_prefix(mask: u128, width: u16) -> bool {
    let inverse = !mask & ones(width);
    inverse & inverse.wrapping_add(1) == 0
}

/// `nw_frag` has two bits, "any" and "later" (ovs-fields(7)).
fn frag_name(value: u128, mask: u128) -> &'static str {
    match (value, mask) {
        (0, 3) => "no",
        (1, 1) => "yes",
        (1, 3) => "first",
        (3, _) | (2, 2) => "later",
        (0, 2) => "not_later",
        _ => "no",
    }
}

struct Flags {
    names: &'static [&'static str],
    value: u128,
    mask: u128,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mask >> self.names.len() != 0 {
            return write!(f, "{:#x}/{:#x}", self.value, self.mask);
        }
        for (i, name) in self
            .names
            .iter()
            .enumerate()
            .filter(|(i, _)| self.mask >> i & 1 == 1)
        {
            write!(
                f,
                "{}{name}",
                if self.value >> i & 1 == 1 { '+' } else { '-' }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_meaning_has_one_form() {
        let wide = Match::new().with(Field::Xreg0, 0x1_0000_0002u64);
        let narrow = Match::new().with(Field::Reg1, 2u8).with(Field::Reg0, 1u8);
        assert_eq!(wide, narrow);
        let half = Match::new().with_masked(Field::Xxreg0, 7u8, 0xffu8);
        assert_eq!(half, Match::new().with_masked(Field::Reg3, 7u8, 0xffu8));
        let tci = Match::new().with_masked(Field::VlanTci, 0x1033u16, 0x1fffu16);
        assert_eq!(tci, Match::new().with(Field::VlanVid, 0x1033u16));
        assert_eq!(
            Match::new().with_masked(Field::Reg0, 5u8, 0u8),
            Match::new()
        );
        assert_eq!(
            Match::new()
                .with_masked(Field::Reg0, 0xffu8, 0xfu8)
                .get(Field::Reg0)
                .expect("set")
                .value,
            0xf
        );
    }

    #[test]
    fn prints_as_ovs_ofctl_reads() {
        let cases = [
            (Match::new(), ""),
            (
                Match::new()
                    .with(Field::InPort, 3u8)
                    .with(Field::Metadata, 1u8),
                "in_port=3,metadata=0x1",
            ),
            (
                Match::new()
                    .with(Field::TcpDst, 80u8)
                    .with(Field::IpProto, 6u8)
                    .with(Field::EthType, 0x800u16),
                "tcp,tcp_dst=80",
            ),
            (
                Match::new().with(Field::EthType, 0x800u16).with_masked(
                    Field::IpSrc,
                    0x0a00_0000u32,
                    0xff00_0000u32,
                ),
                "ip,nw_src=10.0.0.0/8",
            ),
            (
                Match::new().with_masked(Field::CtState, 0x21u8, 0x23u8),
                "ct_state=+new-est+trk",
            ),
            (
                Match::new().with_masked(Field::EthDst, 0x0100_0000_0000u64, 0x0100_0000_0000u64),
                "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
            ),
        ];
        for (m, text) in cases {
            assert_eq!(m.to_string(), text);
        }
    }
}
