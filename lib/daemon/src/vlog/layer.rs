//! From `tracing` events to lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::levels::{Facility, Level, Levels, Spec, SpecError};
use super::{VlogError, names, open_for_append};

/// A message longer than this is cut: a log line is for reading.
const MESSAGE_LIMIT_BYTES: usize = 8 << 10;

/// The levels and the open file.
#[derive(Debug)]
pub(super) struct Vlog {
    state: Mutex<State>,
    /// The highest level of any module and facility, so that a disabled event costs one load.
    highest: AtomicU8,
    lines: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// What a module has that nobody has set.
    defaults: Levels,
    modules: BTreeMap<String, Levels>,
    file: Option<(PathBuf, Option<File>)>,
}

impl Vlog {
    pub(super) fn new(modules: &[&str], detached: bool) -> Self {
        let console = if detached { Level::Off } else { Level::Info };
        let defaults = [console, Level::Info, Level::Info];
        let modules = modules
            .iter()
            .map(|&module| (module.to_owned(), defaults))
            .collect();
        let state = Mutex::new(State {
            defaults,
            modules,
            file: None,
        });
        Self {
            state,
            highest: AtomicU8::new(Level::Info as u8),
            lines: AtomicU64::new(1),
        }
    }

    /// Carries a specification out. What has no effect is said.
    pub(super) fn set(&self, spec: &str) -> Result<Option<&'static str>, SpecError> {
        let (module, facility, level) = match Spec::parse(spec)? {
            Spec::Level {
                module,
                facility,
                level,
            } => (module, facility, level),
            Spec::NoEffect(reason) => return Ok(Some(reason)),
        };
        let mut state = self.lock();
        let apply = |levels: &mut Levels| match facility {
            Some(facility) => levels[facility as usize] = level,
            None => *levels = [level; 3],
        };
        let own = |state: &State, name: &str| {
            let mut names = state.modules.keys();
            names.find(|own| own.eq_ignore_ascii_case(name)).cloned()
        };
        match module {
            None => {
                apply(&mut state.defaults);
                state.modules.values_mut().for_each(apply);
            }
            Some(name) => {
                let meant: Vec<String> = match own(&state, name) {
                    Some(own) => vec![own],
                    None => names::ours(name)
                        .ok_or_else(|| SpecError {
                            spec: spec.to_owned(),
                            what: format!("no destination, level, or module {name:?}"),
                        })?
                        .iter()
                        .filter_map(|ours| own(&state, ours))
                        .collect(),
                };
                for module in &meant {
                    state.modules.get_mut(module).into_iter().for_each(apply);
                }
            }
        }
        let levels = state.modules.values().flatten().chain(&state.defaults);
        let highest = levels.max().copied().unwrap_or(Level::Off);
        self.highest.store(highest as u8, Ordering::Relaxed);
        drop(state);
        tracing::callsite::rebuild_interest_cache();
        Ok(None)
    }

    /// Whether there is a module of this name here, or one in OVN's or Open vSwitch's daemons; `any` is all of them.
    pub(super) fn knows(&self, name: &str) -> bool {
        let state = self.lock();
        let mut own = state.modules.keys();
        name.eq_ignore_ascii_case("any")
            || own.any(|own| own.eq_ignore_ascii_case(name))
            || names::ours(name).is_some()
    }

    pub(super) fn list(&self) -> String {
        let mut text = "                 console    syslog    file\n                 -------    ------    ------\n".to_owned();
        for (module, [console, syslog, file]) in &self.lock().modules {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{module:<16}  {console:>4}       {syslog:>4}       {file:>4}"
            );
        }
        text
    }

    pub(super) fn open(&self, path: PathBuf) -> Result<(), VlogError> {
        let file = open_for_append(&path)?;
        self.lock().file = Some((path, Some(file)));
        Ok(())
    }

    pub(super) fn reopen(&self) -> Result<(), VlogError> {
        let mut state = self.lock();
        if let Some((path, file)) = &mut state.file {
            *file = Some(open_for_append(path)?);
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        if let Some((_, file)) = &mut self.lock().file {
            *file = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held cannot have left levels half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, module: &str, level: Level, message: &str) {
        let mut state = self.lock();
        let levels = match state.modules.get(module) {
            Some(levels) => *levels,
            None => {
                let defaults = state.defaults;
                state.modules.insert(module.to_owned(), defaults);
                defaults
            }
        };
        let wants = |facility: Facility| level <= levels[facility as usize];
        let to_file =
            wants(Facility::File) && state.file.as_ref().is_some_and(|(_, file)| file.is_some());
        if !to_file && !wants(Facility::Console) {
            return;
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        let line = format!("{time}|{number:05}|{module}|{level}|{message}\n");
        // A full disk or a closed console must not stop the daemon, and there is nowhere left to say it.
        if wants(Facility::Console) {
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
        if to_file && let Some((_, Some(file))) = &mut state.file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// The bridge from `tracing`.
pub(super) struct VlogLayer {
    vlog: &'static Vlog,
}

impl VlogLayer {
    pub(super) fn new(vlog: &'static Vlog) -> Self {
        Self { vlog }
    }
}

impl<S: Subscriber> Layer<S> for VlogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        Level::of(*metadata.level()) as u8 <= self.vlog.highest.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let module = metadata.target().rsplit("::").next().unwrap_or_default();
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0.len() > MESSAGE_LIMIT_BYTES {
            let end = message.0.floor_char_boundary(MESSAGE_LIMIT_BYTES);
            message.0.truncate(end);
            message.0.push('…');
        }
        self.vlog
            .log(module, Level::of(*metadata.level()), &message.0);
    }
}

/// An event's text, then its other fields as `name=value`. One event is one line, whatever its text contains.
struct Message(String);

impl Message {
    fn push(&mut self, field: &Field, text: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        if field.name() != "message" {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        self.0
            .extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.push(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_decide_what_reaches_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let vlog = Vlog::new(&["encaps"], true);
        vlog.open(path.clone()).unwrap();
        vlog.log("encaps", Level::Info, "made a tunnel");
        vlog.log("encaps", Level::Dbg, "not seen");
        vlog.set("encaps:file:dbg").unwrap();
        vlog.log("encaps", Level::Dbg, "seen");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split('|').skip(1).collect())
            .collect();
        assert_eq!(
            lines,
            [
                ["00001", "encaps", "INFO", "made a tunnel"],
                ["00002", "encaps", "DBG", "seen"]
            ]
        );
        assert!(
            vlog.list()
                .contains("encaps             OFF       INFO        DBG"),
            "{}",
            vlog.list()
        );
    }

    #[test]
    fn modules_of_theirs_are_taken_for_ours_or_for_none() {
        let vlog = Vlog::new(&["binding", "ofctrl", "replica"], true);
        let levels = |module: &str| {
            let list = vlog.list();
            let line = list.lines().find(|line| line.starts_with(module));
            line.map(|line| line.split_whitespace().nth(3).unwrap().to_owned())
        };
        for (spec, module, file) in [
            ("jsonrpc", "replica", "DBG"),
            ("physical:file:warn", "ofctrl", "WARN"),
            ("encaps:err", "binding", "ERR"),
            ("Binding:off", "binding", "OFF"),
        ] {
            assert_eq!(vlog.set(spec), Ok(None), "{spec}");
            assert_eq!(levels(module).as_deref(), Some(file), "{spec}");
        }
        let before = vlog.list();
        for nothing in ["ofproto_dpif", "raft:dbg", "stopwatch:console:info"] {
            assert_eq!(vlog.set(nothing), Ok(None), "{nothing}");
        }
        assert_eq!(vlog.list(), before);
        assert!(vlog.knows("Binding") && vlog.knows("ofproto_dpif") && !vlog.knows("nonsense"));
        let error = vlog.set("nonsense:dbg").unwrap_err();
        assert_eq!(
            error.to_string(),
            "processing \"nonsense:dbg\": no destination, level, or module \"nonsense\""
        );
    }
}
