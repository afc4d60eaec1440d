//! Logical switch ports, their coming and going.

use std::fmt;
use std::sync::Arc;

use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, find_if_any, name_of, switch_of_port};
use crate::values::Made;

/// A VLAN that a container asks for, 0 to 4095; 0 is any that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRequest(u16);

impl TagRequest {
    /// The highest.
    pub const MAX: Self = Self(4095);

    /// The request for this VLAN, if there is one of that number.
    pub fn new(number: i64) -> Option<Self> {
        let number = u16::try_from(number).ok()?;
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// Its number, as the column holds it.
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nesting {
    /// The name of the port of the machine that it runs in.
    pub parent: Arc<str>,
    /// The VLAN behind that port.
    pub tag: TagRequest,
}

/// What a port that is not a guest's leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// To the router port of this name.
    Router(Arc<str>),
    /// To the physical network of this name.
    Localnet(Arc<str>),
}

impl Link {
    /// `Logical_Switch_Port.type`, the option that names the target, and the address.
    fn columns(&self) -> (&'static str, &'static str, &'static str, &Arc<str>) {
        match self {
            Self::Router(port) => ("router", "router-port", "router", port),
            Self::Localnet(network) => ("localnet", "network_name", "unknown", network),
        }
    }
}

/// Why a port was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddPortError {
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
        difference: Difference,
    },
}

impl From<DraftError> for AddPortError {
    fn from(error: DraftError) -> Self {
        Self::Find(error.into())
    }
}

impl Refusal for AddPortError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Exists(_) | Self::Differs { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// How a port that is there differs from the one that was to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is in the switch that is called so.
    Switch(String),
    /// It is a container behind this port.
    HasParent(Arc<str>),
    /// It is no container.
    NoParent,
    /// It is a container behind this other port.
    Parent(Arc<str>),
    /// It does not ask for a VLAN.
    NoTag,
    /// It asks for this other VLAN.
    Tag(i64),
    /// It is of this other type.
    Type(Arc<str>),
    /// The option has this other value.
    Option(&'static str, Arc<str>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(name) => write!(f, "but in switch {name}"),
            Self::HasParent(parent) => write!(f, "but has parent {parent}"),
            Self::NoParent => f.write_str("but has no parent"),
            Self::Parent(parent) => write!(f, "with different parent {parent}"),
            Self::NoTag => f.write_str("but has no tag_request"),
            Self::Tag(tag) => write!(f, "with different tag_request {tag}"),
            Self::Type(port_type) => write!(f, "with different type {port_type}"),
            Self::Option(key, value) => write!(f, "with different {key} {value}"),
        }
    }
}

/// Adds a guest's or container's port to a switch.
pub fn add_port(
    draft: &mut Draft<'_>,
    switch: Uuid,
    name: &str,
    nesting: Option<&Nesting>,
    may_exist: bool,
) -> Result<Made, AddPortError> {
    if let Some(port) = find_if_any::<LogicalSwitchPort>(draft, name)? {
        if !may_exist {
            return Err(AddPortError::Exists(name.to_owned()));
        }
        check_same(draft, switch, port, name, nesting)?;
        return Ok(Made {
            uuid: port,
            is_new: false,
        });
    }
    let column = LogicalSwitchPort::COLUMN;
    let port = draft.insert::<LogicalSwitchPort>()?;
    draft.set::<LogicalSwitchPort, _>(port, column.name, &Arc::from(name))?;
    if let Some(Nesting { parent, tag }) = nesting {
        let parent = Some(Arc::clone(parent));
        draft.set::<LogicalSwitchPort, _>(port, column.parent_name, &parent)?;
        draft.set::<LogicalSwitchPort, _>(port, column.tag_request, &Some(tag.number()))?;
    }
    draft.add_to::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports, &vec![port])?;
    Ok(Made {
        uuid: port,
        is_new: true,
    })
}

/// That the port that is there is the one that was to be added.
fn check_same(
    draft: &Draft<'_>,
    switch: Uuid,
    port: Uuid,
    name: &str,
    nesting: Option<&Nesting>,
) -> Result<(), AddPortError> {
    let actual_switch = switch_of_port(draft, port)?;
    let column = LogicalSwitchPort::COLUMN;
    let parent = draft.get::<LogicalSwitchPort, _>(port, column.parent_name);
    let tag = draft.get::<LogicalSwitchPort, _>(port, column.tag_request);
    let difference = if actual_switch != switch {
        Some(Difference::Switch(switch_label(draft, actual_switch)))
    } else {
        match (nesting, parent, tag) {
            (None, None, _) => None,
            (None, Some(actual), _) => Some(Difference::HasParent(actual)),
            (Some(_), None, _) => Some(Difference::NoParent),
            (Some(wanted), Some(actual), _) if actual != wanted.parent => {
                Some(Difference::Parent(actual))
            }
            (Some(_), _, None) => Some(Difference::NoTag),
            (Some(wanted), _, Some(actual)) if actual != wanted.tag.number() => {
                Some(Difference::Tag(actual))
            }
            (Some(_), Some(_), Some(_)) => None,
        }
    };
    same_but(name, difference)
}

fn same_but(name: &str, difference: Option<Difference>) -> Result<(), AddPortError> {
    match difference {
        None => Ok(()),
        Some(difference) => Err(AddPortError::Differs {
            name: name.to_owned(),
            difference,
        }),
    }
}

/// What a switch is called: its name, or its UUID if it has none.
fn switch_label(draft: &Draft<'_>, switch: Uuid) -> String {
    let name = name_of::<LogicalSwitch>(draft, switch);
    if name.is_empty() {
        switch.to_string()
    } else {
        name.to_string()
    }
}

/// Adds a port that links a switch to a router or a physical network.
pub fn add_link(
    draft: &mut Draft<'_>,
    switch: Uuid,
    name: &str,
    link: &Link,
    may_exist: bool,
) -> Result<Made, AddPortError> {
    let (port_type, option, address, target) = link.columns();
    let made = add_port(draft, switch, name, None, may_exist)?;
    let (port, column) = (made.uuid, LogicalSwitchPort::COLUMN);
    if !made.is_new {
        let actual = draft.get::<LogicalSwitchPort, _>(port, column.r#type);
        if *actual != *port_type {
            same_but(name, Some(Difference::Type(actual)))?;
        }
        let options = draft.get::<LogicalSwitchPort, _>(port, column.options);
        let actual = options.get(option).cloned().unwrap_or_default();
        let difference = (actual != *target).then_some(Difference::Option(option, actual));
        same_but(name, difference)?;
        return Ok(made);
    }
    draft.set::<LogicalSwitchPort, _>(port, column.r#type, &Arc::from(port_type))?;
    let options = [(Arc::from(option), Arc::clone(target))].into();
    draft.set::<LogicalSwitchPort, _>(port, column.options, &options)?;
    draft.set::<LogicalSwitchPort, _>(port, column.addresses, &vec![Arc::from(address)])?;
    Ok(made)
}

/// Deletes a port from its switch.
pub fn delete_port(draft: &mut Draft<'_>, port: Uuid) -> Result<(), FindError> {
    let switch = switch_of_port(draft, port)?;
    draft.remove_from::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports, &vec![port])?;
    draft.delete::<LogicalSwitchPort>(port)?;
    Ok(())
}
