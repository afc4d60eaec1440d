//! Load balancers on switches whose rules say allow-stateless (`Logical_Switch.other_config:enable-stateless-acl-with-lb`).
//!
//! What such a rule lets pass is not looked up, so no load balancer sees it. With this setting, what goes to a virtual address is
//! looked up all the same, and what comes from a backend: that may be a reply, which has to come from the virtual address again. So is an
//! ICMP error, which may be about such a connection and come from any router on the way: its client has to read of the virtual address
//! in it. All other packets of these rules stay untracked.
//!
//! Who speaks to a backend by its own address does so untracked, and the backend's answers are of no connection that is known. They
//! are *invalid*, but not for that reason dropped: rules decide.

use lflow::{Expr, Int, Symbol, a, m};
use relations::{Handle, Small};

use super::carriers::{self, HAS, Place, carriers_at};
use super::flows::by_version;
use super::model::BALANCER;
use super::shared::translate;
use crate::compiler::feature::{Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::features::acl::MAY_BE_REPLY;

/// Above all rules allow-stateless.
const ABOVE_RULES: u16 = 50_000;

pub(super) const TO_VIP: Rule = Rule::new(
    Stage::InPreAcl,
    ABOVE_RULES,
    "with enable-stateless-acl-with-lb, to a virtual address: look the connection up, and translate",
);
pub(super) const FROM_BACKEND: Rule = Rule::new(
    Stage::OutPreAcl,
    ABOVE_RULES,
    "with enable-stateless-acl-with-lb, from a backend: look the connection up, and translate what is a reply",
);

pub(super) const ERROR: Rule = Rule::new(
    Stage::OutPreAcl,
    ABOVE_RULES,
    "with enable-stateless-acl-with-lb, an ICMP error: look the connection that it is about up, and translate",
);

pub(super) static FLOWS: Kind = Kind {
    name: "load-balancer/untracking",
    over: Over::Keys(&BALANCER),
    reads: &[&HAS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        let look_up_reply = || [a::set(MAY_BE_REPLY.field(), Int::new(1)), translate()];
        for carrier in carriers_at(unit, row, Place::Untracking) {
            let mut flows = carriers::flows(unit, carrier, Place::Untracking, None);
            flows.add_common(ERROR, &is_error(), look_up_reply());
            for to in by_version(&balancer.outer_ips()) {
                let to = m::ip() & m::one_of(m::ip_dst_field(to[0]), to);
                flows.add(TO_VIP, &to, [translate()]);
            }
            for from in by_version(&balancer.backend_ips()) {
                let from = m::ip() & m::one_of(m::ip_src_field(from[0]), from);
                flows.add(FROM_BACKEND, &from, look_up_reply());
            }
            for template in &balancer.templates {
                flows.add(TO_VIP, &(m::ip() & template.is_address()), [translate()]);
                // Which backends there are, the chassis know.
                let family = if template.is_ip4 { m::ip4() } else { m::ip6() };
                flows.add(FROM_BACKEND, &family, look_up_reply());
            }
        }
    },
};

/// An error of ICMP about another packet (RFC 792: 3, 11, 12; RFC 4443: 1 to 4).
fn is_error() -> Expr {
    let of_4 = [3, 11, 12].map(Int::new);
    let of_6 = [1, 2, 3, 4].map(Int::new);
    m::one_of(Symbol::Icmp4Type, of_4) | m::one_of(Symbol::Icmp6Type, of_6)
}
