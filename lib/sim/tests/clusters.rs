//! Clusters under faults, one run for each seed.
//!
//! `WEFT_SEED=n` runs one seed; `WEFT_SEEDS=n` runs the seeds up to n, and `WEFT_SEEDS=n-m` those
//! from n to m, on all cores.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::plan::{Bug, Plan};
use sim::world::{Report, World};

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

/// A run, of which a panic is a violation too.
fn run(plan: Plan) -> Result<Report, String> {
    let run = std::panic::catch_unwind(|| World::new(plan).run());
    run.unwrap_or_else(|_| Err("panicked".to_owned()))
}

/// Runs seeds on all cores. The violations, by seed, and what all runs were like together.
fn run_all(seeds: RangeInclusive<u64>) -> (BTreeMap<u64, String>, Report) {
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    let results = Mutex::new((BTreeMap::new(), Report::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return;
            }
            let run = run(Plan::of(seed));
            let mut results = results.lock().expect("nobody panics with the results");
            match run {
                Ok(report) => results.1.add(&report),
                Err(violation) => {
                    println!("seed {seed}: {violation}");
                    results.0.insert(seed, violation);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    results
        .into_inner()
        .expect("nobody panics with the results")
}

#[test]
fn seeds_hold() {
    let (seeds, start) = (seeds(), Instant::now());
    let (violations, total) = run_all(seeds.clone());
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
    assert!(total.answered > 0);
}

#[test]
fn a_seed_says_everything() {
    for seed in [3, 7] {
        let run = || World::new(Plan::of(seed)).run();
        assert_eq!(run(), run());
    }
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        (Bug::LyingDisk, ["lost", "other rows"]),
        (Bug::IgnoredFullDisk, ["lost", "other rows"]),
        (Bug::ForgottenName, ["applied 2 times", "not linearizable"]),
        (Bug::LocalReads, ["not linearizable", "not linearizable"]),
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
