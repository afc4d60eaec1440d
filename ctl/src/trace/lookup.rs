//! What the names in matches and actions mean on a datapath.

use std::sync::Arc;

use lflow::Int;
use lflow::expr::Lookup;
use ovsdb::Uuid;

use super::world::World;

/// The names of a datapath.
#[derive(Clone, Copy, Debug)]
pub struct Names<'w> {
    /// Where they are looked up.
    pub world: &'w World,
    /// The datapath.
    pub datapath: Uuid,
    /// Whether other names of ports, and starts of their UUIDs, are understood: for what people write.
    pub lenient: bool,
}

impl Lookup for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        if name.is_empty() {
            return Some(0);
        }
        let port = match self.lenient {
            true => self.world.find_port(name),
            false => self.world.port_by_name(name),
        };
        match port {
            Some(port) => (port.datapath == self.datapath).then_some(port.key),
            None => self.world.multicast_key(self.datapath, name),
        }
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        self.world.address_set(name)
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        let datapath = self.world.datapath_by_uuid(self.datapath)?;
        // A group none of whose ports is here is not written for this datapath.
        let members = self
            .world
            .port_group(datapath.key, name)
            .unwrap_or_default();
        Some(members.iter().filter_map(|port| self.port(port)).collect())
    }

    /// A trace is about all chassis together: each port that there is, is somewhere.
    fn is_resident(&self, port: &str) -> bool {
        port.is_empty() || self.world.port_by_name(port).is_some()
    }
}
