//! Every end-to-end test, in one program: a module is what one story needs, and its name is what
//! `cargo xtask test --end-to-end FILTER` filters by.

mod access;
mod advertisements;
mod bad_input;
mod bfd;
mod cluster_clients;
mod cluster_faults;
mod container_host;
mod dhcp_relay;
mod disabled_ports;
mod durability;
mod examples;
mod failover;
mod gateways;
mod leases;
mod localnet;
mod manners;
mod marks;
mod mirrors;
mod mixed;
mod multicast;
mod names;
mod ovsdbapp;
mod policy;
mod ports_up;
mod rates;
mod reachability;
mod restart;
mod rig;
mod routed;
mod routes;
mod schema;
mod services;
mod spoofing;
mod vxlan;
