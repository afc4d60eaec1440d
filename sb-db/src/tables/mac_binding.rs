//! `MAC_Binding`, as the southbound database has it.

ovsdb::table! {
    /// A neighbour that a router port has learned from ARP or neighbour discovery.
    pub struct MacBinding = "MAC_Binding" {
        root: true,
        indexes: [(logical_port, ip)],
        columns {
            /// Name of the router port.
            logical_port: string,
            /// Address of the neighbour.
            ip: string,
            /// Ethernet address of the neighbour.
            mac: string,
            /// When the entry was learned or refreshed, in milliseconds since the epoch.
            timestamp: integer,
            /// Datapath of the router.
            datapath: strong(Datapath_Binding),
        }
    }
}
