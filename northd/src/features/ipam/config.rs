//! What a switch has to give: `subnet`, `exclude_ips`, `ipv6_prefix` and `mac_only` of `Logical_Switch.other_config`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use addr::{Cidr, Mac};
use nb_db::tables::LogicalSwitch;
use ovsdb::typed::Table;
use relations::{Handle, Key, Relation, Small};

use super::IPS;
use crate::compiler::feature::{Kind, Over};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;

/// Switches that have something to give.
pub(super) static IPAM: Relation<Handle, Ipam> = Relation::new("address management");

/// What a switch has to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ipam {
    /// IPv4 addresses.
    pub(super) subnet: Option<Subnet>,
    /// The first half of IPv6 addresses.
    prefix: Option<Ipv6Addr>,
}

/// An IPv4 network: its addresses are numbers from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    network: u32,
    length: u8,
}

impl Ipam {
    /// The address that follows from a MAC (RFC 4291, appendix A).
    pub(super) fn ip6(&self, mac: Mac) -> Option<Ipv6Addr> {
        let high = self.prefix?.to_bits() >> 64 << 64;
        let low = mac.link_local().to_bits() & u128::from(u64::MAX);
        Some(Ipv6Addr::from_bits(high | low))
    }
}

impl Subnet {
    /// A network with room for a router and one more.
    fn new(network: Cidr) -> Option<Self> {
        let length = network.prefix_len();
        match network.network().addr() {
            IpAddr::V4(network) if length <= 30 => Some(Self {
                network: network.to_bits(),
                length,
            }),
            _ => None,
        }
    }

    /// The number of an address that can be given; none of the network's own address, of that for everybody, and of those
    /// elsewhere.
    pub(super) fn number(self, ip: IpAddr) -> Option<u32> {
        let IpAddr::V4(ip) = ip else {
            return None;
        };
        let number = ip.to_bits().checked_sub(self.network)?;
        (1..=self.max()).contains(&number).then_some(number)
    }

    /// The address of a number.
    pub(super) fn ip(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.saturating_add(number))
    }

    /// The last number.
    pub(super) fn max(self) -> u32 {
        (u32::MAX >> self.length) - 1
    }

    /// Among whom its numbers are given.
    pub(super) fn among(self, switch: Handle) -> Key {
        let [switch, ..] = switch.pack().words();
        Key::new([switch, self.network, u32::from(self.length), 0, 0])
    }

    /// The numbers of those addresses that can be given, from the first to the last.
    fn range(self, first: Ipv4Addr, last: Ipv4Addr) -> Option<RangeInclusive<u32>> {
        let network = u64::from(self.network);
        let distance = |ip: Ipv4Addr| u64::from(ip.to_bits()).checked_sub(network);
        let first = distance(first).unwrap_or(0).max(1);
        let last = distance(last)?.min(self.max().into());
        let range = u32::try_from(first).ok()?..=u32::try_from(last).ok()?;
        (!range.is_empty()).then_some(range)
    }
}

pub(super) static MODEL: Kind = Kind {
    name: "model/switch",
    over: Over::North(LogicalSwitch::INDEX),
    reads: &[],
    says: &[&IPAM],
    wants: &[&IPS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = LogicalSwitch::COLUMN.other_config;
        let options = Options::read(column.name, columns.get(column.index));
        let name = LogicalSwitch::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<LogicalSwitch>(row, name);
        let subnet = subnet(&options, &mut complaints);
        let prefix = prefix(&options, &mut complaints);
        let is_mac_only = options.truth("mac_only", false, &mut complaints);
        if let Some(subnet) = subnet {
            let among = subnet.among(row);
            // The first is for the router.
            unit.reserve(&IPS, among, 1..=1);
            for range in excluded(subnet, &options, &mut complaints) {
                unit.reserve(&IPS, among, range);
            }
        }
        if subnet.is_some() || prefix.is_some() || is_mac_only {
            unit.say(&IPAM, row, Ipam { subnet, prefix });
        }
        unit.problems(complaints.into_problems());
    },
};

fn subnet(options: &Options<'_>, complaints: &mut Complaints) -> Option<Subnet> {
    let text = options.text("subnet")?;
    let column = LogicalSwitch::COLUMN.other_config.name;
    match text.parse::<Cidr>() {
        Ok(network) => {
            let subnet = Subnet::new(network);
            if subnet.is_none() {
                let why = "subnet is not an IPv4 network with room for a port";
                complaints.text(column, text, 0, why, "write one such as 10.0.0.0/24");
            }
            subnet
        }
        Err(error) => {
            complaints.address(column, text, &error);
            None
        }
    }
}

/// The network of 64 bits, which may be written without its length.
fn prefix(options: &Options<'_>, complaints: &mut Complaints) -> Option<Ipv6Addr> {
    let text = options.text("ipv6_prefix")?;
    let column = LogicalSwitch::COLUMN.other_config.name;
    let (address, length) = text.split_once('/').unwrap_or((text, "64"));
    let prefix = address.parse::<Ipv6Addr>().ok().filter(|_| length == "64");
    if prefix.is_none() {
        let why = "ipv6_prefix is not an IPv6 network of 64 bits";
        complaints.text(column, text, 0, why, "write one such as fd00::/64");
    }
    prefix
}

/// Addresses and ranges, separated by blanks: `10.0.0.5 10.0.0.10..10.0.0.20`.
fn excluded(
    subnet: Subnet,
    options: &Options<'_>,
    complaints: &mut Complaints,
) -> Vec<RangeInclusive<u32>> {
    let Some(text) = options.text("exclude_ips") else {
        return Vec::new();
    };
    let column = LogicalSwitch::COLUMN.other_config.name;
    let mut ranges = Vec::new();
    let mut offset = 0;
    for word in text.split([' ', '\t', '\n', ',']) {
        let at = offset;
        offset += word.len() + 1;
        if word.is_empty() {
            continue;
        }
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        let (Ok(first), Ok(last)) = (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>()) else {
            let why = format!("{word:?} is neither an IPv4 address nor a range FIRST..LAST");
            complaints.text(column, text, at, why, "it is ignored until it is");
            continue;
        };
        match subnet.range(first, last) {
            Some(range) => ranges.push(range),
            None => {
                let why = format!("exclude_ips: no address of {word:?} is one of the subnet");
                complaints.warning(column, text, at, why, "remove it, or correct it");
            }
        }
    }
    ranges.sort_by_key(|range| (*range.start(), *range.end()));
    ranges.dedup();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_count_their_addresses() {
        let subnet = |text: &str| Subnet::new(text.parse().unwrap());
        let lan = subnet("10.0.0.77/24").unwrap();
        let number = |text: &str| lan.number(text.parse().unwrap());
        assert_eq!(
            [
                "10.0.0.0",
                "10.0.0.1",
                "10.0.0.254",
                "10.0.0.255",
                "10.0.1.1",
                "fd00::1"
            ]
            .map(number),
            [None, Some(1), Some(254), None, None, None]
        );
        assert_eq!((lan.max(), lan.ip(2)), (254, Ipv4Addr::new(10, 0, 0, 2)));
        let range =
            |first: &str, last: &str| lan.range(first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(range("9.0.0.0", "10.0.0.3"), Some(1..=3));
        assert_eq!(range("10.0.0.250", "10.0.1.3"), Some(250..=254));
        assert_eq!(range("10.0.0.9", "10.0.0.3"), None);
        assert_eq!(range("9.0.0.1", "9.0.0.9"), None);
        assert_eq!(subnet("10.0.0.0/30").unwrap().max(), 2);
        assert_eq!(subnet("10.0.0.0/31"), None);
        assert_eq!(subnet("fd00::/64"), None);
        assert_eq!(subnet("0.0.0.0/0").unwrap().max(), u32::MAX - 1);
    }
}
