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
