//! Builds the binaries and runs every test: units and properties first, then the lab end to end.
//!
//! End-to-end tests run one at a time, because each is a whole system of its own, and as root, because they make
//! network namespaces; everything else, and all building, is done as whoever calls.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::setup;
use crate::workspace::{Profile, build_binaries, cargo, output, privileges, succeed};

/// The end-to-end tests, chosen by name and not by their package: so the features of the dependencies are those of the
/// whole workspace, and nothing is built once more for them.
pub const LABS: [&str; 3] = ["--workspace", "--test", "end_to_end"];

/// What to test.
#[derive(Args)]
pub struct Options {
    /// Only units and properties: no root, no namespaces
    #[arg(long, conflicts_with = "end_to_end")]
    units: bool,

    /// Only the end-to-end tests, or those whose name holds FILTER
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "")]
    end_to_end: Option<String>,
}

/// Runs the tests.
pub fn run(options: &Options) -> Result<()> {
    // Some properties have OVN's own programs as their oracle, so this is for units too.
    setup::run()?;
    if options.end_to_end.is_none() {
        succeed(cargo("test").arg("--workspace"))?;
    }
    if !options.units {
        end_to_end(options.end_to_end.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// Runs units and properties.
pub fn run_units() -> Result<()> {
    run(&Options {
        units: true,
        end_to_end: None,
    })
}

/// Runs all end-to-end tests.
pub fn run_end_to_end() -> Result<()> {
    run(&Options {
        units: false,
        end_to_end: Some(String::new()),
    })
}

fn end_to_end(filter: &str) -> Result<()> {
    setup::clients()?;
    let binaries = build_binaries(Profile::Dev)?;
    let mut test = cargo("test");
    test.args(LABS).arg("--no-fail-fast");
    succeed(as_root(&mut test, &binaries)?.args(["--", "--test-threads=1", filter]))
}

/// Runs one module of end-to-end tests with the binaries of a folder. If it fails, what it printed.
pub fn failure_of(
    name: &str,
    binaries: &Path,
    variables: &[(&str, &str)],
) -> Result<Option<String>> {
    setup::run()?;
    succeed(cargo("test").args(LABS).arg("--no-run"))?;
    let mut test = cargo("test");
    test.args(LABS).envs(variables.iter().copied());
    let told = as_root(&mut test, binaries)?
        .args(["--", "--nocapture", &format!("{name}::")])
        .output()?;
    let printed = [told.stdout, told.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Ok((!told.status.success()).then_some(printed))
}

fn as_root<'a>(test: &'a mut Command, binaries: &Path) -> Result<&'a mut Command> {
    test.env("WEFT_BIN_DIR", binaries);
    let privileges = privileges()?;
    if !privileges.is_empty() {
        test.env(runner_variable()?, privileges.join(" "));
    }
    Ok(test)
}

/// The variable by which cargo is told with what to run tests on this machine.
fn runner_variable() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    ))
}
