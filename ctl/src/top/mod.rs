//! `weft top`: who has the traffic of this machine's switch, in the terminal.
//!
//! The switch counts anyway: its counters are read now and then, and nothing else is asked of it.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`traffic`] | counters of ports, rules, load balancers and chassis |
//! | [`rows`] | the same in lines |
//! | [`screen`] | what the terminal shows, and what keys do |

mod rows;
mod screen;
mod traffic;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};
use daemon::args::TlsArgs;
use ovsdb::Table as _;
use ratatui_core::backend::Backend;
use ratatui_core::terminal::Terminal;
use ratatui_termion::TermionBackend;
use ratatui_termion::termion::event::Key;
use ratatui_termion::termion::input::TermRead;
use ratatui_termion::termion::raw::IntoRawMode;
use ratatui_termion::termion::screen::IntoAlternateScreen;
use replica::Client;
use sb_db::tables::{LogicalFlow, PortBinding};

use self::rows::Order;
use self::screen::{Asked, Screen};
use self::traffic::{Known, Reading};
use crate::error::{CommandError, Outcome, fail};
use crate::explain::connection::{DatabaseArgs, Reader, print, wrong};
use crate::explain::intent;
use crate::explain::switch::{self, Interface};
use crate::ofctl;
use crate::tools::{NB, SB};

/// What the databases have told is looked through no more often than this, when there is something new in the switch.
const REFRESH: Duration = Duration::from_secs(10);
/// While nothing is read of the switch, the databases are listened to so often: they give up clients that do not answer.
const LISTENING: Duration = Duration::from_secs(1);

/// Shows who has the traffic of this machine's switch: ports, rules, load balancers, and chassis by the tunnels to them
#[derive(Debug, Parser)]
#[command(name = "weft top", bin_name = "weft top", version)]
struct Arguments {
    /// Print once and end: what was counted since flows and ports were made; with --interval, what is counted within it
    #[arg(long)]
    once: bool,
    /// How often numbers are read; 1 second by default
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    interval: Option<Duration>,
    /// What comes first
    #[arg(long, value_enum, default_value = "bytes")]
    order: Order,
    /// With --once: print so many of each at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// The switch to ask, as ovs-ofctl calls it; by default the br-int of this machine
    #[arg(long, value_name = "SWITCH", help_heading = "Switch")]
    switch: Option<String>,
    /// The switch's database; by default the one on this machine
    #[arg(long, value_name = "REMOTE", help_heading = "Switch")]
    ovsdb: Option<String>,
    #[command(flatten)]
    databases: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a number of seconds is expected")?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("from 0.1 to 3600 seconds are possible".to_owned()),
    }
}

/// Runs the program.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft top".to_owned()).chain(arguments);
    let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| error.exit());
    match arguments.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Failed(text)) => {
            eprintln!("weft top: {text}");
            ExitCode::FAILURE
        }
        Err(CommandError::NotYet) => ExitCode::FAILURE,
    }
}

/// What reads the switch, with what is known of it.
struct Watch<'a> {
    arguments: &'a Arguments,
    reader: Reader,
    south: Client,
    north: Client,
    switch: String,
    known: Known,
    interfaces: HashMap<u64, Interface>,
    read_at: Instant,
}

impl<'a> Watch<'a> {
    fn new(arguments: &'a Arguments) -> Outcome<Self> {
        let databases = &arguments.databases;
        let reader = databases.reader(&arguments.tls)?;
        let mut watch = Self {
            south: reader.read(
                &SB,
                databases.ovnsb.as_ref(),
                &[LogicalFlow::INDEX, PortBinding::INDEX],
            )?,
            north: reader.read(&NB, databases.ovnnb.as_ref(), &intent::TABLES)?,
            reader,
            switch: ofctl::target(arguments.switch.as_deref()),
            arguments,
            known: Known::default(),
            interfaces: HashMap::new(),
            read_at: Instant::now(),
        };
        watch.refresh()?;
        Ok(watch)
    }

    /// Looks through what the databases have told.
    fn refresh(&mut self) -> Outcome {
        self.known = Known::new(self.south.tables(), self.north.tables());
        self.interfaces = switch::interfaces(&self.reader, self.arguments.ovsdb.as_deref())?;
        self.read_at = Instant::now();
        Ok(())
    }

    /// Takes over what the databases have told. Says whether one of them is away, so that what is known may be old.
    fn follow(&mut self) -> Outcome<bool> {
        let mut is_away = false;
        for database in [&mut self.south, &mut self.north] {
            self.reader.catch_up(database)?;
            is_away |= !database.is_synced();
        }
        Ok(is_away)
    }

    /// Reads the switch.
    fn read(&mut self) -> Outcome<Reading> {
        let counters = switch::counters(&self.switch)?;
        self.follow()?;
        if self.read_at.elapsed() >= REFRESH && self.known.is_stale(&counters) {
            self.refresh()?;
            self.known.leave_out(&counters);
        }
        let ports = switch::ports(&self.switch)?;
        Ok(traffic::read(
            &counters,
            &self.known,
            &ports,
            &self.interfaces,
        ))
    }
}

impl Arguments {
    fn execute(&self) -> Outcome {
        if self.once {
            return self.batch();
        }
        if !std::io::stdout().is_terminal() {
            return fail("the output is no terminal; --once prints into files and pipes");
        }
        let mut watch = Watch::new(self)?;
        // When it goes, the terminal is as it was.
        let output = std::io::stdout()
            .into_raw_mode()
            .map_err(|error| wrong(&error))?;
        let output = output
            .into_alternate_screen()
            .map_err(|error| wrong(&error))?;
        let terminal = Terminal::new(TermionBackend::new(output));
        let mut terminal = terminal.map_err(|error| wrong(&error))?;
        self.show(&mut watch, &mut terminal, &keys()?)
    }

    fn batch(&self) -> Outcome {
        let mut watch = Watch::new(self)?;
        let mut reading = watch.read()?;
        let mut span = None;
        if let Some(interval) = self.interval {
            let start = Instant::now();
            while start.elapsed() < interval {
                let left = interval.saturating_sub(start.elapsed());
                std::thread::sleep(left.min(LISTENING));
                watch.follow()?;
            }
            reading = traffic::since(&reading, &watch.read()?);
            span = Some(start.elapsed().as_secs_f64());
        }
        print(&rows::page(&reading, self.order, span, self.limit));
        Ok(())
    }

    /// Until somebody ends it.
    fn show<B: Backend>(
        &self,
        watch: &mut Watch<'_>,
        terminal: &mut Terminal<B>,
        keys: &Receiver<Key>,
    ) -> Outcome {
        let interval = self.interval.unwrap_or(Duration::from_secs(1));
        let mut screen = Screen::new(self.order);
        let (mut before, mut at) = (watch.read()?, Instant::now());
        loop {
            let drawn = terminal.draw(|frame| screen.draw(frame));
            drawn.map_err(|error| wrong(&error))?;
            let left = interval.saturating_sub(at.elapsed());
            match keys.recv_timeout(left.min(LISTENING)) {
                Ok(key) if screen.press(key) == Asked::Quit => return Ok(()),
                Ok(_) => continue,
                // Nobody can press one any more.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            screen.is_away = watch.follow()?;
            if at.elapsed() < interval {
                continue;
            }
            let reading = watch.read()?;
            let span = at.elapsed().as_secs_f64();
            screen.show(traffic::since(&before, &reading), span);
            (before, at) = (reading, Instant::now());
        }
    }
}

/// The keys that are pressed. Few wait: who holds one down waits for the screen.
fn keys() -> Outcome<Receiver<Key>> {
    let (sender, keys) = sync_channel(16);
    // It ends with the program: nothing else ends a read of a terminal.
    let reader = std::thread::Builder::new().name("keys".to_owned());
    let reader = reader.spawn(move || {
        for key in std::io::stdin().keys().map_while(Result::ok) {
            if sender.send(key).is_err() {
                return;
            }
        }
    });
    reader.map_err(|error| wrong(&error))?;
    Ok(keys)
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_well_formed() {
        Arguments::command().debug_assert();
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "x", "1e9", "nan"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
