//! Learning where addresses are that nobody has declared.
//!
//! Arrives: admitted packets. Guarantees that the source address of a packet from a port with `unknown` addresses and without
//! port security is in the `FDB` table before the packet goes on; `lookup` finds it there. Ports of type `localnet` learn only
//! if told to (`options:localnet_learn_fdb`), guests unless told not to (`options:lsp_learn_mac`): a network behind may have more
//! addresses than the table should. What is
//! learned there is marked with `flags.localnet`, and controllers let it have no address that a guest has: a frame that the
//! physical network reflects does not move a guest.
//!
//! Controllers write the table; northd deletes what was learned at ports that are gone. Of a switch with
//! `other_config:fdb_age_threshold` it also deletes what nobody has heard of for longer, as many at once as
//! `NB_Global.options:fdb_removal_limit` says; controllers refresh `timestamp` of what they hear of.

use std::sync::Arc;

use lflow::Symbol;
use lflow::action::Lookup;
use lflow::{Int, a, m};
use nb_db::tables::{LogicalSwitch, NbGlobal};
use ovsdb::typed::Table;
use ovsdb::{Atom, Row};
use relations::{Handle, Relation, Small};
use sb_db::tables::{DatapathBinding, Fdb, PortBinding};
use uuid::Uuid;

use super::ports::{self, Port, PortKind, Security};
use super::switch::{SWITCH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Follower, Index, Kind, Left, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::world::World;
#[cfg(test)]
use crate::testing::{Change, random};

const KNOWN: Bits = Bits::bit(
    "the source is known to be at its port",
    Symbol::Reg0,
    11,
    Stage::InLookupFdb,
    Stage::InPutFdb,
);

const LOOK: Rule = Rule::new(
    Stage::InLookupFdb,
    100,
    "from a port that learns: ask whether the source is known there",
);
const LOOK_NOT: Rule = Rule::new(Stage::InLookupFdb, 0, "the rest: next");
const LEARN: Rule = Rule::new(
    Stage::InPutFdb,
    100,
    "from a port that learns, source not known: learn it",
);
const LEARN_NOT: Rule = Rule::new(Stage::InPutFdb, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<NbGlobal>(&[])
            .keys(&[(NbGlobal::COLUMN.options.index, &["fdb_removal_limit"])]),
        Source::south::<DatapathBinding>(&[
            DatapathBinding::COLUMN.nb_uuid.index,
            DatapathBinding::COLUMN.tunnel_key.index,
        ]),
        Source::south::<Fdb>(&[Fdb::COLUMN.dp_key.index, Fdb::COLUMN.timestamp.index]),
    ],
    indexes: &[BY_KEY],
    relations: &[&LIMIT],
    kinds: &[&SHARED, &OF_PORT, &MODEL, &AGE],
    rules: &[LOOK, LOOK_NOT, LEARN, LEARN_NOT],
    bits: &[KNOWN],
    followers: &[&LEARNED],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 2,
            run: random::learn,
        },
        Change {
            weight: 1,
            run: random::forget,
        },
    ],
    ..Feature::new("fdb")
};

/// How many rows are deleted at once; none is no limit.
static LIMIT: Relation<(), u32> = Relation::new("limit of forgotten addresses");

/// Datapaths by key.
const BY_KEY: Index = Index::south::<DatapathBinding>(DatapathBinding::COLUMN.tunnel_key.index);

static MODEL: Kind = Kind {
    name: "model/forgotten-addresses",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&LIMIT],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let mut complaints = unit.complaints::<NbGlobal>(row, Arc::from(""));
        let limit = options.number("fdb_removal_limit", 0..=u32::MAX, &mut complaints);
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            unit.say(&LIMIT, (), limit);
        }
        unit.problems(complaints.into_problems());
    },
};

static AGE: Kind = Kind {
    name: "learned-address",
    over: Over::South(Fdb::INDEX),
    reads: &[&SWITCH, &LIMIT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.south(row) else {
            return;
        };
        let column = Fdb::COLUMN;
        let key = Atom::Integer(column.dp_key.get(columns));
        let datapath = unit.having(BY_KEY, &key).first();
        let datapath = datapath.and_then(|datapath| unit.south(*datapath));
        let switch: Option<Uuid> =
            datapath.and_then(|datapath| DatapathBinding::COLUMN.nb_uuid.get(datapath));
        let switch = switch.and_then(|uuid| unit.find_north::<LogicalSwitch>(uuid));
        let age_s = switch
            .and_then(|switch| unit.get(&SWITCH, switch))
            .and_then(|switch| switch.fdb_age_s);
        let Some(age_s) = age_s else {
            return;
        };
        let heard_ms = column.timestamp.get(columns);
        if heard_ms == 0 {
            // Its controller does not say when: those of OVN before 23.09 never do.
            return;
        }
        let due_ms = heard_ms.saturating_add(i64::from(age_s) * 1_000);
        if unit.now_ms() < due_ms {
            return unit.deadline(due_ms);
        }
        let limit = unit.get(&LIMIT, ()).copied().unwrap_or_default();
        unit.expired::<Fdb>(row, Some((column.timestamp.index, heard_ms)), limit);
    },
};

/// What was learned at a port is known by the keys of the port and its datapath.
static LEARNED: Follower = Follower {
    table: Fdb::INDEX,
    columns: &[Fdb::COLUMN.dp_key.index, Fdb::COLUMN.port_key.index],
    place: |row| (Fdb::COLUMN.dp_key.get(row), Fdb::COLUMN.port_key.get(row)),
    of: PortBinding::INDEX,
    place_of,
    leaves,
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(LOOK_NOT, &m::any(), [a::next()]);
        flows.add(LEARN_NOT, &m::any(), [a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    if !learns(view.port) {
        return;
    }
    let inport = m::inport(view.port.name.clone());
    let mut look = Vec::new();
    if matches!(view.port.kind, PortKind::Localnet { .. }) {
        look.push(a::set(Symbol::FlagsLocalnet, Int::new(1)));
    }
    let arguments = [Symbol::Inport, Symbol::EthSrc];
    look.push(a::lookup(KNOWN.field(), Lookup::LookupFdb, arguments));
    look.push(a::next());
    let mut flows = view.flows(unit);
    flows.add(LOOK, &inport, look);
    let learn = [a::put_fdb(Symbol::Inport, Symbol::EthSrc), a::next()];
    flows.add(LEARN, &(inport & KNOWN.is_clear()), learn);
});

fn learns(port: &Port) -> bool {
    let by_kind = match port.kind {
        PortKind::Vif { .. } | PortKind::Switch { .. } => port.is_learned_from,
        PortKind::Localnet { learns, .. } => learns,
        _ => false,
    };
    by_kind && port.is_enabled && port.is_unknown && port.security == Security::Open
}

fn place_of(world: &World, binding: &Row) -> Option<(i64, i64)> {
    let column = PortBinding::COLUMN;
    let uuid = column.datapath.get(binding);
    let datapath = world.south.peek_find(DatapathBinding::INDEX, uuid)?;
    let datapath = world.south.peek(datapath)?;
    Some((
        DatapathBinding::COLUMN.tunnel_key.get(datapath),
        column.tunnel_key.get(binding),
    ))
}

/// A port leaves its place with its tunnel key or its datapath, and a datapath all of its ports' places with its key.
fn leaves(world: &World, table: usize, old: &Row, new: &Row) -> Option<Left> {
    let differs = |column: usize| old.get(column) != new.get(column);
    let (datapath, port) = (DatapathBinding::COLUMN, PortBinding::COLUMN);
    match table {
        DatapathBinding::INDEX if differs(datapath.tunnel_key.index) => {
            Some(Left::All(datapath.tunnel_key.get(old)))
        }
        PortBinding::INDEX if differs(port.tunnel_key.index) || differs(port.datapath.index) => {
            place_of(world, old).map(Left::Place)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::{World, insert};

    #[test]
    fn addresses_are_forgotten_when_they_are_old() {
        let mut world = World::new();
        let (switch, port) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let row = nb_db::tables::LogicalSwitchPort {
            name: "p".into(),
            addresses: vec!["unknown".into()],
            ..Default::default()
        };
        let mut operations = vec![insert(port, &row)];
        let row = LogicalSwitch {
            name: "s".into(),
            ports: vec![port],
            other_config: [("fdb_age_threshold".into(), "10".into())].into(),
            ..Default::default()
        };
        operations.push(insert(switch, &row));
        world.north(operations);
        let (_, datapath) = world.sb::<DatapathBinding>().remove(0);
        assert_eq!(
            datapath
                .external_ids
                .get("fdb_age_threshold")
                .map(|age| &**age),
            Some("10")
        );
        let (_, binding) = world.sb::<PortBinding>().remove(0);
        let now = world.now_ms;
        let rows = [(1u8, now), (2, now + 5_000)].map(|(n, timestamp)| {
            let row = Fdb {
                mac: format!("02:00:00:00:00:0{n}").into(),
                dp_key: datapath.tunnel_key,
                port_key: binding.tunnel_key,
                timestamp,
                ..Default::default()
            };
            insert(Uuid::from_u128(10 + u128::from(n)), &row)
        });
        world.south(rows.to_vec());
        let pass_to = |world: &mut World, at_ms| {
            world.now_ms = at_ms;
            world.settle();
            world.sb::<Fdb>().len()
        };
        assert_eq!(pass_to(&mut world, now + 8_000), 2);
        assert_eq!(pass_to(&mut world, now + 10_000), 1);
        // A chassis has heard of the other.
        let heard = vec![Fdb::COLUMN.timestamp.to(&(now + 14_000))];
        let row = Uuid::from_u128(12);
        world.south(vec![Operation::update_row(Fdb::INDEX, row, heard)]);
        assert_eq!(pass_to(&mut world, now + 22_000), 1);
        assert_eq!(pass_to(&mut world, now + 24_000), 0);
        // Nobody says when this one was heard of.
        let row = Fdb {
            mac: "02:00:00:00:00:03".into(),
            dp_key: datapath.tunnel_key,
            port_key: binding.tunnel_key,
            ..Default::default()
        };
        world.south(vec![insert(Uuid::from_u128(13), &row)]);
        assert_eq!(pass_to(&mut world, now + 60_000), 1);
    }
}
