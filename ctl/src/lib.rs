//! The command line: `weft nb`, `weft sb` and their kin.
//!
//! A command line is one transaction. It goes through these rooms, in this order:
//!
//! | room | what happens there |
//! | --- | --- |
//! | [`arguments`] | the line becomes options and [`arguments::Invocation`]s of commands |
//! | [`command`] | what a command is: its name, arguments, options, help and function, all in one place |
//! | [`text`], [`lookup`], [`symbols`] | values, and tables, columns and rows by what people call them |
//! | [`generic`], [`nb`], [`sb`] | the commands, a family a file: functions of a [`command::Context`], without I/O |
//! | [`run`] | connects, runs the commands, commits, retries, waits, prints |
//! | [`pki`] | `weft pki`, which makes certificates and needs no database |
//! | [`transfer`] | `import` and `export`, which are not transactions: the whole database comes or goes |
//! | [`cluster`] | `weft cluster`, which administers the servers, and is a program of its own |
//! | [`help`] | help texts and shell completion, printed from the commands |
//!
//! Under the names `ovn-nbctl` and `ovn-sbctl` the program is that tool: the same commands, flags, output and errors.
//! What a tool is made of says [`tool::Tool`].

pub mod arguments;
pub mod cluster;
pub mod command;
pub mod error;
pub mod generic;
pub mod help;
pub mod lookup;
pub mod nb;
pub mod output;
pub mod pki;
pub mod progress;
pub mod run;
pub mod sb;
pub mod server;
pub mod symbols;
pub mod text;
pub mod tool;
pub mod transfer;

pub use error::{CommandError, Outcome};
