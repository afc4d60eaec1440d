//! Messages: one enum for what is sent and received, with its header (OpenFlow 1.5.1 section 7.1).
//!
//! Every message is decodable and encodable, so that tests can play either side. What a controller of Open vSwitch has no use
//! for arrives as [`Message::Other`].

mod bundle;
mod ct_flush;
mod error;
mod flow;
mod group;
mod meter;
mod multipart;
mod nicira;
mod packet;
mod port;
mod switch;

pub use bundle::{BundleAdd, BundleControl, BundleKind, BundleOp};
pub use ct_flush::{CtFlush, CtTuple};
pub use error::ErrorMessage;
pub use flow::{
    FlowCommand, FlowDesc, FlowFlags, FlowMod, FlowRemoved, FlowRemovedReason, FlowRequest,
};
pub use group::{Bucket, Group, GroupCommand, GroupKind, GroupMod, SelectionMethod};
pub use meter::{Meter, MeterCommand, MeterMod};
pub use multipart::{MultipartReply, MultipartRequest};
pub use nicira::{TlvMap, TlvTable, TlvTableCommand};
pub use packet::{PacketIn, PacketOut};
pub use port::{PortDesc, PortStatus, PortStatusReason};
pub use switch::{AsyncConfig, Features, Role, RoleState, SwitchConfig};

use crate::wire::{Put, Reader};
use crate::{DecodeError, NICIRA};

/// The wire version of OpenFlow 1.5.
pub const VERSION: u8 = 0x06;
/// The length of the header of every message.
pub const HEADER_LEN: usize = 8;

/// Pairs a request with its answers.
pub type Xid = u32;

/// An OpenFlow message, without version and xid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message of each side: bit `n` says that wire version `n` is spoken.
    Hello {
        /// The versions, those below 32.
        versions: u32,
    },
    /// The request with the same xid failed.
    Error(ErrorMessage),
    /// Asks for the same bytes back.
    EchoRequest(Vec<u8>),
    /// The same bytes back.
    EchoReply(Vec<u8>),
    /// Asks what the switch is.
    FeaturesRequest,
    /// What the switch is.
    FeaturesReply(Features),
    /// Asks for the configuration.
    GetConfigRequest,
    /// The configuration.
    GetConfigReply(SwitchConfig),
    /// Sets the configuration.
    SetConfig(SwitchConfig),
    /// A packet for the controller.
    PacketIn(PacketIn),
    /// A flow is gone.
    FlowRemoved(FlowRemoved),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// Sends a packet through actions.
    PacketOut(PacketOut),
    /// Changes flows.
    FlowMod(FlowMod),
    /// Changes groups.
    GroupMod(GroupMod),
    /// Changes meters.
    MeterMod(MeterMod),
    /// Asks for something that may take several messages.
    MultipartRequest(MultipartRequest),
    /// One of these messages.
    MultipartReply(MultipartReply),
    /// Asks for an answer once all before it is done.
    BarrierRequest,
    /// All before the request is done.
    BarrierReply,
    /// Asks for a role.
    RoleRequest(RoleState),
    /// The role.
    RoleReply(RoleState),
    /// Says which messages that nobody asked for are wanted.
    SetAsync(AsyncConfig),
    /// Opens, closes, commits or discards a bundle; or says that this was done.
    BundleControl(BundleControl),
    /// Puts a message into a bundle.
    BundleAdd(BundleAdd),
    /// Asks for packet-ins as `NXT_PACKET_IN2` (2) or in the format of the OpenFlow version (0).
    SetPacketInFormat(u32),
    /// Gives this controller an id, to which `controller(id=...)` refers.
    SetControllerId(u16),
    /// Lets a paused packet go on.
    Resume(PacketIn),
    /// Forgets the tracked connections of a zone.
    CtFlushZone(u16),
    /// Forgets the tracked connections with these ends. Open vSwitch 3.1 is the first that can.
    CtFlush(CtFlush),
    /// Changes the mapping of Geneve options to `tun_metadata` fields.
    TlvTableMod(TlvTableCommand),
    /// Asks for that mapping.
    TlvTableRequest,
    /// That mapping.
    TlvTableReply(TlvTable),
    /// A message of another type.
    Other {
        /// The type.
        kind: u8,
        /// All after the header.
        body: Vec<u8>,
    },
}

mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const FLOW_REMOVED: u8 = 11;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
    pub(super) const GROUP_MOD: u8 = 15;
    pub(super) const MULTIPART_REQUEST: u8 = 18;
    pub(super) const MULTIPART_REPLY: u8 = 19;
    pub(super) const BARRIER_REQUEST: u8 = 20;
    pub(super) const BARRIER_REPLY: u8 = 21;
    pub(super) const ROLE_REQUEST: u8 = 24;
    pub(super) const ROLE_REPLY: u8 = 25;
    pub(super) const SET_ASYNC: u8 = 28;
    pub(super) const METER_MOD: u8 = 29;
    pub(super) const BUNDLE_CONTROL: u8 = 33;
    pub(super) const BUNDLE_ADD: u8 = 34;
}

impl Message {
    /// Appends the message with its header. A message longer than 65,535 bytes has a wrong length; no message that
    /// Weft builds comes near, as the parts that can grow (packets, actions, userdata) have limits of their own.
    pub fn encode(&self, xid: Xid, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(VERSION);
        out.put_u8(self.kind());
        out.put_u16(0);
        out.put_u32(xid);
        self.encode_body(xid, out);
        out.put_len(start, start + 2);
    }

    /// Reads one whole message.
    pub fn decode(bytes: &[u8]) -> Result<(Xid, Message), DecodeError> {
        decode_nested(bytes, 0)
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Hello { .. } => kind::HELLO,
            Message::Error(_) => kind::ERROR,
            Message::EchoRequest(_) => kind::ECHO_REQUEST,
            Message::EchoReply(_) => kind::ECHO_REPLY,
            Message::FeaturesRequest => kind::FEATURES_REQUEST,
            Message::FeaturesReply(_) => kind::FEATURES_REPLY,
            Message::GetConfigRequest => kind::GET_CONFIG_REQUEST,
            Message::GetConfigReply(_) => kind::GET_CONFIG_REPLY,
            Message::SetConfig(_) => kind::SET_CONFIG,
            Message::FlowRemoved(_) => kind::FLOW_REMOVED,
            Message::PortStatus(_) => kind::PORT_STATUS,
            Message::PacketOut(_) => kind::PACKET_OUT,
            Message::FlowMod(_) => kind::FLOW_MOD,
            Message::GroupMod(_) => kind::GROUP_MOD,
            Message::MeterMod(_) => kind::METER_MOD,
            Message::MultipartRequest(_) => kind::MULTIPART_REQUEST,
            Message::MultipartReply(_) => kind::MULTIPART_REPLY,
            Message::BarrierRequest => kind::BARRIER_REQUEST,
            Message::BarrierReply => kind::BARRIER_REPLY,
            Message::RoleRequest(_) => kind::ROLE_REQUEST,
            Message::RoleReply(_) => kind::ROLE_REPLY,
            Message::SetAsync(_) => kind::SET_ASYNC,
            Message::BundleControl(_) => kind::BUNDLE_CONTROL,
            Message::BundleAdd(_) => kind::BUNDLE_ADD,
            Message::PacketIn(_)
            | Message::SetPacketInFormat(_)
            | Message::SetControllerId(_)
            | Message::Resume(_)
            | Message::CtFlushZone(_)
            | Message::CtFlush(_)
            | Message::TlvTableMod(_)
            | Message::TlvTableRequest
            | Message::TlvTableReply(_) => kind::EXPERIMENTER,
            Message::Other { kind, .. } => *kind,
        }
    }

    fn encode_body(&self, xid: Xid, out: &mut Vec<u8>) {
        match self {
            Message::Hello { versions } => {
                out.put_u16(HELLO_VERSION_BITMAP);
                out.put_u16(8);
                out.put_u32(*versions);
            }
            Message::Error(e) => e.encode(out),
            Message::EchoRequest(data) | Message::EchoReply(data) => out.extend_from_slice(data),
            Message::FeaturesRequest
            | Message::GetConfigRequest
            | Message::BarrierRequest
            | Message::BarrierReply => {}
            Message::FeaturesReply(f) => f.encode(out),
            Message::GetConfigReply(c) | Message::SetConfig(c) => c.encode(out),
            Message::FlowRemoved(f) => f.encode(out),
            Message::PortStatus(p) => p.encode(out),
            Message::PacketOut(p) => p.encode(out),
            Message::FlowMod(f) => f.encode(out),
            Message::GroupMod(g) => g.encode(out),
            Message::MeterMod(m) => m.encode(out),
            Message::MultipartRequest(m) => m.encode(out),
            Message::MultipartReply(m) => m.encode(out),
            Message::RoleRequest(r) | Message::RoleReply(r) => r.encode(out),
            Message::SetAsync(a) => a.encode(out),
            Message::BundleControl(b) => b.encode(out),
            Message::BundleAdd(b) => b.encode(xid, out),
            Message::PacketIn(p) => nicira::encode(out, nicira::PACKET_IN2, |out| p.encode(out)),
            Message::Resume(p) => nicira::encode(out, nicira::RESUME, |out| p.encode(out)),
            Message::SetPacketInFormat(f) => {
                nicira::encode(out, nicira::SET_PACKET_IN_FORMAT, |out| out.put_u32(*f));
            }
            Message::SetControllerId(id) => nicira::encode(out, nicira::SET_CONTROLLER_ID, |out| {
                out.put_zeros(6);
                out.put_u16(*id);
            }),
            Message::CtFlushZone(zone) => nicira::encode(out, nicira::CT_FLUSH_ZONE, |out| {
                out.put_zeros(6);
                out.put_u16(*zone);
            }),
            Message::CtFlush(flush) => {
                nicira::encode(out, nicira::CT_FLUSH, |out| flush.encode(out));
            }
            Message::TlvTableMod(m) => {
                nicira::encode(out, nicira::TLV_TABLE_MOD, |out| m.encode(out));
            }
            Message::TlvTableRequest => nicira::encode(out, nicira::TLV_TABLE_REQUEST, |_| ()),
            Message::TlvTableReply(t) => {
                nicira::encode(out, nicira::TLV_TABLE_REPLY, |out| t.encode(out));
            }
            Message::Other { body, .. } => out.extend_from_slice(body),
        }
    }
}

const HELLO_VERSION_BITMAP: u16 = 1;

/// `depth` is 1 for a message within a bundle-add, which may not contain another.
fn decode_nested(bytes: &[u8], depth: u8) -> Result<(Xid, Message), DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.u8("version")?;
    let kind = r.u8("message type")?;
    let length = usize::from(r.u16("message length")?);
    let xid = r.u32("xid")?;
    if length != bytes.len() {
        return Err(DecodeError::Length {
            what: "message",
            length,
        });
    }
    // Hello and the error that refuses it may come in any version.
    if version != VERSION && !matches!(kind, kind::HELLO | kind::ERROR) {
        return Err(DecodeError::Unknown {
            what: "OpenFlow version",
            value: u64::from(version),
        });
    }
    let message = match kind {
        kind::HELLO => Message::Hello {
            versions: hello_versions(version, r)?,
        },
        kind::ERROR => Message::Error(ErrorMessage::decode(r)?),
        kind::ECHO_REQUEST => Message::EchoRequest(r.rest().to_vec()),
        kind::ECHO_REPLY => Message::EchoReply(r.rest().to_vec()),
        kind::FEATURES_REQUEST => Message::FeaturesRequest,
        kind::FEATURES_REPLY => Message::FeaturesReply(Features::decode(r)?),
        kind::GET_CONFIG_REQUEST => Message::GetConfigRequest,
        kind::GET_CONFIG_REPLY => Message::GetConfigReply(SwitchConfig::decode(r)?),
        kind::SET_CONFIG => Message::SetConfig(SwitchConfig::decode(r)?),
        kind::FLOW_REMOVED => Message::FlowRemoved(FlowRemoved::decode(r)?),
        kind::PORT_STATUS => Message::PortStatus(PortStatus::decode(r)?),
        kind::PACKET_OUT => Message::PacketOut(PacketOut::decode(r)?),
        kind::FLOW_MOD => Message::FlowMod(FlowMod::decode(r)?),
        kind::GROUP_MOD => Message::GroupMod(GroupMod::decode(r)?),
        kind::METER_MOD => Message::MeterMod(MeterMod::decode(r)?),
        kind::MULTIPART_REQUEST => Message::MultipartRequest(MultipartRequest::decode(r)?),
        kind::MULTIPART_REPLY => Message::MultipartReply(MultipartReply::decode(r)?),
        kind::BARRIER_REQUEST => Message::BarrierRequest,
        kind::BARRIER_REPLY => Message::BarrierReply,
        kind::ROLE_REQUEST => Message::RoleRequest(RoleState::decode(r)?),
        kind::ROLE_REPLY => Message::RoleReply(RoleState::decode(r)?),
        kind::SET_ASYNC => Message::SetAsync(AsyncConfig::decode(r)?),
        kind::BUNDLE_CONTROL => Message::BundleControl(BundleControl::decode(r)?),
        kind::BUNDLE_ADD if depth == 0 => Message::BundleAdd(BundleAdd::decode(r)?),
        kind::EXPERIMENTER => experimenter(r)?,
        _ => Message::Other {
            kind,
            body: r.rest().to_vec(),
        },
    };
    Ok((xid, message))
}

/// The versions in a hello: those of its bitmap, or without one all up to its own.
fn hello_versions(version: u8, mut r: Reader<'_>) -> Result<u32, DecodeError> {
    while r.len() >= 4 {
        let kind = r.u16("hello element")?;
        let length = usize::from(r.u16("hello element")?);
        let body = length.checked_sub(4).ok_or(DecodeError::Length {
            what: "hello element",
            length,
        })?;
        let mut element = r.sub(body, "hello element")?;
        if kind == HELLO_VERSION_BITMAP {
            return element.u32("version bitmap");
        }
        let padding = length.next_multiple_of(8) - length;
        r.skip(padding.min(r.len()), "hello element")?;
    }
    Ok(u32::MAX >> (31 - u32::from(version.min(31))))
}

fn experimenter(mut r: Reader<'_>) -> Result<Message, DecodeError> {
    let whole = r.clone();
    let vendor = r.u32("experimenter")?;
    let subtype = r.u32("experimenter type")?;
    if vendor != NICIRA {
        return Ok(Message::Other {
            kind: kind::EXPERIMENTER,
            body: whole.rest().to_vec(),
        });
    }
    Ok(match subtype {
        nicira::PACKET_IN2 => Message::PacketIn(PacketIn::decode(r)?),
        nicira::RESUME => Message::Resume(PacketIn::decode(r)?),
        nicira::SET_PACKET_IN_FORMAT => Message::SetPacketInFormat(r.u32("packet-in format")?),
        nicira::SET_CONTROLLER_ID => {
            r.skip(6, "controller id")?;
            Message::SetControllerId(r.u16("controller id")?)
        }
        nicira::CT_FLUSH_ZONE => {
            r.skip(6, "flush zone")?;
            Message::CtFlushZone(r.u16("flush zone")?)
        }
        nicira::CT_FLUSH => Message::CtFlush(CtFlush::decode(r)?),
        nicira::TLV_TABLE_MOD => Message::TlvTableMod(TlvTableCommand::decode(r)?),
        nicira::TLV_TABLE_REQUEST => Message::TlvTableRequest,
        nicira::TLV_TABLE_REPLY => Message::TlvTableReply(TlvTable::decode(r)?),
        _ => Message::Other {
            kind: kind::EXPERIMENTER,
            body: whole.rest().to_vec(),
        },
    })
}

#[cfg(test)]
mod tests;
