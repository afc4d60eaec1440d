//! The bindings that the southbound records.

use std::sync::Arc;

use ovsdb::{Atom, Row};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use crate::compiler::feature::Index;
use crate::compiler::unit::Unit;

/// Bindings by the names of their ports, those of routers among them.
pub const BINDINGS_BY_NAME: Index =
    Index::south::<PortBinding>(PortBinding::COLUMN.logical_port.index);

/// The binding that the southbound records for a name.
pub fn recorded<'a>(unit: &Unit<'a>, name: &Arc<str>) -> Option<(Uuid, &'a Row)> {
    unit.recorded(BINDINGS_BY_NAME, &Atom::String(Arc::clone(name)))
        .next()
}
