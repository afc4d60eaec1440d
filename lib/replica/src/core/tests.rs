//! The core against sessions that the test plays.

use ovsdb::schema::DatabaseSchema;
use ovsdb::update::Delta;
use ovsdb::{ColumnRef, Datum};
use serde_json::json;

use super::*;

fn core(remotes: &[&str]) -> Core {
    let json = json!({"name": "T", "tables": {"A": {"columns": {
        "level": {"type": "integer"}, "name": {"type": "string"}}}}});
    let schema = Arc::new(DatabaseSchema::from_json(&json).unwrap());
    let remotes = remotes
        .iter()
        .map(|remote| remote.parse().unwrap())
        .collect();
    Core::new(Spec::new(schema, remotes))
}

fn events(core: &mut Core) -> Vec<Event> {
    std::iter::from_fn(|| core.next_event()).collect()
}

fn sparse(level: i64) -> Vec<(ColumnRef, Datum)> {
    vec![(ColumnRef::Column(0), level.into())]
}

fn updates(rows: Vec<(u128, RowUpdate)>) -> TableUpdates {
    let rows = rows
        .into_iter()
        .map(|(id, update)| (Uuid::from_u128(id), update))
        .collect();
    TableUpdates {
        tables: vec![(0, rows)],
    }
}

fn contents(since_last: bool, last: u128, rows: Vec<(u128, RowUpdate)>) -> client::Event {
    let last_transaction = Uuid::from_u128(last);
    client::Event::Contents {
        since_last,
        updates: updates(rows),
        last_transaction,
    }
}

/// Changes as (row, level before, level after).
fn changes(core: &mut Core) -> Vec<(u128, Option<i64>, Option<i64>)> {
    let level = |row: &Option<Arc<Row>>| {
        row.as_ref()
            .map(|row| row.get(0).scalar().unwrap().as_integer().unwrap())
    };
    let mut changes = Vec::new();
    for event in events(core) {
        if let Event::Changes(rows) = event {
            changes.extend(
                rows.iter()
                    .map(|c| (c.uuid.as_u128(), level(&c.old), level(&c.new))),
            );
        }
    }
    changes.sort_unstable();
    changes
}

#[test]
fn only_the_difference_is_told_after_a_reconnection() {
    let now = Instant::now();
    let mut core = core(&["unix:/a"]);
    let initial = |level| RowUpdate::Initial(sparse(level));
    core.session_event(
        now,
        contents(
            false,
            5,
            vec![(1, initial(1)), (2, initial(2)), (3, initial(3))],
        ),
        true,
    )
    .unwrap();
    assert_eq!(
        changes(&mut core),
        [(1, None, Some(1)), (2, None, Some(2)), (3, None, Some(3))]
    );
    assert_eq!(core.session_config().last_transaction, Uuid::from_u128(5));
    // A server without that history sends everything.
    core.session_event(
        now,
        contents(
            false,
            6,
            vec![(1, initial(1)), (2, initial(7)), (4, initial(4))],
        ),
        true,
    )
    .unwrap();
    assert_eq!(
        changes(&mut core),
        [
            (2, Some(2), Some(7)),
            (3, Some(3), None),
            (4, None, Some(4))
        ]
    );
    // One with it, what happened since.
    let modify =
        |level: i64| RowUpdate::Modify(vec![(ColumnRef::Column(0), Delta::Replace(level.into()))]);
    core.session_event(
        now,
        contents(true, 9, vec![(1, modify(8)), (4, RowUpdate::Delete)]),
        true,
    )
    .unwrap();
    assert_eq!(
        changes(&mut core),
        [(1, Some(1), Some(8)), (4, Some(4), None)]
    );
    // A change that changes nothing is not told.
    let same = client::Event::Updates {
        updates: updates(vec![(1, modify(8)), (9, RowUpdate::Delete)]),
        last_transaction: Uuid::from_u128(10),
    };
    core.session_event(now, same, true).unwrap();
    assert_eq!(events(&mut core), []);
    // A change of a row that was never told of means that something is lost; then everything is asked for anew.
    let unknown = client::Event::Updates {
        updates: updates(vec![(77, modify(8))]),
        last_transaction: Uuid::from_u128(11),
    };
    assert!(core.session_event(now, unknown, true).is_err());
    assert_eq!(core.session_config().last_transaction, Uuid::nil());
}

#[test]
fn conditions_in_doubt_ask_for_everything_again() {
    let now = Instant::now();
    let remote: Remote = "unix:/a".parse().unwrap();
    let mut core = core(&["unix:/a"]);
    core.session_event(now, contents(false, 5, vec![]), true)
        .unwrap();
    core.disconnected(now, &remote, String::new(), true);
    assert_eq!(core.session_config().last_transaction, Uuid::from_u128(5));
    core.disconnected(now, &remote, String::new(), false);
    assert_eq!(core.session_config().last_transaction, Uuid::nil());
    core.session_event(now, contents(false, 5, vec![]), true)
        .unwrap();
    core.set_conditions(1, vec![(0, Condition::nothing())], false);
    assert_eq!(core.session_config().last_transaction, Uuid::nil());
    events(&mut core);
    core.session_event(now, contents(false, 6, vec![]), true)
        .unwrap();
    assert_eq!(
        events(&mut core),
        [Event::Synced, Event::ConditionsInEffect(1)]
    );
}

#[test]
fn many_spread_over_the_remotes_and_do_not_come_back_in_step() {
    const REPLICAS: u64 = 300;
    let now = Instant::now();
    let remotes = ["unix:/a", "unix:/b", "unix:/c"];
    let mut met = [0; 3];
    let mut pauses = FxHashSet::default();
    for chance in 0..REPLICAS {
        let spec = core(&remotes).spec;
        let mut core = Core::new(Spec {
            chance: Some(chance),
            ..spec
        });
        let mut order = Vec::new();
        while core.retry_at.is_none() {
            let (remote, _) = core.next_attempt().unwrap();
            let name = remote.to_string();
            order.push(remotes.iter().position(|known| *known == name).unwrap());
            core.disconnected(now, &remote, String::new(), true);
        }
        let pause = core.retry_at.unwrap() - now;
        assert!(
            pause <= FIRST_PAUSE && pause >= FIRST_PAUSE / 2,
            "{pause:?}"
        );
        pauses.insert(pause);
        met[order[0]] += 1;
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2], "each is tried before there is a pause");
    }
    assert!(met.iter().all(|number| *number <= REPLICAS / 2), "{met:?}");
    assert!(pauses.len() > 100, "{}", pauses.len());
}

#[test]
fn attempts_go_round_the_remotes_with_pauses_between_rounds() {
    let start = Instant::now();
    let mut core = core(&["unix:/a", "unix:/b"]);
    let mut attempts = Vec::new();
    let mut now = start;
    for _ in 0..11 {
        let (remote, at) = core.next_attempt().unwrap();
        now = at.unwrap_or(now);
        attempts.push((remote.to_string(), (now - start).as_secs()));
        core.disconnected(now, &remote, String::new(), true);
    }
    let (a, b) = ("unix:/a".to_owned(), "unix:/b".to_owned());
    let expected: Vec<(String, u64)> = [0, 1, 3, 7, 15]
        .into_iter()
        .flat_map(|at| [(a.clone(), at), (b.clone(), at)])
        .chain([(a.clone(), 23)])
        .collect();
    assert_eq!(attempts, expected);
    // A steady connection begins a new count, with the same remote at once.
    let (remote, _) = core.next_attempt().unwrap();
    core.connected(&remote);
    core.session_event(now, contents(false, 5, vec![]), true)
        .unwrap();
    core.disconnected(now + STEADY, &remote, String::new(), true);
    assert_eq!(core.next_attempt().unwrap(), (remote.clone(), None));
    // One that breaks at once counts as a failure.
    core.session_event(now, contents(false, 5, vec![]), true)
        .unwrap();
    core.disconnected(now, &remote, String::new(), true);
    core.disconnected(now, &remote, String::new(), true);
    assert!(core.next_attempt().unwrap().1.is_some());
    core.hurry();
    assert!(core.next_attempt().unwrap().1.is_none());
    assert!(core.set_remotes(vec!["unix:/c".parse().unwrap()], Some(&remote)));
    assert!(!core.set_remotes(
        vec![remote.clone(), "unix:/c".parse().unwrap()],
        Some(&remote)
    ));
    core.set_remotes(vec![], None);
    assert_eq!(core.next_attempt(), None);
}

#[test]
fn a_lost_connection_answers_what_was_asked_and_takes_the_lock() {
    let now = Instant::now();
    let remote: Remote = "unix:/a".parse().unwrap();
    let mut core = core(&["unix:/a"]);
    core.transaction_sent(1, Err(TransactError::NotConnected), None);
    core.session_event(now, client::Event::Lock(true), true)
        .unwrap();
    core.transaction_sent(2, Ok(()), None);
    core.transaction_sent(3, Ok(()), None);
    core.transaction_sent(4, Ok(()), None);
    core.session_event(
        now,
        client::Event::Reply {
            id: 4,
            result: Ok(Ok(vec![])),
        },
        true,
    )
    .unwrap();
    core.disconnected(now, &remote, "why".to_owned(), true);
    let reply = |id, error| Event::TransactReply {
        id,
        result: Err(error),
    };
    assert_eq!(
        events(&mut core),
        [
            reply(1, TransactError::NotConnected),
            Event::Lock(true),
            Event::TransactReply {
                id: 4,
                result: Ok(vec![])
            },
            reply(2, TransactError::Disconnected),
            reply(3, TransactError::Disconnected),
            Event::Disconnected {
                remote,
                reason: "why".to_owned()
            },
        ]
    );
}
