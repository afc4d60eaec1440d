//! Packets that flows send to the agent: what is answered, learned, or sent on.
//!
//! Flows are computed elsewhere and never wait for this. A packet comes with userdata that say what the flow wants of
//! it ([`packet::userdata`]); [`handle`] turns it into [`Effect`]s and knows nothing else: no socket, no clock, no
//! state. One file a family of opcodes:
//!
//! | opcodes | file | effect |
//! | --- | --- | --- |
//! | `put_dhcp_opts` | [`dhcp4`] | the request goes on as a reply, a register bit says whether |
//! | `put_fdb`, `put_arp`, `put_nd` | [`learn`] | a row in the southbound |
//! | `arp`, `nd_na`, `icmp4`, `icmp6`, `tcp_reset`, `reject` | [`transform`] | another packet, on which the flow's actions are done |
//! | all others | here | a packet that waits goes on as it is |
//!
//! [`PinControl`] stands before it and sees to it that nobody starves anybody: packets wait in [`queue::FairQueue`], a
//! short queue for every logical port and kind of work, and are taken in turn. A port that floods fills its own queue.
//! What handlers need to know of the southbound is in [`southbound::Southbound`].

pub mod dhcp4;
pub mod learn;
pub mod queue;
mod recent;
pub mod southbound;
pub mod transform;

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use openflow::message::{PacketIn, PacketOut};
use openflow::{Field, Match, Subfield};
use ovsdb::{Operation, Uuid};
use packet::frame::FrameError;
use packet::userdata::{Opcode, UserdataError};

use queue::FairQueue;
use recent::Recent;

/// How many packets are handled before the agent looks after its other work.
const BATCH: usize = 64;

/// The time, which a handler is told and does not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the Unix epoch: what timestamps in the southbound mean.
    pub unix_ms: i64,
}

/// What handlers ask of the southbound.
pub trait Context {
    /// The logical port with this key in the datapath with that key: its name, and the datapath's row.
    fn port(&self, datapath: u32, port: u32) -> Option<(Arc<str>, Uuid)>;
    /// The row of `FDB` for an address in a datapath, and the port key in it.
    fn fdb(&self, datapath: u32, mac: Mac) -> Option<(Uuid, i64)>;
    /// The row of `MAC_Binding` for an address behind a logical port, and the MAC address in it.
    fn mac_binding(&self, port: &str, ip: IpAddr) -> Option<(Uuid, Arc<str>)>;
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Let the paused packet go on, perhaps changed: `NXT_RESUME`.
    Resume(PacketIn),
    /// Send a packet through actions.
    PacketOut(PacketOut),
    /// Change the southbound, in a transaction of its own: if it fails, because another chassis was faster, that is all
    /// right, and the next packet tries again.
    Write(Vec<Operation>),
    /// Tell the log, at debugging level: guests can cause this at will.
    Note(String),
}

/// Why a packet came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The agent does not know (yet) how to do what the flow wants.
    #[error("{0:?} is not supported")]
    Unsupported(Opcode),
    /// The flow's userdata make no sense.
    #[error(transparent)]
    Userdata(#[from] UserdataError),
    /// The actions in the flow's userdata make no sense.
    #[error("actions in userdata: {0}")]
    Actions(#[from] openflow::DecodeError),
    /// The packet cannot be answered.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The field in which the flow expects an answer is none.
    #[error("the result belongs into bit {bit} of OXM {oxm_header:#x}, which is no such field")]
    Result {
        /// The field's OXM header.
        oxm_header: u32,
        /// The bit.
        bit: u32,
    },
    /// The packet's metadata name a port that the southbound does not have (any more).
    #[error("no port has key {port} in the datapath with key {datapath}")]
    Port {
        /// The datapath's key.
        datapath: u32,
        /// The port's key.
        port: u32,
    },
}

/// Does what a flow wants of a packet.
pub fn handle(now: Now, packet_in: PacketIn, context: &dyn Context) -> Vec<Effect> {
    let mut effects = dispatch(now, &packet_in, context).unwrap_or_else(|error| {
        let flow = packet_in.cookie;
        vec![Effect::Note(format!("packet from flow {flow:#x}: {error}"))]
    });
    // Whatever becomes of it, a packet that waits must go on: without this the switch would never forward it.
    let paused = !packet_in.continuation.is_empty();
    if paused && !effects.iter().any(|e| matches!(e, Effect::Resume(_))) {
        effects.push(Effect::Resume(packet_in));
    }
    effects
}

fn dispatch(
    now: Now,
    packet_in: &PacketIn,
    context: &dyn Context,
) -> Result<Vec<Effect>, HandleError> {
    let (opcode, arguments) = Opcode::split(&packet_in.userdata)?;
    match opcode {
        Opcode::PutDhcpOptions => dhcp4::handle(packet_in, arguments),
        Opcode::PutFdb => learn::fdb(now, packet_in, context),
        Opcode::PutArp => learn::neighbour(now, packet_in, learn::Family::Arp, context),
        Opcode::PutNd => learn::neighbour(now, packet_in, learn::Family::Nd, context),
        Opcode::Arp
        | Opcode::NdNa
        | Opcode::NdNaRouter
        | Opcode::Icmp
        | Opcode::Icmp4Error
        | Opcode::Icmp6Error
        | Opcode::TcpReset
        | Opcode::Reject => transform::handle(opcode, packet_in, arguments),
        // If the flow waits for a result, that stays as it was: no.
        _ => Err(HandleError::Unsupported(opcode)),
    }
}

/// The logical port by which a packet came, and its datapath, as [`packet::userdata`] says: (datapath, port).
fn logical_port(metadata: &Match) -> (u32, u32) {
    (
        value(metadata, Field::Metadata) as u32,
        value(metadata, Field::Reg14) as u32,
    )
}

/// What a field of the metadata holds. What is absent is zero.
fn value(metadata: &Match, field: Field) -> u128 {
    metadata.get(field).map_or(0, |term| term.value)
}

/// The bit of a field in which a flow expects an answer.
fn result_bit(result: packet::userdata::ResultBit) -> Result<Subfield, HandleError> {
    let packet::userdata::ResultBit { oxm_header, bit } = result;
    let (class, number) = ((oxm_header >> 16) as u16, ((oxm_header >> 9) & 0x7f) as u8);
    u16::try_from(bit)
        .ok()
        .and_then(|bit| Subfield::new(Field::from_oxm(class, number)?, bit, 1))
        .ok_or(HandleError::Result { oxm_header, bit })
}

/// Puts an answer where the flow expects it.
fn set_result(metadata: &mut Match, result: Subfield, yes: bool) {
    let others = value_of_registers(metadata, result.field) & !result.mask();
    let answer = if yes { result.mask() } else { 0 };
    metadata.set(result.field, others | answer);
}

/// What a field holds that may lie over several registers, which metadata keep apart.
fn value_of_registers(metadata: &Match, field: Field) -> u128 {
    match field.overlaid_regs() {
        [] => value(metadata, field),
        registers => registers
            .iter()
            .fold(0, |all, &register| all << 32 | value(metadata, register)),
    }
}

/// What kinds of work wait apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    /// A guest waits for its address.
    Dhcp,
    /// Something is to be remembered.
    Learn,
    /// All else.
    Other,
}

/// Packets that wait, and their fair turn.
#[derive(Debug)]
pub struct PinControl {
    queue: FairQueue<(Work, u32, u32), PacketIn>,
    recent: Recent,
}

impl Default for PinControl {
    fn default() -> Self {
        Self {
            queue: FairQueue::new(queue::Limits::default()),
            recent: Recent::default(),
        }
    }
}

impl PinControl {
    /// A packet came from the switch. If its port has too many waiting already, it is dropped.
    pub fn receive(&mut self, packet_in: PacketIn) {
        let work = match Opcode::split(&packet_in.userdata) {
            Ok((Opcode::PutDhcpOptions | Opcode::PutDhcp6Options, _)) => Work::Dhcp,
            Ok((Opcode::PutFdb | Opcode::PutArp | Opcode::PutNd, _)) => Work::Learn,
            _ => Work::Other,
        };
        let (datapath, port) = logical_port(&packet_in.metadata);
        self.queue.push((work, datapath, port), packet_in);
    }

    /// Whether packets wait.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many packets were dropped so far because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Handles some of the packets that wait, each port's in turn.
    pub fn run(&mut self, now: Now, context: &dyn Context) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..BATCH {
            let Some(packet_in) = self.queue.pop() else {
                break;
            };
            let handled = handle(now, packet_in, context).into_iter();
            effects.extend(handled.filter(|effect| !self.recent.repeats(now, effect)));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
