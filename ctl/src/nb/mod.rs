//! The commands of `weft nb`, a family a file.

mod acl;
mod arguments;
mod copp;
mod dhcp;
mod forwarding_group;
mod general;
mod ha_chassis_group;
mod health_check;
mod load_balancer;
mod meter;
mod mirror;
mod nat;
mod network_function;
mod policy;
mod port;
mod port_group;
mod port_settings;
mod qos;
mod route;
mod router;
mod router_port;
mod show;
mod static_mac_binding;
mod switch;

use crate::command::Family;
use crate::server;

/// The families, in the order of the help text.
pub static FAMILIES: &[&Family] = &[
    &general::FAMILY,
    &switch::FAMILY,
    &acl::FAMILY,
    &qos::FAMILY,
    &mirror::FAMILY,
    &meter::FAMILY,
    &port::FAMILY,
    &port_settings::FAMILY,
    &health_check::FAMILY,
    &network_function::FAMILY,
    &forwarding_group::FAMILY,
    &router::FAMILY,
    &router_port::FAMILY,
    &route::FAMILY,
    &policy::FAMILY,
    &nat::FAMILY,
    &load_balancer::FAMILY,
    &port_group::FAMILY,
    &dhcp::FAMILY,
    &copp::FAMILY,
    &ha_chassis_group::FAMILY,
    &static_mac_binding::FAMILY,
    &server::CONNECTION_FAMILY,
    &server::SSL_FAMILY,
];
