//! Queues and mirrors of the local database: there while a port is here that asks for them, and not longer.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller::core::Event;
use controller::vswitch::{self, Bridge, Interface, Port, Qos, Queue};
use ovsdb::Uuid;
use ovsdb::typed::Table;
use sb_db::tables::{self as sb, PortBinding};

use super::stage::*;

type Strings = BTreeMap<Arc<str>, Arc<str>>;

fn strings(pairs: &[(&str, &str)]) -> Strings {
    let pairs = pairs.iter();
    pairs
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

/// A bridge to a physical network, with an interface by which it leads there.
fn add_network(stage: &mut Stage) -> Uuid {
    stage.change_settings("ovn-bridge-mappings", "phys:br-ex");
    let [bridge, port, interface] = [900, 901, 902].map(Uuid::from_u128);
    let device = Interface {
        name: "eth0".into(),
        ..Interface::default()
    };
    stage.local.put(&device, interface);
    let of_device = Port {
        name: "eth0".into(),
        interfaces: vec![interface],
        ..Port::default()
    };
    stage.local.put(&of_device, port);
    let outside = Bridge {
        name: "br-ex".into(),
        ports: vec![port],
        ..Bridge::default()
    };
    stage.local.put(&outside, bridge);
    port
}

fn queues(stage: &Stage) -> Vec<(i64, String)> {
    let all = stage.local.all::<Qos>();
    let Some(qos) = all.first() else {
        assert!(stage.local.all::<Queue>().is_empty(), "queues of nobody");
        return Vec::new();
    };
    assert_eq!((all.len(), &*qos.r#type), (1, "linux-htb"));
    assert_eq!(stage.local.all::<Queue>().len(), qos.queues.len());
    let known = |uuid| stage.local.rows[&(Queue::INDEX, uuid)].clone();
    let queues = qos.queues.iter().map(|(number, uuid)| {
        let config = Queue::COLUMN.other_config.get(&known(*uuid));
        let words: Vec<String> = config.iter().map(|(k, v)| format!("{k}={v}")).collect();
        (*number, words.join(" "))
    });
    queues.collect()
}

#[test]
fn a_port_with_rates_has_a_queue_while_it_is_here() {
    let mut stage = Stage::new();
    let door = add_network(&mut stage);
    stage.start();
    stage.add_port();
    let rates = |rate| {
        strings(&[
            ("qdisc_queue_id", "3"),
            ("qos_physical_network", "phys"),
            ("qos_max_rate", rate),
        ])
    };
    stage.change_port(|port| port.options = rates("1000000"));
    assert_eq!(queues(&stage), []);
    stage.plug();
    let told = |rate: &str| [(3, format!("burst=0 max-rate={rate} min-rate=0"))];
    assert_eq!(queues(&stage), told("1000000"));
    let at = Port::COLUMN
        .qos
        .get(&stage.local.rows[&(Port::INDEX, door)]);
    assert_eq!(at, Some(stage.local.all::<Qos>()[0].uuid));
    // A restart takes over what is there.
    let mut stage = stage.restart();
    let before = stage.local.snapshot().len();
    stage.start();
    assert_eq!(stage.local.snapshot().len(), before);
    assert_eq!(queues(&stage), told("1000000"));
    stage.change_port(|port| port.options = rates("2000000"));
    assert_eq!(queues(&stage), told("2000000"));
    stage.unplug();
    assert_eq!(queues(&stage), []);
    let at = Port::COLUMN
        .qos
        .get(&stage.local.rows[&(Port::INDEX, door)]);
    assert_eq!(at, None);
}

#[test]
fn the_queues_of_somebody_else_are_left_alone() {
    let mut stage = Stage::new();
    let door = add_network(&mut stage);
    let theirs = Uuid::from_u128(910);
    stage.local.put(&Qos::default(), theirs);
    let mut port = stage.local.all::<Port>().remove(0);
    port.qos = Some(theirs);
    stage.local.put(&port, door);
    stage.start();
    stage.add_port();
    stage.change_port(|port| {
        port.options = strings(&[
            ("qdisc_queue_id", "3"),
            ("qos_physical_network", "phys"),
            ("qos_burst", "7"),
        ]);
    });
    stage.plug();
    assert_eq!(stage.local.all::<Queue>(), []);
    assert_eq!(stage.local.all::<Qos>().len(), 1);
}

#[test]
fn controllers_of_one_host_share_an_interface() {
    let mut stage = Stage::new();
    let door = add_network(&mut stage);
    stage.start();
    stage.add_port();
    let rates = |number| {
        strings(&[
            ("qdisc_queue_id", number),
            ("qos_physical_network", "phys"),
            ("qos_max_rate", "1000000"),
        ])
    };
    stage.change_port(|port| port.options = rates("3"));
    stage.plug();
    // The other controller adds a queue of its own.
    stage.change_settings("ovn-bridge-c9", "br-nine");
    let theirs = Uuid::from_u128(911);
    let queue = Queue {
        external_ids: strings(&[("ovn_port", "vm9"), ("weft-chassis", "c9")]),
        ..Queue::default()
    };
    let mut qos = stage.local.all::<Qos>().remove(0);
    qos.queues.insert(9, theirs);
    let changes = vec![
        stage.local.put(&queue, theirs),
        stage.local.put(&qos, qos.uuid),
    ];
    stage.event(Event::Local(replica::Event::Changes(changes)));
    let numbers = |stage: &Stage| -> Vec<i64> {
        queues(stage)
            .into_iter()
            .map(|(number, _)| number)
            .collect()
    };
    assert_eq!(numbers(&stage), [3, 9]);
    // Whose number that is it keeps.
    stage.change_port(|port| port.options = rates("9"));
    assert_eq!(numbers(&stage), [9]);
    stage.change_port(|port| port.options = rates("4"));
    assert_eq!(numbers(&stage), [4, 9]);
    let mut stage = stage.restart();
    stage.start();
    assert_eq!(numbers(&stage), [4, 9]);
    stage.unplug();
    assert_eq!(numbers(&stage), [9], "the other one still has a queue");
    // That one goes without taking more than its queue away; what nobody has goes.
    qos.queues.clear();
    let changes = vec![
        stage.local.set(Queue::INDEX, theirs, None),
        stage.local.put(&qos, qos.uuid),
    ];
    stage.event(Event::Local(replica::Event::Changes(changes)));
    assert_eq!(queues(&stage), []);
    let row = &stage.local.rows[&(Port::INDEX, door)];
    assert_eq!(Port::COLUMN.qos.get(row), None);
}

#[test]
fn a_controller_with_a_name_of_its_own_says_so_and_keeps_its_queues() {
    let mut stage = Stage::new();
    add_network(&mut stage);
    stage.core.set_chassis_name("c1".to_owned());
    stage.start();
    stage.add_port();
    let rates = strings(&[
        ("qdisc_queue_id", "3"),
        ("qos_physical_network", "phys"),
        ("qos_max_rate", "1000000"),
    ]);
    stage.change_port(|port| port.options = rates.clone());
    stage.plug();
    let says = |stage: &Stage| {
        let mut bridges = stage.local.all::<Bridge>().into_iter();
        let own = bridges.find(|bridge| &*bridge.name == "br-int");
        own.expect("a bridge")
            .external_ids
            .get("weft-chassis")
            .cloned()
    };
    assert_eq!(says(&stage).as_deref(), Some("c1"));
    // Another one has a queue, too, and no settings that tell its name.
    let (theirs, bridge) = (Uuid::from_u128(911), Uuid::from_u128(912));
    let queue = Queue {
        external_ids: strings(&[("ovn_port", "vm9"), ("weft-chassis", "c9")]),
        ..Queue::default()
    };
    let nine = Bridge {
        name: "br-nine".into(),
        external_ids: strings(&[("weft-chassis", "c9")]),
        ..Bridge::default()
    };
    let mut qos = stage.local.all::<Qos>().remove(0);
    qos.queues.insert(9, theirs);
    let changes = vec![
        stage.local.put(&nine, bridge),
        stage.local.put(&queue, theirs),
        stage.local.put(&qos, qos.uuid),
    ];
    stage.event(Event::Local(replica::Event::Changes(changes)));
    let numbers = |stage: &Stage| -> Vec<i64> {
        let all = queues(stage).into_iter();
        all.map(|(number, _)| number).collect()
    };
    assert_eq!(numbers(&stage), [3, 9]);
    // By the name that the database has, nothing needs to be said.
    let mut stage = stage.restart();
    stage.start();
    assert_eq!((says(&stage), numbers(&stage)), (None, vec![3, 9]));
}

#[test]
fn queues_follow_a_chassis_that_is_renamed() {
    let mut stage = Stage::new();
    add_network(&mut stage);
    stage.start();
    stage.add_port();
    let rates = strings(&[
        ("qdisc_queue_id", "3"),
        ("qos_physical_network", "phys"),
        ("qos_max_rate", "1000000"),
    ]);
    stage.change_port(|port| port.options = rates.clone());
    stage.plug();
    // A queue under a name that nobody on this host has.
    let old = Uuid::from_u128(911);
    let queue = Queue {
        external_ids: strings(&[("ovn_port", "vm9"), ("weft-chassis", "former")]),
        ..Queue::default()
    };
    let mut qos = stage.local.all::<Qos>().remove(0);
    qos.queues.insert(9, old);
    let changes = vec![
        stage.local.put(&queue, old),
        stage.local.put(&qos, qos.uuid),
    ];
    stage.event(Event::Local(replica::Event::Changes(changes)));
    let numbers: Vec<i64> = queues(&stage).into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, [3]);
}

/// Name, and names of the ports from which and to which packets are copied, and of that to which copies go.
fn mirrors(stage: &Stage) -> Vec<String> {
    let name = |uuid: &Uuid| {
        let row = &stage.local.rows[&(Port::INDEX, *uuid)];
        Port::COLUMN.name.get(row).to_string()
    };
    let names = |uuids: &[Uuid]| uuids.iter().map(name).collect::<Vec<_>>().join(",");
    let bridge = stage.local.all::<Bridge>();
    let bridge = bridge.iter().find(|bridge| &*bridge.name == "br-int");
    let mut all = stage.local.all::<vswitch::Mirror>();
    all.retain(|mirror| bridge.is_some_and(|bridge| bridge.mirrors.contains(&mirror.uuid)));
    let lines = all.iter().map(|mirror| {
        format!(
            "{}: {} | {} => {}",
            mirror.name,
            names(&mirror.select_src_port),
            names(&mirror.select_dst_port),
            mirror.output_port.iter().map(name).collect::<String>()
        )
    });
    lines.collect()
}

fn tunnel(stage: &Stage) -> Option<(String, Strings)> {
    let bridge = stage.local.all::<Bridge>();
    let bridge = bridge.iter().find(|bridge| &*bridge.name == "br-int")?;
    let mut ports = stage.local.all::<Port>();
    ports.retain(|port| bridge.ports.contains(&port.uuid));
    ports.retain(|port| &*port.name == "ovn-m");
    let interface = ports.first()?.interfaces[0];
    let mut all = stage.local.all::<Interface>();
    all.retain(|known| known.uuid == interface);
    all.pop()
        .map(|interface| (interface.r#type.to_string(), interface.options))
}

#[test]
fn what_a_port_sends_and_gets_is_copied_while_it_is_here() {
    let mut stage = Stage::new();
    stage.start();
    stage.add_port();
    let uuid = Uuid::from_u128(920);
    let mirror = |kind: &str, sink: &str, filter: &str| sb::Mirror {
        name: "m".into(),
        r#type: kind.into(),
        sink: sink.into(),
        filter: filter.into(),
        index: 5,
        ..sb::Mirror::default()
    };
    let change = stage.south.put(&mirror("gre", "10.9.9.9", "both"), uuid);
    stage.change_south(change);
    stage.change_port(|port: &mut PortBinding| port.mirror_rules = vec![uuid]);
    assert_eq!((mirrors(&stage), tunnel(&stage)), (vec![], None));
    stage.plug();
    assert_eq!(mirrors(&stage), ["m: tap5 | tap5 => ovn-m"]);
    let options = |pairs: &[(&str, &str)]| Some(("gre".to_owned(), strings(pairs)));
    let gre = options(&[("key", "5"), ("remote_ip", "10.9.9.9")]);
    assert_eq!(tunnel(&stage), gre);

    // Another sink, another direction, another kind.
    let change = stage
        .south
        .put(&mirror("erspan", "fd00::9", "to-lport"), uuid);
    stage.change_south(change);
    assert_eq!(mirrors(&stage), ["m:  | tap5 => ovn-m"]);
    assert_eq!(
        tunnel(&stage).map(|(kind, options)| (kind, options["erspan_idx"].to_string())),
        Some(("ip6erspan".to_owned(), "5".to_owned()))
    );
    let change = stage.south.put(&mirror("local", "ids", "from-lport"), uuid);
    stage.change_south(change);
    assert_eq!((mirrors(&stage), tunnel(&stage)), (vec![], None));
    // The sink comes, and goes.
    let sink = Interface {
        name: "sink0".into(),
        external_ids: strings(&[("mirror-id", "ids")]),
        ..Interface::default()
    };
    stage.add_interface("br-int", &sink, 930);
    assert_eq!(mirrors(&stage), ["m: tap5 |  => sink0"]);
    stage.unplug();
    assert_eq!(mirrors(&stage), Vec::<String>::new());
}
