//! Patch ports between the integration bridge and the bridge of each physical network that a local switch is joined to.

use std::sync::Arc;

/// In a port's `external_ids`: the localnet port that it belongs to.
pub(super) const OWNER_KEY: &str = "ovn-localnet-port";

/// A pair of patch ports as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedPatch {
    /// The localnet port.
    pub localnet: Arc<str>,
    /// The physical network's bridge.
    pub bridge: Arc<str>,
}

impl WantedPatch {
    /// The ends: name on the integration bridge, name on the other.
    pub(super) fn names(&self) -> [String; 2] {
        [
            crate::network::patch_name(&self.localnet),
            format!("patch-{}-to-br-int", self.localnet),
        ]
    }
}
