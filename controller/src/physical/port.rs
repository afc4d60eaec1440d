//! Flows of one logical port: from and to its port of this switch, into a tunnel to its chassis, or on to its peer.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 0 | 150 | input port and VLAN | a container, tagged localnet port or L2 gateway: tag off, into the ingress pipeline |
//! | 0 | 100 | input port | any other port: into the ingress pipeline |
//! | 44 | 101 | output port, remote, and the address by which the input port's packets leave | into the tunnel from there |
//! | 44 | 100 | output port, remote | into the tunnel to its chassis, and to others while it moves |
//! | 44 | 110 | output port, here and elsewhere | into the tunnels to the others, then 46 |
//! | 46 | 100 | output port, here | its zones, then 47 |
//! | 46 | 100 | output port, a `chassisredirect` whose gateway is here | its distributed port instead; around a claim see [`handover`] |
//! | 46 | 100 | the same, whose gateway is elsewhere on a physical network that is here (`redirect-type=bridged`) | its distributed port instead |
//! | 46 | 100 | output port, remote, on a switch with a localnet port here, unless `always_tunnel` | by the localnet port instead |
//! | 44 | 150 | input port a localport | never into a tunnel: on to 46 |
//! | 47 | 160 | output port localnet, flag "local only" or "localport" | nowhere |
//! | 47 | 100 | input port is output port, without the flag "loopback" | nowhere |
//! | 64 | 100 | output port, with a flag that allows the way back | hides the input port around 65 |
//! | 94, 96 | 100 | input or output port, written by a flow | the bits of its port groups |
//! | 65 | 150 | output port a localnet port, from the MAC of a router that is on all chassis | from the MAC of the chassis, out |
//! | 65 | 100 | output port, of type `mirror` | out by the port to which packets are copied |
//! | 65 | 100 | output port | out, with its tag; or into the peer's ingress pipeline |

use addr::MacAndIps;
use openflow::{Action, Field, Match, Port, Subfield, VLAN_PRESENT};
use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use super::learned::number;
use super::{
    Flows, activation, chassis_mac, clear_scratch, handover, load_zones, tagged, towards, tunnel,
};
use crate::layout::{self, flag};
use crate::network::{Attachment, Fact, Network, PortKind, Reads};

const ETHERTYPE_VLAN: u16 = 0x8100;

/// The flows.
pub fn flows(network: &Network, reads: &Reads, port: &PortBinding, facts: &mut Vec<Fact>) {
    if network.local.get(reads, port.datapath).is_none() {
        return;
    }
    let Some(datapath) = network.datapaths.get(reads, port.datapath) else {
        return;
    };
    let key = u32::try_from(port.tunnel_key).unwrap_or_default();
    let mut build = Builder {
        network,
        reads,
        port,
        datapath: datapath.key,
        key,
        out: Flows::of(facts, port.uuid),
    };
    let kind = PortKind::of(port);
    build.tell_groups(kind);
    match network.bindings.get(reads, port.uuid) {
        Some(_) if kind == PortKind::L3Gateway => build.patch(),
        Some(_) if kind == PortKind::ChassisRedirect => build.redirect(),
        Some(binding) if kind == PortKind::L2Gateway && binding.at.ofport == 0 => {}
        Some(binding) if kind.is_way() => build.local(kind, binding.at),
        Some(_) => {}
        None if kind == PortKind::Patch => build.patch(),
        None if kind == PortKind::ChassisRedirect && is_bridged(port) => build.bridge(),
        None => build.remote(),
    }
}

struct Builder<'a> {
    network: &'a Network,
    reads: &'a Reads,
    port: &'a PortBinding,
    datapath: u32,
    key: u32,
    out: Flows<'a>,
}

impl Builder<'_> {
    /// Where flows write the port's key, or go on in the other pipeline with it, its bits are looked up.
    fn tell_groups(&mut self, kind: PortKind) {
        let is_guest = matches!(kind, PortKind::Guest | PortKind::Container);
        if is_guest
            && self
                .network
                .bindings
                .get(self.reads, self.port.uuid)
                .is_none()
        {
            return;
        }
        let bits = self
            .network
            .port_bits(self.reads, self.datapath, &self.port.logical_port);
        let Some(bits) = bits.filter(|bits| *bits != 0) else {
            return;
        };
        for (table, port) in [
            (layout::IN_PORT_BITS, layout::IN_PORT),
            (layout::OUT_PORT_BITS, layout::OUT_PORT),
        ] {
            let has_key = layout::of_datapath(self.datapath).with(port, self.key);
            self.out
                .add(table, 100, has_key, vec![super::members::load(bits)]);
        }
    }

    /// A port of this switch.
    fn local(&mut self, kind: PortKind, at: Attachment) {
        // Nothing comes from where copies go.
        if kind != PortKind::Mirror {
            self.enter(kind, at);
        }
        self.arrive();
        self.allow_way_back(kind);
        self.leave(at);
        self.copy_elsewhere();
        match kind {
            PortKind::Localnet => {
                for bit in [flag::LOCAL_ONLY, flag::LOCALPORT] {
                    let stays =
                        towards(self.datapath, self.key).with_masked(layout::FLAGS, bit, bit);
                    self.out.add(layout::CHECK_LOOPBACK, 160, stays, Vec::new());
                }
            }
            PortKind::Localport => {
                let from = layout::of_datapath(self.datapath).with(layout::IN_PORT, self.key);
                let on = vec![Action::resubmit(layout::LOCAL_OUTPUT)];
                self.out.add(layout::REMOTE_OUTPUT, 150, from, on);
            }
            _ => {}
        }
    }

    fn enter(&mut self, kind: PortKind, at: Attachment) {
        let mut enter = Vec::new();
        load_zones(
            self.network,
            self.reads,
            &self.port.logical_port,
            self.port.datapath,
            &mut enter,
        );
        let number = self.network.encap_number(self.reads, self.port.encap);
        if number != 0 {
            enter.push(Action::load(layout::ENCAP_BITS, number));
        }
        let mark = match kind {
            PortKind::Container => Some(flag::NESTED_CONTAINER),
            PortKind::Localport => Some(flag::LOCALPORT),
            _ => None,
        };
        enter.extend(mark.map(|bit| Action::set_masked(layout::FLAGS, bit, bit)));
        let metadata = super::metadata(self.network, self.reads, self.port, self.datapath);
        enter.push(Action::set(layout::DATAPATH, metadata));
        enter.push(Action::set(layout::IN_PORT, self.key));
        enter.push(Action::resubmit(layout::INGRESS));
        let place = (self.datapath, self.key);
        if kind == PortKind::Guest {
            let awaited = activation::awaited(self.network, self.reads, self.port);
            if !awaited.is_empty() {
                activation::flows(&awaited, place, at, &enter, &mut self.out);
            }
        }
        if kind == PortKind::Container {
            let parent = self.port.parent_port.as_deref();
            let parent = parent.and_then(|name| self.network.port_by_name(self.reads, name));
            let waits = |parent| !activation::awaited(self.network, self.reads, parent).is_empty();
            if parent.is_some_and(|parent| waits(parent)) {
                activation::keep_from(place, &mut self.out);
            }
        }
        let strip_and_enter = || -> Vec<Action> {
            std::iter::once(Action::PopVlan)
                .chain(enter.iter().cloned())
                .collect()
        };
        let from = || Match::new().with(Field::InPort, at.ofport);
        let table = layout::PHYSICAL_TO_LOGICAL;
        if kind == PortKind::Localnet {
            let (tag, enter) = match at.tag {
                Some(tag) => (tagged(tag), strip_and_enter()),
                None => (0, enter.clone()),
            };
            let from = from().with(Field::VlanVid, tag);
            let (network, reads, out) = (self.network, self.reads, &mut self.out);
            chassis_mac::of_localnet(network, reads, self.port, &from, &enter, out);
        }
        match (at.tag, kind) {
            (Some(tag), _) => self.out.add(
                table,
                150,
                from().with(Field::VlanVid, tagged(tag)),
                strip_and_enter(),
            ),
            (None, PortKind::Localnet | PortKind::L2Gateway) if !self.passes_tags() => {
                // A tag with the number 0 carries a priority only; frames with any other belong to other networks.
                self.out.add(
                    table,
                    100,
                    from().with(Field::VlanVid, VLAN_PRESENT),
                    strip_and_enter(),
                );
                self.out.add(
                    table,
                    100,
                    from().with_masked(Field::VlanVid, 0u8, VLAN_PRESENT),
                    enter,
                );
            }
            (None, _) => self.out.add(table, 100, from(), enter),
        }
    }

    /// Whether frames with any VLAN tag belong to the port's switch, tag and all (`other_config:vlan-passthru`).
    fn passes_tags(&self) -> bool {
        ovsdb::truth(self.port.options.get("vlan-passthru"), false)
    }

    /// The packet is for a port of this chassis: it has the port's zones from here on.
    fn arrive(&mut self) {
        let mut actions = Vec::new();
        load_zones(
            self.network,
            self.reads,
            &self.port.logical_port,
            self.port.datapath,
            &mut actions,
        );
        // A packet from a tunnel has the key alone, and one from here the bits of its input port.
        let bits = super::bits(self.network, self.reads, self.port.datapath);
        let of_port = self
            .network
            .port_bits(self.reads, self.datapath, &self.port.logical_port);
        if bits != 0 || of_port.is_some() {
            actions.push(layout::load_bits(bits | of_port.unwrap_or_default()));
        }
        actions.push(Action::resubmit(layout::CHECK_LOOPBACK));
        self.out.add(
            layout::LOCAL_OUTPUT,
            100,
            towards(self.datapath, self.key),
            actions,
        );
        let back = towards(self.datapath, self.key)
            .with(layout::IN_PORT, self.key)
            .with_masked(layout::FLAGS, 0u8, flag::LOOPBACK);
        self.out.add(layout::CHECK_LOOPBACK, 100, back, Vec::new());
    }

    /// The switch never sends a packet out by the port that it came in by; where that is wanted, the input port is hidden.
    /// That is so for packets with the flag "loopback", and between containers and their guest, who share a port.
    fn allow_way_back(&mut self, kind: PortKind) {
        let in_port = Subfield::from(Field::InPort);
        let hide = || {
            vec![
                Action::Push(in_port),
                // No port, not port 0: a packet is recirculated with it, by conntrack for one, and a port that there is not drops.
                Action::set(Field::InPort, Port::ANY.0),
                Action::resubmit(layout::LOGICAL_TO_PHYSICAL),
                Action::Pop(in_port),
            ]
        };
        let with_flag =
            |bit: u128| towards(self.datapath, self.key).with_masked(layout::FLAGS, bit, bit);
        let table = layout::SAVE_IN_PORT;
        // A copy may be of a packet of the port to which it goes.
        if matches!(kind, PortKind::Container | PortKind::Mirror) {
            self.out
                .add(table, 100, towards(self.datapath, self.key), hide());
        } else {
            let (loopback, nested) = (with_flag(flag::LOOPBACK), with_flag(flag::NESTED_CONTAINER));
            self.out.add(table, 100, loopback, hide());
            if kind == PortKind::Guest {
                self.out.add(table, 100, nested, hide());
            }
        }
    }

    fn leave(&mut self, at: Attachment) {
        self.out.add(
            layout::LOGICAL_TO_PHYSICAL,
            100,
            towards(self.datapath, self.key),
            out_by(at),
        );
    }

    /// What a router that is on all chassis sends into a physical network comes there from the MAC of the chassis
    /// (`ovn-chassis-mac-mappings`): the network would learn the router's MAC at all chassis in turn. Where a gateway port is, it is
    /// known by its own.
    fn disguise(&mut self, router: &PortBinding) {
        let (network, reads) = (self.network, self.reads);
        let mappings = &network.own(reads).mac_mappings;
        let redirect = router.options.get("chassis-redirect-port");
        let redirect = redirect.and_then(|name| network.port_by_name(reads, name));
        let is_here = redirect.is_some_and(|port| network.bindings.get(reads, port.uuid).is_some());
        let own = router.mac.first().and_then(|mac| mac.parse().ok());
        let Some(MacAndIps { mac: own, .. }) = own else {
            return;
        };
        if is_here || mappings.is_empty() || PortKind::of(router) != PortKind::Patch {
            return;
        }
        for localnet in network.attached_localnets(reads, self.port.datapath) {
            let instead = localnet.options.get("network_name");
            let instead = instead.and_then(|name| mappings.get(name)).copied();
            let binding = network.bindings.get(reads, localnet.uuid);
            let (Some(instead), Some(binding)) = (instead, binding) else {
                continue;
            };
            let key = u32::try_from(localnet.tunnel_key).unwrap_or_default();
            let from = towards(self.datapath, key).with(Field::EthSrc, number(own));
            let mut actions = vec![Action::set(Field::EthSrc, number(instead))];
            actions.extend(out_by(binding.at));
            // Later copies are the router's.
            actions.push(Action::set(Field::EthSrc, number(own)));
            self.out
                .add(layout::LOGICAL_TO_PHYSICAL, 150, from, actions);
        }
    }

    /// A port of another chassis.
    fn remote(&mut self) {
        let elsewhere = self.elsewhere();
        let [(chassis, _), ..] = elsewhere[..] else {
            return;
        };
        if self.network.own(self.reads).chassis == Some(chassis) {
            return;
        }
        let localnet = self
            .network
            .attached_localnet(self.reads, self.port.datapath);
        // While a guest moves, copies must reach both places, and the physical network knows one; of mirrors it knows none.
        let is_known = self.port.additional_chassis.is_empty()
            && PortKind::of(self.port) != PortKind::Mirror
            && self.network.always_tunnel.get(self.reads, ()).is_none();
        if let Some(localnet) = localnet.filter(|_| is_known) {
            let instead = u32::try_from(localnet.tunnel_key).unwrap_or_default();
            let actions = vec![
                Action::set(layout::OUT_PORT, instead),
                Action::resubmit(layout::LOCAL_OUTPUT),
            ];
            self.out.add(
                layout::LOCAL_OUTPUT,
                100,
                towards(self.datapath, self.key),
                actions,
            );
            return;
        }
        self.send(&elsewhere, 100, &[]);
    }

    /// A port of this chassis that moves from it or to it: others have it too.
    fn copy_elsewhere(&mut self) {
        if self.port.additional_chassis.is_empty() {
            return;
        }
        let elsewhere = self.elsewhere();
        let here = [Action::resubmit(layout::LOCAL_OUTPUT)];
        self.send(&elsewhere, 110, &here);
    }

    /// The other chassis that have the port, with the ends of tunnels by which they want to be reached.
    fn elsewhere(&self) -> Vec<(Uuid, Option<Uuid>)> {
        let gateway = match PortKind::of(self.port) {
            PortKind::ChassisRedirect => self.network.gateway_of(self.reads, self.port),
            _ => None,
        };
        match gateway {
            Some(gateway) => vec![(gateway, None)],
            None => super::other_chassis(self.network, self.reads, self.port),
        }
    }

    /// Sends packets for the port to other chassis, and then does with them what is said.
    fn send(&mut self, to: &[(Uuid, Option<Uuid>)], priority: u16, then: &[Action]) {
        let own = self.network.own(self.reads);
        let copies = |from| {
            let (mut actions, mut problem) = (Vec::new(), None);
            for (chassis, encap) in to {
                let way = self.network.way_to(self.reads, *chassis, *encap, from);
                let copy = way
                    .map(|way| tunnel::encapsulate(way, own.geneve_field, self.datapath, self.key));
                match copy {
                    Some(Ok(copy)) => actions.extend(copy),
                    Some(Err(error)) => problem = Some(error),
                    None => {}
                }
            }
            (actions, problem)
        };
        let (by_default, problem) = copies(None);
        if let Some(error) = problem {
            let name = &self.port.logical_port;
            let text = format!("port {name} is not reached on its chassis: {error}");
            self.out.problem(self.port.uuid, text);
        }
        for (number, ip) in own.encap_choices() {
            let (actions, _) = copies(Some(ip));
            // Without a way from there, packets take the default one.
            if actions != by_default && !actions.is_empty() {
                let matches = super::leaving_by(towards(self.datapath, self.key), number);
                let actions = [&actions, then].concat();
                self.out
                    .add(layout::REMOTE_OUTPUT, priority + 1, matches, actions);
            }
        }
        if !by_default.is_empty() {
            let matches = towards(self.datapath, self.key);
            let actions = [&by_default, then].concat();
            self.out
                .add(layout::REMOTE_OUTPUT, priority, matches, actions);
        }
    }

    /// The gateway of a distributed router port is here: its packets go on to that port.
    fn redirect(&mut self) {
        let Builder {
            network,
            reads,
            port,
            ..
        } = *self;
        let place = (self.datapath, self.key);
        if handover::pass_on(network, reads, port, place, &mut self.out) {
            return;
        }
        handover::send_back(network, reads, port, &mut self.out);
        let Some(distributed) = self.network.distributed_port(self.reads, self.port) else {
            return;
        };
        let actions = vec![
            Action::set(layout::OUT_PORT, distributed),
            Action::resubmit(layout::LOCAL_OUTPUT),
        ];
        self.out.add(
            layout::LOCAL_OUTPUT,
            100,
            towards(self.datapath, self.key),
            actions,
        );
    }

    /// The gateway of a distributed router port is on another chassis, and packets get there by the physical network: they go on
    /// here, to the gateway's MAC.
    fn bridge(&mut self) {
        if self.network.reaches_network_of(self.reads, self.port) {
            return self.redirect();
        }
        let name = &self.port.logical_port;
        let text = format!(
            "port {name} is reached by a physical network (redirect-type=bridged) that is not attached to this chassis: add it to ovn-bridge-mappings"
        );
        self.out.problem(self.port.uuid, text);
    }

    /// A port whose other end is a port of another datapath.
    fn patch(&mut self) {
        let peer = self
            .port
            .options
            .get("peer")
            .and_then(|name| self.network.port_by_name(self.reads, name));
        let Some(peer) = peer else { return };
        let Some(peer_datapath) = self.network.datapaths.get(self.reads, peer.datapath) else {
            return;
        };
        if peer_datapath.is_router {
            self.disguise(peer);
        }
        self.arrive();
        self.allow_way_back(PortKind::of(self.port));
        let mut actions = vec![Action::CtClear];
        for register in [layout::DNAT_ZONE, layout::SNAT_ZONE] {
            actions.push(Action::set(register, 0u8));
        }
        actions.push(Action::load(layout::PORT_ZONE_BITS, 0u8));
        load_zones(
            self.network,
            self.reads,
            &peer.logical_port,
            peer.datapath,
            &mut actions,
        );
        clear_scratch(&mut actions);
        actions.extend([
            Action::set(
                layout::DATAPATH,
                super::metadata(self.network, self.reads, peer, peer_datapath.key),
            ),
            Action::set(
                layout::IN_PORT,
                u32::try_from(peer.tunnel_key).unwrap_or_default(),
            ),
            Action::set(layout::FLAGS, 0u8),
            Action::set(layout::OUT_PORT, 0u8),
            // Beyond, it may leave by the tunnel that it came by: a gateway sends back to the chassis of who has sent.
            Action::set(Field::InPort, Port::ANY.0),
            Action::resubmit(layout::INGRESS),
        ]);
        let matches = towards(self.datapath, self.key);
        self.out.add(
            layout::LOGICAL_TO_PHYSICAL,
            100,
            matches,
            vec![Action::Clone(actions)],
        );
    }
}

/// Out by a port of this switch, with its tag.
fn out_by(at: Attachment) -> Vec<Action> {
    let output = Action::output(Port(at.ofport));
    match at.tag {
        None => vec![output],
        Some(tag) => vec![
            Action::PushVlan {
                ethertype: ETHERTYPE_VLAN,
            },
            Action::set(Field::VlanVid, tagged(tag)),
            output,
            // Later copies of the packet, for other ports, have no tag.
            Action::PopVlan,
        ],
    }
}

/// Whether what is for a gateway port of another chassis goes there by a physical network, and not by a tunnel.
fn is_bridged(port: &PortBinding) -> bool {
    let kind = port.options.get("redirect-type");
    kind.is_some_and(|kind| &**kind == "bridged")
}
