//! Any text: the parsers answer, and whatever they accept prints to a text that they read as the same.
//!
//! The texts are rows of words of the language, in any order, and pieces of real logical flows cut and glued at random
//! places: most are wrong in a new way, some are right.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use lflow::{Actions, Expr};
use proptest::prelude::*;

const CORPUS: &str = include_str!("../corpus/ovn-23.03.tsv");

const WORDS: &[&str] = &[
    "ip4",
    "ip6.src",
    "reg0",
    "xxreg1",
    "[0]",
    "[3..7]",
    "[",
    "]",
    "..",
    "inport",
    "outport",
    "\"lsp\"",
    "\"\\u0041\"",
    "\"",
    "==",
    "!=",
    "<",
    "<=",
    ">=",
    "<->",
    "=",
    "!",
    "&&",
    "||",
    "(",
    ")",
    "{",
    "}",
    ",",
    ";",
    ":",
    "-",
    "--",
    "0",
    "1",
    "255",
    "0xff",
    "10.0.0.1",
    "10.0.0.0/8",
    "fd00::/64",
    "::",
    "02:00:00:00:00:01",
    "99999999999999999999999",
    "$as",
    "@pg",
    "^T",
    "$",
    "//",
    "/*",
    "*/",
    "\n",
    "é",
    "\u{1}",
    "is_chassis_resident",
    "next",
    "output",
    "drop",
    "ip.ttl",
    "ct_commit",
    "ct_mark",
    "ct_lb_mark",
    "backends",
    "put_dhcp_opts",
    "offerip",
    "clone",
    "arp",
    "select",
    "log",
    "verdict",
    "allow",
    "table",
    "pipeline",
    "ingress",
    "eth.mcast",
    "tcp.dst",
    "ct.est",
    "icmp4.frag_mtu",
];

fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS);
    (prop::collection::vec(word, 0..24), prop::bool::ANY)
        .prop_map(|(words, spaced)| words.join(if spaced { " " } else { "" }))
}

/// Two pieces of the corpus.
fn glued() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = CORPUS.lines().flat_map(|line| line.split('\t')).collect();
    let piece = (prop::sample::select(lines), 0.0..1.0f64);
    (piece.clone(), piece).prop_map(|((a, at), (b, from))| {
        let cut = |text: &str, at: f64| text.len() * (at * 100.0) as usize / 100;
        format!("{}{}", &a[..cut(a, at)], &b[cut(b, from)..])
    })
}

fn check(text: &str) {
    match Expr::parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            assert_eq!(
                Expr::parse(&printed).as_ref(),
                Ok(&expr),
                "{text} printed as {printed}"
            );
        }
        Err(error) => assert!(error.to_string().lines().count() >= 3, "{error}"),
    }
    match Actions::parse(text) {
        Ok(actions) => {
            let printed = actions.to_string();
            assert_eq!(
                Actions::parse(&printed).as_ref(),
                Ok(&actions),
                "{text} printed as {printed}"
            );
        }
        Err(error) => assert!(error.to_string().lines().count() >= 3, "{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_in_any_order(text in soup()) {
        check(&text);
    }

    #[test]
    fn flows_cut_and_glued(text in glued()) {
        check(&text);
    }

    #[test]
    fn any_characters(text in ".{0,40}") {
        check(&text);
    }
}
