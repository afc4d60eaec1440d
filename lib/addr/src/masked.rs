//! [`MaskedIp`]: an address with an arbitrary mask, as matches use them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::AddrError;

/// An address and a mask of the same family, such as `10.0.0.1/255.0.0.255`.
///
/// Bits outside the mask are kept as written; [`MaskedIp::value`] clears them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaskedIp {
    addr: IpAddr,
    mask: IpAddr,
}

impl MaskedIp {
    /// `addr/mask`, or nothing when the families differ.
    pub fn new(addr: IpAddr, mask: IpAddr) -> Option<Self> {
        (addr.is_ipv4() == mask.is_ipv4()).then_some(Self { addr, mask })
    }

    /// The address as written.
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// The mask.
    pub fn mask(self) -> IpAddr {
        self.mask
    }

    /// The address with the bits outside the mask cleared.
    pub fn value(self) -> IpAddr {
        and(self.addr, self.mask)
    }

    /// True when `addr` agrees with this one in all bits of the mask.
    pub fn contains(self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4() && and(addr, self.mask) == self.value()
    }

    /// The length of the prefix, when the ones of the mask are contiguous from the left.
    pub fn prefix_len(self) -> Option<u8> {
        let ones = match self.mask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        let len = u8::try_from(ones).expect("an address has at most 128 bits");
        (prefix_mask(self.mask, len) == Some(self.mask)).then_some(len)
    }
}

impl fmt::Display for MaskedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_len() {
            Some(len) if len == IpNet::from(self.addr).max_prefix_len() => {
                write!(f, "{}", self.addr)
            }
            Some(len) => write!(f, "{}/{len}", self.addr),
            None => write!(f, "{}/{}", self.addr, self.mask),
        }
    }
}

impl fmt::Debug for MaskedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MaskedIp {
    type Err = AddrError;

    /// Reads `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`.
    fn from_str(text: &str) -> Result<Self, AddrError> {
        let (addr_text, mask_text) = match text.split_once('/') {
            Some((addr, mask)) => (addr, Some(mask)),
            None => (text, None),
        };
        let addr = parse_ip(addr_text)?;
        let Some(mask_text) = mask_text else {
            let mask = IpNet::from(addr).netmask();
            return Ok(Self { addr, mask });
        };
        let at = addr_text.len() + 1;
        if !mask_text.is_empty() && mask_text.bytes().all(|b| b.is_ascii_digit()) {
            let len = mask_text.parse::<u8>().ok();
            return match len.and_then(|len| prefix_mask(addr, len)) {
                Some(mask) => Ok(Self { addr, mask }),
                None => Err(AddrError::new(
                    mask_text,
                    "a prefix length",
                    "IPv4 has 0 to 32, IPv6 0 to 128",
                )
                .shifted(at)),
            };
        }
        let mask = parse_ip(mask_text).map_err(|e| e.shifted(at))?;
        Self::new(addr, mask).ok_or_else(|| {
            AddrError::new(
                mask_text,
                "a mask for this address",
                "address and mask are of different families",
            )
            .shifted(at)
        })
    }
}

/// The mask of `len` leading ones in the family of `addr`, if that has so many.
fn prefix_mask(addr: IpAddr, len: u8) -> Option<IpAddr> {
    IpNet::new(addr, len).ok().map(|net| net.netmask())
}

/// Bitwise and; of two families, the first address.
fn and(addr: IpAddr, mask: IpAddr) -> IpAddr {
    match (addr, mask) {
        (IpAddr::V4(a), IpAddr::V4(m)) => {
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & m.to_bits()))
        }
        (IpAddr::V6(a), IpAddr::V6(m)) => {
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & m.to_bits()))
        }
        _ => addr,
    }
}

/// An IPv4 or IPv6 address, without length or zone.
pub fn parse_ip(text: &str) -> Result<IpAddr, AddrError> {
    let parsed = if text.contains(':') {
        text.parse::<Ipv6Addr>().map(IpAddr::V6).ok()
    } else {
        text.parse::<Ipv4Addr>().map(IpAddr::V4).ok()
    };
    parsed.ok_or_else(|| {
        AddrError::new(
            text,
            "an IP address",
            "expected one such as 10.0.0.1 or fd00::1",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, printed) in [
            ("10.0.0.7", Some("10.0.0.7")),
            ("10.0.0.7/8", Some("10.0.0.7/8")),
            ("10.0.0.7/255.255.0.0", Some("10.0.0.7/16")),
            ("10.0.0.7/0.0.0.255", Some("10.0.0.7/0.0.0.255")),
            ("fd00::1/::ffff", Some("fd00::1/::ffff")),
            ("10.0.0.7/::ffff", None),
        ] {
            let got = text.parse::<MaskedIp>().ok().map(|ip| ip.to_string());
            assert_eq!(got.as_deref(), printed, "{text}");
        }
    }

    #[test]
    fn says_where() {
        let error = "10.0.0.7/40".parse::<MaskedIp>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"40\" is not a prefix length (at column 10): IPv4 has 0 to 32, IPv6 0 to 128"
        );
    }

    #[test]
    fn contains_by_mask() {
        let odd: MaskedIp = "10.0.0.1/255.0.0.1".parse().unwrap();
        assert!(odd.contains("10.9.9.3".parse().unwrap()));
        assert!(!odd.contains("10.9.9.2".parse().unwrap()));
    }
}
