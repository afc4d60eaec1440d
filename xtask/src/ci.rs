//! Everything that must pass before a change lands, in the order in which failures cost least.

use anyhow::Result;

use crate::workspace::{cargo, succeed};
use crate::{docs, fuzz, mutants, test, tidy};

/// Runs all checks and all tests.
pub fn run() -> Result<()> {
    step("format");
    succeed(cargo("fmt").args(["--all", "--check"]))?;
    step("tidy");
    tidy::run()?;
    step("lints");
    succeed(cargo("clippy").args(["--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    step("generated pages");
    docs::check()?;
    step("tests");
    test::run_units()?;
    step("mutants of the store");
    mutants::run(&mutants::Options::default())?;
    step("tests end to end");
    test::run_end_to_end()?;
    step("fuzz targets, a minute each");
    fuzz::run(&fuzz::Options::default())
}

fn step(name: &str) {
    println!("\n== {name}");
}
