//! A copy of the network that is kept up to date, and which objects changed when.
//!
//! Every change of the database is a *revision*. What it did to objects is kept for a while, so that whoever watches, and
//! was away for a moment, is told what changed and no more. A revision is named by a number and the life of the process
//! that counted it; who comes with one that is not known any more starts anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    history: VecDeque<(u64, Vec<Touched>)>,
    remembered: usize,
    /// Whether it is what the database has.
    pub is_synced: bool,
}

/// An object that has changed, and whose it was if it is no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Touched {
    id: Id,
    former: Option<Arc<str>>,
}

/// What a watcher has to be told.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These objects have changed, come or gone; each with those whose it was meanwhile, and is no longer.
    Changes(Vec<(Id, Vec<Arc<str>>)>),
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
                let mut changed: BTreeMap<Id, Vec<Arc<str>>> = BTreeMap::new();
                for touched in newer.flat_map(|(_, touched)| touched) {
                    let formers = changed.entry(touched.id).or_default();
                    let former = touched.former.as_ref().filter(|new| !formers.contains(new));
                    let former = former.cloned();
                    formers.extend(former);
                }
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
        let formers: HashMap<Id, Arc<str>> = changes
            .iter()
            .filter_map(|change| self.former_owner(change))
            .collect();
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
        let touched = touched.into_iter().map(|id| Touched {
            id,
            former: formers.get(&id).cloned(),
        });
        let touched: Vec<Touched> = touched.collect();
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

    /// Whose an object was that is nobody's or another's after a change.
    fn former_owner(&self, change: &RowChange) -> Option<(Id, Arc<str>)> {
        let kind = catalog().of_table(change.table)?;
        let old = self.snapshot.row(change.table, change.uuid)?;
        let [before, after] = [Some(old), change.new.as_ref()]
            .map(|row| row.map_or("", |row| find::owner_of(kind, row)));
        let is_former = !before.is_empty() && before != after;
        is_former.then(|| ((kind.order, change.uuid), Arc::from(before)))
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
                .map(|((order, uuid), _)| (kind_at(order).label(), uuid.as_u128()))
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
    fn whose_an_object_was_is_remembered_with_its_changes() {
        let mut live = Live::new(Uuid::from_u128(1));
        let of = |owner: &str| {
            let ids = [("weft-owner".into(), owner.into())];
            put(
                1,
                &LogicalSwitch {
                    external_ids: ids.into(),
                    ..LogicalSwitch::default()
                },
            )
        };
        let formers = |live: &Live, since: u64| match live.news(since) {
            News::Changes(changes) => changes
                .into_iter()
                .flat_map(|(_, formers)| formers)
                .map(|former| former.to_string())
                .collect::<Vec<_>>(),
            News::Everything => panic!("everything"),
        };
        live.apply(vec![of("a")]);
        assert_eq!(formers(&live, 0), Vec::<String>::new());
        live.apply(vec![of("a")]);
        assert_eq!(formers(&live, 1), Vec::<String>::new());
        live.apply(vec![of("b")]);
        assert_eq!(formers(&live, 2), ["a"]);
        let gone = RowChange {
            new: None,
            ..of("b")
        };
        live.apply(vec![gone]);
        assert_eq!(formers(&live, 2), ["a", "b"]);
        assert_eq!(formers(&live, 3), ["b"]);
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
