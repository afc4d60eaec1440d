//! Certificates of `weft pki`, a database that uses them, and clients that have them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tests::implementation::{place, weft_binary};
use tests::process::{Daemon, control_socket};
use tests::run::Run;
use tests::wait::wait_for;

/// Within this time, anything that is waited for happens.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of certificates.
pub struct Pki(pub PathBuf);

impl Pki {
    /// A new authority.
    pub fn new(dir: &Path) -> Result<Self> {
        let pki = Self(dir.to_owned());
        pki.run(&["init"])?;
        Ok(pki)
    }

    /// `weft pki ARGS`.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let run = Run::new(weft_binary("weft")?).arg("pki").args(args);
        run.arg("--dir").arg(&self.0).output()
    }

    /// Where the files of a name are: key, certificate, and the authority's.
    pub fn files(&self, name: &str) -> [String; 3] {
        [
            format!("{name}-key.pem"),
            format!("{name}-cert.pem"),
            "ca.pem".to_owned(),
        ]
        .map(|file| self.0.join(file).display().to_string())
    }

    /// The flags by which a program uses them.
    pub fn flags(&self, name: &str) -> [String; 3] {
        let [key, certificate, ca] = self.files(name);
        [
            format!("--private-key={key}"),
            format!("--certificate={certificate}"),
            format!("--ca-cert={ca}"),
        ]
    }
}

/// A running `weft-nb` or `weft-sb`.
pub struct Database {
    pub daemon: Daemon,
    dir: PathBuf,
    tool: &'static str,
}

impl Database {
    /// Starts it with a Unix socket for administrators, and what the flags say.
    pub fn start(short: &'static str, dir: &Path, flags: &[String]) -> Result<Self> {
        let socket = dir.join("admin.sock");
        let run = Run::new(weft_binary(&format!("weft-{short}"))?)
            .arg(format!("--data-dir={}", dir.join("data").display()))
            .arg(format!("--listen=punix:{}", socket.display()))
            .args(flags);
        let run = place(run, dir, short, None);
        let daemon = Daemon::start(short, dir, run, control_socket(dir, short), Some(socket))?;
        let database = Self {
            daemon,
            dir: dir.to_owned(),
            tool: match short {
                "nb" => "ovn-nbctl",
                _ => "ovn-sbctl",
            },
        };
        database.admin(&["init"])?;
        Ok(database)
    }

    /// OVN's tool, on the administrator's socket.
    pub fn admin(&self, args: &[&str]) -> Result<String> {
        let socket = self.dir.join("admin.sock");
        self.tool(&format!("unix:{}", socket.display()), args)
            .output()
    }

    /// OVN's tool over TLS, with the certificate of a name.
    pub fn client(&self, port: u16, pki: &Pki, name: &str, args: &[&str]) -> Run {
        let run = self.tool(&format!("ssl:127.0.0.1:{port}"), &[]);
        run.args(pki.flags(name)).args(args)
    }

    fn tool(&self, remote: &str, args: &[&str]) -> Run {
        Run::new(self.tool)
            .arg(format!("--db={remote}"))
            .args(["--timeout=20"])
            .args(args)
    }

    /// The port of its TLS listener, if it has one.
    pub fn tls_port(&self) -> Result<Option<u16>> {
        let remotes = self.daemon.control(&["ovsdb-server/list-remotes"])?;
        let mut remotes = remotes.lines().filter(|line| line.starts_with("pssl:"));
        let port = remotes
            .next()
            .and_then(|line| line.split_once("127.0.0.1:"));
        // `pssl:0:127.0.0.1 (127.0.0.1:PORT)`
        let Some((_, port)) = port else {
            return Ok(None);
        };
        let port = port.trim_end_matches(')').parse();
        Ok(Some(port.context("a port")?))
    }

    /// Waits for a TLS listener at another port than this.
    pub fn wait_for_tls(&self, not: Option<u16>) -> Result<u16> {
        wait_for("a TLS listener", PATIENCE, || {
            Ok(self.tls_port()?.filter(|port| Some(*port) != not))
        })
    }

    /// What it logged.
    pub fn log(&self) -> Result<String> {
        let path = tests::process::log_file(&self.dir, &self.dir_short());
        Ok(std::fs::read_to_string(path)?)
    }

    fn dir_short(&self) -> String {
        self.tool[4..6].to_owned()
    }
}
