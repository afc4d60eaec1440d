//! Typed access, for tables of our own schemas.

use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Column, Datum, Mutation, Mutator, Uuid};

use super::changes::Draft;
use crate::error::DraftError;

impl Draft<'_> {
    /// The index of table `T`, which the server must have.
    pub fn table_of<T: TableDefinition>(&self) -> Result<usize, DraftError> {
        match self.schema().table_index(T::NAME) {
            Some(table) if self.before().has_table(table) => Ok(table),
            _ => Err(DraftError::NoTable(T::NAME)),
        }
    }

    /// The indexes of table `T` and the column, which the server must have.
    pub fn column_of<T: TableDefinition, V>(
        &self,
        column: Column<V>,
    ) -> Result<(usize, usize), DraftError> {
        let table = self.table_of::<T>()?;
        if self.before().has_column(table, column.index) {
            Ok((table, column.index))
        } else {
            Err(DraftError::NoColumn {
                table: T::NAME,
                column: column.name,
            })
        }
    }

    /// What a column of a row holds; the default if the row or the column is not there.
    pub fn get<T: TableDefinition, V: ColumnValue>(&self, uuid: Uuid, column: Column<V>) -> V {
        let datum = self
            .column_of::<T, V>(column)
            .ok()
            .and_then(|(table, column)| Some(self.row(table, uuid)?.get(column)));
        match datum {
            Some(datum) => V::from_datum(datum),
            None => V::from_datum(&Datum::empty_set()),
        }
    }

    /// A row as a struct; columns that the server does not have hold their defaults.
    pub fn typed<T: TableDefinition>(&self, uuid: Uuid) -> Option<T> {
        let table = self.table_of::<T>().ok()?;
        Some(T::from_row(uuid, self.row(table, uuid)?))
    }

    /// All rows of a table as structs.
    pub fn all<T: TableDefinition>(&self) -> Vec<T> {
        let Ok(table) = self.table_of::<T>() else {
            return Vec::new();
        };
        self.rows(table)
            .map(|(uuid, row)| T::from_row(uuid, row))
            .collect()
    }

    /// The UUIDs of the rows that have `value` in `column`.
    pub fn find<T: TableDefinition, V: ColumnValue>(
        &self,
        column: Column<V>,
        value: &V,
    ) -> Vec<Uuid> {
        let Ok((table, column)) = self.column_of::<T, V>(column) else {
            return Vec::new();
        };
        self.rows_with(table, column, &value.to_datum())
    }

    /// The rows that have `member` among the elements of `column`: those that it belongs to.
    pub fn find_containing<T: TableDefinition>(
        &self,
        column: Column<Vec<Uuid>>,
        member: Uuid,
    ) -> Vec<Uuid> {
        match self.column_of::<T, _>(column) {
            Ok((table, column)) => self.rows_containing(table, column, &Atom::Uuid(member)),
            Err(_) => Vec::new(),
        }
    }

    /// Makes a row of these contents, and says its UUID. It is an error if the server lacks a column that says
    /// something.
    pub fn insert_as<T: TableDefinition>(&mut self, contents: &T) -> Result<Uuid, DraftError> {
        let table = self.table_of::<T>()?;
        let uuid = Uuid::new_v4();
        self.insert_row(table, uuid);
        let (row, default) = (contents.to_row(), T::default().to_row());
        for &(column, _) in T::COLUMN_DOCS {
            let schema = self.table_schema(table);
            let Some(place) = schema.column_index(column) else {
                continue;
            };
            if row.get(place) == default.get(place) {
                continue;
            }
            if !self.before().has_column(table, place) {
                return Err(DraftError::NoColumn {
                    table: T::NAME,
                    column,
                });
            }
            self.write(table, uuid, place, row.get(place).clone());
        }
        Ok(uuid)
    }

    /// Makes a row of defaults, and says its UUID.
    pub fn insert<T: TableDefinition>(&mut self) -> Result<Uuid, DraftError> {
        let table = self.table_of::<T>()?;
        let uuid = Uuid::new_v4();
        self.insert_row(table, uuid);
        Ok(uuid)
    }

    /// Deletes a row.
    pub fn delete<T: TableDefinition>(&mut self, uuid: Uuid) -> Result<(), DraftError> {
        let table = self.table_of::<T>()?;
        self.delete_row(table, uuid);
        Ok(())
    }

    /// Overwrites a column.
    pub fn set<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        value: &V,
    ) -> Result<(), DraftError> {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.write(table, uuid, column, value.to_datum());
        Ok(())
    }

    /// Adds elements or pairs to a column.
    pub fn add_to<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        elements: &V,
    ) -> Result<(), DraftError> {
        let (table, column) = self.column_of::<T, V>(column)?;
        let mutation = Mutation::new(column, Mutator::Insert, elements.to_datum());
        self.mutate(table, uuid, mutation);
        Ok(())
    }

    /// Takes elements or pairs out of a column.
    pub fn remove_from<T: TableDefinition, V: ColumnValue>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
        elements: &V,
    ) -> Result<(), DraftError> {
        let (table, column) = self.column_of::<T, V>(column)?;
        let mutation = Mutation::new(column, Mutator::Delete, elements.to_datum());
        self.mutate(table, uuid, mutation);
        Ok(())
    }

    /// Makes the transaction depend on the rows with this value in this column being those from before.
    pub fn rely_on_value<T: TableDefinition, V: ColumnValue>(
        &mut self,
        column: Column<V>,
        value: &V,
    ) -> Result<(), DraftError> {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.expect_no_other(table, column, value.to_datum());
        Ok(())
    }

    /// Makes the transaction depend on a column still holding what was there before.
    pub fn rely_on<T: TableDefinition, V>(
        &mut self,
        uuid: Uuid,
        column: Column<V>,
    ) -> Result<(), DraftError> {
        let (table, column) = self.column_of::<T, V>(column)?;
        self.verify(table, uuid, column);
        Ok(())
    }
}
