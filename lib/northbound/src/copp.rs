//! Control-plane protection: which meter limits which kind of packet on its way to the controller.

use std::sync::Arc;

use nb_db::tables::{Copp, LogicalRouter, LogicalSwitch};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::DraftError;
use crate::values::Made;
use crate::words::words;

words! {
    /// A kind of packet that is sent to the controller (keys of `Copp.meters`).
    pub enum ControlProtocol {
        /// ARP packets from which neighbours are learned.
        Arp = "arp",
        /// Packets whose next hop is to be resolved by ARP.
        ArpResolve = "arp-resolve",
        /// DHCPv4 requests.
        Dhcpv4 = "dhcpv4-opts",
        /// DHCPv6 requests.
        Dhcpv6 = "dhcpv6-opts",
        /// DNS queries.
        Dns = "dns",
        /// Packets to virtual addresses without backends, of which the management system is told.
        EmptyLoadBalancer = "event-elb",
        /// Packets that are answered with an ICMPv4 error.
        Icmp4Error = "icmp4-error",
        /// Packets that are answered with an ICMPv6 error.
        Icmp6Error = "icmp6-error",
        /// Group membership reports.
        Igmp = "igmp",
        /// Neighbour advertisements from which neighbours are learned.
        NeighbourAdvertisement = "nd-na",
        /// Neighbour solicitations.
        NeighbourSolicitation = "nd-ns",
        /// Packets whose next hop is to be resolved by neighbour discovery.
        NeighbourResolve = "nd-ns-resolve",
        /// Router solicitations.
        RouterAdvertisement = "nd-ra-opts",
        /// Packets that are answered with a TCP reset.
        TcpReset = "tcp-reset",
        /// BFD packets.
        Bfd = "bfd",
        /// Packets that ACLs and load balancers reject.
        Reject = "reject",
        /// Answers to health checks.
        ServiceMonitor = "svc-monitor",
        /// DHCPv4 requests that are relayed.
        Dhcpv4Relay = "dhcpv4-relay",
    }
}

/// Limits a kind of packet by the meter of this name in the profile of this name, which is made if there is none.
pub fn add_copp(
    draft: &mut Draft<'_>,
    name: &str,
    protocol: ControlProtocol,
    meter: &str,
) -> Result<Made, DraftError> {
    let column = Copp::COLUMN;
    let existing = find_copp(draft, name);
    let is_new = existing.is_none();
    let uuid = match existing {
        Some(uuid) => uuid,
        None => {
            let uuid = draft.insert::<Copp>()?;
            draft.set::<Copp, _>(uuid, column.name, &Arc::from(name))?;
            uuid
        }
    };
    let mut meters = draft.get::<Copp, _>(uuid, column.meters);
    meters.insert(protocol.as_str().into(), meter.into());
    draft.rely_on::<Copp, _>(uuid, column.meters)?;
    draft.set::<Copp, _>(uuid, column.meters, &meters)?;
    Ok(Made { uuid, is_new })
}

/// Limits a kind of packet no longer, or deletes the profile, as the last kind does; that there is none is no error.
pub fn delete_copp(
    draft: &mut Draft<'_>,
    name: &str,
    protocol: Option<ControlProtocol>,
) -> Result<(), DraftError> {
    let Some(uuid) = find_copp(draft, name) else {
        return Ok(());
    };
    let Some(protocol) = protocol else {
        return draft.delete::<Copp>(uuid);
    };
    let column = Copp::COLUMN.meters;
    let mut meters = draft.get::<Copp, _>(uuid, column);
    if meters.remove(protocol.as_str()).is_some() {
        if meters.is_empty() {
            return draft.delete::<Copp>(uuid);
        }
        draft.rely_on::<Copp, _>(uuid, column)?;
        draft.set::<Copp, _>(uuid, column, &meters)?;
    }
    Ok(())
}

/// The profile of this name, if there is one.
pub fn find_copp(draft: &Draft<'_>, name: &str) -> Option<Uuid> {
    let found = draft.find::<Copp, _>(Copp::COLUMN.name, &Arc::from(name));
    found.first().copied()
}

/// Protects controllers from a switch by a profile.
pub fn set_switch_copp(draft: &mut Draft<'_>, switch: Uuid, copp: Uuid) -> Result<(), DraftError> {
    draft.set::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.copp, &Some(copp))
}

/// Protects controllers from a router by a profile.
pub fn set_router_copp(draft: &mut Draft<'_>, router: Uuid, copp: Uuid) -> Result<(), DraftError> {
    draft.set::<LogicalRouter, _>(router, LogicalRouter::COLUMN.copp, &Some(copp))
}
