//! [`Cidr`]: an address with the length of its network's prefix, host bits kept.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AddrError, MaskedIp};

/// An address with a prefix length, such as `10.0.0.7/24`: a host and the network it is in.
///
/// A bare address is a host: length 32 or 128. Prints without the length in that case.
///
/// ```
/// let cidr: addr::Cidr = "10.0.5.7/23".parse()?;
/// assert_eq!(cidr.addr().to_string(), "10.0.5.7");
/// assert_eq!(cidr.network().to_string(), "10.0.4.0/23");
/// assert!(cidr.contains("10.0.4.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// `addr/len`, or nothing when `len` exceeds the family's width.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        IpNet::new(addr, len).ok().map(Self)
    }

    /// The host itself: `/32` or `/128`.
    pub fn host(addr: IpAddr) -> Self {
        Self(addr.into())
    }

    /// The address as written, host bits included.
    pub fn addr(self) -> IpAddr {
        self.0.addr()
    }

    /// The prefix length.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// True when the prefix covers the whole address.
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// True for IPv4.
    pub fn is_ipv4(self) -> bool {
        self.addr().is_ipv4()
    }

    /// The mask of the prefix.
    pub fn mask(self) -> IpAddr {
        self.0.netmask()
    }

    /// The network: the address with its host bits cleared.
    pub fn network(self) -> Self {
        Self(self.0.trunc())
    }

    /// The last address of an IPv4 network of at most 30 bits of prefix: its broadcast address.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.0 {
            IpNet::V4(net) if net.prefix_len() <= 30 => Some(net.broadcast()),
            _ => None,
        }
    }

    /// True when `addr` is of this family and in this network.
    pub fn contains(self, addr: IpAddr) -> bool {
        self.0.contains(&addr)
    }

    /// The network as an address and a mask.
    pub fn masked(self) -> MaskedIp {
        MaskedIp::from(self)
    }
}

impl From<Cidr> for MaskedIp {
    fn from(cidr: Cidr) -> Self {
        Self::new(cidr.addr(), cidr.mask()).expect("both are of one family")
    }
}

impl From<IpAddr> for Cidr {
    fn from(addr: IpAddr) -> Self {
        Self::host(addr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = AddrError;

    /// Reads `ADDRESS` or `ADDRESS/LENGTH`; the length may also be a contiguous mask.
    fn from_str(text: &str) -> Result<Self, AddrError> {
        let masked: MaskedIp = text.parse().map_err(|e: AddrError| AddrError {
            word: text.to_owned(),
            ..e
        })?;
        let len = masked.prefix_len();
        match len.and_then(|len| Self::new(masked.addr(), len)) {
            Some(cidr) => Ok(cidr),
            None => Err(AddrError::new(
                text,
                "an address with a prefix length",
                "the ones of its mask are not contiguous",
            )),
        }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
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
            ("10.0.0.7", Some("10.0.0.7")),
            ("10.0.0.7/24", Some("10.0.0.7/24")),
            ("10.0.0.7/32", Some("10.0.0.7")),
            ("10.0.0.7/255.255.0.0", Some("10.0.0.7/16")),
            ("fd00::1/64", Some("fd00::1/64")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("10.0.0.7/255.0.255.0", None),
            ("10.0.0.7/33", None),
            ("10.0.0.7/", None),
            ("10.0.0.7/+4", None),
            ("10.0.0.256", None),
            ("fd00::1/129", None),
            ("fd00::1/255.0.0.0", None),
        ] {
            let got = text.parse::<Cidr>().ok().map(|cidr| cidr.to_string());
            assert_eq!(got.as_deref(), printed, "{text}");
        }
    }

    #[test]
    fn knows_its_network() {
        let cidr: Cidr = "10.0.5.7/23".parse().unwrap();
        assert_eq!(cidr.network().to_string(), "10.0.4.0/23");
        assert_eq!(cidr.broadcast(), Some(Ipv4Addr::new(10, 0, 5, 255)));
        assert!(cidr.contains("10.0.4.1".parse().unwrap()));
        assert!(!cidr.contains("10.0.6.1".parse().unwrap()));
        assert!(!cidr.contains("fd00::1".parse().unwrap()));
        let host: Cidr = "10.0.5.7/31".parse().unwrap();
        assert_eq!(host.broadcast(), None);
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert_eq!(all.broadcast(), Some(Ipv4Addr::BROADCAST));
    }
}
