//! Logical switches: broadcast domains, each a datapath southbound.
//!
//! Guarantees that every switch has a `Datapath_Binding` with a tunnel key that it keeps for life, and that all switches are
//! in the set for which shared flows are. Which ports a switch has is no part of it: that is an index.

use std::sync::Arc;

use addr::DatapathKey;
use nb_db::tables::LogicalSwitch;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::DatapathBinding;
use uuid::Uuid;

use super::chassis;
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Feature, Index, Kind, Over, Owned, Pool, Source};
use crate::compiler::identity;
use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// Switches that make sense.
pub static SWITCH: Relation<Handle, Switch> = Relation::new("switch");
/// The datapath of each switch.
pub static DATAPATH: Relation<Handle, Identity> = Relation::new("datapath");
/// The datapaths of all switches.
pub static SWITCHES: Set<()> = Set::new("switches");
/// The set of all switches in the identity of its group.
pub const SWITCHES_NAME: &str = "switches";

/// The keys of datapaths, those of routers among them.
pub static KEYS: Pool = Pool::new(
    &DATAPATH,
    (
        LogicalSwitch::NAME,
        LogicalSwitch::COLUMN.other_config.name,
        Pool::TUNNEL_KEY,
    ),
    Conflict::Another,
);

/// By the northbound row: one of the values of `external_ids`.
const BY_ROW: Index = Index::south::<DatapathBinding>(DatapathBinding::COLUMN.external_ids.index);

static ROWS: Owned = Owned::south::<DatapathBinding>(&[
    DatapathBinding::COLUMN.tunnel_key.index,
    DatapathBinding::COLUMN.r#type.index,
    DatapathBinding::COLUMN.nb_uuid.index,
    DatapathBinding::COLUMN.external_ids.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::north::<LogicalSwitch>(&[
        LogicalSwitch::COLUMN.name.index,
        LogicalSwitch::COLUMN.ports.index,
    ])
    .keys(&[(
        LogicalSwitch::COLUMN.other_config.index,
        &[
            "requested-tnl-key",
            "vlan-passthru",
            "broadcast-arps-to-all-routers",
            "fdb_age_threshold",
            "mtu",
        ],
    )])],
    indexes: &[BY_ROW],
    owns: &[&ROWS],
    relations: &[&SWITCH, &DATAPATH],
    pools: &[&KEYS],
    kinds: &[&MODEL, &WISH, &BINDING],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 4,
            run: random::add_switch,
        },
        Change {
            weight: 2,
            run: random::del_switch,
        },
        Change {
            weight: 5,
            run: random::change_switch,
        },
    ],
    ..Feature::new("switch")
};

static MODEL: Kind = Kind {
    name: "model/switch",
    over: Over::North(LogicalSwitch::INDEX),
    reads: &[],
    says: &[&SWITCH],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (switch, problems) = Switch::parse(unit.uuid(row), columns);
        unit.say(&SWITCH, row, switch);
        unit.problems(problems);
    },
};

static WISH: Kind = Kind {
    name: "alloc/switch",
    over: Over::Keys(&SWITCH),
    reads: &[&chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: wish,
};

static BINDING: Kind = Kind {
    name: "switch",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH],
    says: &[&SWITCHES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(switch), Some(datapath)) = (unit.get(&SWITCH, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        let columns = columns(unit.uuid(row), switch, *datapath);
        unit.row::<DatapathBinding>(datapath.uuid, columns);
        unit.member(&SWITCHES, (), datapath.uuid);
    },
};

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(switch) = unit.get(&SWITCH, row) else {
        return;
    };
    let name = Arc::clone(&switch.name);
    unit.want(wanted(
        unit,
        row,
        "logical-switch",
        name,
        switch.requested_key,
    ));
}

/// The wish for the key of a datapath. `kind` is what it is called among `external_ids`.
pub fn wanted(
    unit: &Unit<'_>,
    row: Handle,
    kind: &str,
    name: Arc<str>,
    requested: Option<u32>,
) -> Want {
    let uuid = unit.uuid(row);
    let text = uuid.hyphenated().to_string();
    let column = DatapathBinding::COLUMN;
    let recorded = unit
        .recorded(BY_ROW, &Atom::from(text.as_str()))
        .find(|(_, row)| row.get(column.external_ids.index).get_str(kind) == Some(&text));
    let max = match unit.get(&chassis::IS_VXLAN, ()) {
        Some(()) => (DatapathKey::MAX_VXLAN, DatapathKey::MAX_VXLAN),
        // Keys above are for datapaths that several zones share: whoever asks for one gets it.
        None => (DatapathKey::MAX_LOCAL, DatapathKey::MAX),
    };
    Want {
        pool: &KEYS,
        owner: row.pack(),
        row: uuid,
        about: None,
        name,
        place: None,
        among: Key::default(),
        derived: identity::datapath(uuid),
        identity: recorded.map_or_else(|| identity::datapath(uuid), |(known, _)| known),
        recorded: recorded.and_then(|(_, row)| u32::try_from(column.tunnel_key.get(row)).ok()),
        requested,
        preferred: None,
        max,
    }
}

fn columns(row: Uuid, switch: &Switch, datapath: Identity) -> [(usize, Datum); 4] {
    let column = DatapathBinding::COLUMN;
    let uuid = row.hyphenated().to_string();
    let mut external_ids = vec![
        (Atom::from("logical-switch"), Atom::from(uuid)),
        (Atom::from("name"), Atom::from(switch.name.clone())),
    ];
    if let Some(name) = &switch.display_name {
        external_ids.push((Atom::from("name2"), Atom::from(name.clone())));
    }
    if let Some(age_s) = switch.fdb_age_s {
        let age = (
            Atom::from("fdb_age_threshold"),
            Atom::from(age_s.to_string()),
        );
        external_ids.push(age);
    }
    [
        column.tunnel_key.to(&i64::from(datapath.key)),
        (column.r#type.index, Datum::from("logical-switch")),
        (column.nb_uuid.index, Datum::One(Atom::Uuid(row))),
        (column.external_ids.index, Datum::map(external_ids)),
    ]
}

/// A logical switch that makes sense. Which ports it has is not part of it: that is an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// `name`, which need not be unique.
    pub name: Arc<str>,
    /// A name for people, from `external_ids:neutron:network_name`.
    pub display_name: Option<Arc<str>>,
    /// `other_config:requested-tnl-key`.
    pub requested_key: Option<u32>,
    /// Whether frames with a VLAN tag pass (`other_config:vlan-passthru`).
    pub is_vlan_transparent: bool,
    /// How many seconds learned addresses are remembered of which nobody has heard, if not for ever
    /// (`other_config:fdb_age_threshold`).
    pub fdb_age_s: Option<u32>,
    /// How many bytes packets may have on its physical networks (`other_config:mtu`), if it says so.
    pub mtu: Option<u32>,
    /// Whether requests for addresses of nobody go to routers, too (`other_config:broadcast-arps-to-all-routers`).
    pub asks_routers: bool,
}

impl Switch {
    /// Reads a row. Every row is a switch; what it asks for and cannot have becomes a problem.
    pub fn parse(uuid: Uuid, row: &Row) -> (Self, Vec<Problem>) {
        let column = LogicalSwitch::COLUMN;
        let name: Arc<str> = column.name.get(row);
        let mut complaints = Complaints::about(LogicalSwitch::NAME, uuid, Arc::clone(&name));
        let config: &Datum = row.get(column.other_config.index);
        let options = Options::read(column.other_config.name, config);
        let external_ids = row.get(column.external_ids.index);
        let switch = Self {
            name,
            display_name: external_ids.get_str("neutron:network_name").map(Arc::from),
            requested_key: options.number(
                "requested-tnl-key",
                1..=DatapathKey::MAX,
                &mut complaints,
            ),
            is_vlan_transparent: options.truth("vlan-passthru", false, &mut complaints),
            fdb_age_s: (options.number("fdb_age_threshold", 0..=u32::MAX, &mut complaints))
                .filter(|age_s| *age_s > 0),
            mtu: options.number("mtu", 576..=65_535u32, &mut complaints),
            asks_routers: options.truth("broadcast-arps-to-all-routers", true, &mut complaints),
        };
        (switch, complaints.into_problems())
    }
}
