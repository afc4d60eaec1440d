//! Actions that choose: groups of OpenFlow.
//!
//! **A bucket's number comes from what it stands for,** not from its place: when a backend comes or goes, the others keep
//! theirs. Where a bucket is chosen by a hash of fields, the switch weighs the hash with each bucket's number (rendezvous
//! hashing), so that only those who had the backend that went, or who get the one that came, are moved.

use std::collections::HashSet;

use openflow::action::NatKind;
use openflow::message::{Bucket, Group, GroupKind, SelectionMethod};
use openflow::{Action as OfAction, Field as OfField};

use super::ct::{in_zone, nat};
use super::fields::subfield;
use super::{Context, EncodeError, Outcome};
use crate::action::{Backend, Balance, BalanceKind, Select, Zone};
use crate::constant::Name;
use crate::symbols::Field;

/// The bit of `ct_mark` or `ct_label` that says that the destination was translated.
const NATTED: u128 = 1 << 1;
/// The bit that says that the source must not be translated.
const SKIP_SNAT: u128 = 1 << 2;
/// The bit that says that the source must be translated.
const FORCE_SNAT: u128 = 1 << 3;

/// `ct_lb_mark(…);` and its kin.
pub(super) fn balance(
    balance: &Balance,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let table = Some(context.next_table(None, None)?);
    if balance.backends.is_empty() {
        let mut ct = in_zone(context, Zone::Dnat);
        ct.table = table;
        ct.exec = vec![nat(None, None, None)];
        out.push(OfAction::Ct(Box::new(ct)));
        return Ok(());
    }
    let mut flags = NATTED;
    if balance.skip_snat {
        flags |= SKIP_SNAT;
    }
    if balance.force_snat {
        flags |= FORCE_SNAT;
    }
    let field = match balance.kind {
        BalanceKind::CtLb => OfField::CtLabel,
        _ => OfField::CtMark,
    };
    let is_used = |backend: &&Backend| match (balance.kind, &backend.lport) {
        (BalanceKind::CtLbMarkLocal, Some(port)) => context.resources.is_resident(port),
        _ => true,
    };
    let buckets = balance.backends.iter().filter(is_used).map(|backend| {
        let ports = backend
            .port
            .and_then(|port| addr::PortRange::new(port, port));
        let mut ct = in_zone(context, Zone::Dnat);
        ct.commit = true;
        ct.table = table;
        ct.exec = vec![
            nat(Some(NatKind::Dst), Some(backend.ip), ports),
            OfAction::set_masked(field, flags, flags),
        ];
        Choice {
            number: number_of(backend),
            weight: DEFAULT_WEIGHT,
            actions: vec![OfAction::Ct(Box::new(ct))],
        }
    });
    let group = select_group(buckets, balance.hash_fields.as_deref());
    if group.buckets.is_empty() {
        // None of them is on this chassis: nobody here takes it.
        out.clear();
        return Ok(());
    }
    choose(&group, balance.kind.name(), context, out)
}

/// `R = select(…);`
pub(super) fn select(
    select: &Select,
    to: Field,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let next = context.next_table(None, None)?;
    let to = subfield(to)?;
    let buckets = select.values.iter().map(|(value, weight)| Choice {
        number: u32::from(*value),
        weight: *weight,
        actions: vec![OfAction::load(to, *value), OfAction::resubmit(next)],
    });
    let group = select_group(buckets, select.hash_fields.as_deref());
    choose(&group, "select", context, out)
}

/// `fwd_group(…);`: one of the ports; those that do not exist are left out, and with `liveness` those that cannot be reached,
/// unless none can.
pub(super) fn forward(
    liveness: bool,
    children: &[Name],
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let resources = context.resources;
    let is_alive = |child: &&Name| !liveness || resources.is_reachable(child);
    let mut alive: Vec<&Name> = children.iter().filter(is_alive).collect();
    if alive.is_empty() {
        alive = children.iter().collect();
    }
    let keys = alive.into_iter().filter_map(|child| resources.port(child));
    let buckets = keys.map(|key| Choice {
        number: key,
        weight: DEFAULT_WEIGHT,
        actions: vec![
            OfAction::set(OfField::Reg15, key),
            OfAction::resubmit(context.output_table()),
        ],
    });
    let group = select_group(buckets, None);
    match group.buckets.is_empty() {
        true => Ok(()),
        false => choose(&group, "fwd_group", context, out),
    }
}

/// Sends the packet to a group.
fn choose(
    group: &Group,
    name: &'static str,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    if group.encoded_len() > Group::MAX_LEN {
        return Err(EncodeError::Choices {
            action: name,
            count: group.buckets.len(),
        });
    }
    let number = context
        .resources
        .group(group)
        .ok_or(EncodeError::Unsupported(name))?;
    out.push(OfAction::Group(number));
    Ok(())
}

/// The weight of a bucket where none is written.
const DEFAULT_WEIGHT: u16 = Select::DEFAULT_WEIGHT;

/// The greatest number of a bucket (OpenFlow 1.5.1, section 7.3.4.3, `OFPG_BUCKET_MAX`).
const LAST_BUCKET: u32 = 0xffff_ff00;

/// Something to choose.
struct Choice {
    /// The number of its bucket, unless another has that already.
    number: u32,
    weight: u16,
    actions: Vec<OfAction>,
}

/// A number for what a bucket stands for, the same in every process and for ever: the FNV-1a hash of its text.
fn number_of(backend: &Backend) -> u32 {
    let text = format!("{} {}", backend.ip, backend.port.unwrap_or_default());
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// A select group of these buckets; its number is the caller's to set.
fn select_group(choices: impl Iterator<Item = Choice>, hash_fields: Option<&str>) -> Group {
    let mut taken = HashSet::new();
    let buckets = choices.map(|choice| {
        let mut id = choice.number % LAST_BUCKET;
        while !taken.insert(id) {
            id = (id + 1) % LAST_BUCKET;
        }
        Bucket {
            id,
            weight: Some(choice.weight),
            actions: choice.actions,
        }
    });
    Group {
        id: 0,
        kind: GroupKind::Select,
        buckets: buckets.collect(),
        selection: Some(selection(hash_fields)),
    }
}

/// How a bucket is chosen: by the datapath's hash, or by the fields that are named.
fn selection(hash_fields: Option<&str>) -> SelectionMethod {
    let fields: Vec<_> = hash_fields
        .unwrap_or("")
        .split(',')
        .filter_map(hash_field)
        .collect();
    match fields.is_empty() {
        true => SelectionMethod::DpHash { param: 0 },
        false => SelectionMethod::Hash { fields, param: 0 },
    }
}

/// A field by the name that load balancers give it, or by the switch's.
fn hash_field(name: &str) -> Option<OfField> {
    match name.trim() {
        "eth_src" => Some(OfField::EthSrc),
        "eth_dst" => Some(OfField::EthDst),
        "ip_src" => Some(OfField::IpSrc),
        "ip_dst" => Some(OfField::IpDst),
        "ipv6_src" => Some(OfField::Ipv6Src),
        "ipv6_dst" => Some(OfField::Ipv6Dst),
        other => OfField::from_name(other),
    }
}
