//! After any sequence of changes of the local database, what was followed row by row is what the final rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller::local::Local;
use controller::vswitch::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Row, RowChange, Uuid};
use proptest::prelude::*;

const BRIDGES: [&str; 3] = ["br-int", "br-ex", "br-other"];
const PORTS: u128 = 6;

/// Rows by table and identity.
type Rows = BTreeMap<(usize, Uuid), Arc<Row>>;

/// A row is there with these contents, or not at all.
type Change = (usize, Uuid, Option<Arc<Row>>);

fn uuid<T: Table>(n: u128) -> Uuid {
    Uuid::from_u128((T::INDEX as u128 + 1) << 64 | n)
}

fn row<T: Table + TableDefinition>(n: u128, row: Option<T>) -> Change {
    let row = row.map(|row| Arc::new(row.to_row()));
    (T::INDEX, uuid::<T>(n), row)
}

fn ids(pairs: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<str>> {
    let pairs = pairs.iter();
    pairs
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

fn settings() -> impl Strategy<Value = Change> {
    prop::option::weighted(0.9, prop::sample::select(BRIDGES.to_vec())).prop_map(|bridge| {
        let switch = bridge.map(|bridge| OpenVSwitch {
            external_ids: ids(&[
                ("system-id", "c1"),
                ("ovn-bridge", bridge),
                ("ovn-encap-type", "geneve"),
                ("ovn-encap-ip", "10.0.0.1"),
            ]),
            ..OpenVSwitch::default()
        });
        row(0, switch)
    })
}

fn bridge() -> impl Strategy<Value = Change> {
    let contents = (
        prop::sample::select(BRIDGES.to_vec()),
        prop::collection::btree_set(0..PORTS, 0..PORTS as usize),
    );
    (0..2u128, prop::option::weighted(0.8, contents)).prop_map(|(n, contents)| {
        let bridge = contents.map(|(name, ports): (&str, BTreeSet<u128>)| Bridge {
            // The schema lets no two bridges have one name.
            name: if n == 0 {
                name.into()
            } else {
                format!("{name}{n}").into()
            },
            ports: ports.into_iter().map(uuid::<Port>).collect(),
            ..Bridge::default()
        });
        row(n, bridge)
    })
}

fn port() -> impl Strategy<Value = Change> {
    let owners = prop::sample::select(vec![
        &[][..],
        &[],
        &[("ovn-chassis-id", "c2@10.0.0.2%10.0.0.1")],
        &[("ovn-chassis-id", "c3@10.0.0.3")],
        &[("ovn-localnet-port", "ln")],
    ]);
    let contents = (owners, prop::collection::btree_set(0..PORTS, 1..3));
    (0..PORTS, prop::option::weighted(0.8, contents)).prop_map(|(n, contents)| {
        let port = contents.map(|(owner, interfaces)| Port {
            name: format!("port{n}").into(),
            interfaces: interfaces.into_iter().map(uuid::<Interface>).collect(),
            external_ids: ids(owner),
            ..Port::default()
        });
        row(n, port)
    })
}

fn interface() -> impl Strategy<Value = Change> {
    let contents = (
        prop::sample::select(vec!["", "internal", "patch", "geneve"]),
        prop::option::of(-1..4i64),
        prop::option::of(0..3u8),
    );
    (0..PORTS, prop::option::weighted(0.8, contents)).prop_map(|(n, contents)| {
        let interface = contents.map(|(kind, ofport, id)| Interface {
            name: format!("if{n}").into(),
            r#type: kind.into(),
            ofport,
            external_ids: id
                .map(|id| ids(&[("iface-id", &format!("vm{id}"))]))
                .unwrap_or_default(),
            options: ids(&[("remote_ip", "10.0.0.2")]),
            ..Interface::default()
        });
        row(n, interface)
    })
}

/// What the schema forbids: one interface in two ports, one port in two bridges. The last in order of identity keeps it.
fn is_allowed(rows: &Rows) -> bool {
    let mut ports = Vec::new();
    let mut interfaces = Vec::new();
    for (&(table, _), row) in rows {
        match table {
            Bridge::INDEX => ports.extend(Bridge::COLUMN.ports.get(row)),
            Port::INDEX => interfaces.extend(Port::COLUMN.interfaces.get(row)),
            _ => {}
        }
    }
    [ports, interfaces].into_iter().all(|mut all| {
        let count = all.len();
        all.sort();
        all.dedup();
        all.len() == count
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn following_is_reading(
        transactions in prop::collection::vec(
            prop::collection::vec(prop_oneof![1 => settings(), 2 => bridge(), 4 => port(), 4 => interface()], 1..6),
            1..30,
        ),
    ) {
        let mut rows = Rows::new();
        let mut followed = Local::new("host".to_owned());
        for transaction in transactions {
            let mut next = rows.clone();
            for (table, uuid, row) in transaction {
                match row {
                    Some(row) => drop(next.insert((table, uuid), row)),
                    None => drop(next.remove(&(table, uuid))),
                }
            }
            if !is_allowed(&next) {
                continue;
            }
            let keys: BTreeSet<_> = rows.keys().chain(next.keys()).copied().collect();
            let changes: Vec<RowChange> = keys
                .into_iter()
                .map(|(table, uuid)| {
                    let find = |rows: &Rows| rows.get(&(table, uuid)).cloned();
                    RowChange { table, uuid, old: find(&rows), new: find(&next) }
                })
                .filter(|change| change.old != change.new)
                .collect();
            let before = followed.ports.clone();
            let told = followed.apply(&changes);
            rows = next;

            let mut read = Local::new("host".to_owned());
            let all = rows.iter().map(|(&(table, uuid), row)| RowChange {
                table,
                uuid,
                old: None,
                new: Some(row.clone()),
            });
            read.apply(&all.collect::<Vec<_>>());
            prop_assert_eq!(&followed.ports, &read.ports);
            prop_assert_eq!(&followed.iface_ids, &read.iface_ids);
            prop_assert_eq!(followed.has_bridge(), read.has_bridge());
            // And whatever changed was told.
            for (name, interface) in &followed.ports.interfaces {
                let known = before.interfaces.get(name) == Some(interface);
                prop_assert!(known || told.interfaces.contains(name));
            }
            for name in before.tunnels.keys() {
                let kept = before.tunnels.get(name) == followed.ports.tunnels.get(name);
                prop_assert!(kept || told.tunnels.contains(name));
            }
        }
    }
}
