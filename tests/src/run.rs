//! One command, bounded in time, whose failure shows what was run and what it said.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a command may take unless [`Run::within`] says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// A command to be run.
#[derive(Clone, Debug)]
pub struct Run {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    namespace: Option<String>,
    limit: Duration,
}

impl Run {
    /// `program` without arguments, in the namespace of the caller.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            environment: Vec::new(),
            namespace: None,
            limit: DEFAULT_LIMIT,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it inside the network namespace of that name.
    pub fn inside(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Ends it after `limit`.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end: what it printed, or an error that quotes what it complained about.
    pub fn output(&self) -> Result<String> {
        let output = self.raw_output()?;
        if !output.status.success() {
            bail!(
                "`{self}` failed ({}): {}",
                output.status,
                complaint(&output)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end: whether it succeeded.
    pub fn succeeds(&self) -> Result<bool> {
        Ok(self.raw_output()?.status.success())
    }

    /// Runs it to its end, which must be a failure: what it complained about.
    pub fn complaint(&self) -> Result<String> {
        let output = self.raw_output()?;
        if output.status.success() {
            bail!(
                "`{self}` was expected to fail and did not: {}",
                String::from_utf8_lossy(&output.stdout).trim()
            );
        }
        Ok(complaint(&output))
    }

    /// The command, bounded by coreutils' `timeout`, for a caller that wants more than its output.
    pub fn bounded_command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.env("PATH", search_path());
        command
            .arg("--kill-after=2")
            .arg(format!("{}", self.limit.as_secs_f64()));
        self.append_to(&mut command);
        command
    }

    /// The command without a bound: for daemons.
    pub fn command(&self) -> Command {
        let mut argv = self.full_argv().into_iter();
        let program = argv.next().expect("a Run has at least its program");
        let mut command = Command::new(program);
        command.env("PATH", search_path());
        command
            .args(argv)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn raw_output(&self) -> Result<Output> {
        self.bounded_command()
            .output()
            .with_context(|| format!("cannot run `{self}`"))
    }

    fn append_to(&self, command: &mut Command) {
        command.args(self.full_argv());
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
    }

    fn full_argv(&self) -> Vec<OsString> {
        let mut argv = Vec::with_capacity(self.argv.len() + 2);
        if let Some(namespace) = &self.namespace {
            argv.push("nsenter".into());
            argv.push(format!("--net=/run/netns/{namespace}").into());
        }
        argv.extend(self.argv.iter().cloned());
        argv
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.argv.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{}", quoted(&word.to_string_lossy()))?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " (in {namespace})")?;
        }
        Ok(())
    }
}

/// `word` as one would type it into a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where programs are looked for: along `PATH`, and where those of the system are, which not everybody's `PATH` names.
pub fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    // A folder whose name holds a colon cannot come out of a path.
    std::env::join_paths(std::env::split_paths(&path).chain(system)).unwrap_or(path)
}

fn complaint(output: &Output) -> String {
    let said = [&output.stderr, &output.stdout]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    match output.status.code() {
        Some(124) => format!(
            "it took longer than it may; so far it said: {}",
            said.join(" ")
        ),
        _ => said.join(" ").trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_name_the_command_and_quote_it() {
        let error = Run::new("sh")
            .args(["-c", "echo broken >&2; exit 3"])
            .output()
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c 'echo broken >&2; exit 3'"), "{error}");
        assert!(error.contains("broken"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = Run::new("sleep")
            .arg("60")
            .within(Duration::from_millis(50))
            .output()
            .unwrap_err()
            .to_string();
        assert!(error.contains("longer than it may"), "{error}");
    }

    #[test]
    fn words_are_quoted_as_a_shell_needs_them() {
        for (word, expected) in [
            ("ls-add", "ls-add"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
