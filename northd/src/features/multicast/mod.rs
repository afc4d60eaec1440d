//! Multicast groups: what a packet can be output to that is for several ports at once.
//!
//! Guarantees that `_MC_flood` has every enabled port that takes multicast, and `_MC_unknown` the enabled ports that take
//! unknown addresses, and `_MC_flood_l2` those of the first that lead to no router. A group exists while it has members; each port says for itself where it belongs.

use addr::PortKey;
use ovsdb::Datum;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Key, Set, Small};
use sb_db::tables::{DatapathBinding, MulticastGroup};

use super::ports::{self, PortKind};
use super::switch::DATAPATH;
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::unit::Unit;

/// The ports of each group of each switch.
pub static MEMBERS: Set<(Handle, u32)> = Set::new("multicast group");

/// The groups that every switch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every enabled port.
    Flood,
    /// The enabled ports that take unknown addresses.
    Unknown,
    /// Every enabled port that does not lead to a router.
    FloodL2,
}

impl Group {
    const ALL: [Self; 3] = [Self::Flood, Self::Unknown, Self::FloodL2];

    /// The name in matches and actions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "_MC_flood",
            Self::Unknown => "_MC_unknown",
            Self::FloodL2 => "_MC_flood_l2",
        }
    }

    /// The key on the wire.
    pub const fn key(self) -> PortKey {
        match self {
            Self::Flood => PortKey::FLOOD,
            Self::Unknown => PortKey::UNKNOWN,
            Self::FloodL2 => PortKey::FLOOD_L2,
        }
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
    indexes: &[OF_DATAPATH],
    owns: &[&ROWS],
    kinds: &[&JOIN, &GROUP],
    ..Feature::new("multicast")
};

static JOIN: Kind = ports::kind!([], [&MEMBERS], |unit, view| {
    let port = view.port;
    if !port.is_enabled {
        return;
    }
    let is_link = matches!(port.kind, PortKind::Router { .. });
    let takes = [
        (Group::Flood, port.takes_multicast),
        (Group::Unknown, port.is_unknown),
        (Group::FloodL2, port.takes_multicast && !is_link),
    ];
    for (group, _) in takes.into_iter().filter(|(_, takes)| *takes) {
        let key = (view.switch, u32::from(group.key().get()));
        unit.member(&MEMBERS, key, view.binding.uuid);
    }
});

static GROUP: Kind = Kind {
    name: "multicast-group",
    over: Over::Keys(&MEMBERS),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: group,
};

fn group(unit: &mut Unit<'_>, key: Key) {
    let (switch, number) = <(Handle, u32)>::unpack(key);
    let (Some(datapath), Some(group)) = (unit.get(&DATAPATH, switch), Group::of(number)) else {
        return;
    };
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
