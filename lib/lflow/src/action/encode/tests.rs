//! Encodings, as `ovs-ofctl` would print them.
//!
//! `expected.txt` has, for each kind of datapath, actions and below them, indented, what they become. With `BLESS=1` in the
//! environment the test writes it anew.

use openflow::action::Actions as OfActions;
use packet::dhcp6::option::OptionType as Option6Type;

use super::*;
use crate::Expr;
use crate::action::protection;

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

    fn datapath(&self) -> u32 {
        0x0012_3456
    }

    fn is_resident(&self, port: &str) -> bool {
        port == "lsp1"
    }

    fn has_new_registers(&self) -> bool {
        false
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        match name {
            "router" => Some((3, OptionType::Ipv4)),
            "lease_time" => Some((51, OptionType::Uint32)),
            _ => None,
        }
    }

    fn dhcp6_option(&self, name: &str) -> Option<(u16, Option6Type)> {
        match name {
            "server_id" => Some((2, Option6Type::Mac)),
            "ia_addr" => Some((5, Option6Type::Ipv6)),
            "domain_search" => Some((24, Option6Type::Str)),
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

/// What is sent to the controllers passes the flow's meter, and all that is not merely logged or learned is known to profiles.
#[test]
fn what_goes_to_the_controllers_is_metered() {
    let expected = include_str!("expected.txt");
    let mut sent = 0;
    for line in expected.lines() {
        if line.is_empty() || line.starts_with([' ', '#']) {
            continue;
        }
        let actions = Actions::parse(line).unwrap_or_else(|error| panic!("{error}"));
        for datapath in [DatapathKind::Switch, DatapathKind::Router] {
            let context = Context {
                pipeline: Pipeline::Ingress,
                table: 3,
                datapath,
                cookie: 7,
                controller_meter: Some(77),
                zero_snat: true,
                tables: &Tables::default(),
                resources: &World,
            };
            let Ok(encoded) = encode(&actions, &context) else {
                continue;
            };
            let text = OfActions(&encoded).to_string();
            for message in text.split("controller(").skip(1) {
                sent += 1;
                assert!(message.contains("meter_id="), "{line}: {text}");
                let is_apart = ["log(", "put_fdb", "bind_vport"];
                let is_apart = is_apart.iter().any(|word| line.contains(word));
                let known = protection(&Expr::TRUE, &actions).is_some();
                assert!(known || is_apart, "no profile limits {line}");
            }
        }
    }
    assert!(sent > 0);
}

/// The group of the last action that chooses.
#[derive(Default)]
struct Recorder(std::cell::RefCell<Option<Group>>);

impl Resources for Recorder {
    fn port(&self, name: &str) -> Option<u32> {
        World.port(name)
    }

    fn group(&self, group: &Group) -> Option<u32> {
        *self.0.borrow_mut() = Some(group.clone());
        Some(1)
    }

    fn rate_meter(&self, rate: u32, burst: Option<u32>) -> Option<u32> {
        World.rate_meter(rate, burst)
    }

    fn named_meter(&self, name: &str) -> Option<u32> {
        World.named_meter(name)
    }

    fn datapath(&self) -> u32 {
        0x0012_3456
    }

    fn is_resident(&self, port: &str) -> bool {
        World.is_resident(port)
    }

    fn has_new_registers(&self) -> bool {
        false
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        World.dhcp_option(name)
    }

    fn dhcp6_option(&self, name: &str) -> Option<(u16, Option6Type)> {
        World.dhcp6_option(name)
    }
}

fn group_of(text: &str) -> Result<Group, EncodeError> {
    let recorder = Recorder::default();
    let context = Context {
        pipeline: Pipeline::Ingress,
        table: 3,
        datapath: DatapathKind::Switch,
        cookie: 7,
        controller_meter: None,
        zero_snat: true,
        tables: &Tables::default(),
        resources: &recorder,
    };
    let actions = Actions::parse(text).unwrap_or_else(|error| panic!("{error}"));
    encode(&actions, &context)?;
    Ok(recorder.0.take().expect("it chooses"))
}

/// Backends come and go a thousand times under clients that are told apart by their addresses: a client is moved only if its
/// backend has gone, or to one that has come. The switch chooses the bucket that weighs most with the client
/// (Open vSwitch, `group_best_live_bucket`); any hash of client and bucket shows the same.
#[test]
fn a_backend_that_comes_or_goes_moves_only_its_own_clients() {
    use std::collections::BTreeSet;
    use std::hash::{DefaultHasher, Hash, Hasher};

    let chosen = |group: &Group, client: u32| {
        let weight = |id: u32| {
            let mut hasher = DefaultHasher::new();
            (client, id).hash(&mut hasher);
            hasher.finish()
        };
        let best = group.buckets.iter().max_by_key(|bucket| weight(bucket.id));
        best.expect("there are some").actions.clone()
    };
    let group = |present: &BTreeSet<u32>| {
        let backends: Vec<String> = present.iter().map(|n| format!("10.0.0.{n}:80")).collect();
        let backends = backends.join(",");
        group_of(&format!(
            "ct_lb_mark(backends={backends}; hash_fields=\"ip_src\");"
        ))
        .expect("it is small")
    };
    let mut present: BTreeSet<u32> = (1..=5).collect();
    let mut before = group(&present);
    let mut random = 1u32;
    for change in 0..1_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let backend = 1 + (random >> 16) % 20;
        if !present.remove(&backend) || present.is_empty() {
            present.insert(backend);
        }
        let after = group(&present);
        let ids: BTreeSet<u32> = after.buckets.iter().map(|bucket| bucket.id).collect();
        assert_eq!(ids.len(), present.len());
        for client in 0..100 {
            let (old, new) = (chosen(&before, client), chosen(&after, client));
            let is_in = |group: &Group, actions: &[OfAction]| {
                group.buckets.iter().any(|bucket| bucket.actions == actions)
            };
            assert!(
                old == new || !is_in(&after, &old) || !is_in(&before, &new),
                "change {change} moved client {client} from one that stays to one that was there"
            );
        }
        before = after;
    }
}

#[test]
fn more_backends_than_fit_into_a_group_are_refused_and_named() {
    let backends = |count: u32| {
        let all = (0..count).map(|n| format!("10.0.{}.{}:80", n >> 8, n & 255));
        let all = all.collect::<Vec<_>>().join(",");
        group_of(&format!("ct_lb_mark(backends={all});"))
    };
    assert_eq!(backends(600).map(|group| group.buckets.len()), Ok(600));
    let error = backends(5_000).expect_err("too many");
    assert!(error.to_string().contains("5000"), "{error}");
}
