//! A guest that came by migration has spoken at its new place: nothing holds it back there any more.
//!
//! The port's row says so, too (`options:additional-chassis-activated`), for the time after a restart. That is the business of
//! claims.

use daemon::Now;
use packet::userdata::Opcode;

use crate::network::is_additional;
use crate::pinctrl::fields::logical_port;
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service.
#[derive(Debug)]
pub struct Activation;

impl Service for Activation {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::ActivationStrategy]
    }

    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let (datapath, port) = logical_port(&packet.packet_in.metadata);
        let port = view
            .port_keyed(datapath, port)
            .ok_or(HandleError::Port { datapath, port })?;
        if view.own().is_some_and(|own| is_additional(port, own)) {
            effects.push(Effect::Activate(port.uuid));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::Uuid;
    use sb_db::tables::PortBinding;

    use super::*;
    use crate::pinctrl::tests::{OWN, World, now, packet_in};

    /// What comes of a packet of the guest `p1`, whose row is like this.
    fn speak(change: impl FnOnce(&mut PortBinding)) -> Vec<Effect> {
        let mut world = World::default();
        change(Arc::make_mut(&mut world.ports[0]));
        let packet_in = packet_in(1, Vec::new(), Vec::new());
        let packet = Packet {
            opcode: Opcode::ActivationStrategy,
            arguments: &[],
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        let outcome = Activation.packet(now(), packet, &world, &mut effects);
        assert_eq!(outcome, Ok(()));
        effects
    }

    #[test]
    fn a_guest_that_speaks_is_held_back_no_more() {
        let port = Uuid::from_u128(1);
        let moves = |port: &mut PortBinding| port.additional_chassis = vec![OWN];
        assert_eq!(speak(moves), [Effect::Activate(port)]);
        assert_eq!(speak(|port| port.chassis = Some(OWN)), []);
    }
}
