//! Rules whose connections outlive what other rules say (`options:persist-established`).
//!
//! A connection that such a rule has let pass remembers that, and the rule's number (`ACL_ID`): no rule is asked about its later packets
//! while this one is there. With the rule goes the flow that knows its number; from then on the connection is asked about as any other.
//! Numbers come of the rules' UUIDs: old connections of a rule that is gone are not taken for those of the next.

use nb_db::tables::Acl;
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::AclId;

use super::model::RULE;
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Kind, Over, Owned, Pool};
use crate::compiler::unit::Unit;
use ovsdb::typed::TableDefinition;

/// The number of each rule whose connections persist.
pub(super) static NUMBER: Relation<Handle, Identity> = Relation::new("acl number");

/// The numbers.
pub(super) static NUMBERS: Pool = Pool::new(
    &NUMBER,
    (Acl::NAME, Acl::COLUMN.options.name, "number"),
    Conflict::Another,
);

pub(super) static ROWS: Owned = Owned::south::<AclId>(&[AclId::COLUMN.id.index]);

/// The largest number (ovn-sb(5), `ACL_ID.id`).
const MAX: u32 = 32_767;

pub(super) static WISH: Kind = Kind {
    name: "alloc/acl",
    over: Over::Keys(&RULE),
    reads: &[],
    says: &[],
    wants: &[&NUMBERS],
    run: wish,
};

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(rule) = unit.get(&RULE, row).filter(|rule| rule.persists) else {
        return;
    };
    let uuid = unit.uuid(row);
    let recorded = unit.recorded_row::<AclId>(uuid);
    unit.want(Want {
        pool: &NUMBERS,
        owner: row.pack(),
        row: uuid,
        about: None,
        name: rule.name.clone(),
        place: None,
        among: Key::default(),
        identity: uuid,
        derived: uuid,
        recorded: recorded.and_then(|row| u32::try_from(AclId::COLUMN.id.get(row)).ok()),
        requested: None,
        preferred: Some(1 + uuid.as_fields().0 % MAX),
        max: (MAX, MAX),
    });
}
