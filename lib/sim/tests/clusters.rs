//! Clusters under faults, one run for each seed.
//!
//! `WEFT_SEED=n` runs one seed; `WEFT_SEEDS=n` runs the seeds up to n, and `WEFT_SEEDS=n-m` those
//! from n to m, on all cores.

use std::ops::RangeInclusive;
use std::time::Instant;

use sim::plan::{Bug, Plan};
use sim::runs::{run, run_all};
use sim::script::Script;
use sim::world::World;

/// So many seeds run by default.
const SEEDS: u64 = 100;
/// A planted bug must be found within so many seeds.
const SEEDS_PER_BUG: u64 = 40;

fn number(text: &str) -> u64 {
    text.parse()
        .expect("the variable holds a number, or two: 1-100")
}

/// The seeds to run: those of the environment, or the first ones.
fn seeds() -> RangeInclusive<u64> {
    if let Ok(seed) = std::env::var("WEFT_SEED") {
        return number(&seed)..=number(&seed);
    }
    match std::env::var("WEFT_SEEDS") {
        Ok(seeds) => match seeds.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => 1..=number(&seeds),
        },
        Err(_) => 1..=SEEDS,
    }
}

#[test]
fn seeds_hold() {
    let (seeds, start) = (seeds(), Instant::now());
    let (violations, total) = run_all(seeds.clone(), Plan::of);
    println!(
        "seeds {seeds:?}: {} violations, {} faults injected, {} operations answered in {:.0} s\n{total:#?}",
        violations.len(),
        total.injected(),
        total.answered,
        start.elapsed().as_secs_f64(),
    );
    if let Some((seed, violation)) = violations.first_key_value() {
        panic!(
            "{} of the seeds {seeds:?} show a violation; the first: {violation}\n\
             run it again: WEFT_SEED={seed} cargo test -p sim --test clusters seeds_hold",
            violations.len(),
        );
    }
    assert!(total.answered > 0 && total.own_read > 0 && total.counted > 0);
}

#[test]
fn a_seed_says_everything() {
    for seed in [3, 7] {
        let run = || World::new(Plan::of(seed)).run();
        assert_eq!(run(), run());
    }
}

/// What a member has is there without a leader, even while it takes itself for one and waits for
/// others.
#[test]
fn a_member_that_is_cut_off_says_what_it_has() {
    for leads in [true, false] {
        let script = || {
            let mut script = Script::begin(Plan::quiet(1, 3))?;
            script.write(3)?;
            let member = match leads {
                true => script.leader(),
                false => script.follower(),
            };
            script.isolate(member, true);
            if leads {
                script.begin_write(member)?;
            }
            script.read_locally(member)?;
            script.pass(10_000)?;
            script.read_locally(member)?;
            script.isolate(member, false);
            script.end()
        };
        assert_eq!(script(), Ok(()), "a leader: {leads}");
    }
}

/// A client that asks while the leadership is passed on is not refused, wherever it asks; nor if
/// nobody takes the leadership.
#[test]
fn a_handover_refuses_nobody() {
    for (at_leader, succeeds) in [(true, true), (false, true), (true, false), (false, false)] {
        let script = || {
            let mut script = Script::begin(Plan {
                clients: 4,
                ..Plan::quiet(1, 3)
            })?;
            script.write(1)?;
            let (leader, follower) = (script.leader(), script.follower());
            let heir = 6 - leader - follower;
            script.delay(heir, leader, 100);
            if !succeeds {
                script.stop(heir);
            }
            script.retire(leader)?;
            script.begin_unnamed_write(if at_leader { leader } else { follower })?;
            script.pass(5_000)?;
            assert_eq!(script.leader() == leader, !succeeds);
            assert_eq!(script.unnamed_requests(), 1, "it was refused");
            script.end()
        };
        assert_eq!(script(), Ok(()), "{at_leader} {succeeds}");
    }
}

/// Whoever is told that a transaction was canceled finds nothing of it; and what waits can be
/// canceled wherever it was asked for, whoever leads then.
#[test]
fn what_is_canceled_is_not_done() {
    for (waits, at_leader, leader_goes) in [
        (false, false, false),
        (false, true, false),
        (false, false, true),
        (true, false, false),
        (true, true, false),
        (true, false, true),
        (true, true, true),
    ] {
        let script = || {
            let mut script = Script::begin(Plan {
                clients: 4,
                ..Plan::quiet(1, 3)
            })?;
            script.write(1)?;
            let (leader, follower) = (script.leader(), script.follower());
            let member = if at_leader { leader } else { follower };
            if waits {
                script.begin_unnamed_wait(member)?;
                script.pass(100)?;
            } else {
                script.begin_unnamed_write(member)?;
                script.pass(1)?;
            }
            if leader_goes {
                script.retire(leader)?;
                script.pass(3)?;
            }
            script.cancel()?;
            script.until_unnamed_answered()?;
            script.pass(1_000)?;
            script.end()
        };
        let story =
            format!("it waits: {waits}, at the leader: {at_leader}, who goes: {leader_goes}");
        assert_eq!(script(), Ok(()), "{story}");
    }
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        (Bug::LyingDisk, ["lost", "other rows"]),
        (Bug::IgnoredFullDisk, ["lost", "other rows"]),
        (Bug::ForgottenName, ["applied 2 times", "not linearizable"]),
        (Bug::LocalReads, ["not linearizable", "not linearizable"]),
        (Bug::UncommittedReads, ["not committed", "other rows"]),
        (Bug::RoamingReads, ["an older state", "an older state"]),
        (
            Bug::RoamingWriters,
            ["its own transaction", "its own transaction"],
        ),
        (Bug::SharedLock, ["two own one lock", "two own one lock"]),
        (Bug::SkippedUpdate, ["watcher", "watcher"]),
        (Bug::Divergence, ["other rows", "watcher"]),
        (Bug::HalfApplied, ["a part of a transaction", "watcher"]),
    ];
    for (bug, expected) in bugs {
        let violation = (1..=SEEDS_PER_BUG).find_map(|seed| {
            let bug = Some(bug);
            let violation = run(Plan {
                bug,
                ..Plan::of(seed)
            })
            .err()?;
            let named = expected.iter().any(|word| violation.contains(word));
            named.then(|| format!("seed {seed}: {violation}"))
        });
        let violation = violation.unwrap_or_else(|| panic!("{bug:?} was not noticed"));
        println!("{bug:?}: {violation}");
    }
}
