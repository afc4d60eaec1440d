//! After any sequence of changes, what was kept up to date is what a computation from scratch gives.
//!
//! A small world of datapaths, ports, groups, flows, chassis and interfaces is changed at random, often in ways that make
//! little sense; the only judge is a second network that sees the final rows and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller::network::{Engine, LocalInterface, LocalPorts, Network, Own, Tunnel};
use controller::settings::TunnelKind;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Row, RowChange, Uuid};
use proptest::prelude::*;
use proptest::sample::Index;
use sb_db::tables::{
    AddressSet, Chassis, ChassisTemplateVar, DatapathBinding, Encap, Fdb, LoadBalancer,
    LogicalDpGroup, LogicalFlow, MulticastGroup, PortBinding, PortGroup,
};

const DATAPATHS: u128 = 3;
const PORTS: u128 = 8;
const FLOWS: u128 = 10;

/// One step.
#[derive(Clone, Debug)]
enum Change {
    /// A row is there with these contents, or not at all.
    Row(usize, Uuid, Option<Arc<Row>>),
    /// An interface with this name has this port number, or none.
    Interface(u128, Option<u32>),
    /// A tunnel to this chassis.
    Tunnel(u128, Option<TunnelKind>),
    /// A patch to the physical network.
    Patch(u128, bool),
    /// Geneve's option.
    Geneve(Option<u8>),
    /// Whether flows of datapath groups are shared.
    Sharing(bool),
    /// Let the engine run.
    Step,
}

fn uuid<T: Table>(n: u128) -> Uuid {
    Uuid::from_u128((T::INDEX as u128 + 1) << 64 | n)
}

fn row<T: Table + TableDefinition>(n: u128, row: Option<T>) -> Change {
    Change::Row(
        T::INDEX,
        uuid::<T>(n),
        row.map(|row| Arc::new(row.to_row())),
    )
}

fn port_name(n: u128) -> String {
    format!("p{n}")
}

fn maybe<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.8, strategy)
}

fn datapath() -> impl Strategy<Value = Change> {
    (0..DATAPATHS, maybe((1..3i64, any::<bool>()))).prop_map(|(n, contents)| {
        row(
            n,
            contents.map(|(key, is_router)| DatapathBinding {
                // The schema lets no two rows have one key; so it is with names below.
                tunnel_key: key + 10 * n as i64,
                external_ids: [
                    (
                        if is_router {
                            "logical-router".into()
                        } else {
                            "logical-switch".into()
                        },
                        "x".into(),
                    ),
                    ("name".into(), format!("d{n}").into()),
                ]
                .into(),
                ..DatapathBinding::default()
            }),
        )
    })
}

fn port() -> impl Strategy<Value = Change> {
    let kinds = vec![
        "",
        "",
        "",
        "container",
        "localnet",
        "patch",
        "localport",
        "chassisredirect",
    ];
    let contents = (
        0..DATAPATHS,
        1..6i64,
        prop::sample::select(kinds),
        0..PORTS,
        maybe(0..3u128),
        maybe(1..4i64),
        any::<bool>(),
    );
    (0..PORTS, maybe(contents)).prop_map(|(n, contents)| {
        row(
            n,
            contents.map(
                |(datapath, tunnel_key, kind, other, chassis, tag, secured)| PortBinding {
                    logical_port: port_name(n).into(),
                    datapath: uuid::<DatapathBinding>(datapath),
                    tunnel_key: tunnel_key + 10 * n as i64,
                    // Two may have one address.
                    mac: vec![format!("02:00:00:00:00:0{n} 10.0.0.{}", n / 2).into()],
                    r#type: if kind == "container" {
                        "".into()
                    } else {
                        kind.into()
                    },
                    parent_port: (kind == "container").then(|| port_name(other).into()),
                    tag,
                    options: [
                        ("peer".into(), port_name(other).into()),
                        ("network_name".into(), "phys".into()),
                    ]
                    .into(),
                    chassis: chassis.map(uuid::<Chassis>),
                    port_security: if secured {
                        vec!["02:00:00:00:00:01 10.0.0.1".into()]
                    } else {
                        vec![]
                    },
                    ..PortBinding::default()
                },
            ),
        )
    })
}

fn group() -> impl Strategy<Value = Change> {
    let contents = (0..DATAPATHS, prop::collection::btree_set(0..PORTS, 0..5));
    (0..3u128, maybe(contents)).prop_map(|(n, contents)| {
        row(
            n,
            contents.map(|(datapath, ports)| MulticastGroup {
                datapath: uuid::<DatapathBinding>(datapath),
                name: format!("_MC_{n}").into(),
                tunnel_key: 32_768 + n as i64,
                ports: ports.into_iter().map(uuid::<PortBinding>).collect(),
                ..MulticastGroup::default()
            }),
        )
    })
}

fn flow() -> impl Strategy<Value = Change> {
    let matches = vec![
        "1",
        "inport == \"p1\"",
        "inport == \"p2\" && ip4.src == $set",
        "outport == @group && tcp.dst == {80, 443}",
        "inport == @group && ip4.dst == $set",
        "inport == {@group, \"p3\"} && ip4.src == {$set, $other, 10.0.0.9}",
        "ip4.dst != $other && inport == @other",
        "is_chassis_resident(\"p3\")",
        "eth.dst == 02:00:00:00:00:01 && inport == {\"p4\", \"p5\"}",
        "this is wrong",
    ];
    let actions = vec![
        "next;",
        "outport = \"p1\"; output;",
        "outport = \"_MC_1\"; output;",
        "drop;",
        "ct_next;",
        "ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:80);",
        "ct_lb_mark(backends=10.0.0.2:80,10.0.0.3:80);",
        "ct_lb_mark(backends=^there);",
    ];
    let contents = (
        prop::option::of(0..DATAPATHS),
        prop::option::of(0..2u128),
        prop::sample::select(matches),
        prop::sample::select(actions),
        any::<bool>(),
        0..4i64,
    );
    (0..FLOWS, maybe(contents)).prop_map(|(n, contents)| {
        row(
            n,
            contents.map(
                |(datapath, group, matches, actions, ingress, table_id)| LogicalFlow {
                    logical_datapath: datapath.map(uuid::<DatapathBinding>),
                    logical_dp_group: group.map(uuid::<LogicalDpGroup>),
                    pipeline: if ingress {
                        "ingress".into()
                    } else {
                        "egress".into()
                    },
                    table_id,
                    priority: 100,
                    r#match: matches.into(),
                    actions: actions.into(),
                    ..LogicalFlow::default()
                },
            ),
        )
    })
}

fn others() -> impl Strategy<Value = Change> {
    let dp_group = (
        0..2u128,
        maybe(prop::collection::btree_set(0..DATAPATHS, 0..3)),
    )
        .prop_map(|(n, members)| {
            row(
                n,
                members.map(|members| LogicalDpGroup {
                    datapaths: members.into_iter().map(uuid::<DatapathBinding>).collect(),
                    ..LogicalDpGroup::default()
                }),
            )
        });
    let addresses = vec![
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.0/30",
        "10.0.0.0/24",
        "10.0.0.2/255.0.255.255",
        "fd00::1",
        "02:00:00:00:00:01",
        "nonsense",
    ];
    let addresses = prop::sample::subsequence(addresses, 0..5);
    let set = (0..3u128, maybe(addresses)).prop_map(|(n, members)| {
        row(
            n,
            members.map(|members| AddressSet {
                name: ["set", "other", "unused"][n as usize].into(),
                addresses: members.into_iter().map(Into::into).collect(),
                ..AddressSet::default()
            }),
        )
    });
    let port_group = (0..4u128, maybe(prop::collection::btree_set(0..PORTS, 0..4)));
    let port_group = port_group.prop_map(|(n, members)| {
        row(
            n,
            members.map(|members| PortGroup {
                // The keys of datapaths are 1 or 2, and ten times their number.
                name: ["group", "1_group", "12_group", "1_other"][n as usize].into(),
                ports: members.into_iter().map(|n| port_name(n).into()).collect(),
                ..PortGroup::default()
            }),
        )
    });
    let chassis = (0..3u128, maybe(any::<bool>())).prop_map(|(n, has_mac)| {
        let mappings = format!("phys:02:00:00:00:0c:0{n}");
        row(
            n,
            has_mac.map(|has_mac| Chassis {
                other_config: has_mac
                    .then(|| ("ovn-chassis-mac-mappings".into(), mappings.into()))
                    .into_iter()
                    .collect(),
                name: format!("c{n}").into(),
                encaps: vec![uuid::<Encap>(n)],
                ..Chassis::default()
            }),
        )
    });
    let fdb = maybe((1..25i64, 1..90i64)).prop_map(|keys| {
        row(
            0,
            keys.map(|(dp_key, port_key)| Fdb {
                mac: "02:00:00:00:00:09".into(),
                dp_key,
                port_key,
                ..Fdb::default()
            }),
        )
    });
    let backends = prop::sample::subsequence(
        vec![
            "10.0.0.1:80",
            "10.0.0.2:80",
            "10.0.0.3:81",
            "10.9.9.9:80",
            "^there",
        ],
        0..5,
    );
    let contents = (
        backends,
        any::<bool>(),
        prop::option::of(0..2u128),
        prop::collection::btree_set(0..DATAPATHS, 0..3),
    );
    let balancer = (0..2u128, maybe(contents)).prop_map(|(n, contents)| {
        row(
            n,
            contents.map(|(backends, has_snat_ip, group, datapaths)| LoadBalancer {
                vips: [
                    ("172.30.0.1:80".into(), backends.join(",").into()),
                    (format!("172.30.0.{n}").into(), "10.0.0.4".into()),
                ]
                .into(),
                options: has_snat_ip
                    .then(|| ("hairpin_snat_ip".into(), "169.254.0.1".into()))
                    .into_iter()
                    .collect(),
                ls_datapath_group: group.map(uuid::<LogicalDpGroup>),
                datapaths: datapaths.into_iter().map(uuid::<DatapathBinding>).collect(),
                ..LoadBalancer::default()
            }),
        )
    });
    let variable = maybe(0..PORTS).prop_map(|value| {
        row(
            0,
            value.map(|n| ChassisTemplateVar {
                variables: [("there".into(), format!("10.0.0.{n}:80").into())].into(),
                ..ChassisTemplateVar::default()
            }),
        )
    });
    prop_oneof![dp_group, set, port_group, chassis, fdb, balancer, variable]
}

fn surroundings() -> impl Strategy<Value = Change> {
    let kinds = vec![TunnelKind::Geneve, TunnelKind::Vxlan, TunnelKind::Gre];
    prop_oneof![
        4 => (0..PORTS, maybe(1..6u32)).prop_map(|(n, ofport)| Change::Interface(n, ofport)),
        2 => (1..3u128, maybe(prop::sample::select(kinds))).prop_map(|(n, kind)| Change::Tunnel(n, kind)),
        1 => (0..PORTS, any::<bool>()).prop_map(|(n, there)| Change::Patch(n, there)),
        1 => prop::option::of(0..3u8).prop_map(Change::Geneve),
        1 => prop::bool::weighted(0.8).prop_map(Change::Sharing),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        2 => datapath(),
        6 => port(),
        2 => group(),
        6 => flow(),
        3 => others(),
        4 => surroundings(),
        5 => Just(Change::Step),
    ];
    prop::collection::vec(change, 1..120)
}

/// The rows and surroundings as they are in the end.
#[derive(Default)]
struct World {
    rows: BTreeMap<(usize, Uuid), Arc<Row>>,
    ports: LocalPorts,
    own: Own,
}

impl World {
    /// Makes a change, and tells it to a network.
    fn apply(&mut self, change: &Change, engine: &mut Engine, network: &mut Network) {
        let old_ports = self.ports.clone();
        match change {
            Change::Row(table, uuid, new) => {
                let old = match new {
                    Some(new) => self.rows.insert((*table, *uuid), new.clone()),
                    None => self.rows.remove(&(*table, *uuid)),
                };
                if old.is_some() || new.is_some() {
                    let change = RowChange {
                        table: *table,
                        uuid: *uuid,
                        old,
                        new: new.clone(),
                    };
                    engine.input(network, |network, changes| network.apply(changes, &change));
                }
                return;
            }
            Change::Interface(n, ofport) => {
                let name: Arc<str> = port_name(*n).into();
                match ofport {
                    Some(ofport) => {
                        let found = LocalInterface {
                            uuid: Uuid::from_u128(*n),
                            ofport: *ofport,
                            version: None,
                        };
                        self.ports.interfaces.insert(name, [found].into());
                    }
                    None => drop(self.ports.interfaces.remove(&name)),
                }
            }
            Change::Tunnel(n, kind) => {
                let name: Arc<str> = format!("c{n}").into();
                match kind {
                    Some(kind) => {
                        let tunnel = Tunnel {
                            ofport: 100 + *n as u32,
                            kind: *kind,
                            remote: None,
                            local: None,
                        };
                        self.ports
                            .tunnels
                            .insert(name, [tunnel].into_iter().collect());
                    }
                    None => drop(self.ports.tunnels.remove(&name)),
                }
            }
            Change::Patch(n, there) => {
                let name: Arc<str> = format!("patch-br-int-to-{}", port_name(*n)).into();
                match there {
                    true => drop(self.ports.patches.insert(name, 50 + *n as u32)),
                    false => drop(self.ports.patches.remove(&name)),
                }
            }
            Change::Geneve(_) | Change::Sharing(_) => {
                match change {
                    Change::Geneve(field) => self.own.geneve_field = *field,
                    Change::Sharing(on) => self.own.shares_flows = *on,
                    _ => {}
                }
                let own = self.own.clone();
                engine.input(network, |network, changes| {
                    network.change_own(changes, |o| *o = own);
                });
                return;
            }
            Change::Step => {
                engine.step(network, usize::MAX);
                return;
            }
        }
        let new = &self.ports;
        engine.input(network, |network, changes| {
            network.set_local_ports(changes, &old_ports, new);
        });
    }

    /// A network that sees it all at once.
    fn anew(&self, zones_of: &Network) -> Network {
        let mut network = Network::default();
        network.zones = zones_of.zones.remembered();
        let mut engine = Engine::new();
        engine.input(&mut network, |network, changes| {
            network.recall_bits(changes, zones_of.bits());
            network.set_own(changes, self.own.clone());
            network.set_local_ports(changes, &LocalPorts::default(), &self.ports);
            for ((table, uuid), row) in &self.rows {
                let change = RowChange {
                    table: *table,
                    uuid: *uuid,
                    old: None,
                    new: Some(row.clone()),
                };
                network.apply(changes, &change);
            }
        });
        engine.step(&mut network, usize::MAX);
        network.zones.release_unheld();
        network
    }
}

fn contents(network: &Network) -> BTreeMap<u128, u32> {
    network
        .desired
        .contents()
        .map(|(digest, count)| (digest.0, count))
        .collect()
}

fn zones(network: &Network) -> BTreeSet<String> {
    network
        .zones
        .iter()
        .map(|(name, _)| name.to_string())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(changes in changes(), pauses in prop::collection::vec(any::<Index>(), 2)) {
        let (mut network, mut engine, mut world) = (Network::default(), Engine::new(), World::default());
        world.own = Own { chassis: Some(uuid::<Chassis>(0)), name: "c0".into(), shares_flows: true, ..Own::default() };
        let own = world.own.clone();
        engine.input(&mut network, |network, changes| network.set_own(changes, own));
        let looks: BTreeSet<usize> = pauses.iter().map(|p| p.index(changes.len())).chain([changes.len() - 1]).collect();
        for (at, change) in changes.iter().enumerate() {
            world.apply(change, &mut engine, &mut network);
            if looks.contains(&at) {
                // Time passes.
                for port in network.take_handovers() {
                    engine.input(&mut network, |network, changes| network.end_handover(changes, port));
                }
                for port in network.take_concessions() {
                    engine.input(&mut network, |network, changes| network.end_concession(changes, port));
                }
                engine.input(&mut network, Network::has_word);
                engine.step(&mut network, usize::MAX);
                network.zones.forget_left();
                let fresh = world.anew(&network);
                prop_assert_eq!(contents(&network), contents(&fresh), "after change {}", at);
                prop_assert_eq!(zones(&network), zones(&fresh));
            }
        }
    }
}
