//! What a schema says about a table, worked out once: which columns refer to which tables, which may change, and what
//! a new row is.

use ovsdb::error::Error;
use ovsdb::schema::{BaseType, DatabaseSchema, RefKind, TableSchema};
use ovsdb::{Atom, Datum, Row, Uuid};

/// A row anywhere in the database: the index of its table, and its identity.
pub(crate) type RowId = (usize, Uuid);

/// What the schema says about one table.
#[derive(Debug)]
pub(crate) struct TableFacts {
    /// Columns whose references keep their targets alive.
    pub(crate) strong: Vec<RefColumn>,
    /// Columns whose references vanish with their targets.
    pub(crate) weak: Vec<RefColumn>,
    /// Whether each column may be changed. One with weak references may: they go when their targets do.
    pub(crate) mutable: Vec<bool>,
    /// A row of which every column has its default.
    pub(crate) default_row: Row,
    /// The columns whose default the schema does not allow, so that an insert has to give them.
    pub(crate) unfit_defaults: Vec<(usize, Error)>,
}

/// A column that refers to other rows, with references of one kind.
#[derive(Debug)]
pub(crate) struct RefColumn {
    /// The column's index in its table.
    pub(crate) column: usize,
    /// The table to which elements, or keys, refer.
    key: Option<usize>,
    /// The table to which a map's values refer.
    value: Option<usize>,
}

impl TableFacts {
    /// The facts about every table, in the schema's order.
    pub(crate) fn of_schema(schema: &DatabaseSchema) -> Vec<Self> {
        let target = |base: &BaseType, kind: RefKind| {
            let (table, its_kind) = base.reference()?;
            (its_kind == kind)
                .then(|| schema.table_index(table))
                .flatten()
        };
        let of_kind = |table: usize, kind: RefKind| {
            let columns = schema.tables[table].columns.iter().enumerate();
            columns
                .filter_map(|(column, c)| {
                    let key = target(&c.ty.key, kind);
                    let value = c.ty.value.as_ref().and_then(|value| target(value, kind));
                    (key.is_some() || value.is_some()).then_some(RefColumn { column, key, value })
                })
                .collect()
        };
        let facts = |(index, table): (usize, &TableSchema)| {
            let weak: Vec<RefColumn> = of_kind(index, RefKind::Weak);
            let is_weak = |column| weak.iter().any(|c| c.column == column);
            let columns = table.columns.iter().enumerate();
            Self {
                strong: of_kind(index, RefKind::Strong),
                mutable: columns.map(|(i, c)| c.mutable || is_weak(i)).collect(),
                default_row: Row::default_for(table),
                unfit_defaults: unfit_defaults(table),
                weak,
            }
        };
        schema.tables.iter().enumerate().map(facts).collect()
    }
}

fn unfit_defaults(table: &TableSchema) -> Vec<(usize, Error)> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter_map(|(index, column)| {
            let error = Datum::default_for(&column.ty).check(&column.ty).err()?;
            let place = format!("column {}, which has no value", column.name);
            Some((index, Error::from(error).within(&place)))
        })
        .collect()
}

impl RefColumn {
    /// Every reference in the column's contents; a row may be named several times.
    pub(crate) fn targets<'d>(&self, datum: &'d Datum) -> impl Iterator<Item = RowId> + use<'d> {
        let (key, value) = (self.key, self.value);
        let elements = datum
            .atoms()
            .iter()
            .filter_map(move |atom| Some((key?, atom.as_uuid()?)));
        let pairs = datum.pairs().iter().flat_map(move |(k, v)| {
            let k = key.and_then(|table| Some((table, k.as_uuid()?)));
            let v = value.and_then(|table| Some((table, v.as_uuid()?)));
            k.into_iter().chain(v)
        });
        elements.chain(pairs)
    }

    /// The contents without the elements and pairs whose references `keep` denies, and how many those are.
    pub(crate) fn retain(
        &self,
        datum: &Datum,
        keep: &mut dyn FnMut(RowId) -> bool,
    ) -> (Datum, usize) {
        let mut keeps = |table: Option<usize>, atom: &Atom| match (table, atom.as_uuid()) {
            (Some(table), Some(uuid)) => keep((table, uuid)),
            _ => true,
        };
        let kept = match datum {
            Datum::Map(pairs) => Datum::map(
                pairs
                    .iter()
                    .filter(|(k, v)| keeps(self.key, k) && keeps(self.value, v))
                    .cloned(),
            ),
            Datum::One(_) | Datum::Set(_) => Datum::set(
                datum
                    .atoms()
                    .iter()
                    .filter(|atom| keeps(self.key, atom))
                    .cloned(),
            ),
        };
        let dropped = datum.len() - kept.len();
        (kept, dropped)
    }

    /// Whether the row refers to `target` through this column.
    pub(crate) fn refers(&self, row: &Row, target: RowId) -> bool {
        let datum = row.get(self.column);
        if datum.pairs().is_empty() {
            self.key == Some(target.0) && datum.contains(&Atom::Uuid(target.1))
        } else {
            self.targets(datum).any(|other| other == target)
        }
    }
}

/// Tells `each` about every reference that a change of a row takes away (`false`) or adds (`true`), and the column.
///
/// Contents that stay cost a comparison: adding a port to a switch of ten thousand tells one reference.
pub(crate) fn changed_references(
    columns: &[RefColumn],
    old: Option<&Row>,
    new: Option<&Row>,
    each: &mut dyn FnMut(&RefColumn, RowId, bool),
) {
    for column in columns {
        let old = old.map(|row| row.get(column.column));
        let new = new.map(|row| row.get(column.column));
        match (old, new) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) if !matches!(old, Datum::Map(_)) => {
                let (mut old, mut new) = (
                    column.targets(old).peekable(),
                    column.targets(new).peekable(),
                );
                loop {
                    let (gone, added) = match (old.peek(), new.peek()) {
                        (None, None) => break,
                        (Some(_), None) => (true, false),
                        (None, Some(_)) => (false, true),
                        (Some(a), Some(b)) => (a <= b, b <= a),
                    };
                    let a = if gone { old.next() } else { None };
                    let b = if added { new.next() } else { None };
                    match (a, b) {
                        (Some(target), None) => each(column, target, false),
                        (None, Some(target)) => each(column, target, true),
                        _ => {}
                    }
                }
            }
            _ => {
                for target in old.into_iter().flat_map(|datum| column.targets(datum)) {
                    each(column, target, false);
                }
                for target in new.into_iter().flat_map(|datum| column.targets(datum)) {
                    each(column, target, true);
                }
            }
        }
    }
}
