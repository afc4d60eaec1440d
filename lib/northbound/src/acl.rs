//! Access control lists: rules of switches and port groups.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use nb_db::tables::{Acl, LogicalSwitch, PortGroup};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, find_if_any};
use crate::matches::{self, WrongMatch};
use crate::values::{Direction, Made, Priority};
use crate::words::words;

words! {
    /// The verdict of a rule (`ACL.action`).
    pub enum AclAction {
        /// Let the packet pass.
        Allow = "allow",
        /// Let it pass, and what belongs to its connection.
        AllowRelated = "allow-related",
        /// Let it pass without looking at connections.
        AllowStateless = "allow-stateless",
        /// Drop it.
        Drop = "drop",
        /// Drop it and say so to its sender.
        Reject = "reject",
        /// Leave it to the next tier.
        Pass = "pass",
    }
}

words! {
    /// How important a log message is (`ACL.severity`).
    pub enum Severity {
        /// Somebody must act.
        Alert = "alert",
        /// Something is wrong.
        Warning = "warning",
        /// Something is unusual.
        Notice = "notice",
        /// Something has happened.
        Info = "info",
        /// Something of interest to developers has happened.
        Debug = "debug",
    }
}

/// The round in which a rule is tried, 0 to 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier(u8);

impl Tier {
    /// The last.
    pub const MAX: Self = Self(3);

    /// The tier with this number, if there is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// Its number, as the column holds it.
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

/// What has rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclOwner {
    /// A switch.
    Switch(Uuid),
    /// A port group.
    Group(Uuid),
}

/// Why what has rules could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindOwnerError {
    /// As a switch, or as a port group, it could not.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There are a switch and a port group of that name.
    #[error("'{0}' is a port group and a switch, too")]
    Both(String),
    /// There is neither.
    #[error("'{0}' is not found for port-group or switch.")]
    Neither(String),
}

impl Refusal for FindOwnerError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Both(_) => RefusalKind::Conflict,
            Self::Neither(_) => RefusalKind::NotFound,
        }
    }
}

impl AclOwner {
    /// The switch or the port group that is called so.
    pub fn find(draft: &Draft<'_>, name: &str) -> Result<Self, FindOwnerError> {
        match (
            find_if_any::<LogicalSwitch>(draft, name)?,
            find_if_any::<PortGroup>(draft, name)?,
        ) {
            (Some(_), Some(_)) => Err(FindOwnerError::Both(name.to_owned())),
            (Some(switch), None) => Ok(Self::Switch(switch)),
            (None, Some(group)) => Ok(Self::Group(group)),
            (None, None) => Err(FindOwnerError::Neither(name.to_owned())),
        }
    }

    fn uuids(self, draft: &Draft<'_>) -> Vec<Uuid> {
        match self {
            Self::Switch(uuid) => draft.get::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls),
            Self::Group(uuid) => draft.get::<PortGroup, _>(uuid, PortGroup::COLUMN.acls),
        }
    }

    fn add(self, draft: &mut Draft<'_>, acls: &Vec<Uuid>) -> Result<(), DraftError> {
        match self {
            Self::Switch(uuid) => {
                draft.add_to::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls, acls)
            }
            Self::Group(uuid) => draft.add_to::<PortGroup, _>(uuid, PortGroup::COLUMN.acls, acls),
        }
    }

    fn remove(self, draft: &mut Draft<'_>, acls: &Vec<Uuid>) -> Result<(), DraftError> {
        match self {
            Self::Switch(uuid) => {
                draft.remove_from::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.acls, acls)
            }
            Self::Group(uuid) => {
                draft.remove_from::<PortGroup, _>(uuid, PortGroup::COLUMN.acls, acls)
            }
        }
    }
}

/// `switch` or `port group`.
impl fmt::Display for AclOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch(_) => "switch",
            Self::Group(_) => "port group",
        })
    }
}

/// A rule to be added.
#[derive(Clone, Debug)]
pub struct NewAcl<'a> {
    /// Which packets of a port it is about.
    pub direction: Direction,
    /// Its rank.
    pub priority: Priority,
    /// Which packets, in the expression language of logical flows.
    pub matches: &'a str,
    /// The verdict.
    pub action: AclAction,
    /// The group of network functions that allowed packets are led through.
    pub network_function_group: Option<Uuid>,
    /// Whether to log; it is logged, too, if anything is said of how.
    pub log: bool,
    /// How important log messages are.
    pub severity: Option<Severity>,
    /// The name that log messages carry.
    pub name: Option<&'a str>,
    /// The meter that limits log messages.
    pub meter: Option<&'a str>,
    /// What connections that it allows carry; 0: nothing.
    pub label: u32,
    /// Whether it is tried behind the load balancers, which only means something for what ports send.
    pub apply_after_lb: bool,
    /// The round in which it is tried.
    pub tier: Tier,
    /// How packets that open a connection are sampled.
    pub sample_new: Option<Uuid>,
    /// How packets of established connections are sampled.
    pub sample_est: Option<Uuid>,
}

impl NewAcl<'_> {
    fn row(&self) -> Acl {
        let log = self.severity.is_some() || self.name.is_some() || self.meter.is_some();
        let mut acl = Acl {
            direction: self.direction.as_str().into(),
            priority: self.priority.number(),
            r#match: self.matches.into(),
            action: self.action.as_str().into(),
            network_function_group: self.network_function_group,
            log: self.log || log,
            severity: self.severity.map(|severity| severity.as_str().into()),
            name: self.name.map(Arc::from),
            meter: self.meter.map(Arc::from),
            label: self.label.into(),
            tier: self.tier.number(),
            sample_new: self.sample_new,
            sample_est: self.sample_est,
            ..Acl::default()
        };
        if self.apply_after_lb && self.direction == Direction::FromPort {
            acl.options.insert("apply-after-lb".into(), "true".into());
        }
        acl
    }
}

/// Why a rule was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddAclError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Nobody could read its match.
    #[error(transparent)]
    Match(#[from] WrongMatch),
    /// There is one of this direction, priority, match and tier.
    #[error("the same ACL is there already")]
    Exists(Uuid),
}

impl Refusal for AddAclError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Match(error) => error.kind(),
            Self::Exists(_) => RefusalKind::AlreadyExists,
        }
    }
}

/// Adds a rule.
pub fn add_acl(
    draft: &mut Draft<'_>,
    owner: AclOwner,
    new: &NewAcl<'_>,
    may_exist: bool,
) -> Result<Made, AddAclError> {
    matches::read(new.matches)?;
    let acl = new.row();
    let what = |acl: &Acl| {
        let (direction, matches) = (Arc::clone(&acl.direction), Arc::clone(&acl.r#match));
        (direction, acl.priority, matches, acl.tier)
    };
    let wanted = what(&acl);
    let known = owner.uuids(draft).into_iter();
    let mut known = known.filter_map(|uuid| draft.typed::<Acl>(uuid));
    if let Some(same) = known.find(|acl| what(acl) == wanted) {
        if may_exist {
            return Ok(Made {
                uuid: same.uuid,
                is_new: false,
            });
        }
        return Err(AddAclError::Exists(same.uuid));
    }
    let uuid = draft.insert_as(&acl)?;
    owner.add(draft, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
}

/// Which rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct AclFilter<'a> {
    /// Of this direction.
    pub direction: Option<Direction>,
    /// Of this rank and match.
    pub rule: Option<(Priority, &'a str)>,
    /// Of this tier.
    pub tier: Option<Tier>,
}

impl AclFilter<'_> {
    fn accepts(&self, acl: &Acl) -> bool {
        self.direction
            .is_none_or(|direction| direction.as_str() == &*acl.direction)
            && self.rule.is_none_or(|(priority, matches)| {
                (priority.number(), matches) == (acl.priority, &*acl.r#match)
            })
            && self.tier.is_none_or(|tier| tier.number() == acl.tier)
    }
}

/// Deletes the rules that the filter accepts.
pub fn delete_acls(
    draft: &mut Draft<'_>,
    owner: AclOwner,
    filter: &AclFilter<'_>,
) -> Result<(), DraftError> {
    let mut gone = list_acls(draft, owner);
    gone.retain(|acl| filter.accepts(acl));
    for acl in gone {
        owner.remove(draft, &vec![acl.uuid])?;
        draft.delete::<Acl>(acl.uuid)?;
    }
    Ok(())
}

/// The rules, by direction, falling rank and match.
pub fn list_acls(draft: &Draft<'_>, owner: AclOwner) -> Vec<Acl> {
    sorted(draft, owner.uuids(draft))
}

/// The rules of a switch and of all port groups that one of its ports is in, each once, in the same order.
pub fn list_acls_for_ports(draft: &Draft<'_>, switch: Uuid) -> Vec<Acl> {
    let ports: HashSet<Uuid> = draft
        .get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports)
        .into_iter()
        .collect();
    let mut groups: Vec<PortGroup> = draft.all();
    groups.retain(|group| group.ports.iter().any(|port| ports.contains(port)));
    let mut acls = AclOwner::Switch(switch).uuids(draft);
    acls.extend(groups.into_iter().flat_map(|group| group.acls));
    let mut seen = HashSet::new();
    acls.retain(|acl| seen.insert(*acl));
    sorted(draft, acls)
}

fn sorted(draft: &Draft<'_>, uuids: Vec<Uuid>) -> Vec<Acl> {
    let uuids = uuids.into_iter();
    let mut acls: Vec<Acl> = uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    acls.sort_by(|a, b| {
        (&a.direction, Reverse(a.priority), &a.r#match).cmp(&(
            &b.direction,
            Reverse(b.priority),
            &b.r#match,
        ))
    });
    acls
}
