//! The names of everything in the compiler: what units read, the units, and what they say.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use ovsdb::Row;
use uuid::Uuid;

use crate::alloc::{Want, WantKey};
use crate::model::{Dhcp4, Port, Problem, Switch};
use crate::output::GroupId;
use crate::output::rows::RowId;

/// Something that a unit reads. Rows are named by their UUIDs; a name or a host name by its [`digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell {
    /// A northbound row as it is.
    NbRow(Source, Uuid),
    /// A southbound row as it is: of those tables that others write and northd reads.
    SbRow(Uuid),
    /// The switches whose `ports` name this port.
    Owners(Uuid),
    /// The ports of this name.
    PortNamed(u64),
    /// The northbound address sets of this name.
    SetNamed(u64),
    /// The chassis of this name or host name.
    ChassisNamed(u64),
    /// A switch that makes sense.
    Switch(Uuid),
    /// A port that makes sense.
    Port(Uuid),
    /// DHCPv4 options that make sense.
    Dhcp4(Uuid),
    /// The identity of a switch southbound.
    Datapath(Uuid),
    /// The identity of a port southbound.
    Binding(Uuid),
    /// The VLAN of a container.
    Tag(Uuid),
    /// The ports of a datapath (by key) that have this MAC.
    MacClaims(u32, Mac),
    /// The ports of a datapath (by key) that have this IP address.
    IpClaims(u32, IpAddr),
    /// Whether a group has members.
    Group(GroupId),
}

/// The northbound tables that are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `Logical_Switch`
    Switch,
    /// `Logical_Switch_Port`
    Port,
    /// `DHCP_Options`
    Dhcp,
    /// `Address_Set`
    AddressSet,
    /// `Port_Group`
    PortGroup,
}

/// A unit of compilation: what is done, and with which northbound row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Reads a row.
    Parse(Source, Uuid),
    /// Asks for a switch's southbound identity.
    SwitchIdentity(Uuid),
    /// Asks for a container's tag.
    Tag(Uuid),
    /// Asks for a port's southbound identity.
    PortIdentity(Uuid),
    /// Says which addresses a port has.
    Claims(Uuid),
    /// A switch's row and flows.
    Switch(Uuid),
    /// A port's row, memberships and flows.
    Port(Uuid),
    /// Whether a port is up.
    PortUp(Uuid),
    /// An address set's copy.
    AddressSet(Uuid),
    /// A port group's copies, by datapath, and its address sets.
    PortGroup(Uuid),
    /// The flows that all datapaths of a group share.
    Shared(GroupId),
}

impl Unit {
    /// The layers: model, datapaths and tags, bindings, claims, switches, ports, shared output. Switches come before their
    /// ports because output may be written while later layers still run, and a port's row refers to its switch's.
    pub const LAYERS: usize = 7;

    /// Where the unit runs.
    pub fn layer(self) -> usize {
        match self {
            Self::Parse(..) => 0,
            Self::SwitchIdentity(_) | Self::Tag(_) => 1,
            Self::PortIdentity(_) => 2,
            Self::Claims(_) => 3,
            Self::Switch(_) | Self::AddressSet(_) => 4,
            Self::Port(_) | Self::PortUp(_) | Self::PortGroup(_) => 5,
            Self::Shared(_) => 6,
        }
    }

    /// What the unit is called in statistics.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Parse(Source::Switch, _) => "model/switch",
            Self::Parse(Source::Port, _) => "model/port",
            Self::Parse(Source::Dhcp, _) => "model/dhcp",
            Self::Parse(Source::AddressSet, _) => "model/address-set",
            Self::Parse(Source::PortGroup, _) => "model/port-group",
            Self::SwitchIdentity(_) => "alloc/switch",
            Self::Tag(_) => "alloc/tag",
            Self::PortIdentity(_) => "alloc/port",
            Self::Claims(_) => "derive/claims",
            Self::Switch(_) => "pipeline/switch",
            Self::Port(_) => "pipeline/port",
            Self::PortUp(_) => "derive/port-up",
            Self::AddressSet(_) => "output/address-set",
            Self::PortGroup(_) => "output/port-group",
            Self::Shared(_) => "pipeline/shared",
        }
    }

    /// The northbound row that it is about, if it is about one.
    pub fn row(self) -> Option<Uuid> {
        match self {
            Self::Parse(_, row)
            | Self::SwitchIdentity(row)
            | Self::Tag(row)
            | Self::PortIdentity(row)
            | Self::Claims(row)
            | Self::Switch(row)
            | Self::Port(row)
            | Self::PortUp(row)
            | Self::AddressSet(row)
            | Self::PortGroup(row) => Some(row),
            Self::Shared(_) => None,
        }
    }
}

/// What units say.
#[derive(Debug)]
pub enum Fact {
    /// A switch makes sense.
    Switch(Uuid, Switch),
    /// A port makes sense.
    Port(Uuid, Arc<Port>),
    /// DHCPv4 options make sense.
    Dhcp4(Uuid, Arc<Dhcp4>),
    /// Something does not.
    Problem(Problem),
    /// An identity or a tag is wanted.
    Want(Want),
    /// A port has an address.
    Claim(Claimed, Claim),
    /// A southbound row that this unit alone writes.
    Row(RowId, Arc<Row>),
    /// A logical flow, named by its content.
    Flow(RowId, Arc<Row>),
    /// A row is in a group.
    Member(GroupId, Uuid),
    /// A port is up, or not.
    Up(Uuid, bool),
}

/// What identifies a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    /// By switch.
    Switch(Uuid),
    /// By port.
    Port(Uuid),
    /// By row.
    Dhcp4(Uuid),
    /// By row and content.
    Problem(Uuid, u64),
    /// By kind and owner.
    Want(WantKey),
    /// By address and owner.
    Claim(Claimed, Claim),
    /// By table and row.
    Row(RowId),
    /// By content.
    Flow(RowId),
    /// By group and member.
    Member(GroupId, Uuid),
    /// By port.
    Up(Uuid),
}

impl Fact {
    /// What identifies this fact.
    pub fn key(&self) -> FactKey {
        match self {
            Self::Switch(row, _) => FactKey::Switch(*row),
            Self::Port(row, _) => FactKey::Port(*row),
            Self::Dhcp4(row, _) => FactKey::Dhcp4(*row),
            Self::Problem(problem) => FactKey::Problem(problem.row, problem.digest()),
            Self::Want(want) => FactKey::Want(want.key()),
            Self::Claim(claimed, claim) => FactKey::Claim(*claimed, *claim),
            Self::Row(id, _) => FactKey::Row(*id),
            Self::Flow(id, _) => FactKey::Flow(*id),
            Self::Member(group, member) => FactKey::Member(*group, *member),
            Self::Up(port, _) => FactKey::Up(*port),
        }
    }
}

impl FactKey {
    /// Whether facts of this key are all equal.
    pub fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Problem(..) | Self::Claim(..) | Self::Flow(_) | Self::Member(..)
        )
    }
}

/// An address in a datapath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claimed {
    /// A MAC.
    Mac(u32, Mac),
    /// An IP address.
    Ip(u32, IpAddr),
}

/// Who has an address. The order decides between several: the lowest tunnel key, the one that was there first, wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The port's tunnel key.
    pub key: u16,
    /// The port.
    pub port: Uuid,
}

/// A name in a cell: names do not fit, and two names with one digest cost an idle run at worst.
pub fn digest(name: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    name.hash(&mut hasher);
    hasher.finish()
}
