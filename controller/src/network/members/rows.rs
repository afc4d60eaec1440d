//! The rows of address sets and port groups: taken up by what came and went, never as a whole.

use std::sync::Arc;

use lflow::Int;
use ovsdb::{Atom, Atoms, Datum, Row, Uuid};
use sb_db::tables::{AddressSet, PortGroup};

use super::super::{Cell, Changes, NameId, Network, Reads};
use super::Membership;
use super::prefixes::Parsed;

/// A row with a name, as the replica has it: a set may have many members.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) uuid: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) row: Arc<Row>,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid && (Arc::ptr_eq(&self.row, &other.row) || self.row == other.row)
    }
}

impl Network {
    /// An address set is there with other addresses, or not any more.
    pub(in crate::network) fn apply_address_set(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        (old, new): (Option<&Arc<Row>>, Option<&Arc<Row>>),
    ) {
        let named = |row: &Arc<Row>| Named {
            uuid,
            name: AddressSet::COLUMN.name.get(row),
            row: row.clone(),
        };
        let (old, new) = (old.map(named), new.map(named));
        if let Some(id) = passed_name(&old, &new)
            // The name may be another's by now.
            && self.address_sets.peek(id).is_some_and(|set| set.uuid == uuid)
        {
            let gone = self.address_sets.remove(changes, id);
            self.addresses_changed(id, gone.as_ref().map(|set| &*set.row), None);
        }
        if let Some(new) = new {
            let id = NameId::of(&new.name);
            let before = self.address_sets.peek(id).map(|set| set.row.clone());
            let row = new.row.clone();
            self.address_sets.set(changes, id, new);
            self.addresses_changed(id, before.as_deref(), Some(&row));
        }
    }

    fn addresses_changed(&mut self, id: NameId, old: Option<&Row>, new: Option<&Row>) {
        let column = AddressSet::COLUMN.addresses.index;
        let (old, new) = (
            old.map(|row| row.get(column)),
            new.map(|row| row.get(column)),
        );
        let mut is_unfit = false;
        // Only without the members that are no prefixes it may be looked up.
        let mut is_mended = false;
        if self.members.unfit.contains(&id) {
            relations::difference(old, new, |atom, comes| {
                is_mended |= !comes && matches!(parse(atom), Parsed::Unfit);
            });
            if is_mended {
                self.members.unfit.remove(&id);
            }
        }
        let size = |datum: Option<&Datum>| Some(datum?.len().max(1).ilog2());
        let review = is_mended || size(old) != size(new);
        for of in Membership::ALL {
            let Some((table, bit)) = of.lookup().zip(self.members.bit((of, id))) else {
                continue;
            };
            let table = &mut self.members.tables[usize::from(table)];
            relations::difference(old, new, |atom, comes| match parse(atom) {
                Parsed::Prefix(prefix) => {
                    table.change(prefix, bit, comes, &mut self.desired);
                }
                Parsed::Unfit => is_unfit |= comes,
                Parsed::Other => {}
            });
        }
        if is_unfit {
            self.members.unfit.insert(id);
        }
        if review || is_unfit {
            let all = Membership::ALL.into_iter();
            let used = all.filter(|of| self.members.uses_of((*of, id)) > 0);
            let used: Vec<_> = used.map(|of| (of, id)).collect();
            self.members.dirty.extend(used);
        }
    }

    /// A port group is there with other ports, or not any more.
    pub(in crate::network) fn apply_port_group(
        &mut self,
        changes: &mut Changes,
        uuid: Uuid,
        (old, new): (Option<&Arc<Row>>, Option<&Arc<Row>>),
    ) {
        let named = |row: &Arc<Row>| Named {
            uuid,
            name: PortGroup::COLUMN.name.get(row),
            row: row.clone(),
        };
        let (old, new) = (old.map(named), new.map(named));
        if let Some(id) = passed_name(&old, &new)
            && self
                .port_groups
                .peek(id)
                .is_some_and(|group| group.uuid == uuid)
        {
            let gone = self.port_groups.remove(changes, id);
            ports_changed(changes, id, gone.as_ref().map(|group| &*group.row), None);
        }
        if let Some(new) = new {
            let id = NameId::of(&new.name);
            let before = self.port_groups.peek(id).map(|group| group.row.clone());
            let row = new.row.clone();
            self.port_groups.set(changes, id, new);
            ports_changed(changes, id, before.as_deref(), Some(&row));
        }
    }

    /// Whether there is a port group of this name in the southbound.
    pub(crate) fn has_port_group(&self, reads: &Reads, name: &str) -> bool {
        let id = NameId::of(name);
        reads.note(Cell::PortGroupThere(id));
        self.port_groups
            .peek(id)
            .is_some_and(|group| &*group.name == name)
    }

    /// Whether a port is in the port group of this name in the southbound: costs no walk over the group, and wakes the reader
    /// for this port only.
    pub(crate) fn is_in_port_group(&self, reads: &Reads, group: &str, port: &Arc<str>) -> bool {
        let id = NameId::of(group);
        reads.note(Cell::Member(id, NameId::of(port)));
        let ports = PortGroup::COLUMN.ports.index;
        self.port_groups
            .peek(id)
            .filter(|found| &*found.name == group)
            .is_some_and(|found| found.row.get(ports).contains(&Atom::String(port.clone())))
    }

    /// The name under which the southbound has a port group's members in the datapath with this key. northd splits groups by
    /// datapath, and names the parts `KEY_NAME`; a group under its own name is taken too.
    pub(crate) fn part_of_port_group(
        &self,
        reads: &Reads,
        datapath: u32,
        group: &str,
    ) -> Option<String> {
        let part = format!("{datapath}_{group}");
        if self.has_port_group(reads, &part) {
            return Some(part);
        }
        self.has_port_group(reads, group).then(|| group.to_owned())
    }
}

/// The name that a row had and has not any more.
fn passed_name(old: &Option<Named>, new: &Option<Named>) -> Option<NameId> {
    let old = old.as_ref()?;
    let stays = new.as_ref().is_some_and(|new| new.name == old.name);
    (!stays).then(|| NameId::of(&old.name))
}

fn ports_changed(changes: &mut Changes, group: NameId, old: Option<&Row>, new: Option<&Row>) {
    if old.is_some() != new.is_some() {
        changes.cell(Cell::PortGroupThere(group));
    }
    let column = PortGroup::COLUMN.ports.index;
    let (old, new) = (
        old.map(|row| row.get(column)),
        new.map(|row| row.get(column)),
    );
    relations::difference(old, new, |atom, _| {
        if let Some(port) = atom.as_str() {
            changes.cell(Cell::Member(group, NameId::of(port)));
        }
    });
}

/// The members of an address set's row.
pub(super) fn addresses(row: &Row) -> Atoms<'_> {
    row.get(AddressSet::COLUMN.addresses.index).atoms()
}

/// Members that are no addresses are left out; northd has told of them.
pub(crate) fn integers(row: &Row) -> Arc<[Int]> {
    let texts = addresses(row).iter().filter_map(Atom::as_str);
    texts
        .filter_map(|text| Int::parse_address(text).ok())
        .collect()
}

pub(super) fn parse(atom: &Atom) -> Parsed {
    let int = atom.as_str().map(Int::parse_address);
    match int {
        Some(Ok(int)) => Parsed::of(int),
        _ => Parsed::Other,
    }
}
