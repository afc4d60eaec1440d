//! `DHCP_Options`, as the southbound database has it.

ovsdb::table! {
    /// A DHCPv4 option that logical flows may name: its code and how its value is encoded.
    pub struct DhcpOptions = "DHCP_Options" {
        root: true,
        columns {
            /// Name of the option.
            name: string,
            /// Code on the wire.
            code: integer(0..=254),
            /// How the value is encoded.
            r#type: one_of("bool", "uint8", "uint16", "uint32", "ipv4", "static_routes", "str", "host_id", "domains"),
        }
    }
}
