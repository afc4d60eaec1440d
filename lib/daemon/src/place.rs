//! Where a daemon's files are, and what it is called: the same places as OVN's, under the same variables.

use std::env;
use std::path::{Path, PathBuf};

/// The name under which this process was started, such as `weft-northd` or `ovn-northd`: the last part of its first
/// argument. `fallback` where there is none.
pub fn program_name(fallback: &str) -> String {
    env::args_os()
        .next()
        .and_then(|path| Some(Path::new(&path).file_name()?.to_str()?.to_owned()))
        .unwrap_or_else(|| fallback.to_owned())
}

/// The directory of sockets and pid files: `OVN_RUNDIR`, else `/var/run/ovn`.
pub fn run_dir() -> PathBuf {
    env::var_os("OVN_RUNDIR").map_or_else(|| PathBuf::from("/var/run/ovn"), PathBuf::from)
}

/// The directory of log files: `OVN_LOGDIR`, else `/var/log/ovn`.
pub fn log_dir() -> PathBuf {
    env::var_os("OVN_LOGDIR").map_or_else(|| PathBuf::from("/var/log/ovn"), PathBuf::from)
}

/// The directory of Open vSwitch's own sockets: `OVS_RUNDIR`, else `/var/run/openvswitch`.
pub fn switch_run_dir() -> PathBuf {
    env::var_os("OVS_RUNDIR").map_or_else(|| PathBuf::from("/var/run/openvswitch"), PathBuf::from)
}
