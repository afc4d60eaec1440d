//! Address translation by routers.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, Mac, PortRange};
use nb_db::tables::{LogicalRouter, Nat};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
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
    "{text}: Not a valid {} address{}.",
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
    /// Its rank among those with a match.
    pub priority: Priority,
    /// Which packets, in the expression language of logical flows; empty: all.
    pub matches: &'a str,
}

/// Why a translation was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddNatError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Only a `dnat_and_snat` is done where a port is.
    #[error("logical_port and external_mac are only valid when type is \"dnat_and_snat\".")]
    Distributed,
    /// Only a `dnat_and_snat` can do without connections.
    #[error("stateless is not applicable to dnat or snat types")]
    Stateless,
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
        external_ip: Arc<str>,
        /// The inside address.
        logical_ip: Arc<str>,
    },
}

impl Refusal for AddNatError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Distributed | Self::Stateless => RefusalKind::Invalid,
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
        Ok(())
    }

    fn row(&self) -> Nat {
        let stateless = self.is_stateless.to_string();
        let mut nat = Nat {
            r#type: self.nat_type.as_str().into(),
            external_ip: Arc::clone(self.external_ip.text()),
            logical_ip: Arc::clone(&self.logical_ip.0),
            gateway_port: self.gateway_port,
            priority: self.priority.number(),
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

/// Adds a translation to a router. If it is there and may be, it gets the port and the Ethernet address of the new one.
pub fn add_nat(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewNat<'_>,
    may_exist: bool,
) -> Result<Made, AddNatError> {
    new.check()?;
    let nat = new.row();
    let column = Nat::COLUMN;
    let like = |other: &Nat| {
        (
            &other.r#type,
            other.gateway_port,
            &other.r#match,
            key(other),
        ) == (&nat.r#type, nat.gateway_port, &nat.r#match, key(&nat))
    };
    if let Some(other) = list_nats(draft, router).into_iter().find(like) {
        if (&other.external_ip, &other.logical_ip) != (&nat.external_ip, &nat.logical_ip) {
            let (column, ip) = key(&nat);
            return Err(AddNatError::AddressTaken {
                nat_type: new.nat_type,
                column,
                ip: Arc::clone(ip),
            });
        }
        if !may_exist {
            return Err(AddNatError::Exists {
                external_ip: nat.external_ip,
                logical_ip: nat.logical_ip,
            });
        }
        draft.set::<Nat, _>(other.uuid, column.logical_port, &nat.logical_port)?;
        draft.set::<Nat, _>(other.uuid, column.external_mac, &nat.external_mac)?;
        return Ok(Made {
            uuid: other.uuid,
            is_new: false,
        });
    }
    let uuid = draft.insert_as(&nat)?;
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.nat, &vec![uuid])?;
    Ok(Made { uuid, is_new: true })
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
