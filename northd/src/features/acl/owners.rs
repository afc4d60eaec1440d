//! Who has rules, and of what sort: what a switch needs beyond the rules' own flows.
//!
//! A rule tells its owners, switches and port groups, which *traits* it brings: that connections are tracked, that a tier is
//! asked at a point. An owner has a trait while one of its rules has it, and a switch has those of its own and of the groups
//! that have ports on it. What follows from a trait is flows that all such switches share; so a rule that brings one costs a
//! member of a set for each switch, and a rule that brings none, nothing.

use std::ops::BitOr;

use ovsdb::Uuid;
use relations::{Handle, Relation, Set, Small};

use super::{LAST_TIER, Point};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::port_groups;
use crate::features::switch::DATAPATH;

/// The rules of an owner that bring a trait.
static TRAITS: Set<(Handle, u32)> = Set::new("acl traits");
/// The rules of an owner.
static RULES: Set<Handle> = Set::new("acls of an owner");
/// The traits of an owner, each by itself.
pub(super) static HAS: Relation<(Handle, u32), ()> = Relation::new("acl trait");
/// The traits of an owner, together.
pub(super) static PROFILE: Relation<Handle, Profile> = Relation::new("acl profile");

/// The datapaths of switches with rules.
pub(super) static RULED_SWITCHES: Set<()> = Set::new("switches with acls");
/// The datapaths of switches that track connections.
pub(super) static TRACKING: Set<()> = Set::new("switches with stateful acls");
/// The datapaths of switches with connections that outlive what other rules say.
pub(super) static PERSISTING: Set<()> = Set::new("switches with persistent acls");
/// The datapaths of switches where a tier is asked, by trait.
pub(super) static TIERS: Set<u32> = Set::new("switches with acl tiers");
/// The datapaths of the switches where a port group has ports.
pub(super) static OF_PORT_GROUP: Set<Handle> = Set::new("switches of a port group with acls");

/// The same by switch.
static RULED_SWITCH: Set<Handle> = Set::new("switch with acls");
static TRACKING_SWITCH: Set<Handle> = Set::new("switch with stateful acls");
/// There is a value for each switch with rules.
pub static HAS_RULES: Relation<Handle, ()> = Relation::new("has acls");
/// There is a value for each switch that tracks connections.
pub(super) static IS_TRACKED: Relation<Handle, ()> = Relation::new("has stateful acls");

/// Traits: bit 0 says that connections are tracked, the last that some persist, the others that a tier above the lowest is asked at a
/// point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Profile(u16);

impl Profile {
    /// Connections are tracked.
    pub(super) const TRACKS: Self = Self(1);

    /// Connections persist.
    pub(super) const PERSISTS: Self = Self(1 << PERSISTENT);

    /// The tiers up to `tier` are asked.
    pub(super) fn tiers(point: Point, tier: u8) -> Self {
        let mut bits = 0;
        for tier in 1..=tier.min(LAST_TIER) {
            bits |= 1 << tier_trait(point, tier);
        }
        Self(bits)
    }

    /// The numbers of its traits.
    fn traits(self) -> impl Iterator<Item = u32> {
        (0..u16::BITS).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl BitOr for Profile {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The number of the trait that connections persist.
const PERSISTENT: u32 = 1 + Point::ALL.len() as u32 * LAST_TIER as u32;

/// The number of the trait that a tier is asked.
fn tier_trait(point: Point, tier: u8) -> u32 {
    1 + point as u32 * u32::from(LAST_TIER) + u32::from(tier - 1)
}

/// The point and the tier of a trait.
pub(super) fn tier_of(number: u32) -> Option<(Point, u8)> {
    let mut all = Point::ALL.into_iter();
    all.find_map(|point| {
        let mut tiers = 1..=LAST_TIER;
        let tier = tiers.find(|tier| tier_trait(point, *tier) == number)?;
        Some((point, tier))
    })
}

/// An owner has a rule of this sort.
pub(super) fn say(unit: &mut Unit<'_>, owner: Handle, rule: Uuid, profile: Profile) {
    unit.member(&RULES, owner, rule);
    for number in profile.traits() {
        unit.member(&TRAITS, (owner, number), rule);
    }
}

/// What [`say`] says.
pub(super) const SAYS: &[&dyn relations::Declared] = &[&RULES, &TRAITS];

pub(super) static TRAIT: Kind = Kind {
    name: "acl/trait",
    over: Over::Keys(&TRAITS),
    reads: &[],
    says: &[&HAS],
    wants: &[],
    run: |unit, key| unit.say(&HAS, <(Handle, u32)>::unpack(key), ()),
};

pub(super) static PROFILES: Kind = Kind {
    name: "acl/profile",
    over: Over::Keys(&RULES),
    reads: &[&HAS],
    says: &[&PROFILE],
    wants: &[],
    run: |unit, key| {
        let owner = Handle::unpack(key);
        let all = 0..=PERSISTENT;
        let has = all.filter(|number| unit.get(&HAS, (owner, *number)).is_some());
        let profile = has.fold(0, |bits, number| bits | 1 << number);
        unit.say(&PROFILE, owner, Profile(profile));
    },
};

const SETS: &[&dyn relations::Declared] = &[
    &RULED_SWITCHES,
    &TRACKING,
    &PERSISTING,
    &TIERS,
    &RULED_SWITCH,
    &TRACKING_SWITCH,
];

pub(super) static OF_SWITCH: Kind = Kind {
    name: "acl/switch",
    over: Over::Keys(&PROFILE),
    reads: &[&DATAPATH],
    says: SETS,
    wants: &[],
    run: |unit, key| {
        let owner = Handle::unpack(key);
        let profile = unit.get(&PROFILE, owner).copied();
        // Routers and port groups have none, or none here.
        if let (Some(profile), Some(datapath)) = (profile, unit.get(&DATAPATH, owner)) {
            join(unit, owner, datapath.uuid, profile);
        }
    },
};

pub(super) static OF_GROUP: Kind = Kind {
    name: "port-group",
    over: Over::Keys(&port_groups::MEMBERS),
    reads: &[&PROFILE, &DATAPATH],
    says: &[
        &RULED_SWITCHES,
        &TRACKING,
        &PERSISTING,
        &TIERS,
        &RULED_SWITCH,
        &TRACKING_SWITCH,
        &OF_PORT_GROUP,
    ],
    wants: &[],
    run: |unit, key| {
        let (group, switch) = <(Handle, Handle)>::unpack(key);
        let profile = unit.get(&PROFILE, group).copied();
        if let (Some(profile), Some(datapath)) = (profile, unit.get(&DATAPATH, switch)) {
            unit.member(&OF_PORT_GROUP, group, datapath.uuid);
            join(unit, switch, datapath.uuid, profile);
        }
    },
};

fn join(unit: &mut Unit<'_>, switch: Handle, datapath: Uuid, profile: Profile) {
    unit.member(&RULED_SWITCHES, (), datapath);
    unit.member(&RULED_SWITCH, switch, datapath);
    for number in profile.traits() {
        if tier_of(number).is_some() {
            unit.member(&TIERS, number, datapath);
        } else if number == PERSISTENT {
            unit.member(&PERSISTING, (), datapath);
        } else {
            unit.member(&TRACKING, (), datapath);
            unit.member(&TRACKING_SWITCH, switch, datapath);
        }
    }
}

/// The sets that [`track`] says.
pub const TRACKED_SETS: [&dyn relations::Declared; 2] = [&TRACKING, &TRACKING_SWITCH];

/// Connections of a switch are tracked, whatever its rules are.
pub fn track(unit: &mut Unit<'_>, switch: Handle, datapath: Uuid) {
    unit.member(&TRACKING, (), datapath);
    unit.member(&TRACKING_SWITCH, switch, datapath);
}

pub(super) static RULED: Kind = Kind {
    name: "acl/ruled",
    over: Over::Keys(&RULED_SWITCH),
    reads: &[],
    says: &[&HAS_RULES],
    wants: &[],
    run: |unit, key| unit.say(&HAS_RULES, Handle::unpack(key), ()),
};

pub(super) static TRACKED: Kind = Kind {
    name: "acl/tracked",
    over: Over::Keys(&TRACKING_SWITCH),
    reads: &[],
    says: &[&IS_TRACKED],
    wants: &[],
    run: |unit, key| unit.say(&IS_TRACKED, Handle::unpack(key), ()),
};
