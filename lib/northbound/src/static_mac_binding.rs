//! Fixed entries of the neighbour tables of router ports.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use nb_db::tables::{LogicalRouterPort, StaticMacBinding};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::name_of;
use crate::values::{Made, Spelled};

/// Why an entry was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddBindingError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is one for this port and address.
    #[error("{port}, {ip}: a Static_MAC_Binding with this logical_port and ip already exists")]
    Exists {
        /// The name of the port.
        port: Arc<str>,
        /// The address.
        ip: IpAddr,
    },
}

impl Refusal for AddBindingError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// The entry of a router port for an address.
fn find(draft: &Draft<'_>, port: &Arc<str>, ip: IpAddr) -> Option<Uuid> {
    let column = StaticMacBinding::COLUMN;
    let ip = Arc::from(ip.to_string());
    let for_ip = draft.find::<StaticMacBinding, _>(column.ip, &ip);
    let is_of_port =
        |uuid: &Uuid| draft.get::<StaticMacBinding, _>(*uuid, column.logical_port) == *port;
    for_ip.into_iter().find(is_of_port)
}

/// Gives a router port a fixed entry for an address. If there is one and there may be, it gets the Ethernet address of
/// the new one.
pub fn add_static_mac_binding(
    draft: &mut Draft<'_>,
    port: Uuid,
    ip: IpAddr,
    mac: &Spelled<Mac>,
    may_exist: bool,
) -> Result<Made, AddBindingError> {
    let port = name_of::<LogicalRouterPort>(draft, port);
    if let Some(uuid) = find(draft, &port, ip) {
        if !may_exist {
            return Err(AddBindingError::Exists { port, ip });
        }
        draft.set::<StaticMacBinding, _>(uuid, StaticMacBinding::COLUMN.mac, mac.text())?;
        return Ok(Made {
            uuid,
            is_new: false,
        });
    }
    let uuid = draft.insert_as(&StaticMacBinding {
        logical_port: port,
        ip: ip.to_string().into(),
        mac: Arc::clone(mac.text()),
        ..StaticMacBinding::default()
    })?;
    Ok(Made { uuid, is_new: true })
}

/// Why an entry was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteBindingError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is none for this port and address.
    #[error("no matching Static_MAC_Binding with port {port} and ip {ip}")]
    NotFound {
        /// The name of the port.
        port: Arc<str>,
        /// The address.
        ip: IpAddr,
    },
}

impl Refusal for DeleteBindingError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

/// Takes the entry for an address from a router port.
pub fn delete_static_mac_binding(
    draft: &mut Draft<'_>,
    port: Uuid,
    ip: IpAddr,
) -> Result<(), DeleteBindingError> {
    let port = name_of::<LogicalRouterPort>(draft, port);
    match find(draft, &port, ip) {
        Some(uuid) => Ok(draft.delete::<StaticMacBinding>(uuid)?),
        None => Err(DeleteBindingError::NotFound { port, ip }),
    }
}

/// All entries, by port and address.
pub fn list_static_mac_bindings(draft: &Draft<'_>) -> Vec<StaticMacBinding> {
    let mut all = draft.all::<StaticMacBinding>();
    all.sort_by(|a, b| (&a.logical_port, &a.ip).cmp(&(&b.logical_port, &b.ip)));
    all
}
