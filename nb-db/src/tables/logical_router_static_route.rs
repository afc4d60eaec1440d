//! `Logical_Router_Static_Route`, as the northbound database has it.

ovsdb::table! {
    /// A static route of a logical router.
    pub struct LogicalRouterStaticRoute = "Logical_Router_Static_Route" {
        root: false,
        columns {
            /// Table that the route belongs to; empty: the main one.
            route_table: string,
            /// The prefix, IPv4 or IPv6.
            ip_prefix: string,
            /// Whether the prefix is of the destination (the default) or of the source.
            policy: optional(one_of("src-ip", "dst-ip")),
            /// Address of the next hop, or `discard`; empty: on link.
            nexthop: string,
            /// Router port that packets leave by; unset: the one that has the next hop in a network.
            output_port: optional(string),
            /// Session without which the route is not used.
            bfd: optional(weak(BFD)),
            /// Packet fields that choose among equal-cost routes.
            selection_fields: set(one_of(
                "eth_src", "eth_dst", "ip_proto", "ip_src", "ip_dst", "ipv6_src", "ipv6_dst", "tp_src",
                "tp_dst",
            )),
            /// Settings: `ecmp_symmetric_reply`, `origin`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
