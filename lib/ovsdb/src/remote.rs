//! Where a database is, or where a server listens: the texts that stand for it everywhere in Weft.
//!
//! | active (a client connects) | passive (a server listens) | protocol |
//! | --- | --- | --- |
//! | `unix:PATH` | `punix:PATH` | OVSDB on a Unix socket |
//! | `tcp:HOST:PORT` | `ptcp:PORT[:IP]` | OVSDB in the clear |
//! | `ssl:HOST:PORT` | `pssl:PORT[:IP]` | OVSDB in TLS |
//! | `grpc+unix:PATH` | `pgrpc+unix:PATH` | gRPC on a Unix socket |
//! | `grpc:HOST:PORT` | `pgrpc:PORT[:IP]` | gRPC in the clear |
//! | `grpcs:HOST:PORT` | `pgrpcs:PORT[:IP]` | gRPC in TLS |
//!
//! The port may be left out of `tcp:`, `ssl:`, `ptcp` and `pssl` where the caller knows a default; OVSDB's own is 6640.
//! IPv6 addresses stand in brackets: `tcp:[2001:db8::1]:6641`. Several active remotes, comma-separated, are the
//! members of one cluster.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Open vSwitch's port for OVSDB, assigned by IANA.
pub const DEFAULT_PORT: u16 = 6640;

/// The most remotes that one list may have.
const MAX_REMOTES: usize = 64;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OVSDB JSON-RPC (RFC 7047).
    Ovsdb,
    /// gRPC (`weft.db.v1`).
    Grpc,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Plain TCP.
    Plain,
    /// TLS with certificates on both sides.
    Tls,
}

/// A remote to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// A Unix socket.
    Unix {
        /// What is spoken.
        protocol: Protocol,
        /// The socket.
        path: PathBuf,
    },
    /// A TCP port of a host.
    Tcp {
        /// What is spoken.
        protocol: Protocol,
        /// Whether in TLS.
        security: Security,
        /// A host name or address, without brackets.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

/// A remote to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A Unix socket.
    Unix {
        /// What is spoken.
        protocol: Protocol,
        /// The socket, which is created.
        path: PathBuf,
    },
    /// A TCP port.
    Tcp {
        /// What is spoken.
        protocol: Protocol,
        /// Whether in TLS.
        security: Security,
        /// The address; unspecified for all.
        address: IpAddr,
        /// The port; 0 for one that the system chooses.
        port: u16,
    },
}

/// Why a text is not a remote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a remote: {what}")]
pub struct RemoteError {
    /// The text.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub what: String,
}

fn error<T>(text: &str, what: impl Into<String>) -> Result<T, RemoteError> {
    Err(RemoteError {
        text: text.to_owned(),
        what: what.into(),
    })
}

impl Remote {
    /// What is spoken there.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Unix { protocol, .. } | Self::Tcp { protocol, .. } => *protocol,
        }
    }

    /// Whether the connection is in TLS.
    pub fn is_tls(&self) -> bool {
        matches!(
            self,
            Self::Tcp {
                security: Security::Tls,
                ..
            }
        )
    }

    /// Reads a comma-separated list, the members of one cluster. An empty list is an error.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RemoteError> {
        let remotes: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|remote| !remote.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        match remotes.len() {
            0 => error(text, "it names nothing to connect to"),
            1..=MAX_REMOTES => Ok(remotes),
            count => error(text, format!("{count} remotes are more than {MAX_REMOTES}")),
        }
    }
}

impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let tcp = |protocol, security, default| {
            let (host, port) = host_and_port(text, rest, default)?;
            Ok(Self::Tcp {
                protocol,
                security,
                host,
                port,
            })
        };
        match scheme {
            "unix" => Ok(Self::Unix {
                protocol: Protocol::Ovsdb,
                path: path(text, rest)?,
            }),
            "grpc+unix" => Ok(Self::Unix {
                protocol: Protocol::Grpc,
                path: path(text, rest)?,
            }),
            "tcp" => tcp(Protocol::Ovsdb, Security::Plain, Some(DEFAULT_PORT)),
            "ssl" => tcp(Protocol::Ovsdb, Security::Tls, Some(DEFAULT_PORT)),
            "grpc" => tcp(Protocol::Grpc, Security::Plain, None),
            "grpcs" => tcp(Protocol::Grpc, Security::Tls, None),
            _ => error(
                text,
                "it should be unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT, grpc:HOST:PORT, grpc+unix:PATH or \
                 grpcs:HOST:PORT",
            ),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { protocol, path } => {
                let scheme = match protocol {
                    Protocol::Ovsdb => "unix",
                    Protocol::Grpc => "grpc+unix",
                };
                write!(f, "{scheme}:{}", path.display())
            }
            Self::Tcp {
                protocol,
                security,
                host,
                port,
            } => {
                let scheme = tcp_scheme(*protocol, *security);
                if host.contains(':') {
                    write!(f, "{scheme}:[{host}]:{port}")
                } else {
                    write!(f, "{scheme}:{host}:{port}")
                }
            }
        }
    }
}

impl Listen {
    /// What is spoken there.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Unix { protocol, .. } | Self::Tcp { protocol, .. } => *protocol,
        }
    }

    /// Whether the connections are in TLS.
    pub fn is_tls(&self) -> bool {
        matches!(
            self,
            Self::Tcp {
                security: Security::Tls,
                ..
            }
        )
    }

    /// Whether anybody on the way could read and write: TCP without TLS, which has to be asked for.
    pub fn is_plaintext(&self) -> bool {
        matches!(
            self,
            Self::Tcp {
                security: Security::Plain,
                ..
            }
        )
    }
}

impl FromStr for Listen {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let tcp = |protocol, security, default| {
            let (port, address) = port_and_address(text, rest, default)?;
            Ok(Self::Tcp {
                protocol,
                security,
                address,
                port,
            })
        };
        match scheme {
            "punix" => Ok(Self::Unix {
                protocol: Protocol::Ovsdb,
                path: path(text, rest)?,
            }),
            "pgrpc+unix" => Ok(Self::Unix {
                protocol: Protocol::Grpc,
                path: path(text, rest)?,
            }),
            "ptcp" => tcp(Protocol::Ovsdb, Security::Plain, Some(DEFAULT_PORT)),
            "pssl" => tcp(Protocol::Ovsdb, Security::Tls, Some(DEFAULT_PORT)),
            "pgrpc" => tcp(Protocol::Grpc, Security::Plain, None),
            "pgrpcs" => tcp(Protocol::Grpc, Security::Tls, None),
            _ => error(
                text,
                "it should be punix:PATH, ptcp:PORT[:IP], pssl:PORT[:IP], pgrpc:PORT[:IP], pgrpc+unix:PATH or \
                 pgrpcs:PORT[:IP]",
            ),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { protocol, path } => {
                let scheme = match protocol {
                    Protocol::Ovsdb => "punix",
                    Protocol::Grpc => "pgrpc+unix",
                };
                write!(f, "{scheme}:{}", path.display())
            }
            Self::Tcp {
                protocol,
                security,
                address,
                port,
            } => {
                let scheme = tcp_scheme(*protocol, *security);
                match address {
                    // As in Open vSwitch, no address means every IPv4 address.
                    IpAddr::V4(Ipv4Addr::UNSPECIFIED) => write!(f, "p{scheme}:{port}"),
                    IpAddr::V4(address) => write!(f, "p{scheme}:{port}:{address}"),
                    IpAddr::V6(address) => write!(f, "p{scheme}:{port}:[{address}]"),
                }
            }
        }
    }
}

fn tcp_scheme(protocol: Protocol, security: Security) -> &'static str {
    match (protocol, security) {
        (Protocol::Ovsdb, Security::Plain) => "tcp",
        (Protocol::Ovsdb, Security::Tls) => "ssl",
        (Protocol::Grpc, Security::Plain) => "grpc",
        (Protocol::Grpc, Security::Tls) => "grpcs",
    }
}

fn path(text: &str, rest: &str) -> Result<PathBuf, RemoteError> {
    if rest.is_empty() || rest.contains('\0') {
        return error(text, "the path of the socket is missing");
    }
    Ok(PathBuf::from(rest))
}

/// `HOST:PORT`, `[IPV6]:PORT`, or without port if there is a default.
fn host_and_port(
    text: &str,
    rest: &str,
    default: Option<u16>,
) -> Result<(Arc<str>, u16), RemoteError> {
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let Some((host, after)) = bracketed.split_once(']') else {
            return error(text, "the bracket around the IPv6 address is not closed");
        };
        if host.parse::<Ipv6Addr>().is_err() {
            return error(text, format!("{host:?} is not an IPv6 address"));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return error(text, "a colon and a port should follow the bracket"),
        }
    } else {
        match rest.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return error(text, "an IPv6 address should stand in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return error(text, "the host is missing");
    }
    let port = match (port, default) {
        (Some(port), _) => port_number(text, port, 1)?,
        (None, Some(port)) => port,
        (None, None) => return error(text, "the port is missing"),
    };
    Ok((host.into(), port))
}

/// `PORT`, `PORT:IPV4` or `PORT:[IPV6]`; nothing if there is a default.
fn port_and_address(
    text: &str,
    rest: &str,
    default: Option<u16>,
) -> Result<(u16, IpAddr), RemoteError> {
    let (port, address) = match rest.split_once(':') {
        Some((port, address)) => (port, Some(address)),
        None => (rest, None),
    };
    let port = match (port, default) {
        ("", Some(port)) => port,
        ("", None) => return error(text, "the port is missing"),
        (port, _) => port_number(text, port, 0)?,
    };
    let address = match address {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(address) => {
            let bare = address
                .strip_prefix('[')
                .and_then(|address| address.strip_suffix(']'))
                .unwrap_or(address);
            match bare.parse() {
                Ok(address) => address,
                Err(_) => return error(text, format!("{address:?} is not an IP address")),
            }
        }
    };
    Ok((port, address))
}

fn port_number(text: &str, port: &str, least: u16) -> Result<u16, RemoteError> {
    match port.parse::<u16>() {
        Ok(port) if port >= least => Ok(port),
        _ => error(
            text,
            format!("{port:?} is not a port from {least} to 65535"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_survive_their_text() {
        for text in [
            "unix:/run/ovn/ovnnb_db.sock",
            "tcp:127.0.0.1:6641",
            "tcp:[::1]:6641",
            "ssl:db.example.org:6642",
            "grpc:10.0.0.1:7001",
            "grpc+unix:/run/weft/nb.sock",
            "grpcs:[2001:db8::1]:7001",
        ] {
            assert_eq!(text.parse::<Remote>().unwrap().to_string(), text);
        }
        for text in [
            "punix:/run/ovn/ovnnb_db.sock",
            "ptcp:6641",
            "ptcp:6641:127.0.0.1",
            "ptcp:0:127.0.0.1",
            "pssl:6642:[::]",
            "pgrpc:7001:10.0.0.1",
            "pgrpc+unix:/run/weft/nb.sock",
            "pgrpcs:7001:[2001:db8::1]",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:h".parse::<Remote>().unwrap().to_string(), "tcp:h:6640");
        assert_eq!("ptcp:".parse::<Listen>().unwrap().to_string(), "ptcp:6640");
        assert_eq!(
            "pssl:1:::1".parse::<Listen>().unwrap().to_string(),
            "pssl:1:[::1]"
        );
        assert_eq!(Remote::parse_list("tcp:a:1, tcp:b:2,").unwrap().len(), 2);
    }

    #[test]
    fn wrong_remotes_are_refused() {
        for (text, what) in [
            ("", "it should be unix:PATH"),
            ("db", "it should be unix:PATH"),
            ("unix:", "the path of the socket is missing"),
            ("tcp::1", "the host is missing"),
            ("tcp:::1:5", "an IPv6 address should stand in brackets"),
            (
                "tcp:[::1:5",
                "the bracket around the IPv6 address is not closed",
            ),
            ("tcp:[zz]:5", "\"zz\" is not an IPv6 address"),
            ("tcp:[::1]5", "a colon and a port should follow the bracket"),
            ("tcp:h:0", "\"0\" is not a port from 1 to 65535"),
            ("tcp:h:70000", "\"70000\" is not a port from 1 to 65535"),
            ("grpc:h", "the port is missing"),
        ] {
            let error = text.parse::<Remote>().unwrap_err();
            assert!(error.what.starts_with(what), "{error}");
        }
        for (text, what) in [
            ("tcp:1", "it should be punix:PATH"),
            ("ptcp:1:h", "\"h\" is not an IP address"),
            ("ptcp:x", "\"x\" is not a port from 0 to 65535"),
            ("pgrpcs:", "the port is missing"),
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.what.starts_with(what), "{error}");
        }
        assert!(Remote::parse_list(" ,").is_err());
        assert!(Remote::parse_list(&"tcp:h:1,".repeat(65)).is_err());
    }
}
