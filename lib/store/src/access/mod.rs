//! What a client may do.
//!
//! A client is a [`Caller`]: a role, and a name that its certificate vouches for. The shell finds out both when
//! the client connects ([`rule`]); from there on the caller goes with every request, also to another member of the
//! cluster. The check itself is made where operations are executed, on the head of the leader: so it is one for both
//! protocols, for clients of every member, and for every operation.
//!
//! ```text
//!   listener's rule + certificate ──▶ Caller ──▶ Attempt ──(Forward)──▶ leader: execute with a Permission
//!                                        └──▶ monitors, locks, administration: checked by the member itself
//! ```
//!
//! What a role may do is data: [`roles`] lists the tables and columns of each, and what is not listed is denied. The
//! role of a chassis has, beside its list, rules about rows ([`chassis`]): it writes its own ones only.
//!
//! A client without a role of its own ([`Role::Admin`]) is not checked at all, as with Open vSwitch's server.

mod chassis;
mod grants;
mod roles;
pub mod rule;

use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, Error, Operation, Row, RowChange, Uuid};
use table::{Database, Permission};

use self::chassis::{Chassis, Touch};
use self::grants::Grants;
use self::roles::Read;
use crate::caller::{Caller, Role, refusal};
use crate::event::Request;
use crate::monitor::View;
use crate::session::DatabaseId;

/// What the roles may do in the database of one schema.
#[derive(Debug)]
pub struct Access {
    schema: Arc<DatabaseSchema>,
    writer: Grants,
    reader: Grants,
    northd: Grants,
    chassis: Grants,
    nobody: Grants,
    rows: Option<Chassis>,
}

impl Access {
    /// Works out the lists of the roles for a schema.
    pub fn new(schema: &Arc<DatabaseSchema>) -> Self {
        let of = |role| Grants::new(schema, roles::list(&schema.name, role));
        Self {
            writer: of(&Role::Writer),
            reader: of(&Role::Reader),
            northd: of(&Role::Northd),
            chassis: of(&Role::Chassis),
            nobody: of(&Role::Unknown("".into())),
            rows: Chassis::new(schema),
            schema: schema.clone(),
        }
    }

    /// What the client may do, for the execution of its transactions; `None` if that is everything.
    pub fn permission<'a>(&'a self, caller: &'a Caller) -> Option<impl Permission + 'a> {
        let grants = self.grants(caller)?;
        let rows = self.rows.as_ref();
        Some(Gate {
            access: self,
            caller,
            grants,
            rows: rows.filter(|_| caller.role == Role::Chassis),
        })
    }

    /// A client has come: what its role's rules ask about is going to be found quickly.
    pub fn foresee(&self, caller: &Caller, database: &mut Database) {
        if caller.role == Role::Chassis
            && let Some(rows) = &self.rows
        {
            rows.foresee(database);
        }
    }

    /// Sees to it that the rows by which a client is checked are found without looking at all of them.
    pub fn prepare(&self, caller: &Caller, database: &mut Database) {
        if caller.role == Role::Chassis
            && let Some(rows) = &self.rows
        {
            rows.prepare(database);
        }
    }

    /// Whether the client may ask for this at all, and what of it. Transactions are checked when they are executed.
    pub fn check_request(&self, caller: &Caller, request: &mut Request) -> Result<(), Error> {
        let Some(grants) = self.grants(caller) else {
            return Ok(());
        };
        let denied = |what: &str| Err(refusal(caller, what, "this role has no right to it"));
        match request {
            Request::Monitor {
                database: DatabaseId::Main,
                view,
                ..
            } => self.check_view(caller, grants, view),
            Request::Lock { name, .. } | Request::Unlock { name } if !grants.locks => {
                denied(&format!("lock or unlock \"{name}\""))
            }
            Request::Status => caller.check_sees_cluster(),
            Request::ChangeMembers(_) => caller.check_administers("change the cluster's members"),
            Request::Transfer { .. } => caller.check_administers("pass on the leadership"),
            // `_Server` tells every client where the leader is.
            Request::Transact { .. }
            | Request::Cancel { .. }
            | Request::Monitor { .. }
            | Request::ChangeConditions { .. }
            | Request::CancelMonitor { .. }
            | Request::Lock { .. }
            | Request::Unlock { .. } => Ok(()),
        }
    }

    /// Takes out of the new conditions of a monitor of the main database what the client may not see.
    pub fn narrow(&self, caller: &Caller, conditions: &mut [(usize, Condition)]) {
        let Some(grants) = self.grants(caller) else {
            return;
        };
        for (table, condition) in conditions {
            if grants.read(*table) != Read::Rows {
                *condition = Condition::nothing();
            }
        }
    }

    fn check_view(&self, caller: &Caller, grants: &Grants, view: &mut View) -> Result<(), Error> {
        for (monitor, condition) in &mut view.tables {
            match grants.read(monitor.table) {
                Read::Rows => {}
                Read::Empty => *condition = Condition::nothing(),
                Read::No => {
                    let table = &self.schema.tables[monitor.table].name;
                    let what = format!("monitor table {table}");
                    return Err(refusal(caller, &what, "the role does not list the table"));
                }
            }
        }
        Ok(())
    }

    /// `None` for those who may do everything.
    fn grants(&self, caller: &Caller) -> Option<&Grants> {
        match caller.role {
            Role::Admin => None,
            Role::Writer => Some(&self.writer),
            Role::Reader => Some(&self.reader),
            Role::Northd => Some(&self.northd),
            Role::Chassis => Some(&self.chassis),
            Role::Unknown(_) => Some(&self.nobody),
        }
    }
}

/// A client that asks for something of a database.
struct Gate<'a> {
    access: &'a Access,
    caller: &'a Caller,
    grants: &'a Grants,
    rows: Option<&'a Chassis>,
}

impl Gate<'_> {
    fn refuse(&self, operation: &Operation, place: &str, why: &str) -> Error {
        let table = operation.table().map(|table| self.table(table));
        let what = match table {
            Some(table) => format!("{} {place}table {table}", operation.name()),
            None => operation.name().to_owned(),
        };
        refusal(self.caller, &what, why)
    }

    fn table(&self, table: usize) -> &str {
        &self.access.schema.tables[table].name
    }
}

impl Permission for Gate<'_> {
    fn operation(&self, _: &Database, operation: &Operation) -> Result<(), Error> {
        let schema = &self.access.schema;
        self.grants
            .check(schema, operation)
            .map_err(|denied| match denied.column {
                Some(column) => {
                    let table = operation.table().unwrap_or_default();
                    let column = &schema.tables[table].columns[column].name;
                    self.refuse(operation, &format!("column {column} of "), denied.why)
                }
                None => self.refuse(operation, "", denied.why),
            })
    }

    fn row(
        &self,
        database: &Database,
        operation: &Operation,
        uuid: Uuid,
        row: &Row,
    ) -> Result<(), Error> {
        let (Some(rows), Some(table)) = (self.rows, operation.table()) else {
            return Ok(());
        };
        let touch = match operation {
            Operation::Delete { .. } => Touch::Delete,
            _ => Touch::Update,
        };
        rows.may_touch(database, &self.caller.name, (table, row), touch)
            .map_err(|why| self.refuse(operation, &format!("row {uuid} of "), &why))
    }

    fn outcome(&self, database: &Database, change: &RowChange) -> Result<(), Error> {
        let Some(rows) = self.rows else {
            return Ok(());
        };
        rows.may_become(database, &self.caller.name, change)
            .map_err(|denied| {
                let table = self.table(change.table);
                let column = match denied.column {
                    Some(column) => format!("column {column} of "),
                    None => String::new(),
                };
                let what = format!("write {column}row {} of table {table}", change.uuid);
                refusal(self.caller, &what, &denied.why)
            })
    }
}

#[cfg(test)]
mod tests;
