//! A draft says what a change itself does, whatever the southbound is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::sync::Arc;
use std::time::Instant;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort, WeftProblem};
use northd::core::Now;
use northd::draft::{Drafted, Rows, draft_once};
use northd::error::DraftError;
use ovsdb::operation::{Operation, Transaction};
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange};
use sb_db::tables::{LogicalFlow, PortBinding};
use uuid::Uuid;

fn insert<T: Table>(uuid: u128, row: &T) -> Operation {
    let row: Row = row.to_row();
    Operation::Insert {
        table: T::INDEX,
        uuid: Uuid::from_u128(uuid),
        row: row.columns().iter().cloned().enumerate().collect(),
    }
}

fn switch(name: &str, ports: &[u128]) -> LogicalSwitch {
    LogicalSwitch {
        name: name.into(),
        ports: ports.iter().copied().map(Uuid::from_u128).collect(),
        ..LogicalSwitch::default()
    }
}

fn port(name: &str, address: &str) -> LogicalSwitchPort {
    LogicalSwitchPort {
        name: name.into(),
        addresses: vec![address.into()],
        ..LogicalSwitchPort::default()
    }
}

fn drafted(north: &Rows, south: &Rows, operations: Vec<Operation>) -> Result<Drafted, DraftError> {
    let now = Now {
        at: Instant::now(),
        unix_ms: 1_000_000,
    };
    let transaction = Transaction {
        asked: operations.len(),
        operations,
        error: None,
    };
    draft_once("test", now, north.clone(), south.clone(), &transaction)
}

/// Rows after changes.
fn after(rows: &Rows, changes: &[RowChange]) -> Rows {
    let is_changed = |table: usize, uuid: Uuid| {
        let mut changes = changes.iter();
        changes.any(|change| (change.table, change.uuid) == (table, uuid))
    };
    let kept = rows
        .iter()
        .filter(|(table, uuid, _)| !is_changed(*table, *uuid));
    let new = changes.iter().filter_map(|change| {
        let new = change.new.as_ref()?;
        Some((change.table, change.uuid, Arc::clone(new)))
    });
    kept.cloned().chain(new).collect()
}

/// How many rows of a table come, change and go.
fn counts<T: Table>(changes: &[RowChange]) -> [usize; 3] {
    let of_table = changes.iter().filter(|change| change.table == T::INDEX);
    of_table.fold([0; 3], |mut counts, change| {
        let which = match (&change.old, &change.new) {
            (None, _) => 0,
            (_, None) => 2,
            _ => 1,
        };
        counts[which] += 1;
        counts
    })
}

#[test]
fn a_draft_says_what_the_change_itself_does() {
    let nothing = Rows::new();
    let first = drafted(
        &nothing,
        &nothing,
        vec![
            insert(1, &switch("s", &[2])),
            insert(2, &port("p", "02:00:00:00:00:01 10.0.0.1")),
        ],
    );
    let first = first.unwrap();
    assert_eq!(counts::<PortBinding>(&first.south), [1, 0, 0]);
    let (north, south) = (after(&nothing, &first.north), after(&nothing, &first.south));

    // Another switch, and a port that makes no sense.
    let more = || {
        vec![
            insert(3, &switch("t", &[4])),
            insert(4, &port("q", "no address")),
        ]
    };
    let second = drafted(&north, &south, more()).unwrap();
    assert_eq!(counts::<PortBinding>(&second.south), [1, 0, 0]);
    assert_eq!(counts::<WeftProblem>(&second.north), [1, 0, 0]);
    assert!(counts::<LogicalFlow>(&second.south)[0] > 0);

    // A southbound that is behind is told, and counts for nothing.
    let behind = drafted(&north, &nothing, more()).unwrap();
    let (far, near) = (behind.unsettled, second.unsettled);
    assert!(far > near + 10, "{far} {near}");
    assert_eq!(
        counts::<LogicalFlow>(&behind.south),
        counts::<LogicalFlow>(&second.south)
    );

    // What was done is done: the same again is refused.
    let again = drafted(&north, &south, vec![insert(1, &switch("s", &[]))]);
    assert!(matches!(again, Err(DraftError::Refused(_))));
}
