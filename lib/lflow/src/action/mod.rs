//! [`Action`]: what is done with a packet that matches.
//!
//! OVN 26.03 knows 82 kinds. Those that differ only by name and arguments share a variant here and are told apart by a
//! small enum whose members carry their names, so that parsing and printing are tables:
//!
//! | variant | kinds |
//! | --- | --- |
//! | [`Action::Plain`] | no arguments: `ct_clear`, `igmp`, … |
//! | [`Action::Call`] | fields as arguments: `put_arp(inport, arp.spa, arp.sha)`, … |
//! | [`Action::Query`] | a result in a field: `reg0[3] = dns_lookup()`, … |
//! | [`Action::Within`] | actions on another packet: `arp { … }`, `clone { … }`, … |
//! | [`Action::Nat`], [`Action::Balance`] | the families of `ct_snat`, `ct_dnat` and `ct_lb` |
//!
//! [`Actions`] is a whole list. Its `Display` is canonical: it parses back to an equal list.

mod args;
mod encode;
mod parse;
mod prerequisites;
mod print;
mod protection;

use std::net::IpAddr;

use addr::PortRange;

use crate::constant::{Constant, Name};
use crate::symbols::Field;

pub use args::{
    Affinity, Backend, Balance, BalanceKind, EmptyBackends, Log, Options, OptionsKind, Sample,
    SampleArg, Select,
};
pub use encode::{
    Context, DatapathKind, EncodeError, FlagBit, Resources, Tables, encode, needs_port_bits,
};
pub use parse::MAX_NESTING;
pub use prerequisites::prerequisites;
pub use protection::{CoppProtocol, protection};

/// What is done with a packet, in order; none drops it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(pub Vec<Action>);

/// One thing to do with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `drop;`, the last of a list: what was done so far comes to nothing.
    Drop,
    /// `output;`: to the egress pipeline, or there to the port.
    Output,
    /// `next;`, `next(table);`, `next(pipeline=p, table=t);`
    Next {
        /// The pipeline, if not the present one.
        pipeline: Option<Pipeline>,
        /// The table, if not the next one.
        table: Option<u8>,
    },
    /// `field = constant;`
    Assign(Field, Constant),
    /// `to = from;`
    Copy {
        /// The field that is written.
        to: Field,
        /// The field that is read.
        from: Field,
    },
    /// `a <-> b;`
    Exchange(Field, Field),
    /// `push(field);`
    Push(Field),
    /// `pop(field);`
    Pop(Field),
    /// `ip.ttl--;`
    DecrementTtl,
    /// `name { actions };`
    Within(Transform, Actions),
    /// `name;` or `name();`
    Plain(Plain),
    /// `name(fields);`
    Call(Function, Vec<Field>),
    /// `field = name(…);`
    Query(Field, Query),
    /// `ct_next;`, `ct_next(snat);`
    CtNext(Option<Zone>),
    /// `ct_commit { assignments };`
    CtCommit(Vec<Action>),
    /// `ct_commit_to_zone(snat);`
    CtCommitToZone(Zone),
    /// `ct_commit_nat;`, `ct_commit_nat(snat);`
    CtCommitNat(Option<Zone>),
    /// `ct_snat;`, `ct_dnat(10.0.0.1, 1000-2000);` and their kin.
    Nat {
        /// Which.
        kind: NatKind,
        /// The new address; without, what was translated is translated back.
        ip: Option<IpAddr>,
        /// The range of the new port.
        ports: Option<PortRange>,
    },
    /// `ct_lb_mark(…);` and its kin.
    Balance(Box<Balance>),
    /// `bind_vport("virtual", inport);`
    BindVport {
        /// The virtual port.
        vport: Name,
        /// The field that names its present parent.
        parent: Field,
    },
    /// `commit_ecmp_nh(ipv6 = false, proto = tcp);`
    CommitEcmpNextHop {
        /// IPv6 instead of IPv4.
        ipv6: bool,
        /// `tcp`, `udp` or `sctp`.
        proto: Name,
    },
    /// `commit_lb_aff(…);`
    CommitAffinity(Box<Affinity>),
    /// `fwd_group(…);`
    ForwardGroup {
        /// Leave out ports whose tunnels are down.
        liveness: bool,
        /// The ports to choose from.
        children: Vec<Name>,
    },
    /// `log(…);`
    Log(Box<Log>),
    /// `sample(…);`
    Sample(Box<Sample>),
    /// `set_queue(id);`
    SetQueue(u32),
    /// `set_meter(rate, burst);`
    SetMeter {
        /// Kilobits a second.
        rate: u32,
        /// Kilobits.
        burst: Option<u32>,
    },
    /// `mirror("port");`
    Mirror(Name),
    /// `trigger_event(event = "empty_lb_backends", …);`
    Event(Box<EmptyBackends>),
}

/// A question whose answer is stored in a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// `name()`
    Bare(Bare),
    /// `name(fields)`
    Lookup(Lookup, Vec<Field>),
    /// `check_pkt_larger(bytes)`
    PacketLarger(u16),
    /// `put_dhcp_opts(…)` and its kin.
    PutOptions(OptionsKind, Options),
    /// `dhcp_relay_req_chk(relay, server)`, `dhcp_relay_resp_chk(relay, server)`
    RelayCheck {
        /// The answer, not the request.
        response: bool,
        /// The address of the relay.
        relay: IpAddr,
        /// The address of the server.
        server: IpAddr,
    },
    /// `select(…)`
    Select(Select),
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $id:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* #[doc = concat!("`", $text, "`")] $id,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// The word for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }

            /// What the word means.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$id),)*
                    _ => None,
                }
            }
        }
    };
}
use named;

named! {
    /// Half of a datapath's life of a packet.
    Pipeline {
        Ingress = "ingress",
        Egress = "egress",
    }
}

named! {
    /// A connection tracking zone of a router.
    Zone {
        Dnat = "dnat",
        Snat = "snat",
    }
}

named! {
    /// Actions without arguments.
    Plain {
        CtClear = "ct_clear",
        CtSnatToVip = "ct_snat_to_vip",
        Igmp = "igmp",
        HandleDhcpv6Reply = "handle_dhcpv6_reply",
        HandleBfdMsg = "handle_bfd_msg",
        MacCacheUse = "mac_cache_use",
        FloodRemote = "flood_remote",
    }
}

named! {
    /// Actions that take fields.
    Function {
        GetArp = "get_arp",
        PutArp = "put_arp",
        GetNd = "get_nd",
        PutNd = "put_nd",
        PutFdb = "put_fdb",
        HandleSvcCheck = "handle_svc_check",
    }
}

named! {
    /// Questions without arguments.
    Bare {
        CheckInPortSec = "check_in_port_sec",
        CheckOutPortSec = "check_out_port_sec",
        DnsLookup = "dns_lookup",
        ChkLbHairpin = "chk_lb_hairpin",
        ChkLbHairpinReply = "chk_lb_hairpin_reply",
        ChkLbAff = "chk_lb_aff",
        ChkEcmpNhMac = "chk_ecmp_nh_mac",
        ChkEcmpNh = "chk_ecmp_nh",
        CtNwDst = "ct_nw_dst",
        CtIp6Dst = "ct_ip6_dst",
        CtTpDst = "ct_tp_dst",
        CtProto = "ct_proto",
        CtStateSave = "ct_state_save",
    }
}

named! {
    /// Questions about fields.
    Lookup {
        LookupArp = "lookup_arp",
        LookupArpIp = "lookup_arp_ip",
        LookupNd = "lookup_nd",
        LookupNdIp = "lookup_nd_ip",
        LookupFdb = "lookup_fdb",
        GetFdb = "get_fdb",
        GetRemoteFdb = "get_remote_fdb",
    }
}

named! {
    /// Actions on a packet made from the present one.
    Transform {
        Clone = "clone",
        Arp = "arp",
        NdNs = "nd_ns",
        NdNa = "nd_na",
        NdNaRouter = "nd_na_router",
        Icmp4 = "icmp4",
        Icmp4Error = "icmp4_error",
        Icmp6 = "icmp6",
        Icmp6Error = "icmp6_error",
        TcpReset = "tcp_reset",
        SctpAbort = "sctp_abort",
        Reject = "reject",
    }
}

named! {
    /// Address translation.
    NatKind {
        Dnat = "ct_dnat",
        Snat = "ct_snat",
        DnatInCommonZone = "ct_dnat_in_czone",
        SnatInCommonZone = "ct_snat_in_czone",
    }
}

/// The kind of value that an argument of a function or lookup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    /// The name of a port.
    Port,
    /// An integer of so many bits.
    Bits(u8),
}

impl Function {
    /// What it takes.
    pub(crate) const fn args(self) -> &'static [Arg] {
        match self {
            Self::GetArp => &[Arg::Port, Arg::Bits(32)],
            Self::PutArp => &[Arg::Port, Arg::Bits(32), Arg::Bits(48)],
            Self::GetNd => &[Arg::Port, Arg::Bits(128)],
            Self::PutNd => &[Arg::Port, Arg::Bits(128), Arg::Bits(48)],
            Self::PutFdb => &[Arg::Port, Arg::Bits(48)],
            Self::HandleSvcCheck => &[Arg::Port],
        }
    }
}

impl Lookup {
    /// What it takes.
    pub(crate) const fn args(self) -> &'static [Arg] {
        match self {
            Self::LookupArp => &[Arg::Port, Arg::Bits(32), Arg::Bits(48)],
            Self::LookupArpIp => &[Arg::Port, Arg::Bits(32)],
            Self::LookupNd => &[Arg::Port, Arg::Bits(128), Arg::Bits(48)],
            Self::LookupNdIp => &[Arg::Port, Arg::Bits(128)],
            Self::LookupFdb => &[Arg::Port, Arg::Bits(48)],
            Self::GetFdb | Self::GetRemoteFdb => &[Arg::Bits(48)],
        }
    }

    /// What it gives.
    pub(crate) const fn result(self) -> Arg {
        match self {
            Self::GetFdb | Self::GetRemoteFdb => Arg::Port,
            _ => Arg::Bits(1),
        }
    }
}

impl Bare {
    /// What it gives.
    pub(crate) const fn result(self) -> Arg {
        match self {
            Self::CtNwDst => Arg::Bits(32),
            Self::CtIp6Dst => Arg::Bits(128),
            Self::CtTpDst => Arg::Bits(16),
            Self::CtProto | Self::CtStateSave => Arg::Bits(8),
            _ => Arg::Bits(1),
        }
    }
}

impl Actions {
    /// Reads a list of actions.
    ///
    /// # Errors
    /// Names what is wrong and where, with a caret under the place.
    pub fn parse(text: &str) -> Result<Actions, crate::ParseError> {
        parse::parse(text)
    }

    /// Prints into `out`, without going through a formatter's machinery for each flow.
    pub fn print_to(&self, out: &mut String) {
        use std::fmt::Write;
        write!(out, "{self}").expect("writing into a string does not fail");
    }
}

impl From<Vec<Action>> for Actions {
    fn from(actions: Vec<Action>) -> Self {
        Self(actions)
    }
}

impl<const N: usize> From<[Action; N]> for Actions {
    fn from(actions: [Action; N]) -> Self {
        Self(actions.into())
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<T: IntoIterator<Item = Action>>(actions: T) -> Self {
        Self(actions.into_iter().collect())
    }
}
