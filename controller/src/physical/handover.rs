//! A gateway is handed over between chassis that live: the old one has the connections, the new one is to have them, and nothing is
//! lost meanwhile.
//!
//! From the claim on others send to the new one, each as soon as it hears of it, and what that one sends outwards has the network
//! outside send to it, too, whatever is announced. So for a moment both get something from either side:
//!
//! * The old one sends on to the new one what comes from inside. Connections get to be known there, with the same addresses and mostly
//!   the same ports. Who asks for the router's addresses is answered by the new one, so nothing from here makes the network outside
//!   turn back.
//! * The new one sends back to the old one what comes from outside and is of no connection that it knows: that one translates it
//!   as before. What begins a connection is served at once, and so is UDP to a port below 32768: an answer comes to a port above,
//!   and what is new to a service would be translated by the one and answered by the other.
//!
//! That ends when who is talking has sent something outwards ([`crate::core`] says when). Who has only listened until then has lost
//! its connection, as when a gateway dies. OVN's controllers stop at once, so nothing is sent back to them.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 46 | 100 | the old one: output port, a `chassisredirect` | into the tunnel to the new one |
//! | 65 | 160 | the old one: to a localnet port, from the router's MAC, an answer to who asks for an address | nowhere |
//! | 65 | 150 | the new one: from a localnet port here (no `tun_id`), to the router's own MAC, IP | the zone for sources, then 97 |
//! | 65 | 160 | the same, and it begins a connection, is for a service, or asks for a neighbour | served here |
//! | 97 | 110 | known | served here |
//! | 97 | 100 | | the zone for destinations, then 98 |
//! | 98 | 110 | known | served here |
//! | 98 | 100 | | into the tunnel to the old one |

use addr::{Mac, MacAndIps};
use openflow::action::{Ct, CtZone};
use openflow::{Action, Field, Match, Port, Subfield};
use sb_db::tables::PortBinding;

use super::learned::number;
use super::{Flows, load_zones, towards, tunnel};
use crate::layout::{self, flag};
use crate::network::{Network, PortKind, Reads, RemoteChassis};

const ARP: u16 = 0x806;
const IPV4: u16 = 0x800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Of ARP.
const REPLY: u8 = 2;
/// The bit of a port that clients choose theirs with, and services do not.
const EPHEMERAL: u16 = 1 << 15;
/// Bits of `ct_state`.
const NEW: u32 = 1;
const INVALID: u32 = 1 << 4;
const TRACKED: u32 = 1 << 5;
/// Bits of `tcp_flags`.
const SYN: u16 = 1 << 1;
const ACK: u16 = 1 << 4;

/// The flow of a port that was just claimed by another chassis. False if there is none, and the port is served as before.
pub(super) fn pass_on(
    network: &Network,
    reads: &Reads,
    redirect: &PortBinding,
    (datapath, key): (u32, u32),
    out: &mut Flows<'_>,
) -> bool {
    let heir = redirect.chassis.filter(|_| {
        let handed_over = network.handed_over.get(reads, redirect.uuid);
        handed_over.is_some()
    });
    let is_alive = |chassis: &_| network.living(reads, *chassis).is_some();
    let Some(heir) = heir.filter(is_alive) else {
        return false;
    };
    let Some(send) = into_tunnel(network, reads, heir, (datapath, key)) else {
        return false;
    };
    out.add(layout::LOCAL_OUTPUT, 100, towards(datapath, key), send);
    if let Some(door) = Door::of(network, reads, redirect) {
        door.is_silent(network, reads, out);
    }
    true
}

/// Where packets from a physical network enter a router by a gateway port.
struct Door<'a> {
    router: &'a PortBinding,
    /// The switch's end.
    switch: &'a PortBinding,
    /// The switch's key.
    datapath: u32,
    /// That end's.
    key: u32,
}

impl<'a> Door<'a> {
    /// That of the port for which a `chassisredirect` port stands.
    fn of(network: &'a Network, reads: &Reads, redirect: &PortBinding) -> Option<Self> {
        let named = |key: &str, of: &PortBinding| {
            let name = of.options.get(key)?;
            network.port_by_name(reads, name)
        };
        let router = named("distributed-port", redirect)?;
        let switch = named("peer", router)?;
        let datapath = network.datapaths.get(reads, switch.datapath)?;
        if datapath.is_router || PortKind::of(switch) != PortKind::Patch {
            return None;
        }
        Some(Self {
            router,
            switch,
            datapath: datapath.key,
            key: u32::try_from(switch.tunnel_key).ok()?,
        })
    }

    /// What goes to the router.
    fn inwards(&self) -> Match {
        towards(self.datapath, self.key)
    }

    /// The router's MAC.
    fn mac(&self) -> Option<Mac> {
        let MacAndIps { mac, .. } = self.router.mac.first()?.parse().ok()?;
        Some(mac)
    }

    /// No answer of the router's goes out by a localnet port.
    fn is_silent(&self, network: &Network, reads: &Reads, out: &mut Flows<'_>) {
        let Some(mac) = self.mac() else {
            return;
        };
        for localnet in network.attached_localnets(reads, self.switch.datapath) {
            let key = u32::try_from(localnet.tunnel_key).unwrap_or_default();
            let says = || towards(self.datapath, key).with(Field::EthSrc, number(mac));
            let reply = says().with(Field::EthType, ARP).with(Field::ArpOp, REPLY);
            let advertisement = says()
                .with(Field::EthType, IPV6)
                .with(Field::IpProto, ICMPV6)
                .with(Field::Icmpv6Type, ADVERTISEMENT);
            for answer in [reply, advertisement] {
                out.add(layout::LOGICAL_TO_PHYSICAL, 160, answer, Vec::new());
            }
        }
    }

    /// What comes from a localnet port of the switch.
    fn from(&self, localnet: &PortBinding) -> Match {
        let key = u32::try_from(localnet.tunnel_key).unwrap_or_default();
        self.inwards().with(layout::IN_PORT, key)
    }
}

/// The flows of a port that was just claimed here, or is about to be, and that another chassis still serves.
pub(super) fn send_back(
    network: &Network,
    reads: &Reads,
    redirect: &PortBinding,
    out: &mut Flows<'_>,
) {
    // Before the claim, too: a switch needs a moment until packets go by new flows.
    let own = network.own(reads).chassis;
    let holder = redirect.chassis.filter(|holder| own != Some(*holder));
    let old = holder.or(network.taken_over.get(reads, redirect.uuid).copied());
    let Some(old) = old else {
        return;
    };
    let passes_on = |old: &RemoteChassis| old.passes_on;
    if !network.living(reads, old).is_some_and(passes_on) {
        return;
    }
    let Some(door) = Door::of(network, reads, redirect) else {
        return;
    };
    let Some(mac) = door.mac() else {
        return;
    };
    let Some(back) = into_tunnel(network, reads, old, (door.datapath, door.key)) else {
        return;
    };
    let here = || {
        let marked = Action::set_masked(layout::FLAGS, flag::SERVED_HERE, flag::SERVED_HERE);
        vec![marked, Action::resubmit(layout::LOGICAL_TO_PHYSICAL)]
    };
    let mut track = Vec::new();
    let Door { router, switch, .. } = door;
    load_zones(
        network,
        reads,
        &router.logical_port,
        router.datapath,
        &mut track,
    );
    track.push(track_in(layout::SNAT_ZONE, layout::TAKEN_OVER));
    for localnet in network.attached_localnets(reads, switch.datapath) {
        let table = layout::LOGICAL_TO_PHYSICAL;
        for ethertype in [IPV4, IPV6] {
            // What is for the MAC of a guest's own is served where the guest is; what is for a group comes to both. What comes by a
            // tunnel was sent back already: two that disagree about who has claimed would do so without end.
            let packets = door
                .from(localnet)
                .with(Field::TunId, 0u8)
                .with_masked(layout::FLAGS, 0u8, flag::SERVED_HERE)
                .with(Field::EthType, ethertype)
                .with(Field::EthDst, number(mac));
            out.add(
                table,
                150,
                packets.clone(),
                vec![Action::Clone(track.clone())],
            );
            for beginning in beginnings(&packets, ethertype) {
                out.add(table, 160, beginning, vec![Action::Clone(here())]);
            }
        }
    }
    let known =
        |matches: Match| matches.with_masked(Field::CtState, TRACKED, TRACKED | NEW | INVALID);
    let destinations = track_in(layout::DNAT_ZONE, layout::TAKEN_OVER_DESTINATIONS);
    let mut forgetting = vec![Action::CtClear];
    forgetting.extend(back);
    for table in [layout::TAKEN_OVER, layout::TAKEN_OVER_DESTINATIONS] {
        out.add(table, 110, known(door.inwards()), here());
    }
    for ethertype in [IPV4, IPV6] {
        // Connection tracking is for packets of which that is known.
        let unknown = door.inwards().with(Field::EthType, ethertype);
        let table = layout::TAKEN_OVER;
        out.add(table, 100, unknown, vec![destinations.clone()]);
    }
    let table = layout::TAKEN_OVER_DESTINATIONS;
    out.add(table, 100, door.inwards(), forgetting);
}

/// Those of the packets that begin a connection, are for a service, or ask for a neighbour.
fn beginnings(packets: &Match, ethertype: u16) -> Vec<Match> {
    let of = |protocol: u8| packets.clone().with(Field::IpProto, protocol);
    let syn = of(TCP).with_masked(Field::TcpFlags, SYN, SYN | ACK);
    let service = of(UDP).with_masked(Field::UdpDst, 0u8, EPHEMERAL);
    let mut all = vec![syn, service];
    if ethertype == IPV4 {
        all.push(of(ICMP).with(Field::IcmpType, 8u8));
    } else {
        let asks = [128, 133, 134, SOLICITATION, ADVERTISEMENT, 137];
        all.extend(asks.map(|kind| of(ICMPV6).with(Field::Icmpv6Type, kind)));
    }
    all
}

/// Tracks a packet in the zone that a register holds, and goes on in a table.
fn track_in(register: Field, table: u8) -> Action {
    let zone = Subfield {
        field: register,
        offset: 0,
        width: 16,
    };
    Action::Ct(Box::new(Ct {
        commit: false,
        force: false,
        zone: CtZone::Field(zone),
        table: Some(table),
        alg: 0,
        exec: Vec::new(),
    }))
}

/// Sends a packet to a port of another chassis, also by the tunnel by which it came. `None` if there is no way.
fn into_tunnel(
    network: &Network,
    reads: &Reads,
    chassis: ovsdb::Uuid,
    (datapath, key): (u32, u32),
) -> Option<Vec<Action>> {
    let way = network.way_to(reads, chassis, None, None)?;
    let field = network.own(reads).geneve_field;
    // Keys that have no room are told where the port is remote.
    let sent = tunnel::encapsulate(way, field, datapath, key).ok()?;
    if sent.is_empty() {
        return None;
    }
    let in_port = Subfield::from(Field::InPort);
    let mut actions = vec![
        Action::Push(in_port),
        Action::set(Field::InPort, Port::ANY.0),
    ];
    actions.extend(sent);
    actions.push(Action::Pop(in_port));
    Some(actions)
}
