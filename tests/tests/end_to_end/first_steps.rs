//! `docs/first-steps.md`, typed by somebody who has read nothing else: its lines, in one shell and in their order, print what the page
//! says.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::folder::Folder;
use tests::implementation::{python, weft_binary};
use tests::run::Run;

/// So long all of it may take.
const LIMIT: Duration = Duration::from_secs(300);
/// What is there already in a test: the programs are built, and Python has its packages.
const SKIPPED: [&str; 4] = [
    "cargo build",
    "export PATH=",
    "python3 -m venv",
    "$OVN_RUNDIR/venv/bin/pip",
];
/// What stands between the outputs of lines.
const END: &str = "-- so far --";

/// A line, and what it prints.
struct Step {
    line: String,
    expected: Vec<String>,
}

/// The lines with a prompt in the blocks of a page. One that ends with a backslash, or with `&&` as in a match, goes on in the next.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for text in page.lines() {
        if text.starts_with("```") {
            is_inside = text == "```console";
            continue;
        }
        if !is_inside {
            continue;
        }
        if let Some(line) = text.strip_prefix("$ ") {
            steps.push(Step {
                line: line.to_owned(),
                expected: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            match step.line.ends_with('\\') || step.line.ends_with("&&") {
                true => step.line = format!("{}\n{text}", step.line),
                false => step.expected.push(text.to_owned()),
            }
        }
    }
    let is_run = |step: &Step| !SKIPPED.iter().any(|skipped| step.line.starts_with(skipped));
    steps.into_iter().filter(is_run).collect()
}

/// Whether a line is as the page has it, where `…` stands for anything.
fn is_like(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

/// Whether lines are as the page has them, where a line `…` stands for any.
fn are_like(expected: &[String], lines: &[&str]) -> bool {
    match (expected, lines) {
        ([], lines) => lines.is_empty(),
        ([any, others @ ..], lines) if any == "…" => {
            (0..=lines.len()).any(|skipped| are_like(others, &lines[skipped..]))
        }
        ([first, others @ ..], [line, lines @ ..]) => {
            is_like(first, line) && are_like(others, lines)
        }
        _ => false,
    }
}

/// Ends what was started, if the page has not come to that.
struct Daemons<'d>(&'d Path);

impl Drop for Daemons<'_> {
    fn drop(&mut self) {
        for file in std::fs::read_dir(self.0).into_iter().flatten().flatten() {
            let path = file.path();
            let is_pid = path.extension().is_some_and(|extension| extension == "pid");
            if let Some(pid) = is_pid
                .then(|| std::fs::read_to_string(&path).ok())
                .flatten()
            {
                let _ = Command::new("kill").arg(pid.trim()).output();
            }
        }
    }
}

#[test]
fn who_follows_the_first_steps_comes_through() {
    if let Err(error) = follow() {
        panic!("{error:#}");
    }
}

fn follow() -> Result<()> {
    let folder = Folder::create()?;
    let home = folder.path();
    let run = home.join("weft");
    std::fs::create_dir(&run)?;
    let venv = python()?.ancestors().nth(2).map(Path::to_owned);
    symlink(
        venv.context("python is in an environment")?,
        run.join("venv"),
    )?;
    let _daemons = Daemons(&run);
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let steps = steps(&std::fs::read_to_string(
        source.join("docs/first-steps.md"),
    )?);
    ensure!(steps.len() > 20, "only {} lines were found", steps.len());
    let mut script = "exec 2>&1\n".to_owned();
    for step in &steps {
        script.push_str(&format!("{}\necho '{END}'\n", step.line));
    }
    let file = home.join("steps.sh");
    std::fs::write(&file, script)?;
    let programs = weft_binary("weft")?.canonicalize()?;
    let programs = programs.parent().context("it is in a folder")?;
    let path = std::env::var("PATH")?;
    let printed = Run::new("env")
        .arg("-C")
        .arg(&source)
        .arg("bash")
        .arg(&file)
        .env("HOME", home)
        .env("PATH", format!("{}:{path}", programs.display()))
        .within(LIMIT)
        .output()?;
    let end = format!("{END}\n");
    let mut printed = printed.split(&end);
    for Step { line, expected } in &steps {
        let printed = printed.next().unwrap_or_default();
        let lines: Vec<&str> = printed.lines().collect();
        ensure!(
            are_like(expected, &lines),
            "{line}\nprints\n{printed}\nand not\n{}",
            expected.join("\n")
        );
    }
    Ok(())
}

#[test]
fn the_page_is_read_as_it_is_meant() {
    let page = "text\n```console\n$ a\nx … z\n$ b \\\n    c &&\n d\n$ cargo build\n```\n```sh\n$ no\n```\n";
    let steps = steps(page);
    let lines: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
    assert_eq!(lines, ["a", "b \\\n    c &&\n d"]);
    assert_eq!(steps[0].expected, ["x … z"]);
    for (expected, line, is) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "ab", true),
        ("a…c…e", "abcde", true),
        ("a…c…f", "abcde", false),
        ("x … z", "y z", false),
    ] {
        assert_eq!(is_like(expected, line), is, "{expected} {line}");
    }
    let owned =
        |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
    assert!(are_like(&owned(&["…", "b"]), &["a", "a", "b"]));
    assert!(are_like(&owned(&["…"]), &[]));
    assert!(!are_like(&owned(&["…", "b"]), &["a"]));
    assert!(!are_like(&owned(&[]), &["a"]));
}
