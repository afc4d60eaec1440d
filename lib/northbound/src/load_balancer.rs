//! Load balancers, and which switches and routers they act on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use nb_db::tables::{LoadBalancer, LogicalRouter, LogicalSwitch};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, find_if_any};
use crate::values::{Existing, Family, Made};
use crate::words::words;

words! {
    /// The protocol that a load balancer with ports balances (`Load_Balancer.protocol`).
    pub enum Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
    }
}

/// `IP[:PORT]`, an IPv6 address in brackets if it has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The port, never 0.
    pub port: Option<u16>,
}

/// A text that is no [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be an IP address, or one and a port number with : as a separator")]
pub struct NoEndpoint;

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        parse_endpoint(text).ok_or(NoEndpoint)
    }
}

/// In the form by which it is known, however it was written.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    let without_port = |ip| Endpoint { ip, port: None };
    if let Ok(ip) = text.parse() {
        return Some(without_port(ip));
    }
    let in_brackets = text.strip_prefix('[');
    if let Some(ip) = in_brackets.and_then(|text| text.strip_suffix(']')) {
        return Some(without_port(IpAddr::V6(ip.parse().ok()?)));
    }
    let (ip, port) = text.rsplit_once(':')?;
    let ip = match ip.strip_prefix('[') {
        Some(ip) => IpAddr::V6(ip.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(ip.parse().ok()?),
    };
    let port = Some(port.parse().ok().filter(|port| *port > 0)?);
    Some(Endpoint { ip, port })
}

/// A virtual address and the backends that what goes there is spread over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    vip: Arc<str>,
    backends: Arc<str>,
    protocol: Option<Protocol>,
    /// The family, if the addresses are templates.
    template: Option<Family>,
}

/// Why there is no such virtual address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VipError {
    /// It is none.
    #[error(
        "{0}: should be an IP address (or an IP address and a port number with : as a separator)."
    )]
    NoAddress(String),
    /// Without a port all protocols are balanced.
    #[error("Protocol is unnecessary when no port of vip is given.")]
    ProtocolWithoutPort,
    /// A backend is none, or has a port although the virtual address has none, or the other way round.
    #[error(
        "{backend}: should be an IP address{}.",
        if *with_port { " and a port number with : as a separator" } else { "" }
    )]
    Backend {
        /// The backend.
        backend: String,
        /// Whether it should have a port.
        with_port: bool,
    },
    /// A backend is of the other family.
    #[error("{backend}: IP address family is different from VIP {vip}.")]
    Family {
        /// The backend.
        backend: String,
        /// The virtual address, without its port.
        vip: String,
    },
}

impl Refusal for VipError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

impl Vip {
    /// A virtual address, and comma-separated backends, all of which the row has in their normal form. Without a protocol, a
    /// virtual address with a port is one of TCP.
    pub fn new(vip: &str, backends: &str, protocol: Option<Protocol>) -> Result<Self, VipError> {
        let endpoint: Endpoint = vip
            .parse()
            .map_err(|NoEndpoint| VipError::NoAddress(vip.to_owned()))?;
        let with_port = endpoint.port.is_some();
        if protocol.is_some() && !with_port {
            return Err(VipError::ProtocolWithoutPort);
        }
        let backends = backends.split(',').filter(|backend| !backend.is_empty());
        let mut normal = Vec::new();
        for backend in backends {
            let parsed =
                parse_endpoint(backend).filter(|parsed| parsed.port.is_some() == with_port);
            let Some(parsed) = parsed else {
                return Err(VipError::Backend {
                    backend: backend.to_owned(),
                    with_port,
                });
            };
            if Family::of(parsed.ip) != Family::of(endpoint.ip) {
                return Err(VipError::Family {
                    backend: backend.to_owned(),
                    vip: endpoint.ip.to_string(),
                });
            }
            normal.push(parsed.to_string());
        }
        Ok(Self {
            vip: endpoint.to_string().into(),
            backends: normal.join(",").into(),
            protocol,
            template: None,
        })
    }

    /// A virtual address and backends in which every chassis puts its own values for variables
    /// (`Chassis_Template_Var`).
    pub fn template(vip: &str, backends: &str, protocol: Option<Protocol>, family: Family) -> Self {
        Self {
            vip: vip.into(),
            backends: backends.into(),
            protocol,
            template: Some(family),
        }
    }
}

/// What happens to a virtual address without backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutBackends {
    /// Packets are dropped.
    #[default]
    Drop,
    /// The sender is told that nobody is there.
    Reject,
    /// The management system is told that somebody wanted something.
    Event,
}

/// How a load balancer is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadBalancerOptions {
    /// What to do when there is a load balancer of this name or UUID: with `Accept`, it gets the virtual address whether it
    /// has it or not; with `Refuse`, only if it does not have it.
    pub existing: Existing,
    /// What happens without backends.
    pub without_backends: WithoutBackends,
    /// Whether routers get routes for the virtual addresses that neighbouring routers balance.
    pub add_route: bool,
}

/// Why a virtual address was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddVipError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Several load balancers have the name.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The load balancer has it.
    #[error("{name}: a load balancer with this vip ({vip}) already exists")]
    Exists {
        /// The name, or the UUID if that was given.
        name: Arc<str>,
        /// The virtual address.
        vip: Arc<str>,
    },
}

impl Refusal for AddVipError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Find(error) => error.kind(),
            Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// Adds a virtual address to the load balancer of this name or UUID, or makes one of this name.
pub fn add_vip(
    draft: &mut Draft<'_>,
    name: &str,
    vip: &Vip,
    options: &LoadBalancerOptions,
) -> Result<Made, AddVipError> {
    let column = LoadBalancer::COLUMN;
    let name: Arc<str> = name.into();
    if options.existing != Existing::Duplicate
        && let Some(uuid) = find_if_any::<LoadBalancer>(draft, &name)?
    {
        let mut vips = draft.get::<LoadBalancer, _>(uuid, column.vips);
        if vips.contains_key(&vip.vip) && options.existing == Existing::Refuse {
            let vip = Arc::clone(&vip.vip);
            return Err(AddVipError::Exists { name, vip });
        }
        vips.insert(Arc::clone(&vip.vip), Arc::clone(&vip.backends));
        draft.rely_on::<LoadBalancer, _>(uuid, column.vips)?;
        draft.set::<LoadBalancer, _>(uuid, column.vips, &vips)?;
        if let Some(protocol) = vip.protocol {
            let protocol = Some(Arc::from(protocol.as_str()));
            draft.set::<LoadBalancer, _>(uuid, column.protocol, &protocol)?;
        }
        return Ok(Made {
            uuid,
            is_new: false,
        });
    }
    let protocol = vip.protocol.unwrap_or(Protocol::Tcp);
    let uuid = draft.insert::<LoadBalancer>()?;
    draft.set::<LoadBalancer, _>(uuid, column.name, &name)?;
    let protocol = Some(Arc::from(protocol.as_str()));
    draft.set::<LoadBalancer, _>(uuid, column.protocol, &protocol)?;
    let vips = [(Arc::clone(&vip.vip), Arc::clone(&vip.backends))].into();
    draft.set::<LoadBalancer, _>(uuid, column.vips, &vips)?;
    draft.set::<LoadBalancer, _>(uuid, column.options, &row_options(vip, options))?;
    Ok(Made { uuid, is_new: true })
}

/// `Load_Balancer.options` of a new load balancer.
fn row_options(vip: &Vip, options: &LoadBalancerOptions) -> BTreeMap<Arc<str>, Arc<str>> {
    let set = [
        (
            "reject",
            options.without_backends == WithoutBackends::Reject,
        ),
        ("event", options.without_backends == WithoutBackends::Event),
        ("add_route", options.add_route),
        ("template", vip.template.is_some()),
    ];
    let set = set.into_iter().filter(|(_, is_set)| *is_set);
    let mut row: BTreeMap<Arc<str>, Arc<str>> =
        set.map(|(key, _)| (key.into(), "true".into())).collect();
    if let Some(family) = vip.template {
        row.insert("address-family".into(), family.as_str().into());
    }
    row
}

/// Why a virtual address was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteVipError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The load balancer does not have it.
    #[error("vip {0} is not part of the load balancer.")]
    NotFound(String),
}

impl Refusal for DeleteVipError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound(_) => RefusalKind::NotFound,
        }
    }
}

/// Takes a virtual address from a load balancer; one without any is deleted.
pub fn delete_vip(
    draft: &mut Draft<'_>,
    load_balancer: Uuid,
    vip: &str,
    if_exists: bool,
) -> Result<(), DeleteVipError> {
    let column = LoadBalancer::COLUMN.vips;
    let mut vips = draft.get::<LoadBalancer, _>(load_balancer, column);
    if vips.remove(vip).is_none() {
        if if_exists {
            return Ok(());
        }
        return Err(DeleteVipError::NotFound(vip.to_owned()));
    }
    if vips.is_empty() {
        draft.delete::<LoadBalancer>(load_balancer)?;
    } else {
        draft.rely_on::<LoadBalancer, _>(load_balancer, column)?;
        draft.set::<LoadBalancer, _>(load_balancer, column, &vips)?;
    }
    Ok(())
}

/// Deletes a load balancer with all its virtual addresses.
pub fn delete_load_balancer(draft: &mut Draft<'_>, load_balancer: Uuid) -> Result<(), DraftError> {
    draft.delete::<LoadBalancer>(load_balancer)
}

/// Whether ports play a role for a virtual address as the database has it; one that cannot be read is taken to have
/// one.
pub fn has_port(vip: &str) -> bool {
    parse_endpoint(vip).is_none_or(|endpoint| endpoint.port.is_some())
}

/// What a load balancer acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balanced {
    /// A switch.
    Switch(Uuid),
    /// A router.
    Router(Uuid),
}

impl Balanced {
    /// `switch` or `router`.
    pub fn what(self) -> &'static str {
        match self {
            Self::Switch(_) => "switch",
            Self::Router(_) => "router",
        }
    }

    /// The load balancers that act on it.
    pub fn load_balancers(self, draft: &Draft<'_>) -> Vec<Uuid> {
        match self {
            Self::Switch(uuid) => {
                draft.get::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.load_balancer)
            }
            Self::Router(uuid) => {
                draft.get::<LogicalRouter, _>(uuid, LogicalRouter::COLUMN.load_balancer)
            }
        }
    }
}

/// Why a load balancer was not attached or detached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It acts there already.
    #[error("{0} : a load balancer with this UUID already exists")]
    Exists(Uuid),
    /// It does not act there.
    #[error("the load balancer does not act on this {}", .0.what())]
    NotFound(Balanced),
}

impl Refusal for AttachError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists(_) => RefusalKind::AlreadyExists,
            Self::NotFound(_) => RefusalKind::NotFound,
        }
    }
}

/// Lets a load balancer act on something.
pub fn attach(
    draft: &mut Draft<'_>,
    target: Balanced,
    load_balancer: Uuid,
    may_exist: bool,
) -> Result<(), AttachError> {
    if target.load_balancers(draft).contains(&load_balancer) {
        if may_exist {
            return Ok(());
        }
        return Err(AttachError::Exists(load_balancer));
    }
    let member = vec![load_balancer];
    match target {
        Balanced::Switch(uuid) => {
            draft.add_to::<LogicalSwitch, _>(uuid, LogicalSwitch::COLUMN.load_balancer, &member)?;
        }
        Balanced::Router(uuid) => {
            draft.add_to::<LogicalRouter, _>(uuid, LogicalRouter::COLUMN.load_balancer, &member)?;
        }
    }
    Ok(())
}

/// Does not let a load balancer, or none at all, act on something any more.
pub fn detach(
    draft: &mut Draft<'_>,
    target: Balanced,
    load_balancer: Option<Uuid>,
    if_exists: bool,
) -> Result<(), AttachError> {
    let attached = target.load_balancers(draft);
    let gone = match load_balancer {
        None => attached,
        Some(load_balancer) if attached.contains(&load_balancer) => vec![load_balancer],
        Some(_) if if_exists => return Ok(()),
        Some(_) => return Err(AttachError::NotFound(target)),
    };
    match target {
        Balanced::Switch(uuid) => {
            draft.remove_from::<LogicalSwitch, _>(
                uuid,
                LogicalSwitch::COLUMN.load_balancer,
                &gone,
            )?;
        }
        Balanced::Router(uuid) => {
            draft.remove_from::<LogicalRouter, _>(
                uuid,
                LogicalRouter::COLUMN.load_balancer,
                &gone,
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80)))),
            ("fd00::1", Some(("fd00::1", None))),
            ("[fd00::1]", Some(("fd00::1", None))),
            ("[fd00::1]:80", Some(("fd00::1", Some(80)))),
            ("[fd00::1]:x", None),
            ("10.0.0.1:0", None),
            ("10.0.0.1:65536", None),
            ("foo", None),
            ("", None),
        ] {
            let expected = expected.map(|(ip, port)| Endpoint {
                ip: ip.parse().expect("an address"),
                port,
            });
            assert_eq!(parse_endpoint(text), expected, "{text}");
        }
    }
}
