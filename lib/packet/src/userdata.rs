//! What a logical flow tells the agent when it sends it a packet: the `userdata` of Open vSwitch's `controller` action.
//!
//! It begins with four bytes of [`Opcode`], big-endian, and four of zeros, as in OVN. What follows depends on the opcode:
//! for actions in braces (`arp { … }`) the OpenFlow actions to be done with the new packet; for some others arguments of
//! the forms below; for most nothing, because the arguments stand in the packet's metadata:
//!
//! | opcode | metadata |
//! | --- | --- |
//! | [`Opcode::PutArp`] | datapath in `metadata`, port in `reg14`, IPv4 address in `reg0`, MAC address in `eth.src` |
//! | [`Opcode::PutNd`] | the same with the IPv6 address in `xxreg0` |
//! | [`Opcode::PutFdb`] | datapath in `metadata`, port in `reg14`, MAC address in `eth.src` |
//!
//! Whoever encodes a logical action writes with this module, and the agent reads with it.

use std::net::Ipv4Addr;

/// What the agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opcode {
    /// `arp { … }`: ask for the next hop's address.
    Arp,
    /// `put_arp(…)`: remember a neighbour.
    PutArp,
    /// `put_dhcp_opts(…)`: make the request a reply. See [`DhcpArguments`].
    PutDhcpOptions,
    /// `nd_na { … }`: answer a neighbour solicitation.
    NdNa,
    /// `put_nd(…)`: remember an IPv6 neighbour.
    PutNd,
    /// `put_dhcpv6_opts(…)`: make the request a reply. See [`Dhcp6Arguments`].
    PutDhcp6Options,
    /// `dns_lookup()`
    DnsLookup,
    /// `log(…)`
    Log,
    /// `put_nd_ra_opts(…)`: make the solicitation an advertisement. See [`AdvertisementArguments`].
    PutRouterAdvertisement,
    /// `nd_ns { … }`: ask for the next hop's address, IPv6.
    NdNs,
    /// `icmp4 { … }`, `icmp6 { … }`
    Icmp,
    /// `tcp_reset { … }`
    TcpReset,
    /// `nd_na_router { … }`: the same as [`Opcode::NdNa`], from a router.
    NdNaRouter,
    /// `icmp4_error { … }`
    Icmp4Error,
    /// `trigger_event(…)`. See [`EmptyBackendsArguments`].
    Event,
    /// `igmp`
    Igmp,
    /// `bind_vport(…)`
    BindVport,
    /// `handle_svc_check(…)`
    ServiceCheck,
    /// `handle_dhcpv6_reply`
    Dhcp6Reply,
    /// `icmp6_error { … }`
    Icmp6Error,
    /// `reject { … }`: [`Opcode::TcpReset`], [`Opcode::SctpAbort`] or [`Opcode::Icmp`], as the packet is.
    Reject,
    /// `handle_bfd_msg()`
    Bfd,
    /// `sctp_abort { … }`
    SctpAbort,
    /// `put_fdb(…)`: remember behind which port an address is.
    PutFdb,
    /// A guest that migrates has arrived.
    ActivationStrategy,
    /// `dhcp_relay_req_chk(…)`
    DhcpRelayRequestCheck,
    /// `dhcp_relay_resp_chk(…)`
    DhcpRelayResponseCheck,
}

/// OVN's numbers.
const CODES: [(u32, Opcode); 27] = [
    (0, Opcode::Arp),
    (1, Opcode::PutArp),
    (2, Opcode::PutDhcpOptions),
    (3, Opcode::NdNa),
    (4, Opcode::PutNd),
    (5, Opcode::PutDhcp6Options),
    (6, Opcode::DnsLookup),
    (7, Opcode::Log),
    (8, Opcode::PutRouterAdvertisement),
    (9, Opcode::NdNs),
    (10, Opcode::Icmp),
    (11, Opcode::TcpReset),
    (12, Opcode::NdNaRouter),
    (14, Opcode::Icmp4Error),
    (15, Opcode::Event),
    (16, Opcode::Igmp),
    (17, Opcode::BindVport),
    (18, Opcode::ServiceCheck),
    (19, Opcode::Dhcp6Reply),
    (20, Opcode::Icmp6Error),
    (22, Opcode::Reject),
    (23, Opcode::Bfd),
    (24, Opcode::SctpAbort),
    (25, Opcode::PutFdb),
    (26, Opcode::ActivationStrategy),
    (28, Opcode::DhcpRelayRequestCheck),
    (29, Opcode::DhcpRelayResponseCheck),
];

/// The length of what every userdata begins with.
pub const HEADER_LEN: usize = 8;

/// Why userdata make no sense. They come from our own flows, so this is a flow of someone else, or a fault of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserdataError {
    /// They end too early.
    #[error("userdata end within {0}")]
    Short(&'static str),
    /// The opcode is not one of those above.
    #[error("userdata have the unknown opcode {0}")]
    Opcode(u32),
}

impl Opcode {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|&(_, opcode)| opcode)
    }

    /// The number in userdata.
    pub fn code(self) -> u32 {
        let found = CODES.iter().find(|(_, opcode)| *opcode == self);
        found.expect("the table has every opcode").0
    }

    /// What userdata of this opcode begin with.
    pub fn header(self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&self.code().to_be_bytes());
        header
    }

    /// Takes userdata apart: the opcode, and what follows it.
    pub fn split(userdata: &[u8]) -> Result<(Self, &[u8]), UserdataError> {
        let (header, rest) = userdata
            .split_at_checked(HEADER_LEN)
            .ok_or(UserdataError::Short("their header"))?;
        let code = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let found = CODES.iter().find(|(known, _)| *known == code);
        let (_, opcode) = found.ok_or(UserdataError::Opcode(code))?;
        Ok((*opcode, rest))
    }
}

/// The bit of a register in which the agent tells the pipeline whether it made a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultBit {
    /// The OXM header of the field: class, number, length.
    pub oxm_header: u32,
    /// The bit, from the least significant one.
    pub bit: u32,
}

impl ResultBit {
    /// Reads what [`Opcode::split`] left of an opcode that has no other arguments ([`Opcode::DnsLookup`]).
    pub fn decode(mut rest: &[u8]) -> Result<Self, UserdataError> {
        let [oxm_header, bit] = [
            take(&mut rest, "the result's field")?,
            take(&mut rest, "the result's bit")?,
        ]
        .map(u32::from_be_bytes);
        Ok(Self { oxm_header, bit })
    }
}

/// The arguments of [`Opcode::PutDhcpOptions`]: result, address, and options with encoded values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpArguments {
    /// Where the result goes.
    pub result: ResultBit,
    /// `offerip`: the address that the client is given.
    pub offer: Ipv4Addr,
    /// The other options in the order written: code, encoded value. Besides real codes OVN's pseudo codes, see
    /// [`crate::dhcp4::pseudo`].
    pub options: Vec<(u8, Vec<u8>)>,
}

impl DhcpArguments {
    /// The whole userdata, header included.
    ///
    /// # Errors
    /// If a value is longer than 65,535 bytes: its code.
    pub fn encode(&self) -> Result<Vec<u8>, u8> {
        let mut bytes = Opcode::PutDhcpOptions.header().to_vec();
        bytes.extend(self.result.oxm_header.to_be_bytes());
        bytes.extend(self.result.bit.to_be_bytes());
        bytes.extend(self.offer.octets());
        for (code, value) in &self.options {
            let length = u16::try_from(value.len()).map_err(|_| *code)?;
            bytes.push(*code);
            bytes.extend(length.to_be_bytes());
            bytes.extend(value);
        }
        Ok(bytes)
    }

    /// Reads what [`Opcode::split`] left.
    pub fn decode(mut rest: &[u8]) -> Result<Self, UserdataError> {
        let [oxm_header, bit, offer] = [
            take(&mut rest, "the result's field")?,
            take(&mut rest, "the result's bit")?,
            take(&mut rest, "the offered address")?,
        ]
        .map(u32::from_be_bytes);
        let mut options = Vec::new();
        while let Some((&code, tail)) = rest.split_first() {
            rest = tail;
            let length = usize::from(u16::from_be_bytes(take(&mut rest, "an option's length")?));
            let (value, tail) = rest
                .split_at_checked(length)
                .ok_or(UserdataError::Short("an option's value"))?;
            options.push((code, value.to_vec()));
            rest = tail;
        }
        Ok(Self {
            result: ResultBit { oxm_header, bit },
            offer: Ipv4Addr::from_bits(offer),
            options,
        })
    }
}

/// The arguments of [`Opcode::PutDhcp6Options`]: result, and options with encoded values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp6Arguments {
    /// Where the result goes.
    pub result: ResultBit,
    /// The options in the order written: code, encoded value; see [`crate::dhcp6`].
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Dhcp6Arguments {
    /// More than any reply has room for.
    const MAX_LEN: usize = 4096;

    /// The whole userdata, header included.
    ///
    /// # Errors
    /// If that becomes too long: the code of the option with which it does. A flow has to fit into a message.
    pub fn encode(&self) -> Result<Vec<u8>, u16> {
        let mut bytes = Opcode::PutDhcp6Options.header().to_vec();
        bytes.extend(self.result.oxm_header.to_be_bytes());
        bytes.extend(self.result.bit.to_be_bytes());
        for (code, value) in &self.options {
            let length = u16::try_from(value.len()).map_err(|_| *code)?;
            if bytes.len() + value.len() > Self::MAX_LEN {
                return Err(*code);
            }
            bytes.extend(code.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend(value);
        }
        Ok(bytes)
    }

    /// Reads what [`Opcode::split`] left.
    pub fn decode(mut rest: &[u8]) -> Result<Self, UserdataError> {
        let [oxm_header, bit] = [
            take(&mut rest, "the result's field")?,
            take(&mut rest, "the result's bit")?,
        ]
        .map(u32::from_be_bytes);
        let mut options = Vec::new();
        while !rest.is_empty() {
            let code = u16::from_be_bytes(take(&mut rest, "an option's code")?);
            let length = usize::from(u16::from_be_bytes(take(&mut rest, "an option's length")?));
            let (value, tail) = rest
                .split_at_checked(length)
                .ok_or(UserdataError::Short("an option's value"))?;
            options.push((code, value.to_vec()));
            rest = tail;
        }
        let result = ResultBit { oxm_header, bit };
        Ok(Self { result, options })
    }
}

/// The arguments of [`Opcode::DhcpRelayRequestCheck`] and [`Opcode::DhcpRelayResponseCheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayArguments {
    /// Where the result goes.
    pub result: ResultBit,
    /// The address of the relay.
    pub relay: Ipv4Addr,
    /// The address of the server.
    pub server: Ipv4Addr,
}

impl RelayArguments {
    /// Reads what [`Opcode::split`] left.
    pub fn decode(mut rest: &[u8]) -> Result<Self, UserdataError> {
        let [oxm_header, bit, relay, server] = [
            take(&mut rest, "the result's field")?,
            take(&mut rest, "the result's bit")?,
            take(&mut rest, "the relay's address")?,
            take(&mut rest, "the server's address")?,
        ]
        .map(u32::from_be_bytes);
        Ok(Self {
            result: ResultBit { oxm_header, bit },
            relay: Ipv4Addr::from_bits(relay),
            server: Ipv4Addr::from_bits(server),
        })
    }
}

/// The arguments of [`Opcode::PutRouterAdvertisement`]: result, and the ICMPv6 message with its checksum zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisementArguments {
    /// Where the result goes.
    pub result: ResultBit,
    /// The message.
    pub message: Vec<u8>,
}

impl AdvertisementArguments {
    /// What follows the header.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.result.oxm_header.to_be_bytes().to_vec();
        bytes.extend(self.result.bit.to_be_bytes());
        bytes.extend(&self.message);
        bytes
    }

    /// Reads what [`Opcode::split`] left.
    pub fn decode(mut rest: &[u8]) -> Result<Self, UserdataError> {
        let [oxm_header, bit] = [
            take(&mut rest, "the result's field")?,
            take(&mut rest, "the result's bit")?,
        ]
        .map(u32::from_be_bytes);
        Ok(Self {
            result: ResultBit { oxm_header, bit },
            message: rest.to_vec(),
        })
    }
}

/// The arguments of [`Opcode::Event`]: a load balancer without backends was asked for. The number of this kind of event, 0, and
/// each text with a number and its length before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EmptyBackendsArguments {
    /// Its address, with the port.
    pub vip: String,
    /// `tcp`, `udp` or `sctp`; may be empty.
    pub protocol: String,
    /// The UUID of its row in the northbound.
    pub load_balancer: String,
}

/// The number of the event.
const EMPTY_BACKENDS: u32 = 0;

impl EmptyBackendsArguments {
    /// The whole userdata, header included. `None` if a text is longer than 65,535 bytes.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Opcode::Event.header().to_vec();
        bytes.extend(EMPTY_BACKENDS.to_be_bytes());
        let texts = [&self.vip, &self.protocol, &self.load_balancer];
        for (number, text) in (1u16..).zip(texts) {
            bytes.extend(number.to_be_bytes());
            bytes.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        Some(bytes)
    }

    /// Reads what [`Opcode::split`] left. `None` if it is about something else.
    pub fn decode(mut rest: &[u8]) -> Result<Option<Self>, UserdataError> {
        if u32::from_be_bytes(take(&mut rest, "the event")?) != EMPTY_BACKENDS {
            return Ok(None);
        }
        let mut arguments = Self::default();
        while !rest.is_empty() {
            let number = u16::from_be_bytes(take(&mut rest, "a text's number")?);
            let length = usize::from(u16::from_be_bytes(take(&mut rest, "a text's length")?));
            let (text, tail) = rest
                .split_at_checked(length)
                .ok_or(UserdataError::Short("a text"))?;
            rest = tail;
            let text = String::from_utf8_lossy(text).into_owned();
            match number {
                1 => arguments.vip = text,
                2 => arguments.protocol = text,
                3 => arguments.load_balancer = text,
                _ => {}
            }
        }
        Ok(Some(arguments))
    }
}

fn take<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], UserdataError> {
    let (taken, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(UserdataError::Short(what))?;
    *rest = tail;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_survives_its_header() {
        for opcode in Opcode::all() {
            let mut userdata = opcode.header().to_vec();
            userdata.extend([1, 2]);
            assert_eq!(Opcode::split(&userdata), Ok((opcode, &[1, 2][..])));
        }
        assert_eq!(
            Opcode::split(&[0, 0, 0, 99, 0, 0, 0, 0]),
            Err(UserdataError::Opcode(99))
        );
        assert_eq!(
            Opcode::split(&[0, 0, 0]),
            Err(UserdataError::Short("their header"))
        );
    }

    #[test]
    fn an_event_survives_its_bytes() {
        let arguments = EmptyBackendsArguments {
            vip: "[fd00::1]:80".into(),
            protocol: "tcp".into(),
            load_balancer: "6a0c9b2e-3a0b-4a55-9d5f-1a2b3c4d5e6f".into(),
        };
        let bytes = arguments.encode().expect("short enough");
        let (opcode, rest) = Opcode::split(&bytes).expect("a header");
        assert_eq!(opcode, Opcode::Event);
        assert_eq!(
            EmptyBackendsArguments::decode(rest),
            Ok(Some(arguments.clone()))
        );
        assert_eq!(EmptyBackendsArguments::decode(&[0, 0, 0, 9]), Ok(None));
        assert!(EmptyBackendsArguments::decode(&rest[..rest.len() - 1]).is_err());
        let long = EmptyBackendsArguments {
            vip: "x".repeat(1 << 16),
            ..arguments
        };
        assert_eq!(long.encode(), None);
    }

    #[test]
    fn arguments_survive_their_bytes_and_no_prefix_is_taken_for_them() {
        let arguments = DhcpArguments {
            result: ResultBit {
                oxm_header: 0x0001_0004,
                bit: 3,
            },
            offer: Ipv4Addr::new(172, 16, 255, 130),
            options: vec![(3, vec![172, 16, 255, 129]), (15, vec![b'x'; 300])],
        };
        let bytes = arguments.encode().expect("short enough");
        let (opcode, rest) = Opcode::split(&bytes).expect("a header");
        assert_eq!(opcode, Opcode::PutDhcpOptions);
        assert_eq!(DhcpArguments::decode(rest).as_ref(), Ok(&arguments));
        let whole = [12, 19, rest.len()];
        for length in 0..rest.len() {
            let read = DhcpArguments::decode(&rest[..length]);
            assert_eq!(read.is_ok(), whole.contains(&length), "{length} bytes");
        }
    }
}
