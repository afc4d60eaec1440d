//! `ip_port_mappings`: where backends are, and from where they are probed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use nb_db::tables::LoadBalancer;
use ovsdb::Datum;

use super::endpoint::{self, Endpoint};
use crate::compiler::problem::Complaints;

/// Where a backend is, and from where it is probed: a value of `ip_port_mappings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The name of the backend's port.
    pub(super) port: Arc<str>,
    /// The source address of probes.
    pub(super) source: IpAddr,
}

/// Reads `ip_port_mappings`.
pub(super) fn parse(pairs: &Datum, complaints: &mut Complaints) -> BTreeMap<IpAddr, Mapping> {
    let column = LoadBalancer::COLUMN.ip_port_mappings.name;
    let remedy = "it is left out: write BACKEND and PORT:SOURCE, addresses of IPv6 in brackets";
    let mut mappings = BTreeMap::new();
    for (key, value) in pairs.pairs() {
        let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else {
            continue;
        };
        let Some(Endpoint { ip, port: None }) = endpoint::parse(key) else {
            let why = "the backend is no IP address";
            complaints.text(column, key, 0, why, remedy);
            continue;
        };
        let split = match value.ends_with(']') {
            true => value.rsplit_once(":["),
            false => value.rsplit_once(':'),
        };
        let read = split.and_then(|(port, source)| {
            let source: IpAddr = source.trim_end_matches(']').parse().ok()?;
            (!port.is_empty()).then(|| Mapping {
                port: port.into(),
                source,
            })
        });
        match read {
            Some(mapping) if mapping.source.is_ipv4() == ip.is_ipv4() => {
                mappings.insert(ip, mapping);
            }
            Some(_) => {
                let why = "backend and source are not of one family";
                complaints.text(column, value, 0, why, remedy);
            }
            None => {
                let why = "it is not the name of a port, : and an IP address";
                complaints.text(column, value, 0, why, remedy);
            }
        }
    }
    mappings
}
