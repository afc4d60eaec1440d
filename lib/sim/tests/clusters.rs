//! Clusters of one, three and five members under faults.
//!
//! `WEFT_SEED=n` runs one seed and says what happened; `WEFT_SEEDS=n` runs so many of each kind.

use std::collections::BTreeMap;

use sim::world::{Bug, Plan, Report, World};

/// So many seeds of each kind run by default.
const SEEDS: u64 = 12;

fn plan(seed: u64, members: u64, membership: bool) -> Plan {
    Plan {
        seed,
        members,
        clients: 6,
        faults_ms: 20_000,
        log_entries: if seed.is_multiple_of(2) { 40 } else { 400 },
        membership,
        bug: None,
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("the variable holds a number"))
}

fn run(members: u64, membership: bool) {
    let seeds = match (number("WEFT_SEED"), number("WEFT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 1..count.unwrap_or(SEEDS) + 1,
    };
    let mut total = Report::default();
    for seed in seeds.clone() {
        let report = World::new(plan(seed, members, membership)).run();
        let report = report.unwrap_or_else(|violation| {
            panic!(
                "{violation}\nrun it again: WEFT_SEED={seed} cargo test -p sim --test clusters \
                 {}",
                std::thread::current().name().unwrap_or_default()
            )
        });
        total.events += report.events;
        total.answered += report.answered;
        total.snapshots += report.snapshots;
        for (fault, count) in report.faults {
            *total.faults.entry(fault).or_default() += count;
        }
    }
    println!("{seeds:?}: {total:?}");
    assert!(total.answered > 0);
}

#[test]
fn one_member() {
    run(1, false);
}

#[test]
fn three_members() {
    run(3, false);
}

#[test]
fn five_members() {
    run(5, false);
}

#[test]
fn members_come_and_go() {
    run(3, true);
}

#[test]
fn a_seed_says_everything() {
    let run = || World::new(plan(7, 3, true)).run();
    assert_eq!(run(), run());
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        (Bug::LyingDisk, "lost"),
        (Bug::ForgottenName, "applied 2 times"),
        (Bug::LocalReads, "not linearizable"),
        (Bug::SkippedUpdate, "watcher"),
        (Bug::Divergence, "other rows"),
    ];
    for (bug, expected) in bugs {
        let mut found = BTreeMap::new();
        for seed in 1..=30 {
            let bugged = Plan {
                bug: Some(bug),
                ..plan(seed, 3, false)
            };
            if let Err(violation) = World::new(bugged).run() {
                found.insert(seed, violation);
                break;
            }
        }
        assert!(!found.is_empty(), "{bug:?} was not noticed");
        println!("{bug:?} ({expected}): {found:?}");
    }
}
