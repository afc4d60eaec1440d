//! `Advertised_Route`, as the southbound database has it.

ovsdb::table! {
    /// A route that a chassis should announce through the host's routing daemon.
    pub struct AdvertisedRoute = "Advertised_Route" {
        root: true,
        indexes: [(datapath, logical_port, ip_prefix, tracked_port)],
        columns {
            /// Datapath of the router.
            datapath: strong(Datapath_Binding),
            /// Router port that the route leads out of.
            logical_port: strong(Port_Binding),
            /// The prefix.
            ip_prefix: string,
            /// Port whose place decides which chassis announces with preference.
            tracked_port: optional(strong(Port_Binding)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
