//! QoS rules of switches: marks and rate limits.

use std::cmp::Reverse;
use std::num::NonZeroU32;

use nb_db::tables::{LogicalSwitch, Qos};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::matches::{self, WrongMatch};
use crate::values::{Direction, Made, Priority};

/// A differentiated services code point, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    /// The highest.
    pub const MAX: Self = Self(63);

    /// The code point with this number, if there is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// Its number, as the column holds it.
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

/// A rule to be added.
#[derive(Clone, Debug)]
pub struct NewQos<'a> {
    /// Which packets of a port it is about.
    pub direction: Direction,
    /// Its rank.
    pub priority: Priority,
    /// Which packets, in the expression language of logical flows.
    pub matches: &'a str,
    /// The most that may pass, in kbit/s.
    pub rate_kbps: Option<NonZeroU32>,
    /// How much more may pass at once, in kbit; it means nothing without a rate.
    pub burst_kbit: Option<NonZeroU32>,
    /// The code point that packets get.
    pub dscp: Option<Dscp>,
    /// The mark that packets get on their chassis; 0: none.
    pub mark: u32,
}

/// Why a rule was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddQosError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Nobody could read its match.
    #[error(transparent)]
    Match(#[from] WrongMatch),
    /// It would do nothing.
    #[error("Either \"rate\" and/or \"dscp\" must be specified")]
    Nothing,
    /// There is one of this direction, priority and match.
    #[error("the same QoS rule is there already")]
    Exists(Uuid),
}

impl Refusal for AddQosError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Match(error) => error.kind(),
            Self::Nothing => RefusalKind::Invalid,
            Self::Exists(_) => RefusalKind::AlreadyExists,
        }
    }
}

/// Adds a rule to a switch.
pub fn add_qos(
    draft: &mut Draft<'_>,
    switch: Uuid,
    new: &NewQos<'_>,
    may_exist: bool,
) -> Result<Made, AddQosError> {
    if new.rate_kbps.is_none() && new.dscp.is_none() && new.mark == 0 {
        return Err(AddQosError::Nothing);
    }
    matches::read(new.matches)?;
    let filter = QosFilter::Rule(new.direction, new.priority, new.matches);
    let mut all = list_qos(draft, switch).into_iter();
    if let Some(same) = all.find(|qos| filter.accepts(qos)) {
        if may_exist {
            return Ok(Made {
                uuid: same.uuid,
                is_new: false,
            });
        }
        return Err(AddQosError::Exists(same.uuid));
    }
    let uuid = draft.insert_as(&new.row())?;
    draft.add_to::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.qos_rules, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
}

impl NewQos<'_> {
    fn row(&self) -> Qos {
        let mut qos = Qos {
            direction: self.direction.as_str().into(),
            priority: self.priority.number(),
            r#match: self.matches.into(),
            ..Qos::default()
        };
        if let Some(rate) = self.rate_kbps {
            qos.bandwidth.insert("rate".into(), rate.get().into());
            if let Some(burst) = self.burst_kbit {
                qos.bandwidth.insert("burst".into(), burst.get().into());
            }
        }
        if let Some(dscp) = self.dscp {
            qos.action.insert("dscp".into(), dscp.number());
        }
        if self.mark != 0 {
            qos.action.insert("mark".into(), self.mark.into());
        }
        qos
    }
}

/// Which rules of a switch.
#[derive(Clone, Copy, Debug)]
pub enum QosFilter<'a> {
    /// All.
    All,
    /// This one.
    Row(Uuid),
    /// Those of this direction.
    Direction(Direction),
    /// Those of this direction, priority and match.
    Rule(Direction, Priority, &'a str),
}

impl QosFilter<'_> {
    fn accepts(&self, qos: &Qos) -> bool {
        match self {
            Self::All => true,
            Self::Row(uuid) => qos.uuid == *uuid,
            Self::Direction(direction) => *qos.direction == *direction.as_str(),
            Self::Rule(direction, priority, matches) => {
                (&*qos.direction, qos.priority, &*qos.r#match)
                    == (direction.as_str(), priority.number(), *matches)
            }
        }
    }
}

/// Deletes the rules that the filter accepts, and says how many those were.
pub fn delete_qos(
    draft: &mut Draft<'_>,
    switch: Uuid,
    filter: QosFilter<'_>,
) -> Result<usize, DraftError> {
    let gone = list_qos(draft, switch).into_iter();
    let gone = gone.filter(|qos| filter.accepts(qos)).map(|qos| qos.uuid);
    let gone: Vec<Uuid> = gone.collect();
    draft.remove_from::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.qos_rules, &gone)?;
    for uuid in &gone {
        draft.delete::<Qos>(*uuid)?;
    }
    Ok(gone.len())
}

/// The rules of a switch, by direction, falling rank and match.
pub fn list_qos(draft: &Draft<'_>, switch: Uuid) -> Vec<Qos> {
    let column = LogicalSwitch::COLUMN.qos_rules;
    let uuids = draft.get::<LogicalSwitch, _>(switch, column).into_iter();
    let mut rules: Vec<Qos> = uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    rules.sort_by(|a, b| {
        (&a.direction, Reverse(a.priority), &a.r#match).cmp(&(
            &b.direction,
            Reverse(b.priority),
            &b.r#match,
        ))
    });
    rules
}
