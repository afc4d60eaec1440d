//! Operations on the local database that several parts need.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};

use crate::vswitch::{Bridge, Interface, Port};

pub(super) type Strings = BTreeMap<Arc<str>, Arc<str>>;

/// Inserts a row; returns its identity.
pub(super) fn insert<T: Table + TableDefinition>(operations: &mut Vec<Operation>, row: &T) -> Uuid {
    let uuid = Uuid::new_v4();
    let columns = row
        .to_row()
        .columns()
        .iter()
        .cloned()
        .enumerate()
        .filter(|(_, datum)| !datum.is_empty())
        .collect();
    operations.push(Operation::Insert {
        table: T::INDEX,
        uuid,
        row: columns,
    });
    uuid
}

/// Whether a key says `true`.
pub(super) fn truth(pairs: &Strings, key: &str) -> bool {
    ovsdb::truth(pairs.get(key), false)
}

/// Whether the values of these columns are others than before; a row that comes or goes has others.
pub(super) fn differs(change: &RowChange, columns: &[usize]) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => columns.iter().any(|c| old.get(*c) != new.get(*c)),
        _ => true,
    }
}

/// Whether the values of these keys of a map are others than before; a row that is not there has none.
pub(super) fn keys_differ(change: &RowChange, column: usize, keys: &[&str]) -> bool {
    let value = |row: Option<&Arc<Row>>, key: &str| {
        let value = row.and_then(|row| row.get(column).get_str(key));
        value.map(str::to_owned)
    };
    let (old, new) = (change.old.as_ref(), change.new.as_ref());
    keys.iter().any(|key| value(old, key) != value(new, key))
}

/// Adds a port with one interface, of the same name, to a bridge. Returns its identity.
pub(super) fn add_port(
    bridge: Uuid,
    interface: &Interface,
    external_ids: Strings,
    operations: &mut Vec<Operation>,
) -> Uuid {
    let name = interface.name.clone();
    let interface = insert(operations, interface);
    let port = Port {
        name,
        interfaces: vec![interface],
        external_ids,
        ..Port::default()
    };
    let port = insert(operations, &port);
    let add = Mutation::new(
        Bridge::COLUMN.ports.index,
        Mutator::Insert,
        Datum::One(Atom::Uuid(port)),
    );
    operations.push(Operation::mutate_row(Bridge::INDEX, bridge, vec![add]));
    port
}

/// Takes a port out of its bridge; port and interface go with the last reference to them.
pub(super) fn remove_port(bridge: Uuid, port: Uuid) -> Operation {
    let remove = Mutation::new(
        Bridge::COLUMN.ports.index,
        Mutator::Delete,
        Datum::One(Atom::Uuid(port)),
    );
    Operation::mutate_row(Bridge::INDEX, bridge, vec![remove])
}

/// Sets a key of a map. An insertion leaves a present key alone, so the key is removed first.
pub(super) fn set_key(column: usize, key: &str, value: &str) -> Vec<Mutation> {
    let pair: Strings = [(key.into(), value.into())].into();
    vec![
        drop_keys(column, [key]),
        Mutation::new(column, Mutator::Insert, pair.to_datum()),
    ]
}

/// Removes keys of a map.
pub(super) fn drop_keys<'a>(column: usize, keys: impl IntoIterator<Item = &'a str>) -> Mutation {
    let keys = Datum::set(keys.into_iter().map(|key| Atom::String(key.into())));
    Mutation::new(column, Mutator::Delete, keys)
}
