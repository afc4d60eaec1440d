//! What is wrong with a row, for the person who wrote it.

use std::fmt;
use std::sync::Arc;

use addr::AddrError;
use nb_db::tables::WeftProblem;
use ovsdb::Datum;
use ovsdb::typed::{Table, TableDefinition};
use uuid::Uuid;

use super::identity;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// It cannot be done as written: it cannot be read, leads nowhere, or nothing is left to give. OVN's northd warns of such in
    /// its log, and so does ours; everything else is information there.
    Invalid,
    /// Something was meant and is not done.
    Error,
    /// It is done as written, and may not have been meant.
    Warning,
}

/// A part of the northbound database that makes no sense. The rest of the network is compiled without it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// How bad it is.
    pub rank: Rank,
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
    /// The row that tells it in the northbound database: problems with equal UUIDs are the same one.
    pub fn uuid(&self) -> Uuid {
        identity::named(WeftProblem::NAME, self.row, &self.to_string())
    }
}

/// The northbound table that tells problems.
pub const TABLE: usize = WeftProblem::INDEX;

impl Problem {
    /// The columns of the row that tells it.
    pub fn columns(&self) -> Vec<(usize, Datum)> {
        let column = WeftProblem::COLUMN;
        let (text, offset) = match &self.place {
            Some((text, offset)) => (text.as_str(), i64::try_from(*offset).ok()),
            None => ("", None),
        };
        let rank = match self.rank {
            Rank::Invalid | Rank::Error => "error",
            Rank::Warning => "warning",
        };
        vec![
            (column.rank.index, Datum::from(rank)),
            (column.table.index, Datum::from(self.table)),
            column.row.to(&self.row),
            column.name.to(&self.name),
            (column.column.index, Datum::from(self.column)),
            (column.text.index, Datum::from(text)),
            column.offset.to(&offset),
            (column.why.index, Datum::from(self.why.as_str())),
            (column.remedy.index, Datum::from(self.remedy.as_str())),
        ]
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
        let rank = match self.rank {
            Rank::Invalid | Rank::Error => "",
            Rank::Warning => "warning: ",
        };
        write!(f, ": {rank}{}; {}", self.why, self.remedy)
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
        self.push(Rank::Error, column, None, why.into(), remedy.into());
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
        let place = Some((text.to_owned(), offset));
        self.push(Rank::Error, column, place, why.into(), remedy.into());
    }

    /// `text`, which stands in `column`, cannot be done as written, from `offset` on: OVN's northd warns of it, too.
    pub fn invalid(
        &mut self,
        column: &'static str,
        text: &str,
        offset: usize,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = Some((text.to_owned(), offset));
        self.push(Rank::Invalid, column, place, why.into(), remedy.into());
    }

    /// `text`, which stands in `column`, is done as written and may not be meant, from `offset` on.
    pub fn warning(
        &mut self,
        column: &'static str,
        text: &str,
        offset: usize,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = Some((text.to_owned(), offset));
        self.push(Rank::Warning, column, place, why.into(), remedy.into());
    }

    /// `text`, which stands in `column`, is not the address that it should be.
    pub fn address(&mut self, column: &'static str, text: &str, error: &AddrError) {
        let why = format!("{:?} is not {}", error.word, error.wanted);
        self.invalid(column, text, error.at, why, error.hint);
    }

    /// Everything that was complained about.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn push(
        &mut self,
        rank: Rank,
        column: &'static str,
        place: Option<(String, usize)>,
        why: String,
        remedy: String,
    ) {
        self.problems.push(Problem {
            rank,
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
