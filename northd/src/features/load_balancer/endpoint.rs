//! `IP`, `IPV4:PORT`, `[IPV6]`, `[IPV6]:PORT`: how virtual addresses and backends are written; and the protocols of ports.

use std::fmt;
use std::net::IpAddr;

use lflow::Symbol;

/// An address, perhaps with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Endpoint {
    /// The address.
    pub(super) ip: IpAddr,
    /// The port, never 0.
    pub(super) port: Option<u16>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Its name in columns and in fields.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Its source port.
    pub(super) const fn src(self) -> Symbol {
        match self {
            Self::Tcp => Symbol::TcpSrc,
            Self::Udp => Symbol::UdpSrc,
            Self::Sctp => Symbol::SctpSrc,
        }
    }

    /// Its destination port.
    pub(super) const fn dst(self) -> Symbol {
        match self {
            Self::Tcp => Symbol::TcpDst,
            Self::Udp => Symbol::UdpDst,
            Self::Sctp => Symbol::SctpDst,
        }
    }
}

/// Reads one.
pub(super) fn parse(text: &str) -> Option<Endpoint> {
    if let Ok(ip) = text.parse() {
        return Some(Endpoint { ip, port: None });
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (ip, behind) = inner.split_once(']')?;
        let ip = IpAddr::V6(ip.parse().ok()?);
        let port = match behind {
            "" => None,
            behind => Some(port(behind.strip_prefix(':')?)?),
        };
        return Some(Endpoint { ip, port });
    }
    let (ip, behind) = text.rsplit_once(':')?;
    Some(Endpoint {
        ip: IpAddr::V4(ip.parse().ok()?),
        port: Some(port(behind)?),
    })
}

fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:65535"] {
            assert_eq!(parse(text).expect("an endpoint").to_string(), text);
        }
        assert_eq!(
            parse("[fd00::1]").expect("an endpoint").to_string(),
            "fd00::1"
        );
        let wrong = [
            "",
            ":80",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "10.0.0.1:+80",
            "fd00::1:80:x",
            "[fd00::1",
            "[10.0.0.1]:80",
            "[fd00::1]80",
            "10.0.0.1/24",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
