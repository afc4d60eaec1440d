//! Learning where addresses are that nobody has declared.
//!
//! Arrives: admitted packets. Guarantees that the source address of a packet from a port with `unknown` addresses and without
//! port security is in the `FDB` table before the packet goes on; `lookup` finds it there. Ports of type `localnet` learn only
//! if told to (`options:localnet_learn_fdb`), guests unless told not to (`options:lsp_learn_mac`): a network behind may have more
//! addresses than the table should. What is
//! learned there is marked with `flags.localnet`, and controllers let it have no address that a guest has: a frame that the
//! physical network reflects does not move a guest.
//!
//! Controllers write the table; northd deletes what was learned at ports that are gone.

use lflow::Symbol;
use lflow::action::Lookup;
use lflow::{Int, a, m};
use ovsdb::Row;
use ovsdb::typed::Table;
use sb_db::tables::{DatapathBinding, Fdb, PortBinding};

use super::ports::{self, Port, PortKind, Security};
use super::switch::{SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Follower, Kind, Left, Over};
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
    kinds: &[&SHARED, &OF_PORT],
    rules: &[LOOK, LOOK_NOT, LEARN, LEARN_NOT],
    bits: &[KNOWN],
    followers: &[&LEARNED],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: random::learn,
    }],
    ..Feature::new("fdb")
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
        PortKind::Vif { .. } => port.is_learned_from,
        PortKind::Localnet { learns, .. } => learns,
        PortKind::Localport | PortKind::Router { .. } => false,
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
