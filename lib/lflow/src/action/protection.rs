//! Which protocol of control-plane protection a logical flow belongs to: the names by which profiles (`Copp.meters`) limit what is
//! sent to the controller.

use super::{Action, Actions, Bare, Function, OptionsKind, Plain, Query, Transform, named};
use crate::Expr;
use crate::symbols::Symbol;

named! {
    /// A kind of packets that is sent to the controller (ovn-nb(5), `Copp.meters`).
    CoppProtocol {
        Arp = "arp",
        ArpResolve = "arp-resolve",
        Bfd = "bfd",
        Dhcp4Options = "dhcpv4-opts",
        Dhcp4Relay = "dhcpv4-relay",
        Dhcp6Options = "dhcpv6-opts",
        Dns = "dns",
        EmptyBackends = "event-elb",
        Icmp4Error = "icmp4-error",
        Icmp6Error = "icmp6-error",
        Igmp = "igmp",
        NdNa = "nd-na",
        NdNs = "nd-ns",
        NdNsResolve = "nd-ns-resolve",
        NdRaOptions = "nd-ra-opts",
        Reject = "reject",
        ServiceMonitor = "svc-monitor",
        TcpReset = "tcp-reset",
    }
}

/// The protocol of what a logical flow sends to the controller, if profiles know it. They do not know what is only logged, nor Ethernet
/// addresses and virtual ports that are learned.
pub fn protection(when: &Expr, then: &Actions) -> Option<CoppProtocol> {
    then.0.iter().find_map(|action| of_action(when, action))
}

fn of_action(when: &Expr, action: &Action) -> Option<CoppProtocol> {
    Some(match action {
        Action::Within(Transform::Clone, inner) => return protection(when, inner),
        Action::Within(transform, _) => return of_transform(*transform),
        Action::Plain(Plain::Igmp) => CoppProtocol::Igmp,
        Action::Plain(Plain::HandleBfdMsg) => CoppProtocol::Bfd,
        Action::Plain(Plain::HandleDhcpv6Reply) => CoppProtocol::Dhcp6Options,
        Action::Call(Function::PutArp, _) => CoppProtocol::Arp,
        Action::Call(Function::PutNd, _) if is_solicitation(when) => CoppProtocol::NdNs,
        Action::Call(Function::PutNd, _) => CoppProtocol::NdNa,
        Action::Call(Function::HandleSvcCheck, _) => CoppProtocol::ServiceMonitor,
        Action::Query(_, Query::PutOptions(kind, _)) => match kind {
            OptionsKind::Dhcp4 => CoppProtocol::Dhcp4Options,
            OptionsKind::Dhcp6 => CoppProtocol::Dhcp6Options,
            OptionsKind::RouterAdvertisement => CoppProtocol::NdRaOptions,
        },
        Action::Query(_, Query::RelayCheck { .. }) => CoppProtocol::Dhcp4Relay,
        Action::Query(_, Query::Bare(Bare::DnsLookup)) => CoppProtocol::Dns,
        Action::Event(_) => CoppProtocol::EmptyBackends,
        _ => return None,
    })
}

fn of_transform(transform: Transform) -> Option<CoppProtocol> {
    Some(match transform {
        Transform::Arp => CoppProtocol::ArpResolve,
        Transform::NdNs => CoppProtocol::NdNsResolve,
        Transform::NdNa | Transform::NdNaRouter => CoppProtocol::NdNa,
        Transform::Icmp4 | Transform::Icmp4Error => CoppProtocol::Icmp4Error,
        Transform::Icmp6 | Transform::Icmp6Error => CoppProtocol::Icmp6Error,
        Transform::TcpReset | Transform::SctpAbort => CoppProtocol::TcpReset,
        Transform::Reject => CoppProtocol::Reject,
        Transform::Clone => return None,
    })
}

/// Whether a match is about neighbour solicitations.
fn is_solicitation(when: &Expr) -> bool {
    let mut is_about = false;
    when.comparisons(&mut |comparison| {
        is_about |= comparison.field.symbol() == Symbol::NdNs;
    });
    is_about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_the_controller_has_a_kind() {
        for (when, then, kind) in [
            ("ip4", "next;", None),
            ("arp", "put_arp(inport, arp.spa, arp.sha);", Some("arp")),
            ("nd_na", "put_nd(inport, nd.target, nd.tll);", Some("nd-na")),
            ("nd_ns", "put_nd(inport, ip6.src, nd.sll);", Some("nd-ns")),
            (
                "ip4",
                "arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };",
                Some("arp-resolve"),
            ),
            (
                "ip6",
                "nd_ns { nd.target = xxreg0; output; };",
                Some("nd-ns-resolve"),
            ),
            ("nd_ns", "nd_na_router { output; };", Some("nd-na")),
            (
                "ip4",
                "icmp4_error { icmp4.type = 3; next; };",
                Some("icmp4-error"),
            ),
            (
                "ip6",
                "clone { icmp6 { icmp6.type = 1; next; }; }; next;",
                Some("icmp6-error"),
            ),
            ("tcp", "tcp_reset { next; };", Some("tcp-reset")),
            ("tcp", "reject { next; };", Some("reject")),
            (
                "udp",
                "reg0[3] = put_dhcp_opts(offerip = 10.0.0.1); next;",
                Some("dhcpv4-opts"),
            ),
            ("udp", "reg0[4] = dns_lookup(); next;", Some("dns")),
            ("igmp", "igmp;", Some("igmp")),
            ("udp", "handle_bfd_msg();", Some("bfd")),
            ("tcp", "handle_svc_check(inport);", Some("svc-monitor")),
            (
                "tcp",
                "trigger_event(event = \"empty_lb_backends\", vip = \"10.0.0.1:80\", protocol = \"tcp\", load_balancer = \"x\");",
                Some("event-elb"),
            ),
        ] {
            let when = Expr::parse(when).expect("a match");
            let actions = Actions::parse(then).expect("actions");
            let found = protection(&when, &actions).map(CoppProtocol::name);
            assert_eq!(found, kind, "{then}");
        }
    }
}
