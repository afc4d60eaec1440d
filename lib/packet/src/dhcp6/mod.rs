//! DHCPv6 (RFC 8415): requests as the agent reads them, replies as it makes them.
//!
//! [`dhcproto`] writes the bytes. Options of requests are only told apart here and not read by it: what a guest fills with
//! nonsense must not cost it the lease, and must not be trusted. Options of replies stand in the flow as [`option`] has
//! encoded them.
//!
//! | request | reply |
//! | --- | --- |
//! | SOLICIT | ADVERTISE with the address |
//! | REQUEST, RENEW, REBIND | REPLY with the address; others that the client has are taken from it |
//! | CONFIRM | REPLY: whether the client's addresses are the port's |
//! | RELEASE, DECLINE | REPLY: it is noted, and the address stays the port's |
//! | INFORMATION-REQUEST | REPLY without an address |
//! | to another server | none |
//!
//! Addresses are given for ever: they are the port's as long as the port is.

pub mod option;

use std::net::Ipv6Addr;

use dhcproto::Encoder;
use dhcproto::v6::{
    DhcpOption, DhcpOptions, Encodable, IAAddr, IANA, Message, MessageType, OptionCode, Status,
    StatusCode, UnknownOption,
};

/// Codes of options that requests and replies depend on.
pub mod code {
    /// Who asks.
    pub const CLIENT_ID: u16 = 1;
    /// The server that the client has chosen, or that answers; in flows its MAC.
    pub const SERVER_ID: u16 = 2;
    /// An association of addresses that are not temporary.
    pub const IA_NA: u16 = 3;
    /// An address of an association.
    pub const IA_ADDR: u16 = 5;
    /// What kind of client asks.
    pub const USER_CLASS: u16 = 15;
    /// Domains in which names are looked for.
    pub const DOMAIN_SEARCH: u16 = 24;
    /// The client's name (RFC 4704).
    pub const FQDN: u16 = 39;
    /// The file to boot.
    pub const BOOT_FILE: u16 = 59;
    /// OVN's pseudo code: the file for clients that are not iPXE already.
    pub const BOOT_FILE_ALT: u16 = 254;
}

/// Options of one message that are looked at, and addresses of one association.
const MAX_OPTIONS: usize = 128;
/// Type and transaction.
const HEADER_LEN: usize = 4;
/// A lifetime that never ends.
const FOREVER: u32 = u32::MAX;
/// What iPXE calls itself.
const IPXE: &[u8] = b"iPXE";
/// Flags of the client's name (RFC 4704, section 4.1): the server shall update, does otherwise than asked, does not update.
const FQDN_S: u8 = 1;
const FQDN_O: u8 = 2;
const FQDN_N: u8 = 4;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// It looks for servers.
    Solicit,
    /// It wants an address that it was offered.
    Request,
    /// It asks whether its addresses are right where it is.
    Confirm,
    /// It wants to keep its address.
    Renew,
    /// The same, of any server.
    Rebind,
    /// It gives its address back.
    Release,
    /// Its address is in use by another.
    Decline,
    /// It asks for options.
    Information,
}

/// Why a datagram to the server's port is none to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It ends within its header or an option.
    #[error("a DHCPv6 message that ends within {0}")]
    Short(&'static str),
    /// No client sends messages of this type to a server.
    #[error("a DHCPv6 message of type {0}")]
    Type(u8),
    /// The client does not say who it is.
    #[error("a DHCPv6 message without a client identifier")]
    Nobody,
}

/// A client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: RequestKind,
    /// Whether iPXE asks.
    pub is_ipxe: bool,
    transaction: [u8; 3],
    client: Option<Vec<u8>>,
    server: Option<Vec<u8>>,
    associations: Vec<(u32, Vec<Ipv6Addr>)>,
    fqdn_flags: Option<u8>,
}

impl Request {
    /// Reads the payload of a UDP datagram.
    pub fn parse(payload: &[u8]) -> Result<Self, RequestError> {
        let (&[kind, ref transaction @ ..], options) = payload
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(RequestError::Short("its header"))?;
        let kind = match kind {
            1 => RequestKind::Solicit,
            3 => RequestKind::Request,
            4 => RequestKind::Confirm,
            5 => RequestKind::Renew,
            6 => RequestKind::Rebind,
            8 => RequestKind::Release,
            9 => RequestKind::Decline,
            11 => RequestKind::Information,
            other => return Err(RequestError::Type(other)),
        };
        let mut request = Self {
            kind,
            is_ipxe: false,
            transaction: *transaction,
            client: None,
            server: None,
            associations: Vec::new(),
            fqdn_flags: None,
        };
        for option in options_of(options) {
            let (code, value) = option?;
            match code {
                code::CLIENT_ID => request.client = Some(value.to_vec()),
                code::SERVER_ID => request.server = Some(value.to_vec()),
                code::IA_NA => request.associations.extend(association(value)),
                code::USER_CLASS => request.is_ipxe |= has_class(value, IPXE),
                code::FQDN => request.fqdn_flags = value.first().copied(),
                _ => {}
            }
        }
        if request.client.is_none() && kind != RequestKind::Information {
            return Err(RequestError::Nobody);
        }
        Ok(request)
    }

    /// The payload of the datagram that answers with these options: code, and value as [`option`] encodes it. `None` if
    /// the request is for another server, or wants nothing that there is.
    pub fn reply(&self, options: &[(u16, Vec<u8>)]) -> Option<Vec<u8>> {
        let value = |wanted: u16| {
            let found = options.iter().find(|(code, _)| *code == wanted);
            found.map(|(_, value)| value.as_slice())
        };
        let server = link_layer_id(value(code::SERVER_ID)?);
        if self.server.as_ref().is_some_and(|chosen| *chosen != server) {
            return None;
        }
        let address = value(code::IA_ADDR)
            .and_then(|value| <[u8; 16]>::try_from(value).ok())
            .map(Ipv6Addr::from);
        let mut said = Vec::new();
        match self.kind {
            RequestKind::Solicit
            | RequestKind::Request
            | RequestKind::Renew
            | RequestKind::Rebind => {
                if self.associations.is_empty() {
                    return None;
                }
                said.extend(self.given(address));
                said.extend(self.told(options));
            }
            RequestKind::Information => said.extend(self.told(options)),
            RequestKind::Confirm => {
                let mut claimed = self.associations.iter().flat_map(|(_, has)| has).peekable();
                claimed.peek()?;
                let is_right = claimed.all(|claimed| Some(*claimed) == address);
                said.push(status(if is_right {
                    Status::Success
                } else {
                    Status::NotOnLink
                }));
            }
            RequestKind::Release | RequestKind::Decline => said.push(status(Status::Success)),
        }
        let kind = match self.kind {
            RequestKind::Solicit => MessageType::Advertise,
            _ => MessageType::Reply,
        };
        // The library sorts the options of a message. OVN's agents send them as the flow has them, the server's name
        // where it stands there.
        if said
            .iter()
            .all(|said| !matches!(said, DhcpOption::ServerId(_)))
        {
            said.insert(0, DhcpOption::ServerId(server));
        }
        let message = Message::new_with_id(kind, self.transaction);
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(&mut payload);
        message.encode(&mut encoder).ok()?;
        let client = self.client.clone().map(DhcpOption::ClientId);
        for option in client.into_iter().chain(said) {
            option.encode(&mut encoder).ok()?;
        }
        Some(payload)
    }

    /// What becomes of each association: the first has the address, if there is one.
    fn given(&self, address: Option<Ipv6Addr>) -> Vec<DhcpOption> {
        let keeps = matches!(self.kind, RequestKind::Renew | RequestKind::Rebind);
        let mut associations = Vec::with_capacity(self.associations.len());
        for (place, (id, has)) in self.associations.iter().enumerate() {
            let address = address.filter(|_| place == 0);
            let gone = has.iter().filter(|has| keeps && Some(**has) != address);
            let mut opts: Vec<DhcpOption> = gone.map(|gone| lease(*gone, 0)).collect();
            opts.extend(address.map(|address| lease(address, FOREVER)));
            if opts.is_empty() {
                opts.push(status(Status::NoAddrsAvail));
            }
            let lasts = if address.is_some() { FOREVER } else { 0 };
            associations.push(DhcpOption::IANA(IANA {
                id: *id,
                t1: lasts,
                t2: lasts,
                opts: opts.into_iter().collect::<DhcpOptions>(),
            }));
        }
        associations
    }

    /// The options that are not about the address, in the order of the flow.
    fn told<'a>(&'a self, options: &'a [(u16, Vec<u8>)]) -> impl Iterator<Item = DhcpOption> + 'a {
        let has = |wanted: u16| options.iter().any(|(code, _)| *code == wanted);
        // Two file names: one for clients that are iPXE already, one for those that are to become it.
        let alternative = has(code::BOOT_FILE_ALT) && (!self.is_ipxe || !has(code::BOOT_FILE));
        options.iter().filter_map(move |(code, value)| {
            let (code, value) = match *code {
                code::IA_ADDR => return None,
                code::SERVER_ID => return Some(DhcpOption::ServerId(link_layer_id(value))),
                code::BOOT_FILE_ALT if alternative => (code::BOOT_FILE, value.clone()),
                code::BOOT_FILE_ALT => return None,
                code::BOOT_FILE if alternative => return None,
                code::FQDN => {
                    let flags = self.fqdn_flags?;
                    let overrides = if flags & FQDN_S != 0 { FQDN_O } else { 0 };
                    let mut named = vec![FQDN_N | overrides];
                    named.extend(value);
                    (code::FQDN, named)
                }
                code => (code, value.clone()),
            };
            let code = OptionCode::from(code);
            Some(DhcpOption::Unknown(UnknownOption::new(code, value)))
        })
    }
}

/// The options in these bytes.
fn options_of(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), RequestError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let taken = bytes.split_first_chunk::<4>().and_then(|(header, rest)| {
            let [a, b, c, d] = *header;
            let length = usize::from(u16::from_be_bytes([c, d]));
            let (value, rest) = rest.split_at_checked(length)?;
            bytes = rest;
            Some((u16::from_be_bytes([a, b]), value))
        });
        if taken.is_none() {
            bytes = &[];
        }
        Some(taken.ok_or(RequestError::Short("an option")))
    })
    .take(MAX_OPTIONS)
}

/// The identity and the addresses of an association. One that is cut off is none.
fn association(value: &[u8]) -> Option<(u32, Vec<Ipv6Addr>)> {
    let (id, rest) = value.split_first_chunk::<4>()?;
    let (_times, options) = rest.split_first_chunk::<8>()?;
    let addresses = options_of(options).filter_map(|option| match option {
        Ok((code::IA_ADDR, value)) => {
            let octets = value.first_chunk::<16>()?;
            Some(Ipv6Addr::from(*octets))
        }
        _ => None,
    });
    Some((u32::from_be_bytes(*id), addresses.collect()))
}

/// Whether a class is among those of a user (RFC 8415, section 21.15).
fn has_class(mut value: &[u8], class: &[u8]) -> bool {
    while let Some((length, rest)) = value.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((named, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if named == class {
            return true;
        }
        value = rest;
    }
    false
}

/// The identifier of a server with this MAC (RFC 8415, section 11.4).
fn link_layer_id(mac: &[u8]) -> Vec<u8> {
    let mut id = vec![0, 3, 0, 1];
    id.extend(mac);
    id
}

fn lease(addr: Ipv6Addr, lasts: u32) -> DhcpOption {
    DhcpOption::IAAddr(IAAddr {
        addr,
        preferred_life: lasts,
        valid_life: lasts,
        opts: DhcpOptions::new(),
    })
}

fn status(status: Status) -> DhcpOption {
    DhcpOption::StatusCode(StatusCode {
        status,
        msg: String::new(),
    })
}

#[cfg(test)]
mod tests;
