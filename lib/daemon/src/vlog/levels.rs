//! Levels, facilities, and the specifications that set them: `MODULE:FACILITY:LEVEL` in any order, any part left out.

use std::fmt;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is logged.
    Off,
    /// The daemon cannot go on.
    Emer,
    /// Something failed; somebody should look.
    Err,
    /// Something is not as it should be; somebody should look.
    Warn,
    /// What an operator may like to know.
    Info,
    /// What a developer may like to know.
    Dbg,
}

impl Level {
    const ALL: [(&'static str, Self); 6] = [
        ("off", Self::Off),
        ("emer", Self::Emer),
        ("err", Self::Err),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("dbg", Self::Dbg),
    ];

    /// The level of an event.
    pub(super) fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Err,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Dbg,
        }
    }
}

/// In capitals, as in a line of the log.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "OFF",
            Self::Emer => "EMER",
            Self::Err => "ERR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Dbg => "DBG",
        })
    }
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// Standard error.
    Console,
    /// The system's log. Levels can be set, as scripts do; nothing is sent there: a service manager takes the console.
    Syslog,
    /// The log file.
    File,
}

impl Facility {
    pub(super) const ALL: [(&'static str, Self); 3] = [
        ("console", Self::Console),
        ("syslog", Self::Syslog),
        ("file", Self::File),
    ];
}

/// A module's level for each facility, indexed by `Facility as usize`.
pub(super) type Levels = [Level; 3];

/// A specification, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spec<'s> {
    /// The module; `None` for all.
    pub(super) module: Option<&'s str>,
    /// The facility; `None` for all.
    pub(super) facility: Option<Facility>,
    /// The level: `dbg` unless given.
    pub(super) level: Level,
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log level {spec:?}: {what}")]
pub struct SpecError {
    /// The specification.
    pub spec: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl<'s> Spec<'s> {
    /// Takes it apart; the words may be separated by colons, commas or spaces.
    pub(super) fn parse(text: &'s str) -> Result<Self, SpecError> {
        let twice = |what: &str| SpecError {
            spec: text.to_owned(),
            what: format!("{what} is given twice"),
        };
        let (mut module, mut facility, mut level) = (None, None, None);
        for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            if is("any") {
            } else if let Some((_, found)) = Level::ALL.iter().find(|(name, _)| is(name)) {
                if level.replace(*found).is_some() {
                    return Err(twice("the level"));
                }
            } else if let Some((_, found)) = Facility::ALL.iter().find(|(name, _)| is(name)) {
                if facility.replace(*found).is_some() {
                    return Err(twice("the facility"));
                }
            } else if module.replace(word).is_some() {
                return Err(twice("the module"));
            }
        }
        Ok(Self {
            module,
            facility,
            level: level.unwrap_or(Level::Dbg),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_taken_apart_in_any_order() {
        let spec = |module, facility, level| {
            Ok(Spec {
                module,
                facility,
                level,
            })
        };
        assert_eq!(
            Spec::parse("console:emer"),
            spec(None, Some(Facility::Console), Level::Emer)
        );
        assert_eq!(
            Spec::parse("ANY:file:info"),
            spec(None, Some(Facility::File), Level::Info)
        );
        assert_eq!(
            Spec::parse("warn:ofctrl"),
            spec(Some("ofctrl"), None, Level::Warn)
        );
        assert_eq!(Spec::parse("raft"), spec(Some("raft"), None, Level::Dbg));
        assert_eq!(
            Spec::parse("a:b").unwrap_err().to_string(),
            "log level \"a:b\": the module is given twice"
        );
    }
}
