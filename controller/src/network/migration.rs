//! Ports that are here in addition to their main chassis, while their guests move from one to the other.

use ovsdb::Uuid;
use sb_db::tables::PortBinding;

/// In `Port_Binding.options`: the names of the chassis at which the guest has spoken.
pub const ACTIVATED: &str = "additional-chassis-activated";

/// Whether a chassis has a port, or is to have it, in addition to its main one.
pub fn is_additional(port: &PortBinding, chassis: Uuid) -> bool {
    let is_main = port.requested_chassis == Some(chassis) || port.chassis == Some(chassis);
    let is_named = port.additional_chassis.contains(&chassis)
        || port.requested_additional_chassis.contains(&chassis);
    is_named && !is_main
}

/// Whether the southbound says that the guest has spoken at the chassis of this name.
pub fn has_spoken(port: &PortBinding, chassis: &str) -> bool {
    let names = port.options.get(ACTIVATED);
    let mut names = names.map_or("", |names| names).split(',');
    names.any(|name| name.trim() == chassis)
}
