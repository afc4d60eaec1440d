//! Connection tracking.
//!
//! A switch tracks each port in a zone of its own, a router sources and destinations in one zone each; the controller has
//! put the numbers of the zones into registers 11 to 13 before the pipeline runs. Translations that a flow orders by name
//! (`ct_snat`, `ct_dnat`) are in the datapath's zone for them on switches, too: there, connections that come back to their
//! client are kept apart from those of its port.

use std::net::IpAddr;

use addr::PortRange;
use openflow::action::{Ct, CtZone, Nat, NatKind as OfNatKind};
use openflow::{Action as OfAction, Field as OfField, Subfield};

use super::{Context, DatapathKind, EncodeError, Outcome, fields};
use crate::action::{Action, NatKind, Zone};

/// The register with the zone of the port (switch).
const PORT_ZONE: OfField = OfField::Reg13;
/// The register with the zone for destinations (router).
const DNAT_ZONE: OfField = OfField::Reg11;
/// The register with the zone for sources (router).
const SNAT_ZONE: OfField = OfField::Reg12;

/// Encodes one of the `ct_…` actions.
pub(super) fn track(action: &Action, context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    let next = || context.next_table(None, None).map(Some);
    let ct = match action {
        Action::CtNext(zone) => Ct {
            table: next()?,
            ..in_zone(context, zone.unwrap_or(Zone::Dnat))
        },
        Action::CtCommit(assignments) => {
            let mut exec = Vec::new();
            for assignment in assignments {
                commit_assignment(assignment, context, &mut exec)?;
            }
            if context.zero_snat {
                exec.insert(0, nat(Some(OfNatKind::Src), None, None));
            }
            Ct {
                commit: true,
                exec,
                ..in_zone(context, Zone::Dnat)
            }
        }
        Action::CtCommitToZone(zone) => Ct {
            commit: true,
            ..in_zone(context, *zone)
        },
        Action::CtCommitNat(zone) => Ct {
            commit: true,
            table: next()?,
            exec: vec![nat(None, None, None)],
            ..in_zone(context, zone.unwrap_or(Zone::Dnat))
        },
        Action::Nat { kind, ip, ports } => {
            let (register, of_kind) = match kind {
                NatKind::Dnat => (DNAT_ZONE, OfNatKind::Dst),
                NatKind::Snat => (SNAT_ZONE, OfNatKind::Src),
                // The common zone of a router is that for destinations.
                NatKind::DnatInCommonZone => (DNAT_ZONE, OfNatKind::Dst),
                NatKind::SnatInCommonZone => (DNAT_ZONE, OfNatKind::Src),
            };
            Ct {
                commit: ip.is_some(),
                table: next()?,
                exec: vec![nat(ip.map(|_| of_kind), *ip, *ports)],
                ..in_register(register)
            }
        }
        _ => return Err(EncodeError::Unsupported("this connection tracking action")),
    };
    out.push(OfAction::Ct(Box::new(ct)));
    Ok(())
}

/// A `ct` action that does nothing yet, in the zone that `zone` is on this kind of datapath.
pub(super) fn in_zone(context: &Context<'_>, zone: Zone) -> Ct {
    let register = match (context.datapath, zone) {
        (DatapathKind::Switch, _) => PORT_ZONE,
        (DatapathKind::Router, Zone::Dnat) => DNAT_ZONE,
        (DatapathKind::Router, Zone::Snat) => SNAT_ZONE,
    };
    in_register(register)
}

/// The same in the zone whose number is in a register.
fn in_register(register: OfField) -> Ct {
    let bits = Subfield {
        field: register,
        offset: 0,
        width: 16,
    };
    Ct {
        commit: false,
        force: false,
        zone: CtZone::Field(bits),
        table: None,
        alg: 0,
        exec: Vec::new(),
    }
}

/// `nat(…)`
pub(super) fn nat(
    kind: Option<OfNatKind>,
    ip: Option<IpAddr>,
    ports: Option<PortRange>,
) -> OfAction {
    OfAction::Nat(Box::new(Nat {
        kind,
        addrs: ip.map(|ip| (ip, ip)),
        ports: ports.map(|ports| (ports.lo(), ports.hi())),
        ..Nat::default()
    }))
}

/// `ct_mark = 1;` inside `ct_commit { … }`.
fn commit_assignment(action: &Action, context: &Context<'_>, exec: &mut Vec<OfAction>) -> Outcome {
    match action {
        Action::Assign(field, constant) => fields::assign(*field, constant, context, exec),
        Action::Copy { to, from } => {
            exec.push(OfAction::Move {
                src: fields::subfield(*from)?,
                dst: fields::subfield(*to)?,
            });
            Ok(())
        }
        _ => Err(EncodeError::Unsupported("this action inside ct_commit")),
    }
}
