//! The groups of chassis that external ports of switches name.
//!
//! A northbound `HA_Chassis_Group` that such a port names is one southbound, as for the port of a router.

use std::sync::Arc;

use nb_db::tables::{HaChassisGroup, LogicalSwitchPort};
use relations::{Handle, Small};

use super::groups::{ANSWERS, GROUP, GroupKey, USES};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::ports::{CHASSIS_GROUP, EXTERNAL, PORT, PortKind};

pub(super) static USE: Kind = Kind {
    name: "external-port/group",
    over: Over::Keys(&EXTERNAL),
    reads: &[&PORT],
    says: &[&USES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let Some(group) = group(unit, row) {
            let uuid = unit.uuid(row);
            unit.member(&USES, group, uuid);
        }
    },
};

pub(super) static TELL: Kind = Kind {
    name: "external-port/chassis",
    over: Over::Keys(&EXTERNAL),
    reads: &[&PORT, &GROUP, &ANSWERS],
    says: &[&CHASSIS_GROUP],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(group) = group(unit, row) else {
            return;
        };
        if unit.get(&ANSWERS, group).is_none() {
            tell_silent(unit, row);
        }
        if let Some(group) = unit.get(&GROUP, group).copied() {
            unit.say(&CHASSIS_GROUP, row, group);
        }
    },
};

/// Of a group without a chassis that there is, none answers.
fn tell_silent(unit: &mut Unit<'_>, row: Handle) {
    let Some(port) = unit.get(&PORT, row) else {
        return;
    };
    let name = Arc::clone(&port.name);
    let mut complaints = unit.complaints::<LogicalSwitchPort>(row, name);
    let why = "no chassis answers the port: there is none of those in its group";
    let remedy = "add a chassis to the group, or start one";
    complaints.column(LogicalSwitchPort::COLUMN.ha_chassis_group.name, why, remedy);
    unit.problems(complaints.into_problems());
}

fn group(unit: &Unit<'_>, row: Handle) -> Option<GroupKey> {
    let PortKind::External { group: Some(group) } = unit.get(&PORT, row)?.kind else {
        return None;
    };
    Some(GroupKey::shared(unit.find_north::<HaChassisGroup>(group)?))
}
