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
    let text = format!("```text\n{}```\n", command.render_help());
    // Trailing blanks would be lost in editing.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The reference page of a program without subcommands, in Markdown.
pub fn reference(command: Command) -> String {
    format!("# {}\n\n{}", command.get_name().to_owned(), help(command))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn words_are_those_of_the_program_and_of_its_parts() {
        let sub = Command::new("make").arg(Arg::new("name").long("name"));
        let command = Command::new("weft x")
            .subcommand(sub)
            .arg(Arg::new("db").long("db"));
        assert_eq!(words(&command), ["make", "--name", "--db"]);
        let page = reference(Command::new("weft x").about("Does x"));
        assert!(page.starts_with("# weft x\n\n```text\nDoes x\n"), "{page}");
        assert!(page.ends_with("```\n"), "{page}");
    }
}
