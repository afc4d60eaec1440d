//! DHCPv4 (RFC 2131): requests as the agent reads them, replies as it makes them.
//!
//! [`dhcproto`] does the bytes. A [`Request`] keeps options raw, so that an option that a guest fills with nonsense does
//! not cost it the lease; only what the answer depends on is looked into. A [`Reply`] is made from its request, and
//! carries options as they were encoded when the flow was made, see [`option`].

pub mod option;
pub mod relay;

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message as View;
use dhcproto::v4::{
    self, Encodable, Encoder, Flags, HType, Message, MessageType, Opcode, OptionCode,
};

/// OVN's pseudo codes: what is configured as an option but does not stand in a reply as one.
pub mod pseudo {
    /// `next_server`: the `siaddr` of the reply.
    pub const NEXT_SERVER: u8 = 253;
    /// `bootfile_name_alt`: the value of [`super::code::BOOTFILE_NAME`] for clients that are not iPXE already.
    pub const BOOTFILE_NAME_ALT: u8 = 254;
}

/// Codes of options that replies depend on.
pub mod code {
    /// The address that the client wants.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// The network's mask.
    pub const SUBNET_MASK: u8 = 1;
    /// For how many seconds the address is given.
    pub const LEASE_TIME: u8 = 51;
    /// DISCOVER, OFFER, …
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server that the client has chosen, or that answers.
    pub const SERVER_ID: u8 = 54;
    /// The longest message that the client accepts, IP and UDP headers included.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// T1.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2.
    pub const REBINDING_TIME: u8 = 59;
    /// What the client calls itself.
    pub const CLIENT_ID: u8 = 61;
    /// The file to boot.
    pub const BOOTFILE_NAME: u8 = 67;
    /// What a relay on the way has to say.
    pub const RELAY_AGENT: u8 = 82;
    /// Sent by iPXE, and by Etherboot before it.
    pub const ETHERBOOT: u8 = 175;
}

/// Options of one message that are looked at; a datagram cannot hold more useful ones.
const MAX_OPTIONS: usize = 512;
/// IP and UDP headers.
const HEADERS_LEN: usize = 28;
/// What a client accepts at least, and how much it gets if it does not say (RFC 2132, section 9.10; Ethernet's MTU).
const MESSAGE_SIZES: std::ops::RangeInclusive<usize> = 576..=1500;
/// Bytes of padding before the end of a reply's options, and again behind it: there OVN's agents have them, too.
const PADDING_LEN: usize = 4;
/// The fixed part of a message with the magic cookie.
const FIXED_LEN: usize = 240;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// It looks for servers.
    Discover,
    /// It wants an address: one that it was offered, or one that it has.
    Request,
    /// Its address is in use by another.
    Decline,
    /// It gives its address back.
    Release,
    /// It has an address and asks for options.
    Inform,
}

/// Why a datagram to the server's port is none to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is shorter than any message.
    #[error("a DHCP message of {0} bytes")]
    Short(usize),
    /// It is a reply.
    #[error("a DHCP message that is not a request")]
    NotRequest,
    /// There is no DHCP in it but BOOTP, or nothing.
    #[error("a BOOTP message without DHCP options")]
    NotDhcp,
    /// The client's hardware address is longer than the field.
    #[error("a DHCP message with a hardware address of {0} bytes")]
    HardwareAddress(u8),
    /// No client sends messages of this type to a server, or the type is missing.
    #[error("a DHCP message of type {0:?}")]
    Type(Option<u8>),
}

/// A client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: RequestKind,
    /// The address that it uses already, or zero.
    pub client_address: Ipv4Addr,
    /// Whether it asks for replies to be broadcast.
    pub broadcast: bool,
    header: Header,
    options: Vec<(u8, Vec<u8>)>,
}

/// What a reply repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    hardware_type: u8,
    hardware_address: Vec<u8>,
    hops: u8,
    xid: u32,
    flags: u16,
    relay: Ipv4Addr,
}

impl Request {
    /// Reads the payload of a UDP datagram.
    pub fn parse(payload: &[u8]) -> Result<Self, RequestError> {
        let view = View::new(payload).map_err(|_| RequestError::Short(payload.len()))?;
        if view.opcode() != Opcode::BootRequest {
            return Err(RequestError::NotRequest);
        }
        if payload[FIXED_LEN - 4..FIXED_LEN] != v4::MAGIC {
            return Err(RequestError::NotDhcp);
        }
        let length = view.hlen();
        let hardware_address = payload[28..44]
            .get(..usize::from(length))
            .ok_or(RequestError::HardwareAddress(length))?
            .to_vec();
        let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
        for option in view.opts().take(MAX_OPTIONS) {
            let code = u8::from(option.code());
            // The parts of an option that was split (RFC 3396) may stand apart.
            match options.iter_mut().find(|(known, _)| *known == code) {
                Some((_, value)) => value.extend(option.data()),
                None => options.push((code, option.data().to_vec())),
            }
        }
        let message_type = options
            .iter()
            .find(|(known, _)| *known == code::MESSAGE_TYPE)
            .and_then(|(_, value)| value.first().copied());
        let kind = match message_type.map(MessageType::from) {
            Some(MessageType::Discover) => RequestKind::Discover,
            Some(MessageType::Request) => RequestKind::Request,
            Some(MessageType::Decline) => RequestKind::Decline,
            Some(MessageType::Release) => RequestKind::Release,
            Some(MessageType::Inform) => RequestKind::Inform,
            _ => return Err(RequestError::Type(message_type)),
        };
        Ok(Self {
            kind,
            client_address: view.ciaddr(),
            broadcast: view.flags().broadcast(),
            header: Header {
                hardware_type: view.htype().into(),
                hardware_address,
                hops: view.hops(),
                xid: view.xid(),
                flags: view.flags().into(),
                relay: view.giaddr(),
            },
            options,
        })
    }

    /// The value of an option, if the client sent it.
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        let found = self.options.iter().find(|(known, _)| *known == code);
        found.map(|(_, value)| value.as_slice())
    }

    /// The address in an option, if the client sent it and it is one.
    pub fn address_option(&self, code: u8) -> Option<Ipv4Addr> {
        let octets = <[u8; 4]>::try_from(self.option(code)?).ok()?;
        Some(octets.into())
    }

    /// The hardware address, however long.
    pub fn hardware_address(&self) -> &[u8] {
        &self.header.hardware_address
    }

    /// How long a reply may be, without IP and UDP headers.
    fn max_reply(&self) -> usize {
        let (least, most) = (*MESSAGE_SIZES.start(), *MESSAGE_SIZES.end());
        let size = match self.option(code::MAX_MESSAGE_SIZE) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])).clamp(least, most),
            _ => most,
        };
        size - HEADERS_LEN
    }
}

/// What the agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// This address can be had.
    Offer,
    /// This address is yours; or, to an inform, these are the options.
    Ack,
    /// That address is not yours.
    Nak,
}

/// A server's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it says.
    pub kind: ReplyKind,
    /// The address that the client gets; zero if it gets none.
    pub your_address: Ipv4Addr,
    /// Where the client shall boot from; zero if it is not told.
    pub next_server: Ipv4Addr,
    /// Options, but for the message type and what repeats the request: code, encoded value. They are sent in this order
    /// behind the message type, as by OVN's agents; of several of one code the first is sent, and one for which the longest
    /// message that the client accepts has no room left is not.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    /// The payload of the UDP datagram that answers `request`, and the codes of the options that had no room.
    pub fn encode(&self, request: &Request) -> (Vec<u8>, Vec<u8>) {
        let header = &request.header;
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootReply)
            .set_htype(HType::from(header.hardware_type))
            .set_chaddr(&header.hardware_address)
            .set_hops(header.hops)
            .set_xid(header.xid)
            .set_flags(Flags::from(header.flags))
            .set_yiaddr(self.your_address)
            .set_siaddr(self.next_server)
            .set_giaddr(header.relay);
        if self.kind == ReplyKind::Ack {
            // RFC 2131, table 3.
            message.set_ciaddr(request.client_address);
        }
        let message_type = match self.kind {
            ReplyKind::Offer => MessageType::Offer,
            ReplyKind::Ack => MessageType::Ack,
            ReplyKind::Nak => MessageType::Nak,
        };
        let mut room = request.max_reply() - FIXED_LEN - 2 * PADDING_LEN - 1;
        let mut left_out = Vec::new();
        let mut sent: Vec<(u8, Vec<u8>)> = Vec::with_capacity(self.options.len() + 3);
        // RFC 6842 and RFC 3046, section 2.2: these two go back as they came.
        let repeated = [code::CLIENT_ID, code::RELAY_AGENT]
            .into_iter()
            .filter_map(|code| Some((code, request.option(code)?.to_vec())));
        let own = [(code::MESSAGE_TYPE, vec![u8::from(message_type)])];
        for (code, value) in own
            .into_iter()
            .chain(repeated)
            .chain(self.options.iter().cloned())
        {
            let length = value.len() + 2 * value.len().div_ceil(255).max(1);
            match room.checked_sub(length) {
                Some(rest) => {
                    room = rest;
                    if sent.iter().all(|(known, _)| *known != code) {
                        sent.push((code, value));
                    }
                }
                None => left_out.push(code),
            }
        }
        // What repeats the request stands behind the rest, and of it what a relay said last (RFC 3046, section 2.2).
        sent.sort_by_key(|(code, _)| match *code {
            code::CLIENT_ID => 1,
            code::RELAY_AGENT => 2,
            _ => 0,
        });
        let mut payload = Vec::with_capacity(request.max_reply());
        // Fails only for options that do not encode, and there are none yet.
        if message.encode(&mut Encoder::new(&mut payload)).is_err() {
            left_out.extend(self.options.iter().map(|(code, _)| *code));
        }
        payload.resize(FIXED_LEN, 0);
        for (code, value) in &sent {
            append(&mut payload, *code, value);
        }
        payload.extend([u8::from(OptionCode::Pad); PADDING_LEN]);
        payload.push(u8::from(OptionCode::End));
        payload.extend([u8::from(OptionCode::Pad); PADDING_LEN]);
        (payload, left_out)
    }
}

/// Puts an option behind those that are there, in parts if it is long (RFC 3396).
fn append(payload: &mut Vec<u8>, code: u8, value: &[u8]) {
    let parts = value.chunks(usize::from(u8::MAX));
    let empty = value.is_empty().then_some(value);
    for part in empty.into_iter().chain(parts) {
        let length = u8::try_from(part.len()).expect("parts are that short");
        payload.extend([code, length]);
        payload.extend(part);
    }
}

#[cfg(test)]
mod tests;
