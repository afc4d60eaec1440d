//! Flows of a multicast group: a copy through the tunnel to each chassis that has members, and one for each member here.
//!
//! | table | what is served | who comes by |
//! | --- | --- | --- |
//! | 44 | tunnels; patch ports and localports, which are on every chassis | packets from ports of this chassis |
//! | 46 | the other ports of this chassis | these, and copies from other chassis |
//!
//! Were a patch port served in 46, every chassis would repeat what one of them has done.
//!
//! A group is sent through a tunnel once, as a group; the chassis at the other end finds its own members. Where the switch has
//! a localnet port on this chassis, the other chassis are reached through that member.

use std::net::IpAddr;

use openflow::Action;
use ovsdb::Uuid;
use rustc_hash::FxHashSet;
use sb_db::tables::MulticastGroup;

use super::{Flows, load_zones, towards, tunnel};
use crate::layout;
use crate::network::{Fact, Network, PortKind, Reads};

/// The flows.
pub fn flows(network: &Network, reads: &Reads, group: &MulticastGroup, facts: &mut Vec<Fact>) {
    if network.local.get(reads, group.datapath).is_none() {
        return;
    }
    let Some(datapath) = network.datapaths.get(reads, group.datapath) else {
        return;
    };
    let own = network.own(reads);
    let key = u32::try_from(group.tunnel_key).unwrap_or_default();
    let by_localnet = network.attached_localnet(reads, group.datapath).is_some();

    let bits = super::bits(network, reads, group.datapath);
    let mut loads_port_bits = false;
    let (mut here, mut everywhere) = (Vec::new(), Vec::new());
    let mut remote: Vec<(Uuid, Option<Uuid>)> = Vec::new();
    for uuid in &group.ports {
        let Some(port) = network
            .ports
            .get(reads, *uuid)
            .filter(|port| port.datapath == group.datapath)
        else {
            continue;
        };
        let kind = PortKind::of(port);
        if !kind.is_way() {
            continue;
        }
        if kind == PortKind::Patch || network.bindings.get(reads, *uuid).is_some() {
            let copies = match kind {
                PortKind::Patch | PortKind::Localport => &mut everywhere,
                _ => &mut here,
            };
            load_zones(network, reads, &port.logical_port, port.datapath, copies);
            if let Some(bits) = network.port_bits(reads, datapath.key, &port.logical_port) {
                copies.push(super::members::load(bits));
                loads_port_bits = true;
            }
            let key = match kind {
                PortKind::ChassisRedirect => network.distributed_port(reads, port),
                _ => u32::try_from(port.tunnel_key).ok(),
            };
            copies.push(Action::set(layout::OUT_PORT, key.unwrap_or_default()));
            copies.push(Action::resubmit(layout::CHECK_LOOPBACK));
        }
        // While a guest moves, copies must reach both places.
        let is_bound = network.bindings.get(reads, *uuid).is_some();
        if !port.additional_chassis.is_empty() || !is_bound && !by_localnet {
            remote.extend(super::other_chassis(network, reads, port));
        }
    }
    let mut out = Flows::of(facts, group.uuid);
    let matches = towards(datapath.key, key);
    if !here.is_empty() {
        // A packet from a tunnel has the datapath's key alone.
        if bits != 0 || loads_port_bits {
            here.insert(0, layout::load_bits(bits));
        }
        out.add(layout::LOCAL_OUTPUT, 100, matches.clone(), here);
    }
    if !everywhere.is_empty() {
        // The copies have written the output port.
        everywhere.push(Action::set(layout::OUT_PORT, key));
    }
    // One copy to each chassis, whichever of its members comes first.
    let copies = |from: Option<IpAddr>| {
        let mut seen = FxHashSet::default();
        let (mut actions, mut problem) = (Vec::new(), None);
        for (chassis, encap) in &remote {
            if seen.insert(*chassis)
                && let Some(way) = network.way_to(reads, *chassis, *encap, from)
            {
                match tunnel::encapsulate(way, own.geneve_field, datapath.key, key) {
                    Ok(copy) => actions.extend(copy),
                    Err(error) => problem = Some(error),
                }
            }
        }
        (actions, problem)
    };
    let (by_default, problem) = copies(None);
    if let Some(error) = problem {
        let name = &group.name;
        let text = format!("multicast group {name} has members that are not reached: {error}");
        out.problem(group.uuid, text);
    }
    for (number, ip) in own.encap_choices() {
        let (elsewhere, _) = copies(Some(ip));
        if elsewhere != by_default {
            let actions = onward(elsewhere, &everywhere);
            let matches = super::leaving_by(matches.clone(), number);
            out.add(layout::REMOTE_OUTPUT, 101, matches, actions);
        }
    }
    if !by_default.is_empty() || !everywhere.is_empty() {
        out.add(
            layout::REMOTE_OUTPUT,
            100,
            matches,
            onward(by_default, &everywhere),
        );
    }
}

/// Copies to other chassis, copies that every chassis makes for itself, then those for its other ports.
fn onward(mut elsewhere: Vec<Action>, everywhere: &[Action]) -> Vec<Action> {
    elsewhere.extend_from_slice(everywhere);
    elsewhere.push(Action::resubmit(layout::LOCAL_OUTPUT));
    elsewhere
}
