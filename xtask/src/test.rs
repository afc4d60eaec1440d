//! Builds the binaries and runs every test: units and properties first, then the lab end to end.
//!
//! End-to-end tests run one at a time, because each is a whole system of its own, and as root, because they make
//! network namespaces; everything else, and all building, is done as whoever calls.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::setup;
use crate::workspace::{Profile, build_binaries, cargo, executable, privileged, root, succeed};

/// The end-to-end tests, chosen by name and not by their package: so the features of the dependencies are those of the
/// whole workspace, and nothing is built once more for them.
pub const LABS: [&str; 3] = ["--workspace", "--test", "end_to_end"];

/// An example that they run.
const EXAMPLE: &str = "--example=watch_ports";

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
        let filter = options.end_to_end.as_deref().unwrap_or_default();
        succeed(&mut build_end_to_end(filter)?)?;
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

/// Builds the end-to-end tests and what they run: the program, as it is to be called.
pub fn build_end_to_end(filter: &str) -> Result<Command> {
    setup::run()?;
    setup::clients()?;
    let binaries = build_binaries(Profile::Dev)?;
    succeed(cargo("build").args(["--workspace", EXAMPLE]))?;
    let mut test = of_labs(&binaries)?;
    test.args(["--test-threads=1", filter]);
    Ok(test)
}

/// Runs one module of end-to-end tests with the binaries of a folder. If it fails, what it printed.
pub fn failure_of(
    name: &str,
    binaries: &Path,
    variables: &[(&str, &str)],
) -> Result<Option<String>> {
    setup::run()?;
    let mut test = of_labs(binaries)?;
    test.envs(variables.iter().copied());
    let told = test
        .args(["--nocapture", &format!("{name}::")])
        .output()
        .context("cannot run the end-to-end tests")?;
    let printed = [told.stdout, told.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Ok((!told.status.success()).then_some(printed))
}

/// The program of the end-to-end tests, built, as root and with the binaries of a folder. It is run as it is and not by
/// cargo, which would keep everybody else from building for as long as it has not begun.
fn of_labs(binaries: &Path) -> Result<Command> {
    let program = executable(cargo("test").args(LABS).arg("--no-run"), "end_to_end")?;
    let mut test = privileged(program)?;
    test.current_dir(root().join("tests"))
        .env("WEFT_BIN_DIR", binaries);
    Ok(test)
}
