//! What the underlay leaves of a packet for guests: the MTU that DHCP and router advertisements tell where their `mtu` is
//! `auto`.
//!
//! The underlay carries `NB_Global.options:underlay_mtu` bytes, 1,500 if nothing is said. Of these, a tunnel takes, with the
//! guest's Ethernet header:
//!
//! | tunnel | over IPv4 | over IPv6 | left of 1,500 |
//! | --- | --- | --- | --- |
//! | Geneve | 58 | 78 | 1,442 or 1,422 |
//! | VXLAN | 50 | 70 | 1,450 or 1,430 |
//! | GRE | 42 | | 1,458 |
//!
//! A guest may be reached through every kind of tunnel that some chassis offers, so that the one that takes most counts.
//!
//! Packets of a switch with a door to a physical network (`localnet`) go through no tunnel, if all chassis lead to that network
//! (`ovn-bridge-mappings`): there, as many bytes as that network carries (`Logical_Switch.other_config:mtu`, 1,500 if nothing is
//! said) are left. A chassis that does not lead there reaches the others through tunnels, and so do all with
//! `NB_Global.options:always_tunnel`: then packets have to fit into both.

use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use relations::{Bucket, Handle, Relation, Small};
use sb_db::tables::{Chassis, Encap};
use uuid::Uuid;

use super::ports::{LOCALNETS, PORT, PortKind};
use super::switch::SWITCH;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::unit::Unit;

/// How large packets of guests may be, in bytes.
pub static GUEST_MTU: Relation<(), u32> = Relation::new("MTU of guests");
/// What asks for it in place of a number.
pub const AUTO: &str = "auto";

/// The physical networks to which all chassis lead, of those to which some does, by [`network_id`]. None while everything goes
/// through tunnels.
pub static EVERYWHERE: Relation<Uuid, ()> = Relation::new("network of all chassis");

/// How large packets of guests in a switch may be, in bytes. Reads [`GUEST_MTU`], [`SWITCH`], [`LOCALNETS`], [`PORT`] and
/// [`EVERYWHERE`].
pub fn mtu_of(unit: &Unit<'_>, switch: Handle) -> Option<u32> {
    let through_tunnels = unit.get(&GUEST_MTU, ()).copied();
    let doors = unit.members(&LOCALNETS, switch);
    if doors.is_empty() {
        return through_tunnels;
    }
    let of_network = unit.get(&SWITCH, switch).and_then(|switch| switch.mtu);
    let of_network = of_network.unwrap_or(DEFAULT);
    let is_everywhere = |door: Handle| {
        let network = unit.get(&PORT, door).and_then(|port| match &port.kind {
            PortKind::Localnet { network, .. } => Some(network),
            _ => None,
        });
        network.is_some_and(|name| unit.get(&EVERYWHERE, network_id(name)).is_some())
    };
    match doors.iter().all(|(_, door)| is_everywhere(*door)) {
        true => Some(of_network),
        false => through_tunnels.map(|mtu| mtu.min(of_network)),
    }
}

/// What stands for a physical network of this name.
fn network_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::nil(), name.as_bytes())
}

/// The chassis, and those of them that lead to each physical network.
static CHASSIS: Bucket<(), Handle> = Bucket::new("chassis for physical networks");
static LEADERS: Bucket<Uuid, Handle> = Bucket::new("chassis of a physical network");
/// All goes through tunnels.
static ALWAYS: Relation<(), ()> = Relation::new("always tunnel");
const ALWAYS_KEY: &str = "always_tunnel";
const MAPPINGS: &str = "ovn-bridge-mappings";

/// What tunnels take, each with a tunnel end that offers them.
static OVERHEADS: Bucket<(), (u32, Handle)> = Bucket::new("tunnel overheads");

const KEY: &str = "underlay_mtu";
/// Ethernet's.
const DEFAULT: u32 = 1500;
/// What IPv4 has to carry (RFC 791) and what fits into its length.
const RANGE: std::ops::RangeInclusive<u32> = 576..=65_535;
/// Geneve's over IPv4, where no chassis says what it offers.
const USUAL_OVERHEAD: u32 = 58;
/// An IPv6 header is so much longer.
const IPV6_MORE: u32 = 20;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::south::<Encap>(&[Encap::COLUMN.r#type.index, Encap::COLUMN.ip.index]),
        Source::south::<Chassis>(&[Chassis::COLUMN.other_config.index]),
        Source::north::<NbGlobal>(&[])
            .keys(&[(NbGlobal::COLUMN.options.index, &[KEY, ALWAYS_KEY])]),
    ],
    relations: &[
        &GUEST_MTU,
        &OVERHEADS,
        &EVERYWHERE,
        &CHASSIS,
        &LEADERS,
        &ALWAYS,
    ],
    kinds: &[&OF_TUNNEL, &OF_ALL, &OF_CHASSIS, &OF_NETWORK],
    ..Feature::new("underlay")
};

static OF_TUNNEL: Kind = Kind {
    name: "underlay/tunnel",
    over: Over::South(Encap::INDEX),
    reads: &[],
    says: &[&OVERHEADS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.south(row) else {
            return;
        };
        let overhead = match &*Encap::COLUMN.r#type.get(columns) {
            "geneve" => USUAL_OVERHEAD,
            "vxlan" => 50,
            "gre" => 42,
            _ => return,
        };
        let is_v6 = Encap::COLUMN.ip.get(columns).contains(':');
        let more = if is_v6 { IPV6_MORE } else { 0 };
        unit.join(&OVERHEADS, (), (overhead + more, row));
    },
};

static OF_ALL: Kind = Kind {
    name: "underlay/mtu",
    over: Over::North(NbGlobal::INDEX),
    reads: &[&OVERHEADS],
    says: &[&GUEST_MTU, &ALWAYS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let mut complaints = unit.complaints::<NbGlobal>(row, "".into());
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let carried = options.number(KEY, RANGE, &mut complaints);
        let most = unit.members(&OVERHEADS, ()).last();
        let overhead = most.map_or(USUAL_OVERHEAD, |(overhead, _)| *overhead);
        unit.say(&GUEST_MTU, (), carried.unwrap_or(DEFAULT) - overhead);
        if options.truth(ALWAYS_KEY, false, &mut complaints) {
            unit.say(&ALWAYS, (), ());
        }
        unit.problems(complaints.into_problems());
    },
};

static OF_CHASSIS: Kind = Kind {
    name: "underlay/chassis",
    over: Over::South(Chassis::INDEX),
    reads: &[],
    says: &[&CHASSIS, &LEADERS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.south(row) else {
            return;
        };
        let config = columns.get(Chassis::COLUMN.other_config.index);
        let is = |key| ovsdb::truth(config.get_str(key), false);
        if is("is-vtep") || is("is-remote") {
            // Guests of these networks are not there.
            return;
        }
        let mappings = config.get_str(MAPPINGS).unwrap_or_default().split(',');
        let networks = mappings.filter_map(|mapping| mapping.trim().split_once(':'));
        let mut networks: Vec<Uuid> = networks.map(|(name, _)| network_id(name)).collect();
        networks.sort_unstable();
        networks.dedup();
        unit.join(&CHASSIS, (), row);
        for network in networks {
            unit.join(&LEADERS, network, row);
        }
    },
};

static OF_NETWORK: Kind = Kind {
    name: "underlay/network",
    over: Over::Keys(&LEADERS),
    reads: &[&CHASSIS, &LEADERS, &ALWAYS],
    says: &[&EVERYWHERE],
    wants: &[],
    run: |unit, key| {
        let network = Uuid::unpack(key);
        // How many there are, and nothing of each.
        let (all, leaders) = (unit.members(&CHASSIS, ()), unit.members(&LEADERS, network));
        if all.len() == leaders.len() && unit.get(&ALWAYS, ()).is_none() {
            unit.say(&EVERYWHERE, network, ());
        }
    },
};
