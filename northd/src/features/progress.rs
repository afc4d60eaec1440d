//! How far a configuration has come: `nb_cfg` goes south, `sb_cfg` and `hv_cfg` come back.
//!
//! `SB_Global` says what `NB_Global` says, and is written when everything before it is: who sees the number there sees what
//! it stands for. `sb_cfg` follows when that is committed; `hv_cfg` is the least of what chassis confirm. Chassis of other
//! zones (`other_config:is-remote`) confirm nothing here and do not count. Without a chassis there is nobody to wait for.

use nb_db::tables::NbGlobal;
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Bucket, Handle, Key, Relation, Small};
use sb_db::tables::{Chassis, ChassisPrivate, SbGlobal};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Foreign, Kind, Over, Owned, Side, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// A configuration, and when it was reached (milliseconds since 1970).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    cfg: i64,
    at_ms: i64,
}

/// What a chassis confirms, in an order where the least and latest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Confirmed {
    cfg: i64,
    at_ms: std::cmp::Reverse<i64>,
    chassis: Handle,
}

/// Which northd has compiled, told in both databases.
const VERSION: &str = "northd_internal_version";

/// The rows of the two global tables.
static NORTH: Relation<(), Handle> = Relation::new("NB_Global");
static SOUTH: Relation<(), Handle> = Relation::new("SB_Global");
/// `nb_cfg` of both.
static NORTH_CFG: Relation<(), i64> = Relation::new("northbound nb_cfg");
static SOUTH_CFG: Relation<(), i64> = Relation::new("southbound nb_cfg");
/// The same with the time at which northd saw them.
static SEEN: Relation<(), Reached> = Relation::new("seen");
static COMMITTED: Relation<(), Reached> = Relation::new("committed");
/// What each chassis confirms.
static CONFIRMED: Bucket<(), Confirmed> = Bucket::new("confirmed");

static SOUTH_ROW: Owned = Owned {
    keeps: true,
    last: true,
    foreign: &[Foreign {
        column: SbGlobal::COLUMN.options.index,
        keys: &["sbctl_probe_interval"],
        lives_by: None,
    }],
    ..Owned::south::<SbGlobal>(&[
        SbGlobal::COLUMN.nb_cfg.index,
        SbGlobal::COLUMN.options.index,
        SbGlobal::COLUMN.ipsec.index,
    ])
};
static NORTH_VERSION: Owned = Owned {
    keys: &[(NbGlobal::COLUMN.options.index, &[VERSION])],
    sure: &[VERSION],
    ..Owned::north_columns::<NbGlobal>(&[NbGlobal::COLUMN.options.index])
};
static NORTH_ROW: Owned = Owned {
    side: Side::North,
    table: NbGlobal::INDEX,
    columns: &[
        NbGlobal::COLUMN.nb_cfg_timestamp.index,
        NbGlobal::COLUMN.sb_cfg.index,
        NbGlobal::COLUMN.sb_cfg_timestamp.index,
        NbGlobal::COLUMN.hv_cfg.index,
        NbGlobal::COLUMN.hv_cfg_timestamp.index,
    ],
    whole: true,
    keeps: true,
    last: false,
    is_unread: true,
    sure: &[],
    foreign: &[],
    keys: &[],
    initial: &[],
};

/// The keys that go southbound for controllers to read.
const OPTIONS: &[&str] = &[
    "always_tunnel",
    "bfd-decay-min-rx",
    "bfd-min-rx",
    "bfd-min-tx",
    "bfd-mult",
    "debug_drop_collector_set",
    "debug_drop_domain_id",
    "enable_chassis_nb_cfg_update",
    "ipsec_*",
    // What OVN's northd writes there for itself.
    "mac_prefix",
    "max_tunid",
    "name",
    "nbctl_probe_interval",
    "northd_internal_version",
    "svc_monitor_mac",
    "svc_monitor_mac_dst",
    "use_logical_dp_groups",
    "use_parallel_build",
];

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<NbGlobal>(&[
            NbGlobal::COLUMN.name.index,
            NbGlobal::COLUMN.nb_cfg.index,
            NbGlobal::COLUMN.ipsec.index,
        ])
        .keys(&[(NbGlobal::COLUMN.options.index, OPTIONS)]),
        Source::south::<ChassisPrivate>(&[
            ChassisPrivate::COLUMN.name.index,
            ChassisPrivate::COLUMN.chassis.index,
            ChassisPrivate::COLUMN.nb_cfg.index,
            ChassisPrivate::COLUMN.nb_cfg_timestamp.index,
        ]),
        Source::south::<Chassis>(&[Chassis::COLUMN.other_config.index]),
    ],
    owns: &[&SOUTH_ROW, &NORTH_ROW, &NORTH_VERSION],
    relations: &[
        &NORTH, &SOUTH, &NORTH_CFG, &SOUTH_CFG, &SEEN, &COMMITTED, &CONFIRMED,
    ],
    kinds: &[
        &MODEL_NORTH,
        &MODEL_SOUTH,
        &SEE,
        &COMMIT,
        &CONFIRM,
        &CREATE,
        &GO_SOUTH,
        &TELL,
    ],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 4,
            run: random::next_cfg,
        },
        Change {
            weight: 1,
            run: random::unread,
        },
    ],
    ..Feature::new("progress")
};

static MODEL_NORTH: Kind = Kind {
    name: "model/global",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&NORTH, &NORTH_CFG],
    wants: &[],
    run: |unit, key| {
        let handle = Handle::unpack(key);
        if let Some(row) = unit.north(handle) {
            unit.say(&NORTH, (), handle);
            unit.say(&NORTH_CFG, (), NbGlobal::COLUMN.nb_cfg.get(row));
        }
    },
};

static MODEL_SOUTH: Kind = Kind {
    name: "model/global",
    over: Over::South(SbGlobal::INDEX),
    reads: &[],
    says: &[&SOUTH, &SOUTH_CFG],
    wants: &[],
    run: |unit, key| {
        let handle = Handle::unpack(key);
        if let Some(row) = unit.south(handle) {
            unit.say(&SOUTH, (), handle);
            unit.say(&SOUTH_CFG, (), SbGlobal::COLUMN.nb_cfg.get(row));
        }
    },
};

static SEE: Kind = Kind {
    name: "progress/seen",
    over: Over::Shared(&NORTH_CFG),
    reads: &[],
    says: &[&SEEN],
    wants: &[],
    run: |unit, _| {
        if let Some(cfg) = unit.get(&NORTH_CFG, ()).copied() {
            let at_ms = unit.now_ms();
            unit.say(&SEEN, (), Reached { cfg, at_ms });
        }
    },
};

static COMMIT: Kind = Kind {
    name: "progress/committed",
    over: Over::Shared(&SOUTH_CFG),
    reads: &[],
    says: &[&COMMITTED],
    wants: &[],
    run: |unit, _| {
        if let Some(cfg) = unit.get(&SOUTH_CFG, ()).copied() {
            let at_ms = unit.now_ms();
            unit.say(&COMMITTED, (), Reached { cfg, at_ms });
        }
    },
};

static CONFIRM: Kind = Kind {
    name: "progress/chassis",
    over: Over::South(ChassisPrivate::INDEX),
    reads: &[],
    says: &[&CONFIRMED],
    wants: &[],
    run: |unit, key| {
        let handle = Handle::unpack(key);
        let Some(row) = unit.south(handle) else {
            return;
        };
        let column = ChassisPrivate::COLUMN;
        if !is_remote(unit, column.chassis.get(row)) {
            let confirmed = Confirmed {
                cfg: column.nb_cfg.get(row),
                at_ms: std::cmp::Reverse(column.nb_cfg_timestamp.get(row)),
                chassis: handle,
            };
            unit.join(&CONFIRMED, (), confirmed);
        }
    },
};

/// A database without `NB_Global` gets one.
static CREATE: Kind = Kind {
    name: "progress/create",
    over: Over::Once,
    reads: &[&NORTH],
    says: &[],
    wants: &[],
    run: |unit, _| {
        if unit.get(&NORTH, ()).is_none() {
            let uuid = identity::named(NbGlobal::NAME, Uuid::nil(), "");
            unit.north_row::<NbGlobal>(&NORTH_ROW, uuid, []);
        }
    },
};

static GO_SOUTH: Kind = Kind {
    name: "progress/southbound",
    over: Over::Shared(&NORTH),
    reads: &[&SOUTH],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let Some(handle) = unit.get(&NORTH, ()).copied() else {
            return;
        };
        let Some(row) = unit.north(handle) else {
            return;
        };
        let (nb, sb) = (NbGlobal::COLUMN, SbGlobal::COLUMN);
        let mut options = nb.options.get(row);
        let version = unit.version().to_owned();
        let pair = (Atom::from(VERSION), Atom::from(version.as_str()));
        let told = [(nb.options.index, Datum::map([pair]))];
        unit.columns::<NbGlobal>(&NORTH_VERSION, handle, told);
        options.insert(VERSION.into(), version.as_str().into());
        // Load balancers mark connections in `ct_mark`, not in `ct_label`: controllers of some versions have to be told.
        options.insert("lb_hairpin_use_ct_mark".into(), "true".into());
        let columns = [
            sb.nb_cfg.to(&nb.nb_cfg.get(row)),
            (sb.options.index, options.to_datum()),
            sb.ipsec.to(&nb.ipsec.get(row)),
        ];
        let known = unit.get(&SOUTH, ()).map(|south| unit.south_uuid(*south));
        let uuid = known.unwrap_or_else(|| identity::named(SbGlobal::NAME, Uuid::nil(), ""));
        unit.row::<SbGlobal>(uuid, columns);
    },
};

static TELL: Kind = Kind {
    name: "progress/northbound",
    over: Over::Shared(&NORTH),
    reads: &[&SEEN, &COMMITTED, &CONFIRMED],
    says: &[],
    wants: &[],
    run: tell,
};

/// Times alone are no reason to write.
fn tell(unit: &mut Unit<'_>, _: Key) {
    let (Some(global), Some(committed)) = (unit.get(&NORTH, ()), unit.get(&COMMITTED, ())) else {
        return;
    };
    let Some(row) = unit.north(*global) else {
        return;
    };
    let confirmed = unit.members(&CONFIRMED, ()).first();
    let column = NbGlobal::COLUMN;
    // Chassis may confirm what a northbound that was restored has not asked for yet.
    let chassis = confirmed.map_or(*committed, |confirmed| Reached {
        cfg: confirmed.cfg.min(column.nb_cfg.get(row)),
        at_ms: confirmed.at_ms.0,
    });
    let seen = unit.get(&SEEN, ()).copied().unwrap_or_default();
    let is_told = column.sb_cfg.get(row) == committed.cfg && column.hv_cfg.get(row) == chassis.cfg;
    let columns: Vec<(usize, Datum)> = if is_told {
        let columns = NORTH_ROW.columns.iter();
        columns
            .map(|column| (*column, row.get(*column).clone()))
            .collect()
    } else {
        vec![
            column.nb_cfg_timestamp.to(&seen.at_ms),
            column.sb_cfg.to(&committed.cfg),
            column.sb_cfg_timestamp.to(&committed.at_ms),
            column.hv_cfg.to(&chassis.cfg),
            column.hv_cfg_timestamp.to(&chassis.at_ms),
        ]
    };
    unit.north_row::<NbGlobal>(&NORTH_ROW, unit.uuid(*global), columns);
}

fn is_remote(unit: &Unit<'_>, chassis: Option<Uuid>) -> bool {
    let found = chassis.and_then(|chassis| unit.find_south::<Chassis>(chassis));
    let row = found.and_then(|found| unit.south(found));
    row.is_some_and(|row| {
        let config = row.get(Chassis::COLUMN.other_config.index);
        ovsdb::truth(config.get_str("is-remote"), false)
    })
}

impl Small for Confirmed {
    fn pack(self) -> Key {
        let words = |value: i64| {
            let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
            [
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]),
            ]
        };
        let ([a, b], [c, d]) = (words(self.cfg), words(self.at_ms.0));
        let [chassis, ..] = self.chassis.pack().words();
        Key::new([a, b, c, d, chassis])
    }

    fn unpack(key: Key) -> Self {
        let [a, b, c, d, chassis] = key.words();
        let value = |high: u32, low: u32| (i64::from(high.cast_signed()) << 32) | i64::from(low);
        Self {
            cfg: value(a, b),
            at_ms: std::cmp::Reverse(value(c, d)),
            chassis: Handle::unpack(Key::new([chassis, 0, 0, 0, 0])),
        }
    }
}
