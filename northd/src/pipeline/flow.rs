//! From typed matches and actions to a row of `Logical_Flow`.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use lflow::Expr;
use lflow::action::Action;
use ovsdb::{Atom, Datum};
use sb_db::tables::LogicalFlow;
use uuid::Uuid;

use super::stage::{Rule, Stage};
use crate::compiler::cell::Fact;
use crate::output::identity;
use crate::output::rows::{OutTable, Templates};

/// Who has a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// One datapath: its row.
    Datapath(Uuid),
    /// All datapaths of a group: its row.
    Group(Uuid),
}

/// Where a unit puts its flows.
pub struct Flows<'a> {
    templates: &'a Templates,
    owner: Owner,
    /// The northbound row that the flows are for, told in `external_ids:stage-hint`.
    hint: Option<Uuid>,
    facts: &'a mut Vec<Fact>,
    text: String,
}

impl<'a> Flows<'a> {
    /// Flows of `owner`.
    pub fn new(
        templates: &'a Templates,
        owner: Owner,
        hint: Option<Uuid>,
        facts: &'a mut Vec<Fact>,
    ) -> Self {
        Self {
            templates,
            owner,
            hint,
            facts,
            text: String::with_capacity(512),
        }
    }

    /// Adds a flow of one port's.
    pub fn add<const N: usize>(&mut self, rule: Rule, when: &Expr, then: [Action; N]) {
        self.push(rule, when, then.into(), self.hint);
    }

    /// Adds a flow that several ports of a datapath have alike: it says of none that it is for it.
    pub fn add_common<const N: usize>(&mut self, rule: Rule, when: &Expr, then: [Action; N]) {
        self.push(rule, when, then.into(), None);
    }

    fn push(&mut self, rule: Rule, when: &Expr, then: Vec<Action>, hint: Option<Uuid>) {
        self.text.clear();
        write!(self.text, "{when}").expect("writing into a string does not fail");
        let split = self.text.len();
        lflow::Actions(then).print_to(&mut self.text);
        let (when, then) = self.text.split_at(split);

        let stage = rule.stage;
        let (datapath, group, owner) = match self.owner {
            Owner::Datapath(uuid) => (Datum::One(Atom::Uuid(uuid)), Datum::empty_set(), uuid),
            Owner::Group(uuid) => (Datum::empty_set(), Datum::One(Atom::Uuid(uuid)), uuid),
        };
        let uuid = identity::derive(&[
            b"flow",
            owner.as_bytes(),
            stage.name().as_bytes(),
            &[stage.table()],
            &rule.priority.to_le_bytes(),
            when.as_bytes(),
            then.as_bytes(),
            hint.as_ref().map_or(&[], |hint| hint.as_bytes()),
        ]);
        let column = LogicalFlow::COLUMN;
        let row = self.templates.row(
            OutTable::Flow,
            [
                (column.logical_datapath.index, datapath),
                (column.logical_dp_group.index, group),
                (column.pipeline.index, pipeline(stage)),
                (
                    column.table_id.index,
                    Datum::One(Atom::Integer(stage.table().into())),
                ),
                (
                    column.priority.index,
                    Datum::One(Atom::Integer(rule.priority.into())),
                ),
                (column.r#match.index, Datum::from(when)),
                (column.actions.index, Datum::from(then)),
                (column.external_ids.index, external_ids(stage, hint)),
            ],
        );
        let table = match self.owner {
            Owner::Datapath(_) => OutTable::Flow,
            Owner::Group(_) => OutTable::SharedFlow,
        };
        self.facts
            .push(Fact::Flow(crate::output::rows::RowId { table, uuid }, row));
    }
}

/// Words that stand in every flow, made once.
struct Words {
    ingress: Datum,
    egress: Datum,
    hint_key: Atom,
    name_key: Atom,
    names: Vec<(Atom, Datum)>,
}

fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| {
        let name_key = Atom::from("stage-name");
        Words {
            ingress: Datum::from("ingress"),
            egress: Datum::from("egress"),
            hint_key: Atom::from("stage-hint"),
            names: Stage::ALL
                .iter()
                .map(|stage| {
                    let name = Atom::from(stage.name());
                    (name.clone(), Datum::map([(name_key.clone(), name)]))
                })
                .collect(),
            name_key,
        }
    })
}

fn pipeline(stage: Stage) -> Datum {
    match stage.pipeline() {
        lflow::action::Pipeline::Ingress => words().ingress.clone(),
        lflow::action::Pipeline::Egress => words().egress.clone(),
    }
}

/// `stage-name`, and in `stage-hint` the first half of the northbound row's UUID that a flow is for.
fn external_ids(stage: Stage, hint: Option<Uuid>) -> Datum {
    let words = words();
    let (name, alone) = &words.names[stage as usize];
    let Some(hint) = hint else {
        return alone.clone();
    };
    let mut buffer = Uuid::encode_buffer();
    let hint: Arc<str> = Arc::from(&hint.simple().encode_lower(&mut buffer)[..8]);
    Datum::map([
        (words.hint_key.clone(), Atom::String(hint)),
        (words.name_key.clone(), name.clone()),
    ])
}
