//! The pipelines of a logical switch, feature by feature.

pub mod admission;
pub mod delivery;
pub mod dhcp;
pub mod fdb;
pub mod lookup;
pub mod neighbours;
pub mod unknown;

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;

use super::{Flows, Rule};
use crate::model::{Dhcp4, Port, Switch};

/// A switch, as features see it.
pub struct SwitchView<'a> {
    /// The switch.
    pub switch: &'a Switch,
}

/// A port, as features see it.
pub struct PortView<'a> {
    /// The port.
    pub port: &'a Port,
    /// The MACs that are its alone.
    pub macs: Vec<Mac>,
    /// The IP addresses that are its alone, each with its MAC.
    pub ips: Vec<(IpAddr, Mac)>,
    /// What its DHCPv4 clients are told.
    pub dhcp4: Option<&'a Arc<Dhcp4>>,
}

/// The flows that all switches have alike.
pub fn shared(flows: &mut Flows<'_>) {
    admission::shared(flows);
    fdb::shared(flows);
    neighbours::shared(flows);
    dhcp::shared(flows);
    lookup::shared(flows);
    unknown::shared(flows);
    delivery::shared(flows);
}

/// The flows of one switch that do not depend on its ports.
pub fn switch(view: &SwitchView<'_>, flows: &mut Flows<'_>) {
    admission::switch(view, flows);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    admission::port(view, flows);
    fdb::port(view, flows);
    neighbours::port(view, flows);
    dhcp::port(view, flows);
    lookup::port(view, flows);
    unknown::port(view, flows);
    delivery::port(view, flows);
}

/// All kinds of flows of a switch, by feature, for the book.
pub const RULES: &[(&str, &[Rule])] = &[
    ("admission", admission::RULES),
    ("fdb", fdb::RULES),
    ("neighbours", neighbours::RULES),
    ("dhcp", dhcp::RULES),
    ("lookup", lookup::RULES),
    ("unknown", unknown::RULES),
    ("delivery", delivery::RULES),
];
