//! Where things are, and running cargo and programs that need privileges.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The variables that a program run by `sudo` still needs.
const KEPT_VARIABLES: &str = "PATH,HOME,CARGO_HOME,RUSTUP_HOME,CARGO_TARGET_DIR,WEFT_BIN_DIR,WEFT_PLAN,WEFT_FAULTS,\
    WEFT_SEED,WEFT_MUTANT,RUST_BACKTRACE";

/// The top of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// A cargo command in the workspace. It does not see what `cargo xtask` told this program about
/// itself: some dependencies' build scripts look at such variables, and would be built anew
/// whenever cargo is called by hand and by this program in turn.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.arg(subcommand).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if about_us
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; an error if it fails.
pub fn succeed(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| rig::run::quoted(&word.to_string_lossy()))
        .collect();
    let line = words.join(" ");
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs a command to its end: what it printed to standard output, or an error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let line = format!("{:?}", command.get_program());
    let output = command
        .output()
        .with_context(|| format!("cannot run {line}"))?;
    ensure!(
        output.status.success(),
        "{line} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Has cargo build something: the program that it built of the target with this name.
pub fn executable(build: &mut Command, target: &str) -> Result<PathBuf> {
    let messages = output(
        build
            .args(["--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit()),
    )?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?;
        let executable = message["executable"].as_str()?;
        (name == target).then(|| PathBuf::from(executable))
    });
    executables
        .next_back()
        .with_context(|| format!("cargo built no {target}"))
}

/// The words to put before a program so that it runs as root: none if this process already does.
pub fn privileges() -> Result<Vec<String>> {
    if is_root()? {
        return Ok(Vec::new());
    }
    ensure!(
        rig::rig::find_program("sudo").is_some(),
        "this needs root, and there is no sudo: run the same command as root"
    );
    Ok(vec![
        "sudo".to_owned(),
        format!("--preserve-env={KEPT_VARIABLES}"),
    ])
}

/// A command that runs as root.
pub fn privileged(program: impl AsRef<OsStr>) -> Result<Command> {
    let words = privileges()?;
    let Some((first, rest)) = words.split_first() else {
        return Ok(Command::new(program));
    };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    Ok(command)
}

/// Whether this process runs as root.
pub fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// The daemons and the command line. They are chosen by name in the whole workspace, as tests are: packages by themselves
/// would have their dependencies built once more, with fewer features.
const PROGRAMS: [&str; 6] = [
    "weft",
    "weft-nb",
    "weft-sb",
    "weft-northd",
    "weft-controller",
    "weft-api",
];

/// With or without optimisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// Builds the daemons and the command line: the folder in which they are.
pub fn build_binaries(profile: Profile) -> Result<PathBuf> {
    let mut build = cargo("build");
    build
        .arg("--workspace")
        .args(PROGRAMS.map(|name| format!("--bin={name}")));
    if profile == Profile::Release {
        build.arg("--release");
    }
    succeed(&mut build)?;
    Ok(target_directory()?.join(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    }))
}

/// What `cargo metadata` says of the workspace's own packages.
pub fn metadata() -> Result<serde_json::Value> {
    let text = output(cargo("metadata").args(["--no-deps", "--format-version=1"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Where cargo puts what it builds.
pub fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?
        .into())
}
