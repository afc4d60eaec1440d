//! Compiling networks: from the start of northd to `sb_cfg`; then one port added, and one removed, many times; then members
//! of a port group and of an address set as large as the network; where there are routers, a route, a NAT rule, and a switch
//! with its port of the router.
//!
//! Both databases are served by OVN's `ovsdb-server` for both compilers, so that what is compared is the compilers. Ours
//! is measured on our own databases too, as it is meant to be run.

use std::time::{Duration, Instant};

use anyhow::Result;
use rig::implementation::{Database, Door, Implementation, Side, start_northd};
use rig::ovsdb::Client;
use rig::process::Daemon;
use serde_json::json;

use super::network::Network;
use super::report::{Column, Number, median, print};
use super::{Burden, Topology, Whose, settled_cpu_time};

const PORTS_PER_SWITCH: usize = 100;

/// A compiler, and on what it is measured.
struct Subject {
    name: &'static str,
    northd: Implementation,
    databases: Implementation,
    door: Door,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "OVN",
        northd: Implementation::Ovn,
        databases: Implementation::Ovn,
        door: Door::Ovsdb,
    },
    Subject {
        name: "Weft",
        northd: Implementation::Weft,
        databases: Implementation::Ovn,
        door: Door::Ovsdb,
    },
    Subject {
        name: "Weft on Weft's databases",
        northd: Implementation::Weft,
        databases: Implementation::Weft,
        door: Door::Grpc,
    },
];

/// Measures every size, and prints one table for each.
pub fn run(
    sizes: &[usize],
    topologies: &[Topology],
    burden: Burden,
    (changes, whose): (usize, Whose),
) -> Result<()> {
    println!("northd: every port with MAC address, IPv4 address and port security");
    println!("databases: OVN's ovsdb-server, but for the last column");
    println!("times of single changes are medians of {changes}; CPU is northd's own");
    let kinds = topologies.iter();
    for (&topology, &switches) in kinds.flat_map(|of| sizes.iter().map(move |size| (of, size))) {
        let mut columns = Vec::new();
        for subject in SUBJECTS
            .iter()
            .filter(|subject| whose.includes(subject.northd))
        {
            let network = (topology, switches, burden);
            columns.push((subject.name, measure(subject, network, changes)?));
        }
        print(
            &format!(
                "{topology:?}: {switches} switches, {} ports, {} load balancers, {} rules",
                switches * PORTS_PER_SWITCH,
                burden.load_balancers,
                burden.acls
            ),
            &columns,
        );
    }
    Ok(())
}

fn measure(
    subject: &Subject,
    (topology, switches, burden): (Topology, usize, Burden),
    changes: usize,
) -> Result<Column> {
    let dir = tempfile::tempdir()?;
    let start = |side| Database::start(subject.databases, side, dir.path(), None, None);
    let (northbound, southbound) = (start(Side::Northbound)?, start(Side::Southbound)?);
    let mut network = Network::describe(&northbound.socket(), switches, PORTS_PER_SWITCH)?;
    network.add_all(topology, burden)?;
    let remotes = [&northbound, &southbound].map(|database| database.local_remote(subject.door));

    let began = Instant::now();
    // Listened to beside the start, which itself takes a while to notice that the daemon answers.
    let (northd, compiled) = std::thread::scope(|scope| {
        let compiled = scope.spawn(|| network.wait_compiled().map(|()| began.elapsed()));
        let northd = start_northd(subject.northd, dir.path(), None, &remotes[0], &remotes[1])?;
        anyhow::Ok((northd, compiled.join().expect("waiting does not panic")?))
    })?;
    let cpu = settled_cpu_time(&northd)?;
    let memory = northd.peak_memory()?;
    let flows = count_flows(&southbound)?;

    let mut ports = Vec::new();
    let (add_time, add_cpu) = repeat(&northd, changes, |number| {
        ports.push(network.add_port(number)?);
        network.wait_compiled()
    })?;
    let (remove_time, remove_cpu) = repeat(&northd, changes, |_| {
        let port = ports.pop().expect("as many were added as are removed");
        network.remove_port(&port)?;
        network.wait_compiled()
    })?;
    network.add_large_sets()?;
    network.wait_compiled()?;
    let mut large = |change: fn(&mut Network, usize) -> Result<()>| {
        let cpu = repeat(&northd, changes, |number| {
            change(&mut network, number)?;
            network.wait_compiled()
        });
        cpu.map(|(_, cpu)| Number::Time(cpu))
    };
    let joins_set = large(|network, number| network.change_set("insert", number))?;
    let leaves_set = large(|network, number| network.change_set("delete", number))?;
    let leaves_group = large(|network, number| network.change_group("delete", number))?;
    let joins_group = large(|network, number| network.change_group("insert", number))?;
    let mut column = vec![
        ("full compile: time until sb_cfg", Number::Time(compiled)),
        ("full compile: CPU", Number::Time(cpu)),
        ("full compile: peak memory", Number::Memory(memory)),
        ("full compile: logical flows", Number::Count(flows)),
        ("one port added: time until sb_cfg", Number::Time(add_time)),
        ("one port added: CPU", Number::Time(add_cpu)),
        (
            "one port removed: time until sb_cfg",
            Number::Time(remove_time),
        ),
        ("one port removed: CPU", Number::Time(remove_cpu)),
        ("an address joins a set of as many: CPU", joins_set),
        ("an address leaves it: CPU", leaves_set),
        ("a port leaves a group of all: CPU", leaves_group),
        ("a port joins it: CPU", joins_group),
    ];
    if topology != Topology::Switches {
        let route = large(Network::add_route)?;
        column.push(("a route added to the router of all: CPU", route));
        let switch = large(Network::add_routed_switch)?;
        column.push(("a switch added with its router port: CPU", switch));
    }
    if topology == Topology::K8s {
        let nat = large(Network::add_nat)?;
        column.push(("a NAT rule added to a gateway router: CPU", nat));
    }
    if burden.load_balancers > 0 {
        let balancer = large(Network::add_load_balancer)?;
        column.push(("a load balancer added on all: CPU", balancer));
        let backend = large(Network::remove_backend)?;
        column.push(("a backend of it less: CPU", backend));
    }
    if burden.acls > 0 {
        let acl = large(Network::add_acl)?;
        column.push(("a rule added for all: CPU", acl));
    }
    Ok(column)
}

fn count_flows(southbound: &Database) -> Result<usize> {
    let select =
        json!({"op": "select", "table": "Logical_Flow", "where": [], "columns": ["_uuid"]});
    let schema = Side::Southbound.schema();
    let results = Client::connect(&southbound.socket())?.transact(schema, vec![select])?;
    Ok(results[0]["rows"].as_array().map_or(0, Vec::len))
}

/// Makes a change again and again: the median of its times, and the daemon's processor time for one.
pub fn repeat(
    daemon: &Daemon,
    changes: usize,
    mut change: impl FnMut(usize) -> Result<()>,
) -> Result<(Duration, Duration)> {
    let before = settled_cpu_time(daemon)?;
    let mut times = Vec::new();
    for number in 0..changes {
        let began = Instant::now();
        change(number)?;
        times.push(began.elapsed());
    }
    let cpu = settled_cpu_time(daemon)? - before;
    Ok((
        median(times),
        cpu / u32::try_from(changes.max(1)).unwrap_or(u32::MAX),
    ))
}
