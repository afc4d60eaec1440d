//! Open vSwitch accepts what the flows of a real northd become: matches with their prerequisites, and actions.
//!
//! The judge is `ovs-ofctl parse-flows`, which checks flows as the switch does.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;

use lflow::action::{Context, DatapathKind, EncodeError, Resources, Tables, encode, prerequisites};
use lflow::expr::{Lookup, normalise, resolve};
use lflow::flows::{Role, flows};
use lflow::{Actions, Expr, Int, Pipeline};
use openflow::Action as OfAction;
use openflow::action::Actions as OfActions;
use openflow::message::Group;
use packet::dhcp4::option::OptionType;
use packet::dhcp6::option::OptionType as Option6Type;

const CORPUS: &str = include_str!("../corpus/ovn-23.03.tsv");

struct Everything;

impl Lookup for Everything {
    fn port(&self, name: &str) -> Option<u32> {
        Some(
            name.bytes()
                .fold(1, |key, byte| key * 31 % 32_749 + u32::from(byte)),
        )
    }

    fn address_set(&self, _: &str) -> Option<Arc<[Int]>> {
        let addresses = [
            "10.0.0.1",
            "10.0.0.2",
            "fd00::1",
            "fd00::2",
            "02:00:00:00:00:01",
        ];
        Some(
            addresses
                .iter()
                .map(|text| Int::parse_address(text).unwrap())
                .collect(),
        )
    }

    fn port_group(&self, _: &str) -> Option<Arc<[u32]>> {
        Some(Arc::from([1, 2, 3]))
    }

    fn is_resident(&self, _: &str) -> bool {
        true
    }
}

impl Resources for Everything {
    fn port(&self, name: &str) -> Option<u32> {
        Lookup::port(self, name)
    }

    fn group(&self, group: &Group) -> Option<u32> {
        u32::try_from(group.buckets.len()).ok()
    }

    fn rate_meter(&self, _: u32, _: Option<u32>) -> Option<u32> {
        Some(1)
    }

    fn named_meter(&self, _: &str) -> Option<u32> {
        Some(2)
    }

    fn datapath(&self) -> u32 {
        5
    }

    fn is_resident(&self, _: &str) -> bool {
        true
    }

    fn has_new_registers(&self) -> bool {
        false
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        Some(match name {
            "lease_time" => (51, OptionType::Uint32),
            "mtu" => (26, OptionType::Uint16),
            "ip_forward_enable" => (19, OptionType::Bool),
            "domain_name" | "hostname" | "bootfile_name" => (15, OptionType::Str),
            "domain_search_list" => (119, OptionType::Domains),
            "classless_static_route" => (121, OptionType::StaticRoutes),
            "tftp_server_address" => (150, OptionType::Ipv4),
            _ => (3, OptionType::Ipv4),
        })
    }

    fn dhcp6_option(&self, name: &str) -> Option<(u16, Option6Type)> {
        Some(match name {
            "server_id" => (2, Option6Type::Mac),
            "domain_search" | "bootfile_name" => (24, Option6Type::Str),
            "fqdn" => (39, Option6Type::Domain),
            _ => (5, Option6Type::Ipv6),
        })
    }
}

/// The flows of the corpus as text, and the names of actions that have no encoding.
fn corpus() -> (String, BTreeSet<String>) {
    let (mut text, mut unsupported) = (String::new(), BTreeSet::new());
    let tables = Tables::default();
    for (line, priority) in CORPUS.lines().zip(1u16..) {
        let (matches, actions) = line.split_once('\t').unwrap();
        let actions = Actions::parse(actions).unwrap();
        let context = Context {
            pipeline: Pipeline::Ingress,
            table: 10,
            datapath: DatapathKind::Router,
            cookie: 0,
            controller_meter: None,
            zero_snat: true,
            tables: &tables,
            resources: &Everything,
        };
        let encoded = match encode(&actions, &context) {
            Ok(encoded) => encoded,
            Err(EncodeError::Unsupported(name)) => {
                unsupported.insert(name.to_owned());
                continue;
            }
            Err(error) => panic!("{error}: {actions}"),
        };
        let expr = Expr::parse(matches).unwrap() & prerequisites(&actions);
        let alternatives = normalise(&resolve(&expr, &Everything).unwrap()).unwrap();
        for flow in flows(&alternatives, 1) {
            let actions = match flow.role {
                Role::Actions => encoded.clone(),
                Role::Clauses(clauses) => {
                    let clauses = clauses.into_iter().map(|c| OfAction::Conjunction {
                        id: c.id,
                        clause: c.k,
                        n_clauses: c.n,
                    });
                    clauses.collect()
                }
            };
            let actions = OfActions(&actions);
            let comma = if flow.matches.is_empty() { "" } else { "," };
            writeln!(
                text,
                "priority={priority}{comma}{} actions={actions}",
                flow.matches
            )
            .unwrap();
        }
    }
    (text, unsupported)
}

#[test]
fn the_switch_accepts_the_corpus() {
    let (text, unsupported) = corpus();
    let unsupported: Vec<_> = unsupported.iter().map(String::as_str).collect();
    assert_eq!(unsupported, Vec::<&str>::new());
    let path = std::env::temp_dir().join(format!("weft-lflow-{}.flows", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let output = Command::new("ovs-ofctl")
        .args(["-O", "OpenFlow15", "parse-flows"])
        .arg(&path)
        .output()
        .expect("Open vSwitch is installed, as cargo xtask setup does");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{complaint}"
    );
    std::fs::remove_file(&path).unwrap();
}
