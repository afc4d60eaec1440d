//! What may be in the way of a row that the database would not take.
//!
//! Seen from a row that was set aside: another row of its table that had its name or key; a row that refers to it, so that
//! it cannot go; a row that it refers to and that was not there. Everything else that happens to a table, such as a
//! controller that claims a port, is in nobody's way.

use ovsdb::RowChange;
use ovsdb::schema::{DatabaseSchema, TableSchema};

/// For each table, whose rows its changes may let pass.
pub(super) struct Ways(Vec<Vec<Way>>);

struct Way {
    /// The table of rows that were set aside.
    of: usize,
    /// Whether it matters that a row comes.
    comes: bool,
    /// Whether it matters that a row goes, and which columns of it matter.
    goes: bool,
    columns: Vec<usize>,
}

impl Ways {
    /// The ways of a database.
    pub(super) fn new(schema: &DatabaseSchema) -> Self {
        let of = |from: usize| {
            (0..schema.tables.len())
                .filter_map(|to| way(schema, from, to))
                .collect()
        };
        Self((0..schema.tables.len()).map(of).collect())
    }

    /// The tables of which rows may be taken now that were not before.
    pub(super) fn opened<'a>(&'a self, change: &'a RowChange) -> impl Iterator<Item = usize> + 'a {
        let ways = self.0.get(change.table).into_iter().flatten();
        ways.filter(|way| match (&change.old, &change.new) {
            (None, Some(_)) => way.comes,
            (Some(_), None) => way.goes,
            (Some(old), Some(new)) => {
                let mut columns = way.columns.iter();
                columns.any(|column| old.get(*column) != new.get(*column))
            }
            (None, None) => false,
        })
        .map(|way| way.of)
    }
}

/// What rows of `from` may be to rows of `to`.
fn way(schema: &DatabaseSchema, from: usize, to: usize) -> Option<Way> {
    let (source, target) = (&schema.tables[from], &schema.tables[to]);
    let mut columns = references(source, target);
    let goes = from == to || !columns.is_empty();
    if from == to {
        columns.extend(source.indexes.iter().flatten());
    }
    let comes = from != to && !references(target, source).is_empty();
    (comes || goes).then_some(Way {
        of: to,
        comes,
        goes,
        columns,
    })
}

/// The columns of a table that refer to another.
fn references(from: &TableSchema, to: &TableSchema) -> Vec<usize> {
    let refers = |base: &ovsdb::schema::BaseType| {
        let target = base.reference();
        target.is_some_and(|(target, _)| **target == *to.name)
    };
    let columns = from.columns.iter().enumerate();
    let columns = columns.filter(|(_, column)| {
        refers(&column.ty.key) || column.ty.value.as_ref().is_some_and(refers)
    });
    columns.map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::typed::Table;
    use ovsdb::{Datum, Row};
    use sb_db::tables::{DatapathBinding, MacBinding, PortBinding};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_controllers_say_of_a_port_is_in_nobodys_way() {
        let ways = Ways::new(sb_db::schema());
        let row = |table: usize, column: Option<usize>| {
            let mut row = Row::default_for(&sb_db::schema().tables[table]);
            if let Some(column) = column {
                let text = &sb_db::schema().tables[table].columns[column].name;
                let datum = match &**text {
                    "tunnel_key" => Datum::from(7),
                    "chassis" | "datapath" => Datum::from(Uuid::max()),
                    _ => Datum::from("other"),
                };
                row.set(column, datum);
            }
            Some(Arc::new(row))
        };
        let opens = |of: usize, table: usize, old, new| {
            let change = RowChange {
                table,
                uuid: Uuid::nil(),
                old,
                new,
            };
            ways.opened(&change).any(|table| table == of)
        };
        let (ports, datapaths, neighbours) = (
            PortBinding::INDEX,
            DatapathBinding::INDEX,
            MacBinding::INDEX,
        );
        let column = PortBinding::COLUMN;
        let updates = [
            (column.chassis.index, false),
            (column.r#type.index, false),
            (column.tunnel_key.index, true),
            (column.logical_port.index, true),
        ];
        for (column, expected) in updates {
            let (old, new) = (row(ports, None), row(ports, Some(column)));
            assert_eq!(opens(ports, ports, old, new), expected, "column {column}");
        }
        assert!(opens(ports, ports, row(ports, None), None));
        assert!(!opens(ports, ports, None, row(ports, None)));
        assert!(opens(ports, datapaths, None, row(datapaths, None)));
        assert!(!opens(ports, datapaths, row(datapaths, None), None));
        assert!(opens(datapaths, neighbours, row(neighbours, None), None));
        let moved = row(neighbours, Some(MacBinding::COLUMN.datapath.index));
        assert!(opens(datapaths, neighbours, row(neighbours, None), moved));
        let known = row(neighbours, Some(MacBinding::COLUMN.mac.index));
        assert!(!opens(datapaths, neighbours, row(neighbours, None), known));
    }
}
