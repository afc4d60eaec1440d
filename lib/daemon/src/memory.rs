//! What the process takes of the machine's memory, for `memory/show`.

use std::io;

/// The keys that are told, after those of `/proc/PID/status` (proc_pid_status(5)).
const KEYS: [(&str, &str); 3] = [
    ("peak-resident-KB", "VmHWM:"),
    ("resident-KB", "VmRSS:"),
    ("virtual-KB", "VmSize:"),
];

/// One line, `KEY:VALUE KEY:VALUE …`, in kibibytes.
pub(crate) fn show() -> io::Result<String> {
    std::fs::read_to_string("/proc/self/status").map(|status| tell(&status))
}

fn tell(status: &str) -> String {
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()
    };
    let told = KEYS.iter().filter_map(|(told, key)| {
        let value = value(key)?;
        Some(format!("{told}:{value}"))
    });
    let told: Vec<String> = told.collect();
    told.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        let status =
            "Name:\tx\nVmPeak:\t  900 kB\nVmSize:\t  800 kB\nVmHWM:\t  70 kB\nVmRSS:\t   60 kB\n";
        assert_eq!(
            tell(status),
            "peak-resident-KB:70 resident-KB:60 virtual-KB:800\n"
        );
        assert!(show().unwrap().contains("resident-KB:"));
    }
}
