//! What a flow does with a packet.
//!
//! [`Action`] has the actions that Open vSwitch 2.17 and later know under OpenFlow 1.5 and that a virtual network needs. An empty
//! list of actions drops. `encode` and `decode` are in their own files; text is in ovs-actions(7)'s syntax.
//!
//! | from | actions |
//! | --- | --- |
//! | OpenFlow 1.5.1 section 7.2.6 | output, push and pop VLAN, set queue, group, dec TTL, set field, copy field, meter |
//! | Nicira's extensions (ovs-actions(7)) | all others |

mod decode;
mod display;
mod encode;
mod wire_numbers;

pub use decode::decode_actions;
pub(crate) use decode::property;
pub use display::Actions;
pub use encode::encode_actions;
pub(crate) use wire_numbers::NICIRA;

use std::net::IpAddr;

use crate::{Field, Port, Subfield};

/// One step in the treatment of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Sends the packet out of a port.
    Output {
        /// The port.
        port: Port,
        /// For [`Port::CONTROLLER`] how many bytes of the packet are sent; 0 otherwise.
        max_len: u16,
    },
    /// Sends the packet out of the port whose number the bits hold.
    OutputReg {
        /// The bits.
        port: Subfield,
        /// As in `Output`.
        max_len: u16,
    },
    /// Sends the packet to the controller, with more said about it than `Output` can.
    Controller(Box<Controller>),
    /// Writes bits of a field: `field = (field & !mask) | value`.
    SetField {
        /// The field.
        field: Field,
        /// The bits; none outside the mask.
        value: u128,
        /// The bits that are written; not zero.
        mask: u128,
    },
    /// Copies bits from one field to another.
    Move {
        /// Where from.
        src: Subfield,
        /// Where to; as wide as `src`.
        dst: Subfield,
    },
    /// Pushes bits on the packet's stack.
    Push(Subfield),
    /// Pops bits from the packet's stack.
    Pop(Subfield),
    /// Looks the packet up in a table, does what is found there, and comes back.
    Resubmit {
        /// The `in_port` during the look-up; `None` for the current one.
        in_port: Option<Port>,
        /// The table; `None` for the current one.
        table: Option<u8>,
        /// Swap the connection's tuple with the packet's for the look-up (ovs-actions(7), `resubmit(...,ct)`).
        ct: bool,
    },
    /// Does the actions on a copy of the packet and its metadata.
    Clone(Vec<Action>),
    /// Sends the packet through connection tracking.
    Ct(Box<Ct>),
    /// Address translation; only among the actions of [`Ct`].
    Nat(Box<Nat>),
    /// Forgets what connection tracking said.
    CtClear,
    /// Pushes an empty VLAN header.
    PushVlan {
        /// 0x8100 or 0x88a8.
        ethertype: u16,
    },
    /// Takes the outermost VLAN header off.
    PopVlan,
    /// Does a group's actions.
    Group(u32),
    /// Drops the packet, or not, as a meter says.
    Meter(u32),
    /// Chooses the queue for later output.
    SetQueue(u32),
    /// Tells collectors of the packet (NXAST_SAMPLE).
    Sample {
        /// How many of 65535 packets, at least 1.
        probability: u16,
        /// The switch's `Flow_Sample_Collector_Set.id`.
        collector_set: u32,
        /// The observation domain that collectors see.
        obs_domain: u32,
        /// The observation point that collectors see.
        obs_point: u32,
    },
    /// Counts the TTL down; a packet whose TTL is then 0 goes to the controllers and no further.
    DecTtl,
    /// Makes a flow from the packet.
    Learn(Box<Learn>),
    /// Nothing; bytes for whoever reads the flow.
    Note(Vec<u8>),
    /// Says that one dimension of a conjunctive match is met; no other action stands beside it but notes.
    Conjunction {
        /// The value of `conj_id` in the flow that needs all dimensions.
        id: u32,
        /// This dimension, from 0.
        clause: u8,
        /// How many dimensions there are, 2 to 64.
        n_clauses: u8,
    },
    /// Sets a bit to whether the packet is longer than a number of bytes, Ethernet header included.
    CheckPktLarger {
        /// The number.
        packet_len: u16,
        /// The bit.
        dst: Subfield,
    },
}

/// `controller(...)` with all its options (ovs-actions(7)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Controller {
    /// How many bytes of the packet are sent; 0xffff for all.
    pub max_len: u16,
    /// Which controller, by the id that it gave itself; 0 for all that gave none.
    pub controller_id: u16,
    /// The reason in the packet-in.
    pub reason: PacketInReason,
    /// Bytes returned in the packet-in.
    pub userdata: Vec<u8>,
    /// Freeze the pipeline; the controller continues it with the packet-in's continuation.
    pub pause: bool,
    /// The meter that limits the packet-ins. `None` takes the switch's controller meter, if there is one.
    pub meter_id: Option<u32>,
}

impl Default for Controller {
    fn default() -> Self {
        Controller {
            max_len: u16::MAX,
            controller_id: 0,
            reason: PacketInReason::Action,
            userdata: Vec::new(),
            pause: false,
            meter_id: None,
        }
    }
}

/// Why a packet was sent to the controller (OpenFlow 1.5.1 section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PacketInReason {
    /// No flow matched.
    TableMiss,
    /// A flow's apply-actions said so.
    Action,
    /// The TTL ran out.
    InvalidTtl,
    /// The action set said so.
    ActionSet,
    /// A group bucket said so.
    Group,
    /// A packet-out said so.
    PacketOut,
}

impl PacketInReason {
    /// The number on the wire.
    pub fn to_wire(self) -> u8 {
        match self {
            PacketInReason::TableMiss => 0,
            PacketInReason::Action => 1,
            PacketInReason::InvalidTtl => 2,
            PacketInReason::ActionSet => 3,
            PacketInReason::Group => 4,
            PacketInReason::PacketOut => 5,
        }
    }

    /// The reason with a number on the wire.
    pub fn from_wire(n: u8) -> Option<Self> {
        [
            PacketInReason::TableMiss,
            PacketInReason::Action,
            PacketInReason::InvalidTtl,
            PacketInReason::ActionSet,
            PacketInReason::Group,
            PacketInReason::PacketOut,
        ]
        .get(usize::from(n))
        .copied()
    }
}

/// `ct(...)`: connection tracking.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ct {
    /// Enter the connection in the table for good.
    pub commit: bool,
    /// Replace a connection of the other direction; only with `commit`.
    pub force: bool,
    /// The zone.
    pub zone: CtZone,
    /// After tracking, go on here with a copy of the packet; `None` does not go on.
    pub table: Option<u8>,
    /// The port of the protocol whose payload is inspected: 21 for FTP, 69 for TFTP; 0 for none.
    pub alg: u16,
    /// Done on the connection: [`Action::Nat`], and `SetField` and `Move` to `ct_mark` and `ct_label`.
    pub exec: Vec<Action>,
}

/// Where a connection tracking zone comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CtZone {
    /// A number.
    Imm(u16),
    /// The 16 bits of a field.
    Field(Subfield),
}

/// `nat(...)` within `ct(...)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nat {
    /// What is translated; `None` does to the packet what was decided for its connection.
    pub kind: Option<NatKind>,
    /// The same address after a restart of the system.
    pub persistent: bool,
    /// Choose the port by a hash.
    pub hash: bool,
    /// Choose the port at random.
    pub random: bool,
    /// The lowest and highest address, of one family; equal for a single one.
    pub addrs: Option<(IpAddr, IpAddr)>,
    /// The lowest and highest port; equal for a single one.
    pub ports: Option<(u16, u16)>,
}

/// Which address of a packet is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NatKind {
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// `learn(...)`: the flow that is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Learn {
    /// Seconds without packets until it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 for never.
    pub hard_timeout: u16,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Its table.
    pub table: u8,
    /// Tell the controllers when it goes.
    pub send_flow_removed: bool,
    /// It goes with the flow that learned it.
    pub delete_learned: bool,
    /// Idle timeout after a TCP FIN or RST; 0 for no change.
    pub fin_idle_timeout: u16,
    /// Hard timeout after a TCP FIN or RST; 0 for no change.
    pub fin_hard_timeout: u16,
    /// How many flows may be learned; 0 for any number. Where the number is reached, no flow is made.
    pub limit: u32,
    /// The bit that tells whether the flow was made; only with a limit.
    pub result: Option<Subfield>,
    /// What it matches and does.
    pub specs: Vec<LearnSpec>,
}

/// One part of a learned flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LearnSpec {
    /// The flow matches: bits of a field equal the value that `src` has now.
    Match {
        /// The value.
        src: LearnSource,
        /// The bits.
        dst: Subfield,
    },
    /// The flow's action: load the value that `src` has now into bits of a field.
    Load {
        /// The value.
        src: LearnSource,
        /// The bits.
        dst: Subfield,
    },
    /// The flow's action: output to the port that the bits hold now.
    Output(Subfield),
}

/// A value for a learned flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LearnSource {
    /// Bits of the packet that is learned from.
    Field(Subfield),
    /// A constant, as wide as its destination.
    Imm(u128),
}

impl Action {
    /// Output to a port, whole packet.
    pub fn output(port: Port) -> Action {
        Action::Output { port, max_len: 0 }
    }

    /// Writes all of a field.
    pub fn set(field: Field, value: impl Into<u128>) -> Action {
        Action::set_masked(field, value, field.full_mask())
    }

    /// Writes bits of a field.
    pub fn set_masked(field: Field, value: impl Into<u128>, mask: impl Into<u128>) -> Action {
        let mask = mask.into() & field.full_mask();
        Action::SetField {
            field,
            value: value.into() & mask,
            mask,
        }
    }

    /// Writes a number into a run of bits.
    pub fn load(dst: Subfield, value: impl Into<u128>) -> Action {
        Action::set_masked(dst.field, value.into() << dst.offset, dst.mask())
    }

    /// Looks up in another table, with the current input port.
    pub fn resubmit(table: u8) -> Action {
        Action::Resubmit {
            in_port: None,
            table: Some(table),
            ct: false,
        }
    }
}

/// How deep actions may be nested, in `clone` and `ct`.
pub const MAX_NESTING: u8 = 16;

#[cfg(test)]
mod tests;
