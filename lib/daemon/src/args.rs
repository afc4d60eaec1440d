//! The flags that every daemon takes, under Open vSwitch's names.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

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

    /// Accepted for compatibility: restarting a daemon that died is the service manager's work
    #[arg(long, help_heading = "Daemon")]
    pub monitor: bool,

    /// Accepted for compatibility: files may be anywhere that the system allows
    #[arg(long, help_heading = "Daemon")]
    pub no_self_confinement: bool,

    /// The control socket, a path or a name in the run directory; by default PROGRAM.PID.ctl there, "none" for no socket
    #[arg(long, value_name = "SOCKET", help_heading = "Daemon")]
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

    /// Accepted for compatibility
    #[arg(long, value_name = "METHOD", hide = true)]
    pub syslog_method: Option<String>,

    /// Accepted for compatibility
    #[arg(long, value_name = "TARGET", hide = true)]
    pub syslog_target: Option<String>,
}

/// The arguments of this process in the form that the parser takes: Open vSwitch's `-vSPEC` becomes `--verbose=SPEC`.
pub fn arguments() -> Vec<OsString> {
    normalise(std::env::args_os())
}

fn normalise(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut options_ended = false;
    arguments
        .map(|argument| {
            options_ended |= argument == "--";
            let short = argument
                .to_str()
                .filter(|_| !options_ended)
                .and_then(|text| text.strip_prefix("-v"));
            match short {
                Some("") => OsString::from("--verbose"),
                Some(spec) => OsString::from(format!("--verbose={spec}")),
                None => argument,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
        remote: Option<String>,
    }

    fn parse(words: &str) -> Program {
        Program::parse_from(normalise(words.split(' ').map(OsString::from)))
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
    }
}
