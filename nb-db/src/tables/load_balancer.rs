//! `Load_Balancer`, as the northbound database has it.

ovsdb::table! {
    /// Virtual addresses, each spread over a list of backends. A load balancer acts on the switches and routers that
    /// refer to it.
    pub struct LoadBalancer = "Load_Balancer" {
        root: true,
        columns {
            /// Name for people; need not be unique.
            name: string,
            /// Backends, comma-separated `IP[:port]`, by virtual address `IP[:port]`.
            vips: map(string => string),
            /// Protocol of virtual addresses that have a port; unset means TCP.
            protocol: optional(one_of("tcp", "udp", "sctp")),
            /// Which virtual addresses have their backends probed.
            health_check: set(strong(Load_Balancer_Health_Check)),
            /// For each backend address that is probed: `port:source address`.
            ip_port_mappings: map(string => string),
            /// Packet fields that choose the backend; empty: the switch's choice.
            selection_fields: set(one_of(
                "eth_src", "eth_dst", "ip_src", "ip_dst", "ipv6_src", "ipv6_dst", "tp_src", "tp_dst",
            )),
            /// Settings: `reject`, `event`, `hairpin_snat_ip`, `skip_snat`, `add_route`, `neighbor_responder`,
            /// `template`, `address-family`, `affinity_timeout` in seconds, `ct_flush`, `use_stateless_nat`,
            /// `distributed`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
