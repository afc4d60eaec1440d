//! Learning where addresses are that nobody has declared.
//!
//! Arrives: admitted packets. Guarantees that the source address of a packet from a port with `unknown` addresses and without
//! port security is in the `FDB` table before the packet goes on; `lookup` finds it there. Ports of type `localnet` learn only
//! if told to (`options:localnet_learn_fdb`): a physical network may have more addresses than the table should.
//!
//! Ageing is the controllers' and northd's `FDB` upkeep, not a matter of flows.

use lflow::Symbol;
use lflow::action::Lookup;
use lflow::{a, m};

use super::PortView;
use crate::model::{Port, PortKind, Security};
use crate::pipeline::{Flows, Rule, Stage};

/// Set when the source is already known to be at its port.
const KNOWN_BIT: u8 = 11;

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

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[LOOK, LOOK_NOT, LEARN, LEARN_NOT];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(LOOK_NOT, &m::any(), [a::next()]);
    flows.add(LEARN_NOT, &m::any(), [a::next()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    if !learns(view.port) {
        return;
    }
    let inport = m::inport(view.port.name.clone());
    let arguments = [Symbol::Inport, Symbol::EthSrc];
    flows.add(
        LOOK,
        &inport,
        [
            a::lookup(Symbol::Reg0.bit(KNOWN_BIT), Lookup::LookupFdb, arguments),
            a::next(),
        ],
    );
    let unknown = m::eq(Symbol::Reg0.bit(KNOWN_BIT), lflow::Int::new(0));
    flows.add(
        LEARN,
        &(inport & unknown),
        [a::put_fdb(Symbol::Inport, Symbol::EthSrc), a::next()],
    );
}

fn learns(port: &Port) -> bool {
    let by_kind = match port.kind {
        PortKind::Vif { .. } => true,
        PortKind::Localnet { learns, .. } => learns,
        PortKind::Localport => false,
    };
    by_kind && port.is_enabled && port.is_unknown && port.security == Security::Open
}
