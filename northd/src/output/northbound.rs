//! What is told back to the northbound database: states and tags of ports, and how far the configuration has come.

use std::collections::BTreeMap;

use nb_db::tables::{LogicalSwitchPort, NbGlobal, WeftProblem};
use ovsdb::operation::Operation;
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Datum, Row};
use uuid::Uuid;

use crate::model::Problem;

/// What northd knows of a port that the northbound's columns should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortState {
    /// `up`, once known.
    pub up: Option<bool>,
    /// `tag`, if it is northd's to say.
    pub tag: Option<Option<u16>>,
}

/// The operation that makes a port's row say its state; nothing if it does.
pub fn port(uuid: Uuid, row: &Row, state: PortState) -> Option<Operation> {
    let column = LogicalSwitchPort::COLUMN;
    let mut changed = Vec::new();
    if let Some(up) = state.up
        && column.up.get(row) != Some(up)
    {
        changed.push(column.up.to(&Some(up)));
    }
    if let Some(tag) = state.tag {
        let tag = tag.map(i64::from);
        if column.tag.get(row) != tag {
            changed.push(column.tag.to(&tag));
        }
    }
    (!changed.is_empty()).then(|| Operation::update_row(LogicalSwitchPort::INDEX, uuid, changed))
}

/// How far a configuration (`NB_Global.nb_cfg`) has come, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// The configuration.
    pub cfg: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// How far configurations have come on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Seen by northd.
    pub northbound: Reached,
    /// Compiled and committed to the southbound database.
    pub southbound: Reached,
    /// Realised by every chassis.
    pub chassis: Reached,
}

/// The operation that makes `NB_Global` tell the progress; nothing if it does. Times alone are no reason to write.
pub fn progress(uuid: Uuid, row: &Row, progress: &Progress) -> Option<Operation> {
    let column = NbGlobal::COLUMN;
    let is_told = column.sb_cfg.get(row) == progress.southbound.cfg
        && column.hv_cfg.get(row) == progress.chassis.cfg;
    if is_told {
        return None;
    }
    let all = [
        column.nb_cfg_timestamp.to(&progress.northbound.at_ms),
        column.sb_cfg.to(&progress.southbound.cfg),
        column.sb_cfg_timestamp.to(&progress.southbound.at_ms),
        column.hv_cfg.to(&progress.chassis.cfg),
        column.hv_cfg_timestamp.to(&progress.chassis.at_ms),
    ];
    let changed: Vec<(usize, Datum)> = all
        .into_iter()
        .filter(|(index, datum)| row.get(*index) != datum)
        .collect();
    Some(Operation::update_row(NbGlobal::INDEX, uuid, changed))
}

/// What `tag` should say of a port that was given none: nothing, if one was asked for; for a localnet port the one that was
/// asked for. The outer `None` leaves the column to its writer.
pub fn tag_of_untagged(row: &Row) -> Option<Option<u16>> {
    let column = LogicalSwitchPort::COLUMN;
    let requested = column.tag_request.get(row)?;
    let is_localnet = row
        .get(column.r#type.index)
        .scalar()
        .and_then(ovsdb::Atom::as_str)
        == Some("localnet");
    if is_localnet {
        return u16::try_from(requested)
            .ok()
            .filter(|tag| *tag > 0)
            .map(Some);
    }
    (!row.get(column.parent_name.index).is_empty()).then_some(None)
}

/// The operations that make the table of problems say these; `told` is what it says.
pub fn problems<'a>(
    problems: impl Iterator<Item = &'a Problem>,
    told: impl Iterator<Item = Uuid>,
) -> Vec<Operation> {
    let mut new: BTreeMap<Uuid, &Problem> = problems
        .map(|problem| {
            (
                super::identity::named(WeftProblem::NAME, problem.row, &problem.to_string()),
                problem,
            )
        })
        .collect();
    let mut operations = Vec::new();
    for uuid in told {
        if new.remove(&uuid).is_none() {
            operations.push(Operation::delete_row(WeftProblem::INDEX, uuid));
        }
    }
    let column = WeftProblem::COLUMN;
    operations.extend(new.into_iter().take(MAX_PROBLEMS).map(|(uuid, problem)| {
        let (text, offset) = problem
            .place
            .as_ref()
            .map_or(("", None), |(text, offset)| (text.as_str(), Some(*offset)));
        let row = vec![
            (column.table.index, Datum::from(problem.table)),
            column.row.to(&problem.row),
            column.name.to(&problem.name),
            (column.column.index, Datum::from(problem.column)),
            (column.text.index, Datum::from(text)),
            column
                .offset
                .to(&offset.and_then(|offset| i64::try_from(offset).ok())),
            (column.why.index, Datum::from(problem.why.as_str())),
            (column.remedy.index, Datum::from(problem.remedy.as_str())),
        ];
        Operation::Insert {
            table: WeftProblem::INDEX,
            uuid,
            row,
        }
    }));
    operations
}

/// More new problems than these are not told northbound at once; the log has said how many there are.
const MAX_PROBLEMS: usize = 1000;

/// The `NB_Global` row that is created when there is none.
pub fn create_global() -> Operation {
    Operation::Insert {
        table: NbGlobal::INDEX,
        uuid: super::identity::named("NB_Global", Uuid::nil(), ""),
        row: vec![],
    }
}

/// The columns of `SB_Global` as they should be, from the northbound's.
pub fn southbound_global(nb_global: &Row, version: &str) -> Vec<(usize, Datum)> {
    let nb = NbGlobal::COLUMN;
    let sb = sb_db::tables::SbGlobal::COLUMN;
    let mut options = nb.options.get(nb_global);
    options.insert("northd_internal_version".into(), version.into());
    vec![
        sb.nb_cfg.to(&nb.nb_cfg.get(nb_global)),
        (sb.options.index, options.to_datum()),
        sb.ipsec.to(&nb.ipsec.get(nb_global)),
    ]
}
