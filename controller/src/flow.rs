//! One flow of the switch, as content: equal flows are one flow, whoever wants them.
//!
//! Groups, meters and conjunctive matches have numbers in the switch, and flows refer to them by these. What a number stands
//! for is content too: a flow says in [`Flow::needs`] what it refers to, under numbers of its own making, and whoever installs it
//! puts the switch's numbers in their place.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use openflow::message::Group;
use openflow::{Action, Field, Match};
use ovsdb::Uuid;

/// What identifies a flow within a switch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The table.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// The match.
    pub matches: Match,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What identifies it.
    pub key: Arc<FlowKey>,
    /// What it does; nothing drops.
    pub actions: Arc<[Action]>,
    /// For people: the start of the logical flow's or other row's identity.
    pub cookie: u64,
    /// What the numbers in match and actions stand for.
    pub needs: Arc<[Need]>,
    /// The digest of all of it.
    pub digest: Digest,
}

/// What a number in a flow stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Need {
    /// The number in the flow: of a group, a meter, or as `conj_id`.
    pub placeholder: u32,
    /// What it stands for.
    pub resource: Resource,
    /// Nothing in the flow has the number: it is a meter for what goes to the controller, if the switch refuses another.
    pub is_spare: bool,
}

/// Something of the switch that flows refer to by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A group.
    Group(GroupSpec),
    /// A meter.
    Meter(MeterSpec),
    /// A conjunctive match.
    Conjunction(Conjunctive),
}

/// A group. It keeps its number while its buckets change, so that nothing else changes with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupSpec {
    /// For whom it chooses: the same in every process, whatever there is to choose from.
    pub chooser: u64,
    /// The group; its own number is not looked at.
    pub group: Arc<Group>,
}

/// A meter. Two with equal limits and different names are two: packets of one do not count for the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeterSpec {
    /// Whose it is.
    pub name: Arc<str>,
    /// The southbound asks for it. What it does not ask for protects this controller.
    pub is_asked_for: bool,
    /// The rate counts packets a second, not kilobits.
    pub packets: bool,
    /// The rate above which packets are dropped.
    pub rate: u32,
    /// How many kilobits or packets may come at once; 0 leaves it to the switch.
    pub burst: u32,
}

/// What makes a conjunctive match different from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conjunctive {
    /// The logical flow.
    pub flow: Uuid,
    /// Where it is translated: the value and mask of `metadata`.
    pub place: (u64, u64),
    /// Which of its alternatives.
    pub alternative: u32,
}

/// A flow's content as a number. Two flows with equal digests are taken for equal; at 128 bits the chance of an error is less
/// than that of one in memory. The hash has a key of its own in every process, so that nobody can craft two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Flow {
    /// A flow that needs nothing.
    pub fn new(
        table: u8,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
        cookie: u64,
    ) -> Self {
        Flow::with_needs(table, priority, matches, actions, cookie, Vec::new())
    }

    /// A flow with numbers that stand for something.
    pub fn with_needs(
        table: u8,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
        cookie: u64,
        needs: Vec<Need>,
    ) -> Self {
        let key = FlowKey {
            table,
            priority,
            matches,
        };
        let digest = digest(&(&key, &actions, cookie, &needs));
        Flow {
            key: Arc::new(key),
            actions: actions.into(),
            cookie,
            needs: needs.into(),
            digest,
        }
    }

    /// The flow with other numbers: `number` gives that for a placeholder.
    #[must_use]
    pub(crate) fn numbered(&self, number: &dyn Fn(u32) -> u32) -> Flow {
        let mut matches = self.key.matches.clone();
        if let Some(term) = matches.get(Field::ConjId) {
            let placeholder = u32::try_from(term.value).unwrap_or_default();
            matches.set(Field::ConjId, number(placeholder).into());
        }
        let mut actions = self.actions.to_vec();
        renumber(&mut actions, number);
        Flow {
            key: Arc::new(FlowKey {
                matches,
                ..(*self.key).clone()
            }),
            actions: actions.into(),
            ..self.clone()
        }
    }
}

fn renumber(actions: &mut [Action], number: &dyn Fn(u32) -> u32) {
    for action in actions {
        match action {
            Action::Group(n) | Action::Meter(n) | Action::Conjunction { id: n, .. } => {
                *n = number(*n);
            }
            Action::Controller(controller) => {
                controller.meter_id = controller.meter_id.map(number);
            }
            Action::Clone(inner) => renumber(inner, number),
            _ => {}
        }
    }
}

/// Whether actions refer to a group or meter by this number.
pub(crate) fn mentions(actions: &[Action], number: u32) -> bool {
    actions.iter().any(|action| match action {
        Action::Group(n) | Action::Meter(n) => *n == number,
        Action::Controller(controller) => controller.meter_id == Some(number),
        Action::Clone(inner) => mentions(inner, number),
        _ => false,
    })
}

/// Whether something goes to the controller, and is metered.
pub(crate) fn is_metered(actions: &[Action]) -> bool {
    actions.iter().any(|action| match action {
        Action::Controller(controller) => controller.meter_id.is_some(),
        Action::Clone(inner) => is_metered(inner),
        _ => false,
    })
}

impl Resource {
    /// A number that the resource would have if nobody had it: the same in every run, so that a restart changes nothing.
    pub(crate) fn preferred_number(&self) -> u32 {
        match self {
            Resource::Group(spec) => spec.chooser as u32,
            _ => digest_in_every_process(self),
        }
    }

    /// What has one number, whatever it holds.
    pub(crate) fn name(&self) -> Digest {
        match self {
            Resource::Group(spec) => digest(&("group", spec.chooser)),
            _ => digest(self),
        }
    }
}

/// A number for some content that is the same in every process.
pub(crate) fn digest_in_every_process(content: &impl Hash) -> u32 {
    // The keys of this hasher are fixed.
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish() as u32
}

/// A number for a text that is the same in every process, also of one built otherwise: an upgrade keeps it.
pub(crate) fn stable_number(text: &str) -> u64 {
    let (number, _) = Uuid::new_v5(&Uuid::nil(), text.as_bytes()).as_u64_pair();
    number
}

/// The digest of a flow's actions and cookie.
pub fn effect(actions: &[Action], cookie: u64) -> Digest {
    digest(&(actions, cookie))
}

/// The digest of anything.
pub(crate) fn digest(content: &impl Hash) -> Digest {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    let [high, low] = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    Digest(u128::from(high.hash_one(content)) << 64 | u128::from(low.hash_one(content)))
}
