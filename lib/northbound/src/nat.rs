//! Address translation by routers.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, Mac, PortRange};
use nb_db::tables::{LogicalRouter, LogicalRouterPort, Nat};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::matches::{self, WrongMatch};
use crate::values::{Family, Made, Priority, Spelled};
use crate::words::words;

words! {
    /// Which addresses are translated (`NAT.type`).
    pub enum NatType {
        /// The destination of what comes in.
        Dnat = "dnat",
        /// The source of what goes out.
        Snat = "snat",
        /// Both.
        DnatAndSnat = "dnat_and_snat",
    }
}

/// The inside address of a translation; of `snat` it may be a prefix, which is written without host bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalIp(Arc<str>);

/// A text that is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text}: {} {} address{}.",
    if *or_network { "should be an" } else { "Not a valid" },
    family.name(),
    if *or_network { " or network" } else { "" }
)]
pub struct NoLogicalIp {
    /// The text.
    pub text: String,
    /// The family of the outside address.
    pub family: Family,
    /// Whether a prefix would do.
    pub or_network: bool,
}

impl Refusal for NoLogicalIp {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

impl LogicalIp {
    /// The inside address of a translation of this type, of the same family as the outside one.
    pub fn parse(text: &str, external: IpAddr, nat_type: NatType) -> Result<Self, NoLogicalIp> {
        let family = Family::of(external);
        let same_family = |cidr: &Cidr| Family::of(cidr.addr()) == family;
        let or_network = nat_type == NatType::Snat;
        match text.parse::<Cidr>().ok().filter(same_family) {
            Some(cidr) if cidr.is_host() => Ok(Self(cidr.addr().to_string().into())),
            Some(cidr) if or_network => Ok(Self(cidr.network().to_string().into())),
            _ => Err(NoLogicalIp {
                text: text.to_owned(),
                family,
                or_network,
            }),
        }
    }
}

/// A translation to be added.
#[derive(Clone, Debug)]
pub struct NewNat<'a> {
    /// Its type.
    pub nat_type: NatType,
    /// The outside address.
    pub external_ip: &'a Spelled<IpAddr>,
    /// The inside address.
    pub logical_ip: LogicalIp,
    /// The range of ports outside.
    pub external_ports: Option<Spelled<PortRange>>,
    /// For `dnat_and_snat`: the name of the switch port of whoever has the inside address, and the outside Ethernet
    /// address; then the translation is done on the chassis where the port is.
    pub distributed: Option<(&'a str, Spelled<Mac>)>,
    /// Whether connections are not tracked.
    pub is_stateless: bool,
    /// Whether neighbouring routers get routes for the outside address.
    pub add_route: bool,
    /// The router port with whose chassis the translation is done.
    pub gateway_port: Option<Uuid>,
    /// Its rank among those with a match, if it has one.
    pub priority: Option<Priority>,
    /// Which packets, in the expression language of logical flows; empty: all.
    pub matches: &'a str,
}

/// Why a translation was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddNatError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Nobody could read its match.
    #[error(transparent)]
    Match(#[from] WrongMatch),
    /// Only a `dnat_and_snat` is done where a port is.
    #[error("logical_port and external_mac are only valid when type is \"dnat_and_snat\".")]
    Distributed,
    /// Without a match there is no rank.
    #[error("priority can be only specified together with match.")]
    PriorityWithoutMatch,
    /// Only a `dnat_and_snat` can do without connections.
    #[error("stateless is not applicable to dnat or snat types")]
    Stateless,
    /// Nobody needs a route to the outside address of a `snat`.
    #[error("routes cannot be added for snat types.")]
    RouteOfSnat,
    /// The gateway port is another router's.
    #[error("the gateway port is not a router port of the logical router.")]
    OtherRouter,
    /// The gateway port is none.
    #[error("the gateway port is not a distributed gateway router port.")]
    NoGateway,
    /// The router has several gateway ports, and the outside address is in no network of one.
    #[error(
        "the logical router has multiple distributed gateway ports and gateway_port can not be determined from \
         external IP of NAT rule."
    )]
    Undetermined,
    /// Another translation has the outside address, and one of the two is stateless.
    #[error(
        "{external_ip}, {logical_ip}: External ip cannot be shared across stateless and stateful NATs"
    )]
    Shared {
        /// The outside address.
        external_ip: IpAddr,
        /// The inside address.
        logical_ip: Arc<str>,
    },
    /// There is one of this type with this address, but another address on its other side.
    #[error("a NAT with this type ({nat_type}), {column} ({ip}) already exists")]
    AddressTaken {
        /// The type.
        nat_type: NatType,
        /// The column of the address: `logical_ip` or `external_ip`.
        column: &'static str,
        /// The address.
        ip: Arc<str>,
    },
    /// There is one of this type with these addresses.
    #[error(
        "{external_ip}, {logical_ip}: a NAT with this external_ip and logical_ip already exists"
    )]
    Exists {
        /// The outside address.
        external_ip: IpAddr,
        /// The inside address.
        logical_ip: Arc<str>,
    },
}

impl Refusal for AddNatError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Match(error) => error.kind(),
            Self::Distributed
            | Self::PriorityWithoutMatch
            | Self::Stateless
            | Self::RouteOfSnat => RefusalKind::Invalid,
            Self::OtherRouter | Self::NoGateway | Self::Undetermined | Self::Shared { .. } => {
                RefusalKind::Conflict
            }
            Self::AddressTaken { .. } | Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

impl NewNat<'_> {
    /// Checks what only makes sense for some types.
    pub fn check(&self) -> Result<(), AddNatError> {
        let is_both = self.nat_type == NatType::DnatAndSnat;
        if self.distributed.is_some() && !is_both {
            return Err(AddNatError::Distributed);
        }
        if self.is_stateless && !is_both {
            return Err(AddNatError::Stateless);
        }
        if self.add_route && self.nat_type == NatType::Snat {
            return Err(AddNatError::RouteOfSnat);
        }
        match (self.matches, self.priority) {
            ("", None) => Ok(()),
            ("", Some(_)) => Err(AddNatError::PriorityWithoutMatch),
            (when, _) => Ok(matches::read(when).map(drop)?),
        }
    }

    fn row(&self) -> Nat {
        let stateless = self.is_stateless.to_string();
        let mut nat = Nat {
            r#type: self.nat_type.as_str().into(),
            external_ip: Arc::clone(self.external_ip.text()),
            logical_ip: Arc::clone(&self.logical_ip.0),
            gateway_port: self.gateway_port,
            priority: self.priority.unwrap_or_default().number(),
            r#match: self.matches.into(),
            options: [(Arc::from("stateless"), Arc::from(stateless))].into(),
            ..Nat::default()
        };
        if let Some(ports) = &self.external_ports {
            nat.external_port_range = Arc::clone(ports.text());
        }
        if let Some((port, mac)) = &self.distributed {
            nat.logical_port = Some(Arc::from(*port));
            nat.external_mac = Some(Arc::clone(mac.text()));
        }
        if self.add_route {
            nat.options.insert("add_route".into(), "true".into());
        }
        nat
    }
}

/// The translations of a router.
pub fn list_nats(draft: &Draft<'_>, router: Uuid) -> Vec<Nat> {
    let uuids = draft.get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat);
    let nats = uuids.into_iter().filter_map(|uuid| draft.typed(uuid));
    nats.collect()
}

/// What a translation is told from others of its type by: the inside for `snat`, else the outside.
fn key(nat: &Nat) -> (&'static str, &Arc<str>) {
    if &*nat.r#type == NatType::Snat.as_str() {
        ("logical_ip", &nat.logical_ip)
    } else {
        ("external_ip", &nat.external_ip)
    }
}

/// The gateway ports of a router: how many, and the one with which a translation is done.
struct Gateways {
    count: usize,
    chosen: Option<LogicalRouterPort>,
}

impl Gateways {
    /// With the port that was asked for, or else the one in whose networks the outside address is.
    fn find(draft: &Draft<'_>, router: Uuid, new: &NewNat<'_>) -> Result<Self, AddNatError> {
        let ports = draft.get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports);
        if new.gateway_port.is_some_and(|port| !ports.contains(&port)) {
            return Err(AddNatError::OtherRouter);
        }
        let ports = ports.into_iter();
        let mut gateways: Vec<LogicalRouterPort> =
            ports.filter_map(|uuid| draft.typed(uuid)).collect();
        gateways.retain(|port| port.ha_chassis_group.is_some() || !port.gateway_chassis.is_empty());
        let count = gateways.len();
        let external_ip = *new.external_ip.value();
        let chosen = gateways.into_iter().rfind(|port| match new.gateway_port {
            Some(asked) => port.uuid == asked,
            None => has_in_networks(port, external_ip),
        });
        match (&chosen, new.gateway_port) {
            (None, Some(_)) => Err(AddNatError::NoGateway),
            (None, None) if count > 1 => Err(AddNatError::Undetermined),
            _ => Ok(Self { count, chosen }),
        }
    }

    /// Whether a translation that is there is done with the same port.
    fn are_of(&self, other: &Nat) -> bool {
        let Some(chosen) = self.chosen.as_ref().filter(|_| self.count > 1) else {
            return true;
        };
        match other.gateway_port {
            Some(port) => port == chosen.uuid,
            None => {
                let external_ip = other.external_ip.parse();
                external_ip.is_ok_and(|ip| has_in_networks(chosen, ip))
            }
        }
    }
}

fn has_in_networks(port: &LogicalRouterPort, ip: IpAddr) -> bool {
    let mut networks = port.networks.iter();
    networks.any(|network| {
        network
            .parse::<Cidr>()
            .is_ok_and(|network| network.contains(ip))
    })
}

fn is_stateless(nat: &Nat) -> bool {
    ovsdb::truth(nat.options.get("stateless"), false)
}

/// Adds a translation to a router. If it is there and may be, it gets the port and the Ethernet address of the new one.
pub fn add_nat(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewNat<'_>,
    may_exist: bool,
) -> Result<Made, AddNatError> {
    new.check()?;
    let gateways = Gateways::find(draft, router, new)?;
    let nat = new.row();
    for other in list_nats(draft, router) {
        if let Some(outcome) = meet(draft, &gateways, new, (&nat, &other), may_exist)? {
            return outcome;
        }
    }
    let uuid = draft.insert_as(&nat)?;
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
}

/// What comes of a translation that is there when a new one comes; nothing, if both can be.
fn meet(
    draft: &mut Draft<'_>,
    gateways: &Gateways,
    new: &NewNat<'_>,
    (nat, other): (&Nat, &Nat),
    may_exist: bool,
) -> Result<Option<Result<Made, AddNatError>>, DraftError> {
    let normal = |text: &Arc<str>| text.parse::<Cidr>().map(Cidr::network).ok();
    let same = |a: &Arc<str>, b: &Arc<str>| normal(a).is_some() && normal(a) == normal(b);
    let same_outside = same(&other.external_ip, &nat.external_ip);
    let same_inside = same(&other.logical_ip, &nat.logical_ip);
    let is_snat = new.nat_type == NatType::Snat;
    let same_key = if is_snat { same_inside } else { same_outside };
    let is_alike = (&other.r#type, &other.r#match) == (&nat.r#type, &nat.r#match)
        && gateways.are_of(other)
        && same_key;
    let (external_ip, logical_ip) = (*new.external_ip.value(), Arc::clone(&nat.logical_ip));
    let found = Made {
        uuid: other.uuid,
        is_new: false,
    };
    let both = NatType::DnatAndSnat.as_str();
    let is_both = &*nat.r#type == both || &*other.r#type == both;
    if is_both && same_outside && (is_stateless(other) || new.is_stateless) && !may_exist {
        return Ok(Some(Err(AddNatError::Shared {
            external_ip,
            logical_ip,
        })));
    }
    if is_alike && !(same_outside && same_inside) {
        let (column, ip) = if is_snat {
            ("logical_ip", logical_ip)
        } else {
            ("external_ip", external_ip.to_string().into())
        };
        return Ok(Some(Err(AddNatError::AddressTaken {
            nat_type: new.nat_type,
            column,
            ip,
        })));
    }
    if is_alike && !may_exist {
        return Ok(Some(Err(AddNatError::Exists {
            external_ip,
            logical_ip,
        })));
    }
    if is_alike {
        let column = Nat::COLUMN;
        draft.rely_on::<Nat, _>(other.uuid, column.logical_port)?;
        draft.rely_on::<Nat, _>(other.uuid, column.external_mac)?;
        draft.set::<Nat, _>(other.uuid, column.logical_port, &nat.logical_port)?;
        draft.set::<Nat, _>(other.uuid, column.external_mac, &nat.external_mac)?;
        return Ok(Some(Ok(found)));
    }
    let is_shared = is_both && same_outside && (is_stateless(other) || new.is_stateless);
    Ok(is_shared.then_some(Ok(found)))
}

/// Which translations.
#[derive(Clone, Copy, Debug, Default)]
pub struct NatFilter<'a> {
    /// Of this type.
    pub nat_type: Option<NatType>,
    /// With this address: the inside one of `snat`, else the outside one.
    pub ip: Option<Cidr>,
    /// Of this gateway port.
    pub gateway_port: Option<Uuid>,
    /// With this match.
    pub matches: Option<&'a str>,
}

impl NatFilter<'_> {
    fn accepts(&self, nat: &Nat) -> bool {
        let address = key(nat).1.parse::<Cidr>().map(Cidr::network);
        self.nat_type
            .is_none_or(|nat_type| nat_type.as_str() == &*nat.r#type)
            && self.ip.is_none_or(|ip| address == Ok(ip.network()))
            && self
                .gateway_port
                .is_none_or(|port| nat.gateway_port == Some(port))
            && self.matches.is_none_or(|matches| *matches == *nat.r#match)
    }
}

/// Deletes the translations that the filter accepts, and says how many those were.
pub fn delete_nats(
    draft: &mut Draft<'_>,
    router: Uuid,
    filter: &NatFilter<'_>,
) -> Result<usize, DraftError> {
    let mut gone = list_nats(draft, router);
    gone.retain(|nat| filter.accepts(nat));
    let uuids: Vec<Uuid> = gone.iter().map(|nat| nat.uuid).collect();
    draft.remove_from::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat, &uuids)?;
    for uuid in &uuids {
        draft.delete::<Nat>(*uuid)?;
    }
    Ok(uuids.len())
}

/// Which of those outside a translation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// For those in the address set, and no others.
    Allowed,
    /// For all but those in the address set.
    Exempted,
}

/// Why a translation was not restricted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestrictNatError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is no such translation.
    #[error("{nat_type}: Could not locate nat rule for: {ip}.")]
    NotFound {
        /// Its type.
        nat_type: NatType,
        /// Its address.
        ip: Cidr,
    },
}

impl Refusal for RestrictNatError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

/// Restricts the translation of this type and address, the inside one of `snat`, else the outside one, to some of
/// those outside.
pub fn restrict_nat(
    draft: &mut Draft<'_>,
    router: Uuid,
    (nat_type, ip): (NatType, Cidr),
    outside: Outside,
    addresses: Uuid,
) -> Result<(), RestrictNatError> {
    let filter = NatFilter {
        nat_type: Some(nat_type),
        ip: Some(ip),
        ..NatFilter::default()
    };
    let mut nats = list_nats(draft, router).into_iter();
    let Some(nat) = nats.find(|nat| filter.accepts(nat)) else {
        let ip = ip.network();
        return Err(RestrictNatError::NotFound { nat_type, ip });
    };
    let column = match outside {
        Outside::Allowed => Nat::COLUMN.allowed_ext_ips,
        Outside::Exempted => Nat::COLUMN.exempted_ext_ips,
    };
    draft.set::<Nat, _>(nat.uuid, column, &Some(addresses))?;
    Ok(())
}
