//! The fields that a flow can match, set, move, push and pop.
//!
//! One row of the table below is one field: its `ovs-ofctl` name, its width, how its values print, its OXM or NXM
//! code point, whether it may be masked and written, and what must already be known about a packet before the field
//! exists in it. The source is ovs-fields(7) and OpenFlow 1.5.1 section 7.2.3.8.
//!
//! The order of the table is the order of fields in an encoded match: a field stands after those it presupposes, as
//! OpenFlow 1.5.1 section 7.2.3.6 demands.
//!
//! Registers overlap: `xreg0` is `reg0` (high half) and `reg1`, `xxreg0` is `reg0` to `reg3`. Actions may use any of
//! the three views; a [`Match`](crate::Match) always stores the 32-bit registers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The OXM class of the fields in the OpenFlow standard.
pub const CLASS_OPENFLOW_BASIC: u16 = 0x8000;
/// The OXM class of the 64-bit packet registers of OpenFlow 1.5.
pub const CLASS_PACKET_REGS: u16 = 0x8001;
/// The OXM class that says: an experimenter id follows.
pub const CLASS_EXPERIMENTER: u16 = 0xffff;
/// The NXM class of the fields that OpenFlow 1.0 had.
pub const CLASS_NXM_0: u16 = 0x0000;
/// The NXM class of Nicira's own fields.
pub const CLASS_NXM_1: u16 = 0x0001;

/// How `ovs-ofctl` writes a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A decimal number.
    Decimal,
    /// A hexadecimal number.
    Hex,
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// An Ethernet address.
    Mac,
    /// A port number or the name of a reserved port.
    Port,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Frag,
    /// Connection tracking flags such as `+trk-new`.
    CtState,
    /// TCP flags such as `+syn-ack`.
    TcpFlags,
    /// Tunnel flags: `oam`.
    TunFlags,
}

/// What a packet must be known to be before a field exists in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// Every packet has the field.
    None,
    /// The packet has an 802.1Q header: `vlan_vid` has its presence bit set.
    Vlan,
    /// `dl_type` is IPv4.
    Ip4,
    /// `dl_type` is IPv6.
    Ip6,
    /// `dl_type` is IPv4 or IPv6.
    Ip,
    /// `dl_type` is ARP or RARP.
    Arp,
    /// `nw_proto` is TCP.
    Tcp,
    /// `nw_proto` is UDP.
    Udp,
    /// `nw_proto` is SCTP.
    Sctp,
    /// `nw_proto` is ICMP, over IPv4.
    Icmp4,
    /// `nw_proto` is ICMPv6, over IPv6.
    Icmp6,
    /// `icmpv6_type` is neighbour solicitation or advertisement, and the code 0.
    Nd,
    /// `icmpv6_type` is neighbour solicitation.
    NdSolicit,
    /// `icmpv6_type` is neighbour advertisement.
    NdAdvert,
    /// The packet passed through connection tracking, over IPv4.
    Ct4,
    /// The packet passed through connection tracking, over IPv6.
    Ct6,
    /// The packet passed through connection tracking, over IPv4 or IPv6.
    Ct,
}

/// A row of the table of fields.
struct Info {
    name: &'static str,
    width: u16,
    bytes: u8,
    format: Format,
    class: u16,
    number: u8,
    maskable: bool,
    writable: bool,
    prerequisite: Prerequisite,
}

macro_rules! fields {
    ($($id:ident $name:literal $width:literal/$bytes:literal $format:ident $class:ident $number:literal
       $mask:ident $access:ident $pre:ident;)*) => {
        /// A packet or metadata field of OpenFlow or Open vSwitch, named as `ovs-ofctl` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`, ", stringify!($width), " bits")] $id,)*
        }

        impl Field {
            /// All fields, in the order in which a match encodes them.
            pub const ALL: &'static [Field] = &[$(Field::$id,)*];

            const INFO: &'static [Info] = &[$(Info {
                name: $name,
                width: $width,
                bytes: $bytes,
                format: Format::$format,
                class: $class,
                number: $number,
                maskable: fields!(@mask $mask),
                writable: fields!(@access $access),
                prerequisite: Prerequisite::$pre,
            },)*];
        }
    };
    (@mask mask) => { true };
    (@mask exact) => { false };
    (@access rw) => { true };
    (@access ro) => { false };
}

fields! {
    // Where the packet comes from.
    InPort "in_port" 32/4 Port CLASS_OPENFLOW_BASIC 0 exact rw None;
    ActsetOutput "actset_output" 32/4 Port CLASS_OPENFLOW_BASIC 43 exact ro None;
    PacketType "packet_type" 32/4 Hex CLASS_OPENFLOW_BASIC 44 exact ro None;
    ConjId "conj_id" 32/4 Decimal CLASS_NXM_1 37 exact ro None;
    RecircId "recirc_id" 32/4 Decimal CLASS_NXM_1 36 exact ro None;
    DpHash "dp_hash" 32/4 Hex CLASS_NXM_1 35 mask ro None;
    PktMark "pkt_mark" 32/4 Hex CLASS_NXM_1 33 mask rw None;
    // The tunnel that it came or leaves through.
    TunId "tun_id" 64/8 Hex CLASS_OPENFLOW_BASIC 38 mask rw None;
    TunSrc "tun_src" 32/4 Ip4 CLASS_NXM_1 31 mask rw None;
    TunDst "tun_dst" 32/4 Ip4 CLASS_NXM_1 32 mask rw None;
    TunIpv6Src "tun_ipv6_src" 128/16 Ip6 CLASS_NXM_1 109 mask rw None;
    TunIpv6Dst "tun_ipv6_dst" 128/16 Ip6 CLASS_NXM_1 110 mask rw None;
    TunFlags "tun_flags" 1/2 TunFlags CLASS_NXM_1 104 mask rw None;
    TunGbpId "tun_gbp_id" 16/2 Decimal CLASS_NXM_1 38 mask rw None;
    TunGbpFlags "tun_gbp_flags" 8/1 Hex CLASS_NXM_1 39 mask rw None;
    TunMetadata0 "tun_metadata0" 32/4 Hex CLASS_NXM_1 40 mask rw None;
    TunMetadata1 "tun_metadata1" 32/4 Hex CLASS_NXM_1 41 mask rw None;
    TunMetadata2 "tun_metadata2" 32/4 Hex CLASS_NXM_1 42 mask rw None;
    TunMetadata3 "tun_metadata3" 32/4 Hex CLASS_NXM_1 43 mask rw None;
    TunMetadata4 "tun_metadata4" 32/4 Hex CLASS_NXM_1 44 mask rw None;
    TunMetadata5 "tun_metadata5" 32/4 Hex CLASS_NXM_1 45 mask rw None;
    TunMetadata6 "tun_metadata6" 32/4 Hex CLASS_NXM_1 46 mask rw None;
    TunMetadata7 "tun_metadata7" 32/4 Hex CLASS_NXM_1 47 mask rw None;
    // Registers.
    Metadata "metadata" 64/8 Hex CLASS_OPENFLOW_BASIC 2 mask rw None;
    Reg0 "reg0" 32/4 Hex CLASS_NXM_1 0 mask rw None;
    Reg1 "reg1" 32/4 Hex CLASS_NXM_1 1 mask rw None;
    Reg2 "reg2" 32/4 Hex CLASS_NXM_1 2 mask rw None;
    Reg3 "reg3" 32/4 Hex CLASS_NXM_1 3 mask rw None;
    Reg4 "reg4" 32/4 Hex CLASS_NXM_1 4 mask rw None;
    Reg5 "reg5" 32/4 Hex CLASS_NXM_1 5 mask rw None;
    Reg6 "reg6" 32/4 Hex CLASS_NXM_1 6 mask rw None;
    Reg7 "reg7" 32/4 Hex CLASS_NXM_1 7 mask rw None;
    Reg8 "reg8" 32/4 Hex CLASS_NXM_1 8 mask rw None;
    Reg9 "reg9" 32/4 Hex CLASS_NXM_1 9 mask rw None;
    Reg10 "reg10" 32/4 Hex CLASS_NXM_1 10 mask rw None;
    Reg11 "reg11" 32/4 Hex CLASS_NXM_1 11 mask rw None;
    Reg12 "reg12" 32/4 Hex CLASS_NXM_1 12 mask rw None;
    Reg13 "reg13" 32/4 Hex CLASS_NXM_1 13 mask rw None;
    Reg14 "reg14" 32/4 Hex CLASS_NXM_1 14 mask rw None;
    Reg15 "reg15" 32/4 Hex CLASS_NXM_1 15 mask rw None;
    Xreg0 "xreg0" 64/8 Hex CLASS_PACKET_REGS 0 mask rw None;
    Xreg1 "xreg1" 64/8 Hex CLASS_PACKET_REGS 1 mask rw None;
    Xreg2 "xreg2" 64/8 Hex CLASS_PACKET_REGS 2 mask rw None;
    Xreg3 "xreg3" 64/8 Hex CLASS_PACKET_REGS 3 mask rw None;
    Xreg4 "xreg4" 64/8 Hex CLASS_PACKET_REGS 4 mask rw None;
    Xreg5 "xreg5" 64/8 Hex CLASS_PACKET_REGS 5 mask rw None;
    Xreg6 "xreg6" 64/8 Hex CLASS_PACKET_REGS 6 mask rw None;
    Xreg7 "xreg7" 64/8 Hex CLASS_PACKET_REGS 7 mask rw None;
    Xxreg0 "xxreg0" 128/16 Hex CLASS_NXM_1 111 mask rw None;
    Xxreg1 "xxreg1" 128/16 Hex CLASS_NXM_1 112 mask rw None;
    Xxreg2 "xxreg2" 128/16 Hex CLASS_NXM_1 113 mask rw None;
    Xxreg3 "xxreg3" 128/16 Hex CLASS_NXM_1 114 mask rw None;
    // Connection tracking.
    CtState "ct_state" 32/4 CtState CLASS_NXM_1 105 mask ro None;
    CtZone "ct_zone" 16/2 Hex CLASS_NXM_1 106 exact ro None;
    CtMark "ct_mark" 32/4 Hex CLASS_NXM_1 107 mask rw None;
    CtLabel "ct_label" 128/16 Hex CLASS_NXM_1 108 mask rw None;
    // Ethernet and VLAN.
    EthSrc "dl_src" 48/6 Mac CLASS_OPENFLOW_BASIC 4 mask rw None;
    EthDst "dl_dst" 48/6 Mac CLASS_OPENFLOW_BASIC 3 mask rw None;
    EthType "dl_type" 16/2 Hex CLASS_OPENFLOW_BASIC 5 exact ro None;
    VlanTci "vlan_tci" 16/2 Hex CLASS_NXM_0 4 mask rw None;
    VlanVid "vlan_vid" 13/2 Hex CLASS_OPENFLOW_BASIC 6 mask rw None;
    VlanPcp "dl_vlan_pcp" 3/1 Decimal CLASS_OPENFLOW_BASIC 7 exact rw Vlan;
    // IP.
    IpSrc "nw_src" 32/4 Ip4 CLASS_OPENFLOW_BASIC 11 mask rw Ip4;
    IpDst "nw_dst" 32/4 Ip4 CLASS_OPENFLOW_BASIC 12 mask rw Ip4;
    Ipv6Src "ipv6_src" 128/16 Ip6 CLASS_OPENFLOW_BASIC 26 mask rw Ip6;
    Ipv6Dst "ipv6_dst" 128/16 Ip6 CLASS_OPENFLOW_BASIC 27 mask rw Ip6;
    Ipv6Label "ipv6_label" 20/4 Hex CLASS_OPENFLOW_BASIC 28 mask rw Ip6;
    IpProto "nw_proto" 8/1 Decimal CLASS_OPENFLOW_BASIC 10 exact ro Ip;
    IpTos "nw_tos" 8/1 Decimal CLASS_NXM_0 5 exact rw Ip;
    IpDscp "ip_dscp" 6/1 Decimal CLASS_OPENFLOW_BASIC 8 exact rw Ip;
    IpEcn "nw_ecn" 2/1 Decimal CLASS_OPENFLOW_BASIC 9 exact rw Ip;
    IpTtl "nw_ttl" 8/1 Decimal CLASS_NXM_1 29 exact rw Ip;
    IpFrag "nw_frag" 2/1 Frag CLASS_NXM_1 26 mask ro Ip;
    // The original direction of a tracked connection.
    CtNwProto "ct_nw_proto" 8/1 Decimal CLASS_NXM_1 119 exact ro Ct;
    CtNwSrc "ct_nw_src" 32/4 Ip4 CLASS_NXM_1 120 mask ro Ct4;
    CtNwDst "ct_nw_dst" 32/4 Ip4 CLASS_NXM_1 121 mask ro Ct4;
    CtIpv6Src "ct_ipv6_src" 128/16 Ip6 CLASS_NXM_1 122 mask ro Ct6;
    CtIpv6Dst "ct_ipv6_dst" 128/16 Ip6 CLASS_NXM_1 123 mask ro Ct6;
    CtTpSrc "ct_tp_src" 16/2 Decimal CLASS_NXM_1 124 mask ro Ct;
    CtTpDst "ct_tp_dst" 16/2 Decimal CLASS_NXM_1 125 mask ro Ct;
    // ARP.
    ArpOp "arp_op" 16/2 Decimal CLASS_OPENFLOW_BASIC 21 exact rw Arp;
    ArpSpa "arp_spa" 32/4 Ip4 CLASS_OPENFLOW_BASIC 22 mask rw Arp;
    ArpTpa "arp_tpa" 32/4 Ip4 CLASS_OPENFLOW_BASIC 23 mask rw Arp;
    ArpSha "arp_sha" 48/6 Mac CLASS_OPENFLOW_BASIC 24 mask rw Arp;
    ArpTha "arp_tha" 48/6 Mac CLASS_OPENFLOW_BASIC 25 mask rw Arp;
    // Transport.
    TcpSrc "tcp_src" 16/2 Decimal CLASS_OPENFLOW_BASIC 13 mask rw Tcp;
    TcpDst "tcp_dst" 16/2 Decimal CLASS_OPENFLOW_BASIC 14 mask rw Tcp;
    TcpFlags "tcp_flags" 12/2 TcpFlags CLASS_OPENFLOW_BASIC 42 mask ro Tcp;
    UdpSrc "udp_src" 16/2 Decimal CLASS_OPENFLOW_BASIC 15 mask rw Udp;
    UdpDst "udp_dst" 16/2 Decimal CLASS_OPENFLOW_BASIC 16 mask rw Udp;
    SctpSrc "sctp_src" 16/2 Decimal CLASS_OPENFLOW_BASIC 17 mask rw Sctp;
    SctpDst "sctp_dst" 16/2 Decimal CLASS_OPENFLOW_BASIC 18 mask rw Sctp;
    // ICMP and neighbour discovery.
    IcmpType "icmp_type" 8/1 Decimal CLASS_OPENFLOW_BASIC 19 exact rw Icmp4;
    IcmpCode "icmp_code" 8/1 Decimal CLASS_OPENFLOW_BASIC 20 exact rw Icmp4;
    Icmpv6Type "icmpv6_type" 8/1 Decimal CLASS_OPENFLOW_BASIC 29 exact rw Icmp6;
    Icmpv6Code "icmpv6_code" 8/1 Decimal CLASS_OPENFLOW_BASIC 30 exact rw Icmp6;
    NdTarget "nd_target" 128/16 Ip6 CLASS_OPENFLOW_BASIC 31 mask rw Nd;
    NdSll "nd_sll" 48/6 Mac CLASS_OPENFLOW_BASIC 32 mask rw NdSolicit;
    NdTll "nd_tll" 48/6 Mac CLASS_OPENFLOW_BASIC 33 mask rw NdAdvert;
}

impl Field {
    /// The name that `ovs-ofctl` accepts and prints.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// How many bits of a value may be set.
    pub fn width(self) -> u16 {
        self.info().width
    }

    /// How many bytes a value takes in an OXM.
    pub fn byte_len(self) -> usize {
        usize::from(self.info().bytes)
    }

    /// A mask of `width` ones.
    pub fn full_mask(self) -> u128 {
        ones(self.width())
    }

    /// How a value prints.
    pub fn format(self) -> Format {
        self.info().format
    }

    /// The OXM class and field number.
    pub fn oxm(self) -> (u16, u8) {
        (self.info().class, self.info().number)
    }

    /// Whether a match may use a mask other than all ones.
    pub fn is_maskable(self) -> bool {
        self.info().maskable
    }

    /// Whether actions may write the field.
    pub fn is_writable(self) -> bool {
        self.info().writable
    }

    /// What a packet must be known to be before it has the field.
    pub fn prerequisite(self) -> Prerequisite {
        self.info().prerequisite
    }

    /// The field with an OXM class and field number. Where OXM and NXM both have a code point for a field, both find it.
    pub fn from_oxm(class: u16, number: u8) -> Option<Field> {
        let alias = ALIASES
            .iter()
            .find(|&&(c, n, _)| (c, n) == (class, number))
            .map(|&(_, _, f)| f);
        alias.or_else(|| {
            Field::ALL
                .iter()
                .copied()
                .find(|f| f.oxm() == (class, number))
        })
    }

    /// The field with an `ovs-ofctl` name.
    pub fn from_name(name: &str) -> Option<Field> {
        Field::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// The 32-bit register `reg{n}`, or `None` when `n` is above 15.
    pub fn reg(n: u8) -> Option<Field> {
        (n < 16).then(|| Field::ALL[Field::Reg0 as usize + usize::from(n)])
    }

    /// The 64-bit register `xreg{n}`, or `None` when `n` is above 7.
    pub fn xreg(n: u8) -> Option<Field> {
        (n < 8).then(|| Field::ALL[Field::Xreg0 as usize + usize::from(n)])
    }

    /// The 128-bit register `xxreg{n}`, or `None` when `n` is above 3.
    pub fn xxreg(n: u8) -> Option<Field> {
        (n < 4).then(|| Field::ALL[Field::Xxreg0 as usize + usize::from(n)])
    }

    /// The tunnel metadata field `tun_metadata{n}`, or `None` when `n` is above 7. All are taken to be mapped to options of
    /// four bytes, the only length that Weft maps.
    pub fn tun_metadata(n: u8) -> Option<Field> {
        (n < 8).then(|| Field::ALL[Field::TunMetadata0 as usize + usize::from(n)])
    }

    /// The 32-bit registers under a wide register, the most significant first; nothing for any other field.
    pub fn overlaid_regs(self) -> &'static [Field] {
        let at = self as usize;
        let regs = Field::Reg0 as usize;
        if (Field::Xreg0 as usize..=Field::Xreg7 as usize).contains(&at) {
            let first = regs + (at - Field::Xreg0 as usize) * 2;
            &Field::ALL[first..first + 2]
        } else if (Field::Xxreg0 as usize..=Field::Xxreg3 as usize).contains(&at) {
            let first = regs + (at - Field::Xxreg0 as usize) * 4;
            &Field::ALL[first..first + 4]
        } else {
            &[]
        }
    }

    /// Writes a value in the form that `ovs-ofctl` reads, without a mask.
    pub fn format_value(self, value: u128) -> impl fmt::Display {
        FormattedValue {
            format: self.format(),
            value,
        }
    }

    fn info(self) -> &'static Info {
        &Field::INFO[self as usize]
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A run of bits in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subfield {
    /// The field.
    pub field: Field,
    /// The lowest bit; bit 0 is the least significant one.
    pub offset: u16,
    /// The number of bits, at least 1.
    pub width: u16,
}

impl Subfield {
    /// `width` bits of `field` from `offset` up. `None` when the field has not so many or `width` is 0.
    pub fn new(field: Field, offset: u16, width: u16) -> Option<Subfield> {
        let fits = width > 0 && u32::from(offset) + u32::from(width) <= u32::from(field.width());
        fits.then_some(Subfield {
            field,
            offset,
            width,
        })
    }

    /// The bits of the field that it covers.
    pub fn mask(self) -> u128 {
        ones(self.width) << self.offset
    }
}

impl From<Field> for Subfield {
    fn from(field: Field) -> Self {
        Subfield {
            field,
            offset: 0,
            width: field.width(),
        }
    }
}

impl fmt::Display for Subfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subfield {
            field,
            offset,
            width,
        } = *self;
        // Where a run of bits is meant, ovs-ofctl takes `in_port` for the 16-bit field of OpenFlow 1.0.
        let name = if field == Field::InPort {
            "in_port_oxm"
        } else {
            field.name()
        };
        match (offset, width) {
            (0, w) if w == field.width() => write!(f, "{name}[]"),
            (_, 1) => write!(f, "{name}[{offset}]"),
            _ => write!(f, "{name}[{offset}..{}]", offset + width - 1),
        }
    }
}

/// The lowest `width` bits set; 128 and above give all.
pub fn ones(width: u16) -> u128 {
    if width >= 128 {
        u128::MAX
    } else {
        (1 << width) - 1
    }
}

/// Second code points of fields: Open vSwitch accepts and, before OpenFlow 1.2, sends these.
const ALIASES: &[(u16, u8, Field)] = &[
    (CLASS_NXM_0, 1, Field::EthDst),
    (CLASS_NXM_0, 2, Field::EthSrc),
    (CLASS_NXM_0, 3, Field::EthType),
    (CLASS_NXM_0, 6, Field::IpProto),
    (CLASS_NXM_0, 7, Field::IpSrc),
    (CLASS_NXM_0, 8, Field::IpDst),
    (CLASS_NXM_0, 9, Field::TcpSrc),
    (CLASS_NXM_0, 10, Field::TcpDst),
    (CLASS_NXM_0, 11, Field::UdpSrc),
    (CLASS_NXM_0, 12, Field::UdpDst),
    (CLASS_NXM_0, 13, Field::IcmpType),
    (CLASS_NXM_0, 14, Field::IcmpCode),
    (CLASS_NXM_0, 15, Field::ArpOp),
    (CLASS_NXM_0, 16, Field::ArpSpa),
    (CLASS_NXM_0, 17, Field::ArpTpa),
    (CLASS_NXM_1, 16, Field::TunId),
    (CLASS_NXM_1, 17, Field::ArpSha),
    (CLASS_NXM_1, 18, Field::ArpTha),
    (CLASS_NXM_1, 19, Field::Ipv6Src),
    (CLASS_NXM_1, 20, Field::Ipv6Dst),
    (CLASS_NXM_1, 21, Field::Icmpv6Type),
    (CLASS_NXM_1, 22, Field::Icmpv6Code),
    (CLASS_NXM_1, 23, Field::NdTarget),
    (CLASS_NXM_1, 24, Field::NdSll),
    (CLASS_NXM_1, 25, Field::NdTll),
    (CLASS_NXM_1, 27, Field::Ipv6Label),
    (CLASS_NXM_1, 28, Field::IpEcn),
    (CLASS_NXM_1, 34, Field::TcpFlags),
];

/// `ct_state` bits, lowest first.
pub const CT_STATE_NAMES: &[&str] = &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
/// `tcp_flags` bits, lowest first.
pub const TCP_FLAG_NAMES: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];

struct FormattedValue {
    format: Format,
    value: u128,
}

impl fmt::Display for FormattedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.value;
        match self.format {
            Format::Decimal => write!(f, "{v}"),
            Format::Hex | Format::CtState | Format::TcpFlags | Format::TunFlags => {
                write!(f, "{v:#x}")
            }
            Format::Frag => write!(f, "{v}"),
            Format::Ip4 => write!(f, "{}", Ipv4Addr::from_bits(v as u32)),
            Format::Ip6 => write!(f, "{}", Ipv6Addr::from_bits(v)),
            Format::Mac => {
                let b = (v as u64).to_be_bytes();
                write!(
                    f,
                    "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                    b[2], b[3], b[4], b[5], b[6], b[7]
                )
            }
            Format::Port => write!(f, "{}", crate::Port(v as u32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_unique_and_found() {
        for &field in Field::ALL {
            let (class, number) = field.oxm();
            assert_eq!(Field::from_oxm(class, number), Some(field));
            assert_eq!(Field::from_name(field.name()), Some(field));
            assert!(usize::from(field.width()).div_ceil(8) <= field.byte_len());
        }
    }

    #[test]
    fn wide_registers_lie_over_narrow_ones() {
        assert_eq!(Field::Xreg1.overlaid_regs(), [Field::Reg2, Field::Reg3]);
        assert_eq!(
            Field::Xxreg1.overlaid_regs(),
            [Field::Reg4, Field::Reg5, Field::Reg6, Field::Reg7]
        );
        assert_eq!(Field::Xxreg3.overlaid_regs()[3], Field::Reg15);
        assert!(Field::Reg1.overlaid_regs().is_empty());
    }

    #[test]
    fn subfields_stay_inside_their_field() {
        assert_eq!(Subfield::new(Field::Reg0, 30, 3), None);
        assert_eq!(Subfield::new(Field::Reg0, 0, 0), None);
        assert_eq!(
            Subfield::new(Field::Reg0, 30, 2).expect("fits").mask(),
            0xc000_0000
        );
        assert_eq!(
            Subfield::new(Field::Reg0, 4, 1).expect("fits").to_string(),
            "reg0[4]"
        );
        assert_eq!(
            Subfield::new(Field::Reg0, 4, 4).expect("fits").to_string(),
            "reg0[4..7]"
        );
        assert_eq!(Subfield::from(Field::CtLabel).to_string(), "ct_label[]");
    }
}
