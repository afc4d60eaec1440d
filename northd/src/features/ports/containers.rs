//! Containers: ports behind the interface of a guest, told apart by a VLAN that the guest sets.
//!
//! A container gets the VLAN that it asks for, also when another one in the same guest has it already: the guest's network
//! decides, and it is told as a warning. One that leaves the choice to northd gets a free one and keeps it. A container may
//! be in another switch than its guest's port.

use std::sync::Arc;

use nb_db::tables::LogicalSwitchPort;
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Row};
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::model::{Nested, Port};
use super::recorded::recorded;
use super::{PORT, TOLD, owner};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Index, Kind, Over, Owned, Pool};
use crate::compiler::identity;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;

/// Ports that are containers.
pub(super) static CONTAINER: Relation<Handle, Arc<Port>> = Relation::new("container");
/// The VLAN of each.
pub(super) static TAG: Relation<Handle, Identity> = Relation::new("tag");

pub(super) static TAGS: Pool = Pool::new(
    &TAG,
    (
        LogicalSwitchPort::NAME,
        LogicalSwitchPort::COLUMN.tag_request.name,
        "tag",
    ),
    Conflict::Shared,
);

/// Ports by name, for those that name their guest's.
pub const BY_NAME: Index = Index::north::<LogicalSwitchPort>(LogicalSwitchPort::COLUMN.name.index);

pub(super) static COLUMNS: Owned =
    Owned::north_columns::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.tag.index]);

const MAX_TAG: u32 = 4095;

pub(super) static WISH: Kind = Kind {
    name: "alloc/tag",
    over: Over::Keys(&CONTAINER),
    reads: &[&PORT],
    says: &[],
    wants: &[&TAGS],
    run: wish,
};

pub(super) static TELL: Kind = Kind {
    name: "port/told",
    over: Over::Keys(&TOLD),
    reads: &[&TAG],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let given = unit.get(&TAG, row).map(|tag| Some(i64::from(tag.key)));
        if let Some(tag) = given.or_else(|| tag_of_untagged(unit, row)) {
            let columns = [LogicalSwitchPort::COLUMN.tag.to(&tag)];
            unit.columns::<LogicalSwitchPort>(&COLUMNS, row, columns);
        }
    },
};

/// Whether northd may have something to say in this row of its tag, or something to take back of addresses.
pub(super) fn may_be_told(columns: &Row) -> bool {
    let column = LogicalSwitchPort::COLUMN;
    let said = [
        column.tag_request.index,
        column.parent_name.index,
        column.dynamic_addresses.index,
    ];
    said.iter().any(|column| !columns.get(*column).is_empty())
}

/// What `tag` should say of a port that was given none: nothing, if one was asked for; for a port to a physical network the
/// one that was asked for. The outer `None` leaves the column to its writer.
#[expect(
    clippy::option_option,
    reason = "nothing to say, no tag, and a tag are three answers"
)]
fn tag_of_untagged(unit: &Unit<'_>, row: Handle) -> Option<Option<i64>> {
    let columns = unit.north(row)?;
    let column = LogicalSwitchPort::COLUMN;
    let requested = column.tag_request.get(columns)?;
    let kind = columns.get(column.r#type.index).scalar();
    if matches!(kind.and_then(Atom::as_str), Some("localnet" | "l2gateway")) {
        return Some(requested)
            .filter(|tag| (1..=i64::from(MAX_TAG)).contains(tag))
            .map(Some);
    }
    (!columns.get(column.parent_name.index).is_empty()).then_some(None)
}

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(port) = unit.get(&CONTAINER, row) else {
        return;
    };
    let Some(nested) = port.nested() else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalSwitchPort>(row, Arc::clone(&port.name));
    let is_in_guest = is_in_guest(unit, nested, &mut complaints);
    unit.problems(complaints.into_problems());
    if !is_in_guest || owner(unit, row).is_none() {
        return;
    }
    let recorded = recorded(unit, &port.name)
        .filter(|(_, row)| {
            PortBinding::COLUMN.parent_port.get(row) == Some(Arc::clone(&nested.parent))
        })
        .and_then(|(_, row)| PortBinding::COLUMN.tag.get(row));
    unit.want(Want {
        pool: &TAGS,
        owner: row.pack(),
        row: unit.uuid(row),
        about: None,
        name: Arc::clone(&port.name),
        place: None,
        among: identity::named("guest", Uuid::nil(), &nested.parent).pack(),
        identity: Uuid::nil(),
        derived: Uuid::nil(),
        recorded: recorded.and_then(|tag| u32::try_from(tag).ok()),
        requested: nested.tag.map(u32::from),
        preferred: nested.previous_tag.map(u32::from),
        max: (MAX_TAG, MAX_TAG),
    });
}

/// Whether a container lives in a guest. One whose parent is not there (yet) does: it waits.
fn is_in_guest(unit: &Unit<'_>, nested: &Nested, complaints: &mut Complaints) -> bool {
    let column = LogicalSwitchPort::COLUMN.parent_name.name;
    let named = unit.having(BY_NAME, &Atom::String(Arc::clone(&nested.parent)));
    let parent = named.iter().find_map(|row| unit.get(&PORT, *row));
    let (why, remedy, answer) = match parent {
        None => (
            "there is no such port that makes sense",
            "add it, or correct the name",
            true,
        ),
        Some(parent) if parent.nested().is_some() => (
            "this port is a container itself",
            "name the port of the guest",
            false,
        ),
        Some(_) => return true,
    };
    complaints.text(column, &nested.parent, 0, why, remedy);
    answer
}
