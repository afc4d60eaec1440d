//! Packets of routers that other chassis have sent into a physical network, and that come in by a `localnet` port.
//!
//! A router that is on all chassis sends there from the MAC of the chassis (`ovn-chassis-mac-mappings`; see
//! [`port`](super::port)). Here the router's MAC is put back: guests would answer, and switches learn, an address that nobody
//! has otherwise. Which router it was is not said; where several are on the network's switch, it is taken to be one without a gateway
//! port there, and of these the one whose port has the lowest key, and the log says so.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 0 | 180 | source a MAC of another chassis | first of two conditions |
//! | 0 | 180 | input port and VLAN of a localnet port whose switch has a router | second of them |
//! | 0 | 180 | both conditions, input port, VLAN | tag off, from the router's MAC, into the ingress pipeline |

use addr::{Mac, MacAndIps};
use openflow::{Action, Field, Match};
use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use super::Flows;
use super::learned::number;
use crate::layout;
use crate::network::{Fact, Network, PortKind, Reads, RemoteChassis};

const PRIORITY: u16 = 180;
/// The only conjunction of table 0: numbers are a table's own.
const CONJUNCTION: u32 = 1;

/// The flows that know packets of a chassis.
pub fn known(
    network: &Network,
    reads: &Reads,
    (uuid, chassis): (Uuid, &RemoteChassis),
    facts: &mut Vec<Fact>,
) {
    if network.own(reads).chassis == Some(uuid) {
        return;
    }
    let mut out = Flows::of_nothing(facts);
    for mac in chassis.macs.iter() {
        let from = Match::new().with(Field::EthSrc, number(*mac));
        let actions = vec![condition(0)];
        out.add(layout::PHYSICAL_TO_LOGICAL, PRIORITY, from, actions);
    }
}

/// The flows of a localnet port that its packets match with `from` and enter by `enter`.
pub(super) fn of_localnet(
    network: &Network,
    reads: &Reads,
    localnet: &PortBinding,
    from: &Match,
    enter: &[Action],
    out: &mut Flows<'_>,
) {
    let mut routers: Vec<Router> = routers(network, reads, localnet.datapath).collect();
    routers.sort_unstable();
    let [first, others @ ..] = routers.as_slice() else {
        return;
    };
    let is_like = |other: &Router| other.has_gateway == first.has_gateway;
    let Router { mac: first, .. } = first;
    if others.iter().any(is_like) && !network.own(reads).mac_mappings.is_empty() {
        let name = &localnet.logical_port;
        let text = format!(
            "port {name}: several routers are on its switch, and packets that other chassis send from their own MACs (ovn-chassis-mac-mappings) are taken to be those of {first}: give each router a switch of its own"
        );
        out.problem(localnet.uuid, text);
    }
    let table = layout::PHYSICAL_TO_LOGICAL;
    out.add(table, PRIORITY, from.clone(), vec![condition(1)]);
    let both = from.clone().with(Field::ConjId, CONJUNCTION);
    let back = Action::set(Field::EthSrc, number(*first));
    let actions = std::iter::once(back).chain(enter.iter().cloned());
    out.add(table, PRIORITY, both, actions.collect());
}

/// A router that is on all chassis, at a switch. Those without a gateway are first: what is for a gateway goes to the chassis that has
/// it mostly, and comes from there.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Router {
    has_gateway: bool,
    /// Of the switch's port to it.
    key: i64,
    mac: Mac,
}

/// The routers that are on all chassis at a switch.
fn routers<'a>(
    network: &'a Network,
    reads: &'a Reads,
    switch: Uuid,
) -> impl Iterator<Item = Router> + 'a {
    let ports = network.patches_of.get(reads, switch).iter();
    let ports = ports.filter_map(|uuid| network.ports.get(reads, *uuid));
    ports.filter_map(|port| {
        let peer = port.options.get("peer")?;
        let peer = network.port_by_name(reads, peer)?;
        let datapath = network.datapaths.get(reads, peer.datapath)?;
        let is_everywhere = [port, peer]
            .iter()
            .all(|end| PortKind::of(end) == PortKind::Patch);
        if !is_everywhere || !datapath.is_router {
            return None;
        }
        let MacAndIps { mac, .. } = peer.mac.first()?.parse().ok()?;
        Some(Router {
            has_gateway: peer.options.contains_key("chassis-redirect-port"),
            key: port.tunnel_key,
            mac,
        })
    })
}

fn condition(clause: u8) -> Action {
    Action::Conjunction {
        id: CONJUNCTION,
        clause,
        n_clauses: 2,
    }
}
