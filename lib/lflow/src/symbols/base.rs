//! [`Base`]: where the bits of a symbol really are.
//!
//! Many symbols are views of the same storage: `xxreg0` is `reg0` to `reg3`, `ct.est` a bit of `ct_state`, `rarp.op` and
//! `arp.op` one header field. Normalised matches, flows and the interpreter speak only of this storage, so that two
//! views of one bit can never disagree.

use openflow::Field as OfField;

macro_rules! bases {
    ($($id:ident $width:literal $of:ident;)*) => {
        /// A packet or metadata field that symbols are views of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Base {
            $(#[doc = concat!(stringify!($width), " bits, in the switch `", stringify!($of), "`")] $id,)*
        }

        impl Base {
            /// All of them, in order.
            pub const ALL: &'static [Base] = &[$(Base::$id,)*];

            /// The number of bits, 1 to 128.
            pub const fn width(self) -> u8 {
                match self { $(Base::$id => $width,)* }
            }

            /// The field of the switch that holds these bits.
            pub const fn openflow(self) -> OfField {
                match self { $(Base::$id => OfField::$of,)* }
            }
        }
    };
}

// What others presuppose comes first, as in a match of OpenFlow. No symbol is a view of `Reg11`, `Reg12` and `Metadata`: what a
// chassis keeps there, it says in [`crate::expr::Lookup::member_bit`]; nor of `CtNwProto`, `CtTpSrc` and `CtTpDst`, by which
// [`crate::expr::of_connections`] asks connections what matches ask of packets.
bases! {
    EthType 16 EthType;
    IpProto 8 IpProto;
    Icmp6Type 8 Icmpv6Type;
    Icmp6Code 8 Icmpv6Code;
    Reg0 32 Reg0;
    Reg1 32 Reg1;
    Reg2 32 Reg2;
    Reg3 32 Reg3;
    Reg4 32 Reg4;
    Reg5 32 Reg5;
    Reg6 32 Reg6;
    Reg7 32 Reg7;
    Reg8 32 Reg8;
    Reg9 32 Reg9;
    Flags 32 Reg10;
    Inport 32 Reg14;
    Outport 32 Reg15;
    Reg11 32 Reg11;
    Reg12 32 Reg12;
    Metadata 64 Metadata;
    PktMark 32 PktMark;
    CtState 32 CtState;
    CtMark 32 CtMark;
    CtLabel 128 CtLabel;
    CtNwProto 8 CtNwProto;
    CtTpSrc 16 CtTpSrc;
    CtTpDst 16 CtTpDst;
    EthSrc 48 EthSrc;
    EthDst 48 EthDst;
    VlanTci 16 VlanTci;
    IpDscp 6 IpDscp;
    IpEcn 2 IpEcn;
    IpTtl 8 IpTtl;
    IpFrag 2 IpFrag;
    Ip4Src 32 IpSrc;
    Ip4Dst 32 IpDst;
    Ip6Src 128 Ipv6Src;
    Ip6Dst 128 Ipv6Dst;
    Ip6Label 20 Ipv6Label;
    ArpOp 16 ArpOp;
    ArpSpa 32 ArpSpa;
    ArpTpa 32 ArpTpa;
    ArpSha 48 ArpSha;
    ArpTha 48 ArpTha;
    Icmp4Type 8 IcmpType;
    Icmp4Code 8 IcmpCode;
    NdTarget 128 NdTarget;
    NdSll 48 NdSll;
    NdTll 48 NdTll;
    TcpSrc 16 TcpSrc;
    TcpDst 16 TcpDst;
    TcpFlags 12 TcpFlags;
    UdpSrc 16 UdpSrc;
    UdpDst 16 UdpDst;
    SctpSrc 16 SctpSrc;
    SctpDst 16 SctpDst;
}

impl Base {
    /// The register `reg0` to `reg9`; `number` must be below 10.
    pub fn reg(number: u8) -> Base {
        Base::ALL[usize::from(Base::Reg0 as u8 + number.min(9))]
    }

    /// All bits of the field.
    pub const fn full_mask(self) -> u128 {
        u128::MAX >> (128 - self.width())
    }

    /// True when the switch can match some bits of the field without the others.
    pub fn maskable(self) -> bool {
        self.openflow().is_maskable()
    }
}
