//! A copy of the network that is kept up to date, and which objects changed when.
//!
//! Every change of the database is a *revision*. What it did to objects is kept for a while, so that whoever watches, and
//! was away for a moment, is told what changed and no more. A revision is named by a number and the life of the process
//! that counted it; who comes with one that is not known any more starts anew.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use nb_db::tables::{NbGlobal, WeftProblem};
use northbound::{Rows as _, Snapshot};
use objects::catalog::Place;
use objects::{Kind, catalog};
use objects::{fences, find};
use ovsdb::{Atom, Datum, Row, RowChange, Table, Uuid};
use replica::TableSpec;

/// So many objects that changed are remembered, all revisions together.
const MAX_REMEMBERED: usize = 65_536;

/// An object: its kind's place in the catalog, and its row.
pub type Id = (usize, Uuid);

/// The copy.
#[derive(Debug)]
pub struct Live {
    /// The rows.
    pub snapshot: Snapshot,
    /// Tells processes apart.
    life: Uuid,
    revision: u64,
    /// What changed with each of the last revisions.
    history: VecDeque<(u64, Vec<Id>)>,
    remembered: usize,
    /// Whether it is what the database has.
    pub is_synced: bool,
}

/// What a watcher has to be told.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These objects have changed, come or gone.
    Changes(Vec<Id>),
    /// Everything: what happened is not known any more.
    Everything,
}

impl Live {
    /// An empty copy.
    pub fn new(life: Uuid) -> Self {
        let mut snapshot = Snapshot::empty(nb_db::schema().clone());
        find::index(&mut snapshot);
        fences::index(&mut snapshot);
        Self {
            snapshot,
            life,
            revision: 0,
            history: VecDeque::new(),
            remembered: 0,
            is_synced: false,
        }
    }

    /// The revision of the copy.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What clients call a revision.
    pub fn token(&self, revision: u64) -> String {
        format!("{}-{revision}", self.life.simple())
    }

    /// The revision that a client means, if this process has counted it.
    pub fn revision_of(&self, token: &str) -> Option<u64> {
        let (life, revision) = token.split_once('-')?;
        let revision = revision.parse().ok()?;
        let is_ours = life == self.life.simple().to_string() && revision <= self.revision;
        is_ours.then_some(revision)
    }

    /// What changed since a revision.
    pub fn news(&self, since: u64) -> News {
        let first = self.history.front().map(|(revision, _)| *revision);
        match first {
            _ if since >= self.revision => News::Changes(Vec::new()),
            Some(first) if since + 1 >= first => {
                let newer = self
                    .history
                    .iter()
                    .filter(|(revision, _)| *revision > since);
                let changed: BTreeSet<Id> = newer.flat_map(|(_, ids)| ids).copied().collect();
                News::Changes(changed.into_iter().collect())
            }
            _ => News::Everything,
        }
    }

    /// Takes over changes of rows that happened together.
    pub fn apply(&mut self, changes: Vec<RowChange>) {
        let mut touched = BTreeSet::new();
        for change in &changes {
            self.touched(change, &mut touched);
        }
        let tables: Vec<(usize, Uuid)> = changes
            .iter()
            .map(|change| (change.table, change.uuid))
            .collect();
        changes
            .into_iter()
            .for_each(|change| self.snapshot.apply(change));
        // What is part of an object now, and was not before.
        for (table, uuid) in tables {
            self.owners_of_part(table, uuid, &mut touched);
        }
        self.revision += 1;
        let touched: Vec<Id> = touched.into_iter().collect();
        self.remembered += touched.len();
        self.history.push_back((self.revision, touched));
        while self.remembered > MAX_REMEMBERED
            && let Some((_, oldest)) = self.history.pop_front()
        {
            self.remembered -= oldest.len();
        }
        while self.history.len() > MAX_REMEMBERED {
            self.history.pop_front();
        }
    }

    /// The objects that are others after a change of a row.
    fn touched(&self, change: &RowChange, touched: &mut BTreeSet<Id>) {
        let RowChange { table, uuid, .. } = *change;
        if let Some(kind) = catalog().of_table(table) {
            touched.insert((kind.order, uuid));
        }
        let old = self.snapshot.row(table, uuid);
        let sides = [old, change.new.as_ref()];
        if table == WeftProblem::INDEX {
            let column = WeftProblem::COLUMN.row.index;
            for row in sides.into_iter().flatten() {
                let about = row.get(column).scalar().and_then(Atom::as_uuid);
                about
                    .iter()
                    .for_each(|uuid| self.object_of_row(*uuid, touched));
            }
            return;
        }
        for child in catalog().kinds() {
            for field in &child.fields {
                if let Place::Parents(parent, column) = &field.place
                    && *parent == table
                {
                    let members = |row: Option<&Arc<Row>>| match row {
                        Some(row) => row.get(*column).clone(),
                        None => Datum::empty_set(),
                    };
                    let [old, new] = sides.map(members);
                    let moved = old.toggle(new.atoms());
                    let moved = moved.atoms().iter().filter_map(Atom::as_uuid);
                    touched.extend(moved.map(|uuid| (child.order, uuid)));
                }
            }
        }
        self.owners_of_part(table, uuid, touched);
    }

    /// The objects that a row is part of.
    fn owners_of_part(&self, table: usize, uuid: Uuid, touched: &mut BTreeSet<Id>) {
        for kind in catalog().kinds() {
            for field in &kind.fields {
                if let Place::Parts(part) = &field.place
                    && part.table == table
                {
                    let owners = find::containing(&self.snapshot, kind.table, part.column, uuid);
                    touched.extend(owners.into_iter().map(|owner| (kind.order, owner)));
                }
            }
        }
    }

    /// The object that a row is, or is part of, whatever its table.
    fn object_of_row(&self, uuid: Uuid, touched: &mut BTreeSet<Id>) {
        for kind in catalog().kinds() {
            if self.snapshot.row(kind.table, uuid).is_some() {
                touched.insert((kind.order, uuid));
            }
            for field in &kind.fields {
                if let Place::Parts(part) = &field.place {
                    self.owners_of_part(part.table, uuid, touched);
                }
            }
        }
    }
}

/// The kind with this place in the catalog.
pub fn kind_at(order: usize) -> &'static Kind {
    &catalog().kinds()[order]
}

/// The tables that are needed of the northbound.
pub fn tables() -> Vec<TableSpec> {
    let mut tables = vec![NbGlobal::INDEX, WeftProblem::INDEX];
    for kind in catalog().kinds() {
        tables.push(kind.table);
        tables.extend(kind.fields.iter().filter_map(|field| match &field.place {
            Place::Column(_) => None,
            Place::References(_, table) | Place::Parents(table, _) => Some(*table),
            Place::Parts(part) => Some(part.table),
        }));
    }
    tables.sort_unstable();
    tables.dedup();
    tables.into_iter().map(TableSpec::all).collect()
}

#[cfg(test)]
mod tests {
    use nb_db::tables::{GatewayChassis, LogicalRouterPort, LogicalSwitch, LogicalSwitchPort};
    use ovsdb::typed::TableDefinition;

    use super::*;

    fn put<T: TableDefinition + Table>(uuid: u128, row: &T) -> RowChange {
        RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: Some(Arc::new(row.to_row())),
        }
    }

    fn told(live: &Live, since: u64) -> Vec<(&'static str, u128)> {
        match live.news(since) {
            News::Everything => panic!("everything"),
            News::Changes(ids) => ids
                .into_iter()
                .map(|(order, uuid)| (kind_at(order).label(), uuid.as_u128()))
                .collect(),
        }
    }

    #[test]
    fn objects_change_with_what_they_belong_to_and_what_is_part_of_them() {
        let mut live = Live::new(Uuid::from_u128(1));
        let switch = |ports: &[u128]| LogicalSwitch {
            ports: ports.iter().copied().map(Uuid::from_u128).collect(),
            ..LogicalSwitch::default()
        };
        live.apply(vec![
            put(1, &switch(&[2, 3])),
            put(2, &LogicalSwitchPort::default()),
        ]);
        let first = live.revision();
        assert_eq!(told(&live, first), []);
        live.apply(vec![put(1, &switch(&[3, 4]))]);
        // What stays in the switch is as it was.
        let switches = [
            ("logical_switch", 1),
            ("logical_switch_port", 2),
            ("logical_switch_port", 4),
        ];
        assert_eq!(told(&live, first), switches);
        let second = live.revision();
        let port = LogicalRouterPort {
            gateway_chassis: vec![Uuid::from_u128(6)],
            ..LogicalRouterPort::default()
        };
        live.apply(vec![put(5, &port), put(6, &GatewayChassis::default())]);
        let third = live.revision();
        assert_eq!(told(&live, second), [("logical_router_port", 5)]);
        let other = GatewayChassis {
            priority: 3,
            ..GatewayChassis::default()
        };
        live.apply(vec![put(6, &other)]);
        assert_eq!(told(&live, third), [("logical_router_port", 5)]);
        let problem = WeftProblem {
            row: Uuid::from_u128(6),
            ..WeftProblem::default()
        };
        let fourth = live.revision();
        live.apply(vec![put(7, &problem)]);
        assert_eq!(told(&live, fourth), [("logical_router_port", 5)]);
    }

    #[test]
    fn what_is_too_long_ago_is_everything() {
        let mut live = Live::new(Uuid::from_u128(1));
        for uuid in 0..=MAX_REMEMBERED {
            live.apply(vec![put(uuid as u128, &LogicalSwitch::default())]);
        }
        assert_eq!(live.news(0), News::Everything);
        assert_eq!(told(&live, 1).len(), MAX_REMEMBERED);
        let token = live.token(7);
        assert_eq!(live.revision_of(&token), Some(7));
        let other = Live::new(Uuid::from_u128(2));
        assert_eq!(other.revision_of(&token), None);
        assert_eq!(live.revision_of("x"), None);
    }
}
