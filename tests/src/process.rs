//! A daemon of the rig: started in the foreground of its namespace, killed without mercy, started again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::run::Run;
use crate::wait::wait_for;

/// How long a daemon may take to answer on its socket. A database of a million rows takes its time.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A daemon, running or not.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    run: Run,
    /// Where it and what it prints to its terminal are logged.
    output: PathBuf,
    /// Its control socket, in the OVS unixctl protocol; `PID` in it stands for its process id.
    control: PathBuf,
    /// A socket that it opens when it is ready to serve; by default the control socket.
    ready: Option<PathBuf>,
    child: Option<Child>,
    /// Whether it was stopped by [`Daemon::pause`].
    paused: bool,
}

impl Daemon {
    /// Starts `run`, which logs to `dir/NAME.log`, and waits until it answers on its control socket, and on the socket
    /// `ready` if there is one.
    pub fn start(
        name: &str,
        dir: &Path,
        run: Run,
        control: PathBuf,
        ready: Option<PathBuf>,
    ) -> Result<Self> {
        let mut daemon = Self::launch(name, dir, run, control, ready)?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// The same, without waiting: for daemons that wait for each other. [`Daemon::wait_ready`] is to follow.
    pub fn launch(
        name: &str,
        dir: &Path,
        run: Run,
        control: PathBuf,
        ready: Option<PathBuf>,
    ) -> Result<Self> {
        let output = dir.join(format!("{name}.out"));
        let mut daemon = Self {
            name: name.to_owned(),
            run,
            output,
            control,
            ready,
            child: None,
            paused: false,
        };
        daemon.spawn()?;
        Ok(daemon)
    }

    /// Starts it after it was killed or has ended.
    pub fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it after it has ended, as another command.
    pub fn start_as(&mut self, run: Run) -> Result<()> {
        self.run = run;
        self.start_again()
    }

    fn spawn(&mut self) -> Result<()> {
        // Sockets of a killed daemon would look like those of the new one.
        for stale in self.ready.iter().chain([&self.control]) {
            let _absent = fs::remove_file(stale);
        }
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.output)?;
        let child = self
            .run
            .command()
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output))
            .spawn()
            .with_context(|| format!("cannot start {}: `{}`", self.name, self.run))?;
        self.child = Some(child);
        self.paused = false;
        Ok(())
    }

    /// Waits until it answers, after [`Daemon::launch`].
    pub fn wait_ready(&mut self) -> Result<()> {
        let control = self.control_socket()?;
        let awaited = format!(
            "{} to answer on {}",
            self.name,
            self.ready.as_ref().unwrap_or(&control).display()
        );
        let ended = wait_for(&awaited, START_LIMIT, || {
            // An end is reported as a value: an error would only be waited out.
            let status = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            let mut sockets = self.ready.iter().chain([&control]);
            let answers = sockets.all(|socket| UnixStream::connect(socket).is_ok());
            Ok(status.map(Some).or(answers.then_some(None)))
        })?;
        match ended {
            Some(status) => {
                self.child = None;
                bail!(
                    "{} ended at once ({status}): {}",
                    self.name,
                    self.last_words()
                )
            }
            None => Ok(()),
        }
    }

    /// What it is called in its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        let child = self
            .child
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))?;
        Ok(Pid::from_child(child))
    }

    /// Kills it with a signal that it cannot handle.
    pub fn kill(&mut self) -> Result<()> {
        self.end_by(Signal::KILL)
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> Result<()> {
        self.end_by(Signal::TERM)
    }

    /// Stops it where it is, until [`Daemon::resume`].
    pub fn pause(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    /// Lets it go on after [`Daemon::pause`].
    pub fn resume(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    /// Whether it was started, and neither ended nor stopped by us since.
    pub fn is_awake(&self) -> bool {
        self.child.is_some() && !self.paused
    }

    /// How it ended, if it ended by itself; from then on it can be started again.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self
            .child
            .as_mut()
            .map(Child::try_wait)
            .transpose()?
            .flatten();
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits until it has ended by itself; an error unless it did in good order.
    pub fn wait_end(&mut self) -> Result<()> {
        let awaited = format!("{} to end", self.name);
        let status = wait_for(&awaited, START_LIMIT, || self.ended())?;
        match status.success() {
            true => Ok(()),
            false => bail!("{} failed ({status}): {}", self.name, self.last_words()),
        }
    }

    /// Fails if it has ended by itself, with its last words.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.ended()? {
            Some(status) => bail!("{} has ended ({status}): {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// A command on its control socket, as `ovs-appctl` gives it.
    pub fn control(&self, args: &[&str]) -> Result<String> {
        Run::new("ovs-appctl")
            .arg("-t")
            .arg(&self.control)
            .args(args)
            .output()
    }

    /// What its threads have consumed so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()?.as_raw_nonzero()));
        let mut nanoseconds = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("{} has ended", self.name))? {
            // A thread may end between the listing and the look.
            let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let running = schedstat
                .split_whitespace()
                .next()
                .context("schedstat begins with a time")?;
            nanoseconds += running.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// The memory that it holds now, in bytes.
    pub fn memory(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// Lets it be: it will outlive this value.
    pub fn forget(mut self) {
        self.child = None;
    }

    fn end_by(&mut self, signal: Signal) -> Result<()> {
        let pid = self.pid()?;
        let mut child = self
            .child
            .take()
            .with_context(|| format!("{} is not running", self.name))?;
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(pid, signal)?;
        let status = wait_for(&format!("{} to end", self.name), START_LIMIT, || {
            Ok(child.try_wait()?)
        });
        if status.is_err() {
            self.child = Some(child);
        }
        status.map(drop)
    }

    fn control_socket(&self) -> Result<PathBuf> {
        let pid = self.pid()?.as_raw_nonzero().to_string();
        Ok(PathBuf::from(
            self.control.to_string_lossy().replace("PID", &pid),
        ))
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .with_context(|| format!("no {field} in its status"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// The last that it printed.
    pub fn last_words(&self) -> String {
        tail(&self.output, 5)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some()
            && let Err(error) = self.kill()
        {
            eprintln!("cannot end {}: {error:#}", self.name);
        }
    }
}

/// Where the daemon `name` of the folder `dir` is told to answer.
pub fn control_socket(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.ctl"))
}

/// Where the daemon `name` of the folder `dir` logs.
pub fn log_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// The last `count` lines of a file, or nothing if it cannot be read.
pub fn tail(path: &Path, count: usize) -> String {
    let text = File::open(path)
        .and_then(std::io::read_to_string)
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
