//! Static routes of routers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use addr::{AddrError, Cidr};
use nb_db::tables::{Bfd, LogicalRouter, LogicalRouterPolicy, LogicalRouterStaticRoute};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::parse_uuid;
use crate::values::{Family, Made};
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
    /// To this address.
    Ip(IpAddr),
    /// Straight out of the router port of this name.
    Port(Arc<str>),
    /// Nowhere: packets are dropped.
    Discard,
}

impl NextHop {
    /// As the column `nexthop` has it.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::Ip(ip) => ip.to_string().into(),
            Self::Port(_) => "".into(),
            Self::Discard => "discard".into(),
        }
    }

    /// Whether the column holds this, however it is spelled.
    fn is(&self, column: &str) -> bool {
        match self {
            Self::Ip(ip) => column.parse() == Ok(*ip),
            Self::Port(_) => column.is_empty(),
            Self::Discard => column == "discard",
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
    /// What is dropped goes nowhere, and so not several ways.
    #[error("ecmp is not valid for discard routes.")]
    EcmpOfDiscard,
    /// Nobody watches nothing.
    #[error("bfd dst_ip cannot be discard.")]
    WatchOfDiscard,
    /// There is a route for the prefix that drops packets.
    #[error("discard nexthop for the same ECMP route exists.")]
    Discarded,
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
            Self::PortOfDiscard
            | Self::EcmpOfDiscard
            | Self::WatchOfDiscard
            | Self::Family { .. }
            | Self::WatchWithoutPort => RefusalKind::Invalid,
            Self::Discarded => RefusalKind::Conflict,
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
    #[error("no entry found in the BFD table")]
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
    fn is_one_of_several(&self) -> bool {
        self.is_ecmp || self.is_symmetric
    }

    /// The name of the port that it leads out of, if that is said.
    fn port(&self) -> Option<Arc<str>> {
        match (&self.output_port, &self.next_hop) {
            (None, NextHop::Port(port)) => Some(Arc::clone(port)),
            (port, _) => port.clone(),
        }
    }

    /// Checks that its parts go together.
    pub fn check(&self) -> Result<(), AddRouteError> {
        match &self.next_hop {
            NextHop::Discard if self.output_port.is_some() => Err(AddRouteError::PortOfDiscard),
            NextHop::Discard if self.is_one_of_several() => Err(AddRouteError::EcmpOfDiscard),
            NextHop::Discard if self.watch.is_some() => Err(AddRouteError::WatchOfDiscard),
            NextHop::Ip(ip) if Family::of(*ip) != self.prefix.family() => {
                Err(AddRouteError::Family {
                    family: self.prefix.family(),
                    next_hop: ip.to_string().into(),
                })
            }
            NextHop::Ip(_) | NextHop::Port(_) | NextHop::Discard => Ok(()),
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
    let mut same = list_routes(draft, router);
    same.retain(|route| {
        // What was learned from other availability zones is in nobody's way.
        !is_learned(route)
            && route.ip_prefix.parse() == Ok(new.prefix)
            && policy_of(route) == policy.as_str()
            && *route.route_table == *new.table
    });
    draft.rely_on::<LogicalRouter, _>(router, LogicalRouter::COLUMN.static_routes)?;
    let found = |uuid| Made {
        uuid,
        is_new: false,
    };
    if let Some(existing) = same.first().filter(|_| !new.is_one_of_several()) {
        if !may_exist {
            return Err(AddRouteError::Exists {
                prefix: new.prefix,
                policy,
            });
        }
        let column = LogicalRouterStaticRoute::COLUMN;
        draft.rely_on::<LogicalRouterStaticRoute, _>(existing.uuid, column.ip_prefix)?;
        draft.rely_on::<LogicalRouterStaticRoute, _>(existing.uuid, column.nexthop)?;
        if let Some(policy) = new.policy {
            let policy = Some(Arc::from(policy.as_str()));
            draft.set::<LogicalRouterStaticRoute, _>(existing.uuid, column.policy, &policy)?;
        }
        lead(draft, existing.uuid, new)?;
        return Ok(found(existing.uuid));
    }
    if same.iter().any(|route| NextHop::Discard.is(&route.nexthop)) {
        return Err(AddRouteError::Discarded);
    }
    let port = new.port();
    let is_duplicate = |route: &&LogicalRouterStaticRoute| match &new.next_hop {
        NextHop::Port(_) => route.nexthop.is_empty() && route.output_port == port,
        next_hop => next_hop.is(&route.nexthop),
    };
    if let Some(duplicate) = same.iter().find(is_duplicate) {
        if may_exist {
            return Ok(found(duplicate.uuid));
        }
        return Err(AddRouteError::SameNextHop);
    }
    insert(draft, router, new)
}

/// Whether a route was learned from another availability zone.
pub fn is_learned(route: &LogicalRouterStaticRoute) -> bool {
    route.external_ids.contains_key("ic-learned-route")
}

fn insert(draft: &mut Draft<'_>, router: Uuid, new: &NewRoute<'_>) -> Result<Made, AddRouteError> {
    let mut row = LogicalRouterStaticRoute {
        ip_prefix: new.prefix.to_string().into(),
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
    let (next_hop, port) = (new.next_hop.text(), new.port());
    let session = match new.watch {
        None => None,
        Some(Watch::Session(uuid)) => Some(uuid),
        Some(Watch::Any) => {
            Some(session(draft, &next_hop, port.as_ref())?.ok_or(AddRouteError::WatchWithoutPort)?)
        }
    };
    draft.set::<LogicalRouterStaticRoute, _>(route, column.nexthop, &next_hop)?;
    if port.is_some() {
        draft.set::<LogicalRouterStaticRoute, _>(route, column.output_port, &port)?;
    }
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
    /// By way of this.
    pub next_hop: Option<&'a NextHop>,
    /// Out of the router port of this name.
    pub output_port: Option<&'a str>,
    /// In this table, of which `""` is the main one; unset: in any.
    pub table: Option<&'a str>,
}

impl RouteFilter<'_> {
    fn accepts(&self, route: &LogicalRouterStaticRoute) -> bool {
        self.policy
            .is_none_or(|policy| policy.as_str() == policy_of(route))
            && self
                .prefix
                .is_none_or(|prefix| route.ip_prefix.parse() == Ok(prefix))
            && self.next_hop.is_none_or(|hop| hop.is(&route.nexthop))
            && self
                .output_port
                .is_none_or(|port| route.output_port.as_deref() == Some(port))
            && self.table.is_none_or(|table| *table == *route.route_table)
    }
}

/// Deletes the routes that the filter accepts, and the sessions that watch for nobody else; says how many routes those
/// were.
pub fn delete_routes(
    draft: &mut Draft<'_>,
    router: Uuid,
    filter: &RouteFilter<'_>,
) -> Result<usize, DraftError> {
    let mut gone = list_routes(draft, router);
    gone.retain(|route| filter.accepts(route));
    let uuids: Vec<Uuid> = gone.iter().map(|route| route.uuid).collect();
    let column = LogicalRouter::COLUMN.static_routes;
    draft.remove_from::<LogicalRouter, _>(router, column, &uuids)?;
    for route in gone {
        draft.delete::<LogicalRouterStaticRoute>(route.uuid)?;
        if let Some(session) = route.bfd.filter(|session| !is_watching(draft, *session)) {
            draft.delete::<Bfd>(session)?;
        }
    }
    Ok(uuids.len())
}

/// Deletes all routes of a router. As with OVN's tool, the sessions that watch their next hops stay: whoever clears a
/// router may be about to fill it again.
pub fn clear_routes(draft: &mut Draft<'_>, router: Uuid) -> Result<(), DraftError> {
    let column = LogicalRouter::COLUMN.static_routes;
    let routes = draft.get::<LogicalRouter, _>(router, column);
    draft.remove_from::<LogicalRouter, _>(router, column, &routes)?;
    for route in routes {
        draft.delete::<LogicalRouterStaticRoute>(route)?;
    }
    Ok(())
}

/// Whether a route or a policy relies on a session.
fn is_watching(draft: &Draft<'_>, session: Uuid) -> bool {
    let bfd = LogicalRouterStaticRoute::COLUMN.bfd;
    let routes = draft.find::<LogicalRouterStaticRoute, _>(bfd, &Some(session));
    let sessions = LogicalRouterPolicy::COLUMN.bfd_sessions;
    let policies = draft.find_containing::<LogicalRouterPolicy>(sessions, session);
    !routes.is_empty() || !policies.is_empty()
}
