//! A tool as a program: arguments in, output and exit status out.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::appctl::{ClientError, Target};
use crate::arguments::{Line, parse_commands, parse_options};
use crate::background::client::words as words_for;
use crate::background::daemon::serve;
use crate::command::{Invocation, split_option};
use crate::error::{CommandError, fail};
use crate::help;
use crate::options::{Instead, RunOptions};
use crate::output::render;
use crate::report::Reporter;
use crate::run::commit::{LineError, run_line};
use crate::run::connection::Connection;
use crate::run::database::DatabaseError;
use crate::run::line::needed_tables;
use crate::suggest::nearest;
use crate::time::now_ms;
use crate::tool::Tool;
use crate::transfer;
use northbound::Snapshot;

/// Runs a tool with these arguments, the program's name not among them.
pub fn run_tool(tool: &'static Tool, reporter: &Reporter, arguments: Vec<String>) -> ExitCode {
    match run(tool, reporter, arguments) {
        Ok(code) => code,
        Err(CommandError::Failed(text)) => {
            // Under OVN's names, messages are OVN's to the letter.
            let meant = Some(&text).filter(|_| !reporter.logs);
            match meant.and_then(|text| suggestion(tool, text)) {
                Some(meant) => reporter.error(&format!("{text}; did you mean '{meant}'?")),
                None => reporter.error(&text),
            }
            ExitCode::FAILURE
        }
        Err(CommandError::NotYet) => ExitCode::FAILURE,
    }
}

/// What a mistyped command or option may have been meant to be.
fn suggestion(tool: &Tool, text: &str) -> Option<&'static str> {
    if let Some(rest) = text.strip_prefix("unknown command '") {
        let (word, _) = rest.split_once('\'')?;
        return nearest(word, tool.commands().map(|command| command.name));
    }
    let word = text
        .strip_prefix("unrecognized option '")?
        .trim_end_matches('\'');
    let (word, _) = word.split_once('=').unwrap_or((word, ""));
    let of_commands = tool.commands().flat_map(|command| command.options);
    let of_commands = of_commands.map(|option| split_option(option).0);
    nearest(
        word,
        of_commands.chain(tool.options().map(|option| option.long)),
    )
}

fn run(
    tool: &'static Tool,
    reporter: &Reporter,
    arguments: Vec<String>,
) -> Result<ExitCode, CommandError> {
    let variable = |name: &str| std::env::var(name).ok();
    let remark = format!("{}: {}", reporter.name, arguments.join(" "));
    let mut words: Vec<String> = variable(tool.options_variable)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words.extend(arguments);
    let line = parse_options(tool, words)?;
    let options = RunOptions::read(tool, &line.options, &variable)?;
    if let Some(instead) = &options.instead {
        print(&do_instead(tool, reporter, instead)?);
        return Ok(ExitCode::SUCCESS);
    }
    if options.detach {
        return serve(tool, reporter, &line, &options);
    }
    if let Some(target) = daemon_for(tool, reporter, &line, &options) {
        return run_there(reporter, &target, &line, &options);
    }
    let commands = parse_commands(tool, line)?;
    if let [only] = commands.as_slice()
        && let Some(transfer) = transfer::find(only)
    {
        let done = transfer(tool, &options, only)?;
        done.warnings
            .iter()
            .for_each(|warning| reporter.warn(warning));
        print(&done.text);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(transfer) = commands.iter().find(|c| transfer::find(c).is_some()) {
        let name = transfer.command.name;
        return fail(format!("{name}: give this command a line of its own"));
    }
    run_commands(tool, reporter, &commands, options, &remark)
}

/// The daemon that is to run a line. None where another database is named, or for what no daemon does.
fn daemon_for(
    tool: &Tool,
    reporter: &Reporter,
    line: &Line,
    options: &RunOptions,
) -> Option<Target> {
    let socket = options.control.clone()?;
    if line.options.iter().any(|(name, _)| *name == "--db") {
        let name = tool.ovn_name;
        let text = format!("not using {name} daemon because of db option");
        reporter.warn_of("ovn_dbctl", &text);
        return None;
    }
    let is_alone = |word: &String| transfer::FAMILY.commands.iter().any(|c| c.name == word);
    if line.words.iter().any(is_alone) {
        return None;
    }
    Some(Target {
        socket,
        tool: tool.ovn_name,
        variable: tool.daemon_variable,
    })
}

/// Has a daemon run the line.
fn run_there(
    reporter: &Reporter,
    target: &Target,
    line: &Line,
    options: &RunOptions,
) -> Result<ExitCode, CommandError> {
    match target.run(&words_for(line), options.timeout) {
        Ok(text) => {
            print(&text);
            Ok(ExitCode::SUCCESS)
        }
        Err(ClientError::Timeout) => {
            reporter.warn("terminating with signal 14 (Alarm clock)");
            Ok(die_of_alarm())
        }
        Err(error) => fail(error.to_string()),
    }
}

fn do_instead(tool: &Tool, reporter: &Reporter, instead: &Instead) -> Result<String, CommandError> {
    Ok(match instead {
        Instead::Help(None) => help::tool_help(tool, &reporter.name),
        Instead::Help(Some(command)) => help::command_help(tool, &reporter.name, command)?,
        Instead::Version => help::version(tool, &reporter.name),
        Instead::Commands => help::command_list(tool),
        Instead::Options => help::option_list(tool),
    })
}

fn run_commands(
    tool: &Tool,
    reporter: &Reporter,
    commands: &[Invocation],
    mut options: RunOptions,
    remark: &str,
) -> Result<ExitCode, CommandError> {
    let schema = Arc::clone((tool.schema)());
    let tables = needed_tables(tool, &Snapshot::empty(Arc::clone(&schema)), commands)?;
    if options.shuffle {
        shuffle(&mut options);
    }
    let done = Connection::open(&options, &schema, tables)
        .map_err(LineError::from)
        .and_then(|mut connection| {
            run_line(tool, &mut connection, commands, &options, remark, &now_ms)
        });
    match done {
        Ok(done) => {
            for warning in &done.warnings {
                reporter.warn(warning);
            }
            print(&done.wait_time);
            print(&render(&done.outputs, &options.style));
            Ok(ExitCode::SUCCESS)
        }
        Err(LineError::Database(DatabaseError::Timeout)) => {
            reporter.warn("terminating with signal 14 (Alarm clock)");
            Ok(die_of_alarm())
        }
        Err(error) => Err(CommandError::Failed(error.to_string())),
    }
}

/// Any order will do, as long as it differs from one run to the next.
fn shuffle(options: &mut RunOptions) {
    let mut seed = ovsdb::Uuid::new_v4().as_u128();
    for last in (1..options.remotes.len()).rev() {
        let count = last as u128 + 1;
        options.remotes.swap(last, (seed % count) as usize);
        seed /= count;
    }
}

fn print(text: &str) {
    // Who has closed the output does not want more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Ends as OVN's tools do when their time is over: by the signal of an alarm, which scripts know to tell from failure.
fn die_of_alarm() -> ExitCode {
    let _ = std::io::stdout().flush();
    let _ =
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::ALARM);
    ExitCode::FAILURE
}
