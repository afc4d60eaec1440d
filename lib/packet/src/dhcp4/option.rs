//! How values of DHCPv4 options are encoded (RFC 2132), by the types that OVN's `DHCP_Options` table knows.
//!
//! | type | value as written | encoded |
//! | --- | --- | --- |
//! | `bool`, `uint8`, `uint16`, `uint32` | one number | big-endian |
//! | `ipv4` | addresses | four bytes each |
//! | `static_routes` | networks, each followed by its router | RFC 3442 |
//! | `str` | one string | its bytes |
//! | `host_id` | one address or one string | four bytes, or the string's |
//! | `domains` | one string, names separated by commas | RFC 1035 names, compressed as RFC 3397 allows |

use std::fmt;
use std::net::Ipv4Addr;

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionType {
    /// 0 or 1.
    Bool,
    /// 8 bits.
    Uint8,
    /// 16 bits.
    Uint16,
    /// 32 bits.
    Uint32,
    /// Addresses.
    Ipv4,
    /// Routes.
    StaticRoutes,
    /// A string.
    Str,
    /// An address or a string.
    HostId,
    /// Domain names.
    Domains,
}

const NAMES: [(OptionType, &str); 9] = [
    (OptionType::Bool, "bool"),
    (OptionType::Uint8, "uint8"),
    (OptionType::Uint16, "uint16"),
    (OptionType::Uint32, "uint32"),
    (OptionType::Ipv4, "ipv4"),
    (OptionType::StaticRoutes, "static_routes"),
    (OptionType::Str, "str"),
    (OptionType::HostId, "host_id"),
    (OptionType::Domains, "domains"),
];

impl OptionType {
    /// What `DHCP_Options.type` calls it.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(ty, _)| *ty == self);
        found.expect("the table has every type").1
    }

    /// The type that `DHCP_Options.type` calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(ty, _)| *ty)
    }

    /// Encodes what was written as the value of an option of this type.
    pub fn encode(self, values: &[OptionValue<'_>]) -> Result<Vec<u8>, OptionError> {
        let wrong = |value: &OptionValue<'_>| OptionError::Kind {
            ty: self,
            value: value.to_string(),
        };
        let number = |max: u32, width: usize| {
            let value = self.only(values)?;
            let OptionValue::Number(number) = value else {
                return Err(wrong(value));
            };
            match u32::try_from(*number) {
                Ok(number) if number <= max => Ok(number.to_be_bytes()[4 - width..].to_vec()),
                _ => Err(OptionError::Range {
                    number: *number,
                    max,
                }),
            }
        };
        match self {
            Self::Bool => number(1, 1),
            Self::Uint8 => number(u32::from(u8::MAX), 1),
            Self::Uint16 => number(u32::from(u16::MAX), 2),
            Self::Uint32 => number(u32::MAX, 4),
            Self::Ipv4 if values.is_empty() => Err(OptionError::Count { ty: self, count: 0 }),
            Self::Ipv4 => values.iter().try_fold(Vec::new(), |mut bytes, value| {
                let OptionValue::Address(address) = value else {
                    return Err(wrong(value));
                };
                bytes.extend(address.octets());
                Ok(bytes)
            }),
            Self::StaticRoutes => self.routes(values),
            Self::Str => match self.only(values)? {
                OptionValue::Text(text) => Ok(text.as_bytes().to_vec()),
                value => Err(wrong(value)),
            },
            Self::HostId => match self.only(values)? {
                OptionValue::Text(text) => Ok(text.as_bytes().to_vec()),
                OptionValue::Address(address) => Ok(address.octets().to_vec()),
                value => Err(wrong(value)),
            },
            Self::Domains => match self.only(values)? {
                OptionValue::Text(text) => domains(text),
                value => Err(wrong(value)),
            },
        }
    }

    fn only<'v, 'a>(
        self,
        values: &'v [OptionValue<'a>],
    ) -> Result<&'v OptionValue<'a>, OptionError> {
        match values {
            [value] => Ok(value),
            _ => Err(OptionError::Count {
                ty: self,
                count: values.len(),
            }),
        }
    }

    /// RFC 3442: the length of the prefix, those bytes of the network that it covers, and the router.
    fn routes(self, values: &[OptionValue<'_>]) -> Result<Vec<u8>, OptionError> {
        if values.is_empty() || !values.len().is_multiple_of(2) {
            return Err(OptionError::Count {
                ty: self,
                count: values.len(),
            });
        }
        let mut bytes = Vec::new();
        for route in values.chunks_exact(2) {
            let (network, length) = match &route[0] {
                OptionValue::Network(network, length) => (*network, (*length).min(32)),
                OptionValue::Address(address) => (*address, 32),
                value => {
                    return Err(OptionError::Kind {
                        ty: self,
                        value: value.to_string(),
                    });
                }
            };
            let OptionValue::Address(router) = &route[1] else {
                return Err(OptionError::Kind {
                    ty: self,
                    value: route[1].to_string(),
                });
            };
            bytes.push(length);
            bytes.extend(&network.octets()[..usize::from(length).div_ceil(8)]);
            bytes.extend(router.octets());
        }
        Ok(bytes)
    }
}

/// A value as written in a logical flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue<'a> {
    /// `3600`
    Number(u128),
    /// `10.0.0.1`
    Address(Ipv4Addr),
    /// `10.0.0.0/8`, host bits cleared
    Network(Ipv4Addr, u8),
    /// `"text"`
    Text(&'a str),
}

impl fmt::Display for OptionValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Network(network, length) => write!(f, "{network}/{length}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Why a value cannot be that of an option of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A type takes one value, or an even number, or at least one.
    #[error("{count} values given where type {} {}", .ty.name(), count_wanted(*.ty))]
    Count {
        /// The type.
        ty: OptionType,
        /// How many were given.
        count: usize,
    },
    /// Another kind of value.
    #[error("{value} is not a value of type {}", .ty.name())]
    Kind {
        /// The type.
        ty: OptionType,
        /// What was given.
        value: String,
    },
    /// The number is too big.
    #[error("{number} is greater than {max}")]
    Range {
        /// The number.
        number: u128,
        /// The greatest that fits.
        max: u32,
    },
    /// Not a domain name (RFC 1035, section 2.3.4).
    #[error("{0:?} is not a domain name")]
    Domain(String),
}

fn count_wanted(ty: OptionType) -> &'static str {
    match ty {
        OptionType::StaticRoutes => "takes networks, each followed by its router",
        OptionType::Ipv4 => "takes at least one",
        _ => "takes one",
    }
}

/// RFC 1035, section 3.1, with pointers to suffixes that came before (section 4.1.4).
fn domains(text: &str) -> Result<Vec<u8>, OptionError> {
    let mut bytes: Vec<u8> = Vec::new();
    // Where each suffix begins. A pointer has 14 bits, and what an option can hold is far shorter.
    let mut suffixes: Vec<(&str, u16)> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let wrong = || OptionError::Domain(name.to_owned());
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || name.len() > 253 {
            return Err(wrong());
        }
        let mut rest = name;
        loop {
            if let Some((_, at)) = suffixes.iter().find(|(suffix, _)| *suffix == rest) {
                bytes.extend((0xc000 | at).to_be_bytes());
                break;
            }
            if let Ok(at) = u16::try_from(bytes.len())
                && at < 0x4000
            {
                suffixes.push((rest, at));
            }
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            let length = u8::try_from(label.len())
                .ok()
                .filter(|n| (1..64).contains(n));
            bytes.push(length.ok_or_else(wrong)?);
            bytes.extend(label.as_bytes());
            if tail.is_empty() {
                bytes.push(0);
                break;
            }
            rest = tail;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::OptionType as T;
    use super::OptionValue::{Address, Network, Number, Text};
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[track_caller]
    fn check(ty: T, values: &[OptionValue<'_>], expected: Result<&[u8], &str>) {
        let encoded = ty.encode(values).map_err(|error| error.to_string());
        assert_eq!(
            encoded.as_deref().map_err(String::as_str),
            expected,
            "{ty:?} {values:?}"
        );
    }

    #[test]
    fn every_type_has_its_encoding() {
        check(T::Bool, &[Number(1)], Ok(&[1]));
        check(T::Bool, &[Number(2)], Err("2 is greater than 1"));
        check(T::Uint8, &[Number(64)], Ok(&[64]));
        check(T::Uint16, &[Number(1450)], Ok(&[5, 170]));
        check(T::Uint32, &[Number(3600)], Ok(&[0, 0, 14, 16]));
        check(
            T::Uint32,
            &[Number(1 << 32)],
            Err("4294967296 is greater than 4294967295"),
        );
        check(
            T::Uint32,
            &[Address(A)],
            Err("10.0.0.1 is not a value of type uint32"),
        );
        check(
            T::Ipv4,
            &[Address(A), Address(B)],
            Ok(&[10, 0, 0, 1, 10, 0, 0, 2]),
        );
        check(
            T::Ipv4,
            &[],
            Err("0 values given where type ipv4 takes at least one"),
        );
        check(T::Str, &[Text("ovn.org")], Ok(b"ovn.org"));
        check(
            T::Str,
            &[Text("a"), Text("b")],
            Err("2 values given where type str takes one"),
        );
        check(T::HostId, &[Text("tftp")], Ok(b"tftp"));
        check(T::HostId, &[Address(A)], Ok(&[10, 0, 0, 1]));
        for (ty, name) in NAMES {
            assert_eq!(T::from_name(name), Some(ty));
        }
    }

    #[test]
    fn routes_have_only_the_bytes_that_count() {
        let values = [
            Network(Ipv4Addr::new(30, 0, 0, 0), 24),
            Address(A),
            Network(Ipv4Addr::UNSPECIFIED, 0),
            Address(B),
            Address(B),
            Address(A),
        ];
        let expected = [
            24, 30, 0, 0, 10, 0, 0, 1, 0, 10, 0, 0, 2, 32, 10, 0, 0, 2, 10, 0, 0, 1,
        ];
        check(T::StaticRoutes, &values, Ok(&expected));
        check(
            T::StaticRoutes,
            &values[..1],
            Err(
                "1 values given where type static_routes takes networks, each followed by its router",
            ),
        );
    }

    #[test]
    fn domains_share_their_suffixes() {
        check(
            T::Domains,
            &[Text("eng.apple.com, marketing.apple.com.")],
            Ok(b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04"),
        );
        check(
            T::Domains,
            &[Text("a..b")],
            Err("\"a..b\" is not a domain name"),
        );
        check(T::Domains, &[Text("")], Err("\"\" is not a domain name"));
    }
}
