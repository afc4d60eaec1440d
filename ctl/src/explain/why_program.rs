//! `weft why` as a program: which rule decides about a packet, and what this machine's switch has dropped.

use std::time::Duration;

use clap::Parser;
use daemon::args::TlsArgs;
use replica::Client;

use super::connection::{DatabaseArgs, Reader, print};
use super::intent::{self, Intents};
use super::why::explain;
use super::{drops, switch};
use crate::error::{CommandError, Outcome, fail};
use crate::ofctl;
use crate::report::Reporter;
use crate::tools::{NB, SB};
use crate::trace;
use crate::trace::daemon::TraceArgs;
use crate::trace::known::load;
use crate::trace::request::with_room;
use crate::trace::stage::Stages;
use crate::trace::walk::Manner;

/// So long `weft why` waits for the northbound, without which it can answer, too.
const NORTHBOUND: Duration = Duration::from_secs(5);

/// Says which rule decides about a packet: its table, its flow, and the northbound row that it is there for
#[derive(Debug, Parser)]
#[command(
    name = "weft why",
    bin_name = "weft why",
    version,
    override_usage = "weft why [OPTIONS] [DATAPATH] MICROFLOW\n       weft why drops [OPTIONS]"
)]
pub(super) struct Why {
    /// The datapath, if not that of the input port; and the packet, as a match that leaves nothing open. Or `drops`: what
    /// the flows of this machine's switch have dropped
    #[arg(value_name = "[DATAPATH] MICROFLOW", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// With drops: only on the datapath of this port, and first what names it
    #[arg(long, value_name = "PORT", help_heading = "Drops")]
    port: Option<String>,
    /// With drops: only what is dropped within so many seconds from now; without, since the flows were made
    #[arg(long, value_name = "SECONDS", help_heading = "Drops")]
    within: Option<u64>,
    /// With drops: the switch to ask, as ovs-ofctl calls it; by default the br-int of this machine
    #[arg(long, value_name = "SWITCH", help_heading = "Drops")]
    switch: Option<String>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    databases: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Why {
    /// What the flows of a switch have dropped.
    fn drops(&self, south: &Client, north: Option<&Client>) -> Outcome {
        let switch = ofctl::target(self.switch.as_deref());
        let mut counters = switch::counters(&switch)?;
        if let Some(seconds) = self.within {
            std::thread::sleep(Duration::from_secs(seconds));
            counters = switch::counters(&switch)?.since(&counters);
        }
        let north = north.map(Client::tables);
        let known = north.map(Intents::new).unwrap_or_default();
        let intents = |hint: &str| {
            let found = north.map(|north| known.find(north, hint));
            found.unwrap_or_default()
        };
        let told = drops::tell(south.tables(), &counters, self.port.as_deref(), &intents);
        print(&told.map_err(CommandError::Failed)?);
        Ok(())
    }

    pub(super) fn run(self, reporter: &Reporter) -> Outcome {
        let reader = self.databases.reader(&self.tls)?;
        let south = reader.read(&SB, self.databases.ovnsb.as_ref(), &trace::world::TABLES)?;
        // It may be away, and the answer does not wait for it.
        let is_limited = self.databases.timeout.is_some();
        let brief = match is_limited {
            true => self.databases.reader(&self.tls)?,
            false => Reader::new(&self.tls, !self.databases.no_leader_only, Some(NORTHBOUND))?,
        };
        let north = brief.read(&NB, self.databases.ovnnb.as_ref(), &intent::TABLES);
        let north = match north {
            Ok(north) => Some(north),
            Err(error) => {
                reporter.warn(&format!("without northbound rows: {error}"));
                None
            }
        };
        if self.words == ["drops"] {
            return self.drops(&south, north.as_ref());
        }
        let of_drops = [
            ("--port", self.port.is_some()),
            ("--within", self.within.is_some()),
            ("--switch", self.switch.is_some()),
        ];
        if let Some((option, _)) = of_drops.iter().find(|(_, is_given)| *is_given) {
            return fail(format!("{option} is for `weft why drops`"));
        }
        let (datapath, microflow) = match &self.words[..] {
            [datapath, microflow] => (Some(datapath.clone()), microflow.clone()),
            words => (None, words.concat()),
        };
        let mut request = self.trace.request(true, Manner::Chassis)?;
        (request.datapath, request.microflow) = (datapath, microflow);
        let told = with_room(|| {
            let world = load(south.tables());
            let followed = request.follow(&world, &Stages::default())?;
            let north = north.as_ref().map(Client::tables);
            let known = north.map(Intents::new).unwrap_or_default();
            let intents = |hint: &str| {
                let found = north.map(|north| known.find(north, hint));
                found.unwrap_or_default()
            };
            Ok::<_, String>((
                explain(&world, &followed.endings, &intents),
                followed.warnings,
            ))
        });
        let told = told.and_then(|told| told).map_err(CommandError::Failed)?;
        for warning in &told.1 {
            reporter.warn(warning);
        }
        print(&told.0);
        Ok(())
    }
}
