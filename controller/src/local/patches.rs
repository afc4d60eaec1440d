//! Patch ports between the integration bridge and the bridge of each physical network that a local switch is joined to.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::Datum;

/// In a port's `external_ids`: the localnet port that it belongs to.
const LOCALNET_KEY: &str = "ovn-localnet-port";
/// The L2 gateway's port that it belongs to.
const GATEWAY_KEY: &str = "ovn-l2gateway-port";

/// Whether a port with these `external_ids` is an end of such a patch.
pub(super) fn is_end(ids: &Datum) -> bool {
    [LOCALNET_KEY, GATEWAY_KEY]
        .iter()
        .any(|key| ids.get_str(key).is_some())
}

/// How the name of an end on another bridge says to which integration bridge it leads: chassis that share a host share bridges of
/// physical networks.
pub(super) fn to(integration: &str) -> String {
    format!("-to-{integration}")
}

/// A pair of patch ports as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedPatch {
    /// The localnet port, or the port of an L2 gateway.
    pub port: Arc<str>,
    /// It is an L2 gateway's.
    pub is_gateway: bool,
    /// The physical network's bridge.
    pub bridge: Arc<str>,
}

impl WantedPatch {
    /// The ends: name on the integration bridge of this name, name on the other.
    pub(super) fn names(&self, integration: &str) -> [String; 2] {
        [
            crate::network::patch_name(integration, &self.port),
            format!("patch-{}{}", self.port, to(integration)),
        ]
    }

    /// The `external_ids` of both ends.
    pub(super) fn ids(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let key = match self.is_gateway {
            true => GATEWAY_KEY,
            false => LOCALNET_KEY,
        };
        [(key.into(), self.port.clone())].into()
    }
}
