//! Commands that work on any table: `list`, `find`, `get`, `set`, `add`, `remove`, `clear`, `create`, `destroy`,
//! `wait-until`, `comment`.

mod condition;
mod modify;
mod place;
mod read;
mod rows;
mod wait;

pub(crate) use modify::{parse_places, set_column};

use northbound::Snapshot;

use crate::command::{Command, Family, Invocation, Tables};
use crate::error::Outcome;
use crate::lookup;

/// The commands.
pub static FAMILY: Family = Family {
    title: "Database commands",
    commands: &[
        Command {
            name: "list",
            arguments: "TABLE [RECORD]...",
            options: &["--if-exists", "--columns="],
            help: "print the given, or all, rows of TABLE",
            tables: Tables::Asked(first_argument),
            run: read::list,
        },
        Command {
            name: "find",
            arguments: "TABLE [COLUMN[:KEY]OPVALUE]...",
            options: &["--columns="],
            help: "print the rows of TABLE that meet all conditions; OP is = != < <= > >=, or of sets {=} {!=} {<} {<=} {>} {>=} {in} {not-in}",
            tables: Tables::Asked(first_argument),
            run: read::find,
        },
        Command {
            name: "get",
            arguments: "TABLE RECORD [COLUMN[:KEY]]...",
            options: &["--if-exists", "--id="],
            help: "print the given columns of RECORD",
            tables: Tables::Asked(first_argument),
            run: read::get,
        },
        Command {
            name: "set",
            arguments: "TABLE RECORD COLUMN[:KEY]=VALUE...",
            options: &["--if-exists"],
            help: "give columns of RECORD new contents",
            tables: Tables::Asked(first_argument),
            run: modify::set,
        },
        Command {
            name: "add",
            arguments: "TABLE RECORD COLUMN [KEY=]VALUE...",
            options: &["--if-exists"],
            help: "put elements into COLUMN of RECORD",
            tables: Tables::Asked(first_argument),
            run: modify::add,
        },
        Command {
            name: "remove",
            arguments: "TABLE RECORD COLUMN KEY|VALUE|KEY=VALUE...",
            options: &["--if-exists"],
            help: "take elements out of COLUMN of RECORD",
            tables: Tables::Asked(first_argument),
            run: modify::remove,
        },
        Command {
            name: "clear",
            arguments: "TABLE RECORD COLUMN...",
            options: &["--if-exists"],
            help: "empty columns of RECORD",
            tables: Tables::Asked(first_argument),
            run: modify::clear,
        },
        Command {
            name: "create",
            arguments: "TABLE COLUMN[:KEY]=VALUE...",
            options: &["--id="],
            help: "make a row and print its UUID; with --id=@NAME the line can refer to it as @NAME",
            tables: Tables::Asked(first_argument),
            run: rows::create,
        },
        Command {
            name: "destroy",
            arguments: "TABLE [RECORD]...",
            options: &["--if-exists", "--all"],
            help: "delete the given rows, or with --all every row, of TABLE",
            tables: Tables::Asked(first_argument),
            run: rows::destroy,
        },
        Command {
            name: "wait-until",
            arguments: "TABLE RECORD [COLUMN[:KEY]OPVALUE]...",
            options: &[],
            help: "wait until RECORD is there and meets all conditions",
            tables: Tables::Asked(first_argument),
            run: wait::wait_until,
        },
        Command {
            name: "comment",
            arguments: "[TEXT]...",
            options: &[],
            help: "leave a remark in the database's log",
            tables: Tables::Fixed(&[]),
            run: |_| Ok(()),
        },
    ],
};

fn first_argument(snapshot: &Snapshot, invocation: &Invocation) -> Outcome<Vec<usize>> {
    Ok(vec![lookup::table(snapshot, &invocation.arguments[0])?])
}
