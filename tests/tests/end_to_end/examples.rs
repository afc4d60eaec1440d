//! The examples do what they say: each sees ports come, change and go.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::folder::Folder;
use tests::implementation::{python, weft_binary};
use tests::process::{Daemon, control_socket};
use tests::run::Run;
use tests::wait::wait_for;

/// How long a line may take.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn examples_see_ports_come_change_and_go() {
    if let Err(error) = watch() {
        panic!("{error:#}");
    }
}

fn watch() -> Result<()> {
    let folder = Folder::create()?;
    let dir = folder.path();
    let control = control_socket(dir, "nb");
    let run = Run::new(weft_binary("weft-nb")?)
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg(format!("--unixctl={}", control.display()))
        .env("OVN_RUNDIR", dir);
    let (ovsdb, grpc) = (dir.join("ovnnb_db.sock"), dir.join("weft-nb-grpc.sock"));
    let _server = Daemon::start("nb", dir, run, control, Some(grpc.clone()))?;
    nb(&ovsdb, &["ls-add", "s", "--", "lsp-add", "s", "a"])?;

    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let script = |name: &str, remote: &Path| -> Result<Command> {
        let mut command = Command::new(python()?);
        command.arg(examples.join(name));
        command.arg(format!("unix:{}", remote.display()));
        Ok(command)
    };
    let mut rust = Command::new(built_example("watch_ports")?);
    rust.arg(&grpc);
    let mut watchers = Vec::new();
    for (name, command) in [
        ("rust", rust),
        ("grpc", script("watch_ports_grpc.py", &grpc)?),
        ("ovsdb", script("watch_ports_ovsdb.py", &ovsdb)?),
    ] {
        watchers.push(Watcher::start(name, dir, command)?);
    }
    expect(&mut watchers, "+ a down\n")?;
    nb(&ovsdb, &["lsp-add", "s", "b"])?;
    expect(&mut watchers, "+ a down\n+ b down\n")?;
    nb(&ovsdb, &["set", "Logical_Switch_Port", "b", "up=true"])?;
    expect(&mut watchers, "+ a down\n+ b down\n~ b up\n")?;
    nb(&ovsdb, &["lsp-del", "a"])?;
    expect(&mut watchers, "+ a down\n+ b down\n~ b up\n- a down\n")?;
    for watcher in &mut watchers {
        let awaited = format!("{} to end after four lines", watcher.name);
        let status = wait_for(&awaited, LIMIT, || Ok(watcher.child.try_wait()?))?;
        ensure!(status.success(), "{}: {status}", watcher.name);
    }
    Ok(())
}

fn nb(ovsdb: &Path, words: &[&str]) -> Result<String> {
    Run::new(weft_binary("weft")?)
        .arg("nb")
        .arg(format!("--db=unix:{}", ovsdb.display()))
        .args(words)
        .output()
}

/// Cargo puts examples beside the folder of tests.
fn built_example(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).context("a test is in a folder")?;
    Ok(profile.join("examples").join(name))
}

/// An example that runs, and prints into a file.
struct Watcher {
    name: &'static str,
    output: PathBuf,
    child: Child,
}

impl Watcher {
    fn start(name: &'static str, dir: &Path, mut command: Command) -> Result<Self> {
        let output = dir.join(format!("{name}.txt"));
        let child = command
            .arg("4")
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            output,
            child,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn expect(watchers: &mut [Watcher], expected: &str) -> Result<()> {
    for watcher in watchers {
        let awaited = format!("{} to print {expected:?}", watcher.name);
        wait_for(&awaited, LIMIT, || {
            let printed = std::fs::read_to_string(&watcher.output)?;
            ensure!(printed == expected, "it printed {printed:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}
