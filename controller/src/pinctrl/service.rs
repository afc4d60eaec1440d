//! What a packet service is, and what it sees of the world.
//!
//! A service is one file below [`services`](super::services): the southbound's tables that it follows, the opcodes that it
//! takes, its own state, its own deadlines. It does no I/O, asks no clock, and its state is bounded. It may have any of these
//! shapes:
//!
//! | shape | examples | uses |
//! | --- | --- | --- |
//! | a packet becomes an answer | DHCP, DNS, ICMP errors, `reject` | [`Service::packet`], for DNS rows too |
//! | a packet becomes a row | learned addresses, `trigger_event`, `bind_vport`, activation of a moved guest | [`Service::packet`], [`Effect::Write`] |
//! | rows and time become packets | announcements, periodic router advertisements, IGMP and MLD queries | [`Service::changed`], [`Service::tick`] |
//! | a state machine for each peer | BFD, service monitors, prefix delegation, IGMP and MLD groups | all of them |
//! | packets wait for a row | packets whose next hop is being resolved | [`Service::packet`], then [`Service::changed`] or [`Service::tick`] |

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use addr::Mac;
use daemon::Now;
use openflow::message::{PacketIn, PacketOut};
use ovsdb::{Operation, RowChange, Uuid};
use packet::frame::FrameError;
use packet::userdata::{Opcode, UserdataError};
use sb_db::tables::PortBinding;

use crate::network::{Datapath, PortKind};
use crate::settings::Settings;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Let the paused packet go on, perhaps changed: `NXT_RESUME`.
    Resume(PacketIn),
    /// The paused packet does not go on: the service keeps it, or nothing is to become of it.
    Keep,
    /// Send a packet through actions.
    PacketOut(PacketOut),
    /// Change the southbound, so that the row with this identity says something; of two wishes for one row the later counts. If it
    /// is refused, because another chassis was faster, that is all right. A service that must know looks at what its rows say.
    Write(Uuid, Vec<Operation>),
    /// The guest of this port, which is here in addition to its main chassis, has spoken: it may send and receive from now on.
    Activate(Uuid),
    /// What was learned in this row is heard of again, and the row is being told: who speaks counts as known until then.
    Refreshed(Uuid),
    /// Tell the log what a rule has seen. How often is for the meter of its flow to say.
    Log(String),
    /// Tell the log, as a warning: it happens a bounded number of times.
    Warn(String),
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
    /// Who sent the packet says to have the router's own address.
    #[error("{mac} claims {ip}, which is {port}'s own")]
    Forged {
        /// The sender.
        mac: Mac,
        /// The address.
        ip: IpAddr,
        /// The router's port.
        port: Arc<str>,
    },
}

impl HandleError {
    /// The number of the opcode, if nobody serves it.
    pub fn unserved(&self) -> Option<u32> {
        match self {
            HandleError::Unsupported(opcode) => Some(opcode.code()),
            HandleError::Userdata(UserdataError::Opcode(number)) => Some(*number),
            _ => None,
        }
    }
}

/// What services ask of the world. All of it is what is known now, and none of it costs more than a look-up.
pub trait View {
    /// This chassis' row, once it is there.
    fn own(&self) -> Option<Uuid>;
    /// What the local database says about this chassis.
    fn settings(&self) -> Option<&Settings>;
    /// A port's row.
    fn port(&self, uuid: Uuid) -> Option<&Arc<PortBinding>>;
    /// The port with this key in the datapath with that key.
    fn port_keyed(&self, datapath: u32, port: u32) -> Option<&Arc<PortBinding>>;
    /// The port of this name.
    fn port_named(&self, name: &str) -> Option<&Arc<PortBinding>>;
    /// Whether a datapath is local: reachable from ports that are here.
    fn is_local(&self, datapath: Uuid) -> bool;
    /// A datapath.
    fn datapath(&self, uuid: Uuid) -> Option<&Datapath>;
    /// Whether a datapath reaches a physical network by a localnet port that is attached here.
    fn has_localnet(&self, datapath: Uuid) -> bool;
    /// Whether the port of this name is on this chassis.
    fn is_here(&self, name: &str) -> bool;
    /// Whether this chassis alone has a router's port: as its gateway, or with the router.
    fn has_alone(&self, port: &PortBinding) -> bool {
        match port.options.get("chassis-redirect-port") {
            Some(redirect) => self.is_here(redirect),
            None => {
                let is_gateway = PortKind::of(port) == PortKind::L3Gateway;
                is_gateway && self.own().is_some() && port.chassis == self.own()
            }
        }
    }
    /// Whether the port of this name is claimed by another chassis that may be alive.
    fn is_served_elsewhere(&self, name: &str) -> bool;
    /// Sends a packet straight to a port, through its datapath's egress pipeline. `None` while the port's datapath is not known.
    fn packet_to(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut>;
    /// Sends a packet as if it had come from a port, into the datapath's pipeline. `None` while the port's datapath is not known.
    fn packet_from(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut>;
    /// Sends a packet that came by the port with key `from` on to ports and groups of its datapath, by their keys, wherever they
    /// are; not back. `None` while the datapath is not known.
    fn packet_onward(
        &self,
        datapath: Uuid,
        from: u32,
        to: &[u32],
        packet: Vec<u8>,
    ) -> Option<PacketOut>;
    /// Sends a packet to all ports of a datapath on this chassis that lead to no router. `None` while the datapath is not known.
    fn packet_to_all(&self, datapath: Uuid, packet: Vec<u8>) -> Option<PacketOut>;
}

/// Something that services may have to know.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A row of one of [`Service::tables`] changed.
    Row(&'a RowChange),
    /// A logical port was attached here, or to something else than before, or detached.
    Attachment(Uuid),
    /// The settings changed.
    Settings,
}

/// A packet that a flow sent, with what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What the flow wants.
    pub opcode: Opcode,
    /// What follows the opcode in the userdata.
    pub arguments: &'a [u8],
    /// The packet itself.
    pub packet_in: &'a PacketIn,
}

/// A packet service. See the module's documentation.
pub trait Service: Debug {
    /// What it takes. No two services take one opcode.
    fn opcodes(&self) -> &'static [Opcode];

    /// The southbound's tables, by index, of whose changes it wants to hear.
    fn tables(&self) -> &'static [usize] {
        &[]
    }

    /// Something changed; `view` shows the world after it.
    fn changed(
        &mut self,
        now: Now,
        change: Change<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        let _ = (now, change, view, effects);
    }

    /// A packet came. Whatever becomes of it, a paused packet that no effect resumes or keeps goes on as it is.
    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let _ = (now, view, effects);
        Err(HandleError::Unsupported(packet.opcode))
    }

    /// Its deadline has come. It does a bounded part of what is due; while more is, the deadline stays in the past.
    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        let _ = (now, view, effects);
    }

    /// What it calls packets that it had kept and that came to nothing, and how many there were so far.
    fn dropped(&self) -> Option<(&'static str, u64)> {
        None
    }

    /// When [`Service::tick`] is to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}
