//! The table in which a packet's address is looked up: a flow for each prefix, with the bits of all sets that cover it.
//!
//! The longest prefix decides, so it has the bits of those around it too. A prefix that comes or goes is one flow, and one for each
//! longer prefix inside of it.

use std::collections::BTreeMap;

use lflow::{Format, Int};
use openflow::{Action, Field, Match};
use smallvec::SmallVec;

use crate::desired::Desired;
use crate::flow::{Digest, Flow};
use crate::layout;

/// Addresses with the same first bits. The order is that of addresses; a prefix comes before those inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    is_v6: bool,
    address: u128,
    length: u8,
}

/// What a member of an address set is.
pub(super) enum Parsed {
    /// Addresses that begin alike.
    Prefix(Prefix),
    /// Addresses that have other bits than the first ones in common.
    Unfit,
    /// No IP address.
    Other,
}

impl Parsed {
    pub(super) fn of(int: Int) -> Parsed {
        let (is_v6, width) = match int.format {
            Format::Ip4 => (false, 32),
            Format::Ip6 => (true, 128),
            _ => return Parsed::Other,
        };
        let length = match int.is_exact() {
            true => width,
            false => int.mask.count_ones(),
        };
        let prefix = Prefix {
            is_v6,
            address: int.value,
            length: u8::try_from(length).unwrap_or(u8::MAX),
        };
        match int.is_exact() || int.mask == prefix.mask() {
            true => Parsed::Prefix(prefix),
            false => Parsed::Unfit,
        }
    }
}

impl Prefix {
    fn width(self) -> u8 {
        if self.is_v6 { 128 } else { 32 }
    }

    fn all(self) -> u128 {
        u128::MAX >> (128 - self.width())
    }

    fn mask(self) -> u128 {
        match self.length {
            0 => 0,
            length => self.all() << (self.width() - length) & self.all(),
        }
    }

    /// The prefix of this length around it.
    fn around(self, length: u8) -> Prefix {
        let wide = Prefix { length, ..self };
        Prefix {
            address: self.address & wide.mask(),
            ..wide
        }
    }
}

/// A prefix that sets have.
#[derive(Debug, Default)]
struct Entry {
    /// The bits of sets that have exactly this prefix, and how often.
    own: SmallVec<[(u8, u32); 1]>,
    flow: Option<Digest>,
}

impl Entry {
    fn bits(&self) -> u32 {
        self.own.iter().fold(0, |all, (bit, _)| all | 1 << bit)
    }
}

/// One such table.
#[derive(Debug)]
pub(super) struct Prefixes {
    number: u8,
    entries: BTreeMap<Prefix, Entry>,
    /// How many prefixes of each length there are, for both versions.
    lengths: [BTreeMap<u8, u32>; 2],
}

impl Prefixes {
    /// The table with this number among those of its kind.
    pub(super) fn new(number: u8) -> Self {
        Prefixes {
            number,
            entries: BTreeMap::new(),
            lengths: [const { BTreeMap::new() }; 2],
        }
    }

    /// The set with this bit has the prefix once more, or once less.
    pub(super) fn change(&mut self, prefix: Prefix, bit: u8, comes: bool, desired: &mut Desired) {
        let is_new = !self.entries.contains_key(&prefix);
        if is_new && !comes {
            return;
        }
        let entry = self.entries.entry(prefix).or_default();
        let before = entry.bits();
        let place = entry.own.iter().position(|(other, _)| *other == bit);
        match (place, comes) {
            (Some(place), true) => entry.own[place].1 += 1,
            (None, true) => entry.own.push((bit, 1)),
            (Some(place), false) => {
                entry.own[place].1 -= 1;
                if entry.own[place].1 == 0 {
                    entry.own.remove(place);
                }
            }
            (None, false) => {}
        }
        let after = entry.bits();
        if is_new {
            *self.lengths(prefix).entry(prefix.length).or_default() += 1;
        }
        if before != after {
            self.refresh(prefix, desired);
            self.refresh_inside(prefix, desired);
        }
    }

    /// No prefix has the bit any more.
    pub(super) fn clear(&mut self, bit: u8, desired: &mut Desired) {
        let having = self.entries.iter_mut().filter_map(|(prefix, entry)| {
            let before = entry.own.len();
            entry.own.retain(|(other, _)| *other != bit);
            (entry.own.len() < before).then_some(*prefix)
        });
        let having: Vec<Prefix> = having.collect();
        for prefix in having {
            self.refresh(prefix, desired);
            self.refresh_inside(prefix, desired);
        }
    }

    fn lengths(&mut self, prefix: Prefix) -> &mut BTreeMap<u8, u32> {
        &mut self.lengths[usize::from(prefix.is_v6)]
    }

    fn refresh_inside(&mut self, prefix: Prefix, desired: &mut Desired) {
        if prefix.length == prefix.width() {
            return;
        }
        let first = Prefix {
            length: prefix.length + 1,
            ..prefix
        };
        let last = Prefix {
            address: prefix.address | prefix.all() & !prefix.mask(),
            length: u8::MAX,
            ..prefix
        };
        let inside: Vec<Prefix> = self.entries.range(first..=last).map(|(p, _)| *p).collect();
        for prefix in inside {
            self.refresh(prefix, desired);
        }
    }

    /// Brings the flow of a prefix up to date.
    fn refresh(&mut self, prefix: Prefix, desired: &mut Desired) {
        let Some(entry) = self.entries.get(&prefix) else {
            return;
        };
        let own = entry.bits();
        let flow = (own != 0).then(|| {
            let lengths = self.lengths[usize::from(prefix.is_v6)].range(..prefix.length);
            let around =
                lengths.filter_map(|(length, _)| self.entries.get(&prefix.around(*length)));
            let bits = around.fold(own, |all, entry| all | entry.bits());
            self.flow(prefix, bits)
        });
        let Some(entry) = self.entries.get_mut(&prefix) else {
            return;
        };
        let digest = flow.as_ref().map(|flow| flow.digest);
        let before = std::mem::replace(&mut entry.flow, digest);
        if before != digest {
            flow.into_iter().for_each(|flow| desired.add(flow));
            before.into_iter().for_each(|old| desired.remove(old));
        }
        if own == 0 {
            self.entries.remove(&prefix);
            let lengths = self.lengths(prefix);
            if let Some(count) = lengths.get_mut(&prefix.length) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&prefix.length);
                }
            }
        }
    }

    fn flow(&self, prefix: Prefix, bits: u32) -> Flow {
        let is_destination = self.number % 2 == 1;
        let (ethertype, field) = match (prefix.is_v6, is_destination) {
            (false, false) => (0x800u16, Field::IpSrc),
            (false, true) => (0x800, Field::IpDst),
            (true, false) => (0x86dd, Field::Ipv6Src),
            (true, true) => (0x86dd, Field::Ipv6Dst),
        };
        let matches = Match::new().with(Field::EthType, ethertype).with_masked(
            field,
            prefix.address,
            prefix.mask(),
        );
        let actions = layout::ADDRESS_SET_REGISTERS.into_iter().zip([0, 16]);
        let actions = actions.filter_map(|(register, first)| {
            let bits = (bits >> first & 0xffff) << 16;
            (bits != 0).then(|| Action::set_masked(register, bits, bits))
        });
        let table = layout::ADDRESS_SETS + self.number;
        Flow::new(
            table,
            u16::from(prefix.length) + 1,
            matches,
            actions.collect(),
            0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::action::Actions;
    use openflow::message::FlowCommand;

    fn prefix(text: &str) -> Prefix {
        match Parsed::of(Int::parse_address(text).expect("an address")) {
            Parsed::Prefix(prefix) => prefix,
            _ => panic!("{text} is no prefix"),
        }
    }

    #[test]
    fn the_longest_prefix_has_the_bits_of_all_around_it() {
        let (mut table, mut desired) = (Prefixes::new(1), Desired::default());
        let mut check = |text: &str, bit: u8, comes: bool, wanted: &[&str]| {
            table.change(prefix(text), bit, comes, &mut desired);
            let mut lines: Vec<String> = desired
                .changes()
                .flows
                .into_iter()
                .map(|(key, flow)| match flow.command {
                    FlowCommand::Add => {
                        format!(
                            "+ {} {} {}",
                            key.priority,
                            key.matches,
                            Actions(&flow.actions)
                        )
                    }
                    _ => format!("- {} {}", key.priority, key.matches),
                })
                .collect();
            lines.sort();
            assert_eq!(lines, wanted, "{text} bit {bit}, comes: {comes}");
        };
        let load = |bits: &str| format!("set_field:0x{bits}/0x{bits}->reg11");
        let one = format!("+ 33 ip,nw_dst=10.0.0.1 {}", load("10000"));
        check("10.0.0.1", 0, true, &[&one]);
        // Another text for the same, and then it is still there.
        check("10.0.0.1/32", 0, true, &[]);
        check("10.0.0.1/32", 0, false, &[]);
        let both = format!("+ 33 ip,nw_dst=10.0.0.1 {}", load("30000"));
        let net = format!("+ 25 ip,nw_dst=10.0.0.0/24 {}", load("20000"));
        check("10.0.0.0/24", 1, true, &[&net, &both]);
        let far = "+ 9 ip,nw_dst=11.0.0.0/8 set_field:0x20000/0x20000->reg12";
        check("11.0.0.0/8", 17, true, &[far]);
        let any = format!("+ 1 ip {}", load("40000"));
        let net_too = format!("+ 25 ip,nw_dst=10.0.0.0/24 {}", load("60000"));
        let one_too = format!("+ 33 ip,nw_dst=10.0.0.1 {}", load("70000"));
        let far_too = format!(
            "+ 9 ip,nw_dst=11.0.0.0/8 {},set_field:0x20000/0x20000->reg12",
            load("40000")
        );
        check("0.0.0.0/0", 2, true, &[&any, &net_too, &one_too, &far_too]);
        let net_only = format!("+ 33 ip,nw_dst=10.0.0.1 {}", load("50000"));
        check(
            "10.0.0.0/24",
            1,
            false,
            &[&net_only, "- 25 ip,nw_dst=10.0.0.0/24"],
        );
        let v6 = format!("+ 65 ipv6,ipv6_dst=fd00::/64 {}", load("10000"));
        check("fd00::/64", 0, true, &[&v6]);
        check("10.0.0.1", 0, false, &["- 33 ip,nw_dst=10.0.0.1"]);
    }

    #[test]
    fn masks_with_holes_are_unfit() {
        let of = |text: &str| Parsed::of(Int::parse_address(text).expect("an address"));
        assert!(matches!(of("10.0.0.1/255.0.0.255"), Parsed::Unfit));
        assert!(matches!(of("02:00:00:00:00:01"), Parsed::Other));
    }
}
