//! A row's change as gRPC clients are told of it.

use std::borrow::Cow;

use bytes::Bytes;
use ovsdb::monitor::TableMonitor;
use ovsdb::schema::TableSchema;
use ovsdb::update::Delta;
use ovsdb::{ColumnRef, Datum, Row as Contents, RowChange};
use rpc::shared::{Told, encode_change};

/// The change, as far as the columns of a view show it. With `differences`, large columns are told by what came and went.
pub fn row_update(
    table: &TableSchema,
    view: &TableMonitor,
    change: &RowChange,
    differences: bool,
) -> Bytes {
    let RowChange { uuid, old, new, .. } = change;
    let shown = view.columns.iter().map(|monitored| monitored.column);
    let differs = |column: &ColumnRef| match (column, old, new) {
        (ColumnRef::Column(index), Some(old), Some(new)) => old.get(*index) != new.get(*index),
        (ColumnRef::Column(index), None, Some(new)) => {
            *new.get(*index) != Datum::default_for(&table.columns[*index].ty)
        }
        (ColumnRef::Uuid, Some(_), Some(_)) => false,
        _ => true,
    };
    let column = |column: ColumnRef, row| {
        let datum = match column {
            ColumnRef::Column(index) => Cow::Borrowed(Contents::get(row, index)),
            _ => Cow::Owned(column.of(*uuid, row)),
        };
        (column.name(table), datum)
    };
    let told = match (old, new) {
        (_, None) => Told::Deleted,
        (Some(old), Some(new)) if differences => {
            let (mut replaced, mut toggled) = (Vec::new(), Vec::new());
            for shown in shown.filter(differs) {
                let ColumnRef::Column(index) = shown else {
                    replaced.push(column(shown, new));
                    continue;
                };
                let ty = &table.columns[index].ty;
                let name = shown.name(table);
                match Delta::between(ty, old.get(index), new.get(index)) {
                    Delta::Replace(datum) => replaced.push((name, Cow::Owned(datum))),
                    Delta::Toggle(datum) => toggled.push((name, Cow::Owned(datum))),
                }
            }
            Told::Changed(replaced, toggled)
        }
        (_, Some(row)) => {
            let columns = shown.filter(differs).map(|shown| column(shown, row));
            match old {
                None => Told::Inserted(columns.collect()),
                Some(_) => Told::Modified(columns.collect()),
            }
        }
    };
    encode_change(*uuid, &told)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use ovsdb::schema::DatabaseSchema;
    use ovsdb::{Atom, Condition, Uuid};
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;
    use prost::Message;
    use rpc::convert::updates_from_proto;
    use rpc::shared::TableUpdate;
    use rpc::v1::RowUpdate;
    use rpc::v1::row_update::Change;
    use serde_json::json;

    use super::*;

    fn schema() -> DatabaseSchema {
        let columns = json!({
            "map": {"type": {"key": "integer", "value": "string", "min": 0, "max": "unlimited"}},
            "name": {"type": "string"},
            "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
            "tag": {"type": {"key": "integer", "min": 0, "max": 1}}});
        let json = json!({"name": "T", "tables": {"A": {"columns": columns}}});
        DatabaseSchema::from_json(&json).expect("a schema")
    }

    fn rows() -> impl Strategy<Value = Contents> {
        let map = btree_map(0..4_i64, "[ab]", 0..4);
        let set = btree_set(0..6_i64, 0..6);
        (map, "[ab]", set, btree_set(0..2_i64, 0..2)).prop_map(|(map, name, set, tag)| {
            let pairs = map.into_iter();
            let map = Datum::map(pairs.map(|(key, value)| (Atom::from(key), Atom::from(value))));
            let of = |elements: BTreeSet<i64>| Datum::set(elements.into_iter().map(Atom::from));
            Contents::new(vec![map, name.into(), of(set), of(tag)])
        })
    }

    /// The message about a change, and what a client that reads it makes of the old row.
    fn told(old: &Contents, new: &Contents, differences: bool) -> (usize, Contents) {
        let schema = schema();
        let table = &schema.tables[0];
        let view = TableMonitor::new(0, (0..4).map(ColumnRef::Column), Condition::everything());
        let change = RowChange {
            table: 0,
            uuid: Uuid::from_u128(1),
            old: Some(Arc::new(old.clone())),
            new: Some(Arc::new(new.clone())),
        };
        let bytes = row_update(table, &view, &change, differences);
        let length = bytes.len();
        let update = TableUpdate {
            table: "A".to_owned(),
            rows: vec![bytes],
        };
        let read = updates_from_proto(&schema, vec![update]).expect("it can be read");
        let (_, update) = &read.tables[0].1[0];
        let row = update.apply(&Contents::default_for(table), Some(old));
        (length, row.expect("the row is there"))
    }

    proptest! {
        #[test]
        fn both_forms_make_the_new_row_of_the_old(old in rows(), new in rows()) {
            prop_assert_eq!(&told(&old, &new, false).1, &new);
            prop_assert_eq!(&told(&old, &new, true).1, &new);
        }
    }

    #[test]
    fn an_element_that_joins_a_large_set_is_told_by_itself() {
        let row = |count: i64| {
            let set = Datum::set((0..count).map(Atom::from));
            Contents::new(vec![Datum::map([]), "x".into(), set, Datum::empty_set()])
        };
        for (old, new) in [(10_000, 10_001), (10_001, 10_000)] {
            let (length, read) = told(&row(old), &row(new), true);
            assert_eq!(read, row(new));
            assert!(length < 100, "{length} bytes");
        }
    }

    #[test]
    fn a_version_that_is_asked_for_is_told_in_both_forms() {
        let schema = schema();
        let table = &schema.tables[0];
        let columns = [ColumnRef::Version, ColumnRef::Column(1)];
        let view = TableMonitor::new(0, columns, Condition::everything());
        let row = |name: &str| {
            let (map, none) = (Datum::map([]), Datum::empty_set());
            Some(Arc::new(Contents::new(vec![
                map,
                name.into(),
                none.clone(),
                none,
            ])))
        };
        let change = RowChange {
            table: 0,
            uuid: Uuid::from_u128(1),
            old: row("x"),
            new: row("y"),
        };
        let version = |differences| {
            let bytes = row_update(table, &view, &change, differences);
            let update = RowUpdate::decode(bytes).expect("a message");
            let row = match update.change {
                Some(Change::Modified(row)) => row,
                Some(Change::Changed(changed)) => changed.replaced.unwrap_or_default(),
                other => panic!("{other:?}"),
            };
            row.columns.get("_version").cloned()
        };
        assert!(version(true).is_some());
        assert_eq!(version(true), version(false));
    }
}
