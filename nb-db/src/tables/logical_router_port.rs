//! `Logical_Router_Port`, as the northbound database has it.

ovsdb::table! {
    /// An interface of a logical router: its address, its networks, and, when it leads outside, the chassis that may
    /// host it.
    pub struct LogicalRouterPort = "Logical_Router_Port" {
        root: false,
        indexes: [(name)],
        columns {
            /// Unique name, different from every switch port's.
            name: string,
            /// Chassis that may host this gateway port; the older form of `ha_chassis_group`.
            gateway_chassis: set(strong(Gateway_Chassis)),
            /// Chassis that may host this gateway port.
            ha_chassis_group: optional(strong(HA_Chassis_Group)),
            /// Settings: `reside-on-redirect-chassis`, `redirect-type`, `mcast_flood`, `requested-tnl-key`,
            /// `prefix_delegation`, `prefix`, `route_table`, `gateway_mtu`, `gateway_mtu_bypass`,
            /// `routing-protocol-redirect`, `routing-protocols`, `ic-route-*`, `requested-chassis`,
            /// `dynamic-routing-*`.
            options: map(string => string),
            /// Addresses of the port, each `IP/length`; empty: only an IPv6 link-local address.
            networks: set(string),
            /// Ethernet address of the port.
            mac: string,
            /// Name of the router port at the other end of a direct link.
            peer: optional(string),
            /// Administrative state; unset means enabled.
            enabled: optional(boolean),
            /// Router advertisements: `address_mode`, `router_preference`, `route_info`, `mtu`, `send_periodic`,
            /// `max_interval`, `min_interval`, `rdnss`, `dnssl`.
            ipv6_ra_configs: map(string => string),
            /// Prefixes obtained by prefix delegation.
            ipv6_prefix: set(string),
            /// DHCP server to which requests are passed on.
            dhcp_relay: optional(strong(DHCP_Relay)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Written by northd: `hosting-chassis`.
            status: map(string => string),
        }
    }
}
