//! The texts of `Logical_Switch_Port`: entries of `addresses` and of `port_security`.
//!
//! `addresses` (northbound schema) knows:
//!
//! | text | meaning |
//! | --- | --- |
//! | `MAC [IP[/LEN]..]` | the port owns this MAC and these addresses |
//! | `unknown` | unlearned traffic goes to this port |
//! | `router` | the addresses of the router port that this port is tied to |
//! | `dynamic [IP..]` | a MAC and addresses are to be chosen (those given are kept) |
//! | `MAC dynamic` | only the addresses are to be chosen |
//!
//! `port_security` knows `MAC [IP[/LEN]..]`, and `VRRPv3 MAC [IP..]` for virtual routers.
//! Words are separated by white space; nothing else is accepted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::masked::parse_ip;
use crate::{AddrError, Cidr, Mac};

/// The most addresses that one entry may hold.
pub const MAX_IPS: usize = 4096;

/// A MAC with the addresses that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MacAndIps {
    /// The Ethernet address.
    pub mac: Mac,
    /// The IP addresses, in the order written, host bits kept.
    pub ips: Vec<Cidr>,
}

/// What a `dynamic` entry asks for beside a MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DynamicIps {
    /// This IPv4 address instead of a chosen one.
    pub ip4: Option<Ipv4Addr>,
    /// This IPv6 address instead of a chosen one.
    pub ip6: Option<Ipv6Addr>,
}

/// One entry of `Logical_Switch_Port.addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LspAddress {
    /// `MAC [IP[/LEN]..]`.
    Fixed(MacAndIps),
    /// `unknown`.
    Unknown,
    /// `router`.
    Router,
    /// `dynamic [IP..]` (no MAC) or `MAC dynamic`.
    Dynamic {
        /// The MAC to keep, if one is written.
        mac: Option<Mac>,
        /// The addresses to keep.
        ips: DynamicIps,
    },
}

/// One entry of `Logical_Switch_Port.port_security`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSecurity {
    /// True for `VRRPv3 MAC ..`: the MAC is a virtual router's, its addresses are too.
    pub vrrp: bool,
    /// The MAC, and the addresses that it may use; none means any.
    pub addresses: MacAndIps,
}

impl FromStr for MacAndIps {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        mac_and_ips(&words(text), text)
    }
}

impl FromStr for LspAddress {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let words = words(text);
        let keyword = words.first().map_or("", |(_, word)| *word);
        match keyword {
            "unknown" => only(&words).map(|()| Self::Unknown),
            "router" => only(&words).map(|()| Self::Router),
            "dynamic" => Ok(Self::Dynamic {
                mac: None,
                ips: dynamic_ips(&words[1..])?,
            }),
            _ if words.get(1).is_some_and(|(_, word)| *word == "dynamic") => {
                let mac = parse_at(&words, 0)?;
                only(&words[1..])?;
                Ok(Self::Dynamic {
                    mac: Some(mac),
                    ips: DynamicIps::default(),
                })
            }
            _ => mac_and_ips(&words, text)
                .map(Self::Fixed)
                .map_err(|error| match error.at {
                    0 => AddrError {
                        wanted: "a port address",
                        hint: "expected MAC [IP..], \"unknown\", \"dynamic\" or \"router\"",
                        ..error
                    },
                    _ => error,
                }),
        }
    }
}

impl FromStr for PortSecurity {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let words = words(text);
        let vrrp = words.first().is_some_and(|(_, word)| *word == "VRRPv3");
        let rest = if vrrp { &words[1..] } else { &words[..] };
        Ok(Self {
            vrrp,
            addresses: mac_and_ips(rest, text)?,
        })
    }
}

/// The words of a text with their byte offsets.
fn words(text: &str) -> Vec<(usize, &str)> {
    text.split([' ', '\t', '\n', '\r'])
        .scan(0, |offset, word| {
            let at = *offset;
            *offset += word.len() + 1;
            Some((at, word))
        })
        .filter(|(_, word)| !word.is_empty())
        .collect()
}

fn parse_at<T: FromStr<Err = AddrError>>(
    words: &[(usize, &str)],
    index: usize,
) -> Result<T, AddrError> {
    let (at, word) = words[index];
    word.parse().map_err(|error: AddrError| error.shifted(at))
}

/// An error unless there is just one word.
fn only(words: &[(usize, &str)]) -> Result<(), AddrError> {
    match words.get(1) {
        None => Ok(()),
        Some((at, word)) => {
            Err(AddrError::new(word, "expected here", "nothing may follow this word").shifted(*at))
        }
    }
}

fn mac_and_ips(words: &[(usize, &str)], text: &str) -> Result<MacAndIps, AddrError> {
    if words.is_empty() {
        return Err(AddrError::new(
            text,
            "a MAC address",
            "expected a MAC such as 02:00:00:00:00:01, then IP addresses",
        ));
    }
    let mac = parse_at(words, 0)?;
    if words.len() > MAX_IPS + 1 {
        return Err(AddrError::new(
            text,
            "a reasonable list of addresses",
            "at most 4096 addresses may follow a MAC",
        ));
    }
    let ips = (1..words.len())
        .map(|index| parse_at(words, index))
        .collect::<Result<_, _>>()?;
    Ok(MacAndIps { mac, ips })
}

fn dynamic_ips(words: &[(usize, &str)]) -> Result<DynamicIps, AddrError> {
    let mut ips = DynamicIps::default();
    for (at, word) in words {
        let taken = match parse_ip(word).map_err(|error| error.shifted(*at))? {
            IpAddr::V4(ip) => ips.ip4.replace(ip).is_some(),
            IpAddr::V6(ip) => ips.ip6.replace(ip).is_some(),
        };
        if taken {
            let hint = "\"dynamic\" takes one address of each family";
            return Err(AddrError::new(word, "allowed here", hint).shifted(*at));
        }
    }
    Ok(ips)
}

impl fmt::Display for MacAndIps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mac)?;
        self.ips.iter().try_for_each(|ip| write!(f, " {ip}"))
    }
}

impl fmt::Display for LspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(fixed) => fmt::Display::fmt(fixed, f),
            Self::Unknown => f.write_str("unknown"),
            Self::Router => f.write_str("router"),
            Self::Dynamic { mac, ips } => {
                if let Some(mac) = mac {
                    write!(f, "{mac} ")?;
                }
                f.write_str("dynamic")?;
                if let Some(ip) = ips.ip4 {
                    write!(f, " {ip}")?;
                }
                ips.ip6.map_or(Ok(()), |ip| write!(f, " {ip}"))
            }
        }
    }
}

impl fmt::Display for PortSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vrrp {
            f.write_str("VRRPv3 ")?;
        }
        fmt::Display::fmt(&self.addresses, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("unknown", "unknown"),
            (" router ", "router"),
            ("dynamic", "dynamic"),
            ("dynamic 10.0.0.4 fd00::4", "dynamic 10.0.0.4 fd00::4"),
            ("02:00:00:00:00:01 dynamic", "02:00:00:00:00:01 dynamic"),
            ("02:00:00:00:00:01", "02:00:00:00:00:01"),
            (
                "02:00:00:00:00:01  10.0.0.1 fd00::1/64",
                "02:00:00:00:00:01 10.0.0.1 fd00::1/64",
            ),
            (
                "unknown 10.0.0.1",
                "\"10.0.0.1\" is not expected here (at column 9): nothing may follow this word",
            ),
            (
                "02:00:00:00:00:01 10.0.0.1 10.0.0.256",
                "\"10.0.0.256\" is not an IP address (at column 28): expected one such as 10.0.0.1 or fd00::1",
            ),
            (
                "anything",
                "\"anything\" is not a port address: expected MAC [IP..], \"unknown\", \"dynamic\" or \"router\"",
            ),
            (
                "dynamic 10.0.0.1 10.0.0.2",
                "\"10.0.0.2\" is not allowed here (at column 18): \"dynamic\" takes one address of each family",
            ),
        ] {
            let got = match text.parse::<LspAddress>() {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn port_security() {
        for (text, expected) in [
            (
                "02:00:00:00:00:01 10.0.0.0/24",
                "02:00:00:00:00:01 10.0.0.0/24",
            ),
            ("VRRPv3 00:00:5e:00:01:01", "VRRPv3 00:00:5e:00:01:01"),
            (
                "",
                "\"\" is not a MAC address: expected a MAC such as 02:00:00:00:00:01, then IP addresses",
            ),
        ] {
            let got = match text.parse::<PortSecurity>() {
                Ok(entry) => entry.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{text}");
        }
    }
}
