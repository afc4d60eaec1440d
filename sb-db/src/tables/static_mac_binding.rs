//! `Static_MAC_Binding`, as the southbound database has it.

ovsdb::table! {
    /// A fixed entry of a router port's neighbour table; from the northbound.
    pub struct StaticMacBinding = "Static_MAC_Binding" {
        root: true,
        indexes: [(logical_port, ip)],
        columns {
            /// Name of the router port.
            logical_port: string,
            /// Address of the neighbour.
            ip: string,
            /// Ethernet address of the neighbour.
            mac: string,
            /// Whether this entry wins over one that was learned.
            override_dynamic_mac: boolean,
            /// Datapath of the router.
            datapath: strong(Datapath_Binding),
        }
    }
}
