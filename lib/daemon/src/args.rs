//! The flags that every daemon takes, under Open vSwitch's names, and how a daemon's command line is read.
//!
//! OVN's scripts and service units pass options that have nothing to act on here. A daemon declares such an option
//! like any other, under the heading [`NO_EFFECT`]; its help text says why it has none. [`parse`] finds those that
//! were given, and [`Process::start`](crate::Process::start) says so once in the log.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, Parser};
use tls::Files;

/// The heading of options that are accepted and do nothing. The help text of each says why.
pub const NO_EFFECT: &str = "Accepted without effect";

/// Flags common to all daemons. Flatten it into a daemon's own arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Run in the background: the command returns once the daemon is ready to serve
    #[arg(long, help_heading = "Daemon")]
    pub detach: bool,

    /// Write a pid file, by default PROGRAM.pid in the run directory
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, help_heading = "Daemon")]
    pub pidfile: Option<Option<PathBuf>>,

    /// Replace the pid file of another running daemon instead of refusing to start
    #[arg(long, help_heading = "Daemon")]
    pub overwrite_pidfile: bool,

    /// With --detach: stay in the current directory instead of changing to /
    #[arg(long, help_heading = "Daemon")]
    pub no_chdir: bool,

    /// Become this user, and this group or else the user's own, before anything is opened
    #[arg(long, value_name = "USER[:GROUP]", help_heading = "Daemon")]
    pub user: Option<String>,

    /// The control socket, a path or a name in the run directory; by default PROGRAM.PID.ctl there, "none" for no socket
    #[arg(short = 'u', long, value_name = "SOCKET", help_heading = "Daemon")]
    pub unixctl: Option<PathBuf>,

    /// Log to a file, by default PROGRAM.log in the log directory
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, help_heading = "Logging")]
    pub log_file: Option<Option<PathBuf>>,

    /// Set levels: any of MODULE, console|file|syslog and off|emer|err|warn|info|dbg, joined by colons; alone, dbg
    #[arg(
        long,
        value_name = "SPEC",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "dbg",
        help_heading = "Logging"
    )]
    pub verbose: Vec<String>,

    /// Print the options, one a line, as scripts read them
    #[arg(long, hide = true)]
    options: bool,

    /// Restarting a daemon that died is the service manager's work
    #[arg(long, help_heading = NO_EFFECT)]
    monitor: bool,

    /// Files may be anywhere that the system allows
    #[arg(long, help_heading = NO_EFFECT)]
    no_self_confinement: bool,

    /// Nothing is sent to syslog: a service manager takes the console
    #[arg(long, value_name = "METHOD", help_heading = NO_EFFECT)]
    syslog_method: Option<String>,

    /// Nothing is sent to syslog: a service manager takes the console
    #[arg(long, value_name = "HOST:PORT", help_heading = NO_EFFECT)]
    syslog_target: Option<String>,

    /// Versions 1.2 and 1.3 are spoken, the newest that the other side knows
    #[arg(long, value_name = "PROTOCOLS", help_heading = NO_EFFECT)]
    ssl_protocols: Option<String>,

    /// The ciphers of TLS are those of rustls, all of them strong
    #[arg(long, value_name = "CIPHERS", help_heading = NO_EFFECT)]
    ssl_ciphers: Option<String>,

    /// The ciphers of TLS are those of rustls, all of them strong
    #[arg(long, value_name = "CIPHERSUITES", help_heading = NO_EFFECT)]
    ssl_ciphersuites: Option<String>,

    /// Ask servers for this name (SNI) instead of the remote's host; their certificates are compared with the authority, not
    /// with names
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub ssl_server_name: Option<String>,

    /// A certificate is shown with those between it and its authority: put them into the file of --certificate
    #[arg(long, value_name = "FILE", help_heading = NO_EFFECT)]
    peer_ca_cert: Option<PathBuf>,

    /// What comes over Open vSwitch's own sockets is not recorded
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, help_heading = NO_EFFECT)]
    record: Option<Option<PathBuf>>,

    /// What was given and does nothing, with the reasons. [`parse`] fills it.
    #[arg(skip)]
    pub without_effect: Vec<WithoutEffect>,
}

/// The files for TLS, as the flags of a client of databases.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// The private key for TLS, PEM
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "TLS")]
    pub private_key: Option<PathBuf>,

    /// The certificate for TLS, PEM
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "TLS")]
    pub certificate: Option<PathBuf>,

    /// The certificate of the authority that signs the databases', PEM
    #[arg(short = 'C', long, value_name = "FILE", help_heading = "TLS")]
    pub ca_cert: Option<PathBuf>,

    /// The same; the file must be there: a certificate that any server could give is not taken over
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "ca_cert",
        help_heading = "TLS"
    )]
    pub bootstrap_ca_cert: Option<PathBuf>,
}

/// What is wrong with the flags for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsArgsError {
    /// Some of the files were given, not all.
    #[error("TLS needs all of --private-key, --certificate and --ca-cert")]
    Incomplete,
    /// The authority's certificate was to be learned.
    #[error(
        "--bootstrap-ca-cert {0}: there is no such file, and a certificate that any server could give is not taken \
         over: put the certificate of the databases' authority there"
    )]
    Bootstrap(String),
}

impl CommonArgs {
    /// These files, with the name to ask servers for.
    pub fn asking_for_name(&self, files: Option<Files>) -> Option<Files> {
        files.map(|files| Files {
            server_name: self.ssl_server_name.clone(),
            ..files
        })
    }
}

impl TlsArgs {
    /// The files, if they were given.
    ///
    /// # Errors
    /// When some were, and not all, or the authority's is not there.
    pub fn files(&self) -> Result<Option<Files>, TlsArgsError> {
        if let Some(path) = self
            .bootstrap_ca_cert
            .as_ref()
            .filter(|path| !path.exists())
        {
            return Err(TlsArgsError::Bootstrap(path.display().to_string()));
        }
        let ca = self.ca_cert.as_ref().or(self.bootstrap_ca_cert.as_ref());
        match (&self.private_key, &self.certificate, ca) {
            (None, None, None) => Ok(None),
            (Some(private_key), Some(certificate), Some(ca)) => Ok(Some(Files {
                certificate: certificate.clone(),
                private_key: private_key.clone(),
                ca: ca.clone(),
                server_name: None,
            })),
            _ => Err(TlsArgsError::Incomplete),
        }
    }
}

/// An option that was given and does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutEffect {
    /// The option, such as `--monitor`.
    pub option: String,
    /// Why it does nothing.
    pub reason: String,
}

/// Reads the command line of this process. Mistakes, `--help` and `--options` end the process, as is usual.
pub fn parse<P: Parser + AsMut<CommonArgs>>() -> P {
    parse_words(std::env::args_os())
}

/// Reads these words as a command line, the program's name in front; else as [`parse`].
pub fn parse_words<P: Parser + AsMut<CommonArgs>>(words: impl IntoIterator<Item = OsString>) -> P {
    match parse_from(&mut P::command(), words.into_iter()) {
        Ok(Parsed::Args(args)) => args,
        Ok(Parsed::Options(text)) => {
            print!("{text}");
            std::process::exit(0)
        }
        Err(error) => error.exit(),
    }
}

/// What a command line asks for.
enum Parsed<P> {
    Args(P),
    /// The list of options.
    Options(String),
}

fn parse_from<P: Parser + AsMut<CommonArgs>>(
    command: &mut Command,
    words: impl Iterator<Item = OsString>,
) -> Result<Parsed<P>, clap::Error> {
    let matches = command.try_get_matches_from_mut(normalise(words))?;
    if matches.get_flag("options") {
        return Ok(Parsed::Options(options(command)));
    }
    let mut args = P::from_arg_matches(&matches).map_err(|error| error.format(command))?;
    args.as_mut().without_effect = without_effect(command, &matches);
    Ok(Parsed::Args(args))
}

/// The options given that stand under [`NO_EFFECT`].
fn without_effect(command: &Command, matches: &ArgMatches) -> Vec<WithoutEffect> {
    let given = |arg: &&clap::Arg| {
        arg.get_help_heading() == Some(NO_EFFECT)
            && matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let found = command.get_arguments().filter(given);
    found
        .map(|arg| WithoutEffect {
            option: format!("--{}", arg.get_long().unwrap_or_default()),
            reason: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        })
        .collect()
}

/// All options, in the form of Open vSwitch's `--options`.
fn options(command: &Command) -> String {
    let mut text = String::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
        let value = match arg.get_action() {
            ArgAction::Set | ArgAction::Append => {
                let may_lack = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
                Some(if may_lack { "[ARG]" } else { "ARG" })
            }
            _ => None,
        };
        let names = arg.get_long_and_visible_aliases().into_iter().flatten();
        for name in names.chain(arg.get_all_aliases().into_iter().flatten()) {
            text += &match value {
                Some(value) => format!("--{name}={value}\n"),
                None => format!("--{name}\n"),
            };
        }
        if let Some(short) = arg.get_short() {
            text += &match value {
                Some(value) => format!("-{short} {value}\n"),
                None => format!("-{short}\n"),
            };
        }
    }
    text
}

/// Open vSwitch's `-vSPEC` becomes `--verbose=SPEC`, which the parser knows.
fn normalise(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut options_ended = false;
    words
        .map(|word| {
            options_ended |= word == "--";
            let short = word
                .to_str()
                .filter(|_| !options_ended)
                .and_then(|text| text.strip_prefix("-v"));
            match short {
                Some("") => OsString::from("--verbose"),
                Some(spec) => OsString::from(format!("--verbose={spec}")),
                None => word,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
        /// One is enough
        #[arg(long, help_heading = NO_EFFECT)]
        n_threads: Option<u32>,
        remote: Option<String>,
    }

    impl AsMut<CommonArgs> for Program {
        fn as_mut(&mut self) -> &mut CommonArgs {
            &mut self.common
        }
    }

    fn parse(words: &str) -> Program {
        let words = words.split(' ').map(OsString::from);
        match parse_from(&mut Program::command(), words) {
            Ok(Parsed::Args(program)) => program,
            Ok(Parsed::Options(text)) => panic!("{text}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_flags_of_service_units_are_taken() {
        let program = parse(
            "p -vconsole:emer -vsyslog:err -vfile:info -v --pidfile --log-file=/x.log unix:y",
        );
        assert_eq!(
            program.common.verbose,
            ["console:emer", "syslog:err", "file:info", "dbg"]
        );
        assert_eq!(program.common.pidfile, Some(None));
        assert_eq!(program.common.log_file, Some(Some(PathBuf::from("/x.log"))));
        assert_eq!(program.remote.as_deref(), Some("unix:y"));
        assert_eq!(program.common.without_effect, []);
    }

    #[test]
    fn what_has_no_effect_is_told_with_its_reason() {
        let program = parse("p --monitor --n-threads 4 --ssl-ciphers=HIGH");
        let told: Vec<String> = program
            .common
            .without_effect
            .iter()
            .map(|given| format!("{}: {}", given.option, given.reason))
            .collect();
        assert_eq!(
            told,
            [
                "--monitor: Restarting a daemon that died is the service manager's work",
                "--ssl-ciphers: The ciphers of TLS are those of rustls, all of them strong",
                "--n-threads: One is enough",
            ]
        );
    }

    #[test]
    fn options_are_listed_for_scripts() {
        let words = ["p", "--options"].map(OsString::from).into_iter();
        let Ok(Parsed::Options(text)) = parse_from::<Program>(&mut Program::command(), words)
        else {
            panic!("no options");
        };
        for line in [
            "--pidfile=[ARG]",
            "--user=ARG",
            "--detach",
            "-u ARG",
            "--verbose=[ARG]",
        ] {
            assert!(text.lines().any(|listed| listed == line), "{line}: {text}");
        }
    }
}
