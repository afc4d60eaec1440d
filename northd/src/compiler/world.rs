//! Everything that units may read.

use std::cell::RefCell;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Row};
use relations::{IndexId, Rows, Values};
use smallvec::SmallVec;

use super::fact::TableId;
use super::source::{Index, Owned, Side};

/// Columns of a row of which only few are said.
type Columns = SmallVec<[(usize, Datum); 2]>;
/// What is owned of others' rows: side, table, first column, and of a column that several own by keys the first of ours.
pub type Place = (Side, usize, usize, &'static str);

/// Where owned columns are; nowhere, if there are none.
pub fn place(
    side: Side,
    table: usize,
    columns: &[usize],
    keys: &[(usize, &'static [&'static str])],
) -> Option<Place> {
    let key = keys.first().and_then(|(_, names)| names.first());
    Some((
        side,
        table,
        *columns.first()?,
        key.copied().unwrap_or_default(),
    ))
}

/// The inputs of the compiler, and what has been derived of them.
pub struct World {
    /// The northbound database.
    pub north: Rows,
    /// The southbound database, as far as northd writes it or reads it.
    pub south: Rows,
    /// What units have said.
    pub values: Values,
    /// Where each table that is owned as a whole stands in the order of writing, by its index in the southbound schema.
    pub tables: Vec<Option<TableId>>,
    /// The same for those whose columns are owned, or keys of columns.
    pub columns: Vec<(Place, TableId)>,
    /// Rows with all defaults, by side and table.
    templates: [Vec<Row>; 2],
    indexes: Vec<(Index, IndexId)>,
    /// The last row said of each table of columns, and what it was made of: most say the same, such as that a port is down, and
    /// share it.
    last: RefCell<Vec<(TableId, Columns, Arc<Row>)>>,
    /// Room for the text of a flow, used again and again.
    pub(super) text: RefCell<String>,
    /// The time of the present step, in milliseconds since 1970.
    pub now_ms: i64,
    /// The version of this northd.
    pub version: Arc<str>,
    /// Tells which values of southbound enumerations the server does not know, as `TABLE.COLUMN=VALUE`, and which tables
    /// and columns it lacks.
    pub missing: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl World {
    /// A world without rows.
    pub fn new(
        version: &str,
        tables: Vec<Option<TableId>>,
        columns: Vec<(Place, TableId)>,
        missing: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Self {
        let (north, south) = (nb_db::schema(), sb_db::schema());
        let templates = |schema: &DatabaseSchema| -> Vec<Row> {
            schema.tables.iter().map(Row::default_for).collect()
        };
        Self {
            templates: [templates(north), templates(south)],
            north: Rows::new(north, 0),
            south: Rows::new(south, 1),
            values: Values::default(),
            tables,
            columns,
            indexes: Vec::new(),
            last: RefCell::default(),
            text: RefCell::default(),
            now_ms: 0,
            version: Arc::from(version),
            missing,
        }
    }

    /// Where columns that a feature owns stand in the order of writing.
    pub fn columns_table(&self, owned: &Owned) -> Option<TableId> {
        let place = place(owned.side, owned.table, owned.columns, owned.keys)?;
        let known = self.columns.iter().find(|(known, _)| *known == place);
        known.map(|(_, table)| *table)
    }

    /// The rows of a database.
    pub fn rows(&self, side: Side) -> &Rows {
        match side {
            Side::North => &self.north,
            Side::South => &self.south,
        }
    }

    /// The rows of a database, to be changed.
    pub fn rows_mut(&mut self, side: Side) -> &mut Rows {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }

    /// Makes an index.
    pub fn declare(&mut self, index: Index) {
        let id = self.rows_mut(index.side).index(index.table, index.column);
        if !self.indexes.contains(&(index, id)) {
            self.indexes.push((index, id));
        }
    }

    /// The index that a feature has declared.
    ///
    /// # Panics
    /// When none has.
    pub fn index(&self, index: Index) -> IndexId {
        let known = self.indexes.iter().find(|(known, _)| *known == index);
        known.expect("features declare the indexes that they use").1
    }

    /// A row that has only columns of one owner: the last one if it is equal, so that equal rows cost memory once.
    pub fn shared_row(
        &self,
        side: Side,
        (table, id): (usize, TableId),
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) -> Arc<Row> {
        let columns: Columns = columns.into_iter().collect();
        let mut last = self.last.borrow_mut();
        let place = last.iter().position(|(of, ..)| *of == id);
        if let Some((_, said, row)) = place.map(|place| &last[place])
            && *said == columns
        {
            return Arc::clone(row);
        }
        let row = self.row(side, table, columns.iter().cloned());
        let said = (id, columns, Arc::clone(&row));
        match place {
            Some(place) => last[place] = said,
            None => last.push(said),
        }
        row
    }

    /// A row with these columns, the others at their defaults.
    pub fn row(
        &self,
        side: Side,
        table: usize,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) -> Arc<Row> {
        let defaults = self.templates[side as usize][table].columns();
        let mut row: Vec<Datum> = Vec::with_capacity(defaults.len());
        for (column, datum) in columns {
            debug_assert!(column < defaults.len(), "the table has these columns");
            // Of several for one column, the last counts.
            if let Some(said) = row.get_mut(column) {
                *said = datum;
                continue;
            }
            row.extend_from_slice(&defaults[row.len()..column]);
            row.push(datum);
        }
        row.extend_from_slice(&defaults[row.len()..]);
        Arc::new(Row::new(row))
    }
}
