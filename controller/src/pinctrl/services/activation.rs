//! A guest that came by migration has spoken at its new place: nothing holds it back there any more.
//!
//! The port's row says so, too (`options:additional-chassis-activated`), for the time after a restart.

use daemon::Now;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use packet::userdata::Opcode;
use sb_db::tables::PortBinding;

use crate::network::{ACTIVATED, has_spoken, is_additional, say_spoken};
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
        let (Some(own), Some(settings)) = (view.own(), view.settings()) else {
            return Ok(());
        };
        if !is_additional(port, own) {
            return Ok(());
        }
        effects.push(Effect::Activate(port.uuid));
        if !has_spoken(port, &settings.system_id) {
            let known = port
                .options
                .get(ACTIVATED)
                .filter(|names| !names.is_empty());
            let names = known.into_iter().map(|names| &**names);
            let names: Vec<&str> = names.chain([&*settings.system_id]).collect();
            let say = say_spoken(&names.join(","));
            let say = Operation::mutate_row(PortBinding::INDEX, port.uuid, say);
            effects.push(Effect::Write(port.uuid, vec![say]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::Uuid;

    use super::*;
    use crate::pinctrl::tests::{OWN, World, now, packet_in};
    use crate::settings::Settings;
    use crate::vswitch::OpenVSwitch;

    /// What comes of a packet of the guest `p1`, whose row is like this.
    fn speak(change: impl FnOnce(&mut PortBinding)) -> Vec<Effect> {
        let row = OpenVSwitch {
            external_ids: [("system-id".into(), "c1".into())].into(),
            ..OpenVSwitch::default()
        };
        let mut world = World {
            settings: Settings::read(&row, "", "").0,
            ..World::default()
        };
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
        let write = |names| {
            let operation = Operation::mutate_row(PortBinding::INDEX, port, say_spoken(names));
            Effect::Write(port, vec![operation])
        };
        let moves = |port: &mut PortBinding| port.additional_chassis = vec![OWN];
        assert_eq!(speak(moves), [Effect::Activate(port), write("c1")]);
        let again = |port: &mut PortBinding| {
            moves(port);
            port.options = crate::testing::options([(ACTIVATED, "c0,c1")]);
        };
        assert_eq!(speak(again), [Effect::Activate(port)]);
        let another = |port: &mut PortBinding| {
            moves(port);
            port.options = crate::testing::options([(ACTIVATED, "c0")]);
        };
        assert_eq!(speak(another), [Effect::Activate(port), write("c0,c1")]);
        assert_eq!(speak(|port| port.chassis = Some(OWN)), []);
    }
}
