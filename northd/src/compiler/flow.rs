//! From typed matches and actions to a row of `Logical_Flow`.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use lflow::Expr;
use lflow::action::{Action, Query, protection};
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum};
use relations::Cell;
use sb_db::tables::{LogicalDpGroup, LogicalFlow};
use smallvec::SmallVec;
use uuid::Uuid;

use super::fact::{Fact, RowId};
use super::identity;
use super::source::Side;
use super::stage::{Rule, Stage};
use super::world::World;

/// Where the table of flows stands in the order of writing: behind everything that flows refer to.
pub const FLOWS: u8 = 200;
/// The groups of datapaths.
pub const GROUPS: u8 = 201;
/// The flows of groups: a group and its flows keep each other alive and are written together.
pub const SHARED_FLOWS: u8 = 202;

/// Who has a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// One datapath: its row.
    Datapath(Uuid),
    /// All datapaths of a set, and the row of their group.
    Set(Cell, Uuid),
}

impl Owner {
    /// The datapaths of a set, which `name` identifies among all.
    pub fn set(cell: Cell, name: &str) -> Self {
        Self::Set(cell, identity::named("Logical_DP_Group", Uuid::nil(), name))
    }
}

/// What has the protocol and the ports that a match asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    /// The packet.
    Itself,
    /// Its connection (`Logical_Flow.tags`, `acl_ct_translation`).
    OfConnection,
}

impl Packet {
    /// `Logical_Flow.tags`, if they say anything.
    fn tags(self) -> Option<Datum> {
        let is_translated = (Atom::from(TRANSLATED), Atom::from("true"));
        (self == Self::OfConnection).then(|| Datum::map([is_translated]))
    }
}

/// The tag of flows that ask for protocol and ports of connections.
const TRANSLATED: &str = "acl_ct_translation";

/// Where a unit puts its flows.
pub struct Flows<'a> {
    world: &'a World,
    owner: Owner,
    /// The northbound row that the flows are for, told in `external_ids:stage-hint`.
    hint: Option<Uuid>,
    facts: &'a mut Vec<Fact>,
}

impl<'a> Flows<'a> {
    /// Flows of `owner`.
    pub fn new(
        world: &'a World,
        owner: Owner,
        hint: Option<Uuid>,
        facts: &'a mut Vec<Fact>,
    ) -> Self {
        Self {
            world,
            owner,
            hint,
            facts,
        }
    }

    /// Adds a flow that is for the row of the hint.
    pub fn add(&mut self, rule: Rule, when: &Expr, then: impl Into<Vec<Action>>) {
        self.push(rule, when, then.into(), self.hint, Packet::Itself);
    }

    /// The same, with protocol and ports asked of the packet's connection: they are those of all its fragments.
    pub fn add_of_connection(&mut self, rule: Rule, when: &Expr, then: impl Into<Vec<Action>>) {
        self.push(rule, when, then.into(), self.hint, Packet::OfConnection);
    }

    /// Adds a flow that several rows have alike: it says of none that it is for it.
    pub fn add_common(&mut self, rule: Rule, when: &Expr, then: impl Into<Vec<Action>>) {
        self.push(rule, when, then.into(), None, Packet::Itself);
    }

    fn push(
        &mut self,
        rule: Rule,
        when: &Expr,
        mut then: Vec<Action>,
        hint: Option<Uuid>,
        asked: Packet,
    ) {
        if let Some(table) = rule.stage.leap() {
            leap(&mut then, table);
        }
        let mut text = self.world.text.borrow_mut();
        text.clear();
        write!(text, "{when}").expect("writing into a string does not fail");
        let split = text.len();
        let then = lflow::Actions(then);
        then.print_to(&mut text);
        let protocol = protection(when, &then);
        let (when, then) = text.split_at(split);

        let stage = rule.stage;
        let (datapath, group, owner, cell) = match self.owner {
            Owner::Datapath(uuid) => (Datum::One(Atom::Uuid(uuid)), Datum::empty_set(), uuid, None),
            Owner::Set(cell, uuid) => (
                Datum::empty_set(),
                Datum::One(Atom::Uuid(uuid)),
                uuid,
                Some(cell),
            ),
        };
        let known: [&[u8]; 8] = [
            b"flow",
            owner.as_bytes(),
            stage.name().as_bytes(),
            &[stage.table()],
            &rule.priority.to_le_bytes(),
            when.as_bytes(),
            then.as_bytes(),
            hint.as_ref().map_or(&[], |hint| hint.as_bytes()),
        ];
        let mut parts: SmallVec<[&[u8]; 9]> = SmallVec::from_slice(&known);
        if asked == Packet::OfConnection {
            parts.push(TRANSLATED.as_bytes());
        }
        let uuid = identity::derive(&parts);
        let column = LogicalFlow::COLUMN;
        let row = self.world.row(
            Side::South,
            LogicalFlow::INDEX,
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
            ]
            .into_iter()
            .chain(asked.tags().map(|tags| (column.tags.index, tags))),
        );
        let table = if cell.is_some() { SHARED_FLOWS } else { FLOWS };
        self.facts
            .push(Fact::Flow(RowId { table, uuid }, cell, row, protocol));
    }
}

/// Has `next` go to `table`. Actions that go on by themselves cannot stand before a gap.
fn leap(actions: &mut [Action], table: u8) {
    for action in actions {
        match action {
            Action::Next {
                pipeline: None,
                table: to @ None,
            } => *to = Some(table),
            Action::Within(_, inner) => leap(&mut inner.0, table),
            Action::CtNext(_)
            | Action::CtCommitNat(_)
            | Action::Nat { .. }
            | Action::Balance(_)
            | Action::Query(_, Query::Select(_)) => {
                debug_assert!(false, "{action:?} goes on to a table where nothing is");
            }
            _ => {}
        }
    }
}

/// The group of a flow, if it has one.
pub fn group_of(row: &ovsdb::Row) -> Option<Uuid> {
    LogicalFlow::COLUMN.logical_dp_group.get(row)
}

/// The table of flows.
pub const TABLE: usize = LogicalFlow::INDEX;
/// The table of groups.
pub const GROUP_TABLE: usize = LogicalDpGroup::INDEX;

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
            names: Stage::all()
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
    Datum::map_of([
        (words.hint_key.clone(), Atom::String(hint)),
        (words.name_key.clone(), name.clone()),
    ])
}
