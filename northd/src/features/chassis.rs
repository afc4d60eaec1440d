//! Chassis: what northd has to know of the machines.
//!
//! Ports name chassis in `options:requested-chassis`, by name or host name. A chassis that speaks VXLAN limits the keys of
//! the whole network: 12 bits for datapaths and 11 for ports are what fits into its tunnels, unless
//! `NB_Global.options:vxlan_mode` says that VXLAN is not for traffic between chassis.

use nb_db::tables::NbGlobal;
use ovsdb::Atom;
use ovsdb::typed::Table;
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::{Chassis, Encap};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// Whether keys have to fit into VXLAN tunnels. There is a value if so.
pub static IS_VXLAN: Relation<(), ()> = Relation::new("vxlan mode");
/// The chassis that speak VXLAN.
static SPEAKERS: Set<()> = Set::new("chassis with vxlan");
/// Whether VXLAN is switched off for traffic between chassis.
static IS_OFF: Relation<(), ()> = Relation::new("vxlan mode off");

const BY_NAME: Index = Index::south::<Chassis>(Chassis::COLUMN.name.index);
const BY_HOSTNAME: Index = Index::south::<Chassis>(Chassis::COLUMN.hostname.index);
const MODE: &str = "vxlan_mode";

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::south::<Chassis>(&[
            Chassis::COLUMN.name.index,
            Chassis::COLUMN.hostname.index,
            Chassis::COLUMN.encaps.index,
            Chassis::COLUMN.other_config.index,
        ]),
        Source::south::<Encap>(&[Encap::COLUMN.r#type.index]),
        Source::north::<NbGlobal>(&[]).keys(&[(NbGlobal::COLUMN.options.index, &[MODE])]),
    ],
    indexes: INDEXES,
    relations: &[&IS_VXLAN, &IS_OFF],
    kinds: &[&SPEAKS, &OFF, &VXLAN],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: random::chassis,
    }],
    ..Feature::new("chassis")
};

/// The indexes by which others look chassis up.
pub const INDEXES: &[Index] = &[BY_NAME, BY_HOSTNAME];

static SPEAKS: Kind = Kind {
    name: "chassis/encaps",
    over: Over::South(Chassis::INDEX),
    reads: &[],
    says: &[&SPEAKERS],
    wants: &[],
    run: |unit, key| {
        let chassis = Handle::unpack(key);
        if speaks_vxlan(unit, chassis) {
            let uuid = unit.south_uuid(chassis);
            unit.member(&SPEAKERS, (), uuid);
        }
    },
};

static OFF: Kind = Kind {
    name: "chassis/vxlan-off",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&IS_OFF],
    wants: &[],
    run: |unit, key| {
        let row = unit.north(Handle::unpack(key));
        let mode = row.and_then(|row| row.get(NbGlobal::COLUMN.options.index).get_str(MODE));
        if mode == Some("false") {
            unit.say(&IS_OFF, (), ());
        }
    },
};

static VXLAN: Kind = Kind {
    name: "chassis/vxlan",
    over: Over::Shared(&SPEAKERS),
    reads: &[&IS_OFF],
    says: &[&IS_VXLAN],
    wants: &[],
    run: |unit, _: Key| {
        if unit.get(&IS_OFF, ()).is_none() {
            unit.say(&IS_VXLAN, (), ());
        }
    },
};

/// A gateway to physical switches (`is-vtep`) does not count: it is no chassis that ports are on.
fn speaks_vxlan(unit: &Unit<'_>, chassis: Handle) -> bool {
    let Some(row) = unit.south(chassis) else {
        return false;
    };
    let column = Chassis::COLUMN;
    let config = row.get(column.other_config.index);
    if config.get_str("is-vtep") == Some("true") {
        return false;
    }
    let encaps: Vec<Uuid> = column.encaps.get(row);
    let mut encaps = encaps.into_iter();
    encaps.any(|encap| {
        let encap = unit.find_south::<Encap>(encap);
        let row = encap.and_then(|encap| unit.south(encap));
        row.is_some_and(|row| &*Encap::COLUMN.r#type.get(row) == "vxlan")
    })
}

/// The chassis with this name, else one with this host name.
pub fn named(unit: &Unit<'_>, name: &str) -> Option<Uuid> {
    let atom = Atom::from(name);
    let by_name = unit.having(BY_NAME, &atom).first();
    let found = by_name.or_else(|| unit.having(BY_HOSTNAME, &atom).first());
    found.map(|chassis| unit.south_uuid(*chassis))
}

/// The chassis with this name.
pub fn by_name(unit: &Unit<'_>, name: &str) -> Option<Uuid> {
    let found = unit.having(BY_NAME, &Atom::from(name)).first();
    found.map(|chassis| unit.south_uuid(*chassis))
}
