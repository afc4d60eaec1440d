//! The list of a role, worked out for a schema: which operations it may do on which columns of which tables.

use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{Datum, Operation};

use super::roles::{Columns, List, Read, Rights};

/// What a role may do.
#[derive(Debug)]
pub struct Grants {
    /// Whether it may use locks.
    pub locks: bool,
    tables: Vec<TableGrants>,
}

#[derive(Debug)]
struct TableGrants {
    read: Read,
    insert: bool,
    delete: bool,
    /// By column, whether it may be updated, and whether it may be given when a row is inserted.
    update: Vec<bool>,
    give: Vec<bool>,
}

/// Why an operation is not allowed.
#[derive(Clone, Copy, Debug)]
pub struct Denied {
    /// The column, if it is for its sake.
    pub column: Option<usize>,
    /// In words.
    pub why: &'static str,
}

impl Grants {
    /// Works out a list.
    pub fn new(schema: &DatabaseSchema, list: &List) -> Self {
        let grants = |table: &TableSchema| {
            let own = list.tables.iter().find(|(name, _)| *name == &*table.name);
            TableGrants::new(table, own.map_or(&list.others, |(_, rights)| rights))
        };
        Self {
            locks: list.locks,
            tables: schema.tables.iter().map(grants).collect(),
        }
    }

    /// Whether a table may be read. One that does not exist may not.
    pub fn read(&self, table: usize) -> Read {
        self.tables.get(table).map_or(Read::No, |table| table.read)
    }

    /// Whether an operation is allowed, as far as its kind, its table and its columns tell.
    pub fn check(&self, schema: &DatabaseSchema, operation: &Operation) -> Result<(), Denied> {
        let denied = |why| Err(Denied { column: None, why });
        let table = match operation.table() {
            Some(table) => table,
            None if matches!(operation, Operation::Assert { .. }) && !self.locks => {
                return denied("the role may not use locks");
            }
            None => return Ok(()),
        };
        let grants = &self.tables[table];
        if grants.read != Read::Rows {
            return denied("the role does not list the table");
        }
        let column = |column, why| {
            let column = Some(column);
            Err(Denied { column, why })
        };
        let not_updated = "the role does not list the column among those that it may write";
        match operation {
            Operation::Insert { row, .. } => {
                if !grants.insert {
                    return denied("the role may not insert rows there");
                }
                let types = &schema.tables[table].columns;
                let unlisted = row.iter().find(|(column, datum)| {
                    !grants.give[*column] && *datum != Datum::default_for(&types[*column].ty)
                });
                unlisted.map_or(Ok(()), |(unlisted, _)| column(*unlisted, not_updated))
            }
            Operation::Delete { .. } if !grants.delete => {
                denied("the role may not delete rows there")
            }
            Operation::Update { .. } | Operation::Mutate { .. }
                if !grants.update.contains(&true) =>
            {
                denied("the role may only read it")
            }
            Operation::Update { row, .. } => {
                let unlisted = row.iter().find(|(column, _)| !grants.update[*column]);
                unlisted.map_or(Ok(()), |(unlisted, _)| column(*unlisted, not_updated))
            }
            Operation::Mutate { mutations, .. } => {
                let mut columns = mutations.iter().map(|mutation| mutation.column);
                let unlisted = columns.find(|column| !grants.update[*column]);
                unlisted.map_or(Ok(()), |unlisted| column(unlisted, not_updated))
            }
            _ => Ok(()),
        }
    }
}

impl TableGrants {
    fn new(table: &TableSchema, rights: &Rights) -> Self {
        let columns = |columns: &Columns| -> Vec<bool> {
            let names = table.columns.iter().map(|column| &*column.name);
            match columns {
                Columns::None => names.map(|_| false).collect(),
                Columns::All => names.map(|_| true).collect(),
                Columns::Only(listed) => names.map(|name| listed.contains(&name)).collect(),
                Columns::AllBut(listed) => names.map(|name| !listed.contains(&name)).collect(),
            }
        };
        let update = columns(&rights.update);
        let fixed = columns(&rights.fixed);
        let give = update.iter().zip(&fixed).map(|(a, b)| *a || *b).collect();
        Self {
            read: rights.read,
            insert: rights.insert,
            delete: rights.delete,
            update,
            give,
        }
    }
}
