//! Actions as OpenFlow actions.
//!
//! What a logical action becomes depends on where its flow is ([`Context`]) and on how the controller has laid out its
//! tables ([`Tables`]); names are looked up in [`Resources`].
//!
//! Many actions are a call of a table with arguments in fixed fields: `lookup_fdb(P, A)` puts `P` into `inport` and `A` into
//! `eth.src`, looks up, and reads a flag. [`call`] saves what stands in those fields before and restores it after. Others are
//! a message to the controller, [`controller`]; those that make another packet carry the OpenFlow actions to be done with it.

mod affinity;
mod arguments;
mod call;
mod controller;
mod ct;
mod ecmp;
mod fields;
mod group;
mod learned;
mod tables;

use openflow::message::Group;
use openflow::{Action as OfAction, Field as OfField, Port};
use packet::dhcp4::option::{OptionError, OptionType};
use packet::dhcp6;
use thiserror::Error;

use super::{Action, Actions, Pipeline, Plain, Query, Sample, SampleArg, Transform};
use crate::constant::Name;
use crate::symbols::{Field, Symbol};

pub use tables::{FlagBit, Tables};

/// What names and specifications stand for, on one chassis and in one datapath.
pub trait Resources {
    /// The tunnel key of a port or multicast group of the datapath.
    fn port(&self, name: &str) -> Option<u32>;
    /// The number of the group with these contents; the number in `group` is not looked at. Nothing when there can be
    /// no groups.
    fn group(&self, group: &Group) -> Option<u32>;
    /// The number of a meter that drops above `rate` kilobits a second with bursts of `burst` kilobits. Nothing when
    /// there can be no meters.
    fn rate_meter(&self, rate: u32, burst: Option<u32>) -> Option<u32>;
    /// The number of the meter with a name, if the southbound has one.
    fn named_meter(&self, name: &str) -> Option<u32>;
    /// The tunnel key of the datapath.
    fn datapath(&self) -> u32;
    /// Whether a port is on this chassis.
    fn is_resident(&self, port: &str) -> bool;
    /// Whether the chassis that has a port can be reached, as far as anybody knows.
    fn is_reachable(&self, port: &str) -> bool {
        let _ = port;
        true
    }
    /// Whether northd's flows of load balancers use the registers that they use since OVN 25.09, and no others:
    /// `SB_Global.options:register_consolidation`.
    fn has_new_registers(&self) -> bool;
    /// Code and type of a DHCPv4 option.
    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)>;
    /// Code and type of a DHCPv6 option.
    fn dhcp6_option(&self, name: &str) -> Option<(u16, dhcp6::option::OptionType)>;
}

/// What kind of datapath a flow belongs to; it decides which connection tracking zone is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatapathKind {
    /// Each port has a zone.
    Switch,
    /// There are two zones, for source and for destination.
    Router,
}

/// Where a logical flow is.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Its pipeline.
    pub pipeline: Pipeline,
    /// Its logical table.
    pub table: u8,
    /// What it belongs to.
    pub datapath: DatapathKind,
    /// The first 32 bits of its UUID.
    pub cookie: u32,
    /// The meter for what it sends to the controller.
    pub controller_meter: Option<u32>,
    /// Whether the datapath can translate sources to "whatever is free", which keeps connections apart that were and
    /// were not translated.
    pub zero_snat: bool,
    /// The layout of tables.
    pub tables: &'a Tables,
    /// What names mean.
    pub resources: &'a dyn Resources,
}

/// Why an action has no encoding here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The action cannot be carried out yet.
    #[error("the action {0} is not supported")]
    Unsupported(&'static str),
    /// The field cannot be used so.
    #[error("{0} cannot be used here: the switch has no such field")]
    Field(Field),
    /// A jump beyond the end of a pipeline.
    #[error("there is no table {table} in the {} pipeline, which has {count}", .pipeline.name())]
    Table {
        /// The pipeline.
        pipeline: Pipeline,
        /// The table.
        table: u8,
        /// How many it has.
        count: u8,
    },
    /// A DHCP option that `DHCP_Options` does not have.
    #[error("unknown DHCP option {0:?}")]
    UnknownOption(Name),
    /// A DHCP option whose value is not of its type.
    #[error("the DHCP option {name:?}: {error}")]
    Option {
        /// Its name.
        name: Name,
        /// What is wrong.
        error: OptionError,
    },
    /// A value that a DHCPv6 option of that type cannot have.
    #[error("option {name}: {error}")]
    Option6 {
        /// The option.
        name: Name,
        /// Why not.
        error: dhcp6::option::OptionError,
    },
    /// `put_dhcp_opts` without an `offerip` that is an address.
    #[error("put_dhcp_opts needs offerip, an IPv4 address")]
    NoOffer,
    /// An option of `put_nd_ra_opts` that is unknown, has no value that makes sense, or is missing.
    #[error("put_nd_ra_opts needs a value of {0:?} that makes sense")]
    Advertisement(Name),
    /// A choice between more than a group of the switch can hold.
    #[error(
        "{action} has {count} to choose from, more than fit into a group of the switch: it must be fewer, about 700"
    )]
    Choices {
        /// The action.
        action: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A template variable that was not replaced before parsing.
    #[error("the template variable ^{0} has no value on this chassis")]
    Template(Name),
}

/// Encodes a list of actions.
///
/// # Errors
/// When one of them cannot be encoded; then the flow must not be installed.
pub fn encode(actions: &Actions, context: &Context<'_>) -> Result<Vec<OfAction>, EncodeError> {
    let mut out = Vec::with_capacity(actions.0.len() * 2);
    for action in &actions.0 {
        one(action, context, &mut out)?;
        if context.pipeline == Pipeline::Ingress && writes_inport(action) {
            out.extend(context.port_bits(Pipeline::Ingress));
        }
    }
    Ok(out)
}

/// Whether the actions write the port of the pipeline's own side, or go on in the other pipeline, where it is the other.
pub fn needs_port_bits(actions: &Actions, pipeline: Pipeline) -> bool {
    actions.0.iter().any(|action| match action {
        Action::Within(_, inner) => needs_port_bits(inner, pipeline),
        Action::Next { pipeline: to, .. } => to.is_some_and(|to| to != pipeline),
        _ => pipeline == Pipeline::Ingress && writes_inport(action),
    })
}

fn writes_inport(action: &Action) -> bool {
    let is_inport = |field: &Field| field.symbol() == Symbol::Inport;
    match action {
        Action::Assign(to, _)
        | Action::Copy { to, .. }
        | Action::Pop(to)
        | Action::Query(to, _) => is_inport(to),
        Action::Exchange(a, b) => is_inport(a) || is_inport(b),
        _ => false,
    }
}

type Outcome = Result<(), EncodeError>;

fn one(action: &Action, context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    match action {
        Action::Drop => out.clear(),
        Action::Output => out.push(OfAction::resubmit(context.output_table())),
        Action::Next { pipeline, table } => {
            let crosses = pipeline.filter(|to| *to != context.pipeline);
            out.extend(crosses.and_then(|to| context.port_bits(to)));
            out.push(OfAction::resubmit(context.next_table(*pipeline, *table)?));
        }
        Action::Assign(field, constant) => fields::assign(*field, constant, context, out)?,
        Action::Copy { to, from } => out.push(OfAction::Move {
            src: fields::subfield(*from)?,
            dst: fields::subfield(*to)?,
        }),
        Action::Exchange(a, b) => {
            let (a, b) = (fields::subfield(*a)?, fields::subfield(*b)?);
            out.extend([
                OfAction::Push(a),
                OfAction::Push(b),
                OfAction::Pop(a),
                OfAction::Pop(b),
            ]);
        }
        Action::Push(field) => out.push(OfAction::Push(fields::subfield(*field)?)),
        Action::Pop(field) => out.push(OfAction::Pop(fields::subfield(*field)?)),
        Action::DecrementTtl => out.push(OfAction::DecTtl),
        Action::Within(Transform::Clone, actions) => {
            out.push(OfAction::Clone(encode(actions, context)?));
        }
        Action::Within(transform, actions) => {
            controller::within(*transform, actions, context, out)?;
        }
        Action::Plain(plain) => self::plain(*plain, context, out)?,
        Action::Call(function, args) => call::function(*function, args, context, out)?,
        Action::Query(to, query) => self::query(*to, query, context, out)?,
        Action::CtNext(_)
        | Action::CtCommit(_)
        | Action::CtCommitToZone(_)
        | Action::CtCommitNat(_)
        | Action::Nat { .. } => ct::track(action, context, out)?,
        Action::Balance(balance) => group::balance(balance, context, out)?,
        Action::BindVport { vport, parent } => {
            controller::bind_vport(vport, *parent, context, out)?;
        }
        Action::ForwardGroup { liveness, children } => {
            group::forward(*liveness, children, context, out)?;
        }
        Action::Log(log) => controller::log(log, context, out),
        Action::SetQueue(id) => out.push(OfAction::SetQueue(*id)),
        Action::SetMeter { rate, burst } => {
            let meter = context.resources.rate_meter(*rate, *burst);
            out.push(OfAction::Meter(
                meter.ok_or(EncodeError::Unsupported("set_meter"))?,
            ));
        }
        Action::CommitEcmpNextHop { ipv6, proto } => ecmp::commit(*ipv6, proto, context, out)?,
        Action::CommitAffinity(affinity) => affinity::commit(affinity, context, out)?,
        Action::Sample(sample) => out.push(self::sample(sample, context)?),
        Action::Mirror(port) => mirror(port, context, out),
        Action::Event(event) => controller::event(event, context, out)?,
    }
    Ok(())
}

/// Collectors are told which datapath it is in the lower 24 bits of the observation domain.
fn sample(sample: &Sample, context: &Context<'_>) -> Result<OfAction, EncodeError> {
    let number = |argument: SampleArg| match argument {
        SampleArg::Number(number) => Ok(number),
        SampleArg::Cookie => Ok(context.cookie),
        SampleArg::Field(_) => Err(EncodeError::Unsupported("sample of a field")),
    };
    let datapath = context.resources.datapath() & 0x00ff_ffff;
    Ok(OfAction::Sample {
        probability: sample.probability,
        collector_set: number(sample.collector_set)?,
        obs_domain: u32::from(sample.obs_domain) << 24 | datapath,
        obs_point: number(sample.obs_point)?,
    })
}

/// A copy goes to the port, and the packet on. It may have to leave by the tunnel that it came by, so where it came in is hidden
/// from the switch; without the port there is no copy.
fn mirror(port: &str, context: &Context<'_>, out: &mut Vec<OfAction>) {
    if let Some(key) = context.resources.port(port) {
        out.push(OfAction::Clone(vec![
            OfAction::set(OfField::Reg15, key),
            OfAction::set(OfField::InPort, Port::ANY.0),
            OfAction::resubmit(context.tables.output_ingress),
        ]));
    }
}

fn plain(plain: Plain, context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    use packet::userdata::Opcode;
    match plain {
        Plain::CtClear => out.push(OfAction::CtClear),
        Plain::CtSnatToVip => out.push(OfAction::resubmit(context.tables.ct_snat_hairpin)),
        Plain::MacCacheUse => out.push(OfAction::resubmit(context.tables.mac_cache_use)),
        Plain::FloodRemote => out.push(OfAction::resubmit(context.tables.flood_remote)),
        Plain::Igmp => controller::bare(Opcode::Igmp, context, out),
        Plain::HandleDhcpv6Reply => controller::bare(Opcode::Dhcp6Reply, context, out),
        Plain::HandleBfdMsg => controller::bare(Opcode::Bfd, context, out),
    }
    Ok(())
}

fn query(to: Field, query: &Query, context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    match query {
        Query::Bare(bare) => call::bare(*bare, to, context, out),
        Query::Lookup(lookup, args) => call::lookup(*lookup, to, args, context, out),
        Query::PacketLarger(bytes) => {
            out.push(OfAction::CheckPktLarger {
                packet_len: *bytes,
                dst: fields::subfield(to)?,
            });
            Ok(())
        }
        Query::PutOptions(kind, options) => {
            controller::put_options(*kind, to, options, context, out)
        }
        Query::RelayCheck {
            response,
            relay,
            server,
        } => controller::relay_check(*response, to, *relay, *server, context, out),
        Query::Select(select) => group::select(select, to, context, out),
    }
}

impl Context<'_> {
    /// Looks up what is known of the port on a pipeline's own side.
    fn port_bits(&self, pipeline: Pipeline) -> Option<OfAction> {
        let (ingress, egress) = self.tables.port_bits?;
        Some(OfAction::resubmit(match pipeline {
            Pipeline::Ingress => ingress,
            Pipeline::Egress => egress,
        }))
    }

    /// The table that `output;` goes to.
    fn output_table(&self) -> u8 {
        match self.pipeline {
            Pipeline::Ingress => self.tables.output_ingress,
            Pipeline::Egress => self.tables.output_egress,
        }
    }

    /// The table that `next` goes to.
    fn next_table(&self, pipeline: Option<Pipeline>, table: Option<u8>) -> Result<u8, EncodeError> {
        let pipeline = pipeline.unwrap_or(self.pipeline);
        let table = table.unwrap_or(self.table.saturating_add(1));
        let (first, count) = match pipeline {
            Pipeline::Ingress => (self.tables.ingress, self.tables.ingress_count),
            Pipeline::Egress => (self.tables.egress, self.tables.egress_count),
        };
        match table < count {
            true => Ok(first + table),
            false => Err(EncodeError::Table {
                pipeline,
                table,
                count,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
