//! Matches, and the matches of OpenFlow that they become.
//!
//! `corpus/flows.txt` has matches and below each, indented, its flows, or why it has none. With `BLESS=1` in the environment
//! the test writes it anew.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::fmt::Write as _;
use std::sync::Arc;

use lflow::expr::{Lookup, normalise, resolve};
use lflow::flows::{FlowMatch, Role, flows};
use lflow::{Expr, Int};

struct World;

impl Lookup for World {
    fn port(&self, name: &str) -> Option<u32> {
        ["a", "b", "c"]
            .iter()
            .zip(1..)
            .find(|(known, _)| **known == name)
            .map(|(_, key)| key)
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let addresses: &[&str] = match name {
            "web" => &["10.0.0.1", "10.0.0.2", "10.0.1.0/24", "fd00::1"],
            "empty" => &[],
            _ => return None,
        };
        Some(
            addresses
                .iter()
                .map(|text| Int::parse_address(text).unwrap())
                .collect(),
        )
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        (name == "pg").then(|| Arc::from([1, 3]))
    }

    fn is_resident(&self, port: &str) -> bool {
        port == "a"
    }
}

fn translate(text: &str) -> Result<Vec<FlowMatch>, String> {
    let expr = Expr::parse(text).map_err(|error| error.message)?;
    let resolved = resolve(&expr, &World).map_err(|error| error.to_string())?;
    let alternatives = normalise(&resolved).map_err(|error| error.to_string())?;
    Ok(flows(&alternatives, 1))
}

fn print(flow: &FlowMatch) -> String {
    match &flow.role {
        Role::Actions => flow.matches.to_string(),
        Role::Clauses(clauses) => clauses
            .iter()
            .fold(flow.matches.to_string(), |mut line, c| {
                write!(line, " -> conjunction({}, {}/{})", c.id, c.k + 1, c.n).unwrap();
                line
            }),
    }
}

#[test]
fn as_expected() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/flows.txt");
    let expected = std::fs::read_to_string(path).unwrap();
    let mut got = String::new();
    for text in expected.lines().filter(|line| !line.starts_with(' ')) {
        let mut lines = match translate(text) {
            Ok(flows) => flows.iter().map(print).collect(),
            Err(error) => vec![format!("error: {error}")],
        };
        lines.sort();
        writeln!(got, "{text}").unwrap();
        for line in lines {
            writeln!(
                got,
                "    {}",
                if line.is_empty() { "any packet" } else { &line }
            )
            .unwrap();
        }
    }
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(path, &got).unwrap();
    }
    assert_eq!(
        got, expected,
        "with BLESS=1 in the environment the file is written anew"
    );
}

#[test]
fn large_sets_cost_what_they_hold() {
    let addresses: Vec<_> = (0..1000u32)
        .map(|n| std::net::Ipv4Addr::from_bits(n * 7919).to_string())
        .collect();
    let set = addresses.join(", ");
    let count = |text: &str| translate(text).unwrap().len();
    assert_eq!(count(&format!("ip4.src == {{{set}}}")), 1000);
    assert_eq!(
        count(&format!("ip4.src == {{{set}}} && ip4.dst == {{{set}}}")),
        2001
    );
    assert_eq!(
        count(&format!(
            "ip4.src == {{{set}}} && tcp.dst == {{{}}}",
            "1, 2, 3, 4"
        )),
        1005
    );
    assert!(count(&format!("ip4.src != {{{set}}}")) < 32 * 1000);
    assert!(count("!ip6.mcast_all_rtrs") < 500);
}

#[test]
fn what_is_too_complex_is_refused() {
    let choice = |n: usize| {
        format!(
            "(tcp.dst == {n} || (udp.dst == {n} && reg{} == {n}))",
            n % 10
        )
    };
    let text: Vec<_> = (0..60).map(choice).collect();
    let nested: Vec<_> = (0..24)
        .map(|n| {
            format!(
                "(reg{} == 1 || (reg{} == 2 && {}))",
                n % 10,
                (n + 1) % 10,
                text[n]
            )
        })
        .collect();
    let error = translate(&nested.join(" && "));
    // Contradictions may leave nothing of it; what counts is that it ends, and soon.
    assert!(error.is_ok() || error.unwrap_err().contains("alternatives"));
}
