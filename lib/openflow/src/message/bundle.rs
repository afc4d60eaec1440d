//! Bundles: messages that take effect together or not at all (OpenFlow 1.5.1 section 7.3.9).

use super::{Message, Xid, decode_nested};
use crate::DecodeError;
use crate::wire::{Put, Reader};

/// What is done to a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleOp {
    /// Begin it.
    Open,
    /// No more messages.
    Close,
    /// Apply its messages.
    Commit,
    /// Forget its messages.
    Discard,
}

impl BundleOp {
    const ALL: [BundleOp; 4] = [
        BundleOp::Open,
        BundleOp::Close,
        BundleOp::Commit,
        BundleOp::Discard,
    ];
}

/// What a bundle promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleKind {
    /// All messages take effect or none.
    pub atomic: bool,
    /// They take effect in the order in which they were added.
    pub ordered: bool,
}

impl BundleKind {
    /// Both. Open vSwitch gives both in any case.
    pub const ATOMIC_ORDERED: BundleKind = BundleKind {
        atomic: true,
        ordered: true,
    };

    fn to_wire(self) -> u16 {
        u16::from(self.atomic) | u16::from(self.ordered) << 1
    }

    fn from_wire(n: u16) -> Self {
        BundleKind {
            atomic: n & 1 != 0,
            ordered: n & 2 != 0,
        }
    }
}

/// Opens, closes, commits or discards a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleControl {
    /// The bundle.
    pub id: u32,
    /// What is done.
    pub op: BundleOp,
    /// It is the switch's answer.
    pub reply: bool,
    /// What the bundle promises.
    pub kind: BundleKind,
}

impl BundleControl {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let op = BundleOp::ALL
            .iter()
            .position(|&o| o == self.op)
            .expect("all operations are listed") as u16;
        out.put_u32(self.id);
        out.put_u16(op * 2 + u16::from(self.reply));
        out.put_u16(self.kind.to_wire());
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let id = r.u32("bundle id")?;
        let n = r.u16("bundle operation")?;
        let op = *BundleOp::ALL
            .get(usize::from(n / 2))
            .ok_or(DecodeError::Unknown {
                what: "bundle operation",
                value: u64::from(n),
            })?;
        let kind = BundleKind::from_wire(r.u16("bundle flags")?);
        Ok(BundleControl {
            id,
            op,
            reply: n % 2 == 1,
            kind,
        })
    }
}

/// Puts a message into a bundle: a flow, group, port or meter change, or a packet-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleAdd {
    /// The bundle.
    pub id: u32,
    /// What the bundle promises; as when it was opened.
    pub kind: BundleKind,
    /// The message.
    pub message: Box<Message>,
}

impl BundleAdd {
    /// The inner message has the xid of the outer one, as the standard wants it.
    pub(super) fn encode(&self, xid: Xid, out: &mut Vec<u8>) {
        out.put_u32(self.id);
        out.put_zeros(2);
        out.put_u16(self.kind.to_wire());
        self.message.encode(xid, out);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let id = r.u32("bundle id")?;
        r.skip(2, "bundle add")?;
        let kind = BundleKind::from_wire(r.u16("bundle flags")?);
        let (_, message) = decode_nested(r.rest(), 1)?;
        Ok(BundleAdd {
            id,
            kind,
            message: Box::new(message),
        })
    }
}
