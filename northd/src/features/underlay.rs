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
//!
//! A guest may be reached through every kind of tunnel that some chassis offers, so that the one that takes most counts.
//!
//! Packets of a switch with a door to a physical network (`localnet`) go through no tunnel: there, as many bytes as that network
//! carries (`Logical_Switch.other_config:mtu`, 1,500 if nothing is said) are left.

use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use relations::{Bucket, Handle, Relation, Small};
use sb_db::tables::Encap;

use super::ports::LOCALNETS;
use super::switch::SWITCH;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::unit::Unit;

/// How large packets of guests may be, in bytes.
pub static GUEST_MTU: Relation<(), u32> = Relation::new("MTU of guests");
/// What asks for it in place of a number.
pub const AUTO: &str = "auto";

/// How large packets of guests in a switch may be, in bytes. Reads [`GUEST_MTU`], [`SWITCH`] and [`LOCALNETS`].
pub fn mtu_of(unit: &Unit<'_>, switch: Handle) -> Option<u32> {
    if unit.members(&LOCALNETS, switch).is_empty() {
        return unit.get(&GUEST_MTU, ()).copied();
    }
    let of_network = unit.get(&SWITCH, switch).and_then(|switch| switch.mtu);
    Some(of_network.unwrap_or(DEFAULT))
}

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
        Source::north::<NbGlobal>(&[]).keys(&[(NbGlobal::COLUMN.options.index, &[KEY])]),
    ],
    relations: &[&GUEST_MTU, &OVERHEADS],
    kinds: &[&OF_TUNNEL, &OF_ALL],
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
    says: &[&GUEST_MTU],
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
        unit.problems(complaints.into_problems());
    },
};
