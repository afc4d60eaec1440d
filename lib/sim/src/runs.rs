//! Many runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Plan;
use crate::world::{Report, World};

/// A run, of which a panic is a violation too.
pub fn run(plan: Plan) -> Result<Report, String> {
    let run = std::panic::catch_unwind(|| World::new(plan).run());
    run.unwrap_or_else(|_| Err("panicked".to_owned()))
}

/// Runs seeds on all cores. The violations, by seed, and what all runs were like together.
pub fn run_all(
    seeds: RangeInclusive<u64>,
    plan: impl Fn(u64) -> Plan + Sync,
) -> (BTreeMap<u64, String>, Report) {
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    let results = Mutex::new((BTreeMap::new(), Report::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return;
            }
            let run = run(plan(seed));
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
