//! The southbound tables that northd writes, and their rows.

use std::sync::Arc;

use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Datum, Row};
use sb_db::tables::{
    AddressSet, DatapathBinding, DhcpOptions, Dhcpv6Options, LogicalDpGroup, LogicalFlow,
    MulticastGroup, PortBinding, PortGroup, RbacPermission, RbacRole,
};
use uuid::Uuid;

/// The tables whose rows are all northd's, in the order in which rows are written: what is referred to comes first.
/// Deletion goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutTable {
    /// `RBAC_Permission`
    RbacPermission,
    /// `RBAC_Role`
    RbacRole,
    /// `DHCP_Options`
    Dhcp4,
    /// `DHCPv6_Options`
    Dhcp6,
    /// `Datapath_Binding`
    Datapath,
    /// `Port_Binding`
    Binding,
    /// `Address_Set`
    AddressSet,
    /// `Port_Group`
    PortGroup,
    /// `Multicast_Group`
    Multicast,
    /// `Logical_Flow` of one datapath.
    Flow,
    /// `Logical_DP_Group`
    DatapathGroup,
    /// `Logical_Flow` of a group of datapaths.
    SharedFlow,
}

/// A row's table and UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The table.
    pub table: OutTable,
    /// The row.
    pub uuid: Uuid,
}

impl OutTable {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::RbacPermission,
        Self::RbacRole,
        Self::Dhcp4,
        Self::Dhcp6,
        Self::Datapath,
        Self::Binding,
        Self::AddressSet,
        Self::PortGroup,
        Self::Multicast,
        Self::Flow,
        Self::DatapathGroup,
        Self::SharedFlow,
    ];

    /// The table's index in the southbound schema.
    pub const fn index(self) -> usize {
        match self {
            Self::RbacPermission => RbacPermission::INDEX,
            Self::RbacRole => RbacRole::INDEX,
            Self::Dhcp4 => DhcpOptions::INDEX,
            Self::Dhcp6 => Dhcpv6Options::INDEX,
            Self::Datapath => DatapathBinding::INDEX,
            Self::Binding => PortBinding::INDEX,
            Self::AddressSet => AddressSet::INDEX,
            Self::PortGroup => PortGroup::INDEX,
            Self::Multicast => MulticastGroup::INDEX,
            Self::Flow | Self::SharedFlow => LogicalFlow::INDEX,
            Self::DatapathGroup => LogicalDpGroup::INDEX,
        }
    }

    /// The table of a row that was read, if northd writes that table.
    pub fn of(index: usize, row: &Row) -> Option<Self> {
        if index == LogicalFlow::INDEX {
            let is_shared = !row
                .get(LogicalFlow::COLUMN.logical_dp_group.index)
                .is_empty();
            return Some(if is_shared {
                Self::SharedFlow
            } else {
                Self::Flow
            });
        }
        Self::ALL.into_iter().find(|table| table.index() == index)
    }

    /// Whether northd writes the table with this index in the southbound schema.
    pub fn is_written(index: usize) -> bool {
        Self::ALL.into_iter().any(|table| table.index() == index)
    }

    /// The columns that northd writes. What is not among them belongs to controllers, or is not used.
    pub fn columns(self) -> Vec<usize> {
        match self {
            Self::RbacPermission => all::<RbacPermission>(),
            Self::RbacRole => all::<RbacRole>(),
            Self::Dhcp4 => all::<DhcpOptions>(),
            Self::Dhcp6 => all::<Dhcpv6Options>(),
            Self::Datapath => {
                let column = DatapathBinding::COLUMN;
                vec![
                    column.tunnel_key.index,
                    column.r#type.index,
                    column.nb_uuid.index,
                    column.external_ids.index,
                ]
            }
            Self::Binding => {
                let column = PortBinding::COLUMN;
                vec![
                    column.logical_port.index,
                    column.r#type.index,
                    column.options.index,
                    column.datapath.index,
                    column.tunnel_key.index,
                    column.parent_port.index,
                    column.tag.index,
                    column.mac.index,
                    column.port_security.index,
                    column.external_ids.index,
                    column.requested_chassis.index,
                    column.requested_additional_chassis.index,
                ]
            }
            Self::AddressSet => all::<AddressSet>(),
            Self::PortGroup => all::<PortGroup>(),
            Self::Multicast => all::<MulticastGroup>(),
            Self::Flow | Self::SharedFlow => all::<LogicalFlow>(),
            Self::DatapathGroup => all::<LogicalDpGroup>(),
        }
    }

    /// Keys of a map column that controllers write into rows of this table, and that stay as they are.
    pub fn foreign_keys(self, column: usize) -> &'static [&'static str] {
        if self == Self::Binding && column == PortBinding::COLUMN.options.index {
            return &[
                "additional-chassis-activated",
                "vport-last-claim",
                "vport-backoff",
                "is-remote-nb-bound",
            ];
        }
        &[]
    }

    /// What tells a row from others beside its UUID: rows that are already there under this name are kept. Flows have none:
    /// their UUIDs say what they are.
    pub fn natural_key(self, row: &Row) -> Option<NaturalKey> {
        let name = |column: usize| {
            row.get(column)
                .scalar()
                .and_then(ovsdb::Atom::as_str)
                .map(crate::compiler::digest)
        };
        let (scope, name) = match self {
            Self::RbacPermission => (Uuid::nil(), name(RbacPermission::COLUMN.table.index)?),
            Self::RbacRole => (Uuid::nil(), name(RbacRole::COLUMN.name.index)?),
            Self::Dhcp4 => (Uuid::nil(), name(DhcpOptions::COLUMN.name.index)?),
            Self::Dhcp6 => (Uuid::nil(), name(Dhcpv6Options::COLUMN.name.index)?),
            Self::Datapath => {
                let switch = row
                    .get(DatapathBinding::COLUMN.external_ids.index)
                    .get_str("logical-switch")?;
                (switch.parse().ok()?, 0)
            }
            Self::Binding => (Uuid::nil(), name(PortBinding::COLUMN.logical_port.index)?),
            Self::AddressSet => (Uuid::nil(), name(AddressSet::COLUMN.name.index)?),
            Self::PortGroup => (Uuid::nil(), name(PortGroup::COLUMN.name.index)?),
            Self::Multicast => {
                let column = MulticastGroup::COLUMN;
                (column.datapath.get(row), name(column.name.index)?)
            }
            Self::Flow | Self::DatapathGroup | Self::SharedFlow => return None,
        };
        Some(NaturalKey {
            table: self,
            scope,
            name,
        })
    }
}

/// See [`OutTable::natural_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NaturalKey {
    /// The table.
    pub table: OutTable,
    /// A row that it belongs to, or nil.
    pub scope: Uuid,
    /// The digest of its name.
    pub name: u64,
}

/// Rows with all defaults, to be filled in.
#[derive(Debug)]
pub struct Templates {
    rows: Vec<Row>,
}

impl Default for Templates {
    fn default() -> Self {
        let schema = sb_db::schema();
        Self {
            rows: schema.tables.iter().map(Row::default_for).collect(),
        }
    }
}

impl Templates {
    /// A row of `table` with these columns, the others at their defaults.
    pub fn row(
        &self,
        table: OutTable,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) -> Arc<Row> {
        let mut row = self.rows[table.index()].clone();
        for (column, datum) in columns {
            row.set(column, datum);
        }
        Arc::new(row)
    }
}

fn all<T: TableDefinition>() -> Vec<usize> {
    (0..T::COLUMN_DOCS.len()).collect()
}
