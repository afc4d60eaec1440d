//! [`Mac`]: a 48-bit Ethernet address.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::AddrError;

const WANTED: &str = "a MAC address";
const HINT: &str = "expected six pairs of hexadecimal digits such as 02:00:00:00:00:01";

/// A 48-bit Ethernet address, printed as six lower-case pairs with colons.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `00:00:00:00:00:00`.
    pub const ZERO: Self = Self([0; 6]);
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address whose 48 bits are the low bits of `value`.
    pub const fn from_u64(value: u64) -> Self {
        let b = value.to_be_bytes();
        Self([b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// The 48 bits as a number.
    pub const fn to_u64(self) -> u64 {
        let a = self.0;
        u64::from_be_bytes([0, 0, a[0], a[1], a[2], a[3], a[4], a[5]])
    }

    /// The six octets, most significant first.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// True for group addresses, broadcast included (bit 40).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for `ff:ff:ff:ff:ff:ff`.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// True for `00:00:00:00:00:00`.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The modified EUI-64 link-local address of this interface (RFC 4291, appendix A).
    pub const fn link_local(self) -> Ipv6Addr {
        let a = self.0;
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            u16::from_be_bytes([a[0] ^ 2, a[1]]),
            u16::from_be_bytes([a[2], 0xff]),
            u16::from_be_bytes([0xfe, a[3]]),
            u16::from_be_bytes([a[4], a[5]]),
        )
    }

    /// The group address for an IPv6 multicast destination (RFC 2464, section 7).
    pub const fn for_ip6_multicast(group: Ipv6Addr) -> Self {
        let o = group.octets();
        Self([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }

    /// The group address for an IPv4 multicast destination (RFC 1112, section 6.4).
    pub const fn for_ip4_multicast(group: Ipv4Addr) -> Self {
        let o = group.octets();
        Self([0x01, 0, 0x5e, o[1] & 0x7f, o[2], o[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (i, octet) in self.0.iter().enumerate() {
            text[3 * i] = HEX[usize::from(octet >> 4)];
            text[3 * i + 1] = HEX[usize::from(octet & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("hexadecimal digits and colons are ASCII"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = AddrError;

    /// Reads six groups of one or two hexadecimal digits, separated by colons.
    fn from_str(text: &str) -> Result<Self, AddrError> {
        let wrong = || AddrError::new(text, WANTED, HINT);
        let mut octets = [0; 6];
        let mut groups = text.split(':');
        for octet in &mut octets {
            let group = groups.next().ok_or_else(wrong)?;
            let digits =
                (1..=2).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
            if !digits {
                return Err(wrong());
            }
            *octet = u8::from_str_radix(group, 16).map_err(|_| wrong())?;
        }
        if groups.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(octets))
    }
}

impl From<[u8; 6]> for Mac {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, printed) in [
            ("02:00:00:00:00:01", Some("02:00:00:00:00:01")),
            ("AA:bb:c:0:1:2", Some("aa:bb:0c:00:01:02")),
            ("02:00:00:00:00", None),
            ("02:00:00:00:00:01:02", None),
            ("02:00:00:00:00:+1", None),
            ("02:00:00:00:00:001", None),
            ("", None),
            ("02-00-00-00-00-01", None),
        ] {
            let got = text.parse::<Mac>().ok().map(|mac| mac.to_string());
            assert_eq!(got.as_deref(), printed, "{text}");
        }
    }

    #[test]
    fn numbers_and_groups() {
        let mac: Mac = "0a:00:27:00:00:0f".parse().unwrap();
        assert_eq!(Mac::from_u64(mac.to_u64()), mac);
        assert_eq!(mac.link_local().to_string(), "fe80::800:27ff:fe00:f");
        assert!(Mac::BROADCAST.is_multicast());
        assert_eq!(
            Mac::for_ip6_multicast("ff02::1:ff00:f".parse().unwrap()).to_string(),
            "33:33:ff:00:00:0f"
        );
        assert_eq!(
            Mac::for_ip4_multicast(Ipv4Addr::new(224, 129, 2, 3)).to_string(),
            "01:00:5e:01:02:03"
        );
    }
}
