//! Rows, and how they change.

use std::sync::Arc;

use uuid::Uuid;

use crate::datum::Datum;
use crate::schema::TableSchema;

/// The columns of a row, in the order of its table's schema; without `_uuid` and `_version`, which are the
/// business of whoever keeps the row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    columns: Box<[Datum]>,
}

impl Row {
    /// A row of these columns, which must be as many as its table has, in the schema's order.
    pub fn new(columns: impl Into<Box<[Datum]>>) -> Self {
        Self {
            columns: columns.into(),
        }
    }

    /// A row of which every column has its default.
    pub fn default_for(table: &TableSchema) -> Self {
        Self {
            columns: table
                .columns
                .iter()
                .map(|column| Datum::default_for(&column.ty))
                .collect(),
        }
    }

    /// The contents of the column with this index in the table's schema.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn get(&self, column: usize) -> &Datum {
        &self.columns[column]
    }

    /// Puts `datum` into the column with this index. Nothing is checked against the schema.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn set(&mut self, column: usize, datum: Datum) {
        self.columns[column] = datum;
    }

    /// All columns, in the order of the table's schema.
    pub fn columns(&self) -> &[Datum] {
        &self.columns
    }

    /// What the `_version` column shows for the row `uuid` with these contents (RFC 7047, section 3.2): a UUID that
    /// differs when the contents do. It is a digest of them, so nobody has to store it, and all members of a cluster
    /// show the same.
    pub fn version(&self, uuid: Uuid) -> Uuid {
        let contents = serde_json::to_vec(&*self.columns).unwrap_or_default();
        Uuid::new_v5(&uuid, &contents)
    }
}

/// One row's part in a transaction: `old` is absent when the row came to be, `new` when it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The index of the row's table in the database's schema.
    pub table: usize,
    /// The row.
    pub uuid: Uuid,
    /// What it was before.
    pub old: Option<Arc<Row>>,
    /// What it is now.
    pub new: Option<Arc<Row>>,
}

impl RowChange {
    /// The same change backwards.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            table: self.table,
            uuid: self.uuid,
            old: self.new.clone(),
            new: self.old.clone(),
        }
    }

    /// The indexes of the columns that differ; for a row that came or went, those that are not in `other`'s sense
    /// equal to nothing, which is all of them.
    pub fn changed_columns(&self) -> impl Iterator<Item = usize> + '_ {
        let columns = self
            .new
            .as_ref()
            .or(self.old.as_ref())
            .map_or(0, |row| row.columns.len());
        (0..columns).filter(move |&index| match (&self.old, &self.new) {
            (Some(old), Some(new)) => old.get(index) != new.get(index),
            _ => true,
        })
    }
}
