//! Groups of chassis, southbound.
//!
//! A northbound `HA_Chassis_Group` that a port uses is one there, of the same name. A port that lists chassis itself
//! (`gateway_chassis`) has a group of its own, of the port's name. A chassis that is not there, yet or any more, is told, and
//! the others of the group stand in for it.

use std::sync::Arc;

use nb_db::tables as nb;
use nb_db::tables::{GatewayChassis, HaChassis, LogicalRouterPort};
use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::{self as sb, HaChassisGroup};
use uuid::Uuid;

use crate::compiler::feature::{Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::chassis;
use crate::features::router::ports::PORT;

/// The southbound row of each group.
pub static GROUP: Relation<GroupKey, Uuid> = Relation::new("chassis group");
/// The groups with a chassis that there is.
pub(super) static ANSWERS: Relation<GroupKey, ()> = Relation::new("chassis group with a chassis");
/// The router ports that use a group.
pub(super) static USES: Set<GroupKey> = Set::new("uses of a chassis group");
/// The chassis that use a group. Said by [`users`](super::users).
pub(super) static USERS: Set<GroupKey> = Set::new("users of a chassis group");

pub(super) const NORTH_BY_NAME: Index =
    Index::north::<nb::HaChassisGroup>(nb::HaChassisGroup::COLUMN.name.index);
pub(super) const SOUTH_BY_NAME: Index =
    Index::south::<HaChassisGroup>(HaChassisGroup::COLUMN.name.index);

pub(super) static GROUP_ROWS: Owned = Owned::south::<HaChassisGroup>(&[
    HaChassisGroup::COLUMN.name.index,
    HaChassisGroup::COLUMN.ha_chassis.index,
    HaChassisGroup::COLUMN.ref_chassis.index,
]);
pub(super) static MEMBER_ROWS: Owned = Owned::south::<sb::HaChassis>(&[
    sb::HaChassis::COLUMN.chassis.index,
    sb::HaChassis::COLUMN.priority.index,
    sb::HaChassis::COLUMN.external_ids.index,
]);

/// A group: a northbound one, or that of a router's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The row of the group or of the port.
    row: Handle,
    is_shared: bool,
}

impl GroupKey {
    /// A northbound group.
    pub(super) const fn shared(row: Handle) -> Self {
        let is_shared = true;
        Self { row, is_shared }
    }

    /// The group of a port.
    pub(super) const fn own(row: Handle) -> Self {
        let is_shared = false;
        Self { row, is_shared }
    }
}

impl Small for GroupKey {
    fn pack(self) -> Key {
        (self.row, u32::from(self.is_shared)).pack()
    }

    fn unpack(key: Key) -> Self {
        let (row, is_shared) = <(Handle, u32)>::unpack(key);
        Self {
            row,
            is_shared: is_shared != 0,
        }
    }
}

pub(super) static ROWS: Kind = Kind {
    name: "chassis-group",
    over: Over::Keys(&USES),
    reads: &[&PORT],
    says: &[&GROUP, &ANSWERS],
    wants: &[],
    run: group,
};

/// The group of a port that lists chassis itself: there is none if a northbound one has its name.
pub(super) fn own(
    unit: &Unit<'_>,
    port: Handle,
    name: &Arc<str>,
    complaints: &mut Complaints,
) -> Option<GroupKey> {
    let named = unit.having(NORTH_BY_NAME, &Atom::String(Arc::clone(name)));
    if let Some(group) = named.first() {
        let why = format!(
            "HA_Chassis_Group {} has the name of the port, which its own group is to have",
            unit.uuid(*group)
        );
        let remedy = "these are ignored until the group has another name, or the port uses it";
        let column = LogicalRouterPort::COLUMN.gateway_chassis.name;
        complaints.column(column, why, remedy);
        return None;
    }
    Some(GroupKey::own(port))
}

/// A member, as it is written northbound.
struct Member {
    table: &'static str,
    row: Uuid,
    chassis: Arc<str>,
    priority: i64,
}

fn group(unit: &mut Unit<'_>, key: Key) {
    let key = GroupKey::unpack(key);
    let Some((name, members)) = members(unit, key) else {
        return;
    };
    let recorded = unit
        .recorded(SOUTH_BY_NAME, &Atom::String(Arc::clone(&name)))
        .next();
    let uuid = recorded.map_or_else(
        || identity::named(HaChassisGroup::NAME, Uuid::nil(), &name),
        |(uuid, _)| uuid,
    );
    let mut rows: Vec<Uuid> = Vec::new();
    let mut answers = false;
    for (place, member) in members.iter().enumerate() {
        let mut complaints = Complaints::about(member.table, member.row, Arc::clone(&name));
        let column = HaChassis::COLUMN.chassis_name.name;
        let text = &member.chassis;
        if members[..place].iter().any(|other| other.chassis == *text) {
            let why = "the chassis is in the group twice";
            complaints.text(column, text, 0, why, "this one is ignored: remove it");
            unit.problems(complaints.into_problems());
            continue;
        }
        let chassis = chassis::by_name(unit, text);
        if chassis.is_none() {
            let why = "there is no chassis of this name";
            let remedy = "the others of the group stand in for it: correct the name, or start it";
            complaints.text(column, text, 0, why, remedy);
        }
        unit.problems(complaints.into_problems());
        answers |= chassis.is_some();
        let row = identity::named(sb::HaChassis::NAME, uuid, text);
        rows.push(row);
        let south = sb::HaChassis::COLUMN;
        let name = (Atom::from("chassis-name"), Atom::String(Arc::clone(text)));
        let columns = [
            (south.chassis.index, chassis.to_datum()),
            south.priority.to(&member.priority),
            (south.external_ids.index, Datum::map([name])),
        ];
        unit.row::<sb::HaChassis>(row, columns);
    }
    let column = HaChassisGroup::COLUMN;
    let columns = [
        (column.name.index, Datum::One(Atom::String(name))),
        (column.ha_chassis.index, rows.to_datum()),
    ];
    let users = Box::new([(column.ref_chassis.index, USERS.cell(key))]);
    unit.row_of_sets::<HaChassisGroup>(uuid, columns, users);
    unit.say(&GROUP, key, uuid);
    if answers {
        unit.say(&ANSWERS, key, ());
    }
}

/// The name of a group and its members, the best first.
fn members(unit: &Unit<'_>, key: GroupKey) -> Option<(Arc<str>, Vec<Member>)> {
    let columns = unit.north(key.row)?;
    let (name, mut members): (Arc<str>, Vec<Member>) = if key.is_shared {
        let column = nb::HaChassisGroup::COLUMN;
        let rows: Vec<Uuid> = column.ha_chassis.get(columns);
        let members = rows.into_iter().filter_map(|uuid| {
            let of = HaChassis::COLUMN;
            let row = unit.north(unit.find_north::<HaChassis>(uuid)?)?;
            Some(Member {
                table: HaChassis::NAME,
                row: uuid,
                chassis: of.chassis_name.get(row),
                priority: of.priority.get(row),
            })
        });
        (column.name.get(columns), members.collect())
    } else {
        let column = LogicalRouterPort::COLUMN;
        let rows: Vec<Uuid> = column.gateway_chassis.get(columns);
        let members = rows.into_iter().filter_map(|uuid| {
            let of = GatewayChassis::COLUMN;
            let row = unit.north(unit.find_north::<GatewayChassis>(uuid)?)?;
            Some(Member {
                table: GatewayChassis::NAME,
                row: uuid,
                chassis: of.chassis_name.get(row),
                priority: of.priority.get(row),
            })
        });
        (
            Arc::clone(&unit.get(&PORT, key.row)?.name),
            members.collect(),
        )
    };
    members.sort_by_key(|member| (std::cmp::Reverse(member.priority), member.row));
    Some((name, members))
}
