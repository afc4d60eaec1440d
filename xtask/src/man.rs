//! The manual pages, `docs/man/`: one a program, made of what it says with `--help`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::output;

/// The programs: the binary, its subcommand, and the section of the manual.
const PROGRAMS: &[(&str, &str, u8)] = &[
    ("weft", "", 1),
    ("weft", "nb", 1),
    ("weft", "sb", 1),
    ("weft", "trace", 1),
    ("weft", "why", 1),
    ("weft", "detrace", 1),
    ("weft", "debug", 1),
    ("weft", "top", 1),
    ("weft", "plan", 1),
    ("weft", "diff", 1),
    ("weft", "apply", 1),
    ("weft", "get", 1),
    ("weft", "describe", 1),
    ("weft", "delete", 1),
    ("weft", "token", 1),
    ("weft", "cluster", 1),
    ("weft", "pki", 1),
    ("weft-nb", "", 8),
    ("weft-sb", "", 8),
    ("weft-northd", "", 8),
    ("weft-controller", "", 8),
    ("weft-api", "", 8),
];

/// Entries of a list begin no deeper than this; what explains them stands deeper.
const ENTRY_INDENT: usize = 6;

/// The pages: names of files and what is in them.
pub fn pages(binaries: &Path) -> Result<Vec<(String, String)>> {
    let names: Vec<String> = PROGRAMS
        .iter()
        .map(|(b, s, n)| reference(b, s, *n))
        .collect();
    let mut pages = Vec::new();
    for (binary, subcommand, section) in PROGRAMS {
        let mut command = Command::new(binaries.join(binary));
        if !subcommand.is_empty() {
            command.arg(subcommand);
        }
        // Neither the width of a terminal nor anybody's settings are to show.
        command
            .arg("--help")
            .env_clear()
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        let help = output(&mut command)?;
        let name = page_name(binary, subcommand);
        let others = names
            .iter()
            .filter(|other| !other.starts_with(&format!("{name}(")));
        let others: Vec<&str> = others.map(String::as_str).collect();
        let text = page(&name, *section, &help, &others);
        pages.push((format!("{name}.{section}"), text));
    }
    Ok(pages)
}

fn page_name(binary: &str, subcommand: &str) -> String {
    match (binary, subcommand) {
        (binary, "") => binary.to_owned(),
        // The page of the daemon has that name.
        ("weft", subcommand) => format!("weft-{subcommand}"),
        (binary, subcommand) => format!("{binary}-{subcommand}"),
    }
}

fn reference(binary: &str, subcommand: &str, section: u8) -> String {
    format!("{}({section})", page_name(binary, subcommand))
}

/// Text as roff takes it.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// What a help text consists of.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Heading(&'a str),
    /// A usage line.
    Usage(&'a str),
    /// What is explained, and the beginning of the explanation.
    Entry(&'a str, &'a str),
    /// More of an explanation, or text.
    Text(&'a str),
    Break,
}

/// Takes a help text apart.
fn parts(help: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut in_usage = false;
    for line in help.lines() {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        let usage = text
            .strip_prefix("Usage:")
            .or_else(|| text.strip_prefix("usage:"));
        if text.is_empty() {
            in_usage = false;
            parts.push(Part::Break);
        } else if let Some(usage) = usage.filter(|_| indent == 0) {
            in_usage = true;
            if !usage.trim().is_empty() {
                parts.push(Part::Usage(usage.trim()));
            }
        } else if in_usage && indent > 0 {
            parts.push(Part::Usage(text));
        } else if indent == 0 && text.ends_with(':') && !text.contains(". ") {
            parts.push(Part::Heading(text.trim_end_matches(':')));
        } else if (1..=ENTRY_INDENT).contains(&indent) {
            let (entry, rest) = text.split_once("  ").unwrap_or((text, ""));
            parts.push(Part::Entry(entry, rest.trim()));
        } else {
            parts.push(Part::Text(text));
        }
    }
    parts
}

fn page(name: &str, section: u8, help: &str, others: &[&str]) -> String {
    let parts = parts(help);
    let first = parts.iter().map_while(|part| match part {
        Part::Text(text) => Some(*text),
        _ => None,
    });
    let about = match first.collect::<Vec<_>>().join(" ") {
        nothing if nothing.is_empty() => "the command line of Weft".to_owned(),
        about => about,
    };
    // Some programs say their name first.
    let about = match about.split_once(": ") {
        Some((program, rest)) if program.starts_with("weft ") => rest,
        _ => &about,
    };
    let mut page = format!(
        ".\\\" Written by `cargo xtask docs` from what the program says: change it there.\n\
         .TH {} {section} \"\" \"Weft {}\" \"Weft Manual\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(about.trim_end_matches('.'))
    );
    for part in &parts {
        if let Part::Usage(usage) = part {
            // Writing to a string does not fail.
            let _ = writeln!(page, ".nf\n{}\n.fi", escaped(usage));
        }
    }
    page.push_str(".SH DESCRIPTION\n");
    let mut is_broken = false;
    for part in &parts {
        match part {
            Part::Usage(_) => {}
            Part::Break => is_broken = true,
            Part::Heading(heading) => {
                let _ = writeln!(page, ".SH {}", escaped(&heading.to_uppercase()));
                is_broken = false;
            }
            Part::Entry(entry, rest) => {
                let _ = writeln!(page, ".TP\n.B {}", escaped(entry));
                if !rest.is_empty() {
                    let _ = writeln!(page, "{}", escaped(rest));
                }
                is_broken = false;
            }
            Part::Text(text) => {
                if is_broken {
                    page.push_str(".PP\n");
                }
                let _ = writeln!(page, "{}", escaped(text));
                is_broken = false;
            }
        }
    }
    let _ = writeln!(page, ".SH SEE ALSO\n{}", escaped(&others.join(", ")));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_taken_apart() {
        let help = "Does things\n\nUsage: it [OPTIONS]\n       it FILE\n\nOptions:\n  -a, --all  Do all of\n             it\n      --b <X>\n          Another\n";
        let expected = [
            Part::Text("Does things"),
            Part::Break,
            Part::Usage("it [OPTIONS]"),
            Part::Usage("it FILE"),
            Part::Break,
            Part::Heading("Options"),
            Part::Entry("-a, --all", "Do all of"),
            Part::Text("it"),
            Part::Entry("--b <X>", ""),
            Part::Text("Another"),
        ];
        assert_eq!(parts(help), expected);
        let page = page("it", 1, help, &["other(1)"]);
        assert!(
            page.contains(".TP\n.B \\-a, \\-\\-all\nDo all of\nit\n"),
            "{page}"
        );
        assert!(page.contains("it \\- Does things"), "{page}");
    }
}
