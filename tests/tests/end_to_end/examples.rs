//! The examples do what they say: each sees ports come, change and go, or declares a network. And the lines with `curl` in the
//! book are answered.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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

/// A northbound with `weft-api`, as the examples and the book have it.
pub(crate) struct Api {
    /// The northbound's socket.
    ovsdb: PathBuf,
    pub(crate) grpc: PathBuf,
    rest: PathBuf,
    _servers: [Daemon; 2],
}

impl Api {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let control = control_socket(dir, "nb");
        let run = Run::new(weft_binary("weft-nb")?)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg(format!("--unixctl={}", control.display()))
            .env("OVN_RUNDIR", dir);
        let ovsdb = dir.join("ovnnb_db.sock");
        let server = Daemon::start("nb", dir, run, control, Some(ovsdb.clone()))?;
        let (grpc, rest) = (dir.join("weft-api-grpc.sock"), dir.join("weft-api.sock"));
        let control = control_socket(dir, "api");
        let run = Run::new(weft_binary("weft-api")?)
            .arg(format!("--nb=unix:{}", ovsdb.display()))
            .arg(format!("--rest-listen=punix:{}", rest.display()))
            .arg(format!("--unixctl={}", control.display()))
            .env("OVN_RUNDIR", dir);
        let api = Daemon::start("api", dir, run, control, Some(rest.clone()))?;
        let request = format!(
            "curl --silent --fail --unix-socket {} http://weft/v1/switches",
            rest.display()
        );
        wait_for("weft-api to have read the northbound", LIMIT, || {
            let status = shell(&request)?.status;
            Ok(status.success().then_some(()))
        })?;
        Ok(Self {
            ovsdb,
            grpc,
            rest,
            _servers: [server, api],
        })
    }
}

fn shell(line: &str) -> Result<Output> {
    let output = Command::new("sh").arg("-c").arg(line).output();
    output.with_context(|| format!("cannot run {line}"))
}

#[test]
fn a_client_of_standard_tools_declares_and_follows_a_network() {
    if let Err(error) = declare() {
        panic!("{error:#}");
    }
}

fn declare() -> Result<()> {
    let folder = Folder::create()?;
    let dir = folder.path();
    let api = Api::start(dir)?;
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let (proto, generated) = (source.join("lib/objects/proto"), dir.join("generated"));
    std::fs::create_dir(&generated)?;
    let package = proto.join("weft/northbound/v1");
    Run::new(python()?)
        .args(["-m", "grpc_tools.protoc", "-I"])
        .arg(&proto)
        .arg(format!("--python_out={}", generated.display()))
        .arg(format!("--grpc_python_out={}", generated.display()))
        .arg(package.join("objects.proto"))
        .arg(package.join("northbound.proto"))
        .output()?;
    let printed = Run::new(python()?)
        .arg(source.join("examples/network_grpc.py"))
        .arg(&generated)
        .arg(format!("unix:{}", api.grpc.display()))
        .output()?;
    let expected = "applied 2\napplied again 0\nlisted python-vm1\nwatched True python-vm1\n\
                    resumed False 02:00:00:00:00:01 192.0.2.1\nrefused NOT_FOUND\ndeleted 2\n";
    ensure!(printed == expected, "it printed {printed:?}");
    Ok(())
}

#[test]
fn a_client_of_the_crate_declares_and_follows_a_network() {
    if let Err(error) = declare_by_crate() {
        panic!("{error:#}");
    }
}

fn declare_by_crate() -> Result<()> {
    let folder = Folder::create()?;
    let api = Api::start(folder.path())?;
    let printed = Run::new(built_example("network")?)
        .arg(format!("unix:{}", api.grpc.display()))
        .output()?;
    let expected = "applied 2\napplied again 0\nlisted rust-vm1\nwatched true 1\nresumed false 1\nrefused Aborted\n\
                    deleted 2\n";
    ensure!(printed == expected, "it printed {printed:?}");
    Ok(())
}

#[test]
fn the_lines_with_curl_in_the_book_are_answered() {
    if let Err(error) = curl() {
        panic!("{error:#}");
    }
}

fn curl() -> Result<()> {
    let folder = Folder::create()?;
    let dir = folder.path();
    let api = Api::start(dir)?;
    nb(&api.ovsdb, &["init"])?;
    let token = Run::new(weft_binary("weft")?)
        .args(["token", "create", "ci", "--role=writer"])
        .arg(format!("--db=unix:{}", api.ovsdb.display()))
        .output()?;
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let page = std::fs::read_to_string(page)?;
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("$ ")) {
        if !line.starts_with("curl ") {
            continue;
        }
        let line = line
            .replace(
                "/var/run/ovn/weft-api.sock",
                &api.rest.display().to_string(),
            )
            .replace("weft.ci.468b70f0…", token.trim())
            .replacen("curl ", "curl --silent --show-error --fail-with-body ", 1);
        // What was made by a token or a line before is known a moment later.
        wait_for(&format!("an answer to {line}"), LIMIT, || {
            let output = shell(&line)?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(
                output.status.success()
                    || text.contains("UNAUTHENTICATED")
                    || text.contains("NOT_FOUND"),
                "{line}: {text}"
            );
            Ok(output.status.success().then_some(()))
        })?;
        count += 1;
    }
    ensure!(count >= 4, "only {count} lines were found");
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
