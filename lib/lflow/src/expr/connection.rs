//! From a match on packets to one on their connections (`Logical_Flow.tags`, `acl_ct_translation`).
//!
//! Later fragments have no ports. A datapath that hands them on as they came, as the userspace datapath of Open vSwitch does, knows all
//! the same which connection they are part of, and what protocol and ports that connection was begun with (ovs-fields(7),
//! `ct_nw_proto`, `ct_tp_src`, `ct_tp_dst`). So a match on TCP, UDP or SCTP is asked of the connection, and holds for all fragments
//! alike. It holds for no packet that is not tracked.
//!
//! What only the packet knows stays as it is: other protocols, and matches that look at the flags of TCP.

use super::cube::{Cube, Term};
use super::tree::Alternative;
use crate::symbols::{Base, Symbol};

/// TCP, UDP and SCTP: what has ports.
const WITH_PORTS: [u128; 3] = [6, 17, 132];

/// What the alternatives of a match ask of packets, asked of connections.
pub fn of_connections(alternatives: Vec<Alternative>) -> Vec<Alternative> {
    let translated = alternatives.into_iter().map(|alternative| {
        if !is_about_ports(&alternative) {
            return Some(alternative);
        }
        let Alternative { cube, choices } = alternative;
        let mut cube = translate(&cube);
        let choices = choices.iter();
        let choices = choices.map(|choice| choice.iter().map(translate).collect());
        cube.constrain(is_tracked()).then(|| Alternative {
            cube,
            choices: choices.collect(),
        })
    });
    translated.flatten().collect()
}

/// The normal form leaves no protocol to a choice.
fn is_about_ports(alternative: &Alternative) -> bool {
    let protocol = alternative.cube.get(Base::IpProto);
    let has_ports = protocol.is_some_and(|term| WITH_PORTS.contains(&term.value));
    let mut cubes = alternative.choices.iter().flatten();
    let asks_for_flags = alternative.cube.get(Base::TcpFlags).is_some()
        || cubes.any(|cube| cube.get(Base::TcpFlags).is_some());
    has_ports && !asks_for_flags
}

fn translate(cube: &Cube) -> Cube {
    let mut translated = Cube::default();
    for term in cube.terms() {
        let base = match term.base {
            Base::IpProto => Base::CtNwProto,
            Base::TcpSrc | Base::UdpSrc | Base::SctpSrc => Base::CtTpSrc,
            Base::TcpDst | Base::UdpDst | Base::SctpDst => Base::CtTpDst,
            other => other,
        };
        // The protocol is one, so no two terms become one.
        let _ = translated.constrain(Term { base, ..*term });
    }
    translated
}

fn is_tracked() -> Term {
    let mut segments = Symbol::CtTrk.whole().segments().into_iter();
    let segment = segments.next().expect("it is a bit of ct_state");
    let mask = 1 << segment.lsb;
    Term {
        base: segment.base,
        mask,
        value: mask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expr;
    use crate::expr::normalise;
    use crate::expr::resolve::{Nowhere, resolve};
    use crate::flows::flows;

    fn translated(text: &str) -> Vec<String> {
        let expr = Expr::parse(text).expect("a match");
        let resolved = resolve(&expr, &Nowhere).expect("no names");
        let alternatives = normalise(&resolved).expect("small");
        let flows = flows(&of_connections(alternatives), 1).into_iter();
        flows.map(|flow| flow.matches.to_string()).collect()
    }

    #[test]
    fn ports_are_those_of_the_connection() {
        for (text, expected) in [
            (
                "udp.dst == 53",
                &[
                    "ip,ct_state=+trk,ct_nw_proto=17,ct_tp_dst=53",
                    "ipv6,ct_state=+trk,ct_nw_proto=17,ct_tp_dst=53",
                ][..],
            ),
            (
                "ip4 && tcp && ct.new",
                &["ip,ct_state=+new+trk,ct_nw_proto=6"],
            ),
            ("ip4 && tcp.flags[1]", &["tcp,tcp_flags=+syn"]),
            ("icmp4 && ip4.src == 10.0.0.1", &["icmp,nw_src=10.0.0.1"]),
            ("ip4 && sctp && !ct.trk", &[]),
        ] {
            assert_eq!(translated(text), expected, "{text}");
        }
    }

    #[test]
    fn products_stay_products() {
        let text = "ip4.src == {10.0.0.1, 10.0.0.2, 10.0.0.3} && tcp.dst == {1, 2, 3}";
        let flows = translated(text);
        assert_eq!(flows.len(), 7, "{flows:?}");
        let all = flows.iter();
        for flow in all {
            assert!(
                flow.contains("ct_nw_proto=6") && !flow.contains("tcp_dst"),
                "{flow}"
            );
        }
    }
}
