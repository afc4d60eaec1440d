//! Runs the fuzz targets under libFuzzer, which works with the stable compiler: the coverage that
//! guides it comes from LLVM's own pass, and needs no sanitizer.
//!
//! Only the crates of the workspace are built for it once more: cargo calls the compiler for them
//! through a wrapper, which is this program itself, and the wrapper asks for the coverage. A run
//! begins with the seeds in `fuzz/corpus` and with what earlier runs on this machine have found
//! interesting.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::setup;
use crate::workspace::{cargo, root, succeed, target_directory};

/// What makes the compiler tell libFuzzer which way a program goes.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// With this variable set, this program is the compiler's wrapper.
const WRAPPER: &str = "WEFT_FUZZ_COMPILER";
/// An input that takes longer, in seconds, is a finding.
const SLOW_SECONDS: u32 = 20;
/// So much memory an input may need, in MiB.
const MEMORY_MIB: u32 = 2048;
/// The longest input, in bytes.
const LONGEST: u32 = 16 << 10;

/// What to fuzz.
#[derive(Args)]
pub struct Options {
    /// One of the targets; all of them, if left out
    target: Option<String>,

    /// For how long each target is fuzzed
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// How many targets run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Fuzzes; an error if anything was found.
pub fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let mut names = targets()?;
    if let Some(wanted) = &options.target {
        ensure!(
            names.contains(wanted),
            "no fuzz target {wanted}; there are {}",
            names.join(", ")
        );
        names.retain(|name| name == wanted);
    }
    let home = target_directory()?.join("fuzz");
    let programs = build()?;
    let queue = Mutex::new(VecDeque::from(names));
    let failures = Mutex::new(Vec::new());
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    if let Err(error) = fuzz(&name, &programs, &home, options.seconds) {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{}", failures.join("\n")),
    }
}

/// The names of the targets: each has a program.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(root().join("fuzz/src/bin"))? {
        let path = file?.path();
        let name = path.file_stem().context("a file without a name")?;
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Stands in for the compiler, if cargo called this program for that: runs it with the coverage.
/// `None` if this is an ordinary call.
pub fn compile() -> Option<ExitCode> {
    std::env::var_os(WRAPPER)?;
    let mut arguments = std::env::args_os().skip(1);
    let mut compiler = Command::new(arguments.next()?);
    let arguments: Vec<_> = arguments.collect();
    // Build scripts run by themselves, without libFuzzer.
    let is_script = arguments.windows(2).any(|pair| {
        pair[0] == "--crate-name" && pair[1].to_string_lossy().starts_with("build_script")
    });
    let is_crate = arguments.iter().any(|argument| argument == "--crate-name");
    compiler.args(arguments);
    if is_crate && !is_script {
        compiler.args(COVERAGE);
    }
    let status = compiler.status();
    let code = status.ok().and_then(|status| status.code());
    let code = code.and_then(|code| u8::try_from(code).ok());
    Some(ExitCode::from(code.unwrap_or(1)))
}

fn build() -> Result<PathBuf> {
    let mut build = cargo("build");
    build
        .args(["--workspace", "--features=fuzz/libfuzzer"])
        .args(targets()?.iter().map(|name| format!("--bin={name}")))
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .env(WRAPPER, "1");
    succeed(&mut build)?;
    Ok(target_directory()?.join("debug"))
}

fn fuzz(name: &str, programs: &Path, home: &Path, seconds: u32) -> Result<()> {
    let place = |kind: &str| -> Result<PathBuf> {
        let place = home.join(kind);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        Ok(place)
    };
    let corpus = place(&format!("corpus/{name}"))?;
    let found = place("found")?.join(format!("{name}-"));
    let log = place("log")?.join(name);
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(programs.join(name));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOW_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-artifact_prefix={}", found.display()))
        .arg("-print_final_stats=1")
        .arg(&corpus)
        .arg(root().join("fuzz/corpus").join(name))
        .stdout(output.try_clone()?)
        .stderr(output);
    let words = root().join(format!("fuzz/dictionaries/{name}.txt"));
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    let status = command.status();
    let status = status.with_context(|| format!("cannot run the fuzz target {name}"))?;
    let said = fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        bail!(
            "{last}\nfuzz target {name} found something: mend it, and move the input, {}..., into \
             fuzz/corpus/{name}, where tests run it from then on",
            found.display()
        );
    }
    let runs = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .context("libFuzzer says nothing of its runs")?;
    println!(
        "fuzz: {name}: {} inputs in {seconds} s, nothing found",
        runs.trim()
    );
    Ok(())
}
