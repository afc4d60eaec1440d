//! Probes that say whether the workload behind a switch port answers.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use nb_db::tables::{LogicalSwitchPort, LogicalSwitchPortHealthCheck};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::name_of;
use crate::values::{Family, Spelled};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An ICMP echo request.
    Icmp,
    /// A TCP connection to this port.
    Tcp(NonZeroU16),
    /// A UDP packet to this port.
    Udp(NonZeroU16),
}

impl Probe {
    /// `protocol` and `port`.
    fn columns(self) -> (&'static str, i64) {
        match self {
            Self::Icmp => ("icmp", 0),
            Self::Tcp(port) => ("tcp", port.get().into()),
            Self::Udp(port) => ("udp", port.get().into()),
        }
    }
}

/// Why a probe was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddHealthCheckError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The two addresses are of different families.
    #[error("{address}: IP address family is different from source IP {source_ip}.")]
    Family {
        /// The address that is probed.
        address: Arc<str>,
        /// The source of the probes.
        source_ip: Arc<str>,
    },
    /// The port is probed so already.
    #[error("{port}: the same health check already exists")]
    Exists {
        /// The name of the port.
        port: Arc<str>,
    },
}

impl Refusal for AddHealthCheckError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Family { .. } => RefusalKind::Invalid,
            Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// Has an address of a port probed.
pub fn add_health_check(
    draft: &mut Draft<'_>,
    port: Uuid,
    probe: Probe,
    source_ip: &Spelled<IpAddr>,
    address: &Spelled<IpAddr>,
) -> Result<Uuid, AddHealthCheckError> {
    if Family::of(*source_ip.value()) != Family::of(*address.value()) {
        return Err(AddHealthCheckError::Family {
            address: Arc::clone(address.text()),
            source_ip: Arc::clone(source_ip.text()),
        });
    }
    let (protocol, number) = probe.columns();
    let row = LogicalSwitchPortHealthCheck {
        protocol: protocol.into(),
        src_ip: Arc::clone(source_ip.text()),
        port: number,
        address: Arc::clone(address.text()),
        ..LogicalSwitchPortHealthCheck::default()
    };
    let what = |row: &LogicalSwitchPortHealthCheck| {
        let (source, address) = (Arc::clone(&row.src_ip), Arc::clone(&row.address));
        (Arc::clone(&row.protocol), source, row.port, address)
    };
    let known = list_health_checks(draft, port);
    if known.iter().any(|known| what(known) == what(&row)) {
        return Err(AddHealthCheckError::Exists {
            port: name_of::<LogicalSwitchPort>(draft, port),
        });
    }
    let uuid = draft.insert_as(&row)?;
    let column = LogicalSwitchPort::COLUMN.health_checks;
    draft.add_to::<LogicalSwitchPort, _>(port, column, &vec![uuid])?;
    Ok(uuid)
}

/// Why a probe was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteHealthCheckError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The port has none of that UUID.
    #[error("{uuid}: no such health check on port {port}")]
    NotFound {
        /// The UUID.
        uuid: Uuid,
        /// The name of the port.
        port: Arc<str>,
    },
}

impl Refusal for DeleteHealthCheckError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

/// Has a port probed no longer: by this probe, or by any.
pub fn delete_health_checks(
    draft: &mut Draft<'_>,
    port: Uuid,
    only: Option<Uuid>,
) -> Result<(), DeleteHealthCheckError> {
    let column = LogicalSwitchPort::COLUMN.health_checks;
    let mut gone = draft.get::<LogicalSwitchPort, _>(port, column);
    if let Some(uuid) = only {
        gone.retain(|known| *known == uuid);
        if gone.is_empty() {
            let port = name_of::<LogicalSwitchPort>(draft, port);
            return Err(DeleteHealthCheckError::NotFound { uuid, port });
        }
    }
    draft.remove_from::<LogicalSwitchPort, _>(port, column, &gone)?;
    for uuid in gone {
        draft.delete::<LogicalSwitchPortHealthCheck>(uuid)?;
    }
    Ok(())
}

/// The probes of a port, by protocol, port and address.
pub fn list_health_checks(draft: &Draft<'_>, port: Uuid) -> Vec<LogicalSwitchPortHealthCheck> {
    let column = LogicalSwitchPort::COLUMN.health_checks;
    let uuids = draft.get::<LogicalSwitchPort, _>(port, column).into_iter();
    let mut checks: Vec<LogicalSwitchPortHealthCheck> =
        uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    checks
        .sort_by(|a, b| (&a.protocol, a.port, &a.address).cmp(&(&b.protocol, b.port, &b.address)));
    checks
}
