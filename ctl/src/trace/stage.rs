//! A table's flows, parsed, in order, and found by the values that they ask for.
//!
//! Most flows of a large table ask for one value of one field beside what all of them ask: an address, a port. Of those,
//! a packet is only compared with the ones that ask for its own value. Which field that is, each flow says for itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lflow::action::Pipeline;
use lflow::expr::{Expr, Lookup, Relation, ResolveError};
use lflow::interp::{LogicalFlow, State, matches};
use lflow::{Actions, Constant, Field, Symbol};
use ovsdb::Uuid;
use sb_db::tables as sb;

use super::connection;
use super::world::{Place, Stale, World};

/// A logical flow, and what is told of it.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its row.
    pub uuid: Uuid,
    /// What it does.
    pub flow: LogicalFlow,
    /// Its match as written, without what its actions imply.
    pub text: Arc<str>,
    /// Whether every packet matches.
    pub is_for_all: bool,
    /// The name of its stage.
    pub stage: Option<Arc<str>>,
    /// Where northd made it.
    pub source: Option<Arc<str>>,
    /// The start of the UUID of the northbound row that it is there for.
    pub hint: Option<Arc<str>>,
    /// Whether protocol and ports are asked of the packet's connection (`tags`, `acl_ct_translation`).
    pub asks_connections: bool,
}

/// The flows of one table of one datapath.
#[derive(Debug, Default)]
pub struct Stage {
    /// The highest priority first.
    flows: Vec<Rc<Flow>>,
    /// By field, by value: the flows that ask for it.
    by_value: Vec<(Field, HashMap<u128, Vec<usize>>)>,
    /// All others.
    rest: Vec<usize>,
}

/// The fields by which flows are told apart, those that tell the most first.
const TELLING: [Symbol; 14] = [
    Symbol::EthDst,
    Symbol::Ip4Dst,
    Symbol::Ip6Dst,
    Symbol::ArpTpa,
    Symbol::NdTarget,
    Symbol::Xxreg0,
    Symbol::Reg0,
    Symbol::Xxreg1,
    Symbol::Reg4,
    Symbol::Outport,
    Symbol::Inport,
    Symbol::EthSrc,
    Symbol::Ip4Src,
    Symbol::Ip6Src,
];

impl Stage {
    fn new(mut flows: Vec<Rc<Flow>>, lookup: &dyn Lookup) -> Self {
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.flow.priority));
        let mut by_field: HashMap<Field, HashMap<u128, Vec<usize>>> = HashMap::new();
        let mut rest = Vec::new();
        for (index, flow) in flows.iter().enumerate() {
            match asked(&flow.flow.matches, lookup) {
                Some((field, value)) => by_field
                    .entry(field)
                    .or_default()
                    .entry(value)
                    .or_default()
                    .push(index),
                None => rest.push(index),
            }
        }
        Self {
            flows,
            by_value: by_field.into_iter().collect(),
            rest,
        }
    }

    /// The flow that applies to a packet. What cannot be evaluated is told, and does not apply. Without `by_tags`, flows that
    /// ask connections ask packets, too.
    pub fn find(
        &self,
        state: &State,
        lookup: &dyn Lookup,
        by_tags: bool,
        wrong: &mut dyn FnMut(&Flow, ResolveError),
    ) -> Option<&Rc<Flow>> {
        let mut candidates: Vec<&[usize]> = vec![&self.rest];
        for (field, flows) in &self.by_value {
            candidates.extend(flows.get(&state.read(*field)).map(Vec::as_slice));
        }
        let mut best: Option<usize> = None;
        for indexes in candidates {
            let before = indexes
                .iter()
                .take_while(|index| best.is_none_or(|best| **index < best));
            for index in before {
                let flow = &self.flows[*index];
                let applies = match by_tags && flow.asks_connections {
                    true => connection::matches(&flow.flow.matches, state, lookup),
                    false => matches(&flow.flow.matches, state, lookup),
                };
                match applies {
                    Ok(true) => {
                        best = Some(*index);
                        break;
                    }
                    Ok(false) => {}
                    Err(error) => wrong(flow, error),
                }
            }
        }
        best.map(|index| &self.flows[index])
    }
}

/// A field and the value that a packet must have in it, if the top of the match says so.
fn asked(expr: &Expr, lookup: &dyn Lookup) -> Option<(Field, u128)> {
    let parts = match expr {
        Expr::And(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    let asked = parts.iter().filter_map(|part| {
        let Expr::Cmp(comparison) = part else {
            return None;
        };
        if comparison.relation != Relation::Eq || !comparison.field.is_whole() {
            return None;
        }
        let symbol = comparison.field.symbol();
        let rank = TELLING.iter().position(|telling| *telling == symbol)?;
        let value = match &comparison.constants[..] {
            [Constant::Int(int)] if int.is_exact() => int.value,
            [Constant::Str(name)] => lookup.port(name)?.into(),
            _ => return None,
        };
        Some((rank, comparison.field, value))
    });
    let best = asked.min_by_key(|(rank, ..)| *rank)?;
    Some((best.1, best.2))
}

/// The flows that have been met, so that each is parsed once.
#[derive(Debug, Default)]
pub struct Stages {
    stages: RefCell<HashMap<Place, Rc<Stage>>>,
    flows: RefCell<HashMap<Uuid, Option<Rc<Flow>>>>,
}

impl Stages {
    /// The stage at a place. Flows that cannot be read are told.
    pub fn at(
        &self,
        world: &World,
        place: Place,
        lookup: &dyn Lookup,
        wrong: &mut dyn FnMut(String),
    ) -> Rc<Stage> {
        if let Some(stage) = self.stages.borrow().get(&place) {
            return Rc::clone(stage);
        }
        let rows = world.flows_of(place);
        let mut known = self.flows.borrow_mut();
        let flows = rows.iter().filter_map(|row| {
            let flow = known.entry(row.uuid).or_insert_with(|| match read(row) {
                Ok(flow) => Some(Rc::new(flow)),
                Err(text) => {
                    wrong(text);
                    None
                }
            });
            flow.clone()
        });
        let stage = Rc::new(Stage::new(flows.collect(), lookup));
        self.stages.borrow_mut().insert(place, Rc::clone(&stage));
        stage
    }

    /// Forgets what is not so any more.
    pub fn forget(&mut self, world: &World, stale: Stale, changed: Uuid) {
        let stages = self.stages.get_mut();
        match stale {
            // The flows of a group are those of all its datapaths.
            Stale::Place((of, egress, table)) => {
                stages.retain(|(datapath, its_egress, its_table), _| {
                    (*its_egress, *its_table) != (egress, table)
                        || (*datapath != of && !world.is_in_group(*datapath, of))
                });
            }
            Stale::Datapath(datapath) => stages.retain(|(of, ..), _| *of != datapath),
        }
        self.flows.get_mut().remove(&changed);
    }
}

/// A row as a flow.
fn read(row: &sb::LogicalFlow) -> Result<Flow, String> {
    let matches = Expr::parse(&row.r#match)
        .map_err(|error| format!("{}: parsing expression failed ({error})", row.r#match))?;
    let actions = Actions::parse(&row.actions)
        .map_err(|error| format!("{}: parsing actions failed ({error})", row.actions))?;
    let text = |key| row.external_ids.get(key).cloned();
    let tag = row.tags.get("acl_ct_translation");
    let priority = u16::try_from(row.priority).unwrap_or_default();
    let flow = LogicalFlow::new(priority, matches, actions);
    Ok(Flow {
        uuid: row.uuid,
        is_for_all: flow.matches.is_true(),
        flow,
        text: Arc::clone(&row.r#match),
        stage: text("stage-name"),
        source: text("source"),
        hint: text("stage-hint"),
        asks_connections: tag.is_some_and(|value| &**value == "true"),
    })
}

/// Whether a pipeline is the egress one, as places have it.
pub fn is_egress(pipeline: Pipeline) -> bool {
    pipeline == Pipeline::Egress
}
