//! Learning neighbours from what they say.
//!
//! Arrives: admitted packets. Guarantees that who answers or asks by ARP or neighbour discovery is in `MAC_Binding` before the
//! packet goes on, unless it is known there already. A request teaches only if the asker is in a network of the port that it
//! came by; on a router with `options:always_learn_from_arp_request=false` also only if it is for the router or the asker is
//! known and has a new MAC.
//!
//! Controllers write the table; northd deletes what was learned at ports that are gone.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Function, Lookup};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::StaticMacBinding;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Handle, Key, Small};
use sb_db::tables::{MacBinding, PortBinding};
use uuid::Uuid;

use super::ports::{self, View};
use super::{ROUTER, ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Follower, Index, Kind, Left, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::compiler::world::World;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

const KNOWN: Bits = bit(2, "what the packet tells of its sender is known");
const KNOWN_IP: Bits = bit(3, "the sender's address is known, perhaps with another MAC");
const IS_CAREFUL: Bits = bit(
    6,
    "only a sender that is known may change what is known of it",
);

const fn bit(bit: u8, name: &'static str) -> Bits {
    let (from, to) = (
        Stage::RouterInLookupNeighbour,
        Stage::RouterInLearnNeighbour,
    );
    Bits::bit(name, Symbol::Reg9, bit, from, to)
}

const ASKS_ME: Rule = Rule::new(
    Stage::RouterInLookupNeighbour,
    110,
    "a router that does not always learn, asked for its own address: look the asker up",
);
const CAREFUL: Rule = Rule::new(
    Stage::RouterInLookupNeighbour,
    105,
    "a router that does not always learn, told without having asked: look address and sender up",
);
const ASKS: Rule = Rule::new(
    Stage::RouterInLookupNeighbour,
    100,
    "a request from a network of the port: look the asker up",
);
const TELLS: Rule = Rule::new(
    Stage::RouterInLookupNeighbour,
    100,
    "a reply, or neighbour discovery: look the sender up",
);
const TELLS_NOTHING: Rule = Rule::new(
    Stage::RouterInLookupNeighbour,
    0,
    "the rest: as if the sender were known",
);
const LEARN_NOT: Rule = Rule::new(Stage::RouterInLearnNeighbour, 100, "known: next");
const LEARN_NOT_NEW: Rule = Rule::new(
    Stage::RouterInLearnNeighbour,
    99,
    "new, on a router that does not always learn: next",
);
const LEARN_ODD: Rule = Rule::new(
    Stage::RouterInLearnNeighbour,
    95,
    "neighbour discovery that lacks an address: learn what is there",
);
const LEARN: Rule = Rule::new(Stage::RouterInLearnNeighbour, 90, "the rest: learn it");

/// Rows by the port that they are about.
pub const STATIC_BY_PORT: Index =
    Index::north::<StaticMacBinding>(StaticMacBinding::COLUMN.logical_port.index);

static ROWS: Owned = Owned::south::<sb_db::tables::StaticMacBinding>(&[
    sb_db::tables::StaticMacBinding::COLUMN.logical_port.index,
    sb_db::tables::StaticMacBinding::COLUMN.ip.index,
    sb_db::tables::StaticMacBinding::COLUMN.mac.index,
    sb_db::tables::StaticMacBinding::COLUMN
        .override_dynamic_mac
        .index,
    sb_db::tables::StaticMacBinding::COLUMN.datapath.index,
]);
/// What southbound says of an address.
const RECORDED: Index = Index::south::<sb_db::tables::StaticMacBinding>(
    sb_db::tables::StaticMacBinding::COLUMN.logical_port.index,
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::north::<StaticMacBinding>(&[
        StaticMacBinding::COLUMN.logical_port.index,
        StaticMacBinding::COLUMN.ip.index,
        StaticMacBinding::COLUMN.mac.index,
        StaticMacBinding::COLUMN.override_dynamic_mac.index,
    ])],
    indexes: &[STATIC_BY_PORT, RECORDED],
    owns: &[&ROWS],
    kinds: &[&SHARED, &OF_CAREFUL, &OF_PORT, &STATIC],
    rules: &[
        ASKS_ME,
        CAREFUL,
        ASKS,
        TELLS,
        TELLS_NOTHING,
        LEARN_NOT,
        LEARN_NOT_NEW,
        LEARN_ODD,
        LEARN,
    ],
    bits: &[KNOWN, KNOWN_IP, IS_CAREFUL],
    followers: &[&LEARNED],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 2,
            run: routers::neighbour,
        },
        Change {
            weight: 2,
            run: routers::fixed,
        },
    ],
    ..Feature::new("neighbour learning")
};

/// What was learned at a port is known by the port's name and its datapath.
static LEARNED: Follower = Follower {
    table: MacBinding::INDEX,
    columns: &[
        MacBinding::COLUMN.logical_port.index,
        MacBinding::COLUMN.datapath.index,
    ],
    place: |row| {
        let column = MacBinding::COLUMN;
        place(&column.logical_port.get(row), column.datapath.get(row))
    },
    of: PortBinding::INDEX,
    place_of: |_: &World, row| {
        let column = PortBinding::COLUMN;
        let name = column.logical_port.get(row);
        Some(place(&name, column.datapath.get(row)))
    },
    leaves,
};

fn place(port: &str, datapath: Uuid) -> (i64, i64) {
    let (high, low) =
        identity::derive(&[b"learned at", port.as_bytes(), datapath.as_bytes()]).as_u64_pair();
    (high.cast_signed(), low.cast_signed())
}

/// A port leaves its place with its name or its datapath.
fn leaves(_: &World, table: usize, old: &Row, new: &Row) -> Option<Left> {
    let column = PortBinding::COLUMN;
    let columns = [column.logical_port.index, column.datapath.index];
    let differs = |column: usize| old.get(column) != new.get(column);
    let moves = table == PortBinding::INDEX && columns.into_iter().any(differs);
    moves.then(|| {
        Left::Place(place(
            &column.logical_port.get(old),
            column.datapath.get(old),
        ))
    })
}

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        let inport = Symbol::Inport;
        for (tells, question, ip, mac) in [
            (
                m::arp_op(2),
                Lookup::LookupArp,
                Symbol::ArpSpa,
                Symbol::ArpSha,
            ),
            (
                m::nd_na(),
                Lookup::LookupNd,
                Symbol::NdTarget,
                Symbol::NdTll,
            ),
            (m::nd_ns(), Lookup::LookupNd, Symbol::Ip6Src, Symbol::NdSll),
        ] {
            let look = a::lookup(KNOWN.field(), question, [inport, ip, mac]);
            flows.add(TELLS, &tells, [look, a::next()]);
        }
        let known = [a::set(KNOWN.field(), Int::new(1)), a::next()];
        flows.add(TELLS_NOTHING, &m::any(), known);

        flows.add(LEARN_NOT, &KNOWN.is_set(), [a::next()]);
        let is_new = IS_CAREFUL.is_set() & KNOWN_IP.is_clear();
        flows.add(LEARN_NOT_NEW, &is_new, [a::next()]);
        let nobody = m::eq(Symbol::Ip6Src, Int::new(0)) | m::eq(Symbol::NdSll, Int::new(0));
        flows.add(LEARN_ODD, &(m::nd_ns() & nobody), [a::next()]);
        let lacks_mac = m::nd_na() & m::eq(Symbol::NdTll, Int::new(0));
        for (rule, when, function, ip, mac) in [
            (
                LEARN_ODD,
                lacks_mac,
                Function::PutNd,
                Symbol::NdTarget,
                Symbol::EthSrc,
            ),
            (
                LEARN,
                m::arp(),
                Function::PutArp,
                Symbol::ArpSpa,
                Symbol::ArpSha,
            ),
            (
                LEARN,
                m::nd_na(),
                Function::PutNd,
                Symbol::NdTarget,
                Symbol::NdTll,
            ),
            (
                LEARN,
                m::nd_ns(),
                Function::PutNd,
                Symbol::Ip6Src,
                Symbol::NdSll,
            ),
        ] {
            flows.add(
                rule,
                &when,
                [a::call(function, [inport, ip, mac]), a::next()],
            );
        }
    },
};

static OF_CAREFUL: Kind = Kind {
    name: "router",
    over: Over::Keys(&ROUTER),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(router), Some(datapath)) = (unit.get(&ROUTER, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        if router.always_learns {
            return;
        }
        let network = |text: &str| text.parse::<addr::Cidr>().expect("a network");
        let unasked = m::nd_na()
            & m::eq(Symbol::Ip6Src, network("fe80::/10"))
            & m::eq(Symbol::Ip6Dst, network("ff00::/8"));
        let hint = unit.uuid(row);
        let mut flows = unit.flows(datapath.uuid, Some(hint));
        for (tells, ip, mac) in [
            (m::nd_ns(), Symbol::Ip6Src, Symbol::NdSll),
            (unasked, Symbol::NdTarget, Symbol::NdTll),
        ] {
            let look = a::lookup(KNOWN.field(), Lookup::LookupNd, [Symbol::Inport, ip, mac]);
            let look_ip = a::lookup(KNOWN_IP.field(), Lookup::LookupNdIp, [Symbol::Inport, ip]);
            let careful = a::set(IS_CAREFUL.field(), Int::new(1));
            flows.add(CAREFUL, &tells, [careful, look, look_ip, a::next()]);
        }
    },
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    if !view.port.is_enabled {
        return;
    }
    if !view.of.always_learns {
        let targets = view.port.ips().filter(IpAddr::is_ipv6);
        let asked =
            m::inport(view.port.name.clone()) & m::nd_ns() & m::one_of(Symbol::NdTarget, targets);
        let asker = [Symbol::Inport, Symbol::Ip6Src, Symbol::NdSll];
        let look = a::lookup(KNOWN.field(), Lookup::LookupNd, asker);
        view.flows(unit).add(ASKS_ME, &asked, [look, a::next()]);
    }
    let networks = view.port.networks.iter().filter(|cidr| cidr.is_ipv4());
    let networks: Vec<_> = networks.map(|cidr| cidr.network()).collect();
    if networks.is_empty() {
        return;
    }
    let asker = [Symbol::Inport, Symbol::ArpSpa, Symbol::ArpSha];
    let look = a::lookup(KNOWN.field(), Lookup::LookupArp, asker);
    let here = m::inport(view.port.name.clone()) & m::arp_op(1);
    let near = view.at_home(here & m::one_of(Symbol::ArpSpa, networks));
    let mut flows = view.flows(unit);
    if view.of.always_learns {
        flows.add(ASKS, &near, [look, a::next()]);
        return;
    }
    let for_me = near.clone() & is_for(view);
    flows.add(ASKS_ME, &for_me, [look.clone(), a::next()]);
    let [inport, ip, _] = asker;
    let look_ip = a::lookup(KNOWN_IP.field(), Lookup::LookupArpIp, [inport, ip]);
    let careful = a::set(IS_CAREFUL.field(), Int::new(1));
    flows.add(ASKS, &near, [careful, look, look_ip, a::next()]);
});

/// The request is for an address of the port.
fn is_for(view: &View<'_>) -> Expr {
    let ips = view.port.networks.iter().map(|network| network.addr());
    m::one_of(Symbol::ArpTpa, ips.filter(IpAddr::is_ipv4))
}

static STATIC: Kind = Kind {
    name: "static-neighbour",
    over: Over::North(StaticMacBinding::INDEX),
    reads: &[&ports::PORT, &ROUTER, &DATAPATH],
    says: &[],
    wants: &[],
    run: fixed,
};

/// A neighbour that an operator has declared.
fn fixed(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(columns) = unit.north(row) else {
        return;
    };
    let column = StaticMacBinding::COLUMN;
    let (port, text): (Arc<str>, Arc<str>) =
        (column.logical_port.get(columns), column.ip.get(columns));
    let mac_text: Arc<str> = column.mac.get(columns);
    let mut complaints = unit.complaints::<StaticMacBinding>(row, Arc::from(""));
    let ip = text
        .parse::<addr::Cidr>()
        .map_err(|error| complaints.address(column.ip.name, &text, &error))
        .ok()
        .filter(|ip| {
            if !ip.is_host() || text.contains('/') {
                let why = "a network is no neighbour";
                complaints.text(column.ip.name, &text, 0, why, "write one address");
            }
            ip.is_host() && !text.contains('/')
        });
    let mac = mac_text.parse::<addr::Mac>();
    let mac = mac
        .map_err(|error| complaints.address(column.mac.name, &mac_text, &error))
        .ok()
        .filter(|mac| {
            let is_one = !mac.is_multicast() && !mac.is_zero();
            if !is_one {
                let why = format!("{mac} cannot be the address of one neighbour");
                complaints.text(column.mac.name, &mac_text, 0, why, "write a unicast MAC");
            }
            is_one
        });
    let datapath = ports::named(unit, &port).and_then(|(_, router)| unit.get(&DATAPATH, router));
    if datapath.is_none() {
        let why = "there is no port of this name in an enabled router";
        let remedy = "add it, or correct the name";
        complaints.text(column.logical_port.name, &port, 0, why, remedy);
    }
    if let (Some(ip), Some(mac), Some(datapath)) = (ip, mac, datapath) {
        let south = sb_db::tables::StaticMacBinding::COLUMN;
        let ip = ip.addr().to_string();
        let recorded = unit
            .recorded(RECORDED, &Atom::String(Arc::clone(&port)))
            .find(|(_, row)| *south.ip.get(row) == *ip);
        let table = sb_db::tables::StaticMacBinding::NAME;
        let uuid = recorded.map_or_else(
            || identity::named(table, datapath.uuid, &format!("{port} {ip}")),
            |(uuid, _)| uuid,
        );
        let overrides: bool = column.override_dynamic_mac.get(columns);
        let said = [
            (south.logical_port.index, Datum::One(Atom::String(port))),
            (south.ip.index, Datum::from(ip.as_str())),
            (south.mac.index, Datum::from(mac.to_string())),
            south.override_dynamic_mac.to(&overrides),
            south.datapath.to(&datapath.uuid),
        ];
        unit.row::<sb_db::tables::StaticMacBinding>(uuid, said);
    }
    unit.problems(complaints.into_problems());
}
