//! Mirrors of the integration bridge: copies of what attached ports send and get.
//!
//! | type | copies go |
//! | --- | --- |
//! | `gre`, `erspan` | into a tunnel of the mirror's own, a port `ovn-NAME`, with the mirror's index as key |
//! | `local` | to the interface with `external_ids:mirror-id`; without one there is no mirror |
//!
//! Mirrors and their tunnels have `external_ids:ovn-owned`, like those of OVN's controller; what has not is somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum, RowChange, Uuid};

use super::Local;
use super::operations::{Strings, add_port, differs, insert, keys_differ, remove_port, truth};
use crate::vswitch::{Bridge, Interface, Mirror, Port};

/// Marks a mirror and its tunnel as a controller's.
pub(super) const OWNED_KEY: &str = "ovn-owned";
/// On an interface: the name as which it is the sink of mirrors.
pub(super) const SINK_KEY: &str = "mirror-id";

/// Whether a change may be about where mirrors are, or about these themselves.
pub(super) fn is_concerned(change: &RowChange, is_integration: bool) -> bool {
    let (bridge, interface) = (Bridge::COLUMN, Interface::COLUMN);
    match change.table {
        Bridge::INDEX => {
            is_integration && differs(change, &[bridge.ports.index, bridge.mirrors.index])
        }
        Interface::INDEX => {
            let is_changed = change.old.is_some() && change.new.is_some();
            is_changed && differs(change, &[interface.r#type.index, interface.options.index])
                || keys_differ(change, interface.external_ids.index, &[SINK_KEY])
        }
        Port::INDEX => keys_differ(change, Port::COLUMN.external_ids.index, &[OWNED_KEY]),
        Mirror::INDEX => true,
        _ => false,
    }
}

/// A mirror as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedMirror {
    /// Its name.
    pub name: Arc<str>,
    /// Where copies go.
    pub sink: Sink,
    /// Interfaces of the ports of which what they send is copied.
    pub from: BTreeSet<Uuid>,
    /// Interfaces of the ports of which what they get is copied.
    pub to: BTreeSet<Uuid>,
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into a tunnel.
    Tunnel {
        /// Whether it is ERSPAN, or else GRE.
        is_erspan: bool,
        /// Its other end.
        to: IpAddr,
        /// The key, and the index of ERSPAN.
        index: i64,
    },
    /// To the interface with this `mirror-id`.
    Interface(Arc<str>),
}

impl Sink {
    /// The tunnel's interface, by another name.
    fn interface(&self, name: Arc<str>) -> Option<Interface> {
        let Sink::Tunnel {
            is_erspan,
            to,
            index,
        } = self
        else {
            return None;
        };
        let key: Arc<str> = index.to_string().into();
        let mut options: Strings = [
            ("remote_ip".into(), to.to_string().into()),
            ("key".into(), key.clone()),
        ]
        .into();
        if *is_erspan {
            options.insert("erspan_idx".into(), key);
            options.insert("erspan_ver".into(), "1".into());
        }
        let kind = match (to.is_ipv4(), is_erspan) {
            (true, false) => "gre",
            (true, true) => "erspan",
            (false, false) => "ip6gre",
            (false, true) => "ip6erspan",
        };
        Some(Interface {
            name,
            r#type: kind.into(),
            options,
            ..Interface::default()
        })
    }
}

impl Local {
    /// Makes the mirrors of the integration bridge what is wanted.
    pub(super) fn reconcile_mirrors(
        &self,
        bridge: Uuid,
        wanted: &[WantedMirror],
        operations: &mut Vec<Operation>,
    ) {
        let mut missing: BTreeMap<&str, &WantedMirror> = wanted
            .iter()
            .map(|mirror| (&*mirror.name, mirror))
            .collect();
        let row = self.tables.get(Bridge::INDEX, bridge);
        let present = row.map(|row| Bridge::COLUMN.mirrors.get(row));
        for uuid in present.into_iter().flatten() {
            let Some(mirror) = self.tables.get_as::<Mirror>(uuid) else {
                continue;
            };
            if !truth(&mirror.external_ids, OWNED_KEY) {
                // Its name is taken.
                missing.remove(&*mirror.name);
                continue;
            }
            let known = missing.remove(&*mirror.name);
            let output = known.and_then(|known| self.output(bridge, known, operations));
            match (known, output) {
                (Some(known), Some(output)) => {
                    self.correct_mirror(&mirror, known, output, operations);
                }
                _ => operations.push(change_mirrors(bridge, uuid, Mutator::Delete)),
            }
        }
        for mirror in missing.into_values() {
            if let Some(output) = self.output(bridge, mirror, operations) {
                let row = Mirror {
                    name: mirror.name.clone(),
                    output_port: Some(output),
                    select_src_port: self.ports_of(&mirror.from, output),
                    select_dst_port: self.ports_of(&mirror.to, output),
                    external_ids: [(OWNED_KEY.into(), "true".into())].into(),
                    ..Mirror::default()
                };
                let row = insert(operations, &row);
                operations.push(change_mirrors(bridge, row, Mutator::Insert));
            }
        }
        self.remove_tunnels(bridge, wanted, operations);
    }

    /// The port to which copies go, made if it is a tunnel that is not there.
    fn output(
        &self,
        bridge: Uuid,
        mirror: &WantedMirror,
        operations: &mut Vec<Operation>,
    ) -> Option<Uuid> {
        let name = tunnel_name(&mirror.name);
        let Some(interface) = mirror.sink.interface(name.clone()) else {
            let Sink::Interface(id) = &mirror.sink else {
                return None;
            };
            return self.index.sink(id, bridge);
        };
        if let Some(port) = self.index.mirror_tunnel(&name, bridge) {
            let row = self.tables.get(Port::INDEX, port)?;
            for uuid in Port::COLUMN.interfaces.get(row) {
                let present = self.tables.get_as::<Interface>(uuid)?;
                let column = Interface::COLUMN;
                let mut update = Vec::new();
                if present.r#type != interface.r#type {
                    update.push(column.r#type.to(&interface.r#type));
                }
                if present.options != interface.options {
                    update.push(column.options.to(&interface.options));
                }
                if !update.is_empty() {
                    operations.push(Operation::update_row(Interface::INDEX, uuid, update));
                }
            }
            return Some(port);
        }
        if self.index.names().contains(&name) {
            tracing::warn!(
                "mirror {} copies nothing: its port {name} is somebody else's",
                mirror.name
            );
            return None;
        }
        let ids = [(OWNED_KEY.into(), "true".into())].into();
        Some(add_port(bridge, &interface, ids, operations))
    }

    fn correct_mirror(
        &self,
        present: &Mirror,
        wanted: &WantedMirror,
        output: Uuid,
        operations: &mut Vec<Operation>,
    ) {
        let column = Mirror::COLUMN;
        let mut update = Vec::new();
        if present.output_port != Some(output) {
            update.push(column.output_port.to(&Some(output)));
        }
        for (column, is, wanted) in [
            (
                column.select_src_port,
                &present.select_src_port,
                &wanted.from,
            ),
            (column.select_dst_port, &present.select_dst_port, &wanted.to),
        ] {
            let wanted = self.ports_of(wanted, output);
            let is: BTreeSet<&Uuid> = is.iter().collect();
            if is != wanted.iter().collect() {
                update.push(column.to(&wanted));
            }
        }
        if !update.is_empty() {
            operations.push(Operation::update_row(Mirror::INDEX, present.uuid, update));
        }
    }

    /// The ports of interfaces, without that to which copies go: a port that is its own sink is not mirrored.
    fn ports_of(&self, interfaces: &BTreeSet<Uuid>, output: Uuid) -> Vec<Uuid> {
        let ports = interfaces
            .iter()
            .filter_map(|interface| self.index.port_of(*interface));
        let ports: BTreeSet<Uuid> = ports.filter(|port| *port != output).collect();
        ports.into_iter().collect()
    }

    /// Takes away the tunnels of mirrors that are not wanted.
    fn remove_tunnels(
        &self,
        bridge: Uuid,
        wanted: &[WantedMirror],
        operations: &mut Vec<Operation>,
    ) {
        let is_tunnel = |mirror: &&WantedMirror| matches!(mirror.sink, Sink::Tunnel { .. });
        let wanted: BTreeSet<Arc<str>> = wanted
            .iter()
            .filter(is_tunnel)
            .map(|mirror| tunnel_name(&mirror.name))
            .collect();
        let gone = self.index.mirror_tunnels(bridge);
        let gone = gone.filter(|(name, _)| !wanted.contains(*name));
        operations.extend(gone.map(|(_, port)| remove_port(bridge, port)));
    }
}

fn tunnel_name(mirror: &str) -> Arc<str> {
    format!("ovn-{mirror}").into()
}

fn change_mirrors(bridge: Uuid, mirror: Uuid, how: Mutator) -> Operation {
    let column = Bridge::COLUMN.mirrors.index;
    let change = Mutation::new(column, how, Datum::One(Atom::Uuid(mirror)));
    Operation::mutate_row(Bridge::INDEX, bridge, vec![change])
}
