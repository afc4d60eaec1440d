//! `Load_Balancer`, as the southbound database has it.

ovsdb::table! {
    /// A load balancer as controllers need it for hairpin traffic and for flushing connections.
    pub struct LoadBalancer = "Load_Balancer" {
        root: true,
        columns {
            /// The name.
            name: string,
            /// Backends by virtual address.
            vips: map(string => string),
            /// Protocol of virtual addresses that have a port.
            protocol: optional(one_of("tcp", "udp", "sctp")),
            /// No longer used; see the groups.
            datapaths: set(strong(Datapath_Binding)),
            /// No longer used; see the next two.
            datapath_group: optional(strong(Logical_DP_Group)),
            /// Switches that the load balancer acts on.
            ls_datapath_group: optional(strong(Logical_DP_Group)),
            /// Routers that the load balancer acts on.
            lr_datapath_group: optional(strong(Logical_DP_Group)),
            /// From the northbound: `hairpin_snat_ip`, `hairpin_orig_tuple`, `ct_flush`, ….
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
