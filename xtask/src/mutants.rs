//! Mutants of the store, and the museum that has to tell them from the real one.
//!
//! `lib/sim/mutants.txt` lists mistakes that can be made in the store: a text that stands there, and
//! another in its place. The store and its simulator are copied into the target directory, all the
//! mistakes are put into the copy, and an environment variable says which of them is at work. So
//! there is one build for all mutants, and the store itself knows nothing of them.
//!
//! With `--processes` it is a server of the copy that real processes run, with one mutant at work, and
//! the test of real processes under faults (`tests/tests/cluster_faults`) has to fail.
//!
//! First the museum must pass on the copy with none at work; then the test of each mutant must fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::test;
use crate::workspace::{Profile, build_binaries, executable, root, succeed};

/// The list, from the top of the workspace.
const LIST: &str = "lib/sim/mutants.txt";
/// What is copied.
const CRATES: [&str; 4] = ["lib/store", "lib/sim", "lib/serve", "nb-db"];
/// The server of the copy, which must not be taken for the real one.
const SERVER: &str = "weft-nb";
const MUTATED_SERVER: &str = "weft-nb-mutants";
/// So many faults real processes get with a mutant at work, unless `WEFT_FAULTS` says otherwise.
const FAULTS: &str = "120";
/// Which mutant is at work.
const VARIABLE: &str = "WEFT_MUTANT";

/// What the copy of the store has besides.
const SWITCH: &str = r#"
/// Whether a mistake is to be made.
pub fn mutant(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("WEFT_MUTANT").ok());
    chosen.as_deref() == Some(name)
}
"#;

/// Which mutants, and how they are found.
#[derive(Args, Default)]
pub struct Options {
    /// Let real processes run with this mutant at work: the test cluster_faults must fail
    #[arg(long, value_name = "MUTANT")]
    processes: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
struct Mutant {
    name: String,
    changes: Vec<Change>,
}

#[derive(Debug, Default, PartialEq)]
struct Change {
    file: String,
    old: String,
    new: String,
}

/// Shows that every mutant is found, or one of them.
pub fn run(options: &Options) -> Result<()> {
    let list = fs::read_to_string(root().join(LIST)).with_context(|| LIST)?;
    let mutants = parse(&list)?;
    let scratch = target_directory().join("mutants");
    copy_workspace(&scratch)?;
    mutate(&scratch, &mutants)?;
    if let Some(name) = &options.processes {
        ensure!(
            mutants.iter().any(|mutant| mutant.name == *name),
            "{LIST} has no mutant {name}"
        );
        return run_processes(&scratch, name);
    }
    let museum = &["test", "-p", "sim", "--test", "museum", "--no-run"];
    let museum = build(&scratch, museum, "museum")?;
    succeed(&mut Command::new(&museum)).context("the museum, with no mutant at work")?;
    let survivors: Vec<&str> = mutants
        .iter()
        .filter(|mutant| survives(&museum, mutant))
        .map(|mutant| &*mutant.name)
        .collect();
    ensure!(
        survivors.is_empty(),
        "no test of the museum fails with these mutants at work: {}",
        survivors.join(", ")
    );
    println!("{} mutants, all found", mutants.len());
    Ok(())
}

/// Reads the list: see its head.
fn parse(list: &str) -> Result<Vec<Mutant>> {
    enum Part {
        Prose,
        Old,
        New,
    }
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut part = Part::Prose;
    for (number, line) in list.lines().enumerate() {
        let number = number + 1;
        if let Some(name) = line.strip_prefix("== ") {
            mutants.push(Mutant {
                name: name.to_owned(),
                changes: Vec::new(),
            });
            part = Part::Prose;
            continue;
        }
        let Some(mutant) = mutants.last_mut() else {
            continue;
        };
        if let Some(file) = line.strip_prefix("-- ") {
            mutant.changes.push(Change {
                file: file.to_owned(),
                ..Change::default()
            });
            part = Part::Old;
            continue;
        }
        let Some(change) = mutant.changes.last_mut() else {
            continue;
        };
        match part {
            Part::Old if line == "++" => part = Part::New,
            Part::Old => change.old.extend([line, "\n"]),
            Part::New => change.new.extend([line, "\n"]),
            Part::Prose => bail!("{LIST}:{number}: prose comes before the changes"),
        }
    }
    for mutant in &mut mutants {
        ensure!(
            !mutant.changes.is_empty(),
            "{LIST}: {} is no mutant: nothing changes",
            mutant.name
        );
        let condition = format!("crate::mutant(\"{}\")", mutant.name);
        for change in &mut mutant.changes {
            change.old.truncate(change.old.trim_end().len());
            change.new.truncate(change.new.trim_end().len());
            ensure!(
                change.new.contains("MUTANT"),
                "{LIST}: {} changes {} whether it is at work or not",
                mutant.name,
                change.file
            );
            change.new = change.new.replace("MUTANT", &condition);
        }
    }
    Ok(mutants)
}

fn target_directory() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(chosen.unwrap_or_else(|| "target".into()))
}

/// A workspace of the copies; all other crates are those of the real one.
fn copy_workspace(scratch: &Path) -> Result<()> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let members = format!("members = {CRATES:?}");
    let lines = manifest.lines().map(|line| {
        if line.starts_with("members = ") {
            return members.clone();
        }
        match line.split_once("path = \"") {
            Some((start, path))
                if !CRATES
                    .iter()
                    .any(|copied| path.starts_with(&format!("{copied}\""))) =>
            {
                format!("{start}path = \"{}/{path}", root().display())
            }
            _ => line.to_owned(),
        }
    });
    let manifest: Vec<String> = lines.collect();
    for copied in CRATES {
        let there = scratch.join(copied);
        if there.exists() {
            fs::remove_dir_all(&there)?;
        }
        copy(&root().join(copied), &there)?;
    }
    fs::write(scratch.join("Cargo.toml"), manifest.join("\n"))?;
    let server = scratch.join("nb-db/Cargo.toml");
    let manifest = server_manifest(&fs::read_to_string(&server)?);
    fs::write(server, manifest)?;
    fs::copy(root().join("Cargo.lock"), scratch.join("Cargo.lock"))?;
    Ok(())
}

/// The server's manifest with another name for the binary, and without what its tests need: that
/// would bring the real store besides.
fn server_manifest(manifest: &str) -> String {
    let name = format!("name = \"{SERVER}\"");
    let renamed = manifest.replace(&name, &format!("name = \"{MUTATED_SERVER}\""));
    let mut of_tests = false;
    let lines = renamed.lines().filter(|line| {
        if line.starts_with('[') {
            of_tests = *line == "[dev-dependencies]";
        }
        !of_tests
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let (entry, to) = (entry?, to);
        let there = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &there)?,
            false => drop(fs::copy(entry.path(), there)?),
        }
    }
    Ok(())
}

/// Puts all mistakes into the copy.
fn mutate(scratch: &Path, mutants: &[Mutant]) -> Result<()> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for mutant in mutants {
        for change in &mutant.changes {
            let path = scratch.join(&change.file);
            let text = match texts.remove(&*change.file) {
                Some(text) => text,
                None => fs::read_to_string(&path).with_context(|| path.display().to_string())?,
            };
            let places = text.matches(&change.old).count();
            ensure!(
                places == 1,
                "{LIST}: the text that {} changes stands {places} times in {}, not once: bring \
                 the mutant up to date\n{}",
                mutant.name,
                change.file,
                change.old
            );
            texts.insert(&change.file, text.replace(&change.old, &change.new));
        }
    }
    for (file, text) in texts {
        fs::write(scratch.join(file), text)?;
    }
    let library = scratch.join("lib/store/src/lib.rs");
    let text = fs::read_to_string(&library)? + SWITCH;
    fs::write(library, text)?;
    Ok(())
}

/// Shows that real processes with a mutant at work are found out.
fn run_processes(scratch: &Path, mutant: &str) -> Result<()> {
    let server = &["build", "-p", "nb-db", "--bins"];
    let server = build(scratch, server, MUTATED_SERVER)?;
    let binaries = build_binaries(Profile::Dev)?;
    let folder = scratch.join("bin");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    std::os::unix::fs::symlink(binaries.join("weft"), folder.join("weft"))?;
    std::os::unix::fs::symlink(server, folder.join(SERVER))?;
    let faults = env::var("WEFT_FAULTS").unwrap_or_else(|_| FAULTS.to_owned());
    let variables = [(VARIABLE, mutant), ("WEFT_FAULTS", &faults)];
    let printed = test::failure_of("cluster_faults", &folder, &variables)?;
    let printed = printed
        .with_context(|| format!("{mutant}: NOT FOUND by real processes under {faults} faults"))?;
    // Not that the cluster did not start, or nobody could be hurt.
    let violation = printed.lines().find(|line| line.contains(", in round "));
    let violation = violation
        .with_context(|| format!("the test failed before anything was checked:\n{printed}"))?;
    println!("{mutant}: found by real processes: {violation}");
    Ok(())
}

/// Builds something of the copies; where is it?
fn build(scratch: &Path, arguments: &[&str], target: &str) -> Result<PathBuf> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(arguments)
        .current_dir(scratch)
        .env("CARGO_TARGET_DIR", target_directory());
    executable(&mut command, target)
}

/// Whether the museum does not notice.
fn survives(museum: &Path, mutant: &Mutant) -> bool {
    let test = mutant.name.split('/').next().unwrap_or_default();
    let status = Command::new(museum)
        .args([test, "--exact"])
        .env(VARIABLE, &mutant.name)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let survives = status.is_ok_and(|status| status.success());
    println!(
        "{}: {}",
        mutant.name,
        if survives { "NOT FOUND" } else { "found" }
    );
    survives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mutated_server_is_not_taken_for_the_real_one() {
        let manifest = "[dev-dependencies]\nreplica = 1\n\n[[bin]]\nname = \"weft-nb\"\n";
        let expected = "[[bin]]\nname = \"weft-nb-mutants\"";
        assert_eq!(server_manifest(manifest), expected);
    }

    #[test]
    fn a_list_is_read() {
        let list = "Head.\n\n== a/b\nProse.\n-- file.rs\n  old\n++\n  if MUTANT { x }\n\n";
        let mutants = parse(list).unwrap();
        let change = Change {
            file: "file.rs".to_owned(),
            old: "  old".to_owned(),
            new: "  if crate::mutant(\"a/b\") { x }".to_owned(),
        };
        let expected = Mutant {
            name: "a/b".to_owned(),
            changes: vec![change],
        };
        assert_eq!(mutants, [expected]);
        assert!(parse("== a\nNothing changes.\n").is_err());
        assert!(parse("== a\n-- f\nold\n++\nnew\n").is_err());
    }
}
