//! Normal form against the letter of the language, on every packet of a small world.
//!
//! Random matches over a few narrow fields are evaluated twice on each packet that those fields allow: by the
//! interpreter, and by the flows they become, conjunctive matches included. Both must agree. Each flow must also carry
//! the prerequisites that OpenFlow asks for, and each match must print to a text that parses to an equal tree.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::cell::Cell;
use std::sync::Arc;

use lflow::expr::{Lookup, normalise, resolve};
use lflow::flows::{FlowMatch, Role, conjunctions, flows};
use lflow::interp::{State, matches};
use lflow::{Base, Expr, Int};
use openflow::{Field as OfField, Match, Prerequisite};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

struct World;

impl Lookup for World {
    fn port(&self, name: &str) -> Option<u32> {
        match name {
            "a" => Some(1),
            "b" => Some(2),
            "c" => Some(3),
            _ => None,
        }
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let set: &[u8] = match name {
            "none" => &[],
            "low" => &[1, 2],
            "high" => &[4, 5, 6, 7],
            _ => return None,
        };
        Some(set.iter().map(|n| Int::from(*n)).collect())
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        (name == "pg").then(|| Arc::from([1, 3]))
    }

    fn is_resident(&self, port: &str) -> bool {
        port == "a"
    }
}

/// All packets of the small world.
fn packets() -> Vec<State> {
    let mut packets = Vec::new();
    for eth_type in [0x800u128, 0x86dd, 0x806] {
        for proto in [6u128, 17] {
            for port in 0..8u128 {
                for reg0 in 0..4u128 {
                    for inport in 1..4u128 {
                        for (frag, dst, tci) in
                            [(0u128, 0u128, 0u128), (1, 1 << 40, 0x1000), (3, 2, 0x3001)]
                        {
                            let state = State::default()
                                .with(Base::EthType, eth_type)
                                .with(Base::IpProto, proto)
                                .with(Base::TcpDst, port)
                                .with(Base::UdpDst, port)
                                .with(Base::ArpOp, port)
                                .with(Base::Reg0, reg0)
                                .with(Base::Inport, inport)
                                .with(Base::IpFrag, frag)
                                .with(Base::EthDst, dst)
                                .with(Base::VlanTci, tci);
                            packets.push(state);
                        }
                    }
                }
            }
        }
    }
    packets
}

/// What the switch has in a field of a flow.
fn value(state: &State, field: OfField) -> u128 {
    match field {
        OfField::VlanVid => state.get(Base::VlanTci) & 0x1fff,
        OfField::VlanPcp => state.get(Base::VlanTci) >> 13,
        _ => {
            let base = Base::ALL.iter().find(|base| base.openflow() == field);
            state.get(*base.unwrap_or_else(|| panic!("no storage is {field:?}")))
        }
    }
}

fn meets(state: &State, matches: &Match) -> bool {
    let terms = matches
        .terms()
        .iter()
        .filter(|term| term.field != OfField::ConjId);
    terms
        .into_iter()
        .all(|term| value(state, term.field) & term.mask == term.value)
}

/// Whether the flows give the packet the actions.
fn accepted(state: &State, flows: &[FlowMatch]) -> bool {
    let mut met: Vec<(u32, u8)> = Vec::new();
    let mut sizes: Vec<(u32, u8)> = Vec::new();
    for flow in flows {
        if let Role::Clauses(clauses) = &flow.role {
            sizes.extend(clauses.iter().map(|c| (c.id, c.n)));
            if meets(state, &flow.matches) {
                met.extend(clauses.iter().map(|c| (c.id, c.k)));
            }
        }
    }
    let conjunction = |id: u32| {
        let n = sizes
            .iter()
            .find(|(known, _)| *known == id)
            .map_or(1, |(_, n)| *n);
        (0..n).all(|k| met.contains(&(id, k)))
    };
    flows
        .iter()
        .filter(|flow| flow.role == Role::Actions)
        .any(|flow| {
            let id = flow
                .matches
                .get(OfField::ConjId)
                .map(|term| u32::try_from(term.value).unwrap());
            meets(state, &flow.matches) && id.is_none_or(conjunction)
        })
}

/// What the switch would refuse a match for.
fn missing_prerequisite(matches: &Match) -> Option<OfField> {
    let is = |field: OfField, values: &[u128]| {
        let term = matches.get(field);
        term.is_some_and(|t| t.mask == field.full_mask() && values.contains(&t.value))
    };
    let ip = || is(OfField::EthType, &[0x800, 0x86dd]);
    let fine = |field: OfField| match field.prerequisite() {
        Prerequisite::None => true,
        Prerequisite::Ip => ip(),
        Prerequisite::Ip4 => is(OfField::EthType, &[0x800]),
        Prerequisite::Ip6 => is(OfField::EthType, &[0x86dd]),
        Prerequisite::Arp => is(OfField::EthType, &[0x806, 0x8035]),
        Prerequisite::Tcp => ip() && is(OfField::IpProto, &[6]),
        Prerequisite::Udp => ip() && is(OfField::IpProto, &[17]),
        Prerequisite::Vlan => matches
            .get(OfField::VlanVid)
            .is_some_and(|t| t.mask & t.value & 0x1000 != 0),
        other => panic!("the small world has no {other:?}"),
    };
    matches
        .terms()
        .iter()
        .map(|term| term.field)
        .find(|field| !fine(*field))
}

fn constants() -> impl Strategy<Value = String> {
    let number = || (0u8..8).prop_map(|n| n.to_string());
    prop_oneof![
        4 => number(),
        2 => prop::collection::vec(number(), 1..5).prop_map(|set| format!("{{{}}}", set.join(", "))),
        1 => (0u8..8, 0u8..8).prop_map(|(v, m)| format!("{v}/{m}")),
        1 => Just("$low".to_owned()),
        1 => Just("{$high, 1}".to_owned()),
        1 => Just("$none".to_owned()),
    ]
}

/// Relations of nominal fields: none of them may be excluded.
fn nominal() -> impl Strategy<Value = String> {
    let atoms = vec![
        "ip4",
        "ip6",
        "ip",
        "tcp",
        "udp",
        "arp",
        "inport == \"a\"",
        "inport == {\"b\", \"x\"}",
        "inport == @pg",
        "eth.type == {0x800, 0x806}",
        "ip.proto == {6, 17}",
        "arp.op == {1, 2}",
    ];
    prop::sample::select(atoms).prop_map(str::to_owned)
}

/// Relations of ordinal fields, and Boolean predicates.
fn ordinal() -> impl Strategy<Value = String> {
    let atoms = vec![
        "ip.is_frag",
        "ip.later_frag",
        "ip.first_frag",
        "vlan.present",
        "eth.mcast",
        "reg0[0]",
        "xxreg0[97]",
        "xreg0[33]",
        "is_chassis_resident(\"a\")",
        "is_chassis_resident(\"b\")",
        "0",
        "1",
        "vlan.pcp == 1",
        "reg0[0..1] != 2",
        "xxreg0[96..97] == {1, 2}",
        "eth.mcast == 0",
        "reg0 == 0.0.0.3/31",
        "!tcp.dst",
        "!reg0[0..1]",
        "1 <= tcp.dst <= 6",
        "2 < udp.dst < 6",
    ];
    let fields = vec!["tcp.dst", "tcp.dst[0..2]", "udp.dst[0..2]", "reg0[0..2]"];
    let relations = vec!["<", "<=", ">", ">="];
    let number = (0u8..8).prop_map(|n| n.to_string());
    let equality = prop::sample::select(vec!["==", "!="]);
    prop_oneof![
        3 => prop::sample::select(atoms).prop_map(str::to_owned),
        2 => (prop::sample::select(fields.clone()), equality, constants())
            .prop_map(|(field, relation, constants)| format!("{field} {relation} {constants}")),
        1 => (prop::sample::select(fields), prop::sample::select(relations), number)
            .prop_map(|(field, relation, constant)| format!("{field} {relation} {constant}")),
    ]
}

fn joined<S: Strategy<Value = String>>(part: S) -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(part, 2..5);
    (parts, prop::sample::select(vec![" && ", " || "]))
        .prop_map(|(parts, sign)| format!("({})", parts.join(sign)))
}

/// Texts of matches; a few are refused by the parser.
fn texts() -> impl Strategy<Value = String> {
    let negatable = ordinal().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![3 => joined(inner.clone()), 1 => inner.prop_map(|part| format!("!({part})"))]
    });
    let leaf = prop_oneof![1 => nominal(), 2 => negatable];
    leaf.prop_recursive(3, 12, 4, joined)
}

/// Checks one match on all packets. True when it needed a conjunctive match, nothing when it is too complex.
fn check(text: &str, expr: &Expr, packets: &[State]) -> Option<bool> {
    let printed = expr.to_string();
    assert_eq!(
        Expr::parse(&printed).as_ref(),
        Ok(expr),
        "{text} printed as {printed}"
    );
    let resolved = resolve(expr, &World).unwrap();
    let Ok(alternatives) = normalise(&resolved) else {
        return None;
    };
    let flows = flows(&alternatives, 100);
    for flow in &flows {
        let missing = missing_prerequisite(&flow.matches);
        assert_eq!(missing, None, "{text}: {:?}", flow.matches);
    }
    for state in packets {
        let expected = matches(expr, state, &World).unwrap();
        let got = accepted(state, &flows);
        assert_eq!(got, expected, "{text}\non {state:?}\nflows {flows:#?}");
    }
    Some(conjunctions(&alternatives) > 0)
}

#[test]
fn flows_accept_what_the_match_accepts() {
    let packets = packets();
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, b"the small world of normal forms.");
    let conjunctive = Cell::new(0);
    let (refused, complex) = (Cell::new(0), Cell::new(0));
    TestRunner::new_with_rng(config, rng)
        .run(&texts(), |text| {
            match Expr::parse(&text) {
                Ok(expr) => match check(&text, &expr, &packets) {
                    Some(conjunction) => {
                        conjunctive.set(conjunctive.get() + u32::from(conjunction));
                    }
                    None => complex.set(complex.get() + 1),
                },
                Err(_) => refused.set(refused.get() + 1),
            }
            Ok(())
        })
        .unwrap();
    assert!(
        refused.get() < 60,
        "most random matches must be meaningful, but {} were refused",
        refused.get()
    );
    assert!(
        complex.get() < 4,
        "{} random matches were too complex",
        complex.get()
    );
    assert!(
        conjunctive.get() > 5,
        "only {} of the random matches were conjunctive",
        conjunctive.get()
    );
}

#[test]
fn products_of_sets_become_conjunctions() {
    let packets = packets();
    for text in [
        "tcp.dst == {1, 2, 3, 4, 5} && inport == {\"a\", \"b\", \"c\"} && reg0[0..1] == {0, 1, 3}",
        "(tcp.dst == {1, 2, 3, 4, 5} || udp.dst == {1, 2, 4, 7}) && inport == {\"a\", \"b\", \"c\"}",
        "ip && tcp.dst == {1, 2, 3, 4, 5} && inport == {\"a\", \"b\", \"c\"} && !ip.later_frag",
        "(inport == {\"a\", \"b\", \"c\"} && tcp.dst == {1, 2, 4, 6, 7}) || (inport == {\"a\", \"c\"} && tcp.dst == {0, 3, 5, 6, 7})",
    ] {
        let expr = Expr::parse(text).unwrap();
        assert_eq!(check(text, &expr, &packets), Some(true), "{text}");
    }
}
