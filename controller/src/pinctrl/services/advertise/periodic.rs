//! What a router's port advertises by itself: the `ipv6_ra_…` keys of `Port_Binding.options`.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use addr::{Cidr, Mac};
use packet::advertisement::{AddressMode, Advertisement, Preference, list};
use sb_db::tables::PortBinding;

/// The limits of the longest pause, in seconds (RFC 4861, section 6.2.1).
const LONGEST_S: std::ops::RangeInclusive<u64> = 4..=1_800;
const DEFAULT_LONGEST_S: u64 = 600;
const LEAST_SHORTEST_S: u64 = 3;

/// Advertisements of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Periodic {
    /// The port of the switch from which they come there.
    pub(super) peer: Arc<str>,
    /// The router's MAC.
    pub(super) mac: Mac,
    /// The router's link-local address.
    pub(super) source: Ipv6Addr,
    /// The message.
    pub(super) message: Vec<u8>,
    /// The shortest pause between two.
    pub(super) shortest: Duration,
    /// The longest pause between two.
    pub(super) longest: Duration,
}

impl Periodic {
    /// What a port's row asks for: nothing, or what is wrong with it.
    pub(super) fn of(port: &PortBinding) -> Result<Option<Self>, String> {
        let option = |key: &str| port.options.get(key).map(|value| &**value);
        if !ovsdb::truth(option("ipv6_ra_send_periodic"), false) {
            return Ok(None);
        }
        let Some(peer) = port.options.get("peer") else {
            return Ok(None);
        };
        let wrong = |key: &str| format!("options:{key} of {}", port.logical_port);
        let mac: Mac = required(option("ipv6_ra_src_eth"), || wrong("ipv6_ra_src_eth"))?;
        let source = required(option("ipv6_ra_src_addr"), || wrong("ipv6_ra_src_addr"))?;
        let mode: AddressMode = required(option("ipv6_ra_address_mode"), || {
            wrong("ipv6_ra_address_mode")
        })?;
        let preference = option("ipv6_ra_prf").map(str::parse::<Preference>);
        let prefixes = option("ipv6_ra_prefixes").unwrap_or_default();
        let prefixes: Result<Vec<Cidr>, _> = prefixes.split_whitespace().map(str::parse).collect();
        let servers = option("ipv6_ra_rdnss").unwrap_or_default();
        let servers = list(servers).map_err(|_| wrong("ipv6_ra_rdnss"))?;
        let domains = list(option("ipv6_ra_dnssl").unwrap_or_default());
        let domains = domains.map_err(|_| wrong("ipv6_ra_dnssl"))?;
        let routes = list(option("ipv6_ra_route_info").unwrap_or_default());
        let message = Advertisement {
            mode,
            preference: preference
                .transpose()
                .map_err(|_| wrong("ipv6_ra_prf"))?
                .unwrap_or_default(),
            mac,
            mtu: option("ipv6_ra_mtu")
                .and_then(|mtu| mtu.parse().ok())
                .filter(|mtu| *mtu > 0),
            prefixes: prefixes.map_err(|_| wrong("ipv6_ra_prefixes"))?,
            servers,
            domains,
            routes: routes.map_err(|_| wrong("ipv6_ra_route_info"))?,
        }
        .encode();
        let seconds = |key: &str| option(key).and_then(|text| text.parse::<u64>().ok());
        let longest = seconds("ipv6_ra_max_interval").unwrap_or(DEFAULT_LONGEST_S);
        let longest = longest.clamp(*LONGEST_S.start(), *LONGEST_S.end());
        let shortest = seconds("ipv6_ra_min_interval").unwrap_or(longest / 3);
        Ok(Some(Self {
            peer: peer.clone(),
            mac,
            source,
            message,
            shortest: Duration::from_secs(shortest.clamp(LEAST_SHORTEST_S, longest)),
            longest: Duration::from_secs(longest),
        }))
    }
}

fn required<T: std::str::FromStr>(
    text: Option<&str>,
    wrong: impl FnOnce() -> String,
) -> Result<T, String> {
    text.and_then(|text| text.parse().ok()).ok_or_else(wrong)
}
