//! `Logical_Switch`, as the northbound database has it.

ovsdb::table! {
    /// A layer-2 broadcast domain that may span any number of chassis.
    pub struct LogicalSwitch = "Logical_Switch" {
        root: true,
        columns {
            /// Name for people; need not be unique.
            name: string,
            /// The ports of the switch; a port belongs to exactly one.
            ports: set(strong(Logical_Switch_Port)),
            /// Rules on packets of all ports.
            acls: set(strong(ACL)),
            /// Marking and rate limits.
            qos_rules: set(strong(QoS)),
            /// The load balancers that act here.
            load_balancer: set(weak(Load_Balancer)),
            /// Groups whose load balancers act here, too.
            load_balancer_group: set(strong(Load_Balancer_Group)),
            /// Names answered for guests of this switch.
            dns_records: set(weak(DNS)),
            /// The control-plane protection profile.
            copp: optional(weak(Copp)),
            /// Settings: address management (`subnet`, `exclude_ips`, `ipv6_prefix`, `mac_only`), `vlan-passthru`,
            /// `broadcast-arps-to-all-routers`, `fdb_age_threshold`, `ct-zone-limit`, `requested-tnl-key`,
            /// `dhcp_relay_port`, `enable-stateless-acl-with-lb`, multicast snooping (`mcast_snoop`, `mcast_querier`,
            /// `mcast_flood_unregistered`, `mcast_table_size`, `mcast_idle_timeout`, `mcast_query_interval`,
            /// `mcast_query_max_response`, `mcast_eth_src`, `mcast_ip4_src`, `mcast_ip6_src`), EVPN
            /// (`dynamic-routing-*`).
            other_config: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Virtual addresses spread over ports.
            forwarding_groups: set(strong(Forwarding_Group)),
        }
    }
}
