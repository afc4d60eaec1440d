//! A daemon's start, in the one right order.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::args::{CommonArgs, WithoutEffect};
use crate::detach::{self, Role};
use crate::pidfile::PidFile;
use crate::unixctl::{self, Control, Surface};
use crate::{place, user, vlog};

/// A started daemon's hold on its surroundings. Dropping it removes the pid file and the control socket.
#[derive(Debug)]
pub struct Process {
    /// The name under which it was started.
    pub program: String,
    detached: bool,
    control: Option<PathBuf>,
    /// Whether the control socket is this process's own.
    listens: OnceLock<()>,
    _pidfile: Option<PidFile>,
}

/// Why a daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The second process could not be started.
    #[error("cannot run in the background: {0}")]
    Detach(#[source] io::Error),
    /// The rights of another user could not be taken.
    #[error("--user {user}: {error}")]
    User {
        /// Who was asked for.
        user: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A log file or a level.
    #[error(transparent)]
    Log(#[from] vlog::VlogError),
    /// The pid file cannot be written or is another's.
    #[error("pid file {path}: {error}", path = .path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The control socket cannot be made.
    #[error("control socket {path}: {error}", path = .path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

impl Process {
    /// Starts a daemon: detaches if asked to, becomes another user if asked to, opens the log, takes the pid file.
    /// Says in the log which of the options have no effect.
    ///
    /// `Err(code)` inside the `Ok` means that this is the parent of a detached daemon, which is to exit with `code`.
    /// Call it before any thread is started. `program` is the name to use when the process has none, `modules` are
    /// the names of the log modules that exist from the start.
    pub fn start(
        args: &CommonArgs,
        program: &str,
        modules: &[&str],
    ) -> Result<Result<Self, ExitCode>, StartError> {
        let program = place::program_name(program);
        if args.detach
            && let Role::Parent(code) =
                detach::detach(!args.no_chdir).map_err(StartError::Detach)?
        {
            return Ok(Err(code));
        }
        if let Some(spec) = &args.user {
            user::become_user(spec).map_err(|error| StartError::User {
                user: spec.clone(),
                error,
            })?;
        }
        let log_file = args.log_file.as_ref().map(|given| {
            given.as_ref().map_or_else(
                || place::log_dir().join(format!("{program}.log")),
                |path| in_dir(path, &place::log_dir()),
            )
        });
        let quiet = vlog::init(&args.verbose, log_file, modules, args.detach)?;
        tell_without_effect(&args.without_effect, &quiet);
        let pidfile = args.pidfile.as_ref().map(|given| {
            let default = || place::run_dir().join(format!("{program}.pid"));
            let path = given
                .as_ref()
                .map_or_else(default, |path| in_dir(path, &place::run_dir()));
            PidFile::create(&path, args.overwrite_pidfile)
                .map_err(|error| StartError::PidFile { path, error })
        });
        let control = match &args.unixctl {
            Some(name) if name.as_os_str() == "none" => None,
            Some(name) => Some(in_dir(name, &place::run_dir())),
            None => Some(place::run_dir().join(format!("{program}.{}.ctl", std::process::id()))),
        };
        Ok(Ok(Self {
            program,
            detached: args.detach,
            control,
            listens: OnceLock::new(),
            _pidfile: pidfile.transpose()?,
        }))
    }

    /// Opens the control socket, which answers what `surface` says beside what every daemon has. To be called within
    /// a tokio runtime. Without a socket (`--unixctl=none`), no request ever comes.
    pub fn listen(&self, version: &str, surface: Surface) -> Result<Control, StartError> {
        let Some(path) = &self.control else {
            return Ok(unixctl::silent());
        };
        let version = format!("{} (Weft) {version}", self.program);
        let control = unixctl::listen(path, version, surface);
        let control = control.map_err(|error| StartError::Control {
            path: path.clone(),
            error,
        })?;
        self.listens.get_or_init(|| ());
        Ok(control)
    }

    /// Says that the daemon serves: whoever started it with `--detach` gets its prompt back.
    pub fn ready(&self) -> io::Result<()> {
        if self.detached {
            detach::announce_ready()
        } else {
            Ok(())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What was there before this process is another's.
        if let (Some(path), Some(())) = (&self.control, self.listens.get()) {
            // A socket nobody listens on does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn in_dir(path: &Path, directory: &Path) -> PathBuf {
    // `join` with an absolute path is that path.
    directory.join(path)
}

/// One line for all options, and only where something was given.
fn tell_without_effect(options: &[WithoutEffect], levels: &[(String, &'static str)]) {
    let options = options
        .iter()
        .map(|given| format!("{} ({})", given.option, given.reason));
    let levels = levels
        .iter()
        .map(|(option, reason)| format!("{option} ({reason})"));
    let all: Vec<String> = options.chain(levels).collect();
    if !all.is_empty() {
        tracing::info!(target: "main", "given, and without effect: {}", all.join(", "));
    }
}
