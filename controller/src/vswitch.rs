//! The tables of the local switch's database (ovs-vswitchd.conf.db(5)), with the columns that the controller reads or writes.
//!
//! Columns that are not here are neither monitored nor touched.

pub mod bridge;
pub mod interface;
pub mod mirror;
pub mod open_vswitch;
pub mod port;
pub mod qos;
pub mod queue;
pub mod ssl;

pub use bridge::Bridge;
pub use interface::Interface;
pub use mirror::Mirror;
pub use open_vswitch::OpenVSwitch;
pub use port::Port;
pub use qos::Qos;
pub use queue::Queue;
pub use ssl::Ssl;

ovsdb::database! {
    name: "Open_vSwitch",
    version: "8.8.0",
    tables: [OpenVSwitch, Bridge, Port, Interface, Ssl, Qos, Queue, Mirror],
    additions: [],
}
