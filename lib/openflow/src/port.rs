//! Port numbers of OpenFlow 1.1 and later, with the reserved ones (OpenFlow 1.5.1 section 7.2.1).

use std::fmt;

/// The number of a port on a switch, or one of the reserved values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u32);

impl Port {
    /// No output port was set by the action set (matched through `actset_output`).
    pub const UNSET: Port = Port(0xffff_fff7);
    /// The port that the packet came in by.
    pub const IN_PORT: Port = Port(0xffff_fff8);
    /// Through the flow tables from the start; for packets that a controller sends.
    pub const TABLE: Port = Port(0xffff_fff9);
    /// As an ordinary switch would forward it.
    pub const NORMAL: Port = Port(0xffff_fffa);
    /// All ports of the VLAN but the input port.
    pub const FLOOD: Port = Port(0xffff_fffb);
    /// All ports but the input port.
    pub const ALL: Port = Port(0xffff_fffc);
    /// The controller.
    pub const CONTROLLER: Port = Port(0xffff_fffd);
    /// The bridge's own local port.
    pub const LOCAL: Port = Port(0xffff_fffe);
    /// Any port, or none.
    pub const ANY: Port = Port(0xffff_ffff);

    /// The highest number of a real port.
    pub const MAX: Port = Port(0xffff_feff);

    /// Whether it is a real port's number.
    pub fn is_physical(self) -> bool {
        self.0 > 0 && self <= Port::MAX
    }

    /// The 16-bit number of OpenFlow 1.0 and of Nicira's actions: reserved ports are those of OpenFlow 1.1 without the
    /// upper half. `None` for a real port beyond 16 bits.
    pub fn to_u16(self) -> Option<u16> {
        match self.0 {
            n @ 0..0xff00 => Some(n as u16),
            n @ 0xffff_ff00.. => Some((n & 0xffff) as u16),
            _ => None,
        }
    }

    /// The port with a 16-bit number of OpenFlow 1.0.
    pub fn from_u16(n: u16) -> Port {
        if n >= 0xff00 {
            Port(0xffff_0000 | u32::from(n))
        } else {
            Port(u32::from(n))
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Port::UNSET => "UNSET",
            Port::IN_PORT => "IN_PORT",
            Port::TABLE => "TABLE",
            Port::NORMAL => "NORMAL",
            Port::FLOOD => "FLOOD",
            Port::ALL => "ALL",
            Port::CONTROLLER => "CONTROLLER",
            Port::LOCAL => "LOCAL",
            Port::ANY => "ANY",
            Port(n) => return write!(f, "{n}"),
        };
        f.write_str(name)
    }
}
