//! Chassis: what northd has to know of the machines.
//!
//! Ports name chassis in `options:requested-chassis`, by name or host name. A chassis that speaks VXLAN limits the keys of
//! the whole network: 12 bits for datapaths and 11 for ports are what fits into its tunnels, unless
//! `NB_Global.options:vxlan_mode` says that VXLAN is not for traffic between chassis.
//!
//! GRE is Weft's own: OVN's controllers do not know it. So all chassis have to offer it, or none; where some do not, that is a
//! problem. Its keys are as short, but a single chassis cannot shorten those of all others: only where all offer it.

use std::sync::Arc;

use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum};
use relations::{Bucket, Handle, Relation, Small};
use sb_db::tables::{Chassis, Encap};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// Whether keys have to fit into VXLAN or GRE tunnels. There is a value if so.
pub static IS_VXLAN: Relation<(), ()> = Relation::new("vxlan mode");
/// The chassis by what they speak.
static SPEAK: Bucket<u32, Handle> = Bucket::new("chassis by tunnels");
/// Those of this availability zone that do not speak GRE.
const WITHOUT_GRE: u32 = 0;
/// Those of this availability zone that do.
const WITH_GRE: u32 = 1;
/// Those of all zones that speak VXLAN.
const WITH_VXLAN: u32 = 2;

const BY_NAME: Index = Index::south::<Chassis>(Chassis::COLUMN.name.index);
const BY_HOSTNAME: Index = Index::south::<Chassis>(Chassis::COLUMN.hostname.index);
const MODE: &str = "vxlan_mode";
/// The greatest key of a datapath of this zone, told northbound.
const MAX_KEY: &str = "max_tunid";
/// What fits into 12 bits, and what 24 bits leave beside the keys of other zones.
const MAX_KEYS: [u32; 2] = [(1 << 12) - 1, (1 << 24) - (1 << 16)];

static TOLD: Owned = Owned {
    keys: &[(NbGlobal::COLUMN.options.index, &[MAX_KEY])],
    sure: &[MAX_KEY],
    ..Owned::north_columns::<NbGlobal>(&[NbGlobal::COLUMN.options.index])
};

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
    owns: &[&TOLD],
    relations: &[&IS_VXLAN, &SPEAK],
    kinds: &[&SPEAKS, &VXLAN, &MIXED],
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
    says: &[&SPEAK],
    wants: &[],
    run: |unit, key| {
        let chassis = Handle::unpack(key);
        let Some(kinds) = tunnel_kinds(unit, chassis) else {
            return;
        };
        let speaks = |kind| kinds.iter().any(|of| &**of == kind);
        let gre = speaks("gre");
        if speaks("vxlan") {
            unit.join(&SPEAK, WITH_VXLAN, chassis);
        }
        let row = unit.south(chassis);
        let config = row.map(|row| row.get(Chassis::COLUMN.other_config.index));
        let is_remote = config.and_then(|config| config.get_str("is-remote"));
        if !ovsdb::truth(is_remote, false) {
            let side = if gre { WITH_GRE } else { WITHOUT_GRE };
            unit.join(&SPEAK, side, chassis);
        }
    },
};

static VXLAN: Kind = Kind {
    name: "chassis/vxlan",
    over: Over::North(NbGlobal::INDEX),
    reads: &[&SPEAK],
    says: &[&IS_VXLAN],
    wants: &[],
    run: |unit, key| {
        let global = Handle::unpack(key);
        let row = unit.north(global);
        let mode = row.and_then(|row| row.get(NbGlobal::COLUMN.options.index).get_str(MODE));
        let has = |side| !unit.members(&SPEAK, side).is_empty();
        let is_vxlan = has(WITH_VXLAN) && ovsdb::truth(mode, true);
        let is_short = is_vxlan || has(WITH_GRE) && !has(WITHOUT_GRE);
        if is_short {
            unit.say(&IS_VXLAN, (), ());
        }
        let max = MAX_KEYS[usize::from(!is_short)].to_string();
        let pair = (Atom::from(MAX_KEY), Atom::from(max));
        let columns = [(NbGlobal::COLUMN.options.index, Datum::map([pair]))];
        unit.columns::<NbGlobal>(&TOLD, global, columns);
    },
};

static MIXED: Kind = Kind {
    name: "chassis/gre",
    over: Over::North(NbGlobal::INDEX),
    reads: &[&SPEAK],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (with, without) = (
            unit.members(&SPEAK, WITH_GRE),
            unit.members(&SPEAK, WITHOUT_GRE),
        );
        // The same ones whatever the order in which they came, so that nothing is told anew after a restart.
        let least = |chassis: &[Handle]| {
            chassis
                .iter()
                .copied()
                .min_by_key(|row| unit.south_uuid(*row))
        };
        let (Some(one), Some(other)) = (least(with), least(without)) else {
            return;
        };
        let [one, other] = [one, other].map(|chassis| {
            let row = unit.south(chassis);
            row.map(|row| Chassis::COLUMN.name.get(row))
                .unwrap_or_default()
        });
        let why = format!(
            "chassis {one} offers GRE tunnels and chassis {other} does not, {} and {} in all: packets between them may find no way",
            with.len(),
            without.len()
        );
        let remedy = "put gre into ovn-encap-type of every chassis or of none: OVN's controllers do not know it";
        let mut complaints = unit.complaints::<NbGlobal>(Handle::unpack(key), "".into());
        complaints.column("_uuid", why, remedy);
        unit.problems(complaints.into_problems());
    },
};

/// The kinds of tunnels that a chassis offers. A gateway to physical switches (`is-vtep`) does not count: it is no chassis that
/// ports are on.
fn tunnel_kinds(unit: &Unit<'_>, chassis: Handle) -> Option<Vec<Arc<str>>> {
    let row = unit.south(chassis)?;
    let column = Chassis::COLUMN;
    let config = row.get(column.other_config.index);
    if ovsdb::truth(config.get_str("is-vtep"), false) {
        return None;
    }
    let encaps: Vec<Uuid> = column.encaps.get(row);
    let kinds = encaps.into_iter().filter_map(|encap| {
        let encap = unit.find_south::<Encap>(encap)?;
        Some(Encap::COLUMN.r#type.get(unit.south(encap)?))
    });
    Some(kinds.collect())
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

#[cfg(test)]
mod tests {
    use nb_db::tables::{LogicalSwitch, WeftProblem};
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::{World, insert};

    /// Who has a key keeps it, and is told while it does not fit.
    #[test]
    fn a_key_that_is_too_large_for_a_new_chassis_is_told() {
        let uuid = Uuid::from_u128;
        let mut world = World::new();
        let mut switch = LogicalSwitch {
            name: "s".into(),
            ..Default::default()
        };
        let config = LogicalSwitch::COLUMN.other_config;
        let asks: std::collections::BTreeMap<Arc<str>, Arc<str>> =
            [("requested-tnl-key".into(), "5000".into())].into();
        switch.other_config = asks;
        world.north(vec![insert(uuid(1), &switch)]);
        let nothing = vec![config.to(&std::collections::BTreeMap::default())];
        let update = Operation::update_row(LogicalSwitch::INDEX, uuid(1), nothing);
        world.north(vec![update]);
        let told = |world: &World| -> Vec<String> {
            let problems = world.nb::<WeftProblem>().into_iter();
            problems
                .map(|(_, problem)| problem.why.to_string())
                .collect()
        };
        assert_eq!(told(&world), [""; 0]);
        let max = |world: &World| {
            let globals = world.nb::<NbGlobal>();
            let options = globals.first().map(|(_, global)| global.options.clone());
            options.and_then(|options| Some(options.get(MAX_KEY)?.to_string()))
        };
        assert_eq!(max(&world).as_deref(), Some("16711680"));
        let chassis = Chassis {
            name: "hv1".into(),
            encaps: vec![uuid(3)],
            ..Default::default()
        };
        let end = Encap {
            r#type: "vxlan".into(),
            ip: "192.0.2.1".into(),
            chassis_name: "hv1".into(),
            ..Default::default()
        };
        world.south(vec![insert(uuid(2), &chassis), insert(uuid(3), &end)]);
        let problems = told(&world);
        assert!(
            problems.len() == 1 && problems[0].starts_with("tunnel key 5000 does not fit"),
            "{problems:?}"
        );
        assert_eq!(max(&world).as_deref(), Some("4095"));
        world.south(vec![Operation::delete_row(Chassis::INDEX, uuid(2))]);
        assert_eq!(told(&world), [""; 0]);
        assert_eq!(max(&world).as_deref(), Some("16711680"));
    }
}
