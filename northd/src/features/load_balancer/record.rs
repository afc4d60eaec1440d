//! The rows of `Load_Balancer` southbound: what chassis need for packets that come back to their own sender, and for flushing
//! the connections of a backend that is gone.
//!
//! Its datapaths stand in groups of their own: rows of `Logical_DP_Group` that no flow refers to. Nearly always they are those of
//! its only carrier, and load balancers share them; one with several carriers has groups of all their datapaths. The row is
//! the same whatever carries it: chassis take the backends of a row that goes for gone.

use nb_db::tables::LoadBalancer;
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum};
use relations::{Cell, Handle, Set, Small};
use sb_db::tables::{self as sb, LogicalDpGroup};
use uuid::Uuid;

use super::carriers::{self, FOLLOWERS, HAS, PLACES, Place, carriers_at};
use super::model::BALANCER;
use crate::compiler::feature::{Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
use crate::features::router::ROUTER;
use crate::features::switch::DATAPATH;

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

/// The datapaths of load balancers with several carriers.
static OF_ALL: Set<(Handle, u32)> = Set::new("datapaths of all carriers");

pub(super) static RECORD: Kind = Kind {
    name: "load-balancer/record",
    over: Over::Keys(&BALANCER),
    reads: &[&HAS, &FOLLOWERS, &DATAPATH, &ROUTER],
    says: &[&OF_ALL],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let mut carriers = carriers_at(unit, row, Place::Switches);
        for carrier in carriers_at(unit, row, Place::Routers) {
            if !carriers.contains(&carrier) {
                carriers.push(carrier);
            }
        }
        let groups = match carriers.as_slice() {
            [] => return,
            [only] => [Place::Switches, Place::Routers].map(|place| group(unit, *only, place)),
            _ => all(unit, row),
        };
        say(unit, row, groups);
    },
};

fn say(unit: &mut Unit<'_>, row: Handle, [switches, routers]: [Datum; 2]) {
    let Some(columns) = unit.north(row) else {
        return;
    };
    let (north, south) = (LoadBalancer::COLUMN, sb::LoadBalancer::COLUMN);
    let uuid = unit.uuid(row);
    let id = (
        Atom::from("lb_id"),
        Atom::from(uuid.hyphenated().to_string()),
    );
    let copied = [
        (south.name.index, north.name.index),
        (south.vips.index, north.vips.index),
        (south.protocol.index, north.protocol.index),
    ];
    let copied = copied.map(|(to, from)| (to, columns.get(from).clone()));
    let options = columns.get(north.options.index).pairs().iter();
    let options = options.filter(|(key, _)| key.as_str() != Some(IN_REGISTERS));
    let options = Datum::map(options.cloned());
    let others = [
        // Controllers of some versions read the one column, others the other.
        (south.datapath_group.index, switches.clone()),
        (south.ls_datapath_group.index, switches),
        (south.lr_datapath_group.index, routers),
        (south.options.index, options),
        (south.external_ids.index, Datum::map([id])),
    ];
    let columns: Vec<(usize, Datum)> = copied.into_iter().chain(others).collect();
    let name = identity::named(sb::LoadBalancer::NAME, uuid, "");
    unit.row::<sb::LoadBalancer>(name, columns);
}

/// The key by which a northd tells that it keeps a connection's original destination in registers. This one does not.
const IN_REGISTERS: &str = "hairpin_orig_tuple";

/// The datapaths of a load balancer with several carriers.
fn all(unit: &mut Unit<'_>, row: Handle) -> [Datum; 2] {
    let [switches, routers] = carriers::datapaths(unit, row);
    [(Place::Switches, switches), (Place::Routers, routers)].map(|(place, datapaths)| {
        let key = (row, place as u32);
        if datapaths.is_empty() {
            return Datum::empty_set();
        }
        for datapath in datapaths {
            unit.member(&OF_ALL, key, datapath);
        }
        let name = format!("load balancer {place:?} of all carriers");
        group_row(unit, row, &name, OF_ALL.cell(key))
    })
}

/// The row of the datapaths of a carrier.
fn group(unit: &mut Unit<'_>, carrier: Handle, place: Place) -> Datum {
    let key = (carrier, place as u32);
    if unit.get(&HAS, key).is_none() {
        return Datum::empty_set();
    }
    let name = format!("load balancer {place:?}");
    group_row(unit, carrier, &name, PLACES.cell(key))
}

fn group_row(unit: &mut Unit<'_>, scope: Handle, name: &str, members: Cell) -> Datum {
    let uuid: Uuid = identity::named(LogicalDpGroup::NAME, unit.uuid(scope), name);
    let column = LogicalDpGroup::COLUMN.datapaths.index;
    let sets = Box::new([(column, members)]);
    unit.row_of_sets::<LogicalDpGroup>(uuid, [], sets);
    Datum::One(Atom::Uuid(uuid))
}
