//! MAC, IP and CIDR addresses, port ranges and tunnel keys: types, parsing, printing.
//!
//! Everything that a person or a peer writes as an address becomes one of these types at the
//! door, so that the rest of the system never sees a malformed one. Family is data: functions
//! take [`std::net::IpAddr`], never one family only. Errors say which word is wrong, where it
//! stands in the text (byte offset), and what would be right.
//!
//! | module | what |
//! | --- | --- |
//! | [`mac`] | [`Mac`], the Ethernet address |
//! | [`cidr`] | [`Cidr`], an address with a prefix length, host bits kept |
//! | [`masked`] | [`MaskedIp`], an address with an arbitrary mask |
//! | [`lsp`] | [`LspAddress`] and [`PortSecurity`], the texts of `Logical_Switch_Port` |
//! | [`port`] | [`PortRange`], a range of transport ports |
//! | [`ages`] | [`Ages`], how long what was learned of addresses stays |
//! | [`key`] | [`DatapathKey`] and [`PortKey`], the tunnel keys |
//!
//! ```
//! use addr::{AddrError, Cidr, LspAddress, Mac};
//!
//! let mac: Mac = "02:00:00:00:00:01".parse()?;
//! let network: Cidr = "10.0.0.1/24".parse()?;
//! assert!(network.contains("10.0.0.77".parse().unwrap()));
//! let port: LspAddress = "02:00:00:00:00:01 10.0.0.5 2001:db8::5".parse()?;
//! assert!(matches!(port, LspAddress::Fixed(fixed) if fixed.mac == mac && fixed.ips.len() == 2));
//! let wrong = "02:00:00:00:00:01 10.0.0.555".parse::<LspAddress>().unwrap_err();
//! println!("{wrong}"); // the word, its place, and what would be right
//! # Ok::<(), AddrError>(())
//! ```
#![forbid(unsafe_code)]

pub mod ages;
pub mod cidr;
pub mod error;
pub mod key;
pub mod lsp;
pub mod mac;
pub mod masked;
pub mod port;

pub use ages::{Ages, AgesError};
pub use cidr::Cidr;
pub use error::AddrError;
pub use key::{DatapathKey, PortKey};
pub use lsp::{DynamicIps, LspAddress, MacAndIps, PortSecurity};
pub use mac::Mac;
pub use masked::MaskedIp;
pub use port::PortRange;
