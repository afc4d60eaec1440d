//! Where a daemon's files are, and what it is called: the same places as OVN's, under the same variables.

use std::env;
use std::ffi::OsString;
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

/// The directory of log files: `OVN_LOGDIR`, else `OVS_LOGDIR`, which OVN's own daemons heed, else `/var/log/ovn`.
pub fn log_dir() -> PathBuf {
    log_dir_of(|name| env::var_os(name))
}

/// The directory of configuration: `OVN_SYSCONFDIR/ovn`, else `/etc/ovn`.
pub fn config_dir() -> PathBuf {
    let parent = env::var_os("OVN_SYSCONFDIR").map_or_else(|| PathBuf::from("/etc"), PathBuf::from);
    parent.join("ovn")
}

fn log_dir_of(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = ["OVN_LOGDIR", "OVS_LOGDIR"].into_iter().find_map(variable);
    set.map_or_else(|| PathBuf::from("/var/log/ovn"), PathBuf::from)
}

/// The directory of Open vSwitch's own sockets: `OVS_RUNDIR`, else `/var/run/openvswitch`.
pub fn switch_run_dir() -> PathBuf {
    env::var_os("OVS_RUNDIR").map_or_else(|| PathBuf::from("/var/run/openvswitch"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_go_where_either_variable_says() {
        for (set, directory) in [
            (&[][..], "/var/log/ovn"),
            (&[("OVS_LOGDIR", "/ovs")], "/ovs"),
            (&[("OVN_LOGDIR", "/ovn"), ("OVS_LOGDIR", "/ovs")], "/ovn"),
        ] {
            let variable = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(log_dir_of(variable), Path::new(directory));
        }
    }
}
