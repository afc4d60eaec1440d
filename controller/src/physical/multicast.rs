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

use openflow::Action;
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

    let (mut here, mut everywhere, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    let mut tunnels = FxHashSet::default();
    for uuid in &group.ports {
        let Some(port) = network
            .ports
            .get(reads, *uuid)
            .filter(|port| port.datapath == group.datapath)
        else {
            continue;
        };
        let kind = PortKind::of(port);
        if kind == PortKind::Patch || network.bindings.get(reads, *uuid).is_some() {
            let copies = match kind {
                PortKind::Patch | PortKind::Localport => &mut everywhere,
                _ => &mut here,
            };
            load_zones(network, reads, &port.logical_port, port.datapath, copies);
            copies.push(Action::set(
                layout::OUT_PORT,
                u32::try_from(port.tunnel_key).unwrap_or_default(),
            ));
            copies.push(Action::resubmit(layout::CHECK_LOOPBACK));
        } else if let Some(chassis) = port
            .chassis
            .filter(|chassis| own.chassis != Some(*chassis) && !by_localnet)
            && let Some(tunnel) = network.tunnel_to(reads, chassis, port.encap)
            && tunnels.insert(tunnel.ofport)
        {
            elsewhere.extend(tunnel::encapsulate(
                tunnel,
                own.geneve_field,
                datapath.key,
                key,
            ));
        }
    }
    let mut out = Flows::of(facts, group.uuid);
    let matches = towards(datapath.key, key);
    if !here.is_empty() {
        // A packet from a tunnel has the datapath's key alone.
        let bits = super::bits(network, reads, group.datapath);
        here.splice(0..0, layout::load_bits(bits));
        out.add(layout::LOCAL_OUTPUT, 100, matches.clone(), here);
    }
    if !everywhere.is_empty() {
        // The copies have written the output port.
        everywhere.push(Action::set(layout::OUT_PORT, key));
    }
    elsewhere.extend(everywhere);
    if !elsewhere.is_empty() {
        elsewhere.push(Action::resubmit(layout::LOCAL_OUTPUT));
        out.add(layout::REMOTE_OUTPUT, 100, matches, elsewhere);
    }
}
