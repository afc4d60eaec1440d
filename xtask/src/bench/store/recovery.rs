//! The leader of three is killed: how long until something can be written again.
//!
//! Every few milliseconds a row is inserted through each of the two others. The first answer that says that one of
//! these rows is there, counted from the kill, ends the measurement; then the killed member is started again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rig::implementation::{Implementation, Side};
use rig::wait::wait_until;

use super::Run;
use super::fleet::transact;
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::{Number, at_rank};

/// How often something is written.
const INTERVAL: Duration = Duration::from_millis(5);
/// So many rows wait for an answer at most, at each member.
const OUTSTANDING: usize = 200;
/// A cluster that has not recovered by then will not.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures.
pub fn run(run: &Run<'_>) -> Result<()> {
    let kills = run.options.kills;
    let mut table = Table::new(&format!(
        "`kill -9` of the leader of three, {kills} times, on disk"
    ));
    for implementation in run.implementations() {
        let mut times = measure(implementation, kills)?;
        times.sort_unstable();
        let mut put = |what: &str, number| table.put(what, implementation, number);
        put(
            "until a write succeeds: p50",
            Number::Time(at_rank(&times, 0.5)),
        );
        put(
            "until a write succeeds: p99",
            Number::Time(at_rank(&times, 0.99)),
        );
    }
    table.print();
    Ok(())
}

fn measure(implementation: Implementation, kills: usize) -> Result<Vec<Duration>> {
    let mut servers = Servers::start(implementation, Side::Northbound, 3, Medium::Disk)?;
    let mut times = Vec::new();
    for _ in 0..kills {
        let leader = servers.wait_for_leader()?;
        wait_until("all members to be up to date", LIMIT, || {
            servers.are_level()
        })?;
        times.push(recover(&mut servers, leader)?);
        servers.members[leader].start_again()?;
    }
    Ok(times)
}

fn recover(servers: &mut Servers, leader: usize) -> Result<Duration> {
    let mut others = Vec::new();
    for member in (0..servers.members.len()).filter(|member| *member != leader) {
        others.push((servers.clients_of(member, 1)?, 0));
    }
    let schema = servers.schema();
    let killed = Instant::now();
    servers.members[leader].kill()?;
    let mut number = 0;
    while killed.elapsed() < LIMIT {
        for (fleet, outstanding) in &mut others {
            if *outstanding < OUTSTANDING {
                number += 1;
                let row = format!(
                    r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"after {number}"}}}}"#
                );
                fleet.send(0, transact(schema, &row).as_bytes())?;
                *outstanding += 1;
            }
            for arrival in fleet.receive(INTERVAL / 2)? {
                *outstanding -= 1;
                if arrival.check().is_ok() {
                    return Ok(arrival.at - killed);
                }
            }
        }
    }
    bail!("nothing could be written within {} s", LIMIT.as_secs())
}
