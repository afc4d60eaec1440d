//! `Advertised_MAC_Binding`, as the southbound database has it.

ovsdb::table! {
    /// An address pair that a chassis should announce through EVPN.
    pub struct AdvertisedMacBinding = "Advertised_MAC_Binding" {
        root: true,
        indexes: [(datapath, logical_port, ip, mac)],
        columns {
            /// Datapath of the switch.
            datapath: strong(Datapath_Binding),
            /// Port that has the addresses.
            logical_port: strong(Port_Binding),
            /// IP address.
            ip: string,
            /// Ethernet address.
            mac: string,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
