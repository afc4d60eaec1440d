//! A northd that takes over a network which is larger than what it compiles in one go.

use super::{World, insert};
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

const SWITCHES: u128 = 25;
const PORTS: u128 = 40;

fn large() -> World {
    let mut world = World::new();
    for switch in 1..=SWITCHES {
        let ports: Vec<nb::LogicalSwitchPort> = (1..=PORTS)
            .map(|port| nb::LogicalSwitchPort {
                uuid: Uuid::from_u128(switch << 32 | port),
                name: format!("s{switch}p{port}").into(),
                addresses: vec![
                    format!("02:00:00:00:{switch:02x}:{port:02x} 10.0.{switch}.{port}").into(),
                ],
                ..Default::default()
            })
            .collect();
        let row = nb::LogicalSwitch {
            name: format!("s{switch}").into(),
            ports: ports.iter().map(|port| port.uuid).collect(),
            ..Default::default()
        };
        let mut operations: Vec<Operation> =
            ports.iter().map(|port| insert(port.uuid, port)).collect();
        operations.push(insert(Uuid::from_u128(switch << 64), &row));
        world.north_quietly(operations);
    }
    world
}

#[test]
fn a_restart_with_nothing_changed_writes_nothing() {
    let mut world = large();
    world.restart();
    assert_eq!(
        world.sb::<sb::PortBinding>().len() as u128,
        SWITCHES * PORTS
    );
    let before = world.written;
    world.restart();
    assert_eq!(world.written, before);
}

#[test]
fn what_changed_meanwhile_is_replaced_at_once() {
    let mut world = large();
    world.restart();
    // Flows that are none of northd's, as another version would leave them, and ports that went while nobody compiled.
    let datapath = world.sb::<sb::DatapathBinding>()[0].0;
    let foreign = (0..5000u128).map(|number| {
        let flow = sb::LogicalFlow {
            logical_datapath: Some(datapath),
            pipeline: "ingress".into(),
            r#match: format!("reg0 == {number}").into(),
            actions: "drop;".into(),
            ..Default::default()
        };
        insert(Uuid::from_u128(1 << 100 | number), &flow)
    });
    world.south_quietly(foreign.collect());
    world.north_quietly(vec![Operation::delete_row(
        nb::LogicalSwitch::INDEX,
        Uuid::from_u128(3 << 64),
    )]);
    let before = world.written.1;
    world.restart();
    assert_eq!(
        world.written.1,
        before + 1,
        "one transaction, so that no chassis sees half of it"
    );
    assert_eq!(
        world.sb::<sb::PortBinding>().len() as u128,
        (SWITCHES - 1) * PORTS
    );
    assert!(
        world
            .sb::<sb::LogicalFlow>()
            .iter()
            .all(|(_, flow)| !flow.r#match.starts_with("reg0 =="))
    );
}

#[test]
fn a_southbound_that_is_away_costs_no_compilation() {
    let mut world = large();
    world.restart();
    let (units, written) = (world.core.units_run(), world.written);
    world.reconnect(true);
    assert_eq!(world.core.units_run(), units, "the compiler is kept");
    assert_eq!(world.written, written, "and has nothing to write");
    world.reconnect(false);
    assert_eq!(world.core.status(), "standby", "another one has the lock");
    world.reconnect(true);
    assert_eq!(world.core.status(), "active");
    assert_eq!(world.written, written);
}

#[test]
fn what_northd_tells_of_a_port_has_nothing_compiled_anew() {
    let mut world = large();
    world.restart();
    let units = world.core.units_run();
    let up = vec![nb::LogicalSwitchPort::COLUMN.up.to(&Some(true))];
    let port = Uuid::from_u128(1 << 32 | 1);
    world.north(vec![Operation::update_row(
        nb::LogicalSwitchPort::INDEX,
        port,
        up,
    )]);
    assert_eq!(world.core.units_run(), units);
    let ports = world.nb::<nb::LogicalSwitchPort>();
    assert!(ports.iter().all(|(_, port)| port.up == Some(false)));
}

#[test]
fn a_plain_guest_is_the_business_of_few_units() {
    let mut world = large();
    world.restart();
    let units = world.core.units_run().expect("active");
    let of_ports = u128::from(units) / (SWITCHES * PORTS);
    assert!(of_ports < 10, "{of_ports} runs for each port");
}

#[test]
fn a_global_row_that_is_replaced_is_followed() {
    let mut world = World::new();
    let old = world.nb::<nb::NbGlobal>()[0].0;
    let new = nb::NbGlobal {
        nb_cfg: 7,
        ..Default::default()
    };
    let delete = Operation::delete_row(nb::NbGlobal::INDEX, old);
    world.north(vec![delete, insert(Uuid::from_u128(77), &new)]);
    let old = world.sb::<sb::SbGlobal>()[0].0;
    let delete = Operation::delete_row(sb::SbGlobal::INDEX, old);
    let empty = sb::SbGlobal::default();
    world.south(vec![delete, insert(Uuid::from_u128(78), &empty)]);
    assert_eq!(world.sb::<sb::SbGlobal>()[0].1.nb_cfg, 7);
    assert_eq!(world.nb::<nb::NbGlobal>()[0].1.sb_cfg, 7);
}

#[test]
fn a_recomputation_takes_turns_with_everything_else() {
    use crate::core::{Event, Request};
    let mut world = large();
    world.restart();
    let (mut steps, mut recomputed) = (0, None);
    let mut event = Event::Request(Request::Recompute);
    while recomputed.is_none() {
        let effects = world.core.step(world.now(), event);
        assert_eq!(effects.answer, None);
        assert!(effects.south.is_empty() && effects.north.is_empty());
        recomputed = effects.recomputed;
        steps += 1;
        event = Event::Wake;
    }
    assert_eq!(recomputed, Some(Ok(String::new())), "nothing differs");
    assert!(steps > 3, "{steps} steps for some 10,000 units");

    // What changes meanwhile is in both.
    let effects = world
        .core
        .step(world.now(), Event::Request(Request::Recompute));
    assert_eq!(effects.answer, None);
    let again = world
        .core
        .step(world.now(), Event::Request(Request::Recompute));
    assert!(matches!(again.answer, Some(Err(why)) if why.contains("just being compiled")));
    let before = world.sb::<sb::PortBinding>().len();
    world.north(vec![Operation::delete_row(
        nb::LogicalSwitch::INDEX,
        Uuid::from_u128(3 << 64),
    )]);
    assert_eq!(
        world.sb::<sb::PortBinding>().len() as u128,
        before as u128 - PORTS
    );
    let again = world.recompute();
    assert_eq!(again, Ok(Vec::new()), "the first one is done");

    let effects = world
        .core
        .step(world.now(), Event::Request(Request::Recompute));
    assert_eq!(effects.answer, None);
    let effects = world.core.step(world.now(), Event::Lock(false));
    assert!(matches!(effects.recomputed, Some(Err(why)) if why.contains("no longer active")));
}

#[test]
fn a_recomputation_waits_for_what_is_just_being_written() {
    use super::execute;
    use crate::compiler::feature::Side;
    use crate::core::{Event, Request};
    let mut world = large();
    let port = nb::LogicalSwitch {
        name: "new".into(),
        ..Default::default()
    };
    let delta = execute(&mut world.north, vec![insert(Uuid::from_u128(7), &port)]).expect("taken");
    let written = world
        .core
        .step(world.now(), Event::Changes(Side::North, delta));
    assert!(!written.south.is_empty());
    let asked = Event::Request(Request::Recompute);
    let effects = world.core.step(world.now(), asked);
    assert_eq!((effects.answer, effects.recomputed), (None, None));
    let delta = execute(&mut world.south, written.south).expect("taken");
    let mut events = vec![
        Event::Answered(Side::South, Ok(())),
        Event::Changes(Side::South, delta),
    ];
    let mut recomputed = None;
    for _ in 0..10_000 {
        let event = events.pop().unwrap_or(Event::Wake);
        let effects = world.core.step(world.now(), event);
        assert!(effects.south.is_empty() && effects.north.is_empty());
        recomputed = effects.recomputed;
        if recomputed.is_some() {
            break;
        }
    }
    assert_eq!(recomputed, Some(Ok(String::new())), "nothing differs");
}

#[test]
fn a_recomputation_does_not_wait_for_who_does_not_answer() {
    use super::execute;
    use crate::compiler::feature::Side;
    use crate::core::{Event, Request};
    let mut world = large();
    let set = nb::AddressSet {
        name: "as".into(),
        ..Default::default()
    };
    let delta = execute(&mut world.north, vec![insert(Uuid::from_u128(7), &set)]);
    let news = Event::Changes(Side::North, delta.expect("well-made"));
    assert!(!world.core.step(world.now(), news).south.is_empty());
    let asked = Event::Request(Request::Recompute);
    let effects = world.core.step(world.now(), asked);
    assert_eq!(effects.recomputed, None);
    // Nothing comes from outside any more.
    let mut late = world.now();
    late.at = effects.wake_at.expect("it is not to wait for ever");
    let effects = world.core.step(late, Event::Wake);
    assert!(matches!(effects.recomputed, Some(Err(why)) if why.contains("try again")));
}

#[test]
fn a_port_that_comes_during_a_recomputation_keeps_its_number() {
    use super::execute;
    use crate::compiler::feature::Side;
    use crate::core::{Event, Request};
    use ovsdb::{Atom, Datum};
    const EARLIER: u128 = PORTS + 1;
    const LATER: u128 = PORTS + 2;
    let mut world = large();
    world.restart();
    let port = |number: u128| Uuid::from_u128(1 << 32 | number);
    let with = |ports: Vec<Uuid>| {
        let ports = Datum::set(ports.into_iter().map(Atom::Uuid));
        let column = nb::LogicalSwitch::COLUMN.ports.index;
        let switch = Uuid::from_u128(1 << 64);
        Operation::update_row(nb::LogicalSwitch::INDEX, switch, vec![(column, ports)])
    };
    // Two numbers are free, and the search is past the first: a new compiler would begin with that.
    let rest: Vec<Uuid> = (1..=PORTS)
        .filter(|n| ![3, 7].contains(n))
        .map(port)
        .collect();
    world.north(vec![with(rest.clone())]);
    let row = nb::LogicalSwitchPort {
        name: "earlier".into(),
        ..Default::default()
    };
    let all = rest.iter().copied().chain([port(EARLIER)]).collect();
    world.north(vec![insert(port(EARLIER), &row), with(all)]);
    world.north(vec![with(rest.clone())]);

    let asked = Event::Request(Request::Recompute);
    assert_eq!(world.core.step(world.now(), asked).answer, None);
    let row = nb::LogicalSwitchPort {
        name: "later".into(),
        ..Default::default()
    };
    let all = rest.into_iter().chain([port(LATER)]).collect();
    let operations = vec![insert(port(LATER), &row), with(all)];
    let delta = execute(&mut world.north, operations).expect("well-made");
    // The recomputation goes on before the southbound has what is written.
    let news = Event::Changes(Side::North, delta);
    let writing = world.core.step(world.now(), news);
    let outcome = loop {
        let effects = world.core.step(world.now(), Event::Wake);
        assert!(effects.south.is_empty());
        if let Some(outcome) = effects.recomputed {
            break outcome;
        }
    };
    assert!(matches!(outcome, Err(why) if why.contains("changed while")));
    world.perform(writing);
    let key = |world: &World| {
        let bindings = world.sb::<sb::PortBinding>().into_iter();
        let mut keys = bindings.filter(|(_, row)| &*row.logical_port == "later");
        keys.next().map(|(_, row)| row.tunnel_key)
    };
    world.settle();
    let next = i64::try_from(LATER).expect("small");
    assert_eq!(
        key(&world),
        Some(next),
        "the one after the last that was given"
    );
    assert_eq!(world.recompute(), Ok(Vec::new()));
}

#[test]
fn a_recomputation_ends_whatever_goes_on() {
    use super::execute;
    use crate::compiler::feature::Side;
    use crate::core::{Event, Request};
    use std::time::Duration;
    let mut world = large();
    world.restart();
    let asked = || Event::Request(Request::Recompute);
    assert_eq!(world.core.step(world.now(), asked()).answer, None);
    let mut outcome = None;
    for number in 0..500 {
        // Nobody answers what is written, and there is always something new.
        let set = nb::AddressSet {
            name: format!("as{number}").into(),
            ..Default::default()
        };
        let operations = vec![insert(Uuid::from_u128(1 << 100 | number), &set)];
        let delta = execute(&mut world.north, operations).expect("well-made");
        let news = Event::Changes(Side::North, delta);
        outcome = world.core.step(world.now(), news).recomputed;
        if outcome.is_some() {
            break;
        }
    }
    assert_eq!(outcome, Some(Ok(String::new())), "the same in both");

    let mut world = large();
    world.restart();
    assert_eq!(world.core.step(world.now(), asked()).answer, None);
    let mut late = world.now();
    late.at += Duration::from_secs(601);
    let effects = world.core.step(late, Event::Wake);
    assert!(matches!(effects.recomputed, Some(Err(why)) if why.contains("not done after")));
    assert_eq!(world.recompute(), Ok(Vec::new()), "another one may follow");
}
