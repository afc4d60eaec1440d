//! The tools and the doors for programs: a command from its start to its exit, through a daemon and on its control socket,
//! with OVN's tool beside; then Weft's alone: what is declared, followed, traced and planned.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rig::implementation::{Database, Door, Implementation, Side, start_northd, weft_binary};
use rig::process::{Daemon, control_socket};
use rig::run::Run;
use rig::wait::wait_for;
use serde_json::{Value, json};

use super::network::{Network, port_addresses, port_name, router_address};
use super::report::{Column, Number, median, print};
use super::{Burden, Topology, Whose};

const PORTS_PER_SWITCH: usize = 100;
/// So many ports are declared in one call.
const DECLARED: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(120);
/// So many plans are made through a daemon, at most.
const PLANS: usize = 10;

/// Measures.
pub fn run(switches: usize, changes: usize, whose: Whose) -> Result<()> {
    println!(
        "tools: medians of {changes}, on a network of 1,000 ports; the database is the tool's own"
    );
    let mut columns = Vec::new();
    for (name, implementation) in [("OVN", Implementation::Ovn), ("Weft", Implementation::Weft)] {
        if whose.includes(implementation) {
            columns.push((name, commands(implementation, changes)?));
        }
    }
    print("weft nb lsp-add", &columns);
    if whose.includes(Implementation::Weft) {
        let mut column = doors(changes)?;
        column.extend(explained(switches, changes)?);
        let title = format!("Weft alone; traced and planned on k8s of {switches} switches");
        print(&title, &[("Weft", column)]);
    }
    Ok(())
}

/// One command in three manners.
fn commands(implementation: Implementation, changes: usize) -> Result<Column> {
    let dir = tempfile::tempdir()?;
    let northbound = Database::start(implementation, Side::Northbound, dir.path(), None, None)?;
    Network::describe(&northbound.socket(), 10, PORTS_PER_SWITCH)?;
    let tool = || -> Result<Run> {
        Ok(match implementation {
            Implementation::Weft => Run::new(weft_binary("weft")?).arg("nb"),
            Implementation::Ovn => Run::new("ovn-nbctl"),
        })
    };
    let remote = format!("--db={}", northbound.local_remote(Door::Ovsdb));
    let timed = |name: &str, run: &dyn Fn(&str) -> Result<Run>| -> Result<Number> {
        let times = (0..changes).map(|number| {
            let mut command = run(&format!("{name}{number}"))?.command();
            command.stdout(Stdio::null());
            let began = Instant::now();
            let status = command.status()?;
            ensure!(status.success(), "lsp-add: {status}");
            Ok(began.elapsed())
        });
        Ok(Number::Time(median(times.collect::<Result<_>>()?)))
    };
    let alone = timed("alone", &|port| {
        Ok(tool()?.arg(&remote).args(["lsp-add", "sw0", port]))
    })?;

    let pidfile = dir.path().join("tool.pid");
    let socket = tool()?
        .arg(&remote)
        .arg("--detach")
        .arg(format!("--pidfile={}", pidfile.display()))
        .env("OVN_RUNDIR", dir.path())
        .output()?;
    let socket = PathBuf::from(socket.trim());
    let _daemon = Detached(socket.clone());
    let by_daemon = timed("daemon", &|port| {
        Ok(tool()?
            .env("OVN_NB_DAEMON", &socket)
            .args(["lsp-add", "sw0", port]))
    })?;
    let mut control = Control::connect(&socket)?;
    let times = (0..changes).map(|number| {
        let began = Instant::now();
        let port = format!("socket{number}");
        control.ask("run", &["lsp-add", "sw0", &port])?;
        Ok(began.elapsed())
    });
    let on_socket = Number::Time(median(times.collect::<Result<_>>()?));
    Ok(vec![
        ("from start to exit", alone),
        ("the same through a daemon", by_daemon),
        ("a line on the daemon's control socket", on_socket),
    ])
}

/// A tool in the background, ended when dropped.
struct Detached(PathBuf);

impl Drop for Detached {
    fn drop(&mut self) {
        if let Ok(mut control) = Control::connect(&self.0) {
            // It ends while it answers.
            let _ = control.ask("exit", &[]);
        }
    }
}

/// A connection to a control socket.
struct Control(UnixStream);

impl Control {
    fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket);
        let stream = stream.with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(stream))
    }

    fn ask(&mut self, command: &str, arguments: &[&str]) -> Result<String> {
        let request = json!({"id": 0, "method": command, "params": arguments});
        self.0.write_all(request.to_string().as_bytes())?;
        let mut answers = serde_json::Deserializer::from_reader(&self.0).into_iter::<Value>();
        let answer = answers.next().context("the socket was closed")??;
        match (&answer["result"], &answer["error"]) {
            (Value::String(text), _) => Ok(text.clone()),
            (_, error) => bail!("{command}: {error}"),
        }
    }
}

/// A declaration of many objects, the same again, and a watch that goes on.
fn doors(changes: usize) -> Result<Column> {
    let dir = tempfile::tempdir()?;
    let northbound = Database::start(
        Implementation::Weft,
        Side::Northbound,
        dir.path(),
        None,
        None,
    )?;
    let rest = dir.path().join("weft-api.sock");
    let control = control_socket(dir.path(), "api");
    let run = Run::new(weft_binary("weft-api")?)
        .arg(format!("--nb={}", northbound.local_remote(Door::Grpc)))
        .arg(format!("--rest-listen=punix:{}", rest.display()))
        .arg(format!("--unixctl={}", control.display()))
        .env("OVN_RUNDIR", dir.path());
    let _api = Daemon::start("api", dir.path(), run, control, Some(rest.clone()))?;
    let file = dir.path().join("apply.json");
    let apply = |address: usize| -> Result<Duration> {
        let ports = (0..DECLARED).map(|port| {
            let number = if port == 0 { address } else { port };
            json!({
                "name": format!("port{port}"),
                "logical_switch_port": {
                    "logical_switch": "declared",
                    "addresses": [port_addresses(port / 250, number % 250)],
                },
            })
        });
        let mut objects = vec![json!({"name": "declared", "logical_switch": {}})];
        objects.extend(ports);
        std::fs::write(
            &file,
            json!({"owner": "bench", "objects": objects}).to_string(),
        )?;
        let began = Instant::now();
        let data = format!("@{}", file.display());
        let answer = curl(&rest, "/v1/apply", &["--json", &data])?.output()?;
        ensure!(
            answer.status.success(),
            "{}",
            String::from_utf8_lossy(&answer.stdout)
        );
        Ok(began.elapsed())
    };
    wait_for("weft-api to have read the northbound", LIMIT, || {
        let answer = curl(&rest, "/v1/switches", &[])?.output()?;
        Ok(answer.status.success().then_some(()))
    })?;
    let first = apply(0)?;
    let again = apply(0)?;

    let mut id = Watch::start(&rest, "")?.until(None)?;
    let mut times = Vec::new();
    for number in 1..=changes {
        apply(number)?;
        let began = Instant::now();
        id = Watch::start(&rest, &id)?.until(Some("port0"))?;
        times.push(began.elapsed());
    }
    Ok(vec![
        ("10,000 ports declared in one call", Number::Time(first)),
        ("the same again, nothing to do", Number::Time(again)),
        (
            "a watch of them goes on after a reconnect",
            Number::Time(median(times)),
        ),
    ])
}

fn curl(socket: &Path, path: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--no-buffer",
        ])
        .arg("--unix-socket")
        .arg(socket)
        .arg(format!("http://weft{path}"))
        .args(arguments);
    Ok(command)
}

/// Server-sent events.
struct Watch(Child);

impl Watch {
    fn start(socket: &Path, id: &str) -> Result<Self> {
        let last = format!("Last-Event-ID: {id}");
        let arguments: &[&str] = if id.is_empty() { &[] } else { &["-H", &last] };
        let mut command = curl(socket, "/v1/watch?owner=bench", arguments)?;
        Ok(Self(command.stdout(Stdio::piped()).spawn()?))
    }

    /// Reads until an event with a state, which names this object if one is given: that state.
    fn until(&mut self, name: Option<&str>) -> Result<String> {
        let output = self.0.stdout.take().context("it is piped")?;
        let (mut has_name, mut id) = (name.is_none(), String::new());
        for line in BufReader::new(output).lines() {
            let line = line?;
            has_name |= name.is_some_and(|name| line.contains(&format!("\"{name}\"")));
            if let Some(state) = line.strip_prefix("id:") {
                state.trim().clone_into(&mut id);
            }
            // An event ends with an empty line.
            if line.is_empty() && has_name && !id.is_empty() {
                return Ok(id);
            }
        }
        bail!("the watch has ended")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packets traced, and a port planned, on a large network.
fn explained(switches: usize, changes: usize) -> Result<Column> {
    let dir = tempfile::tempdir()?;
    let start = |side| Database::start(Implementation::Weft, side, dir.path(), None, None);
    let (northbound, southbound) = (start(Side::Northbound)?, start(Side::Southbound)?);
    let mut network = Network::describe(&northbound.socket(), switches, PORTS_PER_SWITCH)?;
    let burden = Burden {
        load_balancers: 0,
        acls: 0,
    };
    network.add_all(Topology::K8s, burden)?;
    let [nb, sb] = [&northbound, &southbound].map(|database| database.local_remote(Door::Grpc));
    let _northd = start_northd(Implementation::Weft, dir.path(), None, &nb, &sb)?;
    network.wait_compiled()?;

    let weft = weft_binary("weft")?;
    let socket = dir.path().join("trace.ctl");
    let began = Instant::now();
    Run::new(&weft)
        .args(["trace", "--detach"])
        .arg(format!("--db={sb}"))
        .arg(format!("--unixctl={}", socket.display()))
        .within(LIMIT)
        .output()?;
    let _daemon = Detached(socket.clone());
    let ready = began.elapsed();
    let mut control = Control::connect(&socket)?;
    let mut times = Vec::new();
    for number in 0..=changes {
        let packet = packet(number % switches, (number + 1) % switches);
        let began = Instant::now();
        let told = control.ask("trace", &["--minimal", &packet])?;
        times.push(began.elapsed());
        ensure!(!told.is_empty(), "nothing is told of {packet}");
    }
    let first = times.remove(0);

    let plan = || {
        let plan = Run::new(&weft).args(["plan", "--timeout=300"]);
        let plan = plan.arg(format!("--db={nb}")).arg(format!("--sb={sb}"));
        plan.within(LIMIT)
    };
    let new = ["lsp-add", "sw0", "planned"];
    let began = Instant::now();
    plan().args(new).output()?;
    let alone = began.elapsed();
    let socket = plan()
        .arg("--detach")
        .env("OVN_RUNDIR", dir.path())
        .output()?;
    let socket = PathBuf::from(socket.trim());
    let _planner = Detached(socket.clone());
    let mut planned = Vec::new();
    for number in 0..=changes.clamp(1, PLANS) {
        let port = format!("planned{number}");
        let began = Instant::now();
        plan()
            .env("WEFT_PLAN_DAEMON", &socket)
            .args(["lsp-add", "sw0", &port])
            .output()?;
        planned.push(began.elapsed());
    }
    // The first waits for the copies, if they are not there yet.
    planned.remove(0);
    Ok(vec![
        ("weft trace: until it is ready", Number::Time(ready)),
        ("weft trace: the first packet", Number::Time(first)),
        ("weft trace: a packet", Number::Time(median(times))),
        ("weft plan of one port", Number::Time(alone)),
        ("the same through its daemon", Number::Time(median(planned))),
    ])
}

/// From the first port of a switch to the second of another, by the router.
fn packet(from: usize, to: usize) -> String {
    let address = |switch, port| -> (String, String) {
        let both = port_addresses(switch, port);
        let (mac, ip) = both.split_once(' ').unwrap_or_default();
        (mac.to_owned(), ip.to_owned())
    };
    let ((mac, source), (_, destination)) = (address(from, 0), address(to, 1));
    format!(
        "inport == \"{}\" && eth.src == {mac} && eth.dst == {} && ip4.src == {source} && ip4.dst == {destination} && \
         ip.ttl == 64 && icmp4.type == 8",
        port_name(from, 0),
        router_address(from)
    )
}
