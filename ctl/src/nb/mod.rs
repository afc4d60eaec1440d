//! The commands of `weft nb`, a family a file.

mod dhcp;
mod find;
mod general;
mod port;
mod port_address;
mod port_settings;
mod router;
mod show;
mod switch;

use crate::command::Family;
use crate::server;

/// The families, in the order of the help text.
pub static FAMILIES: &[&Family] = &[
    &general::FAMILY,
    &switch::FAMILY,
    &port::FAMILY,
    &port_settings::FAMILY,
    &router::FAMILY,
    &dhcp::FAMILY,
    &server::CONNECTION_FAMILY,
    &server::SSL_FAMILY,
];
