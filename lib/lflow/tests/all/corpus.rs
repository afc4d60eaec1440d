//! Every match and action that OVN's northd 23.03 wrote for a network of switches, routers, ACLs, load balancers, NAT,
//! DHCP, multicast and gateways must be read, print to a text that reads back equal, and become flows.
//!
//! `corpus/ovn-23.03.tsv` has one logical flow a line: match, tab, actions.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::sync::Arc;

use lflow::expr::{Lookup, normalise, resolve};
use lflow::flows::flows;
use lflow::{Actions, Expr, Int};

const CORPUS: &str = include_str!("../corpus/ovn-23.03.tsv");

/// A world in which every name means something.
struct Everything;

impl Lookup for Everything {
    fn port(&self, name: &str) -> Option<u32> {
        Some(
            name.bytes()
                .fold(1, |key, byte| key * 31 % 32_749 + u32::from(byte)),
        )
    }

    fn address_set(&self, _: &str) -> Option<Arc<[Int]>> {
        let addresses = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"];
        let mut set: Vec<_> = addresses
            .iter()
            .map(|ip| Int::from(ip.parse::<std::net::IpAddr>().unwrap()))
            .collect();
        set.push(Int::from(addr::Mac::from_u64(0x0200_0000_0001)));
        Some(set.into())
    }

    fn port_group(&self, _: &str) -> Option<Arc<[u32]>> {
        Some(Arc::from([1, 2, 3]))
    }

    fn is_resident(&self, _: &str) -> bool {
        true
    }
}

#[test]
fn all_matches_are_read_printed_and_become_flows() {
    let mut unchanged = 0;
    for line in CORPUS.lines() {
        let (text, _) = line.split_once('\t').unwrap();
        let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let printed = expr.to_string();
        assert_eq!(
            Expr::parse(&printed).as_ref(),
            Ok(&expr),
            "{text} printed as {printed}"
        );
        unchanged += usize::from(printed == text);
        let resolved = resolve(&expr, &Everything).unwrap();
        let alternatives = normalise(&resolved).unwrap();
        assert!(
            text.contains("is_chassis_resident") || !flows(&alternatives, 1).is_empty(),
            "{text} has no flows"
        );
    }
    assert!(
        unchanged * 2 > CORPUS.lines().count(),
        "only {unchanged} matches print as they were written"
    );
}

/// What the 23.03 corpus has no example of: northd 26.03 writes a router port's own address where it means its network.
#[test]
fn a_router_ports_address_may_stand_for_its_network() {
    for (written, meant) in [
        (
            "flags.network_id == 2 && reg0 == 192.168.2.1/24 && outport == \"lr0-sw1\"",
            "flags.network_id == 2 && reg0 == 192.168.2.0/24 && outport == \"lr0-sw1\"",
        ),
        (
            "xxreg0 == fd02::1/64 && outport == \"lr0-sw1\"",
            "xxreg0 == fd02::/64 && outport == \"lr0-sw1\"",
        ),
        (
            "ip4.src == 192.168.1.9/28 && !ip.is_frag",
            "ip4.src == 192.168.1.0/28 && !ip.is_frag",
        ),
    ] {
        let [written, meant] = [written, meant].map(|text| {
            let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
            flows(
                &normalise(&resolve(&expr, &Everything).unwrap()).unwrap(),
                1,
            )
        });
        assert_eq!(written, meant);
    }
}

#[test]
fn all_actions_are_read_and_printed() {
    for line in CORPUS.lines() {
        let (_, text) = line.split_once('\t').unwrap();
        let actions = Actions::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let printed = actions.to_string();
        assert_eq!(
            Actions::parse(&printed).as_ref(),
            Ok(&actions),
            "{text} printed as {printed}"
        );
    }
}
