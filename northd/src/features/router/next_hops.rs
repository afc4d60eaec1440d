//! Next hops of routes with symmetric replies: what is known of their MACs, and what becomes of connections by those that are
//! gone (`ECMP_Nexthop`).
//!
//! Arrives: from `static routes` each next hop that such a route names, and whether a session with it says that it lives; from
//! controllers the MACs that they have learned, from operators those that they have declared.
//!
//! Guarantees, for each next hop whose MAC is known:
//!
//! * a packet of a connection that remembers this port and this MAC already does not have them remembered again;
//! * while the sessions (`bfd`) of all routes by it are down, what answers a connection that came from it goes where routes say,
//!   by whichever next hop lives, and comes back to it when it lives again;
//! * with `NB_Global.options:ecmp_nexthop_monitor_enable`, a row of `ECMP_Nexthop` while a route by it is there and not down, by
//!   which chassis whose switch can do that (Open vSwitch 3.4 with OVN's controllers) forget the connections of one that is gone.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::action::Pipeline;
use lflow::{Int, Symbol, a, m};
use nb_db::tables::{NbGlobal, StaticMacBinding};
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Bucket, Handle, Key, Relation, Small};
use sb_db::tables::{EcmpNexthop, MacBinding, PortBinding};
use uuid::Uuid;

use super::ROUTER;
use super::learning::STATIC_BY_PORT;
use super::ports::{self, BINDING, PORT, RESIDENCE, View};
use super::routes::TABLE;
use super::symmetric::{self, IS_DEAD};
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::options::Options;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// The routes with symmetric replies by a next hop of a router's port: their rows. Said by the feature `static routes`.
pub static HOPS: Bucket<(Handle, IpAddr), Uuid> = Bucket::new("symmetric next hops");
/// Those of them whose session, if they have one, is up. Said by it, too.
pub static LIVING: Bucket<(Handle, IpAddr), Uuid> = Bucket::new("living next hops");
/// What controllers have learned of these: rows of `MAC_Binding`.
static LEARNED: Bucket<(Handle, IpAddr), Uuid> = Bucket::new("learned next hops");
/// The living next hops of a port that have a MAC.
static HOLDERS: Bucket<(Handle, Mac), IpAddr> = Bucket::new("living next hops with a mac");
/// Whether the southbound is told.
static IS_MONITORED: Relation<(), ()> = Relation::new("next hops are monitored");

const KNOWN: Rule = Rule::new(
    Stage::RouterInRoutingPre,
    210,
    "from a known next hop of a route with symmetric replies, which the connection remembers: as for the port",
);
const DEAD: Rule = Rule::new(
    Stage::RouterInRouting,
    10_301,
    "a reply to a connection that came in by a next hop that is dead: look for a route",
);

static ROWS: Owned = Owned::south::<EcmpNexthop>(&[
    EcmpNexthop::COLUMN.nexthop.index,
    EcmpNexthop::COLUMN.port.index,
    EcmpNexthop::COLUMN.datapath.index,
    EcmpNexthop::COLUMN.mac.index,
]);
const RECORDED: Index = Index::south::<EcmpNexthop>(EcmpNexthop::COLUMN.port.index);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<NbGlobal>(&[]).keys(&[(NbGlobal::COLUMN.options.index, &[MONITOR])]),
        Source::north::<StaticMacBinding>(&[
            StaticMacBinding::COLUMN.logical_port.index,
            StaticMacBinding::COLUMN.ip.index,
            StaticMacBinding::COLUMN.mac.index,
        ]),
        Source::south::<MacBinding>(&[
            MacBinding::COLUMN.logical_port.index,
            MacBinding::COLUMN.datapath.index,
            MacBinding::COLUMN.ip.index,
            MacBinding::COLUMN.mac.index,
        ]),
    ],
    indexes: &[RECORDED],
    owns: &[&ROWS],
    relations: &[&HOPS, &LIVING, &LEARNED, &HOLDERS, &IS_MONITORED],
    kinds: &[&MODEL, &LEARN, &HOLD, &SAY],
    rules: &[KNOWN, DEAD],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: routers::next_hop,
    }],
    ..Feature::new("symmetric next hops")
};

const MONITOR: &str = "ecmp_nexthop_monitor_enable";

static MODEL: Kind = Kind {
    name: "model/next-hop-monitor",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&IS_MONITORED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let mut complaints = unit.complaints::<NbGlobal>(row, Arc::from(""));
        if options.truth(MONITOR, false, &mut complaints) {
            unit.say(&IS_MONITORED, (), ());
        }
        unit.problems(complaints.into_problems());
    },
};

static LEARN: Kind = Kind {
    name: "learned-neighbour",
    over: Over::South(MacBinding::INDEX),
    reads: &[&HOPS, &PORT, &ROUTER, &DATAPATH],
    says: &[&LEARNED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.south(row) else {
            return;
        };
        let column = MacBinding::COLUMN;
        let (name, ip): (Arc<str>, Arc<str>) =
            (column.logical_port.get(columns), column.ip.get(columns));
        let (Ok(ip), Some((port, router))) = (ip.parse::<IpAddr>(), ports::named(unit, &name))
        else {
            return;
        };
        let datapath = unit.get(&DATAPATH, router).map(|datapath| datapath.uuid);
        let is_here = datapath == Some(column.datapath.get(columns));
        if is_here && !unit.members(&HOPS, (port, ip)).is_empty() {
            unit.join(&LEARNED, (port, ip), unit.south_uuid(row));
        }
    },
};

static HOLD: Kind = Kind {
    name: "next-hop/holders",
    over: Over::Keys(&HOPS),
    reads: &[
        &LIVING, &LEARNED, &PORT, &BINDING, &RESIDENCE, &ROUTER, &DATAPATH,
    ],
    says: &[&HOLDERS],
    wants: &[],
    run: |unit, key| {
        let (port, ip) = <(Handle, IpAddr)>::unpack(key);
        let lives = !unit.members(&LIVING, (port, ip)).is_empty();
        let view = ports::view_of(unit, port).filter(|_| lives);
        let macs = view.map(|view| Macs::of(unit, &view, ip).all());
        for mac in macs.into_iter().flatten() {
            unit.join(&HOLDERS, (port, mac), ip);
        }
    },
};

static SAY: Kind = Kind {
    name: "next-hop",
    over: Over::Keys(&HOPS),
    reads: &[
        &HOPS,
        &LIVING,
        &LEARNED,
        &HOLDERS,
        &IS_MONITORED,
        &PORT,
        &BINDING,
        &RESIDENCE,
        &ROUTER,
        &DATAPATH,
    ],
    says: &[],
    wants: &[],
    run: say,
};

fn say(unit: &mut Unit<'_>, key: Key) {
    let (port, ip) = <(Handle, IpAddr)>::unpack(key);
    if unit.members(&HOPS, (port, ip)).is_empty() {
        return;
    }
    let Some(view) = ports::view_of(unit, port) else {
        return;
    };
    let macs = Macs::of(unit, &view, ip);
    let lives = !unit.members(&LIVING, (port, ip)).is_empty();
    let number = Int::new(view.binding.key.into());
    // Who shares the MAC of one that lives cannot be told from it.
    let is_shared = |mac: &Mac| {
        let mut holders = unit.members(&HOLDERS, (port, *mac)).iter();
        holders.any(|of| of.is_ipv4() == ip.is_ipv4())
    };
    let all = macs.all().into_iter();
    let said: Vec<Mac> = all.filter(|mac| lives || !is_shared(mac)).collect();
    let mut flows = view.flows(unit);
    for mac in &said {
        let remembered =
            m::eq(Symbol::CtMarkEcmpReplyPort, number) & m::eq(Symbol::CtLabelEcmpReplyEth, *mac);
        if lives {
            let known = m::inport(Arc::clone(&view.port.name)) & m::eq(Symbol::EthSrc, *mac);
            let known = known & m::is(Symbol::CtEst) & !m::is(Symbol::CtRpl) & remembered;
            let table = symmetric::port_table(&view);
            let then = [a::set(TABLE.field(), table), a::next()];
            // Next hops of both families may have one MAC.
            flows.add_common(KNOWN, &known, then);
        } else {
            let reply = m::family(ip) & m::is(Symbol::CtRpl) & IS_DEAD.is_clear() & remembered;
            let again = a::next_in(Pipeline::Ingress, Stage::RouterInRouting.table());
            let then = [a::set(IS_DEAD.field(), Int::new(1)), again];
            flows.add_common(DEAD, &reply, then);
        }
    }
    if lives && unit.get(&IS_MONITORED, ()).is_some() {
        row(unit, &view, ip, &macs);
    }
}

/// What is known of a next hop's MAC.
struct Macs {
    /// What an operator has declared.
    declared: Option<Mac>,
    /// What controllers have learned.
    learned: Option<Mac>,
}

impl Macs {
    fn of(unit: &Unit<'_>, view: &View<'_>, ip: IpAddr) -> Self {
        let column = StaticMacBinding::COLUMN;
        let name = Atom::String(Arc::clone(&view.port.name));
        let declared = unit.having(STATIC_BY_PORT, &name).iter();
        let mut declared = declared.filter_map(|row| unit.north(*row));
        let declared = declared.find(|row| column.ip.get(row).parse() == Ok(ip));
        let learned = unit.members(&LEARNED, (view.row, ip)).first();
        let learned = learned.and_then(|uuid| unit.find_south::<MacBinding>(*uuid));
        let learned = learned.and_then(|row| unit.south(row));
        Self {
            declared: declared.and_then(|row| host(&column.mac.get(row))),
            learned: learned.and_then(|row| host(&MacBinding::COLUMN.mac.get(row))),
        }
    }

    fn all(&self) -> Vec<Mac> {
        let mut all = Vec::from_iter(self.learned);
        all.extend(self.declared.filter(|mac| self.learned != Some(*mac)));
        all
    }
}

/// The MAC of one host.
fn host(text: &Arc<str>) -> Option<Mac> {
    let mac = text.parse::<Mac>().ok()?;
    (!mac.is_multicast() && !mac.is_zero()).then_some(mac)
}

/// The row of a next hop. A MAC that was learned stays there when it is forgotten: controllers take another one for news, and
/// none for a next hop that is gone.
fn row(unit: &mut Unit<'_>, view: &View<'_>, ip: IpAddr, macs: &Macs) {
    let column = EcmpNexthop::COLUMN;
    let hop = ip.to_string();
    let binding = view.binding.uuid;
    let recorded = unit
        .recorded_referrers(RECORDED, PortBinding::INDEX, binding)
        .find(|(_, row)| *column.nexthop.get(row) == *hop);
    let uuid = recorded.map_or_else(
        || identity::named(EcmpNexthop::NAME, binding, &hop),
        |(uuid, _)| uuid,
    );
    let known = macs.learned.or(macs.declared).map(|mac| mac.to_string());
    let mac = known.or_else(|| Some(column.mac.get(recorded?.1).to_string()));
    let columns = [
        (column.nexthop.index, Datum::from(hop.as_str())),
        column.port.to(&binding),
        column.datapath.to(&view.datapath.uuid),
        (column.mac.index, Datum::from(mac.unwrap_or_default())),
    ];
    unit.row::<EcmpNexthop>(uuid, columns);
}

#[cfg(test)]
mod tests;
