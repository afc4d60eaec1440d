//! The options of a whole line, read into what they mean.

use std::path::PathBuf;
use std::time::Duration;

use ovsdb::Remote;
use replica::Tls;

use crate::error::{CommandError, Outcome, fail};
use crate::output::{CellFormat, Format, Style};
use crate::tool::Tool;

/// What to wait for after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Nothing.
    None,
    /// northd, to bring the southbound database up to date.
    Southbound,
    /// All chassis, to have put it into effect.
    Chassis,
}

/// How a line is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The members of the cluster to connect to.
    pub remotes: Vec<Remote>,
    /// Whether the leader of a cluster is needed.
    pub leader_only: bool,
    /// Whether the remotes are tried in random order.
    pub shuffle: bool,
    /// How long all of it may take.
    pub timeout: Option<Duration>,
    /// Whether to leave out the commit.
    pub dry_run: bool,
    /// What to wait for.
    pub wait: Wait,
    /// Whether to say how long the waiting took.
    pub print_wait_time: bool,
    /// How to be known to servers behind TLS, and to know them.
    pub tls: Option<Tls>,
    /// How output looks.
    pub style: Style,
    /// What to do instead of running commands.
    pub instead: Option<Instead>,
    /// Whether to stay as a daemon, and run the lines that come over a control socket.
    pub detach: bool,
    /// The control socket: of this tool as a daemon, else of the daemon that is to run the line.
    pub control: Option<String>,
}

/// What an option asks for instead of running commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Help, perhaps of one command.
    Help(Option<String>),
    /// The version.
    Version,
    /// The commands, for completion.
    Commands,
    /// The options, for completion.
    Options,
}

impl RunOptions {
    /// Reads the options. `variable` gives environment variables.
    pub fn read(
        tool: &Tool,
        options: &[(&'static str, Option<String>)],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Outcome<Self> {
        let mut read = Self {
            remotes: Vec::new(),
            leader_only: true,
            shuffle: true,
            timeout: None,
            dry_run: false,
            wait: Wait::None,
            print_wait_time: false,
            tls: None,
            style: Style::default(),
            instead: None,
            detach: false,
            control: variable(tool.daemon_variable).filter(|socket| !socket.is_empty()),
        };
        let default = || {
            format!(
                "unix:{}",
                daemon::place::run_dir().join(tool.socket).display()
            )
        };
        let mut remote = variable(tool.remote_variable).unwrap_or_else(default);
        if let Some(seconds) = variable("OVS_CTL_TIMEOUT") {
            read.timeout = parse_timeout(&seconds)?;
        }
        let mut files = TlsFiles::default();
        for (name, value) in options {
            let value = value.as_deref().unwrap_or_default();
            match *name {
                "--db" => value.clone_into(&mut remote),
                "--private-key" => files.private_key = Some(value.into()),
                "--certificate" => files.certificate = Some(value.into()),
                "--ca-cert" => files.ca = Some(value.into()),
                "--ssl-server-name" => files.server_name = Some(value.to_owned()),
                "--wait" | "--no-wait" | "--print-wait-time" if !tool.can_wait => {
                    return fail(format!("{name} not supported"));
                }
                name => read.apply(name, value)?,
            }
        }
        read.tls = files.read()?;
        if read.instead.is_none() {
            let wrong = |error: ovsdb::remote::RemoteError| CommandError::Failed(error.to_string());
            read.remotes = Remote::parse_list(&remote).map_err(wrong)?;
        }
        Ok(read)
    }

    fn apply(&mut self, name: &str, value: &str) -> Outcome {
        match name {
            "--leader-only" => self.leader_only = true,
            "--no-leader-only" => self.leader_only = false,
            "--shuffle-remotes" => self.shuffle = true,
            "--no-shuffle-remotes" => self.shuffle = false,
            "--timeout" => self.timeout = parse_timeout(value)?,
            "--dry-run" => self.dry_run = true,
            "--no-wait" => self.wait = Wait::None,
            "--wait" => self.wait = parse_wait(value)?,
            "--print-wait-time" => self.print_wait_time = true,
            "--oneline" => self.style.oneline = true,
            "--format" => self.style.format = parse_format(value)?,
            "--data" => self.style.cells = parse_cells(value)?,
            "--no-headings" => self.style.headings = false,
            "--pretty" => self.style.pretty = true,
            "--bare" => {
                self.style.format = Format::List;
                self.style.cells = CellFormat::Bare;
                self.style.headings = false;
            }
            "--max-column-width" => match value.parse() {
                Ok(width) => self.style.max_width = width,
                Err(_) => return fail(format!("{value}: --max-column-width should be a number")),
            },
            "--help" => {
                let command = (!value.is_empty()).then(|| value.to_owned());
                self.instead = Some(Instead::Help(command));
            }
            "--version" => self.instead = Some(Instead::Version),
            "--commands" => self.instead = Some(Instead::Commands),
            "--options" => self.instead = Some(Instead::Options),
            "--detach" => self.detach = true,
            "--unixctl" => self.control = Some(value.to_owned()),
            "--bootstrap-ca-cert" => {
                return fail(
                    "--bootstrap-ca-cert is not offered; get the CA certificate another way",
                );
            }
            // Versions and ciphers of TLS are not for choosing; logging and pid files are a daemon's, and --monitor is a
            // service manager's work.
            _ => {}
        }
        Ok(())
    }
}

/// The files of `-p`, `-c` and `-C`.
#[derive(Default)]
struct TlsFiles {
    private_key: Option<PathBuf>,
    certificate: Option<PathBuf>,
    ca: Option<PathBuf>,
    server_name: Option<String>,
}

impl TlsFiles {
    fn read(self) -> Outcome<Option<Tls>> {
        match (self.private_key, self.certificate, self.ca) {
            (None, None, None) => Ok(None),
            (Some(private_key), Some(certificate), Some(ca)) if ca.as_os_str() != "none" => {
                Ok(Some(Tls {
                    certificate,
                    private_key,
                    ca,
                    server_name: self.server_name,
                }))
            }
            _ => fail("TLS needs all of --private-key, --certificate and --ca-cert, each a file"),
        }
    }
}

fn parse_timeout(text: &str) -> Outcome<Option<Duration>> {
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(_) => fail(format!("value {text} on -t or --timeout is invalid")),
    }
}

pub(crate) fn parse_wait(text: &str) -> Outcome<Wait> {
    match text {
        "none" => Ok(Wait::None),
        "sb" => Ok(Wait::Southbound),
        "hv" => Ok(Wait::Chassis),
        _ => fail("argument to --wait must be \"none\", \"sb\", or \"hv\""),
    }
}

fn parse_format(text: &str) -> Outcome<Format> {
    match text {
        "table" => Ok(Format::Table),
        "list" => Ok(Format::List),
        "html" => Ok(Format::Html),
        "csv" => Ok(Format::Csv),
        "json" => Ok(Format::Json),
        _ => fail(format!("unknown output format \"{text}\"")),
    }
}

fn parse_cells(text: &str) -> Outcome<CellFormat> {
    match text {
        "string" => Ok(CellFormat::Text),
        "bare" => Ok(CellFormat::Bare),
        "json" => Ok(CellFormat::Json),
        _ => fail(format!("unknown data format \"{text}\"")),
    }
}
