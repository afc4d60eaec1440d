//! Durable writes: each client inserts a row and waits until the answer says that it is on disk, again and again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rig::implementation::Side;

use super::Run;
use super::fleet::transact;
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::{Number, at_rank};

/// After so long every server has warmed up.
const WARM_UP: Duration = Duration::from_millis(500);

/// A server that answers nothing for so long has stopped.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Measures one server and three, one client and many, on each medium.
pub fn run(run: &Run<'_>) -> Result<()> {
    let time = Duration::from_secs_f64(run.options.seconds);
    for medium in run.options.media.iter().copied() {
        let mut table = Table::new(&format!(
            "Durable writes, {}: rows of Logical_Switch inserted, {} s each (a flush of a page takes {:.2} ms there)",
            match medium {
                Medium::Disk => "on disk",
                Medium::Ram => "on a RAM disk",
            },
            run.options.seconds,
            medium.flush_time()?.as_secs_f64() * 1e3,
        ));
        for members in [1, 3] {
            for implementation in run.implementations() {
                let servers = Servers::start(implementation, Side::Northbound, members, medium)?;
                for clients in [1, 64] {
                    let name = match members {
                        1 => format!("one server, {clients} clients"),
                        _ => format!("three members, {clients} clients"),
                    };
                    let name = name.replace(" 1 clients", " 1 client");
                    let mut times = measure(&servers, clients, time)?;
                    let rate = times.len() as f64 / time.as_secs_f64();
                    times.sort_unstable();
                    table.put(
                        &format!("{name}: transactions/s"),
                        implementation,
                        Number::Rate(rate),
                    );
                    table.put(
                        &format!("{name}: p50"),
                        implementation,
                        Number::Time(at_rank(&times, 0.5)),
                    );
                    table.put(
                        &format!("{name}: p99"),
                        implementation,
                        Number::Time(at_rank(&times, 0.99)),
                    );
                }
            }
        }
        table.print();
    }
    Ok(())
}

fn measure(servers: &Servers, clients: usize, time: Duration) -> Result<Vec<Duration>> {
    let mut fleet = servers.clients(clients)?;
    let mut number = 0;
    let mut sent = vec![Instant::now(); clients];
    let mut next = || {
        number += 1;
        let row = format!(
            r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"switch {clients} {number}"}}}}"#
        );
        transact(servers.schema(), &row)
    };
    for (client, sent) in sent.iter_mut().enumerate() {
        *sent = Instant::now();
        fleet.send(client, next().as_bytes())?;
    }
    let began = Instant::now() + WARM_UP;
    let mut times = Vec::new();
    let mut outstanding = clients;
    while outstanding > 0 {
        let arrivals = fleet.receive(STANDSTILL)?;
        ensure!(
            !arrivals.is_empty(),
            "no answer within {} s",
            STANDSTILL.as_secs()
        );
        for arrival in arrivals {
            arrival.check()?;
            let counts = arrival.at >= began && arrival.at < began + time;
            if counts {
                times.push(arrival.at - sent[arrival.session]);
            }
            if arrival.at < began + time {
                sent[arrival.session] = Instant::now();
                fleet.send(arrival.session, next().as_bytes())?;
            } else {
                outstanding -= 1;
            }
        }
    }
    Ok(times)
}
