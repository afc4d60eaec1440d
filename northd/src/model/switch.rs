//! `Logical_Switch`: a broadcast domain.

use std::sync::Arc;

use addr::DatapathKey;
use nb_db::tables::LogicalSwitch;
use ovsdb::typed::TableDefinition;
use ovsdb::{Datum, Row};
use uuid::Uuid;

use super::options::{Options, SWITCH_KEYS};
use super::problem::{Complaints, Problem};

/// A logical switch that makes sense. Which ports it has is not part of it: that is an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// `name`, which need not be unique.
    pub name: Arc<str>,
    /// A name for people, from `external_ids:neutron:network_name`.
    pub display_name: Option<Arc<str>>,
    /// `other_config:requested-tnl-key`.
    pub requested_key: Option<u32>,
    /// Whether frames with a VLAN tag pass (`other_config:vlan-passthru`).
    pub is_vlan_transparent: bool,
}

impl Switch {
    /// Reads a row. Every row is a switch; what it asks for and cannot have becomes a problem.
    pub fn parse(uuid: Uuid, row: &Row) -> (Self, Vec<Problem>) {
        let column = LogicalSwitch::COLUMN;
        let name: Arc<str> = column.name.get(row);
        let mut complaints = Complaints::about(LogicalSwitch::NAME, uuid, Arc::clone(&name));
        let config: &Datum = row.get(column.other_config.index);
        let options = Options::read(
            column.other_config.name,
            config,
            SWITCH_KEYS,
            &mut complaints,
        );
        let external_ids = row.get(column.external_ids.index);
        let switch = Self {
            name,
            display_name: external_ids.get_str("neutron:network_name").map(Arc::from),
            requested_key: options.number(
                "requested-tnl-key",
                1..=DatapathKey::MAX,
                &mut complaints,
            ),
            is_vlan_transparent: options.truth("vlan-passthru", false, &mut complaints),
        };
        (switch, complaints.into_problems())
    }
}
