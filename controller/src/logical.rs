//! Logical flows to flows of the switch.
//!
//! A logical flow says for one datapath, or for a group of them, what is done with which packets. For each of its datapaths
//! that is local here, its match is resolved (names become keys, address sets and port groups their members), normalised and
//! made matches of OpenFlow, each with the datapath's key; its actions are encoded once for the datapath.
//!
//! **Flows of a datapath group are translated once** for all datapaths that share a bit of `metadata` ([`crate::network`],
//! sharing), unless something in them means something else in each: a port, a port group, a multicast group with several keys.
//! Then, and where a group has no bit, they are translated for each datapath.
//!
//! What a translation depends on is what it read: the flow's row, the ports, groups and sets that it names, DHCP's option
//! codes, the chassis of ports asked for by `is_chassis_resident`. All of it is read through [`Names`], so the engine knows, and
//! runs again just the flows that name what changed.
//!
//! **Flows about a guest that is elsewhere are skipped.** A flow whose match, or `in_out_port` tag, demands a guest as input
//! port of the ingress pipeline or output port of the egress pipeline applies only to packets that never come by here. So it is
//! with the members of a port group: only those have flows that are here.
//!
//! **Groups, meters and conjunctive matches** are named by what they are ([`Need`]); whoever installs the flows numbers them. A group
//! is named by whom it chooses for, too, and keeps its number while what there is to choose from changes: a backend that comes or
//! goes is one change of one group.
//!
//! **What goes to the controller is metered,** by the meter that the logical flow names, else by one of its own
//! ([`default_meter`]): guests can send no more than the controller can take. Should the switch refuse a meter that is named, the
//! flow's own is in its place.
//!
//! **Fragments:** of a flow with the tag `acl_ct_translation`, protocol and ports are asked of the packet's connection
//! ([`of_connections`]).
//!
//! A flow that makes no sense is left out, with a [`Fact::Problem`] that says why; the rest is not affected.

pub(crate) mod names;
mod uses;

use std::sync::Arc;

use daemon::coverage::Counter;
use lflow::action::{
    Context, DatapathKind, Resources as _, Tables, encode, needs_port_bits, prerequisites,
};
use lflow::expr::{normalise, of_connections, resolve};
use lflow::flows::{Clause, Role, conjunctions};
use lflow::{Actions, Expr, Pipeline, Symbol};
use openflow::{Action, Field, Match};
use ovsdb::Uuid;
use sb_db::tables::LogicalFlow;

use self::names::Names;
pub use self::uses::uses;
use crate::flow::{
    Conjunctive, Flow, MeterSpec, Need, Resource, is_metered, mentions, stable_number,
};
use crate::layout;
use crate::network::{Fact, Network, PortKind, Reads, expand};
use crate::physical::members;

/// How often a logical flow was translated, in OVN's words.
pub static CONSIDERED: Counter = Counter::new("consider_logical_flow");

/// The flows of a logical flow.
pub fn flows(network: &Network, reads: &Reads, row: &LogicalFlow, facts: &mut Vec<Fact>) {
    let Some(places) = places_here(network, reads, row) else {
        return;
    };
    CONSIDERED.add(1);
    let is_absent = |name: &str| is_absent_guest(network, reads, name);
    let parsed = match Parsed::of(network, reads, row) {
        Ok(parsed) => parsed,
        Err(problem) => return facts.push(Fact::Problem(row.uuid, problem)),
    };
    if parsed
        .matches
        .required_port(parsed.near_side())
        .is_some_and(|name| is_absent(name))
    {
        return;
    }
    let translate = |place: &Place, facts: &mut Vec<Fact>| match parsed
        .translate(network, reads, row, place, facts)
    {
        Ok(said) => said,
        Err(problem) => {
            // What is wrong in one datapath need not be in others. One report is enough: the first counts.
            facts.push(Fact::Problem(row.uuid, problem));
            Said::All
        }
    };
    for place in places {
        if translate(&place, facts) == Said::DifferentThings
            && let Place::Several { datapaths, .. } = place
        {
            for datapath in datapaths.iter() {
                if let Some(place) = Place::one(network, reads, *datapath) {
                    translate(&place, facts);
                }
            }
        }
    }
}

/// Where a flow is translated; nothing when no packet that it is for comes by here, as far as that is told without parsing.
fn places_here(network: &Network, reads: &Reads, row: &LogicalFlow) -> Option<Vec<Place>> {
    let places = places(network, reads, row);
    // The tag spares the parsing, where northd sets it.
    let port = row.tags.get("in_out_port");
    let is_absent = |name: &Arc<str>| is_absent_guest(network, reads, name);
    (!places.is_empty() && !port.is_some_and(is_absent)).then_some(places)
}

/// Where a flow is translated.
enum Place {
    /// For one datapath.
    One {
        datapath: Uuid,
        key: u32,
        is_router: bool,
    },
    /// For several datapaths that share a bit.
    Several {
        datapaths: Arc<[Uuid]>,
        bit: u8,
        is_router: bool,
    },
}

/// Actions, and what their numbers stand for.
type Encoded = (Vec<Action>, Vec<Need>);

/// What a translation came to.
#[derive(PartialEq)]
enum Said {
    /// All that there is to say.
    All,
    /// Nothing, for the flow means different things in the datapaths of its place.
    DifferentThings,
}

impl Place {
    fn one(network: &Network, reads: &Reads, datapath: Uuid) -> Option<Place> {
        let known = network.datapaths.get(reads, datapath)?;
        Some(Place::One {
            datapath,
            key: known.key,
            is_router: known.is_router,
        })
    }

    fn is_router(&self) -> bool {
        match self {
            Place::One { is_router, .. } | Place::Several { is_router, .. } => *is_router,
        }
    }

    /// Value and mask of `metadata` for its packets.
    fn metadata(&self) -> (u64, u64) {
        match self {
            Place::One { key, .. } => (u64::from(*key), layout::DATAPATH_KEY),
            Place::Several { bit, .. } => (1 << bit, 1 << bit),
        }
    }

    fn names<'a>(&self, network: &'a Network, reads: &'a Reads) -> Names<'a> {
        match self {
            Place::One { datapath, key, .. } => Names::new(network, reads, *datapath, *key),
            Place::Several { datapaths, .. } => Names::common(network, reads, datapaths.clone()),
        }
    }
}

/// Where a flow is translated: for its datapaths that are local, several at once where they share a bit.
fn places(network: &Network, reads: &Reads, row: &LogicalFlow) -> Vec<Place> {
    let one = row
        .logical_datapath
        .filter(|datapath| network.local.get(reads, *datapath).is_some());
    let mut places: Vec<Place> = one
        .and_then(|datapath| Place::one(network, reads, datapath))
        .into_iter()
        .collect();
    let Some(group) = row.logical_dp_group else {
        return places;
    };
    let shared = [false, true].map(|is_router| {
        let (bit, datapaths) = network.group_bit.get(reads, (group, is_router))?.clone();
        places.push(Place::Several {
            datapaths,
            bit,
            is_router,
        });
        Some(())
    });
    let Some(members) = network.local_members.get(reads, group) else {
        return places;
    };
    let singly = members
        .iter()
        .filter_map(|datapath| Place::one(network, reads, *datapath))
        .filter(|place| shared[usize::from(place.is_router())].is_none());
    places.extend(singly);
    places
}

/// True when no packet here comes from or goes to the port: there is none of this name, or it is a guest elsewhere.
fn is_absent_guest(network: &Network, reads: &Reads, name: &str) -> bool {
    let Some(port) = network.port_by_name(reads, name) else {
        return true;
    };
    let is_guest = matches!(PortKind::of(port), PortKind::Guest | PortKind::Container);
    is_guest && network.bindings.get(reads, port.uuid).is_none()
}

/// A logical flow, read.
struct Parsed {
    pipeline: Pipeline,
    table: u8,
    priority: u16,
    matches: Expr,
    actions: Actions,
}

impl Parsed {
    fn of(network: &Network, reads: &Reads, row: &LogicalFlow) -> Result<Parsed, String> {
        let pipeline = Pipeline::named(&row.pipeline)
            .ok_or_else(|| format!("{}: unknown pipeline", place(row)))?;
        let length = match pipeline {
            Pipeline::Ingress => layout::INGRESS_LEN,
            Pipeline::Egress => layout::EGRESS_LEN,
        };
        let table = u8::try_from(row.table_id)
            .ok()
            .filter(|table| *table < length);
        let table =
            table.ok_or_else(|| format!("{}: there are only {length} tables", place(row)))?;
        let priority = u16::try_from(row.priority)
            .map_err(|_| format!("{}: impossible priority", place(row)))?;
        let matches = Expr::parse(&expand(network, reads, &row.r#match))
            .map_err(|error| format!("{}: match: {error}", place(row)))?;
        let actions = Actions::parse(&expand(network, reads, &row.actions))
            .map_err(|error| format!("{}: actions: {error}", place(row)))?;
        let matches = matches & prerequisites(&actions);
        Ok(Parsed {
            pipeline,
            table,
            priority,
            matches,
            actions,
        })
    }

    /// The field in which packets of the pipeline have ports that are here.
    fn near_side(&self) -> Symbol {
        match self.pipeline {
            Pipeline::Ingress => Symbol::Inport,
            Pipeline::Egress => Symbol::Outport,
        }
    }

    /// Says the flows for one place.
    fn translate(
        &self,
        network: &Network,
        reads: &Reads,
        row: &LogicalFlow,
        at: &Place,
        facts: &mut Vec<Fact>,
    ) -> Result<Said, String> {
        let egress = self.pipeline == Pipeline::Egress;
        let lookups = network.stage_lookups.get(reads, (egress, self.table));
        let names = at
            .names(network, reads)
            .on_side(self.near_side(), lookups.copied().unwrap_or_default());
        let resolved = resolve(&self.matches, &names);
        if names.is_specific() {
            return Ok(Said::DifferentThings);
        }
        let resolved = resolved.map_err(|error| format!("{}: match: {error}", place(row)))?;
        let mut alternatives =
            normalise(&resolved).map_err(|error| format!("{}: match: {error}", place(row)))?;
        if asks_connections(row) {
            alternatives = of_connections(alternatives);
        }
        if alternatives.is_empty() {
            return Ok(Said::All);
        }
        let asks = names.asks_for_addresses();
        let choices = u32::try_from(conjunctions(&alternatives)).unwrap_or(u32::MAX);
        let names = names.for_actions_of(row.uuid, chooser(row, at), choices + 1);
        let Some((actions, needs)) = self.encode(row, at.is_router(), names)? else {
            return Ok(Said::DifferentThings);
        };
        let (usual, asking) = layout::stage(egress, self.table);
        let table = match lookups {
            Some(_) => asking,
            None => usual,
        };
        if let Some(lookups) = lookups.filter(|_| asks) {
            let matches =
                Match::new().with_masked(layout::DATAPATH, at.metadata().0, at.metadata().1);
            let actions = members::look_up(egress, self.table, *lookups);
            facts.push(Fact::Flow(Flow::new(usual, 100, matches, actions, 0)));
        }
        let choice = |id: u32| Need {
            placeholder: id,
            resource: Resource::Conjunction(Conjunctive {
                flow: row.uuid,
                place: at.metadata(),
                alternative: id,
            }),
            is_spare: false,
        };
        for flow in lflow::flows::flows(&alternatives, 1) {
            let chosen = flow.matches.get(Field::ConjId).map(|term| term.value);
            let (value, mask) = at.metadata();
            let matches = flow.matches.with_masked(layout::DATAPATH, value, mask);
            let (actions, cookie, needs) = match flow.role {
                Role::Actions => {
                    let chosen = chosen.and_then(|id| u32::try_from(id).ok());
                    let needs = needs.iter().cloned().chain(chosen.map(choice));
                    (actions.clone(), cookie(row.uuid).into(), needs.collect())
                }
                // Merged with those of other logical flows, so of none in particular.
                Role::Clauses(clauses) => {
                    let needs = clauses.iter().map(|clause| choice(clause.id)).collect();
                    (clauses.into_iter().map(conjunction).collect(), 0, needs)
                }
            };
            facts.push(Fact::Flow(Flow::with_needs(
                table,
                self.priority,
                matches,
                actions,
                cookie,
                needs,
            )));
        }
        Ok(Said::All)
    }

    /// The actions, and what their numbers stand for. Nothing when they mean something else in each datapath.
    fn encode(
        &self,
        row: &LogicalFlow,
        is_router: bool,
        names: Names<'_>,
    ) -> Result<Option<Encoded>, String> {
        let own = names.meter(default_meter(row.uuid));
        let named = row.controller_meter.as_deref();
        let meter = named.and_then(|name| names.named_meter(name));
        let tables = Tables {
            port_bits: (needs_port_bits(&self.actions, self.pipeline) && names.has_port_bits())
                .then_some((layout::IN_PORT_BITS, layout::OUT_PORT_BITS)),
            ..tables()
        };
        let context = Context {
            pipeline: self.pipeline,
            table: self.table,
            datapath: match is_router {
                true => DatapathKind::Router,
                false => DatapathKind::Switch,
            },
            cookie: cookie(row.uuid),
            controller_meter: Some(meter.unwrap_or(own)),
            zero_snat: !row.actions.contains("ct_commit") || names.keeps_apart(),
            tables: &tables,
            resources: &names,
        };
        let actions = encode(&self.actions, &context);
        if names.is_specific() {
            return Ok(None);
        }
        let actions = actions.map_err(|error| format!("{}: actions: {error}", place(row)))?;
        let mut needs = names.into_needs();
        for need in &mut needs {
            need.is_spare = need.placeholder == own && !mentions(&actions, own);
        }
        let is_metered = is_metered(&actions);
        needs.retain(|need| match need.is_spare {
            true => is_metered,
            false => mentions(&actions, need.placeholder),
        });
        Ok(Some((actions, needs)))
    }
}

/// Whether protocol and ports are those of the connection, also of fragments that have none.
fn asks_connections(row: &LogicalFlow) -> bool {
    let tag = row.tags.get("acl_ct_translation");
    tag.is_some_and(|value| &**value == "true")
}

/// For whom the groups of a logical flow choose: packets of its stage that it matches there. Northd replaces a flow when what there
/// is to choose from changes; then this stays the same, and with it the group's number.
fn chooser(row: &LogicalFlow, at: &Place) -> u64 {
    let of = (row.logical_datapath, row.logical_dp_group);
    // Ports are not the same in two datapaths; where something else is chosen from, one group is enough for all.
    let chooses_ports = row.actions.contains("fwd_group");
    let place = chooses_ports.then(|| at.metadata());
    let stage = (&*row.pipeline, row.table_id, row.priority);
    let router = at.is_router();
    stable_number(&format!(
        "{of:?} {stage:?} {router} {place:?} {}",
        row.r#match
    ))
}

/// The meter of what a logical flow sends to the controller, where none is said: 1,000 packets a second. Each flow has its own, so
/// that who makes packets for one keeps nobody from the others: DHCP has flows for each port.
fn default_meter(flow: Uuid) -> MeterSpec {
    MeterSpec {
        name: flow.to_string().into(),
        is_asked_for: false,
        packets: true,
        rate: 1_000,
        burst: 1_000,
    }
}

fn conjunction(clause: Clause) -> Action {
    Action::Conjunction {
        id: clause.id,
        clause: clause.k,
        n_clauses: clause.n,
    }
}

/// The first 32 bits of a row's identity: by them people find the logical flow of a flow.
fn cookie(uuid: Uuid) -> u32 {
    let bytes = uuid.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A logical flow as problems name it.
fn place(row: &LogicalFlow) -> String {
    format!(
        "logical flow {} ({} table {}, priority {})",
        row.uuid, row.pipeline, row.table_id, row.priority
    )
}

/// The layout, as the encoder wants it.
fn tables() -> Tables {
    Tables {
        ingress: layout::INGRESS,
        ingress_count: layout::INGRESS_LEN,
        egress: layout::EGRESS,
        egress_count: layout::EGRESS_LEN,
        output_ingress: layout::REMOTE_OUTPUT,
        output_egress: layout::SAVE_IN_PORT,
        mac_binding: layout::MAC_BINDING,
        mac_lookup: layout::MAC_LOOKUP,
        chk_lb_hairpin: layout::CHECK_HAIRPIN,
        chk_lb_hairpin_reply: layout::CHECK_HAIRPIN_REPLY,
        ct_snat_hairpin: layout::CT_SNAT_HAIRPIN,
        ecmp_nh_mac: layout::CHECK_NEXT_HOP_MAC,
        ecmp_nh: layout::CHECK_NEXT_HOP,
        chk_lb_affinity: layout::CHECK_AFFINITY,
        get_fdb: layout::GET_FDB,
        lookup_fdb: layout::LOOKUP_FDB,
        chk_in_port_sec: layout::CHECK_IN_PORT_SEC,
        chk_out_port_sec: layout::CHECK_OUT_PORT_SEC,
        ..Tables::default()
    }
}

#[cfg(test)]
mod tests;
