//! `Logical_Switch_Port`, as the northbound database has it.

ovsdb::table! {
    /// A port of a logical switch: a guest, a container inside a guest, a router's side of a link, or a door to a
    /// physical network.
    ///
    /// The port of a guest comes to life on the chassis whose Open vSwitch has an interface with
    /// `external_ids:iface-id` equal to `name`.
    pub struct LogicalSwitchPort = "Logical_Switch_Port" {
        root: false,
        indexes: [(name)],
        columns {
            /// Unique name; the `iface-id` of the guest's interface.
            name: string,
            /// Empty for a guest or container; else `router`, `switch`, `localnet`, `localport`, `l2gateway`, `vtep`,
            /// `external`, `virtual` or `remote`.
            r#type: string,
            /// Settings by type. Any: `requested-tnl-key`, `mcast_flood`, `mcast_flood_reports`. Guests:
            /// `requested-chassis`, `activation-strategy`, `iface-id-ver`, `qos_min_rate`, `qos_max_rate`, `qos_burst`,
            /// `hostname`, `force_fdb_lookup`, `disable_arp_nd_rsp`, `disable_garp_rarp`, `receive_multicast`,
            /// `vif-plug-type`. `router`: `router-port`, `nat-addresses`, `exclude-lb-vips-from-garp`, `arp_proxy`,
            /// `enable_router_port_acl`. `localnet`: `network_name`, `ethtype`, `localnet_learn_fdb`. `l2gateway`:
            /// `network_name`, `l2gateway-chassis`. `vtep`: `vtep-physical-switch`, `vtep-logical-switch`. `virtual`:
            /// `virtual-ip`, `virtual-parents`.
            options: map(string => string),
            /// For a container: the port of the guest that it lives in.
            parent_name: optional(string),
            /// VLAN that the management system wants; 0 asks northd to choose one for the container.
            tag_request: optional(integer(0..=4095)),
            /// VLAN in use: of a container inside its parent, or of a `localnet` port on the physical network.
            tag: optional(integer(1..=4095)),
            /// Addresses behind the port, each `MAC [IP...]`, `unknown`, `dynamic [IP...]`, `MAC dynamic` or `router`.
            addresses: set(string),
            /// Addresses that northd chose for `dynamic`.
            dynamic_addresses: optional(string),
            /// Addresses that the port may use, each `MAC [IP[/length]...]`, optionally after `VRRPv3`; empty: any.
            port_security: set(string),
            /// For type `switch`: the port at the other end of the link.
            peer: optional(string),
            /// Whether the port is bound to a chassis that has its flows in place; written by northd.
            up: optional(boolean),
            /// Administrative state; unset means enabled.
            enabled: optional(boolean),
            /// What a DHCPv4 client here is told; unset: no answer.
            dhcpv4_options: optional(weak(DHCP_Options)),
            /// What a DHCPv6 client here is told; unset: no answer.
            dhcpv6_options: optional(weak(DHCP_Options)),
            /// Mirrors that get copies of this port's packets.
            mirror_rules: set(weak(Mirror)),
            /// For type `external`: the chassis that serve the port.
            ha_chassis_group: optional(strong(HA_Chassis_Group)),
            /// Probes of the workload behind the port.
            health_checks: set(strong(Logical_Switch_Port_Health_Check)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
