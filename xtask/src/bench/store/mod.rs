//! The databases, with Debian's `ovsdb-server` beside them.
//!
//! | module | what it measures |
//! | --- | --- |
//! | [`writes`] | transactions that are on disk when they are answered |
//! | [`subscribers`] | changes on their way to 10 and to 500 subscribers |
//! | [`stalls`] | the longest wait of any request while a large database is written to |
//! | [`recovery`] | from the end of a leader until something can be written again |
//! | [`memory`] | a million rows: the memory they take, and the time of a restart |
//! | [`hostile`] | what good clients notice of hostile ones |
//! | [`servers`] | one server or three members |
//! | [`fleet`] | clients by the hundred |
//! | [`content`] | what fills the databases |
//! | [`table`] | the figures in Markdown |

mod content;
mod fleet;
mod hostile;
mod memory;
mod recovery;
mod servers;
mod stalls;
mod subscribers;
mod table;
mod writes;

use anyhow::Result;
use clap::{Args, ValueEnum};
use rig::implementation::Implementation;

use self::servers::Medium;
use super::Whose;

/// How much is measured.
#[derive(Args)]
pub struct Options {
    /// Measure these parts only; several, comma-separated
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Where the files of the durable writes lie; several, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["disk", "ram"])]
    media: Vec<Medium>,

    /// For how many seconds each case of durable writes is measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,

    /// For how many minutes a large database is written to
    #[arg(long, default_value_t = 0.5)]
    minutes: f64,

    /// How large that database is, in megabytes of JSON
    #[arg(long, default_value_t = 300)]
    megabytes: usize,

    /// How many transactions a second it is given
    #[arg(long, default_value_t = 500)]
    rate: u32,

    /// How many leaders are killed
    #[arg(long, default_value_t = 20)]
    kills: usize,

    /// How many rows the southbound of the memory's measurement has
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Writes,
    Subscribers,
    Stalls,
    Recovery,
    Memory,
    Hostile,
}

/// What is asked for.
struct Run<'a> {
    options: &'a Options,
    whose: Whose,
}

impl Run<'_> {
    /// Who is measured, in the order of the columns; each alone.
    fn implementations(&self) -> impl Iterator<Item = Implementation> + use<> {
        let whose = self.whose;
        let both = [Implementation::Ovn, Implementation::Weft];
        both.into_iter().filter(move |one| whose.includes(*one))
    }
}

/// Measures.
pub fn run(options: &Options, whose: Whose) -> Result<()> {
    let run = Run { options, whose };
    for part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(part) {
            match part {
                Part::Writes => writes::run(&run)?,
                Part::Subscribers => subscribers::run(&run)?,
                Part::Stalls => stalls::run(&run)?,
                Part::Recovery => recovery::run(&run)?,
                Part::Memory => memory::run(&run)?,
                Part::Hostile => hostile::run(&run)?,
            }
        }
    }
    Ok(())
}
