//! `DHCP_Relay`, as the northbound database has it.

ovsdb::table! {
    /// A DHCP server to which a router port passes requests on.
    pub struct DhcpRelay = "DHCP_Relay" {
        root: true,
        columns {
            /// The name.
            name: string,
            /// Address of the server.
            servers: optional(string),
            /// Reserved.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
