//! Port groups: sets of switch ports that rules are about.

use nb_db::tables::PortGroup;
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::DraftError;

/// Makes a port group of these ports.
pub fn add_port_group(
    draft: &mut Draft<'_>,
    name: &str,
    ports: Vec<Uuid>,
) -> Result<Uuid, DraftError> {
    draft.insert_as(&PortGroup {
        name: name.into(),
        ports,
        ..PortGroup::default()
    })
}

/// Gives a port group these ports in place of those that it has.
pub fn set_group_ports(
    draft: &mut Draft<'_>,
    group: Uuid,
    ports: &Vec<Uuid>,
) -> Result<(), DraftError> {
    draft.set::<PortGroup, _>(group, PortGroup::COLUMN.ports, ports)
}

/// Deletes a port group.
pub fn delete_port_group(draft: &mut Draft<'_>, group: Uuid) -> Result<(), DraftError> {
    draft.delete::<PortGroup>(group)
}
