//! Logging in Open vSwitch's form: lines `TIME|NUMBER|MODULE|LEVEL|MESSAGE`, and a level for each module and facility
//! that can be changed while the daemon runs.
//!
//! Code logs through `tracing`; an event's module is the last part of its target, so `tracing::warn!` in
//! `controller::encaps` logs as `encaps`. ERR and WARN mean that somebody should look.

mod layer;
mod levels;
mod names;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;

use self::layer::{Vlog, VlogLayer};
pub use self::levels::{Facility, Level, SpecError};

/// The commands that [`command`] answers, with their arguments.
pub(crate) const COMMANDS: [(&str, &str); 7] = [
    ("vlog/close", ""),
    ("vlog/disable-rate-limit", "[module]..."),
    ("vlog/enable-rate-limit", "[module]..."),
    ("vlog/list", ""),
    ("vlog/list-pattern", ""),
    ("vlog/reopen", ""),
    ("vlog/set", "{spec | PATTERN:facility:pattern}"),
];

/// `vlog/list-pattern`: the form of lines, which is fixed.
const PATTERNS: &str = "         prefix                            format
         ------                            ------
CONSOLE  none                              %D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c|%p|%m
FILE     none                              %D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c|%p|%m
";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum VlogError {
    /// The log file cannot be opened.
    #[error("log file {path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A level specification makes no sense.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

static VLOG: OnceLock<&'static Vlog> = OnceLock::new();

/// Starts logging, once for a process: `specs` are the `-v` arguments in order, `modules` the names that exist from
/// the start. A detached daemon has no console. Specifications without effect are given back, each with the reason.
pub(crate) fn init(
    specs: &[String],
    file: Option<PathBuf>,
    modules: &[&str],
    detached: bool,
) -> Result<Vec<(String, &'static str)>, VlogError> {
    let vlog: &'static Vlog = Box::leak(Box::new(Vlog::new(modules, detached)));
    let mut without_effect = Vec::new();
    for spec in specs {
        let reason = vlog.set(spec)?;
        without_effect.extend(reason.map(|reason| (format!("--verbose={spec}"), reason)));
    }
    if let Some(path) = file {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| VlogError::File {
                path: path.clone(),
                error,
            })?;
        }
        vlog.open(path)?;
    }
    if VLOG.set(vlog).is_ok() {
        let subscriber = tracing_subscriber::registry().with(VlogLayer::new(vlog));
        // Fails only where another subscriber stands already, as in a test program: then that one is right.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
    Ok(without_effect)
}

/// Opens the log file again, after it was moved away.
pub fn reopen() {
    if let Some(vlog) = VLOG.get()
        && let Err(error) = vlog.reopen()
    {
        tracing::error!(target: "vlog", "{error}");
    }
}

/// Answers a `vlog/…` command; `None` for any other.
pub(crate) fn command(method: &str, args: &[String]) -> Option<Result<String, String>> {
    let known = COMMANDS.iter().any(|(name, _)| *name == method);
    let vlog = match VLOG.get() {
        Some(vlog) if known => vlog,
        Some(_) => return None,
        None => return known.then(|| Err("this process has no log".to_owned())),
    };
    Some(match method {
        "vlog/list" => Ok(vlog.list()),
        "vlog/list-pattern" => Ok(PATTERNS.to_owned()),
        // No message is held back here, so there is nothing to do but to say what is no module.
        "vlog/enable-rate-limit" | "vlog/disable-rate-limit" => {
            match args.iter().all(|name| vlog.knows(name)) {
                true => Ok(String::new()),
                false => Err("unknown module".to_owned()),
            }
        }
        "vlog/set" => args
            .iter()
            .try_for_each(|spec| vlog.set(spec).map(|_| ()))
            .map(|()| String::new())
            .map_err(|error| error.what),
        "vlog/reopen" => vlog
            .reopen()
            .map(|()| String::new())
            .map_err(|error| error.to_string()),
        _ => {
            vlog.close();
            Ok(String::new())
        }
    })
}

fn open_for_append(path: &PathBuf) -> Result<File, VlogError> {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| VlogError::File {
            path: path.clone(),
            error,
        })
}
