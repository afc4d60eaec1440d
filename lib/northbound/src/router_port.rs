//! Logical router ports, and the chassis that may host them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use addr::{Cidr, Mac};
use nb_db::tables::{GatewayChassis, LogicalRouter, LogicalRouterPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, find_if_any, name_of, router_of_port};
use crate::values::{Made, Priority, Spelled};
use crate::words::words;

/// A router port to be added.
#[derive(Clone, Debug)]
pub struct NewRouterPort<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Ethernet address.
    pub mac: &'a Spelled<Mac>,
    /// Its addresses with their prefix lengths.
    pub networks: &'a [Spelled<Cidr>],
    /// The name of the router port at its other end, if routers are linked without a switch.
    pub peer: Option<&'a str>,
}

/// Why a router port was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddRouterPortError {
    /// Something that is needed is not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is a port of this name.
    #[error("{0}: a port with this name already exists")]
    Exists(String),
    /// There is a port of this name, as there may be, but it is another one.
    #[error("{name}: port already exists {difference}")]
    Differs {
        /// The name.
        name: String,
        /// How it differs from the one that was to be added.
        difference: RouterPortDifference,
    },
}

impl From<DraftError> for AddRouterPortError {
    fn from(error: DraftError) -> Self {
        Self::Find(error.into())
    }
}

impl Refusal for AddRouterPortError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Exists(_) | Self::Differs { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// How a router port that is there differs from the one that was to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterPortDifference {
    /// It is in this other router.
    Router(Arc<str>),
    /// It has this other Ethernet address.
    Mac(Arc<str>),
    /// It has other networks.
    Networks(Vec<Arc<str>>),
    /// It has this other peer.
    Peer(Option<Arc<str>>),
}

impl fmt::Display for RouterPortDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(name) => write!(f, "but in router {name}"),
            Self::Mac(mac) => write!(f, "with mac {mac}"),
            Self::Networks(_) => f.write_str("with different network"),
            Self::Peer(_) => f.write_str("with mismatching peer"),
        }
    }
}

/// Adds a port to a router.
pub fn add_router_port(
    draft: &mut Draft<'_>,
    router: Uuid,
    new: &NewRouterPort<'_>,
    may_exist: bool,
) -> Result<Made, AddRouterPortError> {
    let networks = new.networks.iter();
    let mut networks: Vec<Arc<str>> = networks.map(|cidr| Arc::clone(cidr.text())).collect();
    networks.sort_unstable();
    networks.dedup();
    if let Some(uuid) = find_if_any::<LogicalRouterPort>(draft, new.name)? {
        if !may_exist {
            return Err(AddRouterPortError::Exists(new.name.to_owned()));
        }
        if let Some(difference) = difference(draft, router, uuid, new, &networks)? {
            return Err(AddRouterPortError::Differs {
                name: new.name.to_owned(),
                difference,
            });
        }
        return Ok(Made {
            uuid,
            is_new: false,
        });
    }
    let port = draft.insert_as(&LogicalRouterPort {
        name: new.name.into(),
        mac: Arc::clone(new.mac.text()),
        networks,
        peer: new.peer.map(Arc::from),
        ..LogicalRouterPort::default()
    })?;
    draft.add_to::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports, &vec![port])?;
    Ok(Made {
        uuid: port,
        is_new: true,
    })
}

fn difference(
    draft: &Draft<'_>,
    router: Uuid,
    port: Uuid,
    new: &NewRouterPort<'_>,
    networks: &[Arc<str>],
) -> Result<Option<RouterPortDifference>, FindError> {
    let Some(actual) = draft.typed::<LogicalRouterPort>(port) else {
        return Ok(None);
    };
    let actual_router = router_of_port(draft, port)?;
    Ok(if actual_router != router {
        let name = name_of::<LogicalRouter>(draft, actual_router);
        Some(RouterPortDifference::Router(name))
    } else if actual.mac.parse::<Mac>().ok() != Some(*new.mac.value()) {
        Some(RouterPortDifference::Mac(actual.mac))
    } else if prefixes(&actual.networks) != prefixes(networks) {
        Some(RouterPortDifference::Networks(actual.networks))
    } else if actual.peer.as_deref() != new.peer {
        Some(RouterPortDifference::Peer(actual.peer))
    } else {
        None
    })
}

/// The networks in which a port is; what is none is left out.
fn prefixes(networks: &[Arc<str>]) -> BTreeSet<Cidr> {
    let networks = networks.iter().filter_map(|text| text.parse::<Cidr>().ok());
    networks.map(Cidr::network).collect()
}

/// Deletes a port from its router.
pub fn delete_router_port(draft: &mut Draft<'_>, port: Uuid) -> Result<(), FindError> {
    let router = router_of_port(draft, port)?;
    draft.remove_from::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports, &vec![port])?;
    draft.delete::<LogicalRouterPort>(port)?;
    Ok(())
}

/// Enables or disables a port.
pub fn set_router_port_enabled(
    draft: &mut Draft<'_>,
    port: Uuid,
    enabled: bool,
) -> Result<(), DraftError> {
    draft.set::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.enabled, &Some(enabled))
}

/// Whether a port is enabled, which it is unless somebody has disabled it.
pub fn is_router_port_enabled(draft: &Draft<'_>, port: Uuid) -> bool {
    let enabled = draft.get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.enabled);
    enabled.unwrap_or(true)
}

/// Lets a chassis host a gateway port, with this rank.
pub fn set_gateway_chassis(
    draft: &mut Draft<'_>,
    port: Uuid,
    chassis: &str,
    priority: Priority,
) -> Result<(), DraftError> {
    let port_name = name_of::<LogicalRouterPort>(draft, port);
    let name: Arc<str> = format!("{port_name}-{chassis}").into();
    let column = GatewayChassis::COLUMN;
    let gateway = match draft.find::<GatewayChassis, _>(column.name, &name).first() {
        Some(gateway) => *gateway,
        None => draft.insert_as(&GatewayChassis {
            name,
            chassis_name: chassis.into(),
            ..GatewayChassis::default()
        })?,
    };
    draft.set::<GatewayChassis, _>(gateway, column.priority, &priority.number())?;
    let gateways = LogicalRouterPort::COLUMN.gateway_chassis;
    draft.add_to::<LogicalRouterPort, _>(port, gateways, &vec![gateway])
}

/// The chassis that may host a port, highest priority first; of those, as OVN prints them, the last name first.
pub fn list_gateway_chassis(draft: &Draft<'_>, port: Uuid) -> Vec<GatewayChassis> {
    let column = LogicalRouterPort::COLUMN.gateway_chassis;
    let uuids = draft.get::<LogicalRouterPort, _>(port, column).into_iter();
    let mut gateways: Vec<GatewayChassis> = uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    gateways.sort_by(|a, b| (b.priority, &b.name).cmp(&(a.priority, &a.name)));
    gateways
}

/// Why a chassis was not taken from a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteGatewayChassisError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It may not host it anyway.
    #[error("chassis {chassis} is not added to logical port {port}")]
    NotFound {
        /// The name of the chassis.
        chassis: String,
        /// The name of the port.
        port: Arc<str>,
    },
}

impl Refusal for DeleteGatewayChassisError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

/// Does not let a chassis host a port any more.
pub fn delete_gateway_chassis(
    draft: &mut Draft<'_>,
    port: Uuid,
    chassis: &str,
) -> Result<(), DeleteGatewayChassisError> {
    let all = list_gateway_chassis(draft, port);
    let Some(gateway) = all.iter().find(|gateway| *gateway.chassis_name == *chassis) else {
        return Err(DeleteGatewayChassisError::NotFound {
            chassis: chassis.to_owned(),
            port: name_of::<LogicalRouterPort>(draft, port),
        });
    };
    let gateways = LogicalRouterPort::COLUMN.gateway_chassis;
    draft.remove_from::<LogicalRouterPort, _>(port, gateways, &vec![gateway.uuid])?;
    draft.delete::<GatewayChassis>(gateway.uuid)?;
    Ok(())
}

words! {
    /// How packets reach the chassis that hosts a gateway port (option `redirect-type`).
    pub enum RedirectType {
        /// Through tunnels.
        Overlay = "overlay",
        /// Through the physical network.
        Bridged = "bridged",
    }
}

/// Sets how packets reach the chassis that hosts a port.
pub fn set_redirect_type(
    draft: &mut Draft<'_>,
    port: Uuid,
    redirect_type: RedirectType,
) -> Result<(), DraftError> {
    let column = LogicalRouterPort::COLUMN.options;
    let mut options = draft.get::<LogicalRouterPort, _>(port, column);
    options.insert("redirect-type".into(), redirect_type.as_str().into());
    draft.rely_on::<LogicalRouterPort, _>(port, column)?;
    draft.set::<LogicalRouterPort, _>(port, column, &options)
}

/// Gives a port these options in place of those that it has.
pub fn set_router_port_options(
    draft: &mut Draft<'_>,
    port: Uuid,
    options: &BTreeMap<Arc<str>, Arc<str>>,
) -> Result<(), DraftError> {
    draft.set::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.options, options)
}
