//! All packet services.
//!
//! | opcodes | file | effect |
//! | --- | --- | --- |
//! | `put_dhcp_opts` | [`dhcp4`] | the request goes on as a reply, a register bit says whether |
//! | `put_dhcpv6_opts` | [`dhcp6`] | the same for DHCPv6 |
//! | `dns_lookup` | [`dns`] | the question goes on as the answer, a register bit says whether |
//! | `dhcp_relay_req_chk`, `dhcp_relay_resp_chk` | [`dhcp_relay`] | the message goes on with the relay's or the client's addresses, a register bit says whether |
//! | `put_fdb`, `put_arp`, `put_nd` | [`learn`] | a row in the southbound |
//! | `log` | [`log`] | a line in the log |
//! | `arp`, `nd_ns` | [`resolve`] | a next hop is asked for its address, and the packet waits for the answer |
//! | `nd_na`, `icmp4`, `icmp6`, `tcp_reset`, `sctp_abort`, `reject` | [`transform`] | another packet, on which the flow's actions are done |
//! | `igmp` | [`multicast`] | rows in the southbound; reports and queries are passed on; others are asked from time to time |
//! | `put_nd_ra_opts` | [`advertise`] | the solicitation goes on as an advertisement; others are sent from time to time |
//! | `trigger_event` | [`empty_backends`] | a row in the southbound |
//! | `handle_svc_check` | [`service_monitors`] | services are probed, and their rows say whether they are there |
//! | none: a flow of [`crate::physical::activation`] | [`activation`] | a guest that came by migration may send and receive |
//! | `bind_vport` | [`virtual_ports`] | a virtual port is on this chassis, at the guest that has announced its address |
//! | `handle_bfd_msg` | [`bfd`] | sessions of routers with neighbours are kept, and their rows say how they are |
//! | none | [`announce`] | guests on switches with a physical network are announced there |
//! | none | [`neighbours`] | neighbours that routers are about to forget are asked whether they are there |
//! | none | [`nat_addresses`] | so are addresses of routers, where their gateway is |

pub mod activation;
pub mod advertise;
pub mod announce;
pub mod bfd;
pub mod dhcp4;
pub mod dhcp6;
pub mod dhcp_relay;
pub mod dns;
pub mod empty_backends;
pub mod learn;
pub mod log;
pub mod multicast;
pub mod nat_addresses;
pub mod neighbours;

pub mod resolve;
pub mod service_monitors;
pub mod transform;
pub mod virtual_ports;

use super::service::Service;

/// The list.
pub fn all() -> Vec<Box<dyn Service>> {
    vec![
        Box::new(dhcp4::Dhcp4),
        Box::new(dhcp6::Dhcp6),
        Box::new(dns::Dns::default()),
        Box::new(dhcp_relay::DhcpRelay),
        Box::new(learn::Learn::default()),
        Box::new(log::Log),
        Box::new(resolve::Resolve::default()),
        Box::new(transform::Transform),
        Box::new(virtual_ports::VirtualPorts::default()),
        Box::new(activation::Activation),
        Box::new(advertise::Advertise::default()),
        Box::new(announce::Announce::default()),
        Box::new(bfd::Bfd::default()),
        Box::new(empty_backends::EmptyBackends::default()),
        Box::new(service_monitors::ServiceMonitors::default()),
        Box::new(nat_addresses::NatAddresses::default()),
        Box::new(neighbours::Neighbours::default()),
        Box::new(multicast::Multicast::default()),
    ]
}
