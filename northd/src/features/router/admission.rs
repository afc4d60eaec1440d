//! Admission: what enters a router, and what all later stages know of the port that it came by.
//!
//! Arrives: every packet that comes to a port of the router. Guarantees that it has no VLAN tag and an individual source, comes
//! by an enabled port, and is for that port or for a group. The port's MAC and its addresses are in registers, so that what the
//! router says of itself (replies, errors) is the same flow for all of them; whether it has an address of a family is a bit, and
//! so is whether the packet is larger than the port's MTU.

use lflow::action::Action;
use lflow::{Int, Symbol, a, m};

use super::ports::{self, RouterPort};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

/// The MAC of the port that the packet came by.
pub const MAC: Bits = Bits::some(
    "the MAC of the port that the packet came by",
    Symbol::Xreg3,
    (0, 48),
    Stage::RouterInAdmission,
    Stage::RouterInInput,
);
/// The IPv4 address from which that port speaks.
pub const SOURCE_4: Bits = Bits::whole(
    "the IPv4 address of that port, or 0",
    Symbol::Reg4,
    Stage::RouterInAdmission,
    Stage::RouterInInput,
);
/// The IPv6 address from which that port speaks.
pub const SOURCE_6: Bits = Bits::wide(
    "the IPv6 address of that port, or 0",
    Symbol::Xxreg0,
    Stage::RouterInAdmission,
    Stage::RouterInInput,
);
/// That port has an IPv4 address.
pub const HAS_4: Bits = Bits::bit(
    "that port has an IPv4 address",
    Symbol::Reg9,
    7,
    Stage::RouterInAdmission,
    Stage::RouterInInput,
);
/// That port has an IPv6 address, if only the link-local one.
pub const HAS_6: Bits = Bits::bit(
    "that port has an IPv6 address",
    Symbol::Reg9,
    8,
    Stage::RouterInAdmission,
    Stage::RouterInInput,
);

/// The packet is larger than the MTU of the port that it came by; later, of the one that it is to leave by.
pub const IS_LARGER: Bits = Bits::bit(
    "the packet is larger than its port's MTU",
    Symbol::Reg9,
    1,
    Stage::RouterInAdmission,
    Stage::RouterInLarger,
);

/// What Ethernet adds to an IP packet, in bytes.
pub const ETHERNET: u16 = 14;

/// The packet is the router's own and enters it again.
pub const AGAIN: Bits = Bits::bit(
    "the packet is the router's own and enters it again",
    Symbol::Reg9,
    0,
    Stage::RouterInAdmission,
    Stage::RouterInLarger,
);

const REFUSED: Rule = Rule::new(
    Stage::RouterInAdmission,
    100,
    "a VLAN tag, or a source that is a group address: drop",
);
const ADMIT: Rule = Rule::new(
    Stage::RouterInAdmission,
    50,
    "to the port's MAC or to a group: remember MAC and addresses of the port",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[REFUSED, ADMIT],
    bits: &[MAC, SOURCE_4, SOURCE_6, HAS_4, HAS_6, IS_LARGER, AGAIN],
    ..Feature::new("router admission")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        let refused = m::vlan_present() | m::bit(Symbol::EthSrc, 40);
        flows.add(REFUSED, &refused, [a::drop()]);
    },
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    let port = view.port;
    if !port.is_enabled {
        return;
    }
    let then = remember(port);
    // What is for everybody may be for an address that is translated on this very chassis.
    let mine = view.at_home(m::eth_dst(port.mac));
    let here = m::inport(port.name.clone()) & (m::eth_mcast() | mine);
    view.flows(unit).add(ADMIT, &here, then);
});

/// Admits a packet, and keeps what later stages have to know of its port.
pub fn remember(port: &RouterPort) -> Vec<Action> {
    let mut then: Vec<Action> = vec![a::set(MAC.field(), port.mac)];
    for (is_ip4, source, has) in [(true, SOURCE_4, HAS_4), (false, SOURCE_6, HAS_6)] {
        // Who has no other address of IPv6 speaks from the link-local one.
        let link_local = (!is_ip4).then(|| port.link_local().into());
        if let Some(ip) = port.source(is_ip4).or(link_local) {
            then.push(a::set(source.field(), ip));
            then.push(a::set(has.field(), Int::new(1)));
        }
    }
    if let Some(mtu) = port.mtu {
        let largest = mtu.saturating_add(ETHERNET);
        then.push(a::check_pkt_larger(IS_LARGER.field(), largest));
    }
    then.push(a::next());
    then
}
