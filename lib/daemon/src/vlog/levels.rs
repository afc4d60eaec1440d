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

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, level)| *level)
    }

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
    const ALL: [(&'static str, Self); 3] = [
        ("console", Self::Console),
        ("syslog", Self::Syslog),
        ("file", Self::File),
    ];

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, facility)| *facility)
    }
}

/// A module's level for each facility, indexed by `Facility as usize`.
pub(super) type Levels = [Level; 3];

/// A specification, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spec<'s> {
    /// A level.
    Level {
        /// The module; `None` for all.
        module: Option<&'s str>,
        /// The facility; `None` for all.
        facility: Option<Facility>,
        /// The level: `dbg` unless given.
        level: Level,
    },
    /// What has no effect, and why: `PATTERN:DESTINATION:PATTERN` and `FACILITY:FACILITY`.
    NoEffect(&'static str),
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("processing {spec:?}: {what}")]
pub struct SpecError {
    /// The specification.
    pub spec: String,
    /// What is wrong, in vlog's words.
    pub what: String,
}

/// The facilities of syslog(3) that may be named after `FACILITY:`.
const SYSLOG_FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "clock", "ftp",
    "ntp", "audit", "alert", "clock2", "cron", "authpriv", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7",
];

impl<'s> Spec<'s> {
    /// Takes it apart; the words may be separated by colons, commas or spaces.
    pub(super) fn parse(text: &'s str) -> Result<Self, SpecError> {
        let wrong = |what: String| SpecError {
            spec: text.to_owned(),
            what,
        };
        let mut words = text.splitn(3, ':');
        match words.next() {
            Some(word) if word.eq_ignore_ascii_case("PATTERN") => {
                let destination = words.next().filter(|word| !word.is_empty());
                let destination = destination.ok_or_else(|| wrong("missing destination".into()))?;
                let known = destination.eq_ignore_ascii_case("any")
                    || Facility::named(destination).is_some();
                return match (known, words.next()) {
                    (false, _) => Err(wrong(format!("unknown destination {destination:?}"))),
                    (true, None | Some("")) => Err(wrong("missing pattern".into())),
                    (true, Some(_)) => Ok(Self::NoEffect("lines of the log have one form")),
                };
            }
            Some(word) if word.eq_ignore_ascii_case("FACILITY") => {
                let facility = words.next().unwrap_or_default();
                return match SYSLOG_FACILITIES.contains(&facility) {
                    true => Ok(Self::NoEffect("nothing is sent to syslog")),
                    false => Err(wrong("invalid facility".into())),
                };
            }
            _ => {}
        }
        let (mut module, mut facility, mut level) = (None, None, None);
        for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
            if word.eq_ignore_ascii_case("any") {
            } else if let Some(found) = Level::named(word) {
                if level.replace(found).is_some() {
                    return Err(wrong("cannot specify multiple levels".into()));
                }
            } else if let Some(found) = Facility::named(word) {
                if facility.replace(found).is_some() {
                    return Err(wrong("cannot specify multiple destinations".into()));
                }
            } else if module.replace(word).is_some() {
                return Err(wrong("cannot specify multiple modules".into()));
            }
        }
        Ok(Self::Level {
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
            Ok(Spec::Level {
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
        for quiet in [
            "PATTERN:console:%c|%m",
            "pattern:ANY:a:b",
            "FACILITY:daemon",
        ] {
            assert!(
                matches!(Spec::parse(quiet), Ok(Spec::NoEffect(_))),
                "{quiet}"
            );
        }
    }

    #[test]
    fn mistakes_are_named_in_the_words_of_vlog() {
        for (text, what) in [
            ("a:b", "cannot specify multiple modules"),
            ("console:file:dbg", "cannot specify multiple destinations"),
            ("dbg:err", "cannot specify multiple levels"),
            ("PATTERN", "missing destination"),
            ("PATTERN:foo:bar", "unknown destination \"foo\""),
            ("PATTERN:file", "missing pattern"),
            ("FACILITY:xx", "invalid facility"),
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("processing {text:?}: {what}"));
        }
    }
}
