//! What is wrong with a row, for the person who wrote it.

use std::fmt;
use std::sync::Arc;

use addr::AddrError;
use uuid::Uuid;

/// A part of the northbound database that makes no sense. The rest of the network is compiled without it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub row: Uuid,
    /// The row's name, for people; empty if rows of this table have none.
    pub name: Arc<str>,
    /// The column.
    pub column: &'static str,
    /// The offending text in the column, and the byte offset in it at which it stops making sense.
    pub place: Option<(String, usize)>,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// The key under which this problem is told once: problems with equal keys are the same one.
    pub fn digest(&self) -> u64 {
        use std::hash::{Hash, Hasher};
        let mut hasher = rustc_hash::FxHasher::default();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.row)?;
        if !self.name.is_empty() {
            write!(f, " ({:?})", self.name)?;
        }
        write!(f, ", column {}", self.column)?;
        if let Some((text, offset)) = &self.place {
            write!(f, ", {text:?} at offset {offset}")?;
        }
        write!(f, ": {}; {}", self.why, self.remedy)
    }
}

/// Collects the problems of one row.
#[derive(Debug)]
pub struct Complaints {
    table: &'static str,
    row: Uuid,
    name: Arc<str>,
    problems: Vec<Problem>,
}

impl Complaints {
    /// No complaint yet about this row.
    pub fn about(table: &'static str, row: Uuid, name: Arc<str>) -> Self {
        Self {
            table,
            row,
            name,
            problems: Vec::new(),
        }
    }

    /// `column` as a whole is wrong.
    pub fn column(
        &mut self,
        column: &'static str,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(column, None, why.into(), remedy.into());
    }

    /// `text`, which stands in `column`, is wrong from `offset` on.
    pub fn text(
        &mut self,
        column: &'static str,
        text: &str,
        offset: usize,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(
            column,
            Some((text.to_owned(), offset)),
            why.into(),
            remedy.into(),
        );
    }

    /// `text`, which stands in `column`, is not the address that it should be.
    pub fn address(&mut self, column: &'static str, text: &str, error: &AddrError) {
        let why = format!("{:?} is not {}", error.word, error.wanted);
        self.text(column, text, error.at, why, error.hint);
    }

    /// Everything that was complained about.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn push(
        &mut self,
        column: &'static str,
        place: Option<(String, usize)>,
        why: String,
        remedy: String,
    ) {
        self.problems.push(Problem {
            table: self.table,
            row: self.row,
            name: Arc::clone(&self.name),
            column,
            place,
            why,
            remedy,
        });
    }
}
