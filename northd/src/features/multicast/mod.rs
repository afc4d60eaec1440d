//! Multicast groups: what a packet can be output to that is for several ports at once.
//!
//! Guarantees that `_MC_flood` has every enabled port that takes multicast, and `_MC_unknown` the enabled ports that take
//! unknown addresses, and `_MC_flood_l2` those of the first that lead to no router. A group exists while it has members; each port says for itself where it belongs.
//!
//! A switch that snoops ([`snooping`]) has two more, `_MC_static` of the ports that get all IP multicast (`options:mcast_flood`)
//! and `_MC_mrouter_flood` of those behind which multicast routers are; and one for every address that somebody has joined
//! ([`learned`]). What is learned costs its own group and nothing else.

pub mod learned;
mod snooping;

use addr::PortKey;
use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::Datum;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::{DatapathBinding, IgmpGroup, MulticastGroup, PortBinding};

use self::snooping::SNOOPING;
pub use self::snooping::any_group;
use super::matches;
use super::ports::{self, PortKind};
use super::switch::DATAPATH;
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// The ports of each group of each switch, and of each router that relays.
pub static MEMBERS: Set<(Handle, u32)> = Set::new("multicast group");
/// The groups that there are.
pub static EXISTS: Relation<(Handle, u32), ()> = Relation::new("multicast group exists");

/// The groups that every switch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every enabled port.
    Flood,
    /// The enabled ports that take unknown addresses.
    Unknown,
    /// Every enabled port that does not lead to a router.
    FloodL2,
    /// Ports behind which multicast routers are, of a switch that snoops.
    Routers,
    /// Ports that get all IP multicast, of a switch that snoops, or of a router that relays.
    Static,
}

impl Group {
    const ALL: [Self; 5] = [
        Self::Flood,
        Self::Unknown,
        Self::FloodL2,
        Self::Routers,
        Self::Static,
    ];

    /// The name in matches and actions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "_MC_flood",
            Self::Unknown => "_MC_unknown",
            Self::FloodL2 => "_MC_flood_l2",
            Self::Routers => "_MC_mrouter_flood",
            Self::Static => "_MC_static",
        }
    }

    /// The key on the wire.
    pub const fn key(self) -> PortKey {
        match self {
            Self::Flood => PortKey::FLOOD,
            Self::Unknown => PortKey::UNKNOWN,
            Self::FloodL2 => PortKey::FLOOD_L2,
            Self::Routers => PortKey::MROUTER_FLOOD,
            Self::Static => PortKey::STATIC,
        }
    }

    /// Its place among the groups of a datapath.
    pub fn of_datapath(self, datapath: Handle) -> (Handle, u32) {
        (datapath, self.key().get().into())
    }

    /// The group with this key.
    pub fn of(key: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|group| u32::from(group.key().get()) == key)
    }
}

const OF_DATAPATH: Index = Index::south::<MulticastGroup>(MulticastGroup::COLUMN.datapath.index);

static ROWS: Owned = Owned::south::<MulticastGroup>(&[
    MulticastGroup::COLUMN.datapath.index,
    MulticastGroup::COLUMN.name.index,
    MulticastGroup::COLUMN.tunnel_key.index,
    MulticastGroup::COLUMN.ports.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.name.index])
            .keys(&[(LogicalSwitch::COLUMN.other_config.index, snooping::KEYS)]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]).keys(&[(
            LogicalSwitchPort::COLUMN.options.index,
            // Which reports it gets is told by controllers.
            &["mcast_flood", "mcast_flood_reports"],
        )]),
        Source::south::<IgmpGroup>(&[
            IgmpGroup::COLUMN.address.index,
            IgmpGroup::COLUMN.datapath.index,
            IgmpGroup::COLUMN.chassis.index,
            IgmpGroup::COLUMN.ports.index,
        ]),
        Source::south::<DatapathBinding>(&[
            DatapathBinding::COLUMN.nb_uuid.index,
            DatapathBinding::COLUMN.external_ids.index,
        ]),
        Source::south::<PortBinding>(&[PortBinding::COLUMN.logical_port.index]),
    ],
    indexes: &[OF_DATAPATH, snooping::OF_DATAPATH, matches::PORTS],
    owns: &[&ROWS, &snooping::ROWS],
    relations: &[
        &EXISTS,
        &RELAYED_BY,
        &SNOOPING,
        &learned::GIVEN,
        &learned::ROUTER_AT,
    ],
    pools: &[&learned::KEYS],
    kinds: &[
        &JOIN,
        &GROUP,
        &snooping::MODEL,
        &snooping::SWITCH,
        &snooping::SHARED,
        &snooping::UNREGISTERED_FLOWS,
        &learned::HEAR,
        &learned::LEARN,
        &learned::WISH,
        &learned::GROUP,
    ],
    rules: &[
        snooping::PUNT,
        snooping::LOCAL,
        snooping::UNREGISTERED,
        learned::GROUP_OF,
    ],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 3,
            run: crate::testing::multicast::snoop,
        },
        Change {
            weight: 4,
            run: crate::testing::multicast::join,
        },
    ],
    ..Feature::new("multicast")
};

/// The ports of switches that lead to a router that relays. Said by the feature `multicast relay`.
pub static RELAYED_BY: Relation<Handle, ()> = Relation::new("leads to a multicast relay");

static JOIN: Kind = ports::kind!([&SNOOPING], [&MEMBERS], |unit, view| {
    let port = view.port;
    if !port.is_enabled {
        return;
    }
    let floods = unit.get(&SNOOPING, view.switch).is_some() && floods(unit, view.row);
    let is_link = matches!(port.kind, PortKind::Router { .. });
    let takes = [
        (Group::Flood, port.takes_multicast),
        (Group::Unknown, port.is_unknown),
        (Group::FloodL2, port.takes_multicast && !is_link),
        (Group::Static, floods),
    ];
    for (group, _) in takes.into_iter().filter(|(_, takes)| *takes) {
        let key = group.of_datapath(view.switch);
        unit.member(&MEMBERS, key, view.binding.uuid);
    }
});

/// Whether a port of a switch gets all IP multicast.
fn floods(unit: &Unit<'_>, port: Handle) -> bool {
    let column = LogicalSwitchPort::COLUMN.options.index;
    let row = unit.north(port);
    row.is_some_and(|row| ovsdb::truth(row.get(column).get_str("mcast_flood"), false))
}

static GROUP: Kind = Kind {
    name: "multicast-group",
    over: Over::Keys(&MEMBERS),
    reads: &[&DATAPATH],
    says: &[&EXISTS],
    wants: &[],
    run: group,
};

fn group(unit: &mut Unit<'_>, key: Key) {
    let (switch, number) = <(Handle, u32)>::unpack(key);
    let (Some(datapath), Some(group)) = (unit.get(&DATAPATH, switch), Group::of(number)) else {
        return;
    };
    unit.say(&EXISTS, (switch, number), ());
    let column = MulticastGroup::COLUMN;
    let recorded = unit
        .recorded_referrers(OF_DATAPATH, DatapathBinding::INDEX, datapath.uuid)
        .find(|(_, row)| &*column.name.get(row) == group.name());
    let uuid = recorded.map_or_else(
        || identity::named(MulticastGroup::NAME, datapath.uuid, group.name()),
        |(uuid, _)| uuid,
    );
    let columns = [
        column.datapath.to(&datapath.uuid),
        (column.name.index, Datum::from(group.name())),
        column.tunnel_key.to(&i64::from(group.key().get())),
    ];
    let sets = Box::new([(column.ports.index, MEMBERS.cell((switch, number)))]);
    unit.row_of_sets::<MulticastGroup>(uuid, columns, sets);
}
