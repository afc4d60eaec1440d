//! Which chassis is the gateway of a port: the only one that has it.
//!
//! The port of a gateway router names its chassis. A `chassisredirect` port names several, in an `HA_Chassis_Group` or by rows of
//! `Gateway_Chassis`: of those that there are, the one with the greatest priority is it. Every chassis comes to this by itself, from
//! the same rows, and none waits for another to say so.

use std::cmp::Reverse;

use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use super::binding::PortKind;
use super::{Network, Reads};

impl Network {
    /// Whether this chassis is the gateway of a port.
    pub(super) fn is_gateway_of(&self, reads: &Reads, port: &PortBinding) -> bool {
        let own = self.own(reads);
        match PortKind::of(port) {
            PortKind::L3Gateway => port
                .options
                .get("l3gateway-chassis")
                .is_some_and(|name| !name.is_empty() && *name == own.name),
            _ => own.chassis.is_some() && self.gateway_of(reads, port) == own.chassis,
        }
    }

    /// The chassis that is the gateway of a `chassisredirect` port.
    pub(crate) fn gateway_of(&self, reads: &Reads, port: &PortBinding) -> Option<Uuid> {
        let group = port
            .ha_chassis_group
            .and_then(|group| self.ha_groups.get(reads, group));
        let members = match group {
            Some(members) => members,
            None => &port.gateway_chassis[..],
        };
        let members = members.iter();
        let ranked = members.filter_map(|uuid| {
            let (chassis, priority) = *self.ranks.get(reads, *uuid)?;
            let name = &self.chassis.get(reads, chassis)?.name;
            Some((Reverse(priority), name, chassis))
        });
        ranked.min().map(|(.., chassis)| chassis)
    }

    /// The key of the port that a `chassisredirect` port stands for.
    pub(crate) fn distributed_port(&self, reads: &Reads, port: &PortBinding) -> Option<u32> {
        let name = port.options.get("distributed-port")?;
        let distributed = self.port_by_name(reads, name)?;
        u32::try_from(distributed.tunnel_key).ok()
    }
}
