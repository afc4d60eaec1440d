//! How values of DHCPv6 options are encoded, by the types that OVN's `DHCPv6_Options` table knows.
//!
//! | type | value as written | encoded |
//! | --- | --- | --- |
//! | `mac` | one MAC | six bytes; the agent makes an identifier of them |
//! | `ipv6` | addresses | sixteen bytes each |
//! | `str` | one string | its bytes; of `domain_search` names separated by commas |
//! | `domain` | one name | RFC 1035, not compressed (RFC 8415, section 10) |

use std::fmt;
use std::net::Ipv6Addr;

use addr::Mac;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinEncodable;

use super::code;

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionType {
    /// A MAC.
    Mac,
    /// Addresses.
    Ipv6,
    /// A string.
    Str,
    /// A domain name.
    Domain,
}

const NAMES: [(OptionType, &str); 4] = [
    (OptionType::Mac, "mac"),
    (OptionType::Ipv6, "ipv6"),
    (OptionType::Str, "str"),
    (OptionType::Domain, "domain"),
];

/// A value as written in a logical flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue<'a> {
    /// `02:00:00:00:00:01`
    Mac(Mac),
    /// `fd00::1`
    Address(Ipv6Addr),
    /// `"text"`
    Text(&'a str),
}

/// Why values cannot be those of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Another kind or number of values.
    #[error("{values} are no values of type {}", .ty.name())]
    Kind {
        /// The type.
        ty: OptionType,
        /// What was given.
        values: String,
    },
    /// Not a domain name (RFC 1035, section 2.3.4).
    #[error("{0:?} is not a domain name")]
    Domain(String),
}

impl OptionType {
    /// What `DHCPv6_Options.type` calls it.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(ty, _)| *ty == self);
        found.expect("the table has every type").1
    }

    /// The type that `DHCPv6_Options.type` calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(ty, _)| *ty)
    }

    /// Encodes what was written as the value of the option with this code.
    pub fn encode(self, code: u16, values: &[OptionValue<'_>]) -> Result<Vec<u8>, OptionError> {
        match (self, values) {
            (Self::Mac, [OptionValue::Mac(mac)]) => Ok(mac.0.to_vec()),
            (Self::Str, [OptionValue::Text(text)]) if code == code::DOMAIN_SEARCH => {
                let names = text.split(',').map(|name| domain(name.trim()));
                names.collect::<Result<Vec<_>, _>>().map(|of| of.concat())
            }
            (Self::Str, [OptionValue::Text(text)]) => Ok(text.as_bytes().to_vec()),
            (Self::Domain, [OptionValue::Text(text)]) => domain(text),
            (Self::Ipv6, [_, ..]) => values
                .iter()
                .map(|value| match value {
                    OptionValue::Address(address) => Ok(address.octets()),
                    _ => Err(self.wrong(values)),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(|of| of.concat()),
            _ => Err(self.wrong(values)),
        }
    }

    fn wrong(self, values: &[OptionValue<'_>]) -> OptionError {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        OptionError::Kind {
            ty: self,
            values: format!("{{{}}}", values.join(", ")),
        }
    }
}

fn domain(text: &str) -> Result<Vec<u8>, OptionError> {
    let wrong = || OptionError::Domain(text.to_owned());
    let mut name = Name::from_ascii(text).map_err(|_| wrong())?;
    if name.iter().next().is_none() {
        return Err(wrong());
    }
    name.set_fqdn(true);
    name.to_bytes().map_err(|_| wrong())
}

impl fmt::Display for OptionValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OptionType as T;
    use super::OptionValue::{Address, Text};
    use super::*;

    #[test]
    fn every_type_has_its_encoding() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        let ip = Ipv6Addr::LOCALHOST;
        let two = [[0; 15].as_slice(), &[1], &[0; 15], &[1]].concat();
        for (ty, code, values, expected) in [
            (T::Mac, 2, vec![OptionValue::Mac(mac)], Ok(mac.0.to_vec())),
            (T::Ipv6, 23, vec![Address(ip), Address(ip)], Ok(two)),
            (T::Str, 59, vec![Text("http://a")], Ok(b"http://a".to_vec())),
            (
                T::Str,
                24,
                vec![Text("ovn.org, a.ovn.org.")],
                Ok(b"\x03ovn\x03org\0\x01a\x03ovn\x03org\0".to_vec()),
            ),
            (
                T::Domain,
                39,
                vec![Text("vm.ovn.org")],
                Ok(b"\x02vm\x03ovn\x03org\0".to_vec()),
            ),
            (
                T::Domain,
                39,
                vec![Text("a..b")],
                Err("\"a..b\" is not a domain name"),
            ),
            (T::Str, 24, vec![Text("")], Err("\"\" is not a domain name")),
            (
                T::Mac,
                2,
                vec![Address(ip)],
                Err("{::1} are no values of type mac"),
            ),
            (T::Ipv6, 23, vec![], Err("{} are no values of type ipv6")),
        ] {
            let encoded = ty.encode(code, &values).map_err(|error| error.to_string());
            let expected = expected.map_err(ToOwned::to_owned);
            assert_eq!(encoded, expected, "{ty:?} {values:?}");
        }
        for (ty, name) in NAMES {
            assert_eq!((T::from_name(name), ty.name()), (Some(ty), name));
        }
    }
}
