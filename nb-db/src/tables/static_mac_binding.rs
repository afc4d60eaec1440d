//! `Static_MAC_Binding`, as the northbound database has it.

ovsdb::table! {
    /// A fixed entry of a router port's neighbour table.
    pub struct StaticMacBinding = "Static_MAC_Binding" {
        root: true,
        indexes: [(logical_port, ip)],
        columns {
            /// The router port.
            logical_port: string,
            /// Address of the neighbour.
            ip: string,
            /// Ethernet address of the neighbour.
            mac: string,
            /// Whether this entry wins over one that was learned.
            override_dynamic_mac: boolean,
        }
    }
}
