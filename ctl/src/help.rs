//! Help texts, versions and shell completion, printed from the commands.

use crate::command::{Command, GlobalOption, OptionValue, split_option};
use crate::error::{Outcome, fail};
use crate::programs::PROGRAMS;
use crate::tool::Tool;
use crate::tools::TOOLS;

/// Where explanations begin.
const COLUMN: usize = 34;

/// How wide the text is.
const WIDTH: usize = 100;

/// The help of a tool that calls itself `name`.
pub fn tool_help(tool: &Tool, name: &str) -> String {
    let mut text = format!(
        "{name}: {}\nusage: {name} [OPTION]... COMMAND [ARGUMENT]... [-- COMMAND [ARGUMENT]...]...\n",
        tool.about
    );
    for family in tool.all_families() {
        text.push_str(&format!("\n{}:\n", family.title));
        for command in family.commands {
            text.push_str(&entry(&synopsis(command), command.help));
        }
    }
    text.push_str("\nOptions:\n");
    let is_shown = |option: &&GlobalOption| {
        !option.help.is_empty() && (tool.can_wait || !option.long.contains("wait"))
    };
    for option in tool.options().filter(is_shown) {
        let short = option
            .short
            .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = match option.value {
            OptionValue::None => String::new(),
            OptionValue::Optional => format!("[={}]", option.placeholder),
            OptionValue::Required => format!("={}", option.placeholder),
        };
        text.push_str(&entry(
            &format!("{short}{}{value}", option.long),
            option.help,
        ));
    }
    text.push_str(&format!(
        "\nREMOTE is unix:PATH or tcp:HOST:PORT, or several of them with commas between; without --db it is\n\
         that of {}, else unix:{} in OVN's run directory.\n\
         The commands of a line are one transaction.\n",
        tool.remote_variable, tool.socket
    ));
    text
}

/// The help of one command.
pub fn command_help(tool: &Tool, name: &str, command: &str) -> Outcome<String> {
    let Some(command) = tool.commands().find(|candidate| candidate.name == command) else {
        return fail(format!("unknown command '{command}'; use --help for help"));
    };
    Ok(format!(
        "usage: {name} {}\n\n{}\n",
        synopsis(command),
        wrap(command.help, 0)
    ))
}

/// The reference page of a tool, in Markdown.
pub fn reference_page(tool: &Tool) -> String {
    let mut text = format!(
        "# weft {}\n\n`weft {}`, also as `{}`: {}.\n",
        tool.name, tool.name, tool.ovn_name, tool.about
    );
    for family in tool.all_families() {
        text.push_str(&format!("\n## {}\n\n", family.title));
        for command in family.commands {
            text.push_str(&format!("* `{}`: {}\n", synopsis(command), command.help));
        }
    }
    text.push_str("\n## Options\n\n");
    for option in tool.options().filter(|option| !option.help.is_empty()) {
        text.push_str(&format!("* `{}`: {}\n", option.long, option.help));
    }
    text
}

/// Name, version and schema version.
pub fn version(tool: &Tool, name: &str) -> String {
    format!(
        "{name} {}\nDB Schema {}\n",
        env!("CARGO_PKG_VERSION"),
        (tool.schema)().version
    )
}

/// `[--OPTION]... COMMAND ARGUMENT...`.
fn synopsis(command: &Command) -> String {
    let mut words = Vec::new();
    for option in command.options {
        let (name, value) = split_option(option);
        words.push(match value {
            OptionValue::None => format!("[{name}]"),
            OptionValue::Optional => format!("[{name}[=VALUE]]"),
            OptionValue::Required => format!("[{name}=VALUE]"),
        });
    }
    words.push(command.name.to_owned());
    if !command.arguments.is_empty() {
        words.push(command.arguments.to_owned());
    }
    words.join(" ")
}

fn entry(left: &str, right: &str) -> String {
    let right = wrap(right, COLUMN);
    if left.len() + 4 > COLUMN {
        format!("  {left}\n{}{right}\n", " ".repeat(COLUMN))
    } else {
        format!("  {left:<width$}{right}\n", width = COLUMN - 2)
    }
}

fn wrap(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.len());
        if line > 0 && indent + line + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
        } else if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// A line a command: its options, its name and its arguments (`!` must be given, `?` may, `+` and `*` any number).
pub fn command_list(tool: &Tool) -> String {
    let mut text = String::new();
    for command in tool.commands() {
        let options: Vec<String> = command
            .options
            .iter()
            .map(|option| format!("[{}]", option.replace("[=]", "=")))
            .collect();
        let (min, max) = command.argument_count();
        let words = command.arguments.split_whitespace().enumerate();
        let arguments: Vec<String> = words
            .map(|(index, word)| {
                let name = word.trim_matches(['[', ']', '.']);
                let mark = match (index < min, word.ends_with("...") && max == usize::MAX) {
                    (true, true) => '+',
                    (true, false) => '!',
                    (false, true) => '*',
                    (false, false) => '?',
                };
                format!("{mark}{name}")
            })
            .collect();
        text.push_str(&format!(
            "{} ,{},{}\n",
            options.join(" "),
            command.name,
            arguments.join(" ")
        ));
    }
    text
}

/// A line an option of the whole line.
pub fn option_list(tool: &Tool) -> String {
    let mut text = String::new();
    for option in tool.options() {
        let value = if option.value == OptionValue::Required {
            "=ARG"
        } else {
            ""
        };
        text.push_str(&format!("{}{value}\n", option.long));
        if let Some(letter) = option.short {
            text.push_str(&format!("-{letter}\n"));
        }
    }
    text
}

/// A completion script for `shell`. Words come with it; names in a database it asks for, with `weft complete`.
pub fn completion(shell: &str) -> Outcome<String> {
    match shell {
        "bash" => Ok(bash("")),
        "zsh" => Ok(bash("autoload -U +X bashcompinit && bashcompinit\n")),
        "fish" => Ok(fish()),
        _ => fail(format!(
            "{shell}: completion is offered for bash, zsh and fish"
        )),
    }
}

/// By subcommand: its other names, and the words that may stand behind it.
fn words_by_name() -> Vec<(Vec<&'static str>, Vec<String>)> {
    let of_tool = |tool: &&'static Tool| {
        let commands = tool.commands().map(|command| command.name);
        let options = tool.options().map(|option| option.long);
        let of_commands = tool.commands().flat_map(|command| command.options);
        let of_commands = of_commands.map(|option| split_option(option).0);
        let words = commands.chain(options).chain(of_commands);
        let words = words.map(str::to_owned).collect();
        (vec![tool.name, tool.ovn_name], words)
    };
    let tools = TOOLS.iter().map(of_tool);
    let programs = PROGRAMS.iter();
    let programs = programs.map(|program| (program.all_names().collect(), program.words()));
    let mut all: Vec<_> = tools.chain(programs).collect();
    for (_, words) in &mut all {
        words.sort_unstable();
        words.dedup();
    }
    all
}

/// The subcommands, without the names of OVN's tools.
fn subcommands() -> String {
    let all = words_by_name();
    let names = all.iter().flat_map(|(names, _)| names);
    let mut names: Vec<&str> = names
        .copied()
        .filter(|name| !name.starts_with("ovn-"))
        .collect();
    names.extend(["completion", "--help", "--version"]);
    names.join(" ")
}

fn bash(prelude: &str) -> String {
    let mut cases = String::new();
    for (names, words) in words_by_name() {
        let (names, words) = (names.join("|"), words.join(" "));
        cases.push_str(&format!("        {names}) words='{words}' ;;\n"));
    }
    let tools: Vec<&str> = TOOLS
        .iter()
        .flat_map(|tool| [tool.name, tool.ovn_name])
        .collect();
    let aliases = TOOLS.iter().map(|tool| tool.ovn_name);
    let of_programs = PROGRAMS.iter().filter_map(|program| program.as_ovn);
    let aliases: Vec<&str> = aliases.chain(of_programs.map(|(name, _)| name)).collect();
    format!(
        "{prelude}_weft() {{\n    \
             local tool=${{COMP_WORDS[0]##*/}} words='' current=${{COMP_WORDS[COMP_CWORD]}} first=1 asked\n    \
             if [ \"$tool\" = weft ]; then\n        \
                 [ \"$COMP_CWORD\" -gt 1 ] && tool=${{COMP_WORDS[1]}} && first=2\n    \
             fi\n    \
             case $tool in\n        \
             weft) words='{}' ;;\n\
         {cases}    esac\n    \
             case $tool in\n        \
             {}) asked=$(weft complete \"$tool\" \"${{COMP_WORDS[@]:$first:$((COMP_CWORD-first+1))}}\" 2>/dev/null) && \
             words=$asked ;;\n    \
             esac\n    \
             COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}}\n\
         complete -o default -F _weft weft {}\n",
        subcommands(),
        tools.join("|"),
        aliases.join(" ")
    )
}

fn fish() -> String {
    let mut text = format!(
        "complete -c weft -f -n __fish_use_subcommand -a '{}'\n",
        subcommands()
    );
    let is_tool = |names: &[&str]| TOOLS.iter().any(|tool| names.contains(&tool.name));
    for (names, words) in words_by_name() {
        let words = words.join(" ");
        for name in names.iter().filter(|_| !is_tool(&names)) {
            text.push_str(&match name.starts_with("ovn-") {
                true => format!("complete -c {name} -f -a '{words}'\n"),
                false => format!(
                    "complete -c weft -f -n '__fish_seen_subcommand_from {name}' -a '{words}'\n"
                ),
            });
        }
    }
    for tool in TOOLS {
        let (name, ovn_name) = (tool.name, tool.ovn_name);
        text.push_str(&format!(
            "complete -c weft -f -n '__fish_seen_subcommand_from {name}' -a '(set -l words (commandline -opc); weft \
             complete $words[2..-1] (commandline -ct) 2>/dev/null)'\n\
             complete -c {ovn_name} -f -a '(set -l words (commandline -opc); weft complete {ovn_name} $words[2..-1] \
             (commandline -ct) 2>/dev/null)'\n"
        ));
    }
    text
}
