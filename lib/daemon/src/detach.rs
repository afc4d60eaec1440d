//! Running in the background.
//!
//! A process that already has threads cannot fork safely, and Rust offers no fork without `unsafe`. So the process
//! starts itself a second time: the child finds [`MARK`] in its environment, leads a session of its own, and tells
//! its parent through its standard output that it is ready. The parent's exit status is then that of the start.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const MARK: &str = "WEFT_DETACHED";
const READY: &str = "ready";

/// Which of the two processes this is.
pub(crate) enum Role {
    /// The one that goes on to serve.
    Daemon,
    /// The one that waited for it, and should now exit.
    Parent(ExitCode),
}

/// Starts the process again in the background and waits until it is ready or has failed.
pub(crate) fn detach(chdir: bool) -> io::Result<Role> {
    if env::var_os(MARK).is_some() {
        rustix::process::setsid()?;
        if chdir {
            env::set_current_dir(Path::new("/"))?;
        }
        return Ok(Role::Daemon);
    }
    let mut child = Command::new(env::current_exe()?);
    if let Some(name) = env::args_os().next() {
        std::os::unix::process::CommandExt::arg0(&mut child, name);
    }
    let mut child = child
        .args(env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    if line.trim_end() == READY {
        return Ok(Role::Parent(ExitCode::SUCCESS));
    }
    let status = child.wait()?;
    Ok(Role::Parent(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    )))
}

/// Tells the waiting parent that the start succeeded, and lets go of its terminal.
pub(crate) fn announce_ready() -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{READY}")?;
    output.flush()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
