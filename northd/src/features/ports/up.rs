//! Whether a port is up: when a chassis has it and has its flows in place.

use nb_db::tables::LogicalSwitchPort;
use relations::{Handle, Set, Small};
use sb_db::tables::{Chassis, PortBinding};
use uuid::Uuid;

use super::model::PortKind;
use super::{BINDING, PORT, owner};
use crate::compiler::feature::{Kind, Over, Owned};

/// The guests of a switch that a chassis has or answers, its L2 gateways, and its links to gateway routers there. Chassis are southbound rows.
pub static HOSTS: Set<(Handle, Handle)> = Set::new("guests of a switch on a chassis");

pub(super) static COLUMNS: Owned = Owned {
    is_unread: true,
    ..Owned::north_columns::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.up.index])
};

pub(super) static UP: Kind = Kind {
    name: "port/up",
    over: Over::Keys(&BINDING),
    reads: &[&PORT],
    says: &[&HOSTS],
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
        let is_guest = unit.get(&PORT, row).is_some_and(|port| {
            matches!(
                port.kind,
                PortKind::Vif { .. }
                    | PortKind::Router { .. }
                    | PortKind::L2Gateway { .. }
                    | PortKind::External { .. }
            )
        });
        if let (true, Some(found), Some(switch)) = (is_guest, found, owner(unit, row))
            && let Some(columns) = unit.south(found)
        {
            let main: Option<Uuid> = column.chassis.get(columns);
            let others: Vec<Uuid> = column.additional_chassis.get(columns);
            let uuid = unit.uuid(row);
            for chassis in main.into_iter().chain(others) {
                if let Some(chassis) = unit.find_south::<Chassis>(chassis) {
                    unit.member(&HOSTS, (switch, chassis), uuid);
                }
            }
        }
        // A link to a router or a switch is nowhere, and so always there.
        let is_link = unit.get(&PORT, row).is_some_and(|port| {
            matches!(port.kind, PortKind::Router { .. } | PortKind::Switch { .. })
        });
        let is_up = is_up || is_link;
        let up = [LogicalSwitchPort::COLUMN.up.to(&Some(is_up))];
        unit.columns::<LogicalSwitchPort>(&COLUMNS, row, up);
    },
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::operation::Operation;
    use ovsdb::typed::Table;

    use super::*;
    use crate::testing::{World, insert};

    /// OVN's controllers tell of a port only where it says that it is not up; what they have told stays.
    #[test]
    fn a_new_binding_is_down_until_a_chassis_says_more() {
        let mut world = World::new();
        let port = LogicalSwitchPort {
            name: "p".into(),
            ..Default::default()
        };
        let switch = nb_db::tables::LogicalSwitch {
            name: "s".into(),
            ports: vec![Uuid::from_u128(1)],
            ..Default::default()
        };
        let rows = vec![
            insert(Uuid::from_u128(1), &port),
            insert(Uuid::from_u128(2), &switch),
        ];
        world.north(rows);
        let (binding, row) = world.sb::<PortBinding>().remove(0);
        assert_eq!(row.up, Some(false));
        let up = vec![PortBinding::COLUMN.up.to(&Some(true))];
        let told = Operation::update_row(PortBinding::INDEX, binding, up);
        world.south(vec![told]);
        assert_eq!(world.sb::<PortBinding>()[0].1.up, Some(true));
        // An earlier northd has said nothing.
        let empty = vec![PortBinding::COLUMN.up.to(&None)];
        let empty = Operation::update_row(PortBinding::INDEX, binding, empty);
        world.south(vec![empty]);
        assert_eq!(world.sb::<PortBinding>()[0].1.up, Some(false));
    }

    /// Where a guest has spoken is of no use when it has arrived, and OVN's controllers do not take it back.
    #[test]
    fn what_a_migration_has_said_goes_with_it() {
        let mut world = World::new();
        let port = |requested: &str| LogicalSwitchPort {
            name: "p".into(),
            options: [("requested-chassis".into(), requested.into())].into(),
            ..Default::default()
        };
        let switch = nb_db::tables::LogicalSwitch {
            name: "s".into(),
            ports: vec![Uuid::from_u128(1)],
            ..Default::default()
        };
        world.north(vec![
            insert(Uuid::from_u128(1), &port("hv1,hv2")),
            insert(Uuid::from_u128(2), &switch),
        ]);
        let chassis = |number: u128| {
            let encap = Uuid::from_u128(20 + number);
            let name: Arc<str> = format!("hv{number}").into();
            let chassis = Chassis {
                name: Arc::clone(&name),
                encaps: vec![encap],
                ..Default::default()
            };
            let end = sb_db::tables::Encap {
                r#type: "geneve".into(),
                ip: format!("192.0.2.{number}").into(),
                chassis_name: name,
                ..Default::default()
            };
            [
                insert(Uuid::from_u128(10 + number), &chassis),
                insert(encap, &end),
            ]
        };
        world.south([chassis(1), chassis(2)].concat());
        let (binding, row) = world.sb::<PortBinding>().remove(0);
        let mut options = row.options;
        options.insert("additional-chassis-activated".into(), "hv2".into());
        let said = vec![PortBinding::COLUMN.options.to(&options)];
        world.south(vec![Operation::update_row(
            PortBinding::INDEX,
            binding,
            said,
        )]);
        let said = |world: &World| {
            let (_, row) = world.sb::<PortBinding>().remove(0);
            row.options.contains_key("additional-chassis-activated")
        };
        assert!(said(&world), "while it moves");
        let arrived = vec![LogicalSwitchPort::COLUMN.options.to(&port("hv2").options)];
        let arrived = Operation::update_row(LogicalSwitchPort::INDEX, Uuid::from_u128(1), arrived);
        world.north(vec![arrived]);
        assert!(!said(&world), "it is there");
    }
}
