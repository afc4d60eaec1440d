//! How a program speaks to those who run it.

use std::io::Write;
use std::time::SystemTime;

/// How a program speaks to those who run it.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// What it calls itself in messages: `weft nb`, `ovn-nbctl`.
    pub name: String,
    /// Whether warnings have the form of Open vSwitch's log.
    pub logs: bool,
}

impl Reporter {
    /// Says why nothing was done.
    pub fn error(&self, text: &str) {
        // Who has closed the error output does not want to know.
        let _ = writeln!(std::io::stderr(), "{}: {text}", self.name);
    }

    /// What somebody should know of the tool's commands.
    pub fn warn(&self, text: &str) {
        self.warn_of("db_ctl_base", text);
    }

    /// A warning of a module, as Open vSwitch's log has it.
    pub fn warn_of(&self, module: &str, text: &str) {
        let mut stderr = std::io::stderr();
        let _ = if self.logs {
            let time = humantime::format_rfc3339_millis(SystemTime::now());
            writeln!(stderr, "{time}|00001|{module}|WARN|{text}")
        } else {
            writeln!(stderr, "{}: warning: {text}", self.name)
        };
    }
}
