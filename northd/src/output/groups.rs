//! Rows that consist of members: multicast groups and datapath groups.
//!
//! Units say that a row is a member; nobody ever says the whole list. A group exists while it has members, and what is
//! written is the difference.

use addr::PortKey;
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum};
use sb_db::tables::{LogicalDpGroup, MulticastGroup};
use uuid::Uuid;

use super::identity;
use super::rows::{NaturalKey, OutTable};
use crate::compiler::digest;

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupId {
    /// Ports of a datapath, named by the datapath's row.
    Multicast(Uuid, Multicast),
    /// Datapaths that share flows.
    Datapaths(Scope),
}

/// The multicast groups that every switch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Multicast {
    /// Every enabled port.
    Flood,
    /// The enabled ports that take unknown addresses.
    Unknown,
}

/// What datapaths have in common.
///
/// A scope is a property that a datapath keeps while it lives: a controller looks at a datapath's groups when the datapath
/// becomes local to it, and is not told of later changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Being a switch.
    Switches,
}

impl Multicast {
    /// The name in matches and actions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "_MC_flood",
            Self::Unknown => "_MC_unknown",
        }
    }

    /// The key on the wire.
    pub const fn key(self) -> PortKey {
        match self {
            Self::Flood => PortKey::FLOOD,
            Self::Unknown => PortKey::UNKNOWN,
        }
    }
}

impl GroupId {
    /// The table of the group's row.
    pub fn table(self) -> OutTable {
        match self {
            Self::Multicast(..) => OutTable::Multicast,
            Self::Datapaths(_) => OutTable::DatapathGroup,
        }
    }

    /// The UUID of the group's row, unless one is known under its natural key.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Multicast(datapath, group) => {
                identity::named(MulticastGroup::NAME, datapath, group.name())
            }
            Self::Datapaths(Scope::Switches) => {
                identity::named(LogicalDpGroup::NAME, Uuid::nil(), "switches")
            }
        }
    }

    /// What a row of this group that is already there is known by.
    pub fn natural_key(self) -> Option<NaturalKey> {
        match self {
            Self::Multicast(datapath, group) => Some(NaturalKey {
                table: OutTable::Multicast,
                scope: datapath,
                name: digest(group.name()),
            }),
            Self::Datapaths(_) => None,
        }
    }

    /// The columns of the row.
    pub fn columns(self, members: &[Uuid]) -> Vec<(usize, Datum)> {
        let members = Datum::set(members.iter().map(|member| Atom::Uuid(*member)));
        match self {
            Self::Multicast(datapath, group) => {
                let column = MulticastGroup::COLUMN;
                vec![
                    column.datapath.to(&datapath),
                    (column.name.index, Datum::from(group.name())),
                    column.tunnel_key.to(&i64::from(group.key().get())),
                    (column.ports.index, members),
                ]
            }
            Self::Datapaths(_) => vec![(LogicalDpGroup::COLUMN.datapaths.index, members)],
        }
    }
}
