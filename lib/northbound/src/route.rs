//! Static routes of routers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use addr::{AddrError, Cidr};
use nb_db::tables::{Bfd, LogicalRouter, LogicalRouterStaticRoute};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::parse_uuid;
use crate::values::{Family, Made, Spelled};
use crate::words::words;

words! {
    /// What a route is looked up by (`Logical_Router_Static_Route.policy`).
    pub enum RoutePolicy {
        /// The destination.
        Destination = "dst-ip",
        /// The source.
        Source = "src-ip",
    }
}

/// A prefix without host bits; one of full length is written as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(Cidr);

impl Prefix {
    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.0.addr())
    }
}

impl From<Cidr> for Prefix {
    fn from(cidr: Cidr) -> Self {
        Self(cidr.network())
    }
}

impl FromStr for Prefix {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        text.parse::<Cidr>().map(Self::from)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_host() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// To this address, or, if it is empty, straight out of the port.
    Ip(Spelled<IpAddr>),
    /// Nowhere: packets are dropped.
    Discard,
}

impl NextHop {
    /// As the column `nexthop` has it.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::Ip(ip) => Arc::clone(ip.text()),
            Self::Discard => "discard".into(),
        }
    }
}

/// The session that watches a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// This one.
    Session(Uuid),
    /// The one that watches this next hop already, or a new one on the route's port.
    Any,
}

/// A route to be added.
#[derive(Clone, Debug)]
pub struct NewRoute<'a> {
    /// For which addresses.
    pub prefix: Prefix,
    /// What it is looked up by; unset: the destination.
    pub policy: Option<RoutePolicy>,
    /// Where it leads.
    pub next_hop: NextHop,
    /// The name of the router port that it leads out of; unset: the one of the next hop's network.
    pub output_port: Option<Arc<str>>,
    /// The table that it is in; empty: the main one.
    pub table: &'a str,
    /// Who watches the next hop.
    pub watch: Option<Watch>,
    /// Whether there may be others with the same prefix.
    pub is_ecmp: bool,
    /// Whether answers go back the way that their requests came.
    pub is_symmetric: bool,
}

/// Why a route was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddRouteError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// What is dropped leaves by no port.
    #[error("outport is not valid for discard routes.")]
    PortOfDiscard,
    /// The next hop is not of the prefix's family.
    #[error("bad {} nexthop argument: {next_hop}", family.name())]
    Family {
        /// The family of the prefix.
        family: Family,
        /// The next hop.
        next_hop: Arc<str>,
    },
    /// There is a route for the prefix, and neither is one of several.
    #[error("duplicate prefix: {prefix} (policy: {policy})")]
    Exists {
        /// The prefix.
        prefix: Prefix,
        /// What both are looked up by.
        policy: RoutePolicy,
    },
    /// There is a route for the prefix by way of this next hop.
    #[error("duplicate nexthop for the same ECMP route")]
    SameNextHop,
    /// A session needs a port.
    #[error("insert entry in the BFD table failed")]
    WatchWithoutPort,
}

impl Refusal for AddRouteError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::PortOfDiscard | Self::Family { .. } | Self::WatchWithoutPort => {
                RefusalKind::Invalid
            }
            Self::Exists { .. } | Self::SameNextHop => RefusalKind::AlreadyExists,
        }
    }
}

/// Why a session could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindSessionError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is none of that UUID.
    #[error("{0}: BFD session not found")]
    NotFound(String),
}

impl Refusal for FindSessionError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound(_) => RefusalKind::NotFound,
        }
    }
}

/// The BFD session with this UUID; they have no names.
pub fn find_session(draft: &Draft<'_>, text: &str) -> Result<Uuid, FindSessionError> {
    let table = draft.table_of::<Bfd>()?;
    match parse_uuid(text) {
        Some(uuid) if draft.row(table, uuid).is_some() => Ok(uuid),
        _ => Err(FindSessionError::NotFound(text.to_owned())),
    }
}

/// What a route is looked up by.
pub fn policy_of(route: &LogicalRouterStaticRoute) -> &str {
    let default = RoutePolicy::Destination.as_str();
    route.policy.as_deref().unwrap_or(default)
}

/// The routes of a router.
pub fn list_routes(draft: &Draft<'_>, router: Uuid) -> Vec<LogicalRouterStaticRoute> {
    let column = LogicalRouter::COLUMN.static_routes;
    let uuids = draft.get::<LogicalRouter, _>(router, column);
    let routes = uuids.into_iter().filter_map(|uuid| draft.typed(uuid));
    routes.collect()
}

impl NewRoute<'_> {
    /// Checks that its parts go together.
    pub fn check(&self) -> Result<(), AddRouteError> {
        match &self.next_hop {
            NextHop::Discard if self.output_port.is_some() => Err(AddRouteError::PortOfDiscard),
            NextHop::Ip(ip) if Family::of(*ip.value()) != self.prefix.family() => {
                Err(AddRouteError::Family {
                    family: self.prefix.family(),
                    next_hop: Arc::clone(ip.text()),
                })
            }
            NextHop::Ip(_) | NextHop::Discard => Ok(()),
        }
    }
}

/// Adds a route to a router. If there is one for the prefix and there may be, it is led by way of the new next hop.
pub fn add_route(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewRoute<'_>,
    may_exist: bool,
) -> Result<Made, AddRouteError> {
    new.check()?;
    let policy = new.policy.unwrap_or(RoutePolicy::Destination);
    let prefix: Arc<str> = new.prefix.to_string().into();
    let mut same = list_routes(draft, router);
    same.retain(|route| {
        route.ip_prefix == prefix
            && policy_of(route) == policy.as_str()
            && *route.route_table == *new.table
    });
    let found = |uuid| Made {
        uuid,
        is_new: false,
    };
    let is_one_of_several = new.is_ecmp || new.is_symmetric;
    if let Some(existing) = same.first().filter(|_| !is_one_of_several) {
        if !may_exist {
            return Err(AddRouteError::Exists {
                prefix: new.prefix,
                policy,
            });
        }
        lead(draft, existing.uuid, new)?;
        return Ok(found(existing.uuid));
    }
    let next_hop = new.next_hop.text();
    let is_duplicate = |route: &&LogicalRouterStaticRoute| {
        (&route.nexthop, &route.output_port) == (&next_hop, &new.output_port)
    };
    if let Some(duplicate) = same.iter().find(is_duplicate) {
        if may_exist {
            return Ok(found(duplicate.uuid));
        }
        return Err(AddRouteError::SameNextHop);
    }
    insert(draft, router, new, prefix)
}

fn insert(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewRoute<'_>,
    ip_prefix: Arc<str>,
) -> Result<Made, AddRouteError> {
    let mut row = LogicalRouterStaticRoute {
        ip_prefix,
        policy: new.policy.map(|policy| policy.as_str().into()),
        route_table: new.table.into(),
        ..LogicalRouterStaticRoute::default()
    };
    if new.is_symmetric {
        let key = "ecmp_symmetric_reply";
        row.options.insert(key.into(), "true".into());
    }
    let uuid = draft.insert_as(&row)?;
    lead(draft, uuid, new)?;
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.static_routes, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
}

/// Writes where a route leads, and the session that watches it.
fn lead(draft: &mut Draft<'_>, route: Uuid, new: &NewRoute<'_>) -> Result<(), AddRouteError> {
    let column = LogicalRouterStaticRoute::COLUMN;
    let next_hop = new.next_hop.text();
    let session = match new.watch {
        None => None,
        Some(Watch::Session(uuid)) => Some(uuid),
        Some(Watch::Any) => Some(
            session(draft, &next_hop, new.output_port.as_ref())?
                .ok_or(AddRouteError::WatchWithoutPort)?,
        ),
    };
    draft.set::<LogicalRouterStaticRoute, _>(route, column.nexthop, &next_hop)?;
    draft.set::<LogicalRouterStaticRoute, _>(route, column.output_port, &new.output_port)?;
    if session.is_some() {
        draft.set::<LogicalRouterStaticRoute, _>(route, column.bfd, &session)?;
    }
    Ok(())
}

/// The session that watches an address already, on this port or any, or a new one on the port; none without a port.
pub(crate) fn session(
    draft: &mut Draft<'_>,
    ip: &Arc<str>,
    port: Option<&Arc<str>>,
) -> Result<Option<Uuid>, DraftError> {
    let column = Bfd::COLUMN;
    for session in draft.find::<Bfd, _>(column.dst_ip, ip) {
        let logical_port = draft.get::<Bfd, _>(session, column.logical_port);
        if port.is_none_or(|port| *port == logical_port) {
            return Ok(Some(session));
        }
    }
    let Some(port) = port else {
        return Ok(None);
    };
    let session = draft.insert_as(&Bfd {
        logical_port: Arc::clone(port),
        dst_ip: Arc::clone(ip),
        ..Bfd::default()
    })?;
    Ok(Some(session))
}

/// Which routes.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteFilter<'a> {
    /// Looked up by this.
    pub policy: Option<RoutePolicy>,
    /// For this prefix.
    pub prefix: Option<Prefix>,
    /// By way of this, as the column `nexthop` has it.
    pub next_hop: Option<&'a str>,
    /// Out of the router port of this name.
    pub output_port: Option<&'a str>,
    /// In this table.
    pub table: Option<&'a str>,
}

/// Deletes the routes that the filter accepts, and says how many those were.
pub fn delete_routes(
    draft: &mut Draft<'_>,
    router: Uuid,
    filter: &RouteFilter<'_>,
) -> Result<usize, DraftError> {
    let prefix = filter.prefix.map(|prefix| prefix.to_string());
    let mut gone = list_routes(draft, router);
    gone.retain(|route| {
        filter
            .policy
            .is_none_or(|policy| policy.as_str() == policy_of(route))
            && prefix
                .as_deref()
                .is_none_or(|prefix| *prefix == *route.ip_prefix)
            && filter.next_hop.is_none_or(|hop| *hop == *route.nexthop)
            && filter
                .output_port
                .is_none_or(|port| route.output_port.as_deref() == Some(port))
            && filter
                .table
                .is_none_or(|table| *table == *route.route_table)
    });
    let uuids: Vec<Uuid> = gone.iter().map(|route| route.uuid).collect();
    let column = LogicalRouter::COLUMN.static_routes;
    draft.remove_from::<LogicalRouter, _>(router, column, &uuids)?;
    for uuid in &uuids {
        draft.delete::<LogicalRouterStaticRoute>(*uuid)?;
    }
    Ok(uuids.len())
}
