//! `COLUMN[:KEY][OPVALUE]`: which part of a row an argument means, and what it says of it.

use northbound::Rows;
use ovsdb::schema::ColumnSchema;

use crate::error::{Outcome, fail};
use crate::{lookup, text};

/// An argument that has been taken apart.
#[derive(Debug)]
pub struct Place<'s> {
    /// The column's index.
    pub index: usize,
    /// The column.
    pub column: &'s ColumnSchema,
    /// What stands behind `:`, if there is one.
    pub key: Option<String>,
    rest: String,
    argument: String,
}

impl<'s> Place<'s> {
    /// Reads the column, of the table with this index, and the key.
    pub fn parse(rows: &'s dyn Rows, table: usize, argument: &str) -> Outcome<Self> {
        let (name, rest) = text::token(argument)?;
        if name.is_empty() {
            return fail(format!("{argument}: missing column name"));
        }
        let index = lookup::column(rows, table, &name)?;
        let (key, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (key, rest) = text::token(rest)?;
                (Some(key), rest)
            }
            None => (None, rest),
        };
        Ok(Self {
            index,
            column: &rows.schema().tables[table].columns[index],
            key,
            rest: rest.to_owned(),
            argument: argument.to_owned(),
        })
    }

    /// That nothing follows the column and the key.
    pub fn end(&self) -> Outcome {
        if self.rest.is_empty() {
            return Ok(());
        }
        fail(format!(
            "{}: trailing garbage \"{}\" in argument",
            self.argument, self.rest
        ))
    }

    /// The operator, of those in `operators`, and the value that follow.
    pub fn operator(&self, operators: &[&'static str]) -> Outcome<(&'static str, &str)> {
        let best = operators
            .iter()
            .filter(|operator| self.rest.starts_with(**operator))
            .max_by_key(|operator| operator.len());
        match best {
            Some(operator) if self.rest.len() > operator.len() => {
                Ok((operator, &self.rest[operator.len()..]))
            }
            _ => fail(format!(
                "{}: argument does not end in {} followed by a value.",
                self.argument,
                listed(operators)
            )),
        }
    }
}

/// `"="`, or `"=", "<", or ">"`.
fn listed(operators: &[&str]) -> String {
    let quoted: Vec<String> = operators
        .iter()
        .map(|operator| format!("\"{operator}\""))
        .collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{}, or {last}", rest.join(", ")),
    }
}
