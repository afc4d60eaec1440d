//! `Chassis`: what northd needs to know of the machines.

use std::sync::Arc;

use ovsdb::Row;
use sb_db::tables::Chassis as ChassisTable;
use uuid::Uuid;

/// A chassis, as ports name it in `options:requested-chassis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chassis {
    /// The row.
    pub uuid: Uuid,
    /// `name`.
    pub name: Arc<str>,
    /// `hostname`; empty if not told.
    pub hostname: Arc<str>,
}

impl Chassis {
    /// Reads a row; every row is a chassis.
    pub fn parse(uuid: Uuid, row: &Row) -> Self {
        let column = ChassisTable::COLUMN;
        Self {
            uuid,
            name: column.name.get(row),
            hostname: column.hostname.get(row),
        }
    }
}
