//! Packets to and from the controller.

use crate::action::{Action, PacketInReason, decode_actions, encode_actions, property};
use crate::wire::{Put, Reader};
use crate::{DecodeError, Match};

/// A packet that the switch sent to the controller, as `NXT_PACKET_IN2`; sent back unchanged but for packet and metadata, as
/// [`Message::Resume`](crate::Message::Resume), it lets a paused packet go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketIn {
    /// The packet, or its beginning.
    pub packet: Vec<u8>,
    /// The length of the whole packet, where `packet` is only its beginning.
    pub full_len: Option<u32>,
    /// The table of the flow that sent it.
    pub table: u8,
    /// The cookie of the flow that sent it.
    pub cookie: u64,
    /// Why it was sent; `None` when the switch does not say.
    pub reason: Option<PacketInReason>,
    /// Input port, registers, tunnel and all other metadata.
    pub metadata: Match,
    /// What the `controller` action had as `userdata`.
    pub userdata: Vec<u8>,
    /// Where to go on, for a paused packet. Opaque.
    pub continuation: Vec<u8>,
}

mod prop {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

impl PacketIn {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, prop::PACKET, |out| out.extend_from_slice(&self.packet));
        if let Some(len) = self.full_len {
            put(out, prop::FULL_LEN, |out| out.put_u32(len));
        }
        put(out, prop::TABLE_ID, |out| out.put_u8(self.table));
        if self.cookie != u64::MAX {
            put(out, prop::COOKIE, |out| {
                out.put_zeros(4);
                out.put_u64(self.cookie);
            });
        }
        if let Some(reason) = self.reason {
            put(out, prop::REASON, |out| out.put_u8(reason.to_wire()));
        }
        put(out, prop::METADATA, |out| self.metadata.encode_oxms(out));
        if !self.userdata.is_empty() {
            put(out, prop::USERDATA, |out| {
                out.extend_from_slice(&self.userdata);
            });
        }
        if !self.continuation.is_empty() {
            // Aligned to 8 bytes within, as the switch made it.
            put(out, prop::CONTINUATION, |out| {
                out.put_zeros(4);
                out.extend_from_slice(&self.continuation);
            });
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let mut p = PacketIn {
            cookie: u64::MAX,
            ..PacketIn::default()
        };
        while !r.is_empty() {
            let (kind, mut body) = property(&mut r)?;
            match kind {
                prop::PACKET => p.packet = body.rest().to_vec(),
                prop::FULL_LEN => p.full_len = Some(body.u32("full length")?),
                prop::TABLE_ID => p.table = body.u8("table id")?,
                prop::COOKIE => {
                    body.skip(4, "cookie")?;
                    p.cookie = body.u64("cookie")?;
                }
                prop::REASON => p.reason = PacketInReason::from_wire(body.u8("reason")?),
                prop::METADATA => p.metadata = Match::decode_known_oxms(body)?,
                prop::USERDATA => p.userdata = body.rest().to_vec(),
                prop::CONTINUATION => {
                    body.skip(4, "continuation")?;
                    p.continuation = body.rest().to_vec();
                }
                _ => {}
            }
        }
        Ok(p)
    }
}

fn put(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    body(out);
    out.put_len(start, start + 2);
    out.pad_to_8(start);
}

/// Sends a packet through actions (OpenFlow 1.5.1 section 7.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    /// `in_port` and whatever metadata the packet shall start with.
    pub metadata: Match,
    /// What is done with it.
    pub actions: Vec<Action>,
    /// The packet.
    pub packet: Vec<u8>,
}

const NO_BUFFER: u32 = u32::MAX;

impl PacketOut {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(NO_BUFFER);
        let len_at = out.len();
        out.put_zeros(4);
        self.metadata.encode(out);
        let start = out.len();
        encode_actions(&self.actions, out);
        out.put_len(start, len_at);
        out.extend_from_slice(&self.packet);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        r.skip(4, "buffer id")?;
        let actions_len = usize::from(r.u16("actions length")?);
        r.skip(2, "packet out")?;
        let metadata = Match::decode(&mut r)?;
        let actions = decode_actions(r.sub(actions_len, "actions")?)?;
        Ok(PacketOut {
            metadata,
            actions,
            packet: r.rest().to_vec(),
        })
    }
}
