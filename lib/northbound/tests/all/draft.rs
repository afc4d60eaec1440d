//! What a draft finds by its indexes is what somebody finds who looks at every row.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::sync::Arc;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use northbound::{Draft, Rows, Snapshot};
use ovsdb::{Atom, Datum, Mutation, Mutator, RowChange, Table, TableDefinition as _, Uuid};
use proptest::prelude::*;

const SWITCH: usize = LogicalSwitch::INDEX;
const NAME: usize = LogicalSwitch::COLUMN.name.index;
const PORTS: usize = LogicalSwitch::COLUMN.ports.index;

/// A change of a switch: of the copy under the draft, or of the draft.
#[derive(Clone, Debug)]
enum Change {
    /// It is there, with this name and these ports.
    Put(u128, u8, Vec<u128>),
    Delete(u128),
    Rename(u128, u8),
    AddPort(u128, u128),
    RemovePort(u128, u128),
}

fn change() -> impl Strategy<Value = Change> {
    let (switch, name, port) = (0..6_u128, 0..4_u8, 100..104_u128);
    prop_oneof![
        (
            switch.clone(),
            name.clone(),
            prop::collection::vec(port.clone(), 0..3)
        )
            .prop_map(|(switch, name, ports)| Change::Put(switch, name, ports)),
        switch.clone().prop_map(Change::Delete),
        (switch.clone(), name).prop_map(|(switch, name)| Change::Rename(switch, name)),
        (switch.clone(), port.clone()).prop_map(|(switch, port)| Change::AddPort(switch, port)),
        (switch, port).prop_map(|(switch, port)| Change::RemovePort(switch, port)),
    ]
}

fn name(number: u8) -> Arc<str> {
    match number {
        0 => "".into(),
        number => number.to_string().into(),
    }
}

fn uuids(numbers: &[u128]) -> Vec<Uuid> {
    let mut uuids: Vec<Uuid> = numbers.iter().copied().map(Uuid::from_u128).collect();
    uuids.sort();
    uuids.dedup();
    uuids
}

/// Does a change to the copy; what is about rows that it does not have is none.
fn apply_to_snapshot(snapshot: &mut Snapshot, change: &Change) {
    let (number, new) = match change {
        Change::Put(switch, text, ports) => {
            let row = LogicalSwitch {
                name: name(*text),
                ports: uuids(ports),
                ..LogicalSwitch::default()
            };
            (*switch, Some(Arc::new(row.to_row())))
        }
        Change::Delete(switch) => (*switch, None),
        _ => return,
    };
    snapshot.apply(RowChange {
        table: SWITCH,
        uuid: Uuid::from_u128(number),
        old: None,
        new,
    });
}

fn apply_to_draft(draft: &mut Draft<'_>, change: &Change) {
    let port = |number: &u128| Datum::One(Atom::Uuid(Uuid::from_u128(*number)));
    let mutation = |mutator, number| Mutation::new(PORTS, mutator, port(number));
    match change {
        Change::Put(number, text, ports) => {
            let uuid = Uuid::from_u128(*number + 50);
            if draft.row(SWITCH, uuid).is_none() {
                draft.insert_row(SWITCH, uuid);
                draft
                    .set::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.name, &name(*text))
                    .unwrap();
                let ports = uuids(ports);
                draft
                    .set::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.ports, &ports)
                    .unwrap();
            }
        }
        Change::Delete(switch) => draft.delete_row(SWITCH, Uuid::from_u128(*switch)),
        Change::Rename(switch, text) => {
            let uuid = Uuid::from_u128(*switch);
            draft.write(SWITCH, uuid, NAME, Datum::from(&*name(*text)));
        }
        Change::AddPort(switch, number) => {
            let mutation = mutation(Mutator::Insert, number);
            draft.mutate(SWITCH, Uuid::from_u128(*switch), mutation);
        }
        Change::RemovePort(switch, number) => {
            let mutation = mutation(Mutator::Delete, number);
            draft.mutate(SWITCH, Uuid::from_u128(*switch), mutation);
        }
    }
}

/// Compares what the draft finds with what is there.
fn check(draft: &Draft<'_>) {
    for number in 0..4 {
        let wanted = Datum::from(&*name(number));
        let all = draft
            .rows(SWITCH)
            .filter(|(_, row)| *row.get(NAME) == wanted);
        let mut expected: Vec<Uuid> = all.map(|(uuid, _)| uuid).collect();
        let mut found = draft.rows_with(SWITCH, NAME, &wanted);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "name {number}");
    }
    for number in 100..104 {
        let atom = Atom::Uuid(Uuid::from_u128(number));
        let all = draft
            .rows(SWITCH)
            .filter(|(_, row)| row.get(PORTS).contains(&atom));
        let mut expected: Vec<Uuid> = all.map(|(uuid, _)| uuid).collect();
        expected.sort();
        // The second search goes another way than the first.
        for _ in 0..2 {
            assert_eq!(
                draft.rows_containing(SWITCH, PORTS, &atom),
                expected,
                "port {number}"
            );
        }
    }
}

proptest! {
    #[test]
    fn indexes_find_what_is_there(
        before in prop::collection::vec(change(), 0..12),
        changes in prop::collection::vec(change(), 0..12),
    ) {
        let schema = nb_db::schema();
        let mut plain = Snapshot::empty(Arc::clone(schema));
        let mut indexed = Snapshot::empty(Arc::clone(schema));
        indexed.index_contents(SWITCH, NAME);
        indexed.index_elements(SWITCH, PORTS);
        for change in &before {
            apply_to_snapshot(&mut plain, change);
            apply_to_snapshot(&mut indexed, change);
        }
        // An index over rows that are there already is the same.
        let mut late = plain.clone();
        late.index_contents(SWITCH, NAME);
        late.index_elements(SWITCH, PORTS);
        for snapshot in [&plain, &indexed, &late] {
            let mut draft = Draft::new(snapshot);
            check(&draft);
            for change in &changes {
                apply_to_draft(&mut draft, change);
                check(&draft);
            }
        }
    }
}

#[test]
fn what_the_server_lacks_is_not_there() {
    let mut snapshot = Snapshot::empty(Arc::clone(nb_db::schema()));
    let missing = [
        "Logical_Switch",
        "Logical_Switch_Port.peer",
        "Nosuch",
        "A.b",
    ];
    snapshot.set_missing(missing.map(str::to_owned));
    let peer = LogicalSwitchPort::COLUMN.peer.index;
    assert!(!snapshot.has_table(SWITCH));
    assert!(snapshot.has_table(LogicalSwitchPort::INDEX));
    assert!(!snapshot.has_column(LogicalSwitchPort::INDEX, peer));
    let mut draft = Draft::new(&snapshot);
    let error = draft.insert::<LogicalSwitch>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database has no table Logical_Switch"
    );
    let port = LogicalSwitchPort {
        peer: Some("p".into()),
        ..LogicalSwitchPort::default()
    };
    let error = draft.insert_as(&port).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database has no column peer in table Logical_Switch_Port"
    );
    let port = LogicalSwitchPort::default();
    draft.insert_as(&port).unwrap();
}
