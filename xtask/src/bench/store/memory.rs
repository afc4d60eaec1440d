//! A southbound of a million rows: how long it takes to write and to read again, and what it takes of memory.

use std::time::Instant;

use anyhow::Result;
use rig::implementation::Side;

use super::Run;
use super::content::Southbound;
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::Number;

/// Measures.
pub fn run(run: &Run<'_>) -> Result<()> {
    let rows = run.options.rows;
    let mut table = Table::new(&format!(
        "A southbound of {rows} rows, most of them logical flows, on disk"
    ));
    for implementation in run.implementations() {
        let mut servers = Servers::start(implementation, Side::Southbound, 1, Medium::Disk)?;
        let mut put = |what: &str, number| table.put(what, implementation, number);
        let began = Instant::now();
        Southbound::new(rows).write(servers.schema(), &mut servers.clients(1)?)?;
        put(
            "written, by one client in large transactions",
            Number::Time(began.elapsed()),
        );
        put(
            "memory after that",
            Number::Memory(servers.members[0].memory()?),
        );
        put(
            "most memory so far",
            Number::Memory(servers.members[0].peak_memory()?),
        );
        servers.members[0].kill()?;
        let began = Instant::now();
        servers.members[0].start_again()?;
        servers.wait_for_leader()?;
        put(
            "from `kill -9` and a new start to serving",
            Number::Time(began.elapsed()),
        );
        put(
            "memory after a new start",
            Number::Memory(servers.members[0].memory()?),
        );
        put(
            "most memory since",
            Number::Memory(servers.members[0].peak_memory()?),
        );
    }
    table.print();
    Ok(())
}
