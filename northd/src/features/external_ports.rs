//! External ports: guests behind a physical network that no chassis has an interface of, such as those of SR-IOV.
//!
//! Their packets come by the doors of the switch to physical networks, on every chassis at once. One chassis of the port's
//! group answers them; controllers decide which. Arrives: packets from such a door. Guarantees that requests for addresses of
//! routers, and packets for routers, from an external port are dropped on all chassis but that one. What else is said for
//! the port (DHCP) says the same by itself ([`doors`](super::ports::doors)).
//!
//! A bit tells what comes from an external port that another chassis answers; so what is a router's is said once for each
//! router, and who is external once for each port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::LogicalSwitchPort;
use relations::{Bucket, Handle, Relation, Small};

use super::ports::{self, EXTERNAL, LOCALNETS, PORT, PortKind, PortView};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

/// The external ports of each switch.
static EXTERNALS: Bucket<Handle, Handle> = Bucket::new("external ports");
/// The switches that have some.
static HAS_EXTERNALS: Relation<Handle, ()> = Relation::new("switch with external ports");

const ELSEWHERE: Bits = Bits::bit(
    "the sender is an external port that another chassis answers",
    Symbol::Reg9,
    4,
    Stage::InAnswer,
    Stage::InLookup,
);

const FROM_EXTERNAL: Rule = Rule::new(
    Stage::InAnswer,
    100,
    "from an external port that another chassis answers: mark it, then next",
);
const TO_ROUTER: Rule = Rule::new(
    Stage::InLookup,
    100,
    "so marked, and for a router or asking for its addresses: drop",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    relations: &[&EXTERNALS, &HAS_EXTERNALS],
    kinds: &[&MEMBER, &OF_SWITCH, &OF_PORT],
    rules: &[FROM_EXTERNAL, TO_ROUTER],
    bits: &[ELSEWHERE],
    ..Feature::new("external ports")
};

static MEMBER: Kind = Kind {
    name: "external-port",
    over: Over::Keys(&EXTERNAL),
    reads: &[],
    says: &[&EXTERNALS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let Some(switch) = ports::owner(unit, row) {
            unit.join(&EXTERNALS, switch, row);
        }
    },
};

static OF_SWITCH: Kind = Kind {
    name: "external-ports",
    over: Over::Keys(&EXTERNALS),
    reads: &[],
    says: &[&HAS_EXTERNALS],
    wants: &[],
    run: |unit, key| unit.say(&HAS_EXTERNALS, Handle::unpack(key), ()),
};

static OF_PORT: Kind = ports::kind!([&LOCALNETS, &PORT, &HAS_EXTERNALS], [], |unit, view| {
    if !view.port.is_enabled {
        return;
    }
    match view.port.kind {
        PortKind::External { .. } => {
            let doors = unit.members(&LOCALNETS, view.switch).iter();
            let doors = doors.filter_map(|(_, door)| unit.get(&PORT, *door));
            let doors: Vec<_> = doors.map(|door| door.name.clone()).collect();
            if doors.is_empty() {
                let name = Arc::clone(&view.port.name);
                let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
                let why = "no packets of an external port come in: the switch has no localnet port";
                let remedy = "add one for the network that the guest is behind";
                let column = LogicalSwitchPort::COLUMN.r#type.name;
                complaints.column(column, why, remedy);
                unit.problems(complaints.into_problems());
            }
            let is_elsewhere = !m::resident(view.port.name.clone());
            let macs: BTreeSet<Mac> = view.own_addresses().map(|entry| entry.mac).collect();
            let mut flows = view.flows(unit);
            for door in doors {
                for mac in &macs {
                    let from = m::inport(door.clone()) & m::eth_src(*mac);
                    let mark = [a::set(ELSEWHERE.field(), Int::new(1)), a::next()];
                    flows.add(FROM_EXTERNAL, &(from & is_elsewhere.clone()), mark);
                }
            }
        }
        PortKind::Router { .. } if unit.get(&HAS_EXTERNALS, view.switch).is_some() => {
            if let Some(meant) = for_router(view) {
                let drop = ELSEWHERE.is_set() & meant;
                view.flows(unit).add(TO_ROUTER, &drop, [a::drop()]);
            }
        }
        _ => {}
    }
});

/// Packets to the router behind a port, and requests for its addresses.
fn for_router(view: &PortView<'_>) -> Option<Expr> {
    let link = &view.link?.addresses;
    let ips = link.ips.iter().map(|ip| ip.addr());
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ips.partition(IpAddr::is_ipv4);
    let mut meant = m::eth_dst(link.mac);
    if !v4.is_empty() {
        meant = meant | (m::arp_op(1) & m::one_of(Symbol::ArpTpa, v4));
    }
    if !v6.is_empty() {
        meant = meant | (m::nd_ns() & m::one_of(Symbol::NdTarget, v6));
    }
    Some(meant)
}
