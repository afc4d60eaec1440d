//! Tunnel keys: the numbers by which chassis name datapaths and ports to each other.
//!
//! | key | bits | use |
//! | --- | --- | --- |
//! | datapath | 24 | 1 to 16,711,680 local, above that shared between zones; VXLAN carries 12 bits |
//! | port | 15 | 1 to 32,767 ports |
//! | port | 16 | 32,768 to 65,535 multicast groups (VXLAN maps them to 2,048 and above) |

use std::fmt;

/// `Datapath_Binding.tunnel_key`: 1 to 2²⁴−1, carried as the tunnel's network identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatapathKey(u32);

impl DatapathKey {
    /// The largest key.
    pub const MAX: u32 = (1 << 24) - 1;
    /// The largest key of a datapath that is not shared between zones.
    pub const MAX_LOCAL: u32 = Self::MAX - 65_535;
    /// The largest key when any chassis speaks VXLAN.
    pub const MAX_VXLAN: u32 = (1 << 12) - 1;

    /// The key, or nothing when out of range.
    pub fn new(key: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&key).then_some(Self(key))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// `Port_Binding.tunnel_key` or `Multicast_Group.tunnel_key`: 1 to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey(u16);

impl PortKey {
    /// The largest key of a port.
    pub const MAX_PORT: u16 = (1 << 15) - 1;
    /// The smallest key of a multicast group.
    pub const MIN_GROUP: u16 = 1 << 15;
    /// The largest key of a port when any chassis speaks VXLAN.
    pub const MAX_VXLAN_PORT: u16 = (1 << 11) - 1;
    /// The group of all ports (`_MC_flood`).
    pub const FLOOD: Self = Self(32_768);
    /// The group of ports that take unknown destinations (`_MC_unknown`).
    pub const UNKNOWN: Self = Self(32_769);
    /// The group of multicast routers (`_MC_mrouter_flood`).
    pub const MROUTER_FLOOD: Self = Self(32_770);
    /// The group of ports with static flooding (`_MC_static`).
    pub const STATIC: Self = Self(32_771);
    /// The group of all ports but router ports (`_MC_flood_l2`).
    pub const FLOOD_L2: Self = Self(32_772);

    /// The key, or nothing for 0.
    pub fn new(key: u16) -> Option<Self> {
        (key != 0).then_some(Self(key))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// True for a multicast group's key.
    pub const fn is_group(self) -> bool {
        self.0 >= Self::MIN_GROUP
    }
}

impl fmt::Display for DatapathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(DatapathKey::new(0), None);
        assert_eq!(DatapathKey::new(1 << 24), None);
        assert_eq!(DatapathKey::MAX_LOCAL, 16_711_680);
        assert_eq!(PortKey::new(0), None);
        assert!(PortKey::FLOOD.is_group());
        assert!(!PortKey::new(PortKey::MAX_PORT).unwrap().is_group());
    }
}
