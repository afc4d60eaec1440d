//! Routing policies: rules of routers that come before the routing table's verdict.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalRouterPolicy};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::matches::{self, WrongMatch};
use crate::route::session;
use crate::values::{Family, Made, Priority};

/// The next hops of a rerouting policy: one or more addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHops(Vec<Arc<str>>);

/// A text that is no comma-separated list of such addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopsError {
    /// There is none.
    #[error("Nexthop is required when action is reroute.")]
    None,
    /// One is no address.
    #[error("bad next hop argument: {0}")]
    NoAddress(String),
    /// Some are of another family than the first.
    #[error("bad next hops argument, not in the same addr family : {0}")]
    Families(String),
}

impl Refusal for NextHopsError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

impl FromStr for NextHops {
    type Err = NextHopsError;

    fn from_str(text: &str) -> Result<Self, NextHopsError> {
        let words = text.split(',').filter(|word| !word.is_empty());
        let mut hops = Vec::new();
        let mut family = None;
        for word in words {
            let Ok(ip) = word.parse::<IpAddr>() else {
                return Err(NextHopsError::NoAddress(word.to_owned()));
            };
            if *family.get_or_insert(Family::of(ip)) != Family::of(ip) {
                return Err(NextHopsError::Families(text.to_owned()));
            }
            hops.push(Arc::from(ip.to_string()));
        }
        if hops.is_empty() {
            return Err(NextHopsError::None);
        }
        hops.sort_unstable();
        hops.dedup();
        Ok(Self(hops))
    }
}

/// The verdict of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAction<'a> {
    /// Let the routing table decide.
    Allow,
    /// Drop the packet.
    Drop,
    /// Send it by way of one of these.
    Reroute(NextHops),
    /// Go on with the chain of this name.
    Jump(&'a str),
}

impl PolicyAction<'_> {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::Reroute(_) => "reroute",
            Self::Jump(_) => "jump",
        }
    }
}

/// A policy to be added.
#[derive(Clone, Debug)]
pub struct NewPolicy<'a> {
    /// The chain that it is in; unset: the first.
    pub chain: Option<&'a str>,
    /// Its rank.
    pub priority: Priority,
    /// Which packets, in the expression language of logical flows.
    pub matches: &'a str,
    /// The verdict.
    pub action: PolicyAction<'a>,
    /// The router port that rerouted packets leave by, and its name.
    pub output_port: Option<(Uuid, Arc<str>)>,
    /// Whether BFD sessions watch the next hops.
    pub is_watched: bool,
    /// Settings, such as `pkt_mark`.
    pub options: BTreeMap<Arc<str>, Arc<str>>,
}

/// Why a policy was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddPolicyError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Nobody could read its match.
    #[error(transparent)]
    Match(#[from] WrongMatch),
    /// There is one of this chain, priority and match.
    #[error("the same routing policy is there already")]
    Exists(Uuid),
    /// Only rerouted packets have next hops to be watched, and leave by a port of the policy's choice.
    #[error("BFD and an output port are only valid when action is reroute.")]
    NotRerouted,
    /// A new session needs a port, and there is none that watches this next hop.
    #[error("{0}: no BFD session watches this next hop, and a new one needs an output port")]
    NoSession(Arc<str>),
}

impl Refusal for AddPolicyError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Match(error) => error.kind(),
            Self::Exists(_) => RefusalKind::AlreadyExists,
            Self::NotRerouted | Self::NoSession(_) => RefusalKind::Invalid,
        }
    }
}

/// Adds a policy to a router.
pub fn add_policy(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewPolicy<'_>,
    may_exist: bool,
) -> Result<Made, AddPolicyError> {
    matches::read(new.matches)?;
    let is_same = |policy: &LogicalRouterPolicy| {
        (
            policy.chain.as_deref().unwrap_or_default(),
            policy.priority,
            &*policy.r#match,
        ) == (
            new.chain.unwrap_or_default(),
            new.priority.number(),
            new.matches,
        )
    };
    if let Some(same) = list_policies(draft, router).into_iter().find(is_same) {
        if may_exist {
            return Ok(Made {
                uuid: same.uuid,
                is_new: false,
            });
        }
        return Err(AddPolicyError::Exists(same.uuid));
    }
    let mut row = LogicalRouterPolicy {
        chain: new.chain.map(Arc::from),
        priority: new.priority.number(),
        r#match: new.matches.into(),
        action: new.action.as_str().into(),
        options: new.options.clone(),
        ..LogicalRouterPolicy::default()
    };
    match &new.action {
        PolicyAction::Reroute(NextHops(hops)) => {
            row.nexthops.clone_from(hops);
            row.output_port = new.output_port.as_ref().map(|(uuid, _)| *uuid);
            if new.is_watched {
                row.bfd_sessions = sessions(draft, hops, new)?;
            }
        }
        _ if new.is_watched || new.output_port.is_some() => {
            return Err(AddPolicyError::NotRerouted);
        }
        PolicyAction::Jump(chain) => row.jump_chain = Some(Arc::from(*chain)),
        PolicyAction::Allow | PolicyAction::Drop => {}
    }
    let uuid = draft.insert_as(&row)?;
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.policies, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
}

/// The sessions that watch the next hops, new ones on the output port where there is none.
fn sessions(
    draft: &mut Draft<'_>,
    hops: &[Arc<str>],
    new: &NewPolicy<'_>,
) -> Result<Vec<Uuid>, AddPolicyError> {
    let port = new.output_port.as_ref().map(|(_, name)| name);
    let mut sessions = Vec::new();
    for hop in hops {
        match session(draft, hop, port)? {
            Some(uuid) => sessions.push(uuid),
            None => return Err(AddPolicyError::NoSession(Arc::clone(hop))),
        }
    }
    Ok(sessions)
}

/// Which policies of a router.
#[derive(Clone, Copy, Debug)]
pub enum PolicyFilter<'a> {
    /// This one.
    Row(Uuid),
    /// Those for which all holds that is given.
    Of {
        /// They are in the chain of this name; empty: the first.
        chain: Option<&'a str>,
        /// They have this rank.
        priority: Option<Priority>,
        /// They have this match.
        matches: Option<&'a str>,
    },
}

impl PolicyFilter<'_> {
    fn accepts(&self, policy: &LogicalRouterPolicy) -> bool {
        match *self {
            Self::Row(uuid) => policy.uuid == uuid,
            Self::Of {
                chain,
                priority,
                matches,
            } => {
                chain.is_none_or(|chain| chain == policy.chain.as_deref().unwrap_or_default())
                    && priority.is_none_or(|priority| priority.number() == policy.priority)
                    && matches.is_none_or(|matches| *matches == *policy.r#match)
            }
        }
    }
}

/// Deletes the policies that the filter accepts, and says how many those were.
pub fn delete_policies(
    draft: &mut Draft<'_>,
    router: Uuid,
    filter: PolicyFilter<'_>,
) -> Result<usize, DraftError> {
    let gone = list_policies(draft, router).into_iter();
    let gone = gone.filter(|policy| filter.accepts(policy));
    let gone: Vec<Uuid> = gone.map(|policy| policy.uuid).collect();
    draft.remove_from::<LogicalRouter, _>(router, LogicalRouter::COLUMN.policies, &gone)?;
    for uuid in &gone {
        draft.delete::<LogicalRouterPolicy>(*uuid)?;
    }
    Ok(gone.len())
}

/// The policies of a router, by chain, falling rank and match.
pub fn list_policies(draft: &Draft<'_>, router: Uuid) -> Vec<LogicalRouterPolicy> {
    let column = LogicalRouter::COLUMN.policies;
    let uuids = draft.get::<LogicalRouter, _>(router, column).into_iter();
    let mut policies: Vec<LogicalRouterPolicy> =
        uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    policies.sort_by(|a, b| {
        let chain = |policy: &LogicalRouterPolicy| policy.chain.clone().unwrap_or_default();
        (chain(a), Reverse(a.priority), &a.r#match).cmp(&(
            chain(b),
            Reverse(b.priority),
            &b.r#match,
        ))
    });
    policies
}
