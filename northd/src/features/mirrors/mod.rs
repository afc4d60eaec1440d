//! Mirrors: copies of what ports send and get.
//!
//! Arrives: admitted packets before any rule, and packets that rules have let pass to their receiver. Guarantees that each packet of
//! a port with a mirror of type `lport` is copied to the mirror's sink, a port of any switch, in the mirror's direction, as
//! `Mirror_Rule`s say: of those that match, the one of the highest priority decides, and without one the packet is copied
//! (`copies.rs`). The packet itself goes on as without, whether or not there is a sink. Copies are asked nothing by rules, and are
//! not tracked.
//!
//! Mirrors of the other types (`gre`, `erspan`, `local`) are copied to the southbound, with their names in `Port_Binding.mirror_rules`:
//! controllers make them in the switch of each chassis.

mod copies;

use std::net::IpAddr;
use std::sync::Arc;

use lflow::Expr;
use nb_db::tables as nb;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Handle, Relation, Small};
use sb_db::tables::{Mirror, PortBinding};
use uuid::Uuid;

use super::matches;
use super::ports::MIRROR;
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// Mirrors of type `lport` that make sense.
static TO_PORT: Relation<Handle, Arc<ToPort>> = Relation::new("mirror to a port");

const SOUTH_BY_NAME: Index = Index::south::<Mirror>(Mirror::COLUMN.name.index);

static ROWS: Owned = Owned::south::<Mirror>(&[
    Mirror::COLUMN.name.index,
    Mirror::COLUMN.filter.index,
    Mirror::COLUMN.sink.index,
    Mirror::COLUMN.r#type.index,
    Mirror::COLUMN.index.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<nb::Mirror>(&[
            nb::Mirror::COLUMN.name.index,
            nb::Mirror::COLUMN.filter.index,
            nb::Mirror::COLUMN.sink.index,
            nb::Mirror::COLUMN.r#type.index,
            nb::Mirror::COLUMN.index.index,
            nb::Mirror::COLUMN.mirror_rules.index,
        ]),
        Source::north::<nb::MirrorRule>(&[
            nb::MirrorRule::COLUMN.r#match.index,
            nb::MirrorRule::COLUMN.action.index,
            nb::MirrorRule::COLUMN.priority.index,
        ]),
        Source::north::<nb::LogicalSwitchPort>(&[
            nb::LogicalSwitchPort::COLUMN.name.index,
            nb::LogicalSwitchPort::COLUMN.mirror_rules.index,
        ]),
        Source::north::<nb::AddressSet>(&[nb::AddressSet::COLUMN.name.index]),
        Source::north::<nb::PortGroup>(&[nb::PortGroup::COLUMN.name.index]),
        // Written in the name of the feature whose table it is.
        Source::south::<PortBinding>(&[]),
    ],
    indexes: &[
        SOUTH_BY_NAME,
        matches::ADDRESS_SETS,
        matches::PORT_GROUPS,
        matches::PORTS,
    ],
    owns: &[&ROWS],
    relations: &[
        &TO_PORT,
        &MIRROR,
        &copies::COPIES,
        &copies::IN_BINDING,
        &copies::OUT_BINDING,
    ],
    pools: &[&copies::IN_KEYS, &copies::OUT_KEYS],
    kinds: &[
        &MODEL,
        &copies::SAY,
        &copies::WISH,
        &copies::FLOWS,
        &copies::SHARED,
    ],
    rules: &copies::RULES,
    #[cfg(test)]
    operator: &[Change {
        weight: 5,
        run: tests::change,
    }],
    ..Feature::new("mirrors")
};

/// A mirror whose copies go to a logical port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ToPort {
    /// The port.
    sink: Arc<str>,
    /// What ports send is copied.
    copies_sent: bool,
    /// What ports get is copied.
    copies_got: bool,
    rules: Vec<Selection>,
}

/// A rule that decides what is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selection {
    priority: u16,
    when: Expr,
    copies: bool,
}

static MODEL: Kind = Kind {
    name: "model/mirror",
    over: Over::North(nb::Mirror::INDEX),
    reads: &[],
    says: &[&TO_PORT, &MIRROR],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Arc<str> = nb::Mirror::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<nb::Mirror>(row, Arc::clone(&name));
        match &*nb::Mirror::COLUMN.r#type.get(columns) {
            "lport" => {
                if let Some(mirror) = to_port(unit, columns, &mut complaints) {
                    unit.say(&TO_PORT, row, Arc::new(mirror));
                }
            }
            kind => to_switch(unit, (row, &name), columns, kind, &mut complaints),
        }
        unit.problems(complaints.into_problems());
    },
};

/// A mirror that controllers make in the switch.
fn to_switch(
    unit: &mut Unit<'_>,
    (row, name): (Handle, &Arc<str>),
    columns: &Row,
    kind: &str,
    complaints: &mut Complaints,
) {
    let (from, to) = (nb::Mirror::COLUMN, Mirror::COLUMN);
    let sink: Arc<str> = from.sink.get(columns);
    if !columns.get(from.mirror_rules.index).is_empty() {
        let why = format!("mirrors of type {kind} copy everything");
        let remedy = "rules are for type lport: they are ignored";
        complaints.column(from.mirror_rules.name, why, remedy);
    }
    if kind == "local" {
        if sink.is_empty() {
            let remedy = "write the external_ids:mirror-id of an interface";
            complaints.column(from.sink.name, "the sink has no name", remedy);
            return;
        }
    } else if sink.parse::<IpAddr>().is_err() {
        let why = format!("the sink of a mirror of type {kind} is an IP address");
        let remedy = "nothing is copied until it is";
        complaints.text(from.sink.name, &sink, 0, why, remedy);
        return;
    }
    if unit.lacks(&format!("{}.type={kind}", Mirror::NAME)) {
        let why = format!("the southbound database knows no mirrors of type {kind}");
        complaints.text(
            from.r#type.name,
            kind,
            0,
            why,
            "nothing is copied until it does",
        );
        return;
    }
    let recorded = unit.recorded(SOUTH_BY_NAME, &Atom::from(&**name)).next();
    let uuid = recorded.map_or_else(
        || identity::named(Mirror::NAME, Uuid::nil(), name),
        |(uuid, _)| uuid,
    );
    let copied = |from: usize| columns.get(from).clone();
    unit.row::<Mirror>(
        uuid,
        [
            (to.name.index, Datum::from(&**name)),
            (to.filter.index, copied(from.filter.index)),
            (to.sink.index, copied(from.sink.index)),
            (to.r#type.index, copied(from.r#type.index)),
            (to.index.index, copied(from.index.index)),
        ],
    );
    unit.say(&MIRROR, row, uuid);
}

fn to_port(unit: &Unit<'_>, columns: &Row, complaints: &mut Complaints) -> Option<ToPort> {
    let column = nb::Mirror::COLUMN;
    let sink: Arc<str> = column.sink.get(columns);
    let named = unit.having(matches::PORTS, &Atom::from(&*sink));
    if named.is_empty() {
        let why = format!("there is no port {sink:?}");
        complaints.warning(
            column.sink.name,
            &sink,
            0,
            why,
            "nothing is copied until there is",
        );
        return None;
    }
    let filter: Arc<str> = column.filter.get(columns);
    let mut rules = Vec::new();
    for rule in column.mirror_rules.get(columns) {
        let Some(row) = unit.find_north::<nb::MirrorRule>(rule) else {
            continue;
        };
        if let Some(columns) = unit.north(row) {
            rules.extend(selection(unit, columns, complaints));
        }
    }
    Some(ToPort {
        sink,
        copies_sent: &*filter != "to-lport",
        copies_got: &*filter != "from-lport",
        rules,
    })
}

fn selection(unit: &Unit<'_>, row: &Row, complaints: &mut Complaints) -> Option<Selection> {
    let column = nb::MirrorRule::COLUMN;
    let text: Arc<str> = column.r#match.get(row);
    let place = nb::Mirror::COLUMN.mirror_rules.name;
    let remedy = "the rule is left out until its match can be read";
    let when = matches::parse(&text, place, remedy, complaints)?;
    matches::check_names(unit, &when, &text, place, complaints);
    Some(Selection {
        priority: u16::try_from(column.priority.get(row)).unwrap_or_default(),
        when,
        copies: &*column.action.get(row) == "mirror",
    })
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A mirror comes, goes, or becomes another; or a port gets one, or loses it.
    pub fn change(world: &mut World, rng: &mut Rng) -> String {
        let all = world.nb::<nb::Mirror>();
        let ports = world.nb::<nb::LogicalSwitchPort>();
        let operations = match (rng.below(4), rng.pick(&all), rng.pick(&ports)) {
            (0, Some((uuid, _)), _) => vec![Operation::delete_row(nb::Mirror::INDEX, *uuid)],
            (1, Some((uuid, old)), _) => {
                let (mut row, _) = random(rng);
                row.name = Arc::clone(&old.name);
                row.mirror_rules.clone_from(&old.mirror_rules);
                let columns = row.to_row().columns().iter().cloned().enumerate().collect();
                vec![Operation::update_row(nb::Mirror::INDEX, *uuid, columns)]
            }
            (2, Some((mirror, _)), Some((port, row))) => {
                let mut mirrors = row.mirror_rules.clone();
                match mirrors.iter().position(|known| known == mirror) {
                    Some(place) => drop(mirrors.remove(place)),
                    None => mirrors.push(*mirror),
                }
                mirrors.sort();
                let columns = vec![nb::LogicalSwitchPort::COLUMN.mirror_rules.to(&mirrors)];
                vec![Operation::update_row(
                    nb::LogicalSwitchPort::INDEX,
                    *port,
                    columns,
                )]
            }
            _ => {
                let (mut row, rule) = random(rng);
                if all.iter().any(|(_, known)| known.name == row.name) {
                    return "the mirror is there".to_owned();
                }
                let (mirror, of) = (rng.uuid(), rng.uuid());
                row.mirror_rules = vec![of];
                vec![insert(of, &rule), insert(mirror, &row)]
            }
        };
        let what = format!("mirrors: {operations:?}");
        world.north(operations);
        what
    }

    fn random(rng: &mut Rng) -> (nb::Mirror, nb::MirrorRule) {
        let kind = ["gre", "erspan", "local", "lport", "lport", "lport"][rng.below(6)];
        let sinks = ["10.9.9.9", "p1", "p2", "p3", ""];
        let row = nb::Mirror {
            name: ["mirror1", "mirror2", "mirror3"][rng.below(3)].into(),
            filter: ["from-lport", "to-lport", "both"][rng.below(3)].into(),
            sink: sinks[rng.below(5)].into(),
            r#type: kind.into(),
            index: [0, 7][rng.below(2)],
            ..Default::default()
        };
        let rule = nb::MirrorRule {
            r#match: ["ip4", "tcp.dst == 80", "1", "ip4.sorce == 1"][rng.below(4)].into(),
            action: ["mirror", "skip"][rng.below(2)].into(),
            priority: [0, 1, 32_767][rng.below(3)],
            ..Default::default()
        };
        (row, rule)
    }
}
