//! Both ways of writing, and both ways of reading, agree.

use ovsdb::schema::DatabaseSchema;
use ovsdb::update::RowUpdate;
use ovsdb::{Atom, ColumnRef, Datum, Operation, Uuid};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use crate::convert::{
    datum_to_proto, operations_to_proto, transaction_from_proto, updates_from_proto,
};
use crate::shared::{TableUpdate, Told, encode_change, encode_operation, encode_row};
use crate::v1;
use crate::v1::row_update::Change;

fn schema() -> DatabaseSchema {
    let columns = json!({
        "flag": {"type": "boolean"},
        "level": {"type": {"key": {"type": "integer", "minInteger": -5, "maxInteger": 5}}},
        "map": {"type": {"key": "string", "value": "integer", "min": 0, "max": "unlimited"}},
        "name": {"type": {"key": {"type": "string", "enum": ["set", ["", "a", "b\u{e9}"]]}}},
        "ratio": {"type": {"key": "real", "min": 0, "max": 2}},
        "refs": {"type": {"key": {"type": "uuid", "refTable": "A"}, "min": 0, "max": "unlimited"}}});
    DatabaseSchema::from_json(&json!({"name": "T", "tables": {"A": {"columns": columns}}})).unwrap()
}

fn columns() -> impl Strategy<Value = Vec<(usize, Datum)>> {
    let level = prop_oneof![-6..7_i64, any::<i64>()].prop_map(Datum::from);
    let map = btree_map("[a-c\u{e9}\u{0}]{0,2}", any::<i64>(), 0..4).prop_map(|pairs| {
        let pairs = pairs.into_iter();
        Datum::map(pairs.map(|(key, value)| (Atom::from(key), Atom::from(value))))
    });
    let name = prop_oneof!["a", "c", "b\u{e9}", ""].prop_map(Datum::from);
    let ratio =
        vec(any::<f64>(), 0..4).prop_map(|values| Datum::set(values.into_iter().map(Atom::from)));
    let refs = btree_set(any::<u128>(), 0..4)
        .prop_map(|ids| Datum::set(ids.into_iter().map(|id| Atom::Uuid(Uuid::from_u128(id)))));
    let all = (any::<bool>(), level, map, name, ratio, refs);
    (all, any::<[bool; 6]>()).prop_map(|((flag, level, map, name, ratio, refs), given)| {
        let all = [flag.into(), level, map, name, ratio, refs];
        let all = all.into_iter().enumerate();
        all.filter(|(column, _)| given[*column]).collect()
    })
}

fn row(schema: &DatabaseSchema, columns: &[(usize, Datum)]) -> v1::Row {
    let named = columns.iter().map(|(column, datum)| {
        let name = schema.tables[0].columns[*column].name.to_string();
        (name, datum_to_proto(datum))
    });
    v1::Row {
        columns: named.collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn inserts_are_read_as_by_way_of_messages(columns in columns()) {
        let schema = schema();
        let uuid = Uuid::from_u128(7);
        let insert = Operation::Insert { table: 0, uuid, row: columns.clone() };
        let written = operations_to_proto(&schema, std::slice::from_ref(&insert));
        let message = v1::Insert {
            table: "A".to_owned(),
            row: Some(row(&schema, &columns)),
            uuid_name: String::new(),
            uuid: uuid.as_bytes().to_vec(),
        };
        let kind = Some(v1::operation::Kind::Insert(message));
        let message = v1::Operation { kind };
        let decoded = v1::Operation::decode(written[0].clone());
        // Not a number is not equal to itself.
        let is_number = |datum: &Datum| !format!("{datum:?}").contains("NaN");
        if columns.iter().all(|(_, datum)| is_number(datum)) {
            prop_assert_eq!(decoded.unwrap(), message.clone());
        }
        let mut none = || Uuid::nil();
        let quick = transaction_from_proto(&schema, written, &mut none);
        // With a field that is not known, it goes by way of the message.
        let mut bytes = encode_operation(&message).to_vec();
        bytes.extend([0x78, 0]);
        let slow = transaction_from_proto(&schema, vec![bytes.into()], &mut none);
        prop_assert_eq!(&quick, &slow);
        if quick.error.is_none() {
            prop_assert_eq!(quick.operations, [insert]);
        }
    }

    #[test]
    fn whatever_bytes_an_operation_has_it_is_read_as_by_way_of_messages(
        columns in columns(),
        named in any::<bool>(),
        changes in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 0..3)), 1..4),
    ) {
        let schema = schema();
        let message = v1::Insert {
            table: "A".to_owned(),
            row: Some(row(&schema, &columns)),
            uuid_name: if named { "n".to_owned() } else { String::new() },
            uuid: Uuid::from_u128(7).as_bytes().to_vec(),
        };
        let kind = Some(v1::operation::Kind::Insert(message));
        let mut bytes = encode_operation(&v1::Operation { kind }).to_vec();
        for (place, with) in changes {
            let at = place.index(bytes.len());
            bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        }
        if v1::Operation::decode(&*bytes).is_ok() {
            let mut none = || Uuid::nil();
            let quick = transaction_from_proto(&schema, vec![bytes.clone().into()], &mut none);
            bytes.extend([0x78, 0]);
            let slow = transaction_from_proto(&schema, vec![bytes.into()], &mut none);
            prop_assert_eq!(format!("{quick:?}"), format!("{slow:?}"));
        }
    }

    #[test]
    fn updates_are_read_as_by_way_of_messages(before in columns(), after in columns()) {
        let schema = schema();
        let uuid = Uuid::from_u128(7);
        let named = |columns: &[(usize, Datum)]| -> Vec<_> {
            let columns = columns.iter().cloned();
            let name = |column: usize| &*schema.tables[0].columns[column].name;
            columns.map(|(column, datum)| (name(column), std::borrow::Cow::Owned(datum))).collect()
        };
        let message = |columns: &[(usize, Datum)]| row(&schema, columns);
        let some = |columns: &[(usize, Datum)]| (!columns.is_empty()).then(|| message(columns));
        let changes = [
            (Told::Inserted(named(&before)), Change::Inserted(message(&before))),
            (Told::Modified(named(&before)), Change::Modified(message(&before))),
            (Told::Deleted, Change::Deleted(v1::Done {})),
            (
                Told::Changed(named(&before), named(&after)),
                Change::Changed(v1::Changed { replaced: some(&before), toggled: some(&after) }),
            ),
        ];
        for (told, change) in changes {
            let bytes = encode_change(uuid, &told);
            let update = v1::RowUpdate { uuid: uuid.as_bytes().to_vec(), change: Some(change) };
            let mut other = encode_row(&update).to_vec();
            other.extend([0x78, 0]);
            let read = |row: bytes::Bytes| {
                let table = "A".to_owned();
                let read = updates_from_proto(&schema, vec![TableUpdate { table, rows: vec![row] }]);
                read.map(|mut read| {
                    if let (_, RowUpdate::Insert(columns)) = &mut read.tables[0].1[0] {
                        columns.sort_by_key(|(column, _)| match column {
                            ColumnRef::Column(column) => *column,
                            _ => usize::MAX,
                        });
                    }
                    let mut read = read.tables.remove(0).1.remove(0).1;
                    if let RowUpdate::Modify(columns) = &mut read {
                        columns.sort_by_key(|column| format!("{column:?}"));
                    }
                    read
                })
            };
            let (quick, slow) = (read(bytes), read(other.into()));
            prop_assert_eq!(quick.map_err(|_| ()), slow.map_err(|_| ()));
        }
    }
}
