//! Everything that must pass before a change lands, in the order in which failures cost least.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::workspace::{cargo, succeed};
use crate::{docs, fuzz, mutants, test, tidy};

/// What is done, and its name.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || {
        succeed(cargo("fmt").args(["--all", "--check"]))
    }),
    ("tidy", tidy::run),
    ("lints", || {
        lint(&["--workspace", "--all-targets"])?;
        lint(&test::LABS)
    }),
    ("generated pages", docs::check),
    ("tests", test::run_units),
    ("mutants of the store", || {
        mutants::run(&mutants::Options::default())
    }),
    ("tests end to end", test::run_end_to_end),
    ("fuzz targets, half a minute each", || {
        fuzz::run(&fuzz::Options::all(30))
    }),
];

fn lint(targets: &[&str]) -> Result<()> {
    succeed(
        cargo("clippy")
            .args(targets)
            .args(["--", "--deny", "warnings"]),
    )
}

/// Runs all checks and all tests; the times that the steps took stand at the end, or where one failed.
pub fn run() -> Result<()> {
    let mut times = String::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs();
        times += &format!("{seconds:>6} s  {name}\n");
        if outcome.is_err() {
            print!("\n== failed\n{times}");
        }
        outcome.with_context(|| format!("ci: {name}"))?;
    }
    print!("\n== all passed\n{times}");
    Ok(())
}
