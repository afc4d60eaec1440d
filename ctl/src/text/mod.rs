//! Values as people write and read them on a command line.
//!
//! A string needs no quotes if it begins with a letter or `_` and goes on with letters, digits, `_`, `-` and `.`; in
//! quotes it is a JSON string. Elements of a set are separated by commas or blanks and may stand in `[…]`, pairs
//! `key=value` of a map in `{…}`.

mod parse;
mod print;
mod token;

pub use parse::{parse_atom, parse_datum};
pub use print::{atom_text, bare_text, datum_text, quoted, type_in_english};
pub use token::token;
