//! The rows of `Load_Balancer` southbound: what chassis need for packets that come back to their own sender, and for flushing
//! the connections of a backend that is gone.
//!
//! A row for each carrier of a load balancer, for the datapaths are the carrier's. They stand in groups of their own: rows of
//! `Logical_DP_Group` that no flow refers to.

use nb_db::tables::LoadBalancer;
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum};
use relations::{Handle, Small};
use sb_db::tables::{self as sb, LogicalDpGroup};
use uuid::Uuid;

use super::carriers::{HAS, PLACES, Place, carriers_at};
use super::model::BALANCER;
use crate::compiler::feature::{Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::unit::Unit;

pub(super) static ROWS: Owned = Owned::south::<sb::LoadBalancer>(&[
    sb::LoadBalancer::COLUMN.name.index,
    sb::LoadBalancer::COLUMN.vips.index,
    sb::LoadBalancer::COLUMN.protocol.index,
    sb::LoadBalancer::COLUMN.datapaths.index,
    sb::LoadBalancer::COLUMN.datapath_group.index,
    sb::LoadBalancer::COLUMN.ls_datapath_group.index,
    sb::LoadBalancer::COLUMN.lr_datapath_group.index,
    sb::LoadBalancer::COLUMN.options.index,
    sb::LoadBalancer::COLUMN.external_ids.index,
]);
pub(super) static GROUPS: Owned =
    Owned::south::<LogicalDpGroup>(&[LogicalDpGroup::COLUMN.datapaths.index]);

pub(super) static RECORD: Kind = Kind {
    name: "load-balancer/record",
    over: Over::Keys(&BALANCER),
    reads: &[&HAS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let mut carriers = carriers_at(unit, row, Place::Switches);
        for carrier in carriers_at(unit, row, Place::Routers) {
            if !carriers.contains(&carrier) {
                carriers.push(carrier);
            }
        }
        for carrier in carriers {
            say(unit, row, carrier);
        }
    },
};

fn say(unit: &mut Unit<'_>, row: Handle, carrier: Handle) {
    let Some(columns) = unit.north(row) else {
        return;
    };
    let switches = group(unit, carrier, Place::Switches);
    let routers = group(unit, carrier, Place::Routers);
    let (north, south) = (LoadBalancer::COLUMN, sb::LoadBalancer::COLUMN);
    let (uuid, scope) = (unit.uuid(row), unit.uuid(carrier));
    let id = (
        Atom::from("lb_id"),
        Atom::from(uuid.hyphenated().to_string()),
    );
    let copied = [
        (south.name.index, north.name.index),
        (south.vips.index, north.vips.index),
        (south.protocol.index, north.protocol.index),
        (south.options.index, north.options.index),
    ];
    let copied = copied.map(|(to, from)| (to, columns.get(from).clone()));
    // Controllers of some versions read the one column, others the other.
    let groups = [
        (south.datapath_group.index, switches.clone()),
        (south.ls_datapath_group.index, switches),
        (south.lr_datapath_group.index, routers),
    ];
    let id = (south.external_ids.index, Datum::map([id]));
    let name = identity::named(
        sb::LoadBalancer::NAME,
        scope,
        &uuid.hyphenated().to_string(),
    );
    let columns: Vec<(usize, Datum)> = copied.into_iter().chain(groups).chain([id]).collect();
    unit.row::<sb::LoadBalancer>(name, columns);
}

/// The row of the datapaths of a carrier.
fn group(unit: &mut Unit<'_>, carrier: Handle, place: Place) -> Datum {
    let key = (carrier, place as u32);
    if unit.get(&HAS, key).is_none() {
        return Datum::empty_set();
    }
    let name = format!("load balancer {place:?}");
    let uuid: Uuid = identity::named(LogicalDpGroup::NAME, unit.uuid(carrier), &name);
    let column = LogicalDpGroup::COLUMN.datapaths.index;
    let sets = Box::new([(column, PLACES.cell(key))]);
    unit.row_of_sets::<LogicalDpGroup>(uuid, [], sets);
    Datum::One(Atom::Uuid(uuid))
}
