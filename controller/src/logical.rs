//! Logical flows to flows of the switch.
//!
//! A logical flow says for one datapath, or for a group of them, what is done with which packets. For each of its datapaths
//! that is local here, its match is resolved (names become keys, address sets and port groups their members), normalised and
//! made matches of OpenFlow, each with the datapath's key; its actions are encoded once for the datapath.
//!
//! What a translation depends on is what it read: the flow's row, the ports, groups and sets that it names, DHCP's option
//! codes, the chassis of ports asked for by `is_chassis_resident`. All of it is read through [`Names`], so the engine knows, and
//! runs again just the flows that name what changed.
//!
//! **Flows about a guest that is elsewhere are skipped.** A flow whose match, or `in_out_port` tag, demands a guest as input
//! port of the ingress pipeline or output port of the egress pipeline applies only to packets that never come by here.
//!
//! **Conjunctive matches** get their ids from a hash of flow, datapath and place. Two that are told apart by nothing but the
//! id, which takes the same table, priority and datapath, have the same one with a probability of 2⁻³².
//!
//! A flow that makes no sense is left out, with a [`Fact::Problem`] that says why; the rest is not affected.

pub(crate) mod names;

use std::hash::{Hash, Hasher};

use lflow::action::{Context, DatapathKind, Tables, encode, prerequisites};
use lflow::expr::{normalise, resolve};
use lflow::flows::{Clause, Role};
use lflow::{Actions, Expr, Pipeline, Symbol};
use openflow::Action;
use ovsdb::Uuid;
use rustc_hash::FxHasher;
use sb_db::tables::LogicalFlow;

use self::names::Names;
use crate::flow::Flow;
use crate::layout;
use crate::network::{Fact, Network, PortKind, Reads};

/// The flows of a logical flow.
pub fn flows(network: &Network, reads: &Reads, row: &LogicalFlow, facts: &mut Vec<Fact>) {
    let datapaths = local_datapaths(network, reads, row);
    let is_absent = |name: &str| is_absent_guest(network, reads, name);
    // The tag spares the parsing, where northd sets it.
    if datapaths.is_empty()
        || row
            .tags
            .get("in_out_port")
            .is_some_and(|name| is_absent(name))
    {
        return;
    }
    let parsed = match Parsed::of(row) {
        Ok(parsed) => parsed,
        Err(problem) => return facts.push(Fact::Problem(row.uuid, problem)),
    };
    let side = match parsed.pipeline {
        Pipeline::Ingress => Symbol::Inport,
        Pipeline::Egress => Symbol::Outport,
    };
    if parsed
        .matches
        .required_port(side)
        .is_some_and(|name| is_absent(name))
    {
        return;
    }
    for datapath in datapaths {
        if let Err(problem) = parsed.translate(network, reads, row, datapath, facts) {
            // What is wrong in one datapath mostly is in all; one report is enough.
            return facts.push(Fact::Problem(row.uuid, problem));
        }
    }
}

/// Those of the flow's datapaths that are local.
fn local_datapaths(network: &Network, reads: &Reads, row: &LogicalFlow) -> Vec<Uuid> {
    let one = row
        .logical_datapath
        .filter(|datapath| network.local.get(reads, *datapath).is_some());
    let group = row
        .logical_dp_group
        .and_then(|group| network.local_members.get(reads, group));
    one.into_iter()
        .chain(
            group
                .into_iter()
                .flat_map(|members| members.iter().copied()),
        )
        .collect()
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
    fn of(row: &LogicalFlow) -> Result<Parsed, String> {
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
        let matches =
            Expr::parse(&row.r#match).map_err(|error| format!("{}: match: {error}", place(row)))?;
        let actions = Actions::parse(&row.actions)
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

    /// Says the flows for one datapath.
    fn translate(
        &self,
        network: &Network,
        reads: &Reads,
        row: &LogicalFlow,
        datapath: Uuid,
        facts: &mut Vec<Fact>,
    ) -> Result<(), String> {
        let Some(known) = network.datapaths.get(reads, datapath) else {
            return Ok(());
        };
        let names = Names::new(network, reads, datapath, known.key);
        let resolved = resolve(&self.matches, &names)
            .map_err(|error| format!("{}: match: {error}", place(row)))?;
        let alternatives =
            normalise(&resolved).map_err(|error| format!("{}: match: {error}", place(row)))?;
        if alternatives.is_empty() {
            return Ok(());
        }
        let cookie = cookie(row.uuid);
        let tables = tables();
        let context = Context {
            pipeline: self.pipeline,
            table: self.table,
            datapath: match known.is_router {
                true => DatapathKind::Router,
                false => DatapathKind::Switch,
            },
            cookie,
            controller_meter: None,
            zero_snat: true,
            tables: &tables,
            resources: &names,
        };
        let actions = encode(&self.actions, &context)
            .map_err(|error| format!("{}: actions: {error}", place(row)))?;
        let table = self.table
            + match self.pipeline {
                Pipeline::Ingress => layout::INGRESS,
                Pipeline::Egress => layout::EGRESS,
            };
        for flow in lflow::flows::flows(&alternatives, conjunction_id(row.uuid, known.key)) {
            let matches = flow.matches.with(layout::DATAPATH, known.key);
            let (actions, cookie) = match flow.role {
                Role::Actions => (actions.clone(), u64::from(cookie)),
                // Merged with those of other logical flows, so of none in particular.
                Role::Clauses(clauses) => (clauses.into_iter().map(conjunction).collect(), 0),
            };
            facts.push(Fact::Flow(Flow::new(
                table,
                self.priority,
                matches,
                actions,
                cookie,
            )));
        }
        Ok(())
    }
}

fn conjunction(clause: Clause) -> Action {
    Action::Conjunction {
        id: clause.id,
        clause: clause.k,
        n_clauses: clause.n,
    }
}

/// The first id for conjunctive matches of a logical flow in a datapath.
fn conjunction_id(flow: Uuid, datapath: u32) -> u32 {
    let mut hasher = FxHasher::default();
    (flow, datapath).hash(&mut hasher);
    let hash = hasher.finish();
    // Zero is what `conj_id` is in a packet that has met no conjunctive match.
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}

/// The first 32 bits of a row's identity: by them people find the logical flow of a flow.
fn cookie(uuid: Uuid) -> u32 {
    let bytes = uuid.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A logical flow as problems name it.
fn place(row: &LogicalFlow) -> String {
    let stage = row
        .external_ids
        .get("stage-name")
        .map_or("", |name| &**name);
    format!(
        "logical flow {} ({} table {} {stage}, priority {})",
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
        get_fdb: layout::GET_FDB,
        lookup_fdb: layout::LOOKUP_FDB,
        chk_in_port_sec: layout::CHECK_IN_PORT_SEC,
        chk_out_port_sec: layout::CHECK_OUT_PORT_SEC,
        ..Tables::default()
    }
}

#[cfg(test)]
mod tests;
