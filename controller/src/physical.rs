//! Between logical ports and the ports of the switch: all flows that do not come from logical flows.
//!
//! A packet's way, with the tables of [`crate::layout`]:
//!
//! ```text
//!  port of the switch ──0──▶ ingress 8… ──output──▶ 44 ──other chassis──▶ tunnel
//!                                                   └──▶ 46 ──▶ 47 ──▶ egress 48… ──output──▶ 64 ──▶ 65 ──▶ port of the switch
//!  tunnel ──0─────────────────────────────────────────────▶ 46
//! ```

pub mod activation;
pub mod chassis_mac;
pub mod constant;
pub mod hairpin;
pub mod handover;
pub mod learned;
pub mod members;
pub mod multicast;
pub mod port;
pub mod port_security;
pub mod tunnel;

use std::collections::BTreeMap;

use openflow::message::FlowDesc;
use openflow::{Action, Field, Match, VLAN_PRESENT};
use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use crate::flow::{Flow, MeterSpec, Need, Resource};
use crate::layout;
use crate::network::{Bits, BitsByKeys, Fact, NameId, Network, Reads, named_bits};

/// Where flows of one row go.
pub(crate) struct Flows<'a> {
    facts: &'a mut Vec<Fact>,
    cookie: u64,
}

impl<'a> Flows<'a> {
    /// Flows with a row's cookie: the first 32 bits of its identity.
    pub(crate) fn of(facts: &'a mut Vec<Fact>, uuid: Uuid) -> Self {
        Flows {
            facts,
            cookie: cookie(uuid),
        }
    }

    /// Flows of no row.
    pub(crate) fn of_nothing(facts: &'a mut Vec<Fact>) -> Self {
        Flows { facts, cookie: 0 }
    }

    /// A row has no flows, or not all. A row has one such problem at most, beside those that others find in it.
    pub(crate) fn problem(&mut self, row: Uuid, text: String) {
        let own = Uuid::new_v5(&row, b"tunnel");
        self.facts.push(Fact::Problem(own, text));
    }

    /// A flow whose actions use this meter, under the number 1.
    pub(crate) fn add_metered(
        &mut self,
        table: u8,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
        meter: MeterSpec,
    ) {
        let need = Need {
            placeholder: 1,
            resource: Resource::Meter(meter),
            is_spare: false,
        };
        let cookie = self.cookie;
        let flow = Flow::with_needs(table, priority, matches, actions, cookie, vec![need]);
        self.facts.push(Fact::Flow(flow));
    }

    /// A flow.
    pub(crate) fn add(&mut self, table: u8, priority: u16, matches: Match, actions: Vec<Action>) {
        self.facts.push(Fact::Flow(Flow::new(
            table,
            priority,
            matches,
            actions,
            self.cookie,
        )));
    }
}

/// The cookie of what comes from a row.
pub(crate) fn cookie(uuid: Uuid) -> u64 {
    u64::from(uuid.as_fields().0)
}

/// The match of packets on their way to a logical port.
pub(crate) fn towards(datapath: u32, port: u32) -> Match {
    layout::of_datapath(datapath).with(layout::OUT_PORT, port)
}

/// The match of those packets among others that leave the chassis by one of its addresses.
pub(crate) fn leaving_by(matches: Match, encap_number: u32) -> Match {
    let bits = layout::ENCAP_BITS;
    matches.with_masked(bits.field, encap_number << bits.offset, bits.mask())
}

/// The 802.1Q tag as `vlan_vid` has it.
pub(crate) fn tagged(tag: u16) -> u128 {
    VLAN_PRESENT | u128::from(tag)
}

/// What `metadata` is for packets with a port on their pipeline's own side: the key of its datapath, the bits of that one's
/// groups, and those of the port's.
pub(crate) fn metadata(network: &Network, reads: &Reads, port: &PortBinding, key: u32) -> u64 {
    let port_bits = network.port_bits(reads, key, &port.logical_port);
    u64::from(key) | bits(network, reads, port.datapath) | port_bits.unwrap_or_default()
}

/// What the bits stand for that flows of a switch use.
pub(crate) fn bits_of_flows(flows: &[FlowDesc]) -> Bits {
    Bits {
        datapaths: bits_of_datapaths(flows),
        names: named_bits(flows),
    }
}

/// The bits that flows of a switch load: for each, the keys of the datapaths that have it.
fn bits_of_datapaths(flows: &[FlowDesc]) -> BitsByKeys {
    let mut bits_of: BTreeMap<u32, u64> = BTreeMap::new();
    for flow in flows
        .iter()
        .filter(|flow| flow.table == layout::LOCAL_OUTPUT)
    {
        let loaded = flow.actions.iter().find_map(|action| match action {
            Action::SetField {
                field: layout::DATAPATH,
                value,
                mask,
            } if *mask == u128::from(!layout::DATAPATH_KEY) => u64::try_from(*value).ok(),
            _ => None,
        });
        let key = flow.matches.get(layout::DATAPATH);
        if let (Some(bits), Some(key)) = (loaded, key)
            && let Ok(key) = u32::try_from(key.value)
        {
            bits_of.insert(key, bits);
        }
    }
    let mut keys_of: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for (key, bits) in bits_of {
        for bit in (layout::FIRST_GROUP_BIT..layout::FIRST_PORT_GROUP_BIT)
            .filter(|bit| bits >> bit & 1 == 1)
        {
            keys_of.entry(bit).or_default().push(key);
        }
    }
    keys_of.into_iter().map(|(bit, keys)| (keys, bit)).collect()
}

/// The bits of a datapath's groups.
pub(crate) fn bits(network: &Network, reads: &Reads, uuid: Uuid) -> u64 {
    network
        .bits_of
        .get(reads, uuid)
        .copied()
        .unwrap_or_default()
}

/// The other chassis that have a port, the main one first, with the ends of tunnels by which they want to be reached. There are
/// several while a guest moves.
pub(crate) fn other_chassis(
    network: &Network,
    reads: &Reads,
    port: &PortBinding,
) -> Vec<(Uuid, Option<Uuid>)> {
    let own = network.own(reads).chassis;
    let main = port.chassis.map(|chassis| (chassis, port.encap));
    let additional = port.additional_chassis.iter().map(|chassis| {
        let ends = network.chassis.get(reads, *chassis).map(|c| &c.encaps);
        let ends = ends.into_iter().flat_map(|ends| ends.iter());
        let wanted = ends
            .copied()
            .find(|end| port.additional_encap.contains(end));
        (*chassis, wanted)
    });
    let all = main.into_iter().chain(additional);
    all.filter(|(chassis, _)| own != Some(*chassis)).collect()
}

/// Loads a port's connection tracking zone, and those of its datapath's translations.
pub(crate) fn load_zones(
    network: &Network,
    reads: &Reads,
    port: &str,
    datapath: Uuid,
    actions: &mut Vec<Action>,
) {
    if let Some(zone) = network.zone_of.get(reads, NameId::of(port)) {
        actions.push(Action::load(layout::PORT_ZONE_BITS, *zone));
    }
    let Some(datapath) = network.datapaths.get(reads, datapath) else {
        return;
    };
    let names = crate::network::translation_zones(&datapath.name);
    for (register, name) in [layout::DNAT_ZONE, layout::SNAT_ZONE]
        .into_iter()
        .zip(names)
    {
        if let Some(zone) = network.zone_of.get(reads, NameId::of(&name)) {
            actions.push(Action::set(register, *zone));
        }
    }
}

/// Zeroes the registers that belong to one pipeline alone.
pub(crate) fn clear_scratch(actions: &mut Vec<Action>) {
    for register in [Field::Xxreg0, Field::Xxreg1, Field::Xreg4] {
        actions.push(Action::set(register, 0u8));
    }
}

#[cfg(test)]
mod tests;
