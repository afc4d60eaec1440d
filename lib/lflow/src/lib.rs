//! The logical-flow language: match and action, builders, parser, normaliser, interpreter.
//!
//! A logical flow says in the terms of logical networks which packets it applies to ([`Expr`]) and what is done with
//! them ([`Actions`]). Both are those of OVN 26.03, as ovn-sb(5) describes them under `Logical_Flow`.
//!
//! * [`m`] and [`a`] build them, `Display` prints them, [`Expr::parse`] and [`Actions::parse`] read them; what is
//!   printed reads back equal.
//! * [`Symbol`] is what they speak of.
//! * [`expr`] has the passes that bring a match into normal form, [`flows`] makes flows of it.
//! * [`interp`] says what logical flows do with a packet.
//!
//! Nothing here panics or recurses without a limit, whatever the input: texts, nesting and the number of resulting flows
//! are bounded, and past a bound there is an error that names it.
//!
//! ```
//! use lflow::{Expr, m};
//!
//! let text = "tcp.dst == 80 && ip4.src == 10.0.0.0/8";
//! let expr = Expr::parse(text)?;
//! assert_eq!(Expr::parse(&expr.to_string())?, expr);
//! assert_eq!(Expr::parse(r#"inport == "lsp1""#)?, m::inport("lsp1"));
//! // What is wrong is told with the place where it stands.
//! let error = Expr::parse("tcp.dst == 80 && ip4.source == 10.0.0.1").unwrap_err();
//! println!("{error}");
//! # Ok::<(), lflow::ParseError>(())
//! ```
#![forbid(unsafe_code)]

pub mod a;
pub mod action;
mod constant;
mod cursor;
mod error;
pub mod expr;
pub mod flows;
pub mod interp;
mod lexer;
pub mod m;
mod symbols;

pub use action::{Action, Actions, Pipeline};
pub use constant::{Constant, Format, Int, Name};
pub use error::ParseError;
pub use expr::Expr;
pub use lexer::MAX_TEXT;
pub use symbols::{Access, Base, Field, Kind, Level, Segment, Symbol};
