//! The table of symbols, after ovn-sb(5) ("Logical_Flow", "Symbols") and OVN 26.03.
//!
//! A row: identifier, name, width in bits, how values print, what it stands for, where it may be written, and the match
//! that its use implies.

use super::{Access, Base, Info, Kind};
use crate::constant::Format;

macro_rules! symbols {
    ($($id:ident $name:literal $width:literal $format:ident $kind:expr, $access:ident, $pre:literal;)*) => {
        /// A name that matches and actions may use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Symbol {
            $(#[doc = concat!("`", $name, "`, ", stringify!($width), " bits")] $id,)*
        }

        impl Symbol {
            /// All symbols.
            pub const ALL: &'static [Symbol] = &[$(Symbol::$id,)*];

            pub(super) const fn info(self) -> &'static Info {
                const INFO: &[Info] = &[$(Info {
                    name: $name,
                    width: $width,
                    format: Format::$format,
                    kind: $kind,
                    access: Access::$access,
                    prerequisites: $pre,
                },)*];
                &INFO[self as usize]
            }
        }
    };
}

symbols! {
    // Ports.
    Inport "inport" 32 Decimal Kind::Port(Base::Inport), ReadWrite, "";
    Outport "outport" 32 Decimal Kind::Port(Base::Outport), Ingress, "";
    RemoteOutport "remote_outport" 32 Decimal Kind::Port(Base::Reg1), ReadWrite, "";
    RawInport "__inport" 32 Decimal Kind::Field(Base::Inport), ReadWrite, "";
    RawOutport "__outport" 32 Decimal Kind::Field(Base::Outport), ReadWrite, "";
    FromEvpnVtep "from_evpn_vtep" 1 Decimal Kind::Predicate("__inport[31]"), ReadOnly, "";
    ToEvpnVtep "to_evpn_vtep" 1 Decimal Kind::Predicate("__outport[31]"), ReadOnly, "";
    // Registers.
    Reg0 "reg0" 32 Decimal Kind::Field(Base::Reg0), ReadWrite, "";
    Reg1 "reg1" 32 Decimal Kind::Field(Base::Reg1), ReadWrite, "";
    Reg2 "reg2" 32 Decimal Kind::Field(Base::Reg2), ReadWrite, "";
    Reg3 "reg3" 32 Decimal Kind::Field(Base::Reg3), ReadWrite, "";
    Reg4 "reg4" 32 Decimal Kind::Field(Base::Reg4), ReadWrite, "";
    Reg5 "reg5" 32 Decimal Kind::Field(Base::Reg5), ReadWrite, "";
    Reg6 "reg6" 32 Decimal Kind::Field(Base::Reg6), ReadWrite, "";
    Reg7 "reg7" 32 Decimal Kind::Field(Base::Reg7), ReadWrite, "";
    Reg8 "reg8" 32 Decimal Kind::Field(Base::Reg8), ReadWrite, "";
    Reg9 "reg9" 32 Decimal Kind::Field(Base::Reg9), ReadWrite, "";
    Xreg0 "xreg0" 64 Hex Kind::Registers { first: 0, count: 2 }, ReadWrite, "";
    Xreg1 "xreg1" 64 Hex Kind::Registers { first: 2, count: 2 }, ReadWrite, "";
    Xreg2 "xreg2" 64 Hex Kind::Registers { first: 4, count: 2 }, ReadWrite, "";
    Xreg3 "xreg3" 64 Hex Kind::Registers { first: 6, count: 2 }, ReadWrite, "";
    Xreg4 "xreg4" 64 Hex Kind::Registers { first: 8, count: 2 }, ReadWrite, "";
    Xxreg0 "xxreg0" 128 Ip6 Kind::Registers { first: 0, count: 4 }, ReadWrite, "";
    Xxreg1 "xxreg1" 128 Ip6 Kind::Registers { first: 4, count: 4 }, ReadWrite, "";
    PktMark "pkt.mark" 32 Decimal Kind::Field(Base::PktMark), ReadWrite, "";
    // Flags.
    Flags "flags" 32 Hex Kind::Field(Base::Flags), ReadWrite, "";
    FlagsLoopback "flags.loopback" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 0 }, ReadWrite, "";
    FlagsForceSnatForDnat "flags.force_snat_for_dnat" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 2 }, ReadWrite, "";
    FlagsForceSnatForLb "flags.force_snat_for_lb" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 3 }, ReadWrite, "";
    FlagsSkipSnatForLb "flags.skip_snat_for_lb" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 9 }, ReadWrite, "";
    FlagsUseSnatZone "flags.use_snat_zone" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 11 }, ReadWrite, "";
    FlagsLocalnet "flags.localnet" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 15 }, ReadWrite, "";
    FlagsTunnelRx "flags.tunnel_rx" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 16 }, ReadWrite, "";
    FlagsIcmpSnat "flags.icmp_snat" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 17 }, ReadWrite, "";
    FlagsFromCtrl "flags.from_ctrl" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 19 }, ReadWrite, "";
    FlagsUnsnatNew "flags.unsnat_new" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 20 }, ReadWrite, "";
    FlagsUnsnatNotTracked "flags.unsnat_not_tracked" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 21 }, ReadWrite, "";
    FlagsIgmpLoopback "flags.igmp_loopback" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 22 }, ReadWrite, "";
    FlagsPktSampled "flags.pkt_sampled" 1 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 23 }, ReadWrite, "";
    FlagsNetworkId "flags.network_id" 4 Decimal Kind::Bits { parent: Symbol::Flags, lsb: 28 }, ReadWrite, "";
    // Connection tracking.
    CtState "ct_state" 32 Hex Kind::Field(Base::CtState), ReadOnly, "";
    CtTrk "ct.trk" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 5 }, ReadOnly, "";
    CtNew "ct.new" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 0 }, ReadOnly, "ct.trk";
    CtEst "ct.est" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 1 }, ReadOnly, "ct.trk";
    CtRel "ct.rel" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 2 }, ReadOnly, "ct.trk";
    CtRpl "ct.rpl" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 3 }, ReadOnly, "ct.trk";
    CtInv "ct.inv" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 4 }, ReadOnly, "ct.trk";
    CtSnat "ct.snat" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 6 }, ReadOnly, "ct.trk";
    CtDnat "ct.dnat" 1 Decimal Kind::Bits { parent: Symbol::CtState, lsb: 7 }, ReadOnly, "ct.trk";
    CtMark "ct_mark" 32 Hex Kind::Field(Base::CtMark), Commit, "";
    CtMarkBlocked "ct_mark.blocked" 1 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 0 }, Commit, "";
    CtMarkNatted "ct_mark.natted" 1 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 1 }, Commit, "";
    CtMarkSkipSnat "ct_mark.skip_snat" 1 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 2 }, Commit, "";
    CtMarkForceSnat "ct_mark.force_snat" 1 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 3 }, Commit, "";
    CtMarkObsStage "ct_mark.obs_stage" 2 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 4 }, Commit, "";
    CtMarkAllowEstablished "ct_mark.allow_established" 1 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 6 }, Commit, "";
    CtMarkObsCollectorId "ct_mark.obs_collector_id" 8 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 16 }, Commit, "";
    CtMarkEcmpReplyPort "ct_mark.ecmp_reply_port" 16 Decimal Kind::Bits { parent: Symbol::CtMark, lsb: 16 }, Commit, "";
    CtLabel "ct_label" 128 Hex Kind::Field(Base::CtLabel), Commit, "";
    CtLabelNf "ct_label.nf" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 7 }, Commit, "";
    CtLabelTunIf "ct_label.tun_if" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 8 }, Commit, "";
    CtLabelNfId "ct_label.nf_id" 8 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 17 }, Commit, "";
    CtLabelEcmpReplyEth "ct_label.ecmp_reply_eth" 48 Mac Kind::Bits { parent: Symbol::CtLabel, lsb: 32 }, Commit, "";
    CtLabelAclId "ct_label.acl_id" 16 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 80 }, Commit, "";
    CtLabelTunIfId "ct_label.tun_if_id" 16 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 80 }, Commit, "";
    CtLabelLabel "ct_label.label" 32 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 96 }, Commit, "";
    CtLabelObsPointId "ct_label.obs_point_id" 32 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 96 }, Commit, "";
    CtLabelObsUnused "ct_label.obs_unused" 96 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 0 }, Commit, "";
    // What OVN kept in `ct_label` before it used `ct_mark`.
    CtLabelBlocked "ct_label.blocked" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 0 }, Commit, "";
    CtLabelNatted "ct_label.natted" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 1 }, Commit, "";
    CtLabelSkipSnat "ct_label.skip_snat" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 2 }, Commit, "";
    CtLabelForceSnat "ct_label.force_snat" 1 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 3 }, Commit, "";
    CtLabelEcmpReplyPort "ct_label.ecmp_reply_port" 16 Decimal Kind::Bits { parent: Symbol::CtLabel, lsb: 80 }, Commit, "";
    // Ethernet and VLAN.
    EthSrc "eth.src" 48 Mac Kind::Field(Base::EthSrc), ReadWrite, "";
    EthDst "eth.dst" 48 Mac Kind::Field(Base::EthDst), ReadWrite, "";
    EthType "eth.type" 16 Hex Kind::Field(Base::EthType), ReadOnly, "";
    EthBcast "eth.bcast" 1 Decimal Kind::Predicate("eth.dst == ff:ff:ff:ff:ff:ff"), ReadOnly, "";
    EthMcast "eth.mcast" 1 Decimal Kind::Predicate("eth.dst[40]"), ReadOnly, "";
    EthMcastv6 "eth.mcastv6" 1 Decimal Kind::Predicate("eth.dst[32..47] == 0x3333"), ReadOnly, "";
    VlanTci "vlan.tci" 16 Hex Kind::Field(Base::VlanTci), ReadWrite, "";
    VlanPresent "vlan.present" 1 Decimal Kind::Predicate("vlan.tci[12]"), ReadOnly, "";
    VlanPcp "vlan.pcp" 3 Decimal Kind::Bits { parent: Symbol::VlanTci, lsb: 13 }, ReadWrite, "vlan.present";
    VlanVid "vlan.vid" 12 Decimal Kind::Bits { parent: Symbol::VlanTci, lsb: 0 }, ReadWrite, "vlan.present";
    // IP.
    Ip4 "ip4" 1 Decimal Kind::Predicate("eth.type == 0x800"), ReadOnly, "";
    Ip6 "ip6" 1 Decimal Kind::Predicate("eth.type == 0x86dd"), ReadOnly, "";
    Ip "ip" 1 Decimal Kind::Predicate("ip4 || ip6"), ReadOnly, "";
    IpProto "ip.proto" 8 Decimal Kind::Field(Base::IpProto), ReadOnly, "ip";
    IpDscp "ip.dscp" 6 Decimal Kind::Field(Base::IpDscp), ReadWrite, "ip";
    IpEcn "ip.ecn" 2 Decimal Kind::Field(Base::IpEcn), ReadWrite, "ip";
    IpTtl "ip.ttl" 8 Decimal Kind::Field(Base::IpTtl), ReadWrite, "ip";
    IpFrag "ip.frag" 2 Decimal Kind::Field(Base::IpFrag), ReadOnly, "ip";
    IpIsFrag "ip.is_frag" 1 Decimal Kind::Predicate("ip.frag[0]"), ReadOnly, "";
    IpLaterFrag "ip.later_frag" 1 Decimal Kind::Predicate("ip.frag[1]"), ReadOnly, "";
    IpFirstFrag "ip.first_frag" 1 Decimal Kind::Predicate("ip.is_frag && !ip.later_frag"), ReadOnly, "";
    Ip4Src "ip4.src" 32 Ip4 Kind::Field(Base::Ip4Src), ReadWrite, "ip4";
    Ip4Dst "ip4.dst" 32 Ip4 Kind::Field(Base::Ip4Dst), ReadWrite, "ip4";
    Ip4SrcMcast "ip4.src_mcast" 1 Decimal Kind::Predicate("ip4.src[28..31] == 0xe"), ReadOnly, "";
    Ip4Mcast "ip4.mcast" 1 Decimal Kind::Predicate("eth.mcast && ip4.dst[28..31] == 0xe"), ReadOnly, "";
    Ip6Src "ip6.src" 128 Ip6 Kind::Field(Base::Ip6Src), ReadWrite, "ip6";
    Ip6Dst "ip6.dst" 128 Ip6 Kind::Field(Base::Ip6Dst), ReadWrite, "ip6";
    Ip6Label "ip6.label" 20 Hex Kind::Field(Base::Ip6Label), ReadWrite, "ip6";
    Ip6McastRsvd "ip6.mcast_rsvd" 1 Decimal Kind::Predicate("ip6.dst[116..127] == 0xff0 && ip6.dst[0..111] == 0x0"), ReadOnly, "";
    Ip6McastAllNodes "ip6.mcast_all_nodes" 1 Decimal Kind::Predicate("ip6.dst == ff01::1 || ip6.dst == ff02::1"), ReadOnly, "";
    Ip6McastAllRtrs "ip6.mcast_all_rtrs" 1 Decimal Kind::Predicate("ip6.dst == ff01::2 || ip6.dst == ff02::2 || ip6.dst == ff05::2"), ReadOnly, "";
    Ip6McastSolNode "ip6.mcast_sol_node" 1 Decimal Kind::Predicate("ip6.dst == ff02::1:ff00:0/104"), ReadOnly, "";
    Ip6McastFlood "ip6.mcast_flood" 1 Decimal Kind::Predicate("eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || ip6.mcast_all_rtrs || ip6.mcast_sol_node)"), ReadOnly, "";
    Ip6Mcast "ip6.mcast" 1 Decimal Kind::Predicate("eth.mcastv6 && ip6.dst[120..127] == 0xff"), ReadOnly, "";
    // ARP and reverse ARP.
    Arp "arp" 1 Decimal Kind::Predicate("eth.type == 0x806"), ReadOnly, "";
    Rarp "rarp" 1 Decimal Kind::Predicate("eth.type == 0x8035"), ReadOnly, "";
    ArpOp "arp.op" 16 Decimal Kind::Field(Base::ArpOp), ReadWrite, "arp";
    ArpSpa "arp.spa" 32 Ip4 Kind::Field(Base::ArpSpa), ReadWrite, "arp";
    ArpTpa "arp.tpa" 32 Ip4 Kind::Field(Base::ArpTpa), ReadWrite, "arp";
    ArpSha "arp.sha" 48 Mac Kind::Field(Base::ArpSha), ReadWrite, "arp";
    ArpTha "arp.tha" 48 Mac Kind::Field(Base::ArpTha), ReadWrite, "arp";
    RarpOp "rarp.op" 16 Decimal Kind::Field(Base::ArpOp), ReadWrite, "rarp";
    RarpSpa "rarp.spa" 32 Ip4 Kind::Field(Base::ArpSpa), ReadWrite, "rarp";
    RarpTpa "rarp.tpa" 32 Ip4 Kind::Field(Base::ArpTpa), ReadWrite, "rarp";
    RarpSha "rarp.sha" 48 Mac Kind::Field(Base::ArpSha), ReadWrite, "rarp";
    RarpTha "rarp.tha" 48 Mac Kind::Field(Base::ArpTha), ReadWrite, "rarp";
    // ICMP, IGMP, MLD and neighbour discovery.
    Icmp4 "icmp4" 1 Decimal Kind::Predicate("ip4 && ip.proto == 1"), ReadOnly, "";
    Icmp4Type "icmp4.type" 8 Decimal Kind::Field(Base::Icmp4Type), ReadWrite, "icmp4";
    Icmp4Code "icmp4.code" 8 Decimal Kind::Field(Base::Icmp4Code), ReadWrite, "icmp4";
    Icmp4FragMtu "icmp4.frag_mtu" 16 Decimal Kind::MtuOfError, ReadWrite, "icmp4";
    Igmp "igmp" 1 Decimal Kind::Predicate("ip4 && ip.proto == 2"), ReadOnly, "";
    Icmp6 "icmp6" 1 Decimal Kind::Predicate("ip6 && ip.proto == 58"), ReadOnly, "";
    Icmp6Type "icmp6.type" 8 Decimal Kind::Field(Base::Icmp6Type), ReadWrite, "icmp6";
    Icmp6Code "icmp6.code" 8 Decimal Kind::Field(Base::Icmp6Code), ReadWrite, "icmp6";
    Icmp6FragMtu "icmp6.frag_mtu" 32 Decimal Kind::MtuOfError, ReadWrite, "icmp6";
    Icmp "icmp" 1 Decimal Kind::Predicate("icmp4 || icmp6"), ReadOnly, "";
    Nd "nd" 1 Decimal Kind::Predicate("icmp6.type == {135, 136} && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdNs "nd_ns" 1 Decimal Kind::Predicate("icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdNa "nd_na" 1 Decimal Kind::Predicate("icmp6.type == 136 && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdRs "nd_rs" 1 Decimal Kind::Predicate("icmp6.type == 133 && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdRa "nd_ra" 1 Decimal Kind::Predicate("icmp6.type == 134 && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdNsMcast "nd_ns_mcast" 1 Decimal Kind::Predicate("ip6.mcast && icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255"), ReadOnly, "";
    NdTarget "nd.target" 128 Ip6 Kind::Field(Base::NdTarget), ReadWrite, "nd";
    NdSll "nd.sll" 48 Mac Kind::Field(Base::NdSll), ReadWrite, "nd_ns";
    NdTll "nd.tll" 48 Mac Kind::Field(Base::NdTll), ReadWrite, "nd_na";
    Mldv1 "mldv1" 1 Decimal Kind::Predicate("ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}"), ReadOnly, "";
    Mldv2 "mldv2" 1 Decimal Kind::Predicate("ip6.dst == ff02::16 && icmp6.type == 143"), ReadOnly, "";
    // Transport.
    Tcp "tcp" 1 Decimal Kind::Predicate("ip.proto == 6"), ReadOnly, "";
    TcpSrc "tcp.src" 16 Decimal Kind::Field(Base::TcpSrc), ReadWrite, "tcp";
    TcpDst "tcp.dst" 16 Decimal Kind::Field(Base::TcpDst), ReadWrite, "tcp";
    TcpFlags "tcp.flags" 12 Hex Kind::Field(Base::TcpFlags), ReadOnly, "tcp";
    Udp "udp" 1 Decimal Kind::Predicate("ip.proto == 17"), ReadOnly, "";
    UdpSrc "udp.src" 16 Decimal Kind::Field(Base::UdpSrc), ReadWrite, "udp";
    UdpDst "udp.dst" 16 Decimal Kind::Field(Base::UdpDst), ReadWrite, "udp";
    Sctp "sctp" 1 Decimal Kind::Predicate("ip.proto == 132"), ReadOnly, "";
    SctpSrc "sctp.src" 16 Decimal Kind::Field(Base::SctpSrc), ReadWrite, "sctp";
    SctpDst "sctp.dst" 16 Decimal Kind::Field(Base::SctpDst), ReadWrite, "sctp";
}
