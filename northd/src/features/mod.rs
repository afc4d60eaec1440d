//! The features: one file or folder each, and the one list of all. `docs/adding-a-feature.md` walks through a new one.

pub mod acl;
pub mod address_sets;
pub mod admission;
pub mod arp_proxy;
pub mod chassis;
pub mod copp;
pub mod delivery;
pub mod dhcp4;
pub mod dhcp6;
pub mod dictionaries;
pub mod dns;
pub mod drop_sampling;
pub mod enforcement;
pub mod external_ports;
pub mod fdb;
pub mod forwarding_groups;
pub mod ipam;
pub mod load_balancer;
pub mod lookup;
pub mod matches;
pub mod meters;
pub mod mirrors;
pub mod multicast;
pub mod neighbours;
pub mod port_groups;
pub mod ports;
pub mod progress;
pub mod qos;
pub mod rbac;
pub mod router;
pub mod segments;
pub mod switch;
pub mod templates;
pub mod underlay;
pub mod unknown;
pub mod virtual_ports;

use crate::compiler::feature::Feature;

/// All features.
pub static ALL: &[&Feature] = &[
    &progress::FEATURE,
    &rbac::FEATURE,
    &dictionaries::FEATURE,
    &chassis::FEATURE,
    &underlay::FEATURE,
    &switch::FEATURE,
    &ports::FEATURE,
    &ipam::FEATURE,
    &multicast::FEATURE,
    &address_sets::FEATURE,
    &port_groups::FEATURE,
    &meters::FEATURE,
    &copp::FEATURE,
    &mirrors::FEATURE,
    &templates::FEATURE,
    &admission::FEATURE,
    &fdb::FEATURE,
    &acl::FEATURE,
    &enforcement::FEATURE,
    &drop_sampling::FEATURE,
    &qos::FEATURE,
    &segments::FEATURE,
    &neighbours::FEATURE,
    &arp_proxy::FEATURE,
    &virtual_ports::FEATURE,
    &external_ports::FEATURE,
    &dhcp4::FEATURE,
    &dhcp6::FEATURE,
    &dns::FEATURE,
    &lookup::FEATURE,
    &forwarding_groups::FEATURE,
    &unknown::FEATURE,
    &delivery::FEATURE,
    &router::FEATURE,
    &router::ports::FEATURE,
    &router::links::FEATURE,
    &router::gateways::FEATURE,
    &router::admission::FEATURE,
    &router::learning::FEATURE,
    &router::ageing::FEATURE,
    &router::own::FEATURE,
    &router::input::FEATURE,
    &router::advertisements::FEATURE,
    &router::dhcp_relay::FEATURE,
    &router::nat::FEATURE,
    &router::force_snat::FEATURE,
    &load_balancer::FEATURE,
    &router::routes::FEATURE,
    &router::bfd::FEATURE,
    &router::neighbour_routes::FEATURE,
    &router::static_routes::FEATURE,
    &router::dynamic::FEATURE,
    &router::symmetric::FEATURE,
    &router::next_hops::FEATURE,
    &router::policies::FEATURE,
    &router::protocols::FEATURE,
    &router::neighbours::FEATURE,
    &router::multicast::FEATURE,
    &router::lengths::FEATURE,
    &router::delivery::FEATURE,
];
