//! What all daemons share: arguments, logging, control socket, pid file, signals.
//!
//! Operators and scripts of OVN deal with every daemon in the same way: flags such as `--pidfile`, `--detach` and
//! `--log-file`, log lines of the form `TIME|NUMBER|MODULE|LEVEL|MESSAGE`, and a control socket that `ovs-appctl -t`
//! and `ovn-appctl -t` find and talk to. This crate gives Weft's daemons those manners once.
//!
//! The order of a daemon's start is always the same, see [`Process::start`]: parse the arguments, detach, open the
//! log, take the pid file, listen on the control socket, and only then do what the daemon is for. A parent that
//! waits for a detached daemon returns when [`Process::ready`] is called.

pub mod args;
pub mod coverage;
mod detach;
pub mod event_loop;
pub mod http;
mod memory;
pub mod metrics;
mod now;
mod pidfile;
pub mod place;
mod process;
mod record;
pub mod signals;
mod stopwatch;
pub mod unixctl;
mod user;
pub mod vlog;
pub mod warp;

pub use args::CommonArgs;
pub use now::Now;
pub use process::{Process, StartError};
pub use record::{Recorder, Recording, RecordingError};
