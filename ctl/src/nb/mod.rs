//! The commands of `weft nb`, a family a file.

mod acl;
mod arguments;
mod dhcp;
mod general;
mod load_balancer;
mod nat;
mod port;
mod port_group;
mod port_settings;
mod route;
mod router;
mod router_port;
mod show;
mod switch;

use crate::command::Family;
use crate::server;

/// The families, in the order of the help text.
pub static FAMILIES: &[&Family] = &[
    &general::FAMILY,
    &switch::FAMILY,
    &acl::FAMILY,
    &port::FAMILY,
    &port_settings::FAMILY,
    &router::FAMILY,
    &router_port::FAMILY,
    &route::FAMILY,
    &nat::FAMILY,
    &load_balancer::FAMILY,
    &port_group::FAMILY,
    &dhcp::FAMILY,
    &server::CONNECTION_FAMILY,
    &server::SSL_FAMILY,
];
