//! How far long work has come: a bar on the error output, if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar. It is gone when it is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work of so many steps, called `label`.
    pub fn new(label: &'static str, total: u64) -> Self {
        Self::with_template("{msg} {wide_bar} {pos}/{len} {eta}", label, total)
    }

    /// Work of so many bytes, called `label`.
    pub fn bytes(label: &'static str, total: u64) -> Self {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        Self::with_template(template, label, total)
    }

    /// Bytes of which nobody knows how many come, called `label`.
    pub fn unknown(label: &'static str) -> Self {
        Self::with_template("{spinner} {msg} {bytes} {bytes_per_sec}", label, 0)
    }

    fn with_template(template: &str, label: &'static str, total: u64) -> Self {
        let style = ProgressStyle::with_template(template);
        let bar = match total {
            0 => ProgressBar::new_spinner(),
            total => ProgressBar::new(total),
        };
        bar.set_style(style.expect("the templates above are well-formed"));
        bar.set_message(label);
        Self { bar }
    }

    /// So much is done.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Says in words where it stands.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
