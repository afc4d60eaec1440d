//! Encodings, as `ovs-ofctl` would print them.
//!
//! `expected.txt` has, for each kind of datapath, actions and below them, indented, what they become. With `BLESS=1` in the
//! environment the test writes it anew.

use openflow::action::Actions as OfActions;

use super::*;

struct World;

impl Resources for World {
    fn port(&self, name: &str) -> Option<u32> {
        match name {
            "lsp1" => Some(5),
            "_MC_flood" => Some(32768),
            _ => None,
        }
    }

    fn group(&self, group: &Group) -> Option<u32> {
        u32::try_from(group.buckets.len()).ok()
    }

    fn rate_meter(&self, rate: u32, _: Option<u32>) -> Option<u32> {
        Some(rate)
    }

    fn named_meter(&self, name: &str) -> Option<u32> {
        (name == "m").then_some(9)
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        match name {
            "router" => Some((3, OptionType::Ipv4)),
            "lease_time" => Some((51, OptionType::Uint32)),
            _ => None,
        }
    }
}

/// What actions become in table 3 of the ingress pipeline, or the error.
fn encoded(datapath: DatapathKind, text: &str) -> String {
    let actions = Actions::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let context = Context {
        pipeline: Pipeline::Ingress,
        table: 3,
        datapath,
        cookie: 7,
        controller_meter: None,
        zero_snat: true,
        tables: &Tables::default(),
        resources: &World,
    };
    match encode(&actions, &context) {
        Ok(actions) => OfActions(&actions).to_string(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn as_expected() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/action/encode/expected.txt"
    );
    let expected = std::fs::read_to_string(path).unwrap();
    let mut got = String::new();
    let mut datapath = DatapathKind::Switch;
    for line in expected.lines() {
        match line {
            "# switch" => datapath = DatapathKind::Switch,
            "# router" => datapath = DatapathKind::Router,
            _ if line.starts_with(' ') => continue,
            _ => {}
        }
        got.push_str(line);
        got.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            got.push_str("    ");
            got.push_str(&encoded(datapath, line));
            got.push('\n');
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &got).unwrap();
    } else {
        assert_eq!(got, expected);
    }
}
