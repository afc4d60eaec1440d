//! Which logical port has which port of this switch.
//!
//! | kind of port | is attached when |
//! | --- | --- |
//! | guest (type empty) | an interface of the integration bridge has its name as `iface-id` and a port number, its `iface-id-ver` if it asks for one, and no other chassis is requested |
//! | container (`parent_port`) | its parent is attached as a guest and it has a tag; it follows its parent everywhere |
//! | `localport` | as a guest, on every chassis at once; it belongs to none |
//! | `localnet` | the patch port to its network's bridge exists |
//! | `mirror` | the port that it copies to (`mirror_port`) is attached as a guest or container: there copies leave |
//! | `l3gateway` | its `options:l3gateway-chassis` is this one |
//! | `l2gateway` | its `options:l2gateway-chassis` is this one; packets pass when the patch port to its network's bridge exists |
//! | `virtual` | the guest that has announced its address last (`virtual_parent`) is attached here, and is one of those that may have it (`options:virtual-parents`) |
//! | `external` | as `chassisredirect`: here its packets are answered |
//! | `chassisredirect` | of the chassis that may host it, this one is the first that is alive ([`super::gateways`]) |
//!
//! Ports of other kinds are attached nowhere here: a `patch` port leads to its peer within the pipeline.

use ovsdb::Uuid;
use sb_db::tables::PortBinding;

use super::{LocalInterface, NameId, Network, Own, Reads};

/// What kind of port a row of `Port_Binding` is, as far as attachment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A guest.
    Guest,
    /// A container in a guest.
    Container,
    /// A port that is on every chassis.
    Localport,
    /// The way to a physical network.
    Localnet,
    /// A router's or switch's port to its peer.
    Patch,
    /// A port of a gateway router, or the port of a switch to one: a patch port on one chassis only.
    L3Gateway,
    /// The way to a physical network, on one chassis.
    L2Gateway,
    /// An address that belongs to one of several guests.
    Virtual,
    /// A guest behind a physical network, whom this chassis answers.
    External,
    /// Stands for a port, of any datapath, to which packets are copied.
    Mirror,
    /// Stands for a distributed router port on the chassis that is its gateway.
    ChassisRedirect,
    /// Anything else.
    Other,
}

impl PortKind {
    /// The kind of a row.
    pub fn of(port: &PortBinding) -> PortKind {
        match &*port.r#type {
            "" if port
                .parent_port
                .as_ref()
                .is_some_and(|parent| !parent.is_empty()) =>
            {
                PortKind::Container
            }
            "" => PortKind::Guest,
            "localport" => PortKind::Localport,
            "localnet" => PortKind::Localnet,
            "patch" => PortKind::Patch,
            "l3gateway" => PortKind::L3Gateway,
            "l2gateway" => PortKind::L2Gateway,
            "virtual" => PortKind::Virtual,
            "external" => PortKind::External,
            "chassisredirect" => PortKind::ChassisRedirect,
            "mirror" => PortKind::Mirror,
            _ => PortKind::Other,
        }
    }

    /// Whether the chassis where the port is attached claims it.
    pub fn is_claimed(self) -> bool {
        matches!(
            self,
            PortKind::Guest
                | PortKind::Container
                | PortKind::L3Gateway
                | PortKind::L2Gateway
                | PortKind::Virtual
                | PortKind::External
                | PortKind::ChassisRedirect
                | PortKind::Mirror
        )
    }

    /// Whether packets reach a port of this kind. What is none stands for something else.
    pub fn is_way(self) -> bool {
        !matches!(self, PortKind::Virtual | PortKind::External)
    }

    /// Whether a port of this kind makes its datapath local where it is attached.
    pub fn makes_local(self) -> bool {
        matches!(
            self,
            PortKind::Guest
                | PortKind::Container
                | PortKind::Localport
                | PortKind::L3Gateway
                | PortKind::L2Gateway
                | PortKind::External
                | PortKind::ChassisRedirect
                | PortKind::Mirror
        )
    }

    /// Whether the port has a connection tracking zone of its own.
    pub fn has_zone(self) -> bool {
        matches!(
            self,
            PortKind::Guest
                | PortKind::Container
                | PortKind::Localport
                | PortKind::Localnet
                | PortKind::L2Gateway
        )
    }
}

/// How a port is reached from the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The port of the switch; 0 for a port that leads on within the pipelines, and for an L2 gateway without its bridge.
    pub ofport: u32,
    /// The VLAN on it.
    pub tag: Option<u16>,
    /// The interface's row, if it has one.
    pub interface: Option<Uuid>,
}

/// An attached logical port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its datapath.
    pub datapath: Uuid,
    /// What it is.
    pub kind: PortKind,
    /// Where it is.
    pub at: Attachment,
}

impl Network {
    /// Where a logical port is attached, if it is.
    pub(crate) fn bind(&self, reads: &Reads, port: &PortBinding) -> Option<Binding> {
        let kind = PortKind::of(port);
        let at = match kind {
            PortKind::Guest => {
                let named = self.interfaces.get(reads, NameId::of(&port.logical_port))?;
                let interface = named.iter().find(|interface| is_meant(port, interface))?;
                self.is_welcome(reads, port).then_some(())?;
                Attachment {
                    ofport: interface.ofport,
                    tag: None,
                    interface: Some(interface.uuid),
                }
            }
            PortKind::Container => {
                let parent = self.port_by_name(reads, port.parent_port.as_deref()?)?;
                if PortKind::of(parent) != PortKind::Guest {
                    return None;
                }
                let at = self.bind(reads, parent)?.at;
                Attachment {
                    tag: Some(tag_of(port)?),
                    ..at
                }
            }
            PortKind::Localport => {
                let named = self.interfaces.get(reads, NameId::of(&port.logical_port))?;
                let interface = named.first()?;
                Attachment {
                    ofport: interface.ofport,
                    tag: None,
                    interface: Some(interface.uuid),
                }
            }
            PortKind::Localnet | PortKind::L2Gateway => {
                let own = self.own(reads);
                if kind == PortKind::L2Gateway && !Self::is_l2_gateway(own, port) {
                    return None;
                }
                let patch = NameId::of(&patch_name(&own.bridge, &port.logical_port));
                let ofport = self.patches.get(reads, patch).copied();
                // The chassis of an L2 gateway has it also while it lacks the network's bridge, as OVN's do.
                let ofport = ofport.or_else(|| (kind == PortKind::L2Gateway).then_some(0))?;
                Attachment {
                    ofport,
                    tag: tag_of(port),
                    interface: None,
                }
            }
            PortKind::Mirror => {
                let sink = self.port_by_name(reads, port.mirror_port.as_deref()?)?;
                let is_guest = matches!(PortKind::of(sink), PortKind::Guest | PortKind::Container);
                is_guest.then_some(())?;
                self.bind(reads, sink)?.at
            }
            PortKind::Virtual => {
                let parent = port.virtual_parent.as_deref()?;
                may_have(port, parent).then_some(())?;
                let parent = self.port_by_name(reads, parent)?;
                let is_guest =
                    matches!(PortKind::of(parent), PortKind::Guest | PortKind::Container);
                (is_guest && parent.datapath == port.datapath).then_some(())?;
                self.bind(reads, parent)?;
                Attachment {
                    ofport: 0,
                    tag: None,
                    interface: None,
                }
            }
            PortKind::L3Gateway | PortKind::ChassisRedirect | PortKind::External => {
                self.is_gateway_of(reads, port).then_some(())?;
                Attachment {
                    ofport: 0,
                    tag: None,
                    interface: None,
                }
            }
            PortKind::Patch | PortKind::Other => return None,
        };
        Some(Binding {
            datapath: port.datapath,
            kind,
            at,
        })
    }

    /// Whether this chassis is the one that an L2 gateway's port names.
    pub(crate) fn is_l2_gateway(own: &Own, port: &PortBinding) -> bool {
        let named = port.options.get("l2gateway-chassis");
        named.is_some_and(|name| !name.is_empty() && *name == own.name)
    }

    /// Whether nobody has asked for the port to be on another chassis (ovn-nb(5), `requested-chassis`).
    fn is_welcome(&self, reads: &Reads, port: &PortBinding) -> bool {
        let Some(requested) = port
            .options
            .get("requested-chassis")
            .filter(|names| !names.is_empty())
        else {
            return true;
        };
        let own = self.own(reads);
        requested
            .split(',')
            .map(str::trim)
            .any(|name| name == &*own.name || name == &*own.hostname)
    }
}

/// The name of an integration bridge's end of the patch to a localnet port's bridge.
pub fn patch_name(bridge: &str, localnet: &str) -> String {
    format!("patch-{bridge}-to-{localnet}")
}

/// Whether an interface is for this port, and not for an earlier or later one of its name (ovn-nb(5), `iface-id-ver`).
pub(crate) fn is_meant(port: &PortBinding, interface: &LocalInterface) -> bool {
    let asked = port.options.get("iface-id-ver");
    asked.is_none_or(|asked| interface.version.as_ref() == Some(asked))
}

/// Whether a guest may have a virtual port's address.
pub(crate) fn may_have(port: &PortBinding, guest: &str) -> bool {
    let parents = port.options.get("virtual-parents");
    let mut parents = parents.map_or("", |names| names).split(',');
    parents.any(|name| name.trim() == guest)
}

fn tag_of(port: &PortBinding) -> Option<u16> {
    port.tag
        .and_then(|tag| u16::try_from(tag).ok())
        .filter(|tag| (1..4096).contains(tag))
}

#[cfg(test)]
mod tests;
