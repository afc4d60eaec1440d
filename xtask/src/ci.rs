//! Everything that must pass before a change lands, in the order in which failures cost least.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::workspace::{cargo, succeed, target_directory};
use crate::{docs, test, tidy};

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
    (
        "tests end to end, mutants and fuzz targets beside them",
        || {
            let mut labs = test::build_end_to_end("")?;
            beside(|| succeed(&mut labs), &BESIDE)
        },
    ),
];

/// What only computes, and is done beside the end-to-end tests, which mostly wait: a task of this program with its options.
const BESIDE: [&[&str]; 2] = [&["mutants"], &["fuzz", "--seconds", "30"]];
/// These stand behind everybody else who wants a processor (nice).
const NICE: &str = "19";

/// Does something, and beside it tasks, one after the other, with as much of the processors as it leaves over. What a task
/// prints comes when it has ended.
fn beside(main: impl FnOnce() -> Result<()>, tasks: &[&[&str]]) -> Result<()> {
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let outcomes = tasks.iter().map(|task| in_background(task));
            outcomes.collect::<Vec<_>>()
        });
        let outcome = main();
        let others = others.join().expect("tasks do not panic");
        others.into_iter().chain([outcome]).collect()
    })
}

fn in_background(task: &[&str]) -> Result<()> {
    let name = task[0];
    let log = target_directory()?.join(format!("ci-{name}.log"));
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new("nice");
    command.args(["-n", NICE]).arg(std::env::current_exe()?);
    command
        .args(task)
        .stdout(output.try_clone()?)
        .stderr(output);
    let start = Instant::now();
    let status = command.status().context("cannot run nice")?;
    let said = fs::read(&log)?;
    println!(
        "\n== {name}, {} s, in the background\n{}",
        start.elapsed().as_secs(),
        String::from_utf8_lossy(&said)
    );
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

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
