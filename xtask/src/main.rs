//! Everything that CI runs, runnable by hand: `cargo xtask setup | demo | test | bench | fuzz | docs | mutants | tidy | ci`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`setup`] | installs what the rig needs from the distribution |
//! | [`demo`] | builds the lab before the eyes of whoever looks, and prints who reaches whom |
//! | [`test`] | builds the binaries and runs every test there is |
//! | [`bench`] | measures Weft with OVN's daemons beside it |
//! | [`fuzz`] | runs the fuzz targets under libFuzzer |
//! | [`docs`] | writes the generated pages of the book, or checks them |
//! | [`mutants`] | shows that the tests of the store's museum fail on its mutants |
//! | [`tidy`] | who may depend on whom, circles between modules, unused dependencies, async code, long files |
//! | [`ci`] | all of it in the order in which failures cost least |
//! | [`workspace`] | where things are, and running cargo and privileged programs |

mod bench;
mod ci;
mod demo;
mod docs;
mod fuzz;
mod man;
mod mutants;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that CI runs, runnable by hand.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what demo, tests and benchmarks need: Open vSwitch, OVN, DHCP clients, …
    Setup,
    /// Build the lab on this machine and show who reaches whom
    Demo(demo::Options),
    /// Set up, build, and run every test
    Test(test::Options),
    /// Measure, with OVN's daemons beside ours
    Bench(bench::Options),
    /// Feed the fuzz targets with whatever libFuzzer thinks of
    Fuzz(fuzz::Options),
    /// Write the generated pages of docs/reference
    Docs(docs::Options),
    /// Show that each test of the museum (lib/sim) fails on the mutants of the store made for it
    Mutants(mutants::Options),
    /// Check dependency direction, module circles, unused dependencies, async code outside shells, file sizes, module docs
    Tidy,
    /// Everything that must pass before a change lands
    Ci,
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::compile() {
        return code;
    }
    let outcome = match Arguments::parse().task {
        Task::Setup => setup::run().and_then(|()| setup::clients()),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Docs(options) => docs::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Tidy => tidy::run(),
        Task::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
