//! The longest wait of any request while a large database is written to.
//!
//! Requests come at fixed times, whether the server has answered the earlier ones or not, and each is measured from the
//! time at which it was due: so a stall counts for all that come during it. Half of the requests insert a logical flow
//! of a kilobyte, half delete one of these. What the server does on the side, it does during the measurement: ours
//! truncates its log and writes rows; OVN's rewrites its file, which it would do by itself when the file has doubled
//! and ten minutes have passed, and is here asked to do halfway.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rig::implementation::{Implementation, Side};

use super::Run;
use super::content::Southbound;
use super::fleet::{Arrival, transact};
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::{Number, at_rank};

/// How many requests may be unanswered at a time.
const SESSIONS: usize = 64;
/// How long the flows are made, in bytes.
const PADDING: usize = 700;
/// The JSON of such a flow has about so many bytes.
const ROW_BYTES: usize = 1100;
/// What is longer is a stall.
const STALL: Duration = Duration::from_millis(50);
/// A server that answers nothing for so long has stopped.
const STANDSTILL: Duration = Duration::from_secs(120);

/// Measures.
pub fn run(run: &Run<'_>) -> Result<()> {
    let options = run.options;
    let time = Duration::from_secs_f64(options.minutes * 60.0);
    let mut table = Table::new(&format!(
        "A southbound of {} MB, {} transactions/s for {} minutes, on disk",
        options.megabytes, options.rate, options.minutes
    ));
    for implementation in run.implementations() {
        let servers = Servers::start(implementation, Side::Southbound, 1, Medium::Disk)?;
        let rows = Southbound::new((options.megabytes << 20) / ROW_BYTES).padded(PADDING);
        rows.write(servers.schema(), &mut servers.clients(1)?)?;
        let mut times = std::thread::scope(|scope| {
            let housekeeping = scope.spawn(|| {
                std::thread::sleep(time / 2);
                match implementation {
                    Implementation::Ovn => servers.members[0].control(&["ovsdb-server/compact"]),
                    Implementation::Weft => Ok(String::new()),
                }
            });
            let times = measure(&servers, options.rate, time);
            housekeeping.join().expect("waiting does not panic")?;
            times
        })?;
        times.sort_unstable();
        let mut put = |what: &str, number| table.put(what, implementation, number);
        put("requests: p50", Number::Time(at_rank(&times, 0.5)));
        put("requests: p99", Number::Time(at_rank(&times, 0.99)));
        put("requests: p99.9", Number::Time(at_rank(&times, 0.999)));
        put("requests: longest", Number::Time(at_rank(&times, 1.0)));
        let stalled = times.iter().filter(|time| **time > STALL).count();
        put("requests that took more than 50 ms", Number::Count(stalled));
        put(
            "most memory",
            Number::Memory(servers.members[0].peak_memory()?),
        );
    }
    table.print();
    Ok(())
}

fn measure(servers: &Servers, rate: u32, time: Duration) -> Result<Vec<Duration>> {
    let mut fleet = servers.clients(SESSIONS)?;
    let mut idle: Vec<usize> = (0..SESSIONS).collect();
    let mut due_of = vec![Instant::now(); SESSIONS];
    let mut inserted: VecDeque<String> = VecDeque::new();
    let (mut times, mut sent) = (Vec::new(), 0);
    let began = Instant::now();
    let mut heard = began;
    let due = |number: u32| began + Duration::from_secs(1) * number / rate;
    while due(sent) < began + time || idle.len() < SESSIONS {
        while due(sent) <= Instant::now().min(began + time)
            && let Some(session) = idle.pop()
        {
            let operation = match sent % 2 == 1 && inserted.len() > SESSIONS {
                true => delete(&inserted.pop_front().unwrap_or_default()),
                false => insert(sent),
            };
            due_of[session] = due(sent);
            fleet.send(session, transact(servers.schema(), &operation).as_bytes())?;
            sent += 1;
        }
        let next = due(sent).saturating_duration_since(Instant::now());
        let limit = if idle.is_empty() { STANDSTILL } else { next };
        for arrival in fleet.receive(limit.min(STANDSTILL))? {
            arrival.check()?;
            heard = arrival.at;
            times.push(arrival.at - due_of[arrival.session]);
            idle.push(arrival.session);
            inserted.extend(identity(&arrival));
        }
        ensure!(
            idle.len() == SESSIONS || heard.elapsed() < STANDSTILL,
            "no answer within {} s",
            STANDSTILL.as_secs()
        );
    }
    Ok(times)
}

fn insert(number: u32) -> String {
    format!(
        r#"{{"op":"insert","table":"Logical_Flow","row":{{"pipeline":"ingress","table_id":1,"priority":100,"match":"reg0 == {number}","actions":"next;{:PADDING$}"}}}}"#,
        ""
    )
}

fn delete(identity: &str) -> String {
    format!(
        r#"{{"op":"delete","table":"Logical_Flow","where":[["_uuid","==",["uuid","{identity}"]]]}}"#
    )
}

/// The row that an answer says was inserted.
fn identity(answer: &Arrival) -> Option<String> {
    let text = std::str::from_utf8(&answer.frame).ok()?;
    let (_, rest) = text.split_once(r#"["uuid",""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}
