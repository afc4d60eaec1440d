//! Whether a port is up: when a chassis has it and has its flows in place.

use nb_db::tables::LogicalSwitchPort;
use relations::{Handle, Small};
use sb_db::tables::PortBinding;

use super::model::PortKind;
use super::{BINDING, PORT};
use crate::compiler::feature::{Kind, Over, Owned};

pub(super) static COLUMNS: Owned =
    Owned::north_columns::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.up.index]);

pub(super) static UP: Kind = Kind {
    name: "port/up",
    over: Over::Keys(&BINDING),
    reads: &[&PORT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(binding) = unit.get(&BINDING, row) else {
            return;
        };
        let column = PortBinding::COLUMN;
        let found = unit.find_south::<PortBinding>(binding.uuid);
        let is_up = found
            .and_then(|found| unit.south(found))
            .is_some_and(|row| {
                // A controller that tells nothing of flows has them in place as soon as it has the port.
                !row.get(column.chassis.index).is_empty() && column.up.get(row).unwrap_or(true)
            });
        // A link to a router is nowhere, and so always there.
        let is_link = unit
            .get(&PORT, row)
            .is_some_and(|port| matches!(port.kind, PortKind::Router { .. }));
        let is_up = is_up || is_link;
        let up = [LogicalSwitchPort::COLUMN.up.to(&Some(is_up))];
        unit.columns::<LogicalSwitchPort>(&COLUMNS, row, up);
    },
};
