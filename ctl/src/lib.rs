//! The command line: `weft nb`, `weft sb` and their kin.
//!
//! A command line is one transaction. It goes through these modules; each uses only those above it:
//!
//! | module | what happens there |
//! | --- | --- |
//! | [`text`], [`lookup`], [`symbols`] | values, and tables, columns and rows by what people call them |
//! | [`output`] | what commands print, in the formats that were asked for |
//! | [`ofctl`] | the OpenFlow flows of a switch |
//! | [`report`], [`suggest`] | how a program speaks to those who run it; what a mistyped word may have meant |
//! | [`command`], [`tool`] | what a command is, and what a tool: names, arguments, options, help and functions |
//! | [`arguments`], [`options`] | the line becomes options and [`command::Invocation`]s of commands |
//! | [`generic`], [`nb`], [`sb`], [`server`] | the commands, a family a file: arguments to the verbs of `northbound`, and their results to text, without I/O but for `lflow-list --ovs` |
//! | [`transfer`] | `import` and `export`, which are not transactions: the whole database comes or goes |
//! | [`tools`] | `weft nb` and `weft sb`: which commands they have |
//! | [`run`] | connects, runs the commands, commits, retries, waits |
//! | [`help`] | help texts and shell completion, printed from the commands |
//! | [`background`] | a tool as a daemon, and as the client of one |
//! | [`complete`] | what may stand where a line is being written, names in the database included |
//! | [`program`] | a tool as a program: arguments in, output and exit status out |
//! | [`pki`] | `weft pki`, which makes certificates and needs no database |
//! | [`trace`] | `weft trace`, which says what would become of a packet |
//! | [`explain`] | `weft why`, `weft detrace`, `weft debug`: which rows are behind flows and cookies |
//! | [`top`] | `weft top`: who has the traffic of this machine's switch |
//! | [`plan`] | `weft plan`: what a change would do, before it is made |
//! | [`diff`] | `weft diff`: in what two databases, or a file and a database, differ |
//! | [`programs`] | the list of these programs |
//! | [`page`] | what completion and the book say of a program, out of its arguments |
//! | [`token`] | `weft token`: bearer tokens |
//! | [`cluster`] | `weft cluster`, which administers the servers, and is a program of its own |
//!
//! Under the names `ovn-nbctl` and `ovn-sbctl` the program is that tool: the same commands, flags, output and errors.
//! What a tool is made of says [`tool::Tool`].

pub mod appctl;
pub mod arguments;
pub mod background;
pub mod cluster;
pub mod command;
pub mod complete;
pub mod diff;
pub mod error;
pub mod explain;
pub mod generic;
pub mod help;
pub mod lookup;
pub mod nb;
pub mod objects;
pub mod ofctl;
pub mod options;
pub mod output;
pub mod page;
pub mod pki;
pub mod plan;
pub mod program;
pub mod programs;
pub mod progress;
pub mod report;
pub mod run;
pub mod sb;
pub mod server;
pub mod suggest;
pub mod symbols;
pub mod text;
pub mod time;
pub mod token;
pub mod tool;
pub mod tools;
pub mod top;
pub mod trace;
pub mod transfer;

pub use error::{CommandError, Outcome};
