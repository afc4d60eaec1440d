//! Forwarding groups: a virtual address spread over several ports of a switch.

use std::net::Ipv4Addr;
use std::sync::Arc;

use addr::Mac;
use nb_db::tables::{ForwardingGroup, LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, name_of, switch_of_port};
use crate::values::Spelled;

/// A group to be added.
#[derive(Clone, Debug)]
pub struct NewForwardingGroup<'a> {
    /// Its name, unique among all groups.
    pub name: &'a str,
    /// The virtual IP address.
    pub vip: &'a Spelled<Ipv4Addr>,
    /// The virtual Ethernet address.
    pub vmac: &'a Spelled<Mac>,
    /// The names of the ports of the switch that share the load.
    pub ports: &'a [String],
    /// Whether only ports whose tunnel is alive are used.
    pub liveness: bool,
}

/// Why a group was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddForwardingGroupError {
    /// Something that is needed is not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is a group of this name.
    #[error("{0}: a forwarding group by this name already exists")]
    Exists(String),
    /// A port does not exist.
    #[error("{0}: logical switch port does not exist")]
    NoPort(String),
    /// A port is in another switch.
    #[error("{port}: port already exists but in logical switch {switch}")]
    OtherSwitch {
        /// The name of the port.
        port: String,
        /// The name of the switch that it is in.
        switch: Arc<str>,
    },
}

impl From<DraftError> for AddForwardingGroupError {
    fn from(error: DraftError) -> Self {
        Self::Find(error.into())
    }
}

impl Refusal for AddForwardingGroupError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Exists(_) => RefusalKind::AlreadyExists,
            Self::NoPort(_) => RefusalKind::NotFound,
            Self::OtherSwitch { .. } => RefusalKind::Conflict,
        }
    }
}

/// Adds a group to a switch.
pub fn add_forwarding_group(
    draft: &mut Draft<'_>,
    switch: Uuid,
    new: &NewForwardingGroup<'_>,
) -> Result<Uuid, AddForwardingGroupError> {
    let name: Arc<str> = new.name.into();
    check_name(draft, new.name)?;
    let mut child_port: Vec<Arc<str>> = Vec::new();
    for port in new.ports {
        let port_name: Arc<str> = port.as_str().into();
        let found = draft.find::<LogicalSwitchPort, _>(LogicalSwitchPort::COLUMN.name, &port_name);
        let Some(uuid) = found.first() else {
            return Err(AddForwardingGroupError::NoPort(port.clone()));
        };
        let actual = switch_of_port(draft, *uuid)?;
        if actual != switch {
            return Err(AddForwardingGroupError::OtherSwitch {
                port: port.clone(),
                switch: name_of::<LogicalSwitch>(draft, actual),
            });
        }
        child_port.push(port_name);
    }
    child_port.sort_unstable();
    child_port.dedup();
    let uuid = draft.insert_as(&ForwardingGroup {
        name,
        vip: Arc::clone(new.vip.text()),
        vmac: Arc::clone(new.vmac.text()),
        liveness: new.liveness,
        child_port,
        ..ForwardingGroup::default()
    })?;
    let column = LogicalSwitch::COLUMN.forwarding_groups;
    draft.add_to::<LogicalSwitch, _>(switch, column, &vec![uuid])?;
    Ok(uuid)
}

/// That no group is called so.
pub fn check_name(draft: &Draft<'_>, name: &str) -> Result<(), AddForwardingGroupError> {
    if find_groups(draft, name).is_empty() {
        return Ok(());
    }
    Err(AddForwardingGroupError::Exists(name.to_owned()))
}

fn find_groups(draft: &Draft<'_>, name: &str) -> Vec<Uuid> {
    draft.find::<ForwardingGroup, _>(ForwardingGroup::COLUMN.name, &Arc::from(name))
}

/// Deletes the group of this name; that there is none is no error.
pub fn delete_forwarding_group(draft: &mut Draft<'_>, name: &str) -> Result<(), DraftError> {
    let column = LogicalSwitch::COLUMN.forwarding_groups;
    for uuid in find_groups(draft, name) {
        for switch in draft.find_containing::<LogicalSwitch>(column, uuid) {
            draft.remove_from::<LogicalSwitch, _>(switch, column, &vec![uuid])?;
        }
        draft.delete::<ForwardingGroup>(uuid)?;
    }
    Ok(())
}

/// The groups of a switch, or of all, with the names of their switches: by those, and by their own names.
pub fn list_forwarding_groups(
    draft: &Draft<'_>,
    switch: Option<Uuid>,
) -> Vec<(Arc<str>, ForwardingGroup)> {
    let switches = match switch {
        Some(uuid) => draft.typed::<LogicalSwitch>(uuid).into_iter().collect(),
        None => draft.all::<LogicalSwitch>(),
    };
    let mut groups = Vec::new();
    for switch in switches {
        let of_switch = switch.forwarding_groups.iter();
        let of_switch = of_switch.filter_map(|uuid| draft.typed::<ForwardingGroup>(*uuid));
        groups.extend(of_switch.map(|group| (Arc::clone(&switch.name), group)));
    }
    groups.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    groups
}
