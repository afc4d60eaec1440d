//! What a command is.
//!
//! A [`Command`] is one place: name, arguments, options, what it is for, which tables it needs, and its function. Help
//! texts, completion and the checks of a command line are made from it.

use std::collections::BTreeMap;

use northbound::{Draft, Snapshot};

use crate::error::Outcome;
use crate::output::Output;
use crate::symbols::Symbols;

/// A command of a tool.
#[derive(Debug)]
pub struct Command {
    /// What it is called.
    pub name: &'static str,
    /// Its arguments: `SWITCH PORT [PARENT TAG]`. Those in brackets may be left out; `...` behind one means any number
    /// more.
    pub arguments: &'static str,
    /// Its options: `--may-exist`, `--type=`, or `--bfd[=]` where the value may be left out.
    pub options: &'static [&'static str],
    /// What it does, in a line or two.
    pub help: &'static str,
    /// The tables that it needs to see.
    pub tables: Tables,
    /// What it does.
    pub run: fn(&mut Context<'_, '_>) -> Outcome,
}

/// The tables that a command needs to see.
#[derive(Clone, Copy, Debug)]
pub enum Tables {
    /// These, as far as the server has them.
    Fixed(&'static [&'static str]),
    /// Those that depend on the arguments.
    Asked(fn(&Snapshot, &Invocation) -> Outcome<Vec<usize>>),
    /// These, as far as the server has them, and of others the rows that a match in the arguments names.
    Match(&'static [&'static str], fn(&Invocation) -> Option<&str>),
    /// Of these only the rows that the arguments name, if the function says which; else all of them.
    Rows(
        &'static [&'static str],
        for<'i> fn(&'i Invocation) -> Option<Vec<NamedRow<'i>>>,
    ),
}

/// A row that a command needs to see.
#[derive(Clone, Copy, Debug)]
pub struct NamedRow<'i> {
    /// Its table.
    pub table: &'static str,
    /// Its name, or its UUID.
    pub text: &'i str,
    /// Whether more of it is needed than that it is there.
    pub whole: bool,
}

/// Commands that belong together.
#[derive(Debug)]
pub struct Family {
    /// The heading in the help text.
    pub title: &'static str,
    /// The commands, in the order of the help text.
    pub commands: &'static [Command],
}

/// A command with its arguments.
#[derive(Debug)]
pub struct Invocation {
    /// The command.
    pub command: &'static Command,
    /// Its options, by name with dashes.
    pub options: BTreeMap<String, Option<String>>,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// An option of the whole line.
#[derive(Debug)]
pub struct GlobalOption {
    /// Its long name, with dashes; `""` if it has none.
    pub long: &'static str,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// Whether it has a value.
    pub value: OptionValue,
    /// What a value is called in the help text.
    pub placeholder: &'static str,
    /// What it does; `""` for those that the help text leaves out.
    pub help: &'static str,
}

/// What the function of a command works with.
#[derive(Debug)]
pub struct Context<'c, 's> {
    /// The database, and what becomes of it.
    pub draft: &'c mut Draft<'s>,
    /// The rows that the line calls `@name`.
    pub symbols: &'c mut Symbols,
    /// The command's arguments and options.
    pub invocation: &'c Invocation,
    /// What it prints.
    pub output: Output,
    /// What somebody should know though the command succeeds.
    pub warnings: Vec<String>,
}

impl Context<'_, '_> {
    /// The argument with this index, the first being 0.
    ///
    /// # Panics
    /// If the command may be called with fewer and was.
    pub fn arg(&self, index: usize) -> &str {
        &self.invocation.arguments[index]
    }

    /// The argument with this index, if it was given.
    pub fn arg_if_any(&self, index: usize) -> Option<&str> {
        self.invocation.arguments.get(index).map(String::as_str)
    }

    /// The arguments from this index on.
    pub fn args_from(&self, index: usize) -> &[String] {
        self.invocation.arguments.get(index..).unwrap_or_default()
    }

    /// Whether the option was given.
    pub fn has(&self, option: &str) -> bool {
        self.invocation.options.contains_key(option)
    }

    /// The option's value, if it was given.
    pub fn option(&self, option: &str) -> Option<&str> {
        self.invocation.options.get(option)?.as_deref()
    }

    /// Prints a line.
    pub fn print(&mut self, line: impl AsRef<str>) {
        self.output.text.push_str(line.as_ref());
        self.output.text.push('\n');
    }
}

impl Command {
    /// How many arguments it takes, at least and at most.
    pub fn argument_count(&self) -> (usize, usize) {
        let (mut min, mut max, mut depth) = (0, 0, 0_i32);
        for word in self.arguments.split_whitespace() {
            if depth == 0 && !is_optional(word) {
                min += 1;
            }
            max = if word.ends_with("...") {
                usize::MAX
            } else {
                usize::saturating_add(max, 1)
            };
            depth += word.matches('[').count() as i32 - word.matches(']').count() as i32;
        }
        (min, max)
    }

    /// How the option `name`, such as `--type`, is taken, if the command has it.
    pub fn option(&self, name: &str) -> Option<OptionValue> {
        self.options.iter().find_map(|option| {
            let (option_name, value) = split_option(option);
            (option_name == name).then_some(value)
        })
    }
}

/// Whether the first bracket of a word encloses all of it, or is still open at its end.
fn is_optional(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let is_open = word.matches('[').count() > word.matches(']').count();
    word.starts_with('[') && (is_open || word.ends_with(']'))
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// It has none.
    None,
    /// It may have one.
    Optional,
    /// It has one.
    Required,
}

/// `--type=` as `--type` and whether it has a value.
pub fn split_option(option: &'static str) -> (&'static str, OptionValue) {
    if let Some(name) = option.strip_suffix("[=]") {
        (name, OptionValue::Optional)
    } else if let Some(name) = option.strip_suffix('=') {
        (name, OptionValue::Required)
    } else {
        (option, OptionValue::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_arguments() {
        let count = |arguments| {
            Command {
                name: "x",
                arguments,
                options: &[],
                help: "",
                tables: Tables::Fixed(&[]),
                run: |_| Ok(()),
            }
            .argument_count()
        };
        assert_eq!(count(""), (0, 0));
        assert_eq!(count("SWITCH"), (1, 1));
        assert_eq!(count("[SWITCH]"), (0, 1));
        assert_eq!(count("SWITCH PORT [PARENT TAG]"), (2, 4));
        assert_eq!(count("SWITCH PORT [PARENT [TAG]]"), (2, 4));
        assert_eq!(count("PORT [ADDRESS]..."), (1, usize::MAX));
        assert_eq!(count("TARGET..."), (1, usize::MAX));
        assert_eq!(count("TABLE RECORD COLUMN[:KEY]=VALUE..."), (3, usize::MAX));
        assert_eq!(count("TABLE RECORD COLUMN [KEY=]VALUE..."), (4, usize::MAX));
    }
}
