//! Settings of logical switch ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use nb_db::tables::{DhcpOptions, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::values::Family;
use crate::words::words;

words! {
    /// What a port is (`Logical_Switch_Port.type`).
    pub enum PortType {
        /// A guest or container.
        Guest = "",
        /// The link to a router.
        Router = "router",
        /// The link to another switch.
        Switch = "switch",
        /// The link to a physical network.
        Localnet = "localnet",
        /// A port that is on every chassis.
        Localport = "localport",
        /// A link to a physical network on one chassis.
        L2Gateway = "l2gateway",
        /// A port of a VTEP gateway.
        Vtep = "vtep",
        /// A machine that is outside, for which a chassis answers.
        External = "external",
        /// An address that moves between other ports.
        Virtual = "virtual",
        /// A port in another availability zone.
        Remote = "remote",
    }
}

/// Why a type was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetTypeError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Only ports that link switches have a peer.
    #[error("a port of type \"{0}\" has no peer")]
    NoPeer(PortType),
}

impl Refusal for SetTypeError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NoPeer(_) => RefusalKind::Invalid,
        }
    }
}

/// Sets what a port is; for one that links switches also the name of the port at the other end.
pub fn set_port_type(
    draft: &mut Draft<'_>,
    port: Uuid,
    port_type: PortType,
    peer: Option<&str>,
) -> Result<(), SetTypeError> {
    if peer.is_some() && port_type != PortType::Switch {
        return Err(SetTypeError::NoPeer(port_type));
    }
    let column = LogicalSwitchPort::COLUMN;
    draft.set::<LogicalSwitchPort, _>(port, column.r#type, &Arc::from(port_type.as_str()))?;
    if let Some(peer) = peer {
        draft.set::<LogicalSwitchPort, _>(port, column.peer, &Some(Arc::from(peer)))?;
    }
    Ok(())
}

/// Enables or disables a port.
pub fn set_port_enabled(
    draft: &mut Draft<'_>,
    port: Uuid,
    enabled: bool,
) -> Result<(), DraftError> {
    draft.set::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.enabled, &Some(enabled))
}

/// Whether a port is enabled, which it is unless somebody has disabled it.
pub fn is_port_enabled(draft: &Draft<'_>, port: Uuid) -> bool {
    let enabled = draft.get::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.enabled);
    enabled.unwrap_or(true)
}

/// Whether a port is up, which it is when a chassis has said so.
pub fn is_port_up(draft: &Draft<'_>, port: Uuid) -> bool {
    let up = draft.get::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.up);
    up.unwrap_or_default()
}

/// Why DHCP options were not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetDhcpError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// They are not of that family.
    #[error("DHCP options cidr '{cidr}' is not {}", family.name())]
    Family {
        /// Their subnet.
        cidr: Arc<str>,
        /// What it should be.
        family: Family,
    },
}

impl Refusal for SetDhcpError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Family { .. } => RefusalKind::Conflict,
        }
    }
}

/// Sets the DHCP options of a port, or takes them away.
pub fn set_dhcp_options(
    draft: &mut Draft<'_>,
    port: Uuid,
    family: Family,
    options: Option<Uuid>,
) -> Result<(), SetDhcpError> {
    if let Some(options) = options {
        let cidr = draft.get::<DhcpOptions, _>(options, DhcpOptions::COLUMN.cidr);
        let actual = cidr
            .parse::<addr::Cidr>()
            .map(|cidr| Family::of(cidr.addr()));
        if actual != Ok(family) {
            return Err(SetDhcpError::Family { cidr, family });
        }
    }
    let column = dhcp_column(family);
    draft.set::<LogicalSwitchPort, _>(port, column, &options)?;
    Ok(())
}

/// The DHCP options of a port and their subnet.
pub fn dhcp_options(draft: &Draft<'_>, port: Uuid, family: Family) -> Option<(Uuid, Arc<str>)> {
    let options = draft.get::<LogicalSwitchPort, _>(port, dhcp_column(family))?;
    let cidr = draft.get::<DhcpOptions, _>(options, DhcpOptions::COLUMN.cidr);
    Some((options, cidr))
}

fn dhcp_column(family: Family) -> ovsdb::Column<Option<Uuid>> {
    match family {
        Family::Ipv4 => LogicalSwitchPort::COLUMN.dhcpv4_options,
        Family::Ipv6 => LogicalSwitchPort::COLUMN.dhcpv6_options,
    }
}

/// Gives a port these options in place of those that it has.
pub fn set_port_options(
    draft: &mut Draft<'_>,
    port: Uuid,
    options: &BTreeMap<Arc<str>, Arc<str>>,
) -> Result<(), DraftError> {
    draft.set::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.options, options)
}

/// Sets what a port may send from and receive for; nothing: anything. As in OVN's tools, an entry may be odd, which its
/// parser says; northd then does not let it pass.
pub fn set_port_security(
    draft: &mut Draft<'_>,
    port: Uuid,
    entries: &Vec<Arc<str>>,
) -> Result<(), DraftError> {
    draft.set::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.port_security, entries)
}
