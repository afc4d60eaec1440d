//! DHCPv4: guests get their addresses from the switch.
//!
//! Arrives: admitted packets. Guarantees that a DHCP request of a port with `dhcpv4_options`, from a MAC of that port, is
//! answered with the first of the MAC's addresses that lies in the options' network. The encoding is the controller's
//! (`put_dhcp_opts`), which also tells whether the packet was a request at all: what was not goes on unchanged.
//!
//! The request is recognised for each port; the reply needs no port, only the server's addresses, and is one flow for all
//! ports of a switch with the same server. The server's address travels in `reg1` between the two stages.

use std::net::IpAddr;

use lflow::Symbol;
use lflow::action::OptionsKind;
use lflow::{Constant, Int};
use lflow::{a, m};

use super::PortView;
use crate::model::{Dhcp4, PortKind};
use crate::pipeline::{Flows, Rule, Stage};

/// Set when the packet has become a reply.
const REPLY_BIT: u8 = 3;

const REQUEST: Rule = Rule::new(
    Stage::InDhcpOptions,
    100,
    "a DHCP request of a port with options: make it a reply",
);
const NO_REQUEST: Rule = Rule::new(Stage::InDhcpOptions, 0, "the rest: next");
const REPLY: Rule = Rule::new(
    Stage::InDhcpResponse,
    100,
    "a reply: back to the asker, from the server's addresses",
);
const NO_REPLY: Rule = Rule::new(Stage::InDhcpResponse, 0, "the rest: next");

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[REQUEST, NO_REQUEST, REPLY, NO_REPLY];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(NO_REQUEST, &m::any(), [a::next()]);
    flows.add(NO_REPLY, &m::any(), [a::next()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    let port = view.port;
    let Some(dhcp) = view.dhcp4 else { return };
    if !port.is_enabled || matches!(port.kind, PortKind::Localnet { .. }) {
        return;
    }
    let mut answers = false;
    for entry in &port.addresses {
        let in_network = |ip: &IpAddr| ip.is_ipv4() && dhcp.network.contains(*ip);
        let Some(ip) = entry.ips.iter().map(|cidr| cidr.addr()).find(in_network) else {
            continue;
        };
        answers = true;
        let from = m::one_of(Symbol::Ip4Src, [ip, UNSPECIFIED]);
        let to = m::one_of(Symbol::Ip4Dst, [dhcp.server, std::net::Ipv4Addr::BROADCAST]);
        let request = m::inport(port.name.clone())
            & m::eth_src(entry.mac)
            & from
            & to
            & m::udp_src(CLIENT_PORT)
            & m::udp_dst(SERVER_PORT);
        let mut options = vec![a::option("offerip", ip)];
        let told = dhcp
            .options
            .iter()
            .filter(|(name, _)| port.hostname.is_none() || &**name != "hostname");
        options.extend(told.cloned());
        if let Some(hostname) = &port.hostname {
            options.push(a::option("hostname", Constant::Str(hostname.clone())));
        }
        let put = a::put_options(Symbol::Reg0.bit(REPLY_BIT), OptionsKind::Dhcp4, options);
        flows.add(
            REQUEST,
            &request,
            [put, a::set(Symbol::Reg1, dhcp.server), a::next()],
        );
    }
    if answers {
        reply(dhcp, flows);
    }
}

const UNSPECIFIED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// Where the reply goes (`ip4.dst`) is already in it.
fn reply(dhcp: &Dhcp4, flows: &mut Flows<'_>) {
    let is_reply = m::bit(Symbol::Reg0, REPLY_BIT)
        & m::eq(Symbol::Reg1, dhcp.server)
        & m::udp_src(CLIENT_PORT)
        & m::udp_dst(SERVER_PORT)
        & m::ip4();
    flows.add_common(
        REPLY,
        &is_reply,
        [
            a::copy(Symbol::EthDst, Symbol::EthSrc),
            a::set(Symbol::EthSrc, dhcp.server_mac),
            a::set(Symbol::Ip4Src, dhcp.server),
            a::set(Symbol::UdpSrc, Int::new(SERVER_PORT.into())),
            a::set(Symbol::UdpDst, Int::new(CLIENT_PORT.into())),
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ],
    );
}
