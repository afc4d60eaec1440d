//! Key-value columns: the keys that have a meaning, and reading their values.

use std::str::FromStr;

use ovsdb::Datum;

use super::problem::Complaints;

/// One key-value column of a row, being read.
pub struct Options<'a> {
    column: &'static str,
    pairs: &'a Datum,
}

impl<'a> Options<'a> {
    /// The pairs of `column`. Keys that are not in `known` become problems: a misspelt key would otherwise be silent.
    /// A known key that ends in `:` stands for all keys that begin with it.
    pub fn read(
        column: &'static str,
        pairs: &'a Datum,
        known: &[&str],
        complaints: &mut Complaints,
    ) -> Self {
        for (key, _) in pairs.pairs() {
            let key = key.as_str().unwrap_or_default();
            let is_known = known
                .iter()
                .any(|known| *known == key || (known.ends_with(':') && key.starts_with(known)));
            if !is_known {
                let why = "the key has no meaning";
                complaints.text(column, key, 0, why, "remove it, or correct its spelling");
            }
        }
        Self { column, pairs }
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.pairs.get_str(key)
    }

    /// The truth of a key; `default` when absent or unreadable.
    pub fn truth(&self, key: &str, default: bool, complaints: &mut Complaints) -> bool {
        match self.text(key) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                let why = format!("{key} is neither true nor false");
                complaints.text(
                    self.column,
                    other,
                    0,
                    why,
                    format!("write true or false; {default} is assumed"),
                );
                default
            }
        }
    }

    /// The number of a key, if it is there and in the range.
    pub fn number<N: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<N>,
        complaints: &mut Complaints,
    ) -> Option<N> {
        let text = self.text(key)?;
        match text.parse::<N>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let why = format!(
                    "{key} is not a number from {} to {}",
                    range.start(),
                    range.end()
                );
                complaints.text(self.column, text, 0, why, "it is ignored until it is");
                None
            }
        }
    }
}

/// Keys of `Logical_Switch.other_config`.
pub const SWITCH_KEYS: &[&str] = &[
    "broadcast-arps-to-all-routers",
    "ct-zone-limit",
    "dhcp_relay_port",
    "dynamic-routing-advertise-ifname",
    "dynamic-routing-arp-prefer-local",
    "dynamic-routing-bridge-ifname",
    "dynamic-routing-fdb-prefer-local",
    "dynamic-routing-redistribute",
    "dynamic-routing-vni",
    "dynamic-routing-vxlan-ifname",
    "enable-stateless-acl-with-lb",
    "exclude_ips",
    "fdb_age_threshold",
    "ic-vxlan_mode",
    "interconn-ts",
    "ipv6_prefix",
    "mac_only",
    "mcast_eth_src",
    "mcast_flood_unregistered",
    "mcast_idle_timeout",
    "mcast_ip4_src",
    "mcast_ip6_src",
    "mcast_querier",
    "mcast_query_interval",
    "mcast_query_max_response",
    "mcast_snoop",
    "mcast_table_size",
    "requested-tnl-key",
    "subnet",
    "vlan-passthru",
];

/// Keys of `Logical_Switch_Port.options`.
pub const PORT_KEYS: &[&str] = &[
    "activation-strategy",
    "arp_proxy",
    "ct-zone-limit",
    "disable_arp_nd_rsp",
    "disable_garp_rarp",
    "enable_router_port_acl",
    "ethtype",
    "exclude-lb-vips-from-garp",
    "exclude-router-ips-from-garp",
    "force_fdb_lookup",
    "hostname",
    "iface-id-ver",
    "is-nf",
    "l2gateway-chassis",
    "localnet_learn_fdb",
    "lsp_learn_mac",
    "mcast_flood",
    "mcast_flood_reports",
    "nat-addresses",
    "network_name",
    "nf-linked-port",
    "pkt_clone_type",
    "qos_burst",
    "qos_max_rate",
    "qos_min_rate",
    "receive_multicast",
    "requested-chassis",
    "requested-tnl-key",
    "router-port",
    "vif-plug-mtu-request",
    "vif-plug-type",
    "vif-plug:",
    "virtual-ip",
    "virtual-parents",
    "vtep-logical-switch",
    "vtep-physical-switch",
];
