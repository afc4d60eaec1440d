//! The text form of metrics: OpenMetrics 1.0.

use std::fmt::{Display, Write};

use super::histogram::{BOUNDS_US, Histogram};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A count that only goes up.
    Counter,
    /// Durations.
    Histogram,
    /// Facts, as labels.
    Info,
}

/// Collects families of metrics.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
}

impl Text {
    /// Begins a family. What `help` says is for people.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        self.line(format_args!("# TYPE {name} {kind}"));
        if name.ends_with("_seconds") {
            self.line(format_args!("# UNIT {name} seconds"));
        }
        self.line(format_args!("# HELP {name} {help}"));
    }

    /// A sample of the family that was begun last. A counter's `name` ends with `_total`, an info's with `_info`.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut told = String::new();
        for (label, value) in labels {
            let separator = if told.is_empty() { '{' } else { ',' };
            let value = escape(value);
            let _ = write!(told, "{separator}{label}=\"{value}\"");
        }
        if !told.is_empty() {
            told.push('}');
        }
        self.line(format_args!("{name}{told} {value}"));
    }

    /// A gauge with a single sample.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// A counter with a single sample; `name` without `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample(&format!("{name}_total"), &[], value);
    }

    /// A histogram; `name` ends with `_seconds`.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        let (cumulative, count, sum_us) = histogram.read();
        let bucket = format!("{name}_bucket");
        for (bound, cumulative) in BOUNDS_US.iter().zip(cumulative) {
            let bound = seconds(*bound).to_string();
            self.sample(&bucket, &[("le", &bound)], cumulative);
        }
        self.sample(&bucket, &[("le", "+Inf")], count);
        self.sample(&format!("{name}_sum"), &[], seconds(sum_us));
        self.sample(&format!("{name}_count"), &[], count);
    }

    /// The whole text.
    pub fn end(mut self) -> String {
        self.line(format_args!("# EOF"));
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.text, "{line}");
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn families_have_the_form_of_the_standard() {
        let mut text = Text::default();
        text.gauge("weft_rows", "Rows.", 3);
        text.counter("weft_commits", "Commits.", 4);
        text.family("weft_db", Kind::Info, "Who.");
        text.sample("weft_db_info", &[("name", "a\"b\\"), ("id", "1")], 1);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(1500));
        text.histogram("weft_write_seconds", "Writes.", &histogram);
        let text = text.end();
        let expected = "# TYPE weft_rows gauge\n# HELP weft_rows Rows.\nweft_rows 3\n\
            # TYPE weft_commits counter\n# HELP weft_commits Commits.\nweft_commits_total 4\n\
            # TYPE weft_db info\n# HELP weft_db Who.\nweft_db_info{name=\"a\\\"b\\\\\",id=\"1\"} 1\n\
            # TYPE weft_write_seconds histogram\n# UNIT weft_write_seconds seconds\n\
            # HELP weft_write_seconds Writes.\nweft_write_seconds_bucket{le=\"0.00005\"} 0\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("weft_write_seconds_bucket{le=\"0.002\"} 1\n"),
            "{text}"
        );
        let end = "weft_write_seconds_bucket{le=\"+Inf\"} 1\nweft_write_seconds_sum 0.0015\n\
            weft_write_seconds_count 1\n# EOF\n";
        assert!(text.ends_with(end), "{text}");
    }
}
