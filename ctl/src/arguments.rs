//! A command line as options and commands.
//!
//! `[OPTION]... [--] [COMMAND-OPTION]... COMMAND [ARGUMENT]... [-- …]`: options of the whole line come first. Among
//! them may stand options of the first command; a long option may be abbreviated there. Behind the first `--` every
//! command has its own options, in full, in front of its name.

use std::collections::BTreeMap;

use crate::command::{Command, Invocation, OptionValue, split_option};
use crate::error::{Outcome, fail};
use crate::tool::Tool;

/// The most commands that a line may have.
const MAX_COMMANDS: usize = 100_000;

/// A line that has been read.
#[derive(Debug, Default)]
pub struct Line {
    /// Options of the whole line: long name, or letter with dash, and value, in the order in which they came.
    pub options: Vec<(&'static str, Option<String>)>,
    /// What remains: the options of the first command that stood among them, and all words behind.
    pub local: BTreeMap<String, Option<String>>,
    /// The words from the first command on.
    pub words: Vec<String>,
}

/// Reads the options of the whole line.
pub fn parse_options(tool: &Tool, words: Vec<String>) -> Outcome<Line> {
    let mut line = Line::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        } else if word.starts_with("--") {
            long_option(tool, &mut line, &word, &mut words)?;
        } else if word.starts_with('-') && word.len() > 1 {
            short_options(tool, &mut line, &word, &mut words)?;
        } else {
            line.words.push(word);
            break;
        }
    }
    line.words.extend(words);
    Ok(line)
}

fn long_option(
    tool: &Tool,
    line: &mut Line,
    word: &str,
    words: &mut dyn Iterator<Item = String>,
) -> Outcome {
    let (name, given) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let candidate = find_long(tool, name, word)?;
    let (full, value, is_global) = candidate;
    let value = match (value, given) {
        (OptionValue::None, Some(_)) => {
            return fail(format!("option '{word}' doesn't allow an argument"));
        }
        (OptionValue::Required, None) => match words.next() {
            Some(value) => Some(value),
            None => return fail(format!("option '{full}' requires an argument")),
        },
        (_, given) => given,
    };
    if is_global {
        line.options.push((full, value));
    } else if line.local.insert(full.to_owned(), value).is_some() {
        return fail(format!("'{full}' option specified multiple times"));
    }
    Ok(())
}

/// The option that `name` is or begins: its name, its value, and whether it is one of the whole line.
fn find_long(tool: &Tool, name: &str, word: &str) -> Outcome<(&'static str, OptionValue, bool)> {
    let mut candidates: BTreeMap<&'static str, (OptionValue, bool)> = BTreeMap::new();
    for command in tool.commands() {
        for option in command.options {
            let (name, value) = split_option(option);
            candidates.insert(name, (value, false));
        }
    }
    for option in tool.options().filter(|option| !option.long.is_empty()) {
        candidates.insert(option.long, (option.value, true));
    }
    if let Some((full, (value, is_global))) = candidates.get_key_value(name) {
        return Ok((full, *value, *is_global));
    }
    candidates.retain(|candidate, _| candidate.starts_with(name));
    let mut found = candidates.iter();
    match (found.next(), found.next()) {
        (Some((full, (value, is_global))), None) => Ok((full, *value, *is_global)),
        (None, _) => fail(format!("unrecognized option '{word}'")),
        _ => {
            let names: Vec<String> = candidates.keys().map(|name| format!("'{name}'")).collect();
            fail(format!(
                "option '{word}' is ambiguous; possibilities: {}",
                names.join(" ")
            ))
        }
    }
}

fn short_options(
    tool: &Tool,
    line: &mut Line,
    word: &str,
    words: &mut dyn Iterator<Item = String>,
) -> Outcome {
    let mut letters = word[1..].chars();
    while let Some(letter) = letters.next() {
        let Some(option) = tool.options().find(|option| option.short == Some(letter)) else {
            return fail(format!("invalid option -- '{letter}'"));
        };
        let attached = letters.as_str();
        let value = match option.value {
            OptionValue::None => None,
            OptionValue::Optional | OptionValue::Required if !attached.is_empty() => {
                Some(attached.to_owned())
            }
            OptionValue::Optional => None,
            OptionValue::Required => match words.next() {
                Some(value) => Some(value),
                None => return fail(format!("option requires an argument -- '{letter}'")),
            },
        };
        let done = option.value != OptionValue::None;
        line.options.push((option.long, value));
        if done {
            break;
        }
    }
    Ok(())
}

/// Reads the commands of a line.
pub fn parse_commands(tool: &Tool, line: Line) -> Outcome<Vec<Invocation>> {
    let mut invocations = Vec::new();
    let mut local = line.local;
    let groups: Vec<&[String]> = line.words.split(|word| word == "--").collect();
    if groups.len() > MAX_COMMANDS {
        return fail(format!("more than {MAX_COMMANDS} commands"));
    }
    for group in groups {
        if group.is_empty() && local.is_empty() {
            continue;
        }
        invocations.push(parse_command(tool, std::mem::take(&mut local), group)?);
    }
    if invocations.is_empty() {
        return fail("missing command name (use --help for help)");
    }
    Ok(invocations)
}

fn parse_command(
    tool: &Tool,
    mut options: BTreeMap<String, Option<String>>,
    words: &[String],
) -> Outcome<Invocation> {
    let count = words
        .iter()
        .take_while(|word| word.starts_with('-'))
        .count();
    for word in &words[..count] {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if options.insert(name.to_owned(), value).is_some() {
            return fail(format!("'{name}' option specified multiple times"));
        }
    }
    let Some((name, arguments)) = words[count..].split_first() else {
        return fail("missing command name (use --help for help)");
    };
    let Some(command) = tool.commands().find(|command| command.name == name) else {
        return fail(format!("unknown command '{name}'; use --help for help"));
    };
    for (option, value) in &options {
        check_option(command, option, value.is_some())?;
    }
    check_count(command, arguments)?;
    Ok(Invocation {
        command,
        options,
        arguments: arguments.to_vec(),
    })
}

fn check_option(command: &Command, option: &str, has_value: bool) -> Outcome {
    let name = command.name;
    match command.option(option) {
        None => fail(format!("'{name}' command has no '{option}' option")),
        Some(OptionValue::None) if has_value => fail(format!(
            "'{option}' option on '{name}' does not accept an argument"
        )),
        Some(OptionValue::Required) if !has_value => fail(format!(
            "missing argument to '{option}' option on '{name}' command"
        )),
        Some(_) => Ok(()),
    }
}

fn check_count(command: &Command, arguments: &[String]) -> Outcome {
    let (min, max) = command.argument_count();
    let name = command.name;
    if arguments.len() < min {
        return fail(format!(
            "'{name}' command requires at least {min} arguments"
        ));
    }
    if arguments.len() > max {
        let misplaced = arguments.iter().any(|argument| argument.starts_with("--"));
        let hint = if misplaced {
            " (note that options must precede command names and follow a \"--\" argument)"
        } else {
            ""
        };
        return fail(format!(
            "'{name}' command takes at most {max} arguments{hint}"
        ));
    }
    Ok(())
}
