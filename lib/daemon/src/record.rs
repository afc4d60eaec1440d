//! A log of all that happened to a daemon's core, from which the same can be made to happen again.
//!
//! Cores are functions from events to effects: with the events of an hour on a machine far away, a fault is found at one's desk.
//! The file has a line of JSON for each event: `{"at_us": …, "unix_ms": …, "event": …}`, with the time since the recording began
//! and that of the calendar. The first line says what was recorded: `{"recorded": PROGRAM, "version": …, "host": …}`. What an
//! event is, the daemon knows.
//!
//! A recording has a limit; past it the log says so and nothing more is written. The recording before it stays, as `FILE.1`: it may
//! be that of a crash, and who starts the daemon again does so with the same arguments.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::now::Now;

/// The most that is written.
const LIMIT_BYTES: u64 = 1 << 30;

/// A recording that is being made.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: Option<File>,
    start: Instant,
    left_bytes: u64,
}

impl Recorder {
    /// Begins one, in a new file that nobody else can read. `about` is what replaying has to know beside the events.
    pub fn create(path: &Path, about: &Value) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
            fs::rename(path, earlier(path))?;
        }
        // What is left there is a pipe or a terminal.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut recorder = Self {
            path: path.to_owned(),
            file: Some(file),
            start: Instant::now(),
            left_bytes: LIMIT_BYTES,
        };
        recorder.line(about)?;
        Ok(recorder)
    }

    /// Adds an event. A recording that cannot go on ends, and the log says why.
    pub fn add(&mut self, now: Now, event: &Value) {
        let at_us = now.at.saturating_duration_since(self.start).as_micros();
        let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
        let line = json!({"at_us": at_us, "unix_ms": now.unix_ms, "event": event});
        if let Err(error) = self.line(&line) {
            tracing::warn!(
                "recording to {}: {error}; it ends here",
                self.path.display()
            );
            self.file = None;
        }
    }

    fn line(&mut self, line: &Value) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let text = format!("{line}\n");
        let left = self.left_bytes.checked_sub(text.len() as u64);
        let full = || io::Error::other(format!("its limit of {LIMIT_BYTES} bytes is reached"));
        self.left_bytes = left.ok_or_else(full)?;
        file.write_all(text.as_bytes())
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("recording {path}, line {line}: {what}", path = .path.display())]
pub struct RecordingError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A recording that is read.
#[derive(Debug)]
pub struct Recording {
    /// What the recorder said of it.
    pub about: Value,
    path: PathBuf,
    file: BufReader<File>,
    start: Instant,
    line: usize,
}

impl Recording {
    /// Opens a file. Times are counted from now.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let error = |error: io::Error| RecordingError {
            path: path.to_owned(),
            line: 0,
            what: error.to_string(),
        };
        let mut recording = Self {
            about: Value::Null,
            path: path.to_owned(),
            file: BufReader::new(File::open(path).map_err(error)?),
            start: Instant::now(),
            line: 0,
        };
        recording.about = recording.next_line()?.unwrap_or_default();
        Ok(recording)
    }

    /// The next event, and when it was; none at the end. A last line that was not finished ends the recording, too.
    pub fn next_event(&mut self) -> Result<Option<(Now, Value)>, RecordingError> {
        let Some(mut line) = self.next_line()? else {
            return Ok(None);
        };
        let at = line["at_us"].as_u64().map(Duration::from_micros);
        let at = at.and_then(|at| self.start.checked_add(at));
        let (Some(at), Some(unix_ms)) = (at, line["unix_ms"].as_i64()) else {
            return Err(self.error("it has no time"));
        };
        Ok(Some((Now { at, unix_ms }, line["event"].take())))
    }

    fn next_line(&mut self) -> Result<Option<Value>, RecordingError> {
        let mut text = String::new();
        self.line += 1;
        let read = self.file.read_line(&mut text);
        read.map_err(|error| self.error(error.to_string()))?;
        if !text.ends_with('\n') {
            return Ok(None);
        }
        let line = serde_json::from_str(&text);
        line.map(Some)
            .map_err(|error| self.error(error.to_string()))
    }

    fn error(&self, what: impl Into<String>) -> RecordingError {
        RecordingError {
            path: self.path.clone(),
            line: self.line,
            what: what.into(),
        }
    }
}

/// Where the recording goes that a new one is made in place of.
fn earlier(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_recording_of_a_crash_outlives_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        drop(Recorder::create(&path, &json!({"recorded": "crash"})).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(Recorder::create(&path, &json!({"recorded": "next"})).unwrap());
        let recorded = |path: &Path| Recording::open(path).unwrap().about["recorded"].clone();
        assert_eq!(recorded(&path), "next");
        assert_eq!(recorded(&directory.path().join("events.1")), "crash");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_was_recorded_is_read_with_its_times() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let mut recorder = Recorder::create(&path, &json!({"recorded": "x"})).unwrap();
        for millis in [0, 5] {
            let now = Now {
                at: recorder.start + Duration::from_millis(millis),
                unix_ms: 7,
            };
            recorder.add(now, &json!({"n": millis}));
        }
        let mut text = fs::read_to_string(&path).unwrap();
        let mut recording = Recording::open(&path).unwrap();
        assert_eq!(recording.about["recorded"], "x");
        let (first, event) = recording.next_event().unwrap().unwrap();
        assert_eq!(event, json!({"n": 0}));
        let (second, event) = recording.next_event().unwrap().unwrap();
        assert_eq!((event, second.unix_ms), (json!({"n": 5}), 7));
        assert_eq!(second.at - first.at, Duration::from_millis(5));
        assert_eq!(recording.next_event().unwrap(), None);
        // Who was killed while writing leaves half a line.
        text.push_str("{\"at_us\":");
        fs::write(&path, &text).unwrap();
        let mut recording = Recording::open(&path).unwrap();
        assert!((0..2).all(|_| recording.next_event().unwrap().is_some()));
        assert_eq!(recording.next_event().unwrap(), None);
        fs::write(&path, "{}\nnonsense\n").unwrap();
        let error = Recording::open(&path).unwrap().next_event().unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn a_recording_that_is_full_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let mut recorder = Recorder::create(&path, &json!({})).unwrap();
        recorder.left_bytes = 100;
        for _ in 0..10 {
            recorder.add(Now::read(), &json!("tick"));
        }
        assert!(recorder.file.is_none());
        let mut recording = Recording::open(&path).unwrap();
        assert!(recording.next_event().unwrap().is_some());
    }
}
