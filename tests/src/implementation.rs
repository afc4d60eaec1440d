//! Weft's daemons and OVN's, and how each is started: what makes one lab run on either, or on a mixture.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Daemon, control_socket, log_file};
use crate::run::Run;

/// Whose daemon or tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Weft's, from the same build as the test.
    Weft,
    /// OVN's, as the distribution has installed it.
    Ovn,
}

/// Through which of the databases' two doors Weft's own daemons and tools come. OVN's know only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// OVSDB JSON-RPC.
    Ovsdb,
    /// gRPC.
    Grpc,
}

/// Whose daemon stands in each place of a rig.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The northbound and the southbound database.
    pub databases: Implementation,
    /// The compiler.
    pub northd: Implementation,
    /// The agent on every chassis.
    pub controller: Implementation,
    /// The agent on every chassis but the first, if it is another's.
    pub other_controllers: Option<Implementation>,
    /// The command line with which the lab is built and asked.
    pub tools: Implementation,
    /// How Weft's daemons and tools reach the databases.
    pub door: Door,
}

impl Plan {
    /// Weft throughout, its parts talking gRPC.
    pub fn weft() -> Self {
        Self {
            door: Door::Grpc,
            ..Self::all(Implementation::Weft)
        }
    }

    /// What the stories of the lab are told on: Weft, unless the variable `WEFT_PLAN` says otherwise. `ovn` there tells
    /// whether a failure is Weft's or the story's own; `ovn,northd=weft` or `weft,door=ovsdb` narrow it down.
    pub fn under_test() -> Self {
        match std::env::var("WEFT_PLAN") {
            Ok(text) => {
                let plan = Self::parse(&text);
                plan.unwrap_or_else(|word| {
                    panic!("WEFT_PLAN={text}: `{word}` is no part of a plan")
                })
            }
            Err(_) => Self::weft(),
        }
    }

    /// Reads a plan as `WEFT_PLAN` has it; the word that makes no sense if one does not.
    fn parse(text: &str) -> Result<Self, &str> {
        let mut plan = Self::weft();
        for word in text.split(',') {
            let (place, value) = word.split_once('=').unwrap_or(("", word));
            let implementation = match value {
                "weft" => Ok(Implementation::Weft),
                "ovn" => Ok(Implementation::Ovn),
                _ => Err(word),
            };
            match (place, value) {
                ("", "weft") => plan = Self::weft(),
                ("", "ovn") => plan = Self::ovn(),
                ("databases", _) => plan.databases = implementation?,
                ("northd", _) => plan.northd = implementation?,
                ("controller", _) => plan.controller = implementation?,
                ("others", _) => plan.other_controllers = Some(implementation?),
                ("tools", _) => plan.tools = implementation?,
                ("door", "ovsdb") => plan.door = Door::Ovsdb,
                ("door", "grpc") => plan.door = Door::Grpc,
                _ => return Err(word),
            }
        }
        Ok(plan)
    }

    /// OVN throughout: what shows that the rig and the lab are right.
    pub fn ovn() -> Self {
        Self::all(Implementation::Ovn)
    }

    fn all(implementation: Implementation) -> Self {
        Self {
            databases: implementation,
            northd: implementation,
            controller: implementation,
            other_controllers: None,
            tools: implementation,
            door: Door::Ovsdb,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            databases,
            northd,
            controller,
            other_controllers,
            tools,
            door,
        } = self;
        let others = other_controllers.unwrap_or(*controller);
        write!(
            f,
            "databases {databases:?}, northd {northd:?}, controller {controller:?}, on other chassis {others:?}, tools {tools:?}, {door:?}"
        )
    }
}

/// Northbound or southbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The operator's.
    Northbound,
    /// The chassis'.
    Southbound,
}

impl Side {
    /// `nb` or `sb`, as in the names of files and programs.
    pub fn short(self) -> &'static str {
        match self {
            Self::Northbound => "nb",
            Self::Southbound => "sb",
        }
    }

    /// The name of its schema.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Northbound => "OVN_Northbound",
            Self::Southbound => "OVN_Southbound",
        }
    }

    fn ovsdb_port(self) -> u16 {
        match self {
            Self::Northbound => 6641,
            Self::Southbound => 6642,
        }
    }

    fn grpc_port(self) -> u16 {
        self.ovsdb_port() + 10
    }
}

/// A running database and how it is reached.
#[derive(Debug)]
pub struct Database {
    /// The server.
    pub daemon: Daemon,
    implementation: Implementation,
    side: Side,
    dir: PathBuf,
    address: Option<String>,
}

impl Database {
    /// Starts one with its data in `dir`; with `address`, it listens there on TCP too.
    pub fn start(
        implementation: Implementation,
        side: Side,
        dir: &Path,
        namespace: Option<&str>,
        address: Option<&str>,
    ) -> Result<Self> {
        let name = side.short();
        let socket = ovsdb_socket(dir, side);
        let run = match implementation {
            Implementation::Ovn => {
                let file = dir.join(format!("{name}.db"));
                let schema = format!("/usr/share/ovn/ovn-{name}.ovsschema");
                Run::new("ovsdb-tool")
                    .arg("create")
                    .arg(&file)
                    .arg(schema)
                    .output()?;
                let listen =
                    address.map(|address| format!("--remote=ptcp:{}:{address}", side.ovsdb_port()));
                Run::new("ovsdb-server")
                    .arg(file)
                    .arg(format!("--remote=punix:{}", socket.display()))
                    .args(listen)
            }
            Implementation::Weft => {
                let grpc = dir.join(format!("{name}.grpc"));
                let data = dir.join(format!("{name}.data"));
                let mut run = Run::new(weft_binary(&format!("weft-{name}"))?)
                    .arg("--data-dir")
                    .arg(data);
                for listen in [
                    format!("punix:{}", socket.display()),
                    format!("pgrpc+unix:{}", grpc.display()),
                ] {
                    run = run.arg("--listen").arg(listen);
                }
                if let Some(address) = address {
                    run = run.arg("--plaintext");
                    run = run
                        .arg("--listen")
                        .arg(format!("ptcp:{}:{address}", side.ovsdb_port()));
                    run = run
                        .arg("--listen")
                        .arg(format!("pgrpc:{}:{address}", side.grpc_port()));
                }
                run
            }
        };
        let run = place(run, dir, name, namespace);
        let daemon = Daemon::start(name, dir, run, control_socket(dir, name), Some(socket))?;
        let address = address.map(str::to_owned);
        Ok(Self {
            daemon,
            implementation,
            side,
            dir: dir.to_owned(),
            address,
        })
    }

    /// The Unix socket of its OVSDB door.
    pub fn socket(&self) -> PathBuf {
        ovsdb_socket(&self.dir, self.side)
    }

    /// Its remote on this machine, through `door` if it has that one.
    pub fn local_remote(&self, door: Door) -> String {
        match (door, self.implementation) {
            (Door::Grpc, Implementation::Weft) => {
                format!(
                    "grpc+unix:{}",
                    self.dir
                        .join(format!("{}.grpc", self.side.short()))
                        .display()
                )
            }
            _ => format!("unix:{}", self.socket().display()),
        }
    }

    /// Its remote on the underlay, through `door` if it has that one.
    pub fn network_remote(&self, door: Door) -> Result<String> {
        let address = self
            .address
            .as_deref()
            .context("this database does not listen on TCP")?;
        Ok(match (door, self.implementation) {
            (Door::Grpc, Implementation::Weft) => {
                format!("grpc:{address}:{}", self.side.grpc_port())
            }
            _ => format!("tcp:{address}:{}", self.side.ovsdb_port()),
        })
    }

    /// The command line for it, `implementation`'s: `weft nb` or `ovn-nbctl`, connected and bounded in time.
    pub fn tool(&self, implementation: Implementation, door: Door) -> Result<Run> {
        let (run, door) = match implementation {
            Implementation::Weft => (Run::new(weft_binary("weft")?).arg(self.side.short()), door),
            Implementation::Ovn => (
                Run::new(format!("ovn-{}ctl", self.side.short())),
                Door::Ovsdb,
            ),
        };
        Ok(run
            .arg(format!("--db={}", self.local_remote(door)))
            .arg("--timeout=40"))
    }
}

/// Starts the compiler between two databases.
pub fn start_northd(
    implementation: Implementation,
    dir: &Path,
    namespace: Option<&str>,
    northbound: &str,
    southbound: &str,
) -> Result<Daemon> {
    let run = match implementation {
        Implementation::Ovn => Run::new("ovn-northd")
            .arg(format!("--ovnnb-db={northbound}"))
            .arg(format!("--ovnsb-db={southbound}")),
        Implementation::Weft => {
            Run::new(weft_binary("weft-northd")?).args(["--nb", northbound, "--sb", southbound])
        }
    };
    Daemon::start(
        "northd",
        dir,
        place(run, dir, "northd", namespace),
        control_socket(dir, "northd"),
        None,
    )
}

/// Starts the agent of the chassis whose switch's database is `switch`.
pub fn start_controller(
    implementation: Implementation,
    dir: &Path,
    namespace: Option<&str>,
    switch: &str,
) -> Result<Daemon> {
    // OVN 23.03's controller cannot be told where to answer.
    let (run, control) = match implementation {
        Implementation::Ovn => {
            let run = furnish(Run::new("ovn-controller"), dir, "controller", namespace);
            (run, dir.join("ovn-controller.PID.ctl"))
        }
        Implementation::Weft => {
            let run = place(
                Run::new(weft_binary("weft-controller")?),
                dir,
                "controller",
                namespace,
            );
            (run, control_socket(dir, "controller"))
        }
    };
    Daemon::start("controller", dir, run.arg(switch), control, None)
}

/// Gives a daemon the manners that all of them share: where it is, logs, answers and keeps its files.
pub fn place(run: Run, dir: &Path, name: &str, namespace: Option<&str>) -> Run {
    let control = format!("--unixctl={}", control_socket(dir, name).display());
    furnish(run, dir, name, namespace).arg(control)
}

/// [`place`], but where it answers is left to it.
fn furnish(run: Run, dir: &Path, name: &str, namespace: Option<&str>) -> Run {
    let run = run
        .arg(format!(
            "--pidfile={}",
            dir.join(format!("{name}.pid")).display()
        ))
        .arg(format!("--log-file={}", log_file(dir, name).display()));
    // What goes into the log file need not be printed too.
    let run = run.arg("-vconsole:off");
    let directories = [
        "OVS_RUNDIR",
        "OVN_RUNDIR",
        "OVS_LOGDIR",
        "OVN_LOGDIR",
        "OVS_DBDIR",
        "OVN_DBDIR",
    ];
    let run = directories
        .iter()
        .fold(run, |run, variable| run.env(variable, dir));
    namespace.into_iter().fold(run, Run::inside)
}

/// A binary of Weft's: in `WEFT_BIN_DIR`, or where cargo has put it beside the running program.
pub fn weft_binary(name: &str) -> Result<PathBuf> {
    let folders = match std::env::var_os("WEFT_BIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => {
            // A test is in target/debug/deps, xtask in target/debug.
            let program =
                std::env::current_exe().context("cannot tell where the running program is")?;
            program
                .ancestors()
                .skip(1)
                .take(2)
                .map(Path::to_owned)
                .collect()
        }
    };
    match folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => bail!(
            "the binary {name} is not built (looked in {}): `cargo xtask test` builds it, or `cargo build --workspace --bins`",
            folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect::<Vec<_>>()
                .join(" and ")
        ),
    }
}

/// The Python that has the outside clients: beside the build's other output, where `cargo xtask setup` puts it.
pub fn python() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // A test is in TARGET/debug/deps.
    let target = program
        .ancestors()
        .nth(3)
        .context("the test is in a target directory")?;
    let python = target.join("clients/venv/bin/python");
    ensure!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    Ok(python)
}

fn ovsdb_socket(dir: &Path, side: Side) -> PathBuf {
    dir.join(format!("{}.sock", side.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_word_by_word() {
        let plan = Plan::parse("ovn,northd=weft,door=grpc").unwrap();
        assert_eq!(
            (plan.databases, plan.northd),
            (Implementation::Ovn, Implementation::Weft)
        );
        assert_eq!(plan.door, Door::Grpc);
        for (text, wrong) in [
            ("ovn,nothrd=weft", "nothrd=weft"),
            ("mine", "mine"),
            ("weft,tools=x", "tools=x"),
        ] {
            assert_eq!(Plan::parse(text).unwrap_err(), wrong);
        }
    }
}
