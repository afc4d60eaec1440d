//! `Learned_Route`, as the southbound database has it.

ovsdb::table! {
    /// A route that a chassis has learned from the host's routing daemon.
    pub struct LearnedRoute = "Learned_Route" {
        root: true,
        indexes: [(datapath, logical_port, ip_prefix, nexthop)],
        columns {
            /// Datapath of the router.
            datapath: strong(Datapath_Binding),
            /// Router port that the route leads out of.
            logical_port: strong(Port_Binding),
            /// The prefix.
            ip_prefix: string,
            /// Address of the next hop.
            nexthop: string,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
