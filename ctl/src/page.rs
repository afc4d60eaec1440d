//! What completion scripts and the book say of a program, out of its arguments alone.

use clap::Command;

/// As wide are pages of the book.
const WIDTH: usize = 100;

/// The subcommands, and the options of all of them, for completion.
pub fn words(command: &Command) -> Vec<String> {
    let subcommands = || {
        let all = command.get_subcommands();
        all.filter(|sub| sub.get_name() != "help")
    };
    let names = subcommands().map(|sub| sub.get_name().to_owned());
    let options = subcommands()
        .chain([command])
        .flat_map(Command::get_arguments)
        .filter_map(|option| Some(format!("--{}", option.get_long()?)));
    names.chain(options).collect()
}

/// The help of a program, as a block of Markdown.
pub fn help(command: Command) -> String {
    let mut command = command.term_width(WIDTH);
    let help = command.render_help().to_string();
    let text = format!("```text\n{}\n```\n", help.trim_end());
    // Trailing blanks would be lost in editing.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The reference page of a program, in Markdown: its help, and that of each of its subcommands.
pub fn reference(command: Command) -> String {
    let (name, parts) = (command.get_name().to_owned(), parts(command.clone()));
    format!("# {name}\n\n{}{parts}", help(command))
}

/// The help of each subcommand, under a heading of its own.
pub fn parts(mut command: Command) -> String {
    command.build();
    let all = command.get_subcommands();
    let parts = all.filter(|part| part.get_name() != "help").map(|part| {
        let name = part.get_bin_name().unwrap_or_else(|| part.get_name());
        format!("\n## {name}\n\n{}", help(part.clone()))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn words_are_those_of_the_program_and_of_its_parts() {
        let sub = Command::new("make").arg(Arg::new("name").long("name"));
        let command = Command::new("weft x")
            .bin_name("weft x")
            .subcommand(sub)
            .arg(Arg::new("db").long("db"));
        assert_eq!(words(&command), ["make", "--name", "--db"]);
        let page = reference(Command::new("weft x").about("Does x"));
        assert!(page.starts_with("# weft x\n\n```text\nDoes x\n"), "{page}");
        assert!(page.ends_with("```\n"), "{page}");
        assert!(reference(command).contains("\n## weft x make\n\n```text\n"));
    }
}
