//! Random networks and random changes: after every change, what has been compiled step by step is what a compiler from
//! scratch would say, and what the flows do is what a naive model of the network says.
//!
//! The changes are those of a careless operator: ports come and go, move between switches, ask for each other's keys, tags
//! and addresses, and some of what is written makes no sense. A run prints its seed; `WEFT_SEED` runs it again,
//! `WEFT_CHANGES` makes it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::addresses;
use super::chassis::Chassis;
use super::naive::{self, observed};
use super::packet::{Content, Packet};
use super::protection;
use super::random::{self, Rng};
use super::{World, setting};
use crate::compiler::MISTAKE;
use addr::Mac;
use nb_db::tables as nb;
use ovsdb::Uuid;
use sb_db::tables as sb;

/// Changes in one run, over several networks.
const CHANGES: usize = 10_000;
/// After so many changes the network starts anew, so that none grows stale.
const CHANGES_A_NETWORK: usize = 250;
/// After so many changes, packets are sent.
const CHANGES_A_ROUND: usize = 5;
/// So many packets.
const PACKETS_A_ROUND: usize = 40;

#[test]
fn incremental_equals_from_scratch_and_flows_do_what_the_network_says() {
    let seed = setting("WEFT_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the clock is past 1970");
        u64::try_from(now.as_nanos() % u128::from(u64::MAX)).expect("less than the modulus")
    });
    let changes = setting("WEFT_CHANGES").map_or(CHANGES, |changes| {
        usize::try_from(changes).expect("a count")
    });
    println!("WEFT_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut answered = (0, 0);
    for network in 0..changes.div_ceil(CHANGES_A_NETWORK) {
        let mut world = World::new();
        // Small parts, of which two are under way at once.
        match network % 3 {
            1 => world.write_in_parts(8),
            2 => world.write_in_parts(30),
            _ => {}
        }
        for change in 0..CHANGES_A_NETWORK {
            let what = random::change(&mut world, &mut rng);
            let place = || format!("seed {seed}, network {network}, change {change}: {what}");
            match world.recompute() {
                Ok(differences) => assert!(differences.is_empty(), "{}: {differences:#?}", place()),
                Err(reason) => panic!("{}: {reason}", place()),
            }
            check_upkeep(&world, &place);
            addresses::check(&world, &place);
            if change % CHANGES_A_ROUND == 0 {
                send_packets(&world, &mut rng, &place, &mut answered);
            }
            if change % 50 == 49 {
                protection::check(&world, &place);
                world.rest();
                let before = world.written;
                world.restart();
                assert_eq!(world.written, before, "{}: a restart writes", place());
            }
        }
    }
    assert!(
        answered.0 > 0 && answered.1 > 0,
        "packets are answered and heard: {answered:?}"
    );
}

/// Whether somebody asks who has an address from which backends are probed. It is answered for at the backend's port, which the
/// model does not know.
fn asks_for_a_source(packet: &Packet, world: &World) -> bool {
    let asked: IpAddr = match packet.content {
        Content::Arp(_, target) => target.into(),
        Content::Solicitation(_, target) => target.into(),
        _ => return false,
    };
    let balancers = world.nb::<nb::LoadBalancer>();
    let watched = balancers
        .iter()
        .filter(|(_, row)| !row.health_check.is_empty());
    let mut mappings = watched.flat_map(|(_, row)| row.ip_port_mappings.values());
    mappings.any(|mapping| {
        let source = mapping
            .split_once(':')
            .map(|(_, source)| source.trim_matches(['[', ']']));
        source.and_then(|source| source.parse().ok()) == Some(asked)
    })
}

/// Learned addresses are at ports that exist, and problems are told where they are.
fn check_upkeep(world: &World, place: &dyn Fn() -> String) {
    let datapaths: BTreeMap<Uuid, sb::DatapathBinding> = world.sb().into_iter().collect();
    let bindings = world.sb::<sb::PortBinding>();
    let places: BTreeSet<(i64, i64)> = bindings
        .iter()
        .map(|(_, row)| (datapaths[&row.datapath].tunnel_key, row.tunnel_key))
        .collect();
    for (_, row) in world.sb::<sb::Fdb>() {
        assert!(
            places.contains(&(row.dp_key, row.port_key)),
            "{}: {row:?} is stale",
            place()
        );
    }
    let learned_at: BTreeSet<(Arc<str>, Uuid)> = bindings
        .into_iter()
        .map(|(_, row)| (row.logical_port, row.datapath))
        .collect();
    for (_, row) in world.sb::<sb::MacBinding>() {
        assert!(
            learned_at.contains(&(row.logical_port.clone(), row.datapath)),
            "{}: {row:?} is stale",
            place()
        );
    }
    for (_, problem) in world.nb::<nb::WeftProblem>() {
        let table = nb_db::schema()
            .table_index(&problem.table)
            .expect("a table");
        assert!(
            world.north.row(table, problem.row).is_some(),
            "{}: {problem:?} is stale",
            place()
        );
        // From scratch it breaks down in the same way, so that nothing differs.
        assert!(!problem.why.contains(MISTAKE), "{}: {problem:?}", place());
    }
}

fn send_packets(
    world: &World,
    rng: &mut Rng,
    place: &dyn Fn() -> String,
    answered: &mut (usize, usize),
) {
    let mut chassis = Chassis::new(world);
    chassis.cut_links();
    let switches = naive::switches(world);
    for _ in 0..PACKETS_A_ROUND {
        let Some(switch) = rng.pick(&switches) else {
            return;
        };
        let Some(sender) = rng.pick(&switch.ports) else {
            continue;
        };
        let packet = Packet::random(rng);
        if asks_for_a_source(&packet, world) {
            continue;
        }
        let port = chassis
            .port(switch.datapath, &sender.name)
            .expect("the model's ports are bound");
        // What this packet teaches is known by the time it is looked up, but only to those that come after it.
        let learned = |mac: Mac| -> Option<Arc<str>> {
            let key = *chassis
                .learned
                .borrow()
                .get(&(switch.datapath, u128::from(mac.to_u64())))?;
            switch
                .ports
                .iter()
                .map(|port| &port.name)
                .find(|name| chassis.port(switch.datapath, name) == Some(key))
                .cloned()
        };
        let expected = switch.fate(sender, &packet, &learned, world);
        let before = chassis.learned.borrow().len();
        let fate = observed(
            sender,
            &packet,
            chassis.send(switch.datapath, port, &packet),
        );
        assert_eq!(fate, expected, "{}: {sender:?} sends {packet:?}", place());
        assert!(
            sender.is_learning() || chassis.learned.borrow().len() == before,
            "{}: {sender:?} teaches",
            place()
        );
        match fate {
            naive::Fate::Answered(_) => answered.0 += 1,
            naive::Fate::Heard(heard) => answered.1 += heard.len(),
        }
    }
}
