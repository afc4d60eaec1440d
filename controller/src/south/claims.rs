//! Which ports are this chassis', and whether they are up.
//!
//! A port may name where it wants to be (ovn-nb(5), `requested-chassis`): the first chassis is its main one, all further ones
//! have it in addition, as long as a guest migrates from one to the other. Only the main chassis says `up`. northd writes the
//! chassis as references (`requested_chassis`, `requested_additional_chassis`); where it has not, the option's names count.

use ovsdb::condition::Clause;
use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum, Uuid};
use sb_db::tables::PortBinding;

use super::South;
use crate::network::{ACTIVATED, has_spoken, say_spoken};

/// As what a chassis has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The port is here.
    Main,
    /// The port is here, too, while it moves.
    Additional,
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The row of `Chassis`.
    pub chassis: Uuid,
    /// The chassis' name.
    pub name: &'a str,
    /// The host's name, by which a port may also ask for the chassis.
    pub hostname: &'a str,
}

/// What is to be said of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The row of `Chassis`.
    pub chassis: Uuid,
    /// As what.
    pub role: Role,
    /// By which of the chassis' tunnel ends the port wants to be reached, if it says so.
    pub encap: Option<Uuid>,
    /// Its flows are in place.
    pub is_installed: bool,
}

impl Claimant<'_> {
    /// As what the chassis may have a port; `None` if it may not.
    pub fn role(&self, port: &PortBinding) -> Option<Role> {
        if port.requested_chassis == Some(self.chassis) {
            return Some(Role::Main);
        }
        if port.requested_additional_chassis.contains(&self.chassis) {
            return Some(Role::Additional);
        }
        let Some(requested) = port.options.get("requested-chassis") else {
            return Some(Role::Main);
        };
        let is_named = |name: &str| name == self.name || name == self.hostname;
        let mut names = requested.split(',').map(str::trim);
        match names.next().filter(|first| !first.is_empty()) {
            None => Some(Role::Main),
            Some(first) if is_named(first) => Some(Role::Main),
            Some(_) => names.any(is_named).then_some(Role::Additional),
        }
    }
}

impl South {
    /// Whether a claim takes the port from another chassis.
    pub fn is_taken(&self, port: &PortBinding, claim: &Claim) -> bool {
        claim.role == Role::Main && port.chassis.is_some_and(|other| other != claim.chassis)
    }

    /// Makes a port this chassis', or says that it is up. Nothing when all is so.
    pub fn claim(&self, port: &PortBinding, claim: &Claim) -> Vec<Operation> {
        let change = match claim.role {
            Role::Main => self.claim_as_main(port, claim),
            Role::Additional => self.claim_as_additional(port, claim),
        };
        change.operations(port.uuid)
    }

    fn claim_as_main(&self, port: &PortBinding, claim: &Claim) -> Change {
        let columns = PortBinding::COLUMN;
        let name = &port.logical_port;
        let mut change = Change::default();
        if port.chassis != Some(claim.chassis) {
            match port.chassis.and_then(|other| self.chassis_name(other)) {
                Some(other) => {
                    let own = self.chassis_name(claim.chassis).map_or("us", |name| name);
                    tracing::info!(target: "binding", "Changing chassis for lport {name} from {other} to {own}.");
                }
                None => {
                    tracing::info!(target: "binding", "Claiming lport {name} for this chassis.");
                }
            }
            for address in &port.mac {
                tracing::info!(target: "binding", "{name}: Claiming {address}");
            }
            change.set(columns.chassis.index, Some(claim.chassis));
            if port.additional_chassis.contains(&claim.chassis) {
                self.leave_additional(port, claim.chassis, &mut change);
            }
            if !claim.is_installed && port.up != Some(false) {
                // Whatever another chassis promised, here it is not so yet.
                change.up(false);
            }
        }
        self.forget_spoken(port, claim.chassis, &mut change);
        if claim.is_installed && port.up != Some(true) {
            tracing::info!(target: "binding", "Setting lport {name} up in Southbound");
            change.up(true);
        }
        if port.encap != claim.encap {
            change.set(columns.encap.index, claim.encap);
        }
        change
    }

    fn claim_as_additional(&self, port: &PortBinding, claim: &Claim) -> Change {
        let columns = PortBinding::COLUMN;
        let mut change = Change::default();
        if !port.additional_chassis.contains(&claim.chassis) {
            let name = &port.logical_port;
            tracing::info!(target: "binding", "Claiming lport {name} for this additional chassis.");
            change.add(columns.additional_chassis.index, claim.chassis);
        }
        if port.chassis == Some(claim.chassis) {
            change.set(columns.chassis.index, None);
            change.set(columns.encap.index, None);
        }
        self.change_additional_encap(port, claim.chassis, claim.encap, &mut change);
        change
    }

    /// Gives a port up. Nothing if this chassis does not have it.
    pub fn release(&self, port: &PortBinding, own: Uuid) -> Vec<Operation> {
        let mut change = Change::default();
        let name = &port.logical_port;
        if port.chassis == Some(own) {
            change.only_of = Some(own);
            tracing::info!(target: "binding", "Releasing lport {name} from this chassis.");
            change.set(PortBinding::COLUMN.chassis.index, None);
            if port.encap.is_some() {
                change.set(PortBinding::COLUMN.encap.index, None);
            }
            if port.virtual_parent.is_some() {
                change
                    .row
                    .push((PortBinding::COLUMN.virtual_parent.index, Datum::empty_set()));
            }
            if port.up.is_some() {
                change.up(false);
            }
        }
        if port.additional_chassis.contains(&own) {
            self.forget_spoken(port, own, &mut change);
            tracing::info!(target: "binding", "Releasing lport {name} from this additional chassis.");
            self.leave_additional(port, own, &mut change);
        }
        change.operations(port.uuid)
    }

    /// Makes a port that one chassis has another's. Nothing if that chassis does not have it.
    pub(super) fn pass_on(&self, port: &PortBinding, from: Uuid, to: Uuid) -> Vec<Operation> {
        let columns = PortBinding::COLUMN;
        let mut change = Change::default();
        if port.chassis == Some(from) {
            change.set(columns.chassis.index, Some(to));
            change.set(columns.encap.index, None);
        }
        if port.additional_chassis.contains(&from) {
            self.leave_additional(port, from, &mut change);
            change.add(columns.additional_chassis.index, to);
        }
        change.operations(port.uuid)
    }

    /// That a guest has spoken here counts for one migration.
    fn forget_spoken(&self, port: &PortBinding, own: Uuid, change: &mut Change) {
        let Some(own) = self.chassis_name(own) else {
            return;
        };
        if !has_spoken(port, own) {
            return;
        }
        let names = port.options.get(ACTIVATED);
        let names = names.map_or("", |names| names).split(',').map(str::trim);
        let others: Vec<&str> = names.filter(|name| *name != &**own).collect();
        change.mutations.extend(say_spoken(&others.join(",")));
    }

    fn leave_additional(&self, port: &PortBinding, own: Uuid, change: &mut Change) {
        let columns = PortBinding::COLUMN;
        change.remove(columns.additional_chassis.index, own);
        self.change_additional_encap(port, own, None, change);
    }

    /// Of this chassis' tunnel ends an additional port has this one, or none. Those of other chassis are theirs to change.
    fn change_additional_encap(
        &self,
        port: &PortBinding,
        own: Uuid,
        wanted: Option<Uuid>,
        change: &mut Change,
    ) {
        let column = PortBinding::COLUMN.additional_encap.index;
        let present = port.additional_encap.iter();
        for encap in present.filter(|encap| self.is_encap_of(**encap, own)) {
            if Some(*encap) != wanted {
                change.remove(column, *encap);
            }
        }
        if let Some(wanted) = wanted.filter(|wanted| !port.additional_encap.contains(wanted)) {
            change.add(column, wanted);
        }
    }
}

/// What is to be changed in one row. Sets that others write to as well are changed by the member.
#[derive(Debug, Default)]
struct Change {
    row: Vec<(usize, Datum)>,
    mutations: Vec<Mutation>,
    /// The row is changed only if this chassis has the port when the southbound comes to it: another may have claimed it.
    only_of: Option<Uuid>,
}

impl Change {
    fn set(&mut self, column: usize, value: Option<Uuid>) {
        let datum = value.map_or_else(Datum::empty_set, |uuid| Datum::One(Atom::Uuid(uuid)));
        self.row.push((column, datum));
    }

    fn up(&mut self, up: bool) {
        self.row.push(PortBinding::COLUMN.up.to(&Some(up)));
    }

    fn add(&mut self, column: usize, member: Uuid) {
        let member = Datum::One(Atom::Uuid(member));
        self.mutations
            .push(Mutation::new(column, Mutator::Insert, member));
    }

    fn remove(&mut self, column: usize, member: Uuid) {
        let member = Datum::One(Atom::Uuid(member));
        self.mutations
            .push(Mutation::new(column, Mutator::Delete, member));
    }

    /// At most two operations of one transaction; none if nothing changes.
    fn operations(self, uuid: Uuid) -> Vec<Operation> {
        let mut operations = Vec::new();
        if !self.row.is_empty() {
            let column = PortBinding::COLUMN.chassis.index;
            let holder = self.only_of.map(Atom::Uuid);
            let holder = holder.map(|own| Clause::equals(column, Datum::One(own)));
            let condition = std::iter::once(Clause::is_row(uuid)).chain(holder);
            operations.push(Operation::Update {
                table: PortBinding::INDEX,
                condition: condition.collect(),
                row: self.row,
            });
        }
        if !self.mutations.is_empty() {
            operations.push(Operation::mutate_row(
                PortBinding::INDEX,
                uuid,
                self.mutations,
            ));
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::typed::TableDefinition;

    use super::*;

    #[test]
    fn a_release_leaves_the_claim_of_another_alone() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let known = PortBinding {
            chassis: Some(own),
            up: Some(true),
            ..PortBinding::default()
        };
        let operations = South::default().release(&known, own);
        let [Operation::Update { condition, .. }] = operations.as_slice() else {
            panic!("{operations:?}");
        };
        let releases = |chassis| {
            let row = PortBinding {
                chassis: Some(chassis),
                ..known.clone()
            };
            let row = row.to_row();
            condition
                .iter()
                .all(|clause| clause.holds(known.uuid, &row))
        };
        assert_eq!((releases(own), releases(other)), (true, false));
    }
}
