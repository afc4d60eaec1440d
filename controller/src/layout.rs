//! Which OpenFlow table does what, and which register holds what.
//!
//! The numbers are OVN 26.03's, so that whoever knows one finds the way in the other, and traces can be compared. Nothing on
//! the wire depends on them: what two chassis must agree on is in [`crate::physical::tunnel`].
//!
//! | table | purpose |
//! | --- | --- |
//! | 0 | from a port of the switch to a logical port: datapath, input port, zones |
//! | 8 to 41 | logical ingress pipeline |
//! | 44 | logical output port on another chassis: into a tunnel |
//! | 46 | logical output port here; multicast groups become their ports |
//! | 47 | no way back to the input port |
//! | 48 to 63 | logical egress pipeline |
//! | 64 | for packets that may go back: hide the input port from the switch |
//! | 65 | from a logical port to a port of the switch |
//! | 66, 67 | neighbours: look up, compare |
//! | 68, 69, 70 | connections that load balancers send back to their client: detect, detect replies, translate |
//! | 71, 72 | learned Ethernet addresses: look up, compare |
//! | 73, 74, 75 | port security: in, its ARP and ND, out |
//! | 78 | which backend a client of a load balancer has: flows that the switch has learned |
//! | 90 to 93 | which address sets have the source, or the destination: ingress, egress |
//! | 94, 96 | which port groups have the input port, or the output port, where a flow has written it or changes the pipeline |
//! | 95 | what bits stand for, for whoever reads the switch: no packet comes here |
//! | 97, 98 | who knows a connection through a gateway that has just been taken over: the zones for sources, and for destinations |
//! | 100 to 133 | the ingress stages that ask for address sets, whose tables above only lead here |
//! | 134 to 149 | the same for egress |
//!
//! A table without a default flow drops. Tables 42, 43 and 45 of OVN's layout are left out: nothing here needs them, and a
//! packet is spared the look-ups.

use openflow::{Action, Field, Match, Subfield};

/// From physical to logical.
pub const PHYSICAL_TO_LOGICAL: u8 = 0;
/// The first table of the ingress pipeline.
pub const INGRESS: u8 = 8;
/// How many ingress tables there are.
pub const INGRESS_LEN: u8 = 34;
/// Where `output;` in the ingress pipeline goes: to other chassis.
pub const REMOTE_OUTPUT: u8 = 44;
/// To logical ports here.
pub const LOCAL_OUTPUT: u8 = 46;
/// No way back.
pub const CHECK_LOOPBACK: u8 = 47;
/// The first table of the egress pipeline.
pub const EGRESS: u8 = 48;
/// How many egress tables there are.
pub const EGRESS_LEN: u8 = 16;
/// Where `output;` in the egress pipeline goes.
pub const SAVE_IN_PORT: u8 = 64;
/// From logical to physical.
pub const LOGICAL_TO_PHYSICAL: u8 = 65;
/// `get_arp`, `get_nd`.
pub const MAC_BINDING: u8 = 66;
/// `lookup_arp`, `lookup_nd`.
pub const MAC_LOOKUP: u8 = 67;
/// `chk_lb_hairpin`.
pub const CHECK_HAIRPIN: u8 = 68;
/// `chk_lb_hairpin_reply`. All of its flows are learned.
pub const CHECK_HAIRPIN_REPLY: u8 = 69;
/// `ct_snat_to_vip`.
pub const CT_SNAT_HAIRPIN: u8 = 70;
/// `chk_ecmp_nh_mac`. All of its flows are learned.
pub const CHECK_NEXT_HOP_MAC: u8 = 76;
/// `chk_ecmp_nh`. All of its flows are learned.
pub const CHECK_NEXT_HOP: u8 = 77;
/// `chk_lb_aff`. All of its flows are learned.
pub const CHECK_AFFINITY: u8 = 78;
/// `get_fdb`.
pub const GET_FDB: u8 = 71;
/// `lookup_fdb`.
pub const LOOKUP_FDB: u8 = 72;
/// `check_in_port_sec`.
pub const CHECK_IN_PORT_SEC: u8 = 73;
/// The part of `check_in_port_sec` that looks into ARP and ND.
pub const CHECK_IN_PORT_SEC_ND: u8 = 74;
/// `check_out_port_sec`.
pub const CHECK_OUT_PORT_SEC: u8 = 75;

/// The first of the tables that tell which address sets have an address: ingress source and destination, egress source and
/// destination.
pub const ADDRESS_SETS: u8 = 90;
/// Which port groups have the input port.
pub const IN_PORT_BITS: u8 = 94;
/// What bits stand for.
pub const BIT_NAMES: u8 = 95;
/// Which port groups have the output port.
pub const OUT_PORT_BITS: u8 = 96;
/// A packet for a gateway that has just been taken over, tracked in the zone for sources.
pub const TAKEN_OVER: u8 = 97;
/// The same, tracked in the zone for destinations.
pub const TAKEN_OVER_DESTINATIONS: u8 = 98;
/// The first of the ingress stages that ask for address sets.
pub const INGRESS_ASKING: u8 = 100;
/// The first of the egress stages that ask for address sets.
pub const EGRESS_ASKING: u8 = 134;

/// The datapath: its key in the lower 24 bits, above it a bit for each of the groups that it is in, and a bit for each port group
/// that the port on the pipeline's own side is in.
pub const DATAPATH: Field = Field::Metadata;
/// The bits of [`DATAPATH`] that are the key.
pub const DATAPATH_KEY: u64 = (1 << FIRST_GROUP_BIT) - 1;
/// The lowest bit of [`DATAPATH`] that is not of the key.
pub const FIRST_GROUP_BIT: u8 = 24;
/// How many bits there are for datapath groups.
pub const GROUP_BITS: u8 = FIRST_PORT_GROUP_BIT - FIRST_GROUP_BIT;
/// The lowest bit of [`DATAPATH`] that tells of a port group.
pub const FIRST_PORT_GROUP_BIT: u8 = 48;
/// How many bits there are for port groups.
pub const PORT_GROUP_BITS: u8 = 64 - FIRST_PORT_GROUP_BIT;
/// The bits of [`DATAPATH`] that tell of port groups.
pub const IN_PORT_GROUPS: u64 = !((1 << FIRST_PORT_GROUP_BIT) - 1);
/// Whose upper halves tell of address sets.
pub const ADDRESS_SET_REGISTERS: [Field; 2] = [DNAT_ZONE, SNAT_ZONE];
/// How many bits there are for address sets, in each pipeline.
pub const ADDRESS_SET_BITS: u8 = 32;
/// Flags of the pipeline.
pub const FLAGS: Field = Field::Reg10;
/// A router's zone for destination NAT, in the lower half.
pub const DNAT_ZONE: Field = Field::Reg11;
/// A router's zone for source NAT, in the lower half.
pub const SNAT_ZONE: Field = Field::Reg12;
/// The port's zone, in the lower half; in the upper, by which address packets of the input port leave.
pub const PORT_ZONE: Field = Field::Reg13;
/// The logical input port's key.
pub const IN_PORT: Field = Field::Reg14;
/// The logical output port's key.
pub const OUT_PORT: Field = Field::Reg15;

/// The upper half of [`PORT_ZONE`]: the number of the address by which packets of the input port leave the chassis.
pub const ENCAP_BITS: Subfield = Subfield {
    field: PORT_ZONE,
    offset: 16,
    width: 16,
};

/// The lower half of [`PORT_ZONE`].
pub const PORT_ZONE_BITS: Subfield = Subfield {
    field: PORT_ZONE,
    offset: 0,
    width: 16,
};

/// The bit of [`FLAGS`] that is the answer of `chk_lb_hairpin` and `chk_lb_hairpin_reply`.
pub const HAIRPIN_BIT: Subfield = Subfield {
    field: FLAGS,
    offset: 7,
    width: 1,
};

/// Whether all flows of a table are the switch's own: it has learned them, and forgets them with the flows that taught them.
pub fn is_learned(table: u8) -> bool {
    matches!(
        table,
        CHECK_HAIRPIN_REPLY | CHECK_NEXT_HOP_MAC | CHECK_NEXT_HOP | CHECK_AFFINITY
    )
}

/// The match of packets of the datapath with this key.
pub fn of_datapath(key: u32) -> Match {
    Match::new().with_masked(DATAPATH, key, DATAPATH_KEY)
}

/// Loads the bits of a datapath's groups and of its port's, for packets that have other ones or none.
pub fn load_bits(bits: u64) -> Action {
    Action::set_masked(DATAPATH, bits, !DATAPATH_KEY)
}

/// The table of a stage, and that of its flows when it asks for address sets.
pub fn stage(egress: bool, table: u8) -> (u8, u8) {
    match egress {
        false => (INGRESS + table, INGRESS_ASKING + table),
        true => (EGRESS + table, EGRESS_ASKING + table),
    }
}

/// Whether a table is of the egress pipeline, itself or in its stages that ask for address sets.
pub fn is_egress(table: u8) -> bool {
    [EGRESS, EGRESS_ASKING]
        .iter()
        .any(|first| (*first..*first + EGRESS_LEN).contains(&table))
}

/// Bits of [`FLAGS`].
pub mod flag {
    /// The packet may go out by the port that it came in by.
    pub const LOOPBACK: u128 = 1 << 0;
    /// The packet came through a VXLAN tunnel from a gateway that does not tell the input port.
    pub const FROM_RAMP: u128 = 1 << 1;
    /// The packet must not leave this chassis by a tunnel.
    pub const LOCAL_ONLY: u128 = 1 << 4;
    /// The packet comes from a container.
    pub const NESTED_CONTAINER: u128 = 1 << 5;
    /// The answer of `lookup_arp` and `lookup_nd`.
    pub const LOOKUP_MAC: u128 = 1 << 6;
    /// The answer of `chk_lb_hairpin` and `chk_lb_hairpin_reply`.
    pub const HAIRPIN: u128 = 1 << 7;
    /// The answer of `lookup_fdb`.
    pub const LOOKUP_FDB: u128 = 1 << 8;
    /// The packet comes from a localport, which every chassis has: it must not leave this one.
    pub const LOCALPORT: u128 = 1 << 10;
    /// The answer of `check_in_port_sec` and `check_out_port_sec`: the packet is not allowed.
    pub const PORT_SEC_VIOLATED: u128 = 1 << 12;
    /// The packet comes from a localnet port.
    pub const LOCALNET: u128 = 1 << 15;
    /// The packet is for a gateway that was just taken over, and is served here.
    pub const SERVED_HERE: u128 = 1 << 30;
}
