//! Keeps the house clean: who may depend on whom, where async code may be, how long files may get, that every file says
//! what it is, that modules point one way, and that dependencies are used. What it finds it prints, one line each; when it prints nothing, all is well.

mod circles;
mod modules;
mod unused;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{metadata, root};

/// The shared crates, each of which may use only those before it.
const LIBRARIES: &[&str] = &[
    "addr",
    "packet",
    "openflow",
    "ovsdb",
    "lflow",
    "table",
    "incr",
    "relations",
    "tls",
    "socket",
    "rpc",
    "store",
    "northbound",
    "objects",
    "client",
    "replica",
    "daemon",
    "serve",
    "sim",
];
/// The schemas that a shared crate is about, and so may use.
const SCHEMAS: &[(&str, &str)] = &[("northbound", "nb-db"), ("objects", "nb-db")];
/// The crates on which nothing depends.
const ENDS: &[&str] = &["northd", "controller", "ctl", "api"];
/// What a crate must not know.
const IGNORANCE: &[(&str, &[&str])] = &[
    ("northd", &["openflow", "packet", "store"]),
    ("controller", &["nb-db", "store"]),
];
/// The crates of the runtime and of RPC, which only shells may name.
const ASYNC_CRATES: &[&str] = &["tokio", "tonic"];
/// The shells: paths and names of files. The command line is one process from top to bottom; its shells are its
/// connections.
const SHELL_FOLDERS: &[&str] = &[
    "lib/rpc/",
    "lib/client/",
    "lib/socket/",
    "lib/daemon/",
    "lib/store/src/server/",
    "lib/replica/src/connection/",
    "ctl/src/explain/connection.rs",
    "ctl/src/run/connection.rs",
    "ctl/src/transfer/server.rs",
    "ctl/src/cluster/",
    "api/src/doors/",
];
const SHELL_FILES: &[&str] = &["daemon.rs", "main.rs"];
/// How many lines a file may have: beyond, it is a room that wants a wall.
const MOST_LINES: usize = 1000;

/// Checks everything; an error if something was found.
pub fn run() -> Result<()> {
    let metadata = metadata()?;
    let mut findings = check_dependencies(&dependencies(&metadata)?);
    findings.extend(circles::check(root(), &metadata)?);
    findings.extend(unused::check(&metadata)?);
    for file in source_files(root())? {
        let text = fs::read_to_string(root().join(&file))?;
        findings.extend(check_file(&file.to_string_lossy(), &text));
    }
    match findings.len() {
        0 => Ok(()),
        count => {
            findings.iter().for_each(|finding| println!("{finding}"));
            bail!("{count} things to tidy up");
        }
    }
}

/// One crate of the workspace uses another.
#[derive(Debug)]
struct Dependency {
    user: String,
    used: String,
    for_tests_only: bool,
}

fn dependencies(metadata: &Value) -> Result<Vec<Dependency>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let mut dependencies = Vec::new();
    for package in packages {
        // Those of the workspace are the ones that have a path.
        let own = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|used| used["path"].is_string());
        for used in own {
            dependencies.push(Dependency {
                user: package["name"]
                    .as_str()
                    .context("a package without name")?
                    .to_owned(),
                used: used["name"]
                    .as_str()
                    .context("a dependency without name")?
                    .to_owned(),
                for_tests_only: used["kind"] == "dev",
            });
        }
    }
    Ok(dependencies)
}

fn check_dependencies(dependencies: &[Dependency]) -> Vec<String> {
    let rank = |name: &str| LIBRARIES.iter().position(|library| *library == name);
    let mut findings = Vec::new();
    for Dependency {
        user,
        used,
        for_tests_only,
    } in dependencies
    {
        if ENDS.contains(&used.as_str()) && user != used {
            findings.push(format!(
                "{user} depends on {used}, on which nothing may depend"
            ));
        }
        let ignorant = IGNORANCE
            .iter()
            .any(|(name, unknown)| name == user && unknown.contains(&used.as_str()));
        if ignorant && !for_tests_only {
            findings.push(format!("{user} depends on {used}, which it must not know"));
        }
        match (rank(user), rank(used)) {
            (Some(_), None)
                if !for_tests_only && !SCHEMAS.contains(&(user.as_str(), used.as_str())) =>
            {
                findings.push(format!(
                    "lib/{user} depends on {used}, which is not a shared crate"
                ));
            }
            (Some(user_rank), Some(used_rank)) if used_rank >= user_rank && !for_tests_only => {
                findings.push(format!(
                    "lib/{user} depends on lib/{used}, which does not come before it"
                ));
            }
            _ => {}
        }
    }
    findings
}

/// Every Rust file of the workspace, from its top.
fn source_files(top: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                files.push(
                    path.strip_prefix(top)
                        .expect("it was found below the top")
                        .to_owned(),
                );
            }
        }
    }
    files.sort();
    Ok(files)
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(format!(
            "{path}: {lines} lines; more than {MOST_LINES} want a wall"
        ));
    }
    if !text.lines().any(|line| line.starts_with("//!")) {
        findings.push(format!("{path}: no `//!` says what it is"));
    }
    if !is_shell(path) {
        findings.extend(async_lines(path, text));
    }
    findings
}

fn is_shell(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let outside_crates =
        !path.contains("src/") || path.starts_with("tests/") || path.starts_with("xtask/");
    outside_crates
        || SHELL_FILES.contains(&file)
        || SHELL_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// The lines before the tests of a file that name the runtime.
fn async_lines(path: &str, text: &str) -> Vec<String> {
    let code = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate();
    code.filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter_map(|(number, line)| {
            let named = ASYNC_CRATES
                .iter()
                .find(|name| line.contains(&format!("{name}::")))?;
            Some(format!("{path}:{}: {named} outside a shell", number + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: &str, used: &str) -> Vec<String> {
        check_dependencies(&[Dependency {
            user: user.into(),
            used: used.into(),
            for_tests_only: false,
        }])
    }

    #[test]
    fn dependencies_go_one_way() {
        for (user, used) in [
            ("table", "ovsdb"),
            ("northd", "incr"),
            ("controller", "sb-db"),
            ("ctl", "nb-db"),
            ("northbound", "nb-db"),
        ] {
            assert!(check(user, used).is_empty(), "{user} may use {used}");
        }
        for (user, used) in [
            ("ovsdb", "table"),
            ("table", "table"),
            ("store", "nb-db"),
            ("ctl", "northd"),
            ("northd", "openflow"),
            ("controller", "nb-db"),
        ] {
            assert_eq!(check(user, used).len(), 1, "{user} must not use {used}");
        }
    }

    #[test]
    fn files_say_what_they_are_and_stay_short_and_leave_async_to_shells() {
        assert!(check_file("lib/x/src/a.rs", "//! A.\n").is_empty());
        assert_eq!(check_file("lib/x/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(
            check_file(
                "lib/x/src/a.rs",
                &format!("//! A.\n{}", "\n".repeat(MOST_LINES))
            )
            .len(),
            1
        );
        let code =
            "//! A.\nuse tokio::net;\n// tokio::is fine here\n#[cfg(test)]\nuse tokio::time;\n";
        assert_eq!(
            check_file("lib/x/src/a.rs", code),
            ["lib/x/src/a.rs:2: tokio outside a shell"]
        );
        assert!(check_file("northd/src/daemon.rs", code).is_empty());
    }
}
