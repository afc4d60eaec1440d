//! [`ParseError`]: what is wrong with a text of the language, and where.
//!
//! Prints the message, the part of the text around the place, and a caret under it:
//!
//! ```text
//! unknown field "ip4.sorce"
//!   inport == "lsp1" && ip4.sorce == 10.0.0.1
//!                       ^^^^^^^^^
//! ```

use std::fmt;
use std::ops::Range;

/// The most characters of a text that an error shows on either side of the place.
const SHOWN: usize = 60;

/// A text that is not a match or not a list of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong, in one line.
    pub message: String,
    /// Byte offset of the place in the text.
    pub at: usize,
    excerpt: String,
    caret: Range<usize>,
}

impl ParseError {
    /// An error about the bytes `span` of `text`.
    pub fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end.max(start));
        let from = floor_char_boundary(text, start.saturating_sub(SHOWN));
        let to = floor_char_boundary(text, end.min(start + SHOWN) + SHOWN);
        // One line, one column a character: a caret must stand under its place.
        let line = |part: &str| -> String {
            let printable = |c: char| if c.is_control() { ' ' } else { c };
            part.chars().map(printable).collect()
        };
        let dots = if from > 0 { "…" } else { "" };
        let mut excerpt = format!("{dots}{}", line(&text[from..to]));
        if to < text.len() {
            excerpt.push('…');
        }
        let indent = dots.chars().count() + text[from..start].chars().count();
        let width = text[start..end.min(to)].chars().count().max(1);
        Self {
            message: message.into(),
            at: start,
            excerpt,
            caret: indent..indent + width,
        }
    }

    /// The place as a column, counted in bytes from 1.
    pub fn column(&self) -> usize {
        self.at + 1
    }

    /// The text around the place, on one line, and below it the caret, each indented by two.
    pub fn excerpt(&self) -> String {
        let caret = "^".repeat(self.caret.len());
        let indent = self.caret.start;
        format!("  {}\n  {:indent$}{caret}", self.excerpt, "")
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.message, self.excerpt())
    }
}

impl std::error::Error for ParseError {}

/// The last character boundary at or before `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caret_stands_under_the_place() {
        let error = ParseError::new("ip4.src == foo", 11..14, "expected a constant");
        assert_eq!(
            error.to_string(),
            "expected a constant\n  ip4.src == foo\n             ^^^"
        );
        assert_eq!(error.column(), 12);
    }

    #[test]
    fn long_texts_are_cut_and_the_end_has_a_place() {
        let text = "é".repeat(400);
        let error = ParseError::new(&text, 400..402, "here");
        let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
        assert!(lines[1].chars().count() < 130);
        assert_eq!(lines[1].trim_start().chars().next(), Some('…'));
        let end = ParseError::new("ip4", 3..3, "unfinished");
        assert_eq!(end.to_string(), "unfinished\n  ip4\n     ^");
        ParseError::new("", 5..9, "beyond the end");
    }
}
