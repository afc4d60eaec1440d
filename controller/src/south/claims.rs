//! Which ports are this chassis', and whether they are up.

use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables::PortBinding;

use super::South;

impl South {
    /// Makes a port this chassis', or says that it is up. `None` when both are so, or the port is gone.
    pub fn claim(&self, uuid: Uuid, own: Uuid, is_installed: bool) -> Option<Operation> {
        let port = self.port(uuid)?;
        let mut row = Vec::new();
        if port.chassis != Some(own) {
            match port.chassis.and_then(|other| self.chassis_name(other)) {
                Some(other) => {
                    tracing::info!(target: "binding", "Changing chassis for lport {} from {other} to us.", port.logical_port);
                }
                None => {
                    tracing::info!(target: "binding", "Claiming lport {} for this chassis.", port.logical_port);
                }
            }
            row.push(PortBinding::COLUMN.chassis.to(&Some(own)));
        }
        if is_installed && port.up != Some(true) {
            tracing::info!(target: "binding", "Setting lport {} up in Southbound", port.logical_port);
            row.push(PortBinding::COLUMN.up.to(&Some(true)));
        } else if !is_installed && !row.is_empty() && port.up != Some(false) {
            // Whatever another chassis promised, here it is not so yet.
            row.push(PortBinding::COLUMN.up.to(&Some(false)));
        }
        (!row.is_empty()).then(|| Operation::update_row(PortBinding::INDEX, uuid, row))
    }

    /// Gives a port up, if it is this chassis'.
    pub fn release(&self, uuid: Uuid, own: Uuid) -> Option<Operation> {
        let port = self
            .port(uuid)
            .filter(|port| port.chassis == Some(own) && port.r#type.is_empty())?;
        tracing::info!(target: "binding", "Releasing lport {} from this chassis.", port.logical_port);
        let row = vec![
            PortBinding::COLUMN.chassis.to(&None),
            PortBinding::COLUMN.up.to(&Some(false)),
        ];
        Some(Operation::update_row(PortBinding::INDEX, uuid, row))
    }
}
