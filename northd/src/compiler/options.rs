//! Key-value columns: the keys that have a meaning, and reading their values.

use std::str::FromStr;

use ovsdb::Datum;

use super::problem::Complaints;

/// One key-value column of a row, being read.
pub struct Options<'a> {
    column: &'static str,
    pairs: &'a Datum,
}

impl<'a> Options<'a> {
    /// The pairs of `column`. Keys that nobody knows are told elsewhere ([`unread`](super::unread)).
    pub fn read(column: &'static str, pairs: &'a Datum) -> Self {
        Self { column, pairs }
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.pairs.get_str(key)
    }

    /// The truth of a key; `default` when absent or unreadable.
    pub fn truth(&self, key: &str, default: bool, complaints: &mut Complaints) -> bool {
        match self.text(key) {
            None => default,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(other) => {
                let why = format!("{key} is neither true nor false");
                complaints.text(
                    self.column,
                    other,
                    0,
                    why,
                    format!("write true or false; {default} is assumed"),
                );
                default
            }
        }
    }

    /// The number of a key, if it is there and in the range.
    pub fn number<N: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<N>,
        complaints: &mut Complaints,
    ) -> Option<N> {
        let text = self.text(key)?;
        match text.parse::<N>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let why = format!(
                    "{key} is not a number from {} to {}",
                    range.start(),
                    range.end()
                );
                complaints.text(self.column, text, 0, why, "it is ignored until it is");
                None
            }
        }
    }
}
