//! [`Tables`]: the numbers of the OpenFlow tables that actions use, and the flags in which those tables answer.

use crate::symbols::{Field, Symbol};

/// OpenFlow table numbers. The default is the layout of OVN 26.03's controller.
///
/// What a called table finds in which field, and where it answers, is written at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The first table of the ingress pipeline.
    pub ingress: u8,
    /// How many tables the ingress pipeline has.
    pub ingress_count: u8,
    /// The first table of the egress pipeline.
    pub egress: u8,
    /// How many tables the egress pipeline has.
    pub egress_count: u8,
    /// Where `output;` of the ingress pipeline goes.
    pub output_ingress: u8,
    /// Where `output;` of the egress pipeline goes.
    pub output_egress: u8,
    /// Neighbours: port in `outport`, address in `reg0` or `xxreg0`; sets `eth.dst` and [`FlagBit::LookupMac`].
    pub mac_binding: u8,
    /// Neighbours: port in `inport`, address in `reg0` or `xxreg0`, MAC in `eth.src`; sets [`FlagBit::LookupMac`].
    pub mac_lookup: u8,
    /// Whether a load balanced connection comes back to its client: sets [`FlagBit::LbHairpin`].
    pub chk_lb_hairpin: u8,
    /// The same for replies.
    pub chk_lb_hairpin_reply: u8,
    /// Translates the source of such a connection.
    pub ct_snat_hairpin: u8,
    /// Learned addresses: MAC in `eth.dst`; sets `outport`.
    pub get_fdb: u8,
    /// Learned addresses: port in `inport`, MAC in `eth.src`; sets [`FlagBit::LookupFdb`].
    pub lookup_fdb: u8,
    /// Port security of `inport`; sets [`FlagBit::CheckPortSec`] for a packet to be dropped.
    pub chk_in_port_sec: u8,
    /// Port security of `outport`; sets [`FlagBit::CheckPortSec`] for a packet to be dropped.
    pub chk_out_port_sec: u8,
    /// Sessions over several next hops, by the next hop's MAC; sets [`FlagBit::EcmpNextHop`].
    pub ecmp_nh_mac: u8,
    /// Sessions over several next hops; sets [`FlagBit::EcmpNextHop`].
    pub ecmp_nh: u8,
    /// Load balancer sessions that stick to a backend; sets [`FlagBit::LbAffinity`].
    pub chk_lb_affinity: u8,
    /// Counts the use of neighbours.
    pub mac_cache_use: u8,
    /// Sends to the ports of a group on other chassis.
    pub flood_remote: u8,
    /// Where more is known of ports than their keys: called for `inport` in the ingress pipeline, and for `outport` in the egress
    /// pipeline, after [`super::needs_port_bits`] has said so.
    pub port_bits: Option<(u8, u8)>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            ingress: 8,
            ingress_count: 34,
            egress: 48,
            egress_count: 16,
            output_ingress: 42,
            output_egress: 64,
            mac_binding: 66,
            mac_lookup: 67,
            chk_lb_hairpin: 68,
            chk_lb_hairpin_reply: 69,
            ct_snat_hairpin: 70,
            get_fdb: 71,
            lookup_fdb: 72,
            chk_in_port_sec: 73,
            chk_out_port_sec: 75,
            ecmp_nh_mac: 76,
            ecmp_nh: 77,
            chk_lb_affinity: 78,
            mac_cache_use: 79,
            flood_remote: 84,
            port_bits: None,
        }
    }
}

/// A bit of `flags` in which a called table answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlagBit {
    /// A neighbour was found.
    LookupMac = 6,
    /// The connection comes back to its client.
    LbHairpin = 7,
    /// The MAC is known behind that port.
    LookupFdb = 8,
    /// Port security forbids the packet.
    CheckPortSec = 12,
    /// There is a session.
    EcmpNextHop = 13,
    /// There is a session.
    LbAffinity = 14,
}

impl FlagBit {
    /// The bit as a field.
    pub fn field(self) -> Field {
        Symbol::Flags.bit(self as u8)
    }
}
