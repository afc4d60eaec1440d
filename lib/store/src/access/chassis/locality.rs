//! Which datapaths are local to a chassis: those with a port that is bound to it or that it may be asked to stand in
//! for, and those that patch ports connect with them. A controller calls the same ones local, and processes packets
//! of no others.
//!
//! The search goes from the datapath in question along its patch ports until it comes to one where the chassis is at
//! home; mostly that is the first or the second.

use std::collections::VecDeque;

use ovsdb::{Atom, Clause, Datum, Uuid};
use rustc_hash::FxHashSet;

use super::{Asker, uuid};

/// The search gives up after so many datapaths.
const MAX_DATAPATHS: usize = 4096;

impl Asker<'_> {
    /// Whether a datapath is local to the chassis.
    pub(super) fn has_local(self, datapath: &Datum) -> Result<(), String> {
        let start = uuid(datapath).ok_or("it names no datapath")?;
        let home = self.home();
        let mut seen: FxHashSet<Uuid> = [start].into_iter().collect();
        let mut next: VecDeque<Uuid> = [start].into();
        while let Some(datapath) = next.pop_front() {
            if home.contains(&datapath) {
                return Ok(());
            }
            for neighbour in self.neighbours(datapath) {
                if seen.len() < MAX_DATAPATHS && seen.insert(neighbour) {
                    next.push_back(neighbour);
                }
            }
        }
        Err(format!(
            "datapath {start} is not local to this chassis: no port of it, or of what it is \
             connected to, is bound here"
        ))
    }

    /// The datapaths of the ports that are bound to the chassis, or that it stands by for.
    fn home(self) -> FxHashSet<Uuid> {
        let Some(own) = self.row else {
            return FxHashSet::default();
        };
        let (ports, groups) = (&self.tables.port_binding, &self.tables.ha_chassis_group);
        let own = Datum::from(Atom::Uuid(own));
        let with = |column, contents: &Datum| {
            let rows = self.database.rows_with(ports.table, column, contents);
            let datapath =
                |(_, row): (_, &std::sync::Arc<ovsdb::Row>)| uuid(row.get(ports.datapath));
            rows.into_iter().filter_map(datapath).collect::<Vec<Uuid>>()
        };
        let mut home: FxHashSet<Uuid> = with(ports.chassis, &own).into_iter().collect();
        home.extend(with(ports.additional_chassis, &own));
        let members = &self.tables.ha_chassis;
        let members = self
            .database
            .rows_with(members.table, members.chassis, &own);
        if !members.is_empty() {
            for (group, row) in self.database.rows(groups.table) {
                let listed = row.get(groups.ha_chassis);
                let is_member = |(member, _): &(Uuid, _)| listed.contains(&Atom::Uuid(*member));
                if members.iter().any(is_member) {
                    let group = Datum::from(Atom::Uuid(group));
                    home.extend(with(ports.ha_chassis_group, &group));
                }
            }
        }
        home
    }

    /// The datapaths at the other ends of a datapath's patch ports.
    fn neighbours(self, datapath: Uuid) -> Vec<Uuid> {
        let ports = &self.tables.port_binding;
        let patches = [
            Clause::equals(ports.datapath, Datum::from(Atom::Uuid(datapath))),
            Clause::equals(ports.type_, Datum::from("patch")),
        ];
        let other_end = |patch: Uuid| {
            let patch = self.database.row(ports.table, patch)?;
            let peer = patch.get(ports.options).get_str("peer")?;
            let peer = self.port_named(&Datum::from(peer))?;
            uuid(peer.get(ports.datapath))
        };
        let patches = self.database.matching(ports.table, &patches);
        patches.into_iter().filter_map(other_end).collect()
    }
}
