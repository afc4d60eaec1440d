//! What differs between IPv4 and IPv6 in packets that a router makes: one function over a value, instead of two.

use lflow::action::{Action, Transform};
use lflow::{Expr, Symbol, a, m};

/// What differs between the families in the router's own packets.
#[derive(Clone, Copy)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The packet is of this family.
    pub fn is(self) -> Expr {
        match self {
            Self::V4 => m::ip4(),
            Self::V6 => m::ip6(),
        }
    }

    /// The source address.
    pub fn src(self) -> Symbol {
        match self {
            Self::V4 => Symbol::Ip4Src,
            Self::V6 => Symbol::Ip6Src,
        }
    }

    /// The destination address.
    pub fn dst(self) -> Symbol {
        match self {
            Self::V4 => Symbol::Ip4Dst,
            Self::V6 => Symbol::Ip6Dst,
        }
    }

    /// Type and code of an ICMP message.
    pub fn icmp(self) -> [Symbol; 2] {
        match self {
            Self::V4 => [Symbol::Icmp4Type, Symbol::Icmp4Code],
            Self::V6 => [Symbol::Icmp6Type, Symbol::Icmp6Code],
        }
    }

    /// An ICMP error about the packet, made by these actions.
    pub fn error(self, actions: impl Into<lflow::Actions>) -> Action {
        let transform = match self {
            Self::V4 => Transform::Icmp4,
            Self::V6 => Transform::Icmp6,
        };
        a::within(transform, actions)
    }
}
