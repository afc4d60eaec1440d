//! Where changes enter: rows of both databases, and the indexes over them.

use std::sync::Arc;

use incr::{Changes, Index};
use nb_db::tables as nb;
use ovsdb::typed::Table;
use ovsdb::{Datum, Row, RowChange};
use sb_db::tables as sb;
use uuid::Uuid;

use super::Compiler;
use super::cell::{Cell, Source, Unit, digest};

impl Compiler {
    /// Takes up a change of a northbound row. Tables that are not compiled are ignored.
    pub fn northbound(&mut self, change: &RowChange, changes: &mut Changes<Cell, Unit>) {
        let Some(source) = source(change.table) else {
            return;
        };
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        match source {
            Source::Switch => {
                let column = nb::LogicalSwitch::COLUMN.ports.index;
                reindex(
                    &mut self.owners,
                    changes,
                    change.uuid,
                    refs(old, column),
                    refs(new, column),
                );
            }
            Source::Port => {
                let column = nb::LogicalSwitchPort::COLUMN.name.index;
                rename(
                    &mut self.port_names,
                    changes,
                    change.uuid,
                    text(old, column),
                    text(new, column),
                );
            }
            Source::AddressSet => {
                let column = nb::AddressSet::COLUMN.name.index;
                rename(
                    &mut self.set_names,
                    changes,
                    change.uuid,
                    text(old, column),
                    text(new, column),
                );
            }
            Source::Dhcp | Source::PortGroup => {}
        }
        match &change.new {
            Some(row) => {
                let was_there = self.nb_rows.peek((source, change.uuid)).is_some();
                self.nb_rows
                    .set(changes, (source, change.uuid), Arc::clone(row));
                if !was_there {
                    changes.wake(match source {
                        Source::AddressSet => Unit::AddressSet(change.uuid),
                        Source::PortGroup => Unit::PortGroup(change.uuid),
                        Source::Switch | Source::Port | Source::Dhcp => {
                            Unit::Parse(source, change.uuid)
                        }
                    });
                }
            }
            None => {
                self.nb_rows.remove(changes, (source, change.uuid));
            }
        }
    }

    /// Takes up a change of a southbound row.
    pub fn southbound(&mut self, change: &RowChange, changes: &mut Changes<Cell, Unit>) {
        let is_chassis = change.table == sb::Chassis::INDEX;
        if is_chassis {
            for column in [
                sb::Chassis::COLUMN.name.index,
                sb::Chassis::COLUMN.hostname.index,
            ] {
                let old = text(change.old.as_deref(), column);
                let new = text(change.new.as_deref(), column);
                rename(&mut self.chassis_names, changes, change.uuid, old, new);
            }
        }
        // Of the rows that northd reads, bindings are also its own output.
        if is_chassis || change.table == sb::PortBinding::INDEX {
            match &change.new {
                Some(row) => {
                    self.sb_rows.set(changes, change.uuid, Arc::clone(row));
                }
                None => {
                    self.sb_rows.remove(changes, change.uuid);
                }
            }
        }
        self.output.observe(change);
    }
}

fn source(table: usize) -> Option<Source> {
    Some(match table {
        nb::LogicalSwitch::INDEX => Source::Switch,
        nb::LogicalSwitchPort::INDEX => Source::Port,
        nb::DhcpOptions::INDEX => Source::Dhcp,
        nb::AddressSet::INDEX => Source::AddressSet,
        nb::PortGroup::INDEX => Source::PortGroup,
        _ => return None,
    })
}

fn refs(row: Option<&Row>, column: usize) -> Option<&Datum> {
    row.map(|row| row.get(column))
}

fn text(row: Option<&Row>, column: usize) -> Option<&str> {
    row.and_then(|row| row.get(column).scalar())
        .and_then(ovsdb::Atom::as_str)
        .filter(|text| !text.is_empty())
}

/// `row` refers to the rows of `new` instead of those of `old`. Both sets are sorted: one walk finds the difference.
fn reindex(
    index: &mut Index<Cell, Uuid, Uuid>,
    changes: &mut Changes<Cell, Unit>,
    row: Uuid,
    old: Option<&Datum>,
    new: Option<&Datum>,
) {
    let mut old = old
        .map_or(&[][..], Datum::atoms)
        .iter()
        .filter_map(ovsdb::Atom::as_uuid)
        .peekable();
    let mut new = new
        .map_or(&[][..], Datum::atoms)
        .iter()
        .filter_map(ovsdb::Atom::as_uuid)
        .peekable();
    loop {
        match (old.peek().copied(), new.peek().copied()) {
            (None, None) => return,
            (Some(gone), None) => {
                index.remove(changes, gone, row);
                old.next();
            }
            (None, Some(come)) => {
                index.insert(changes, come, row);
                new.next();
            }
            (Some(before), Some(after)) => {
                if before <= after {
                    old.next();
                }
                if after <= before {
                    new.next();
                }
                if before < after {
                    index.remove(changes, before, row);
                }
                if after < before {
                    index.insert(changes, after, row);
                }
            }
        }
    }
}

fn rename(
    index: &mut Index<Cell, u64, Uuid>,
    changes: &mut Changes<Cell, Unit>,
    row: Uuid,
    old: Option<&str>,
    new: Option<&str>,
) {
    if old == new {
        return;
    }
    if let Some(name) = old {
        index.remove(changes, digest(name), row);
    }
    if let Some(name) = new {
        index.insert(changes, digest(name), row);
    }
}
