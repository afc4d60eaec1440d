//! What belongs to what the switch and the southbound show: cookies, stages, and the northbound rows behind flows.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`intent`] | northbound rows in words, found by the start of a UUID |
//! | [`records`] | southbound rows in words, found by cookie |
//! | [`connection`] | reads databases once |
//! | [`counters`] | what a switch has counted, out of what it prints |
//! | [`switch`] | asks the switch of this machine |
//! | [`drops`] | which rules drop packets, by what the switch has counted |
//! | [`why`] | which rule decided about a packet, in a paragraph |
//! | [`why_program`], [`detrace`], [`debug`] | the programs; [`programs`] lists them |

pub(crate) mod connection;
pub mod counters;
mod debug;
mod detrace;
pub mod drops;
pub mod intent;
pub mod programs;
pub mod records;
pub mod switch;
pub mod why;
mod why_program;
