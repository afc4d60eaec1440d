//! Where members are reached.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host and a port: `HOST:PORT`, `IP:PORT` or `[IPv6]:PORT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not an address: HOST:PORT is expected, and an IPv6 address in brackets")]
pub struct AddressError(String);

impl Address {
    /// Whether it stands for all addresses of the machine: one can listen on it, and not connect.
    pub fn is_wildcard(&self) -> bool {
        let address: Result<IpAddr, _> = self.host.parse();
        address.is_ok_and(|address| address.is_unspecified())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let good = match bracketed {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.len() <= 253 && host.bytes().all(is_named),
        };
        if !good {
            return Err(error());
        }
        Ok(Self {
            host: bracketed.unwrap_or(host).to_owned(),
            port: port.ok_or_else(error)?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_families_are_read() {
        for good in [
            "db-1.example.org:6643",
            "10.0.0.1:1",
            "[fd00::1]:6643",
            "[::]:6643",
        ] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good);
            assert_eq!(address.is_wildcard(), good.starts_with("[::]"));
        }
        for bad in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "fd00::1:6643",
            "[a]:1",
            "a b:1",
            "[::1:1",
        ] {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains("HOST:PORT"), "{bad}");
        }
    }
}
