//! Subscribers: chassis that want the rows of their own datapath, and some tables whole.
//!
//! Each has one monitor (`monitor_cond_since`): of Port_Binding and Logical_Flow the rows of a datapath of its own, of
//! Chassis everything. Measured is the time from the request that changes a row until a subscriber has read the update,
//! and whoever should not have been told is counted by the bytes that it got.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rig::implementation::{Implementation, Side};
use serde_json::Value;

use super::Run;
use super::fleet::{Arrival, Fleet, transact};
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::{Number, at_rank};

/// How many subscribers.
const SIZES: [usize; 2] = [10, 500];
/// How many changes of a row that one wants are made, and of one that all want.
const CHANGES: (u32, u32) = (1000, 200);
/// An update that has not come by then is lost.
const LIMIT: Duration = Duration::from_secs(30);

/// Measures.
pub fn run(run: &Run<'_>) -> Result<()> {
    let mut table = Table::new(
        "A row on its way to subscribers, each with a condition on its own datapath, from the request that writes it, on disk",
    );
    for subscribers in SIZES {
        for implementation in run.implementations() {
            measure(implementation, subscribers, &mut table)?;
        }
    }
    table.print();
    Ok(())
}

fn measure(implementation: Implementation, subscribers: usize, table: &mut Table) -> Result<()> {
    let servers = Servers::start(implementation, Side::Southbound, 1, Medium::Disk)?;
    let mut crowd = Crowd::gather(&servers, subscribers)?;
    let before = crowd.received();
    let cpu = servers.members[0].cpu_time()?;
    let mut owed = vec![0; subscribers];
    let mut times = Vec::new();
    for number in 0..CHANGES.0 {
        // Steps that lead to neighbours late.
        let one = number as usize * 7 % subscribers;
        let operation = format!(
            r#"{{"op":"update","table":"Port_Binding","where":[["_uuid","==",["uuid","{}"]]],"row":{{"tag":{}}}}}"#,
            crowd.ports[one],
            number + 1,
        );
        let (mut told, bytes) = crowd.change(&operation, 1)?;
        ensure!(
            told.len() == 1 && told[0].0 == one,
            "the wrong one was told"
        );
        owed[one] += bytes;
        times.push(told.remove(0).1);
    }
    let received = crowd.received();
    let strays: u64 = (0..subscribers)
        .map(|one| received[one] - before[one] - owed[one])
        .sum();
    times.sort_unstable();
    let mut put = |what: &str, number| {
        table.put(
            &format!("{subscribers} subscribers: {what}"),
            implementation,
            number,
        );
    };
    put(
        "a row that one wants: p50",
        Number::Time(at_rank(&times, 0.5)),
    );
    put(
        "a row that one wants: p99",
        Number::Time(at_rank(&times, 0.99)),
    );
    let cpu = (servers.members[0].cpu_time()? - cpu) / CHANGES.0;
    put("a row that one wants: CPU of the server", Number::Time(cpu));
    put(
        "bytes to those who do not want it",
        Number::Count(usize::try_from(strays)?),
    );

    let mut last = Vec::new();
    let cpu = servers.members[0].cpu_time()?;
    for number in 0..CHANGES.1 {
        let operation = format!(
            r#"{{"op":"update","table":"Chassis","where":[],"row":{{"nb_cfg":{}}}}}"#,
            number + 1
        );
        let (told, _) = crowd.change(&operation, subscribers)?;
        last.extend(told.into_iter().map(|(_, time)| time).max());
    }
    last.sort_unstable();
    put(
        "a row that all want, at the last: p50",
        Number::Time(at_rank(&last, 0.5)),
    );
    put(
        "a row that all want, at the last: p99",
        Number::Time(at_rank(&last, 0.99)),
    );
    put(
        "a row that all want: CPU of the server",
        Number::Time((servers.members[0].cpu_time()? - cpu) / CHANGES.1),
    );
    Ok(())
}

/// Subscribers, and somebody who writes.
struct Crowd {
    schema: &'static str,
    subscribers: usize,
    /// The writer is the last session.
    fleet: Fleet,
    /// Each subscriber's port.
    ports: Vec<String>,
}

impl Crowd {
    fn gather(servers: &Servers, subscribers: usize) -> Result<Self> {
        let schema = servers.schema();
        let mut fleet = servers.clients(subscribers + 1)?;
        let mut operations = vec![
            r#"{"op":"insert","table":"Encap","uuid-name":"e","row":{"type":"geneve","ip":"192.0.2.1","chassis_name":"c"}},{"op":"insert","table":"Chassis","row":{"name":"c","encaps":["named-uuid","e"]}}"#
                .to_owned(),
        ];
        for number in 0..subscribers {
            operations.push(format!(
                r#"{{"op":"insert","table":"Datapath_Binding","uuid-name":"d{number}","row":{{"tunnel_key":{}}}}},{{"op":"insert","table":"Port_Binding","row":{{"datapath":["named-uuid","d{number}"],"logical_port":"p{number}","tunnel_key":1}}}}"#,
                number + 1
            ));
        }
        let results = fleet.ask_value(
            subscribers,
            transact(schema, &operations.join(",")).as_bytes(),
        )?;
        let identity = |place: usize| results[place]["uuid"][1].as_str().map(str::to_owned);
        let identities =
            |first: usize| (0..subscribers).filter_map(move |number| identity(first + 2 * number));
        let (datapaths, ports): (Vec<_>, Vec<_>) =
            (identities(2).collect(), identities(3).collect());
        ensure!(
            ports.len() == subscribers,
            "inserts are answered with identities"
        );
        for (number, datapath) in datapaths.iter().enumerate() {
            let monitor = format!(
                r#"{{"id":1,"method":"monitor_cond_since","params":["{schema}","m",{{"Port_Binding":[{{"where":[["datapath","==",["uuid","{datapath}"]]]}}],"Logical_Flow":[{{"where":[["logical_datapath","==",["uuid","{datapath}"]]]}}],"Chassis":[{{}}]}},"00000000-0000-0000-0000-000000000000"]}}"#
            );
            let content = fleet.ask_value(number, monitor.as_bytes())?;
            let seen = content[2]["Port_Binding"]
                .as_object()
                .map_or(0, serde_json::Map::len);
            ensure!(
                seen == 1,
                "a subscriber sees its own port: {}",
                Value::from(seen)
            );
        }
        Ok(Self {
            schema,
            subscribers,
            fleet,
            ports,
        })
    }

    fn received(&self) -> Vec<u64> {
        (0..self.subscribers)
            .map(|one| self.fleet.received(one))
            .collect()
    }

    /// Makes a change and waits for the answer and so many updates: who was told, and when; and the bytes of the last
    /// update.
    fn change(&mut self, operation: &str, updates: usize) -> Result<(Vec<(usize, Duration)>, u64)> {
        let request = transact(self.schema, operation);
        let began = Instant::now();
        self.fleet.send(self.subscribers, request.as_bytes())?;
        let (mut told, mut answered) = (Vec::new(), false);
        while told.len() < updates || !answered {
            ensure!(
                began.elapsed() < LIMIT,
                "{} of {updates} were told",
                told.len()
            );
            for arrival in self.fleet.receive_many(Duration::from_secs(1))? {
                if arrival.session == self.subscribers {
                    arrival.check()?;
                    answered = true;
                } else {
                    told.push(arrival);
                }
            }
        }
        // Only now: a look at each takes longer than to read it.
        told.iter().try_for_each(Arrival::check)?;
        let bytes = told.last().map_or(0, |last| last.frame.len() as u64);
        let told = told
            .into_iter()
            .map(|Arrival { session, at, .. }| (session, at - began))
            .collect();
        Ok((told, bytes))
    }
}
