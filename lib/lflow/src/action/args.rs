//! The arguments of the actions that take many.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::named;
use crate::constant::{Constant, Name};
use crate::symbols::Field;

named! {
    /// Which of the load balancing actions.
    BalanceKind {
        /// Its flags live in `ct_label`; deprecated.
        CtLb = "ct_lb",
        /// Its flags live in `ct_mark`.
        CtLbMark = "ct_lb_mark",
        /// Only backends on this chassis are used.
        CtLbMarkLocal = "ct_lb_mark_local",
    }
}

/// `ct_lb_mark(backends=10.0.0.2:80,10.0.0.3:80; hash_fields="ip_src"; skip_snat)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Balance {
    /// Which action.
    pub kind: BalanceKind,
    /// The backends; none applies the translation of an established connection.
    pub backends: Vec<Backend>,
    /// The backends as a text with template variables, in the place of others. Who reads actions has put values in their place.
    pub template: Option<Name>,
    /// The fields by which a backend is chosen, as written, if not by the usual hash.
    pub hash_fields: Option<Name>,
    /// Remember that the source must not be translated.
    pub skip_snat: bool,
    /// Remember that the source must be translated.
    pub force_snat: bool,
}

/// A server behind a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its logical port, for `ct_lb_mark_local`.
    pub lport: Option<Name>,
    /// Its address.
    pub ip: IpAddr,
    /// Its transport port.
    pub port: Option<u16>,
}

named! {
    /// Which options are put into a packet.
    OptionsKind {
        /// A DHCPv4 request becomes a reply.
        Dhcp4 = "put_dhcp_opts",
        /// A DHCPv6 request becomes a reply.
        Dhcp6 = "put_dhcpv6_opts",
        /// A router solicitation becomes an advertisement.
        RouterAdvertisement = "put_nd_ra_opts",
    }
}

/// `offerip = 10.0.0.2, router = 10.0.0.1, dns_server = {8.8.8.8, 7.7.7.7}`, in the order written.
///
/// Which names there are is in the southbound's `DHCP_Options` and `DHCPv6_Options`; what they mean is for the encoder.
pub type Options = Vec<(Name, SmallVec<[Constant; 1]>)>;

/// `select(1=20, 2=30)` or `select(values=(1=20, 2=30); hash_fields="ip_src,ip_dst")`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Select {
    /// What is chosen from, each with its weight.
    pub values: Vec<(u16, u16)>,
    /// The fields by which is chosen, as written, if not by the usual hash.
    pub hash_fields: Option<Name>,
}

impl Select {
    /// The weight of a value that has none written.
    pub const DEFAULT_WEIGHT: u16 = 100;
}

/// `commit_lb_aff(vip = "10.0.0.1:80", backend = "10.0.0.2:80", proto = tcp, timeout = 10)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affinity {
    /// The address that the client spoke to, and its port.
    pub vip: (IpAddr, Option<u16>),
    /// The backend that was chosen, and its port.
    pub backend: (IpAddr, Option<u16>),
    /// `tcp`, `udp` or `sctp`.
    pub proto: Option<Name>,
    /// Seconds.
    pub timeout: u16,
}

/// `log(name="acl", verdict=drop, severity=info, meter="m")`
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    /// The name of the ACL; empty when it has none.
    pub name: Name,
    /// `allow`, `drop`, `reject`, `pass`; empty when not written.
    pub verdict: Name,
    /// `alert`, `warning`, `notice`, `info` (the default) or `debug`.
    pub severity: Name,
    /// The meter that limits the logging; empty for none.
    pub meter: Name,
}

/// `sample(probability=65535,collector_set=1,obs_domain=2,obs_point=@cookie)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// How many of 65535 packets.
    pub probability: u16,
    /// The set of collectors.
    pub collector_set: SampleArg,
    /// The upper eight bits of the observation domain.
    pub obs_domain: u8,
    /// The observation point.
    pub obs_point: SampleArg,
}

/// A number of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleArg {
    /// This number.
    Number(u32),
    /// `@cookie`: the first 32 bits of the logical flow's UUID.
    Cookie,
    /// What is in the field.
    Field(Field),
}

/// `trigger_event(event = "empty_lb_backends", vip = "10.0.0.1:80", protocol = "tcp", load_balancer = "…")`
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EmptyBackends {
    /// The address of the load balancer, with its port.
    pub vip: Name,
    /// `tcp`, `udp` or `sctp`; empty when not written.
    pub protocol: Name,
    /// The UUID of the load balancer.
    pub load_balancer: Name,
    /// The meter that limits the events; empty for none.
    pub meter: Name,
}
