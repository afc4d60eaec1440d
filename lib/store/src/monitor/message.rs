//! A row's change as gRPC clients are told of it.

use ovsdb::monitor::TableMonitor;
use ovsdb::schema::TableSchema;
use ovsdb::{ColumnRef, Datum, RowChange};
use rpc::convert::datum_to_proto;
use rpc::v1::row_update::Change;
use rpc::v1::{Done, Row, RowUpdate};

/// The change, as far as the columns of a view show it.
pub fn row_update(table: &TableSchema, view: &TableMonitor, change: &RowChange) -> RowUpdate {
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
    let change = match new {
        None => Change::Deleted(Done {}),
        Some(row) => {
            let column = |column: ColumnRef| {
                let datum = datum_to_proto(&column.of(*uuid, row));
                (column.name(table).to_owned(), datum)
            };
            let columns = shown.filter(differs).map(column).collect();
            let row = Row { columns };
            match old {
                None => Change::Inserted(row),
                Some(_) => Change::Modified(row),
            }
        }
    };
    RowUpdate {
        uuid: uuid.as_bytes().to_vec(),
        change: Some(change),
    }
}
