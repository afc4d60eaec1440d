//! Delivery: the egress pipeline, before the port gets the packet.
//!
//! Arrives: a packet with its port in `outport`, once for every port of a group. Guarantees that a disabled port gets nothing,
//! also of learned addresses, and that a port gets unicast packets only for addresses that its `port_security` names
//! (`check_out_port_sec()`, answered by the controller). Group traffic is for everybody.

use lflow::Symbol;
use lflow::action::Bare;
use lflow::{a, m};

use super::PortView;
use super::admission::DROP_BIT;
use crate::pipeline::{Flows, Rule, Stage};

const CLOSED: Rule = Rule::new(Stage::OutCheckPortSec, 150, "to a disabled port: drop");
const GROUP: Rule = Rule::new(
    Stage::OutCheckPortSec,
    100,
    "a group address: next, unchecked",
);
const CHECK: Rule = Rule::new(
    Stage::OutCheckPortSec,
    0,
    "the rest: ask whether port security allows it",
);
const APPLY: Rule = Rule::new(Stage::OutApplyPortSec, 50, "port security forbids it: drop");
const DELIVER: Rule = Rule::new(Stage::OutApplyPortSec, 0, "the rest: deliver");

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[CLOSED, GROUP, CHECK, APPLY, DELIVER];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(
        GROUP,
        &m::eth_mcast(),
        [a::clear_bit(Symbol::Reg0, DROP_BIT), a::next()],
    );
    flows.add(
        CHECK,
        &m::any(),
        [
            a::ask(Symbol::Reg0.bit(DROP_BIT), Bare::CheckOutPortSec),
            a::next(),
        ],
    );
    flows.add(APPLY, &m::bit(Symbol::Reg0, DROP_BIT), [a::drop()]);
    flows.add(DELIVER, &m::any(), [a::output()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    if !view.port.is_enabled {
        flows.add(CLOSED, &m::outport(view.port.name.clone()), [a::drop()]);
    }
}
