//! Which ports are this chassis', and whether they are up.
//!
//! A port may name where it wants to be (ovn-nb(5), `requested-chassis`): the first chassis is its main one, all further ones
//! have it in addition, as long as a guest migrates from one to the other. Only the main chassis says `up`. northd writes the
//! chassis as references (`requested_chassis`, `requested_additional_chassis`); where it has not, the option's names count.

use std::sync::Arc;

use ovsdb::condition::{Clause, Function};
use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum, Uuid};
use sb_db::tables::PortBinding;

use super::South;
use crate::network::{ACTIVATED, has_spoken};
use crate::settings::Settings;

/// Options of ports that OVN's controllers obey and this one does not, beside those that begin with `vif-plug`.
const WITHOUT_EFFECT: &[&str] = &["ct-zone-limit", "dynamic-routing"];

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
    /// The guest has spoken here, where the port is in addition.
    pub has_spoken: bool,
}

impl<'a> Claimant<'a> {
    /// The chassis with these settings, whose row this is.
    pub fn new(chassis: Uuid, settings: &'a Settings) -> Self {
        Claimant {
            chassis,
            name: &settings.system_id,
            hostname: &settings.shown.hostname,
        }
    }

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
            let has_no_effect = |key: &str| {
                let plugs = key.starts_with("vif-plug");
                plugs || WITHOUT_EFFECT.contains(&key)
            };
            for key in port.options.keys().filter(|key| has_no_effect(key)) {
                tracing::info!(target: "binding", "{name}: options:{key} has no effect on this chassis");
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
        self.change_spoken(port, claim.chassis, false, &mut change);
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
        let is_known = port.additional_chassis.contains(&claim.chassis)
            && self
                .chassis_name(claim.chassis)
                .is_some_and(|own| has_spoken(port, own));
        self.change_spoken(
            port,
            claim.chassis,
            claim.has_spoken || is_known,
            &mut change,
        );
        change
    }

    /// Gives a port up. Nothing if this chassis does not have it.
    pub fn release(&self, port: &PortBinding, own: Uuid) -> Vec<Operation> {
        let mut change = Change::default();
        let name = &port.logical_port;
        if port.chassis == Some(own) {
            change.only_of = Some(own);
            tracing::info!(target: "binding", "Releasing lport {name} from this chassis (sb_readonly=0)");
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
                change.down(port);
            }
        }
        if port.additional_chassis.contains(&own) {
            self.change_spoken(port, own, false, &mut change);
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

    /// Says whether the guest has spoken here (`options:additional-chassis-activated`), which counts for one migration.
    ///
    /// The names of all additional chassis are in one value, which each of them changes: so it is changed only if it is what is
    /// known of it, and looked at again when it is not. Chassis that are no additional ones any more, because they are gone, are
    /// taken out: the next migration to one of that name is another.
    fn change_spoken(&self, port: &PortBinding, own: Uuid, spoken: bool, change: &mut Change) {
        let Some(own_name) = self.chassis_name(own) else {
            return;
        };
        let others = port.additional_chassis.iter().filter(|uuid| **uuid != own);
        let others: Vec<_> = others.map(|uuid| self.chassis_name(*uuid)).collect();
        // Of a chassis that is not known yet, the name may be any.
        let is_there = |name: &str| others.iter().any(|is| is.is_none_or(|is| **is == *name));
        let known = port.options.get(ACTIVATED);
        let text = known.map_or("", |names| names);
        let names = text.split(',').map(str::trim);
        let stays = |name: &&str| match *name == &**own_name {
            true => spoken,
            false => !name.is_empty() && is_there(name),
        };
        let mut wanted: Vec<&str> = names.filter(stays).collect();
        if spoken && !wanted.contains(&&**own_name) {
            wanted.push(own_name);
        }
        let wanted = wanted.join(",");
        if text != wanted {
            change.spoken = Some((known.cloned(), wanted.into()));
        }
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
    /// Where the guest has spoken: what is known of it, and what it is to be.
    spoken: Option<(Option<Arc<str>>, Arc<str>)>,
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

    fn down(&mut self, port: &PortBinding) {
        if port.up == Some(true) {
            let name = &port.logical_port;
            tracing::info!(target: "binding", "Setting lport {name} down in Southbound");
        }
        self.up(false);
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

    /// At most three operations of one transaction; none if nothing changes.
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
        operations.extend(
            self.spoken
                .map(|(known, names)| say_spoken(uuid, known, names)),
        );
        operations
    }
}

/// Makes a port's row say at which chassis its guest has spoken, at none if there are no names, if it says what is known so far.
fn say_spoken(uuid: Uuid, known: Option<Arc<str>>, names: Arc<str>) -> Operation {
    let column = PortBinding::COLUMN.options.index;
    let pair = |names| Datum::map([(Atom::from(ACTIVATED), Atom::String(names))]);
    let mut condition = vec![Clause::is_row(uuid)];
    let mut mutations = Vec::new();
    // What is not there yet is added only where it is not: an insertion leaves a key alone that is there.
    if let Some(known) = known {
        condition.push(Clause::compare(column, Function::Includes, pair(known)));
        let key = Datum::set([Atom::from(ACTIVATED)]);
        mutations.push(Mutation::new(column, Mutator::Delete, key));
    }
    if !names.is_empty() {
        mutations.push(Mutation::new(column, Mutator::Insert, pair(names)));
    }
    Operation::Mutate {
        table: PortBinding::INDEX,
        condition,
        mutations,
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::RowChange;
    use ovsdb::typed::TableDefinition;
    use sb_db::tables::Chassis;

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

    /// Three chassis, each with the number and the row that its name says.
    fn south() -> South {
        let mut south = South::default();
        for number in 0..3 {
            let row = Chassis {
                name: format!("c{number}").into(),
                ..Chassis::default()
            };
            south.apply(&RowChange {
                table: Chassis::INDEX,
                uuid: Uuid::from_u128(number),
                old: None,
                new: Some(Arc::new(row.to_row())),
            });
        }
        south
    }

    /// A port of chassis 0 that is at others, too, and what it says of where its guest has spoken.
    fn moves(additional: &[u128], spoken: &str) -> PortBinding {
        let options: &[_] = match spoken {
            "" => &[],
            names => &[(ACTIVATED.into(), names.into())],
        };
        PortBinding {
            chassis: Some(Uuid::from_u128(0)),
            additional_chassis: additional.iter().map(|n| Uuid::from_u128(*n)).collect(),
            options: options.iter().cloned().collect(),
            ..PortBinding::default()
        }
    }

    /// What the port says afterwards, when its row is another one when the southbound comes to it.
    fn said(operations: &[Operation], row: &PortBinding) -> String {
        let ty = &sb_db::schema().tables[PortBinding::INDEX].columns;
        let mut row = row.to_row();
        for operation in operations {
            let Operation::Mutate {
                condition,
                mutations,
                ..
            } = operation
            else {
                continue;
            };
            if !condition
                .iter()
                .all(|clause| clause.holds(Uuid::nil(), &row))
            {
                continue;
            }
            for mutation in mutations {
                let column = mutation.column;
                let datum = mutation.apply(&ty[column].ty, row.get(column));
                row.set(column, datum.expect("it fits"));
            }
        }
        let options = row.get(PortBinding::COLUMN.options.index);
        options.get_str(ACTIVATED).unwrap_or_default().to_owned()
    }

    fn claim(own: u128, role: Role, has_spoken: bool) -> Claim {
        Claim {
            chassis: Uuid::from_u128(own),
            role,
            encap: None,
            is_installed: true,
            has_spoken,
        }
    }

    #[test]
    fn each_additional_chassis_says_for_itself_where_the_guest_has_spoken() {
        let south = south();
        let speaks = |own, row: &PortBinding| south.claim(row, &claim(own, Role::Additional, true));
        let nobody = moves(&[1, 2], "");
        let [one, two] = [1, 2].map(|own| speaks(own, &nobody));
        assert_eq!(said(&one, &nobody), "c1");
        // Both say so at once: the second leaves alone what the first has said, and says it when it has heard of it.
        let first = moves(&[1, 2], "c1");
        assert_eq!(said(&two, &first), "c1");
        assert_eq!(said(&speaks(2, &first), &first), "c1,c2");
        let third = moves(&[1, 2], "c2,c1");
        assert_eq!(said(&speaks(2, &first), &third), "c2,c1");
        assert_eq!(speaks(1, &third), [], "all is said");
        // It is known of an earlier run.
        assert_eq!(south.claim(&third, &claim(2, Role::Additional, false)), []);
    }

    #[test]
    fn where_a_guest_has_spoken_is_kept_for_one_migration() {
        let south = south();
        let both = moves(&[1, 2], "c1,c2");
        let arrived = PortBinding {
            chassis: None,
            ..both.clone()
        };
        let main = south.claim(&arrived, &claim(1, Role::Main, true));
        assert_eq!(said(&main, &arrived), "c2");
        assert_eq!(said(&south.release(&both, Uuid::from_u128(2)), &both), "c1");
        // The chassis is gone.
        let gone = moves(&[1], "c1,c2");
        let main = south.claim(&gone, &claim(0, Role::Main, false));
        assert_eq!(said(&main, &gone), "c1");
        let gone = moves(&[], "c2");
        let main = south.claim(&gone, &claim(0, Role::Main, false));
        assert_eq!(said(&main, &gone), "");
        // Here, too, before it comes again.
        let again = south.claim(&gone, &claim(2, Role::Additional, false));
        assert_eq!(said(&again, &gone), "");
    }
}
