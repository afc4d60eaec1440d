//! The chassis agent: binds ports, installs logical flows as Open vSwitch flows and tunnels.

pub mod pinctrl;
