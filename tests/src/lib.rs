//! A rig of several chassis on one machine, and the lab that must work on it.
//!
//! Nothing here is simulated. A chassis is a network namespace with an `ovsdb-server` and an `ovs-vswitchd` of its
//! own, in userspace so that no kernel module is needed; a guest is a namespace at the other end of one of its
//! ports; the underlay is a Linux bridge in the namespace of the databases. What is under test (databases, northd,
//! controllers, command-line tools) is pluggable daemon by daemon: Weft's or OVN's, so that one lab proves the rig
//! (all OVN), Weft (all Weft) and each stand-in (mixed).
//!
//! ```text
//!   namespace "db"                 namespace "ubuntu2"                       namespaces "vm1", "vm5", "c51", …
//!  ┌──────────────────────────┐   ┌──────────────────────────────────────┐
//!  │ nb  sb  northd           │   │ ovsdb-server ovs-vswitchd controller │
//!  │ underlay (Linux bridge) ─┼veth┼─ br-phys ═tunnels═ br-int ───────────┼── internal ports, moved into the guests
//!  └──────────────────────────┘   └──────────────────────────────────────┘
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`run`] | one command, bounded in time, with an error that shows what it said |
//! | [`wait`] | waiting for a condition, with a deadline |
//! | [`namespace`] | a network namespace that cleans up after itself |
//! | [`process`] | a daemon: start, kill, restart, what it cost |
//! | [`implementation`] | Weft's daemons and OVN's, and how each is started |
//! | [`ovsdb`] | a small OVSDB client for measuring and for bad input |
//! | [`cluster`] | a database of several members that can be hurt |
//! | [`volume`] | a small file system that can be full |
//! | [`chassis`] | one hypervisor: Open vSwitch and a controller |
//! | [`folder`] | a rig's folder, and the sweep of what a killed run left |
//! | [`rig`] | all of it together |
//! | [`guest`] | a virtual machine or container: leases, pings, captures |
//! | [`capture`] | `tcpdump`, read while it runs |
//! | [`flows`] | what is installed in a switch, and since when |
//! | [`lab`] | the lab of virtual machines and nested containers |
//! | [`service`] | a service on a guest, and connections to it
//! | [`story`] | a test's frame: build, tell, and on failure show the logs |
//!
//! Everything needs root, Open vSwitch and the tools that `cargo xtask setup` installs. Without them a test fails and
//! says so; none is skipped.

pub mod bulk;
pub mod capture;
pub mod chassis;
pub mod cluster;
pub mod flows;
pub mod folder;
pub mod guest;
pub mod implementation;
pub mod lab;
pub mod namespace;
pub mod ovsdb;
pub mod process;
pub mod rig;
pub mod routed;
pub mod run;
pub mod service;
pub mod story;
pub mod traffic;
pub mod volume;
pub mod wait;
