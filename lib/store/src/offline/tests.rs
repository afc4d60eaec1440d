//! Tests of the data directories of servers that do not run.

use serde_json::json;

use super::*;
use crate::storage::{EntryKind, LogEntry};

fn schema() -> Arc<DatabaseSchema> {
    let child = json!({"type": {"key": {"type": "uuid", "refTable": "Child"}, "min": 0, "max": "unlimited"}});
    let weak =
        json!({"type": {"key": {"type": "uuid", "refTable": "Root", "refType": "weak"}, "min": 0}});
    let json = json!({"name": "T", "version": "1.0.0", "tables": {
        "Child": {"columns": {"name": {"type": "string"}}},
        "Root": {"isRoot": true, "indexes": [["name"]],
                 "columns": {"child": child, "name": {"type": "string"}, "weak": weak}}}});
    Arc::new(DatabaseSchema::from_json(&json).unwrap())
}

fn uuid(number: u128) -> Datum {
    Datum::from(Uuid::from_u128(number))
}

fn child(number: u128, name: &str) -> (usize, Uuid, Arc<Row>) {
    let row = Row::new([Datum::from(name)]);
    (0, Uuid::from_u128(number), Arc::new(row))
}

fn root(number: u128, name: &str, child: Datum, weak: Datum) -> (usize, Uuid, Arc<Row>) {
    let row = Row::new([child, Datum::from(name), weak]);
    (1, Uuid::from_u128(number), Arc::new(row))
}

fn some_rows() -> Rows {
    vec![
        child(1, "a"),
        root(2, "r", uuid(1), uuid(3)),
        root(3, "s", Datum::empty_set(), uuid(99)),
    ]
}

fn rows_of(loaded: &Loaded) -> Rows {
    let tables = 0..2;
    let rows = tables.flat_map(|table| {
        let rows = loaded.database.rows(table);
        rows.map(move |(uuid, row)| (table, uuid, row.clone()))
    });
    rows.collect()
}

#[test]
fn a_directory_that_was_made_opens_and_checks() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("new");
    let member = NewMember {
        member: 3,
        address: Some("h:1".to_owned()),
    };
    let identity = create(&place, &schema(), &some_rows(), &member, &mut |_| ()).unwrap();
    let loaded = open(&place, &schema()).unwrap();
    assert_eq!(loaded.state.identity, identity);
    assert_eq!(loaded.state.membership.voters, [3]);
    assert_eq!(loaded.state.membership.addresses, [(3, "h:1".to_owned())]);
    // The reference to nowhere is gone, as it would be in a transaction.
    let mut expected = some_rows();
    expected[2] = root(3, "s", Datum::empty_set(), Datum::empty_set());
    assert_eq!(rows_of(&loaded), expected);
    let findings = check(&place, &schema()).unwrap();
    assert_eq!(findings.problems, [] as [String; 0]);

    let again = create(&place, &schema(), &[], &member, &mut |_| ());
    assert!(matches!(again, Err(OfflineError::Exists(_))));
    let nowhere = directory.path().join("nowhere");
    assert!(matches!(
        open(&nowhere, &schema()),
        Err(OfflineError::Missing(_))
    ));
    assert!(!nowhere.exists());
}

#[test]
fn rows_that_contradict_the_schema_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |rows: Rows, expected: &str| {
        let made = create(
            directory.path(),
            &schema(),
            &rows,
            &NewMember::default(),
            &mut |_| (),
        );
        let error = made.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!directory.path().join(FILE_NAME).exists());
    };
    let none = Datum::empty_set;
    refused(vec![root(1, "x", uuid(5), none())], "referential integrity");
    refused(
        vec![root(1, "x", none(), none()), root(2, "x", none(), none())],
        "constraint violation",
    );
}

/// A member of three, with a log of which the last entries are not known to be committed.
fn survivor(place: &Path) {
    let schema = schema();
    let identity = new_identity("T", 2);
    let membership = Membership {
        voters: vec![1, 2, 3],
        addresses: [1, 2, 3]
            .map(|member| (member, format!("h:{member}")))
            .into(),
        ..Membership::default()
    };
    let mut storage = RedbStorage::open(place).unwrap();
    storage.create(&identity, &membership).unwrap();
    let insert = |(table, uuid, row): (usize, Uuid, Arc<Row>)| ovsdb::RowChange {
        table,
        uuid,
        old: None,
        new: Some(row),
    };
    let entry = |index, kind, changes: &[ovsdb::RowChange]| LogEntry {
        position: LogPosition { index, term: 4 },
        kind,
        context: bytes::Bytes::new(),
        data: match kind {
            EntryKind::Normal => entry::encode(&schema, None, changes).into(),
            _ => bytes::Bytes::new(),
        },
    };
    let none = Datum::empty_set;
    storage
        .write(&Batch {
            entries: vec![
                entry(
                    1,
                    EntryKind::Normal,
                    &[insert(root(1, "a", none(), none()))],
                ),
                entry(
                    2,
                    EntryKind::Normal,
                    &[insert(root(2, "b", none(), none()))],
                ),
                entry(3, EntryKind::ConfChangeV2, &[]),
                entry(
                    4,
                    EntryKind::Normal,
                    &[insert(root(3, "c", none(), none()))],
                ),
            ],
            hard_state: Some(HardState {
                term: 5,
                vote: 1,
                commit: 1,
            }),
            ..Batch::default()
        })
        .unwrap();
}

#[test]
fn a_survivor_goes_on_alone_with_all_of_its_log() {
    let directory = tempfile::tempdir().unwrap();
    survivor(directory.path());
    assert_eq!(
        rows_of(&open(directory.path(), &schema()).unwrap()).len(),
        1
    );
    let forced = force_new(directory.path(), &schema(), None, &mut |_| ()).unwrap();
    let (old, new) = (forced.old, forced.identity);
    assert_ne!((old.cluster, old.server), (new.cluster, new.server));
    let loaded = open(directory.path(), &schema()).unwrap();
    assert_eq!(rows_of(&loaded).len(), 3);
    assert_eq!(loaded.state.identity, new);
    assert_eq!(loaded.state.membership.voters, [2]);
    assert_eq!(loaded.state.membership.addresses, [(2, "h:2".to_owned())]);
    assert_eq!(loaded.state.applied, LogPosition { index: 4, term: 4 });
    assert!(directory.path().join(REPLACED_NAME).exists());
}

#[test]
fn whatever_ends_a_replacement_one_of_the_two_is_in_the_place() {
    for done in 0..=REPLACEMENT.len() {
        let directory = tempfile::tempdir().unwrap();
        survivor(directory.path());
        let schema = schema();
        let identity = new_identity("T", 2);
        let new = New {
            membership: alone(&identity, None),
            identity,
            position: LogPosition { index: 4, term: 4 },
            rows: Vec::new(),
            names: Vec::new(),
        };
        write_unfinished(directory.path(), &schema, &new, &mut |_| ()).unwrap();
        for step in &REPLACEMENT[..done] {
            step(directory.path()).unwrap();
        }
        let found = open(directory.path(), &schema).unwrap().state.identity;
        let is_new = found == new.identity;
        assert_eq!(is_new, done == REPLACEMENT.len(), "after {done} steps");
        // Whoever starts again comes to the end.
        force_new(directory.path(), &schema, None, &mut |_| ()).unwrap();
        assert!(directory.path().join(REPLACED_NAME).exists());
    }
}

#[test]
fn a_directory_in_the_middle_of_a_replacement_is_not_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let aside = directory.path().join(REPLACED_NAME);
    std::fs::write(&aside, "the former database").unwrap();
    // What is left of a replacement that came to its end says nothing.
    drop(RedbStorage::open(directory.path()).unwrap());
    std::fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
    let unfinished = directory.path().join(UNFINISHED_NAME);
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join(FILE_NAME), "the next one").unwrap();
    let error = RedbStorage::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains(REPLACED_NAME), "{error}");
    std::fs::remove_file(&aside).unwrap();
    RedbStorage::open(directory.path()).unwrap();
}

#[test]
fn a_check_names_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    survivor(directory.path());
    let mut storage = RedbStorage::open(directory.path()).unwrap();
    let wrong = LogEntry {
        position: LogPosition { index: 5, term: 3 },
        kind: EntryKind::Normal,
        context: bytes::Bytes::new(),
        data: bytes::Bytes::from_static(b"\xff"),
    };
    let batch = Batch {
        entries: vec![wrong],
        ..Batch::default()
    };
    storage.write(&batch).unwrap();
    drop(storage);
    let findings = check(directory.path(), &schema()).unwrap();
    let problems = findings.problems.join("\n");
    assert!(
        problems.contains("log entry 5 is of term 3, after one of term 4"),
        "{problems}"
    );
    assert!(problems.contains("log entry 5: "), "{problems}");

    let rows = vec![root(1, "x", uuid(5), Datum::empty_set())];
    let findings = check_rows(&schema(), rows);
    assert_eq!(findings.problems.len(), 1, "{findings:?}");
}
