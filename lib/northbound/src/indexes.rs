//! The indexes that verbs want of a copy that is kept for long.

use nb_db::tables::{
    AddressSet, Bfd, Copp, ForwardingGroup, GatewayChassis, HaChassisGroup, LoadBalancer,
    LogicalRouter, LogicalRouterPolicy, LogicalRouterPort, LogicalRouterStaticRoute, LogicalSwitch,
    LogicalSwitchPort, Meter, Mirror, NetworkFunction, NetworkFunctionGroup, PortGroup,
    StaticMacBinding,
};
use ovsdb::Table;

use crate::snapshot::Snapshot;

/// Columns by whose contents verbs find rows: table and column.
pub const BY_CONTENTS: &[(usize, usize)] = &[
    (AddressSet::INDEX, AddressSet::COLUMN.name.index),
    (Bfd::INDEX, Bfd::COLUMN.dst_ip.index),
    (Copp::INDEX, Copp::COLUMN.name.index),
    (ForwardingGroup::INDEX, ForwardingGroup::COLUMN.name.index),
    (GatewayChassis::INDEX, GatewayChassis::COLUMN.name.index),
    (HaChassisGroup::INDEX, HaChassisGroup::COLUMN.name.index),
    (LoadBalancer::INDEX, LoadBalancer::COLUMN.name.index),
    (LogicalRouter::INDEX, LogicalRouter::COLUMN.name.index),
    (
        LogicalRouterPort::INDEX,
        LogicalRouterPort::COLUMN.name.index,
    ),
    (
        LogicalRouterStaticRoute::INDEX,
        LogicalRouterStaticRoute::COLUMN.bfd.index,
    ),
    (LogicalSwitch::INDEX, LogicalSwitch::COLUMN.name.index),
    (
        LogicalSwitchPort::INDEX,
        LogicalSwitchPort::COLUMN.name.index,
    ),
    (Meter::INDEX, Meter::COLUMN.name.index),
    (Mirror::INDEX, Mirror::COLUMN.name.index),
    (NetworkFunction::INDEX, NetworkFunction::COLUMN.name.index),
    (NetworkFunction::INDEX, NetworkFunction::COLUMN.id.index),
    (
        NetworkFunctionGroup::INDEX,
        NetworkFunctionGroup::COLUMN.name.index,
    ),
    (
        NetworkFunctionGroup::INDEX,
        NetworkFunctionGroup::COLUMN.id.index,
    ),
    (PortGroup::INDEX, PortGroup::COLUMN.name.index),
    (StaticMacBinding::INDEX, StaticMacBinding::COLUMN.ip.index),
];

/// Columns by whose elements verbs find rows, which say what belongs to what: table and column.
pub const BY_ELEMENT: &[(usize, usize)] = &[
    (
        LogicalRouterPolicy::INDEX,
        LogicalRouterPolicy::COLUMN.bfd_sessions.index,
    ),
    (LogicalRouter::INDEX, LogicalRouter::COLUMN.ports.index),
    (LogicalSwitch::INDEX, LogicalSwitch::COLUMN.ports.index),
    (
        LogicalSwitch::INDEX,
        LogicalSwitch::COLUMN.forwarding_groups.index,
    ),
    (
        NetworkFunctionGroup::INDEX,
        NetworkFunctionGroup::COLUMN.network_function.index,
    ),
];

/// An empty copy of the northbound with all of them, to be kept up to date by [`Snapshot::apply`].
pub fn indexed_snapshot() -> Snapshot {
    let mut snapshot = Snapshot::empty(nb_db::schema().clone());
    for (table, column) in BY_CONTENTS {
        snapshot.index_contents(*table, *column);
    }
    for (table, column) in BY_ELEMENT {
        snapshot.index_elements(*table, *column);
    }
    snapshot
}
