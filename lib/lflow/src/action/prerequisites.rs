//! What actions imply about the packets that they apply to.
//!
//! A flow that writes `tcp.dst` applies to TCP packets only, whatever its match says. The prerequisites of all fields that
//! actions use, and those of the actions themselves, are added to the match. Actions in braces work on another packet;
//! what they use implies nothing here.

use super::{Action, Actions, Bare, Plain, Query, Transform};
use crate::expr::{Expr, texts};
use crate::m;
use crate::symbols::{Field, Symbol};

/// The match that actions imply.
pub fn prerequisites(actions: &Actions) -> Expr {
    let mut implied = Implied {
        expr: Expr::TRUE,
        seen: Vec::new(),
    };
    for action in &actions.0 {
        implied.action(action);
    }
    implied.expr
}

struct Implied {
    expr: Expr,
    /// The texts that are in `expr` already.
    seen: Vec<&'static str>,
}

impl Implied {
    fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            let symbol = field.symbol();
            if let Some(implied) = &texts(symbol).prerequisites
                && self.is_new(symbol.prerequisites())
            {
                self.and(implied.clone());
            }
        }
    }

    fn is_new(&mut self, text: &'static str) -> bool {
        let new = !self.seen.contains(&text);
        if new {
            self.seen.push(text);
        }
        new
    }

    fn and(&mut self, other: Expr) {
        self.expr = std::mem::replace(&mut self.expr, Expr::TRUE) & other;
    }

    /// What a symbol that is a predicate says.
    fn is(&mut self, predicate: Symbol) {
        if self.is_new(predicate.name()) {
            self.and(m::is(predicate));
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Assign(field, _) | Action::Push(field) | Action::Pop(field) => {
                self.fields(&[*field]);
            }
            Action::Copy { to, from } => self.fields(&[*to, *from]),
            Action::Exchange(a, b) => self.fields(&[*a, *b]),
            Action::DecrementTtl => self.is(Symbol::Ip),
            Action::Within(transform, _) => self.transform(*transform),
            Action::Call(_, args) => self.fields(args),
            Action::Query(to, query) => {
                self.fields(&[*to]);
                match query {
                    Query::Lookup(_, args) => self.fields(args),
                    Query::Bare(Bare::DnsLookup) => self.is(Symbol::Udp),
                    _ => {}
                }
            }
            Action::CtNext(_)
            | Action::CtCommit(_)
            | Action::CtCommitToZone(_)
            | Action::CtCommitNat(_)
            | Action::Nat { .. }
            | Action::Balance(_)
            | Action::CommitEcmpNextHop { .. }
            | Action::CommitAffinity(_) => self.is(Symbol::Ip),
            Action::BindVport { parent, .. } => self.fields(&[*parent]),
            Action::Plain(Plain::CtSnatToVip) => self.is(Symbol::Ip),
            Action::Plain(_)
            | Action::Drop
            | Action::Output
            | Action::Next { .. }
            | Action::ForwardGroup { .. }
            | Action::Log(_)
            | Action::Sample(_)
            | Action::SetQueue(_)
            | Action::SetMeter { .. }
            | Action::Mirror(_)
            | Action::Event(_) => {}
        }
    }

    fn transform(&mut self, transform: Transform) {
        match transform {
            Transform::Clone => {}
            Transform::Arp | Transform::Icmp4 | Transform::Icmp4Error => self.is(Symbol::Ip4),
            Transform::NdNs | Transform::Icmp6 | Transform::Icmp6Error => self.is(Symbol::Ip6),
            Transform::NdNa | Transform::NdNaRouter => self.is(Symbol::NdNs),
            Transform::TcpReset => self.is(Symbol::Tcp),
            Transform::SctpAbort => self.is(Symbol::Sctp),
            Transform::Reject => self.is(Symbol::Ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fields_and_actions() {
        for (text, implied) in [
            ("next;", "1"),
            ("eth.src = eth.dst; outport = inport; output;", "1"),
            ("tcp.dst = 80; tcp.dst = 81; next;", "tcp"),
            ("ip4.src = reg0; ip.ttl--;", "ip4 && ip"),
            ("put_arp(inport, arp.spa, arp.sha);", "arp"),
            (
                "reg0[0] = lookup_nd(inport, nd.target, nd.tll);",
                "nd && nd_na",
            ),
            (
                "arp { eth.dst = ff:ff:ff:ff:ff:ff; arp.op = 1; output; };",
                "ip4",
            ),
            ("clone { ip4.src = 10.0.0.1; output; };", "1"),
            ("reg0[4] = dns_lookup(); next;", "udp"),
            ("ct_next;", "ip"),
        ] {
            let actions = Actions::parse(text).unwrap();
            assert_eq!(prerequisites(&actions).to_string(), implied, "{text}");
        }
    }
}
